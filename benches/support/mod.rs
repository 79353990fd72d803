//! What the subjects share: the service as a process, a bare server, a load generator, the disk, a large
//! database, and the table.

pub mod disk;
pub mod echo;
pub mod fill;
pub mod load;
pub mod process;
pub mod service;
pub mod shell;
pub mod table;

//! The real parts that tests stand on: an engine, a registry, a git server, PostgreSQL and the service's own process.
//!
//! Everything is made for one test, on free ports and in temporary directories, and ends with it. A part that is missing
//! on the machine fails the test and says how to get it; nothing is skipped.

pub mod command;
pub mod engine;
pub mod events;
pub mod faults;
pub mod gate;
pub mod git_server;
pub mod port;
pub mod postgres;
pub mod process;
pub mod registry;
pub mod server;
pub mod wait;
pub mod webhook;
pub mod witness;
pub mod worker;
pub mod world;

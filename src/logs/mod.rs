//! Build logs: masked, bounded, durable while they grow, compressed once they are whole.
//!
//! A build's bytes pass through [`writer::LogWriter`] into a [`chunks::ChunkStore`] while it runs. Viewers read the same
//! bytes by offset with [`follow::follow`], woken by [`hub::LogHub`]. When the build is over, [`sealed::SealedLogs`]
//! keeps its log for good. [`lines::LogLines`] reads any of them by line, for pages.
//!
//! Nothing here may let an unmasked secret reach a store, block a build, or hold more memory than its stated bounds.

pub mod ansi;
mod backlog;
pub mod chunks;
pub mod follow;
pub mod hub;
pub mod line_index;
mod line_prefix;
pub mod lines;
pub mod mask;
pub mod sealed;
mod secret_forms;
mod seekable;
#[cfg(test)]
mod testing;
pub mod writer;

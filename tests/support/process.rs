//! Processes of the service: its binary, signals to it, and its end.

use std::{
    process::{Child, ExitStatus},
    time::Duration,
};

use super::{command, wait};

/// The service's binary, as it was built for this run.
pub const BINARY: &str = env!("CARGO_BIN_EXE_hullworks");

/// How long the service may take to get ready, or to end after it was asked to.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a signal by its name, such as `TERM`.
pub async fn signal(process: &Child, name: &str) {
    command::run("kill", &[format!("-{name}"), process.id().to_string()]).await;
}

/// Waits until a process that was asked to end has ended.
pub async fn end_of(process: &mut Child) -> ExitStatus {
    wait::until("the process to end", PATIENCE, async || {
        process.try_wait().expect("the state of a child process")
    })
    .await
}

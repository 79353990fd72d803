//! A worker alone: a second process for the same PostgreSQL, as on another machine.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{
    process::{self, BINARY},
    server::Server,
};

/// A running `hullworks worker`; it ends when this is dropped.
pub struct Worker {
    process: Child,
    _directory: TempDir,
}

impl Worker {
    /// A worker for the database and the key of a server, with a directory of its own.
    pub fn start(server: &Server) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::copy(server.data().join("master.key"), directory.path().join("master.key")).expect("the server's key");
        fs::write(directory.path().join("hullworks.toml"), "allow_local_sources = true\n").expect("a file");
        let log = File::create(directory.path().join("log")).expect("a log file");
        let process = Command::new(BINARY)
            .args(["worker", "--database-url", server.database_url(), "--data-dir"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the service's binary can be started");
        Self {
            process,
            _directory: directory,
        }
    }

    /// Sends it a signal by its name, such as `STOP`.
    pub async fn signal(&self, name: &str) {
        process::signal(&self.process, name).await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

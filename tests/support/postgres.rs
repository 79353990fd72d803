//! An empty PostgreSQL database for each test.
//!
//! In the server that `TEST_DATABASE_URL` names, as `make test` sets it; without it, in a server of the test's own.

use std::{path::PathBuf, process::Command};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use super::command;

/// The database of one test; it is dropped with this.
pub struct Database {
    name: String,
    server: Url,
    /// Keeps the test's own server running.
    _own: Option<Cluster>,
}

impl Database {
    pub async fn create() -> Self {
        let (server, own) = match server_of_the_run() {
            Some(url) => (url, None),
            None => {
                let (url, cluster) = Cluster::start().await;
                (url, Some(cluster))
            }
        };
        let database = Self {
            name: format!("test_{}", Uuid::now_v7().simple()),
            server: Url::parse(&server).expect("TEST_DATABASE_URL is a URL"),
            _own: own,
        };
        execute(&database.server, &format!("create database {}", database.name))
            .await
            .expect("a new database; does TEST_DATABASE_URL name a running server?");
        database
    }

    /// `postgres://...`, with the password.
    pub fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.into()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, statement) = (self.server.clone(), format!("drop database {} with (force)", self.name));
        // Drop cannot wait inside the test's runtime, so it does in another.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(execute(&server, &statement))
        });
        // The whole server goes away after the run in any case.
        let _ = dropped.join();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what configures the tests is no part of the service's configuration"
)]
fn server_of_the_run() -> Option<String> {
    std::env::var("TEST_DATABASE_URL").ok()
}

async fn execute(server: &Url, statement: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(server.as_str()).await?;
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

/// A PostgreSQL server that scripts/postgres.sh started.
struct Cluster {
    directory: TempDir,
}

impl Cluster {
    async fn start() -> (String, Self) {
        let directory = tempfile::Builder::new()
            .prefix("hullworks-postgres")
            .tempdir()
            .expect("a temporary directory");
        let path = directory.path().to_str().expect("a temporary path is UTF-8");
        let script = script().display().to_string();
        let url = command::run("bash", &[&script, "start", path]).await;
        (url, Self { directory })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new("bash")
            .arg(script())
            .arg("stop")
            .arg(self.directory.path())
            .status();
    }
}

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres.sh")
}

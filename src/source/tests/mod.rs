//! Fetches from real git servers, and the contexts that come of it.

mod changes;
mod contexts;
mod documents;
mod failures;
mod fetching;
mod git;
mod server;
mod submodules;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use self::git::WorkTree;
use self::server::GitServer;
use super::*;
use crate::domain::build::Step;

/// What a test expects to be far away.
const LONG: Duration = Duration::from_secs(30);

/// Keeps what is said.
#[derive(Default)]
struct Said(Mutex<String>);

impl Progress for Said {
    fn write(&self, bytes: &[u8]) {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
    }

    fn steps(&self, _: Vec<Step>) {}
}

/// Everything that a fetch needs, with generous limits.
struct Fixture {
    config: SourceConfig,
    sources: Sources,
    cancel: CancellationToken,
    said: Arc<Said>,
    mirrors: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SourceConfig)) -> Self {
        let mirrors = TempDir::new().unwrap();
        let mut config = SourceConfig {
            mirrors_dir: mirrors.path().join("mirrors"),
            policy: SourcePolicy { allow_local: true },
            allow_private_addresses: false,
            max_fetch_bytes: 1 << 30,
            max_refs: 10_000,
            max_file_bytes: 1 << 30,
            connect_timeout: LONG,
            stall_timeout: LONG,
            fetch_timeout: LONG,
        };
        change(&mut config);
        Self {
            sources: Sources::new(config.clone()).unwrap(),
            config,
            cancel: CancellationToken::new(),
            said: Arc::default(),
            mirrors,
        }
    }

    async fn fetch(&self, url: &str, wanted: &Wanted) -> Result<Checkout, SourceError> {
        self.fetch_as(url, None, wanted).await
    }

    async fn fetch_as(
        &self,
        url: &str,
        credentials: Option<GitCredentials>,
        wanted: &Wanted,
    ) -> Result<Checkout, SourceError> {
        let url = SourceUrl::parse(url, SourcePolicy { allow_local: true }).unwrap();
        let progress = Arc::clone(&self.said) as Arc<dyn Progress>;
        self.sources
            .fetch("repository", &url, credentials, wanted, progress, &self.cancel)
            .await
    }

    /// All bytes below the mirrors' directory.
    fn disk_usage(&self) -> u64 {
        fn size(path: &Path) -> u64 {
            let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
            entries
                .map(|entry| match entry.file_type().unwrap().is_dir() {
                    true => size(&entry.path()),
                    false => entry.metadata().unwrap().len(),
                })
                .sum()
        }
        size(self.mirrors.path())
    }

    /// The paths of all files below the mirrors' directory that satisfy a condition.
    fn files(&self, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let mut waiting = vec![self.mirrors.path().to_owned()];
        let mut found = Vec::new();
        while let Some(directory) = waiting.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => waiting.push(path),
                    false if wanted(&path) => found.push(path),
                    false => {}
                }
            }
        }
        found
    }
}

fn commit(sha: &str) -> Wanted {
    Wanted::Commit {
        sha: sha.to_owned(),
        source_type: SourceType::Branch,
        name: Some("main".to_owned()),
    }
}

fn branch(name: &str) -> Wanted {
    Wanted::Ref {
        source_type: SourceType::Branch,
        name: name.to_owned(),
    }
}

fn tag(name: &str) -> Wanted {
    Wanted::Ref {
        source_type: SourceType::Tag,
        name: name.to_owned(),
    }
}

/// A server with one repository, and a way to commit to it.
async fn served() -> (WorkTree, GitServer) {
    let tree = WorkTree::new();
    let server = GitServer::start(&tree).await;
    (tree, server)
}

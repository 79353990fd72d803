//! Git: fetches commits into bare mirrors and serves build contexts out of them. `git2` appears here alone.
//!
//! Nothing is ever checked out: neither filters nor hooks of a repository run, and no external git program is called.
//! libgit2 never speaks to the network by itself either.

mod address;
mod advertisement;
mod ancestry;
mod changes;
mod checkout;
mod composite;
mod context;
mod dockerignore;
mod documents;
mod error;
mod fetch;
mod follow;
mod gitmodules;
mod http;
mod limits;
mod list;
mod local;
mod mirror;
mod objects;
mod submodule_url;
mod submodules;
mod transport;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub use self::changes::{Changes, Comparison, Since};
pub use self::checkout::Checkout;
pub use self::context::GitContext;
pub use self::error::SourceError;
use self::fetch::{DEPTHS, DEPTHS_TO_COMPARE, Fetch};
use self::http::HttpClient;
use self::limits::Limits;
use self::mirror::{MirrorKey, Mirrors};
use self::submodules::Submodules;
use crate::domain::progress::Progress;
use crate::domain::remote_refs::RemoteRef;
use crate::domain::rule::SourceType;
use crate::domain::source_url::{SourcePolicy, SourceUrl};

/// Longest time that telling what was changed may take.
const TIME_TO_COMPARE: Duration = Duration::from_secs(120);

/// Longest time that a question for branches and tags may take.
const TIME_TO_LIST: Duration = Duration::from_secs(60);

/// Where mirrors are kept, and the bounds of every fetch.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Made if it is missing. Several processes may share it.
    pub mirrors_dir: PathBuf,
    pub policy: SourcePolicy,
    /// Whether host names may lead to private, link-local and other addresses that are not public.
    pub allow_private_addresses: bool,
    /// The most that one fetch may receive, refs included.
    pub max_fetch_bytes: u64,
    /// The most refs that a repository may have.
    pub max_refs: usize,
    /// The largest file that a build context may hold, in bytes.
    pub max_file_bytes: u64,
    pub connect_timeout: Duration,
    /// How long a server may say nothing.
    pub stall_timeout: Duration,
    /// How long a whole fetch may take, the wait for another fetch of the same mirror included.
    pub fetch_timeout: Duration,
}

/// What a git server over HTTP asks for. The password is sent to the source's own host alone.
#[derive(Debug, Clone)]
pub struct GitCredentials {
    pub username: String,
    pub password: SecretString,
}

/// Which commit is to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Exactly this commit, or the one that this tag object leads to.
    Commit {
        /// 40 hexadecimal digits.
        sha: String,
        source_type: SourceType,
        /// The branch or tag it was pushed to; where to look for it if the server gives out no commits by their sha.
        name: Option<String>,
    },
    /// Whatever the branch or tag points to now.
    Ref { source_type: SourceType, name: String },
}

/// The door to all source repositories. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    config: Arc<SourceConfig>,
    mirrors: Mirrors,
    http: HttpClient,
}

impl Sources {
    /// Prepares the mirrors' directory and the HTTP client; touches no network.
    pub fn new(config: SourceConfig) -> Result<Self, SourceError> {
        transport::register()?;
        Ok(Self {
            mirrors: Mirrors::new(config.mirrors_dir.clone())?,
            http: HttpClient::new(&config)?,
            config: Arc::new(config),
        })
    }

    /// Fetches exactly the wanted commit into the mirror named by `mirror_key`, shallowly, and only what the mirror
    /// lacks. A commit that is there already costs no network.
    ///
    /// The address passes the gate again, since the policy may have changed since it was saved. Dropping the future
    /// ends the fetch too.
    pub async fn fetch(
        &self,
        mirror_key: &str,
        url: &SourceUrl,
        credentials: Option<GitCredentials>,
        wanted: &Wanted,
        progress: Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<Checkout, SourceError> {
        let cancel = cancel.child_token();
        let _canceled_when_dropped = cancel.clone().drop_guard();
        let key = MirrorKey {
            repository: mirror_key,
            submodule: None,
        };
        self.begin(url, credentials, progress, cancel)?.run(key, wanted).await
    }

    /// Fetches the submodules of a commit that [`Sources::fetch`] gave, and theirs in turn, each exactly at the commit
    /// that is recorded for it. In the checkout that comes of it they are directories like any other.
    ///
    /// Every address passes the same gate as the source's own. The credentials are used for what is on the source's own
    /// host and port. All submodules together have the time and the bytes of one fetch. An error says which submodule
    /// it is about. One with `update = none` is left out, as git leaves it.
    pub async fn fetch_submodules(
        &self,
        mirror_key: &str,
        url: &SourceUrl,
        credentials: Option<GitCredentials>,
        checkout: Checkout,
        progress: Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<Checkout, SourceError> {
        let cancel = cancel.child_token();
        let _canceled_when_dropped = cancel.clone().drop_guard();
        let submodules = Submodules {
            mirror_key,
            policy: self.config.policy,
            source: self.begin(url, credentials, progress, cancel)?,
        };
        submodules.fetch(checkout).await
    }

    /// Looks for a file that was changed since an earlier commit, and that a filter matches.
    ///
    /// What is compared with is fetched if it is not there, with less time and less history than a build's commit: whoever
    /// asks builds if this fails.
    pub async fn changes(
        &self,
        mirror_key: &str,
        url: &SourceUrl,
        credentials: Option<GitCredentials>,
        comparison: Comparison<'_>,
        progress: Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<Changes, SourceError> {
        let cancel = cancel.child_token();
        let _canceled_when_dropped = cancel.clone().drop_guard();
        let key = MirrorKey {
            repository: mirror_key,
            submodule: None,
        };
        let config = SourceConfig {
            fetch_timeout: self.config.fetch_timeout.min(TIME_TO_COMPARE),
            ..(*self.config).clone()
        };
        let fetch = Fetch {
            limits: Arc::new(Limits::start(&config, cancel.clone())),
            depths: DEPTHS_TO_COMPARE,
            ..self.begin(url, credentials, progress, cancel)?
        };
        changes::find(fetch, key, comparison).await
    }

    /// The source's branches and tags, by one question; nothing is fetched, and the mirror is left alone.
    ///
    /// The same gate and limits hold as for a fetch, with less time.
    pub async fn list(
        &self,
        url: &SourceUrl,
        credentials: Option<GitCredentials>,
        cancel: &CancellationToken,
    ) -> Result<Vec<RemoteRef>, SourceError> {
        let cancel = cancel.child_token();
        let _canceled_when_dropped = cancel.clone().drop_guard();
        let config = SourceConfig {
            fetch_timeout: self.config.fetch_timeout.min(TIME_TO_LIST),
            stall_timeout: self.config.stall_timeout.min(TIME_TO_LIST / 2),
            ..(*self.config).clone()
        };
        let fetch = Fetch {
            limits: Arc::new(Limits::start(&config, cancel.clone())),
            ..self.begin(url, credentials, Arc::new(list::Untold), cancel)?
        };
        list::list(fetch).await
    }

    fn begin(
        &self,
        url: &SourceUrl,
        credentials: Option<GitCredentials>,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Result<Fetch, SourceError> {
        let url = SourceUrl::parse(url.as_str(), self.config.policy)
            .map_err(|refused| SourceError::Invalid(format!("the source's address is not fetched from: {refused}")))?;
        Ok(Fetch {
            http: self.http.clone(),
            mirrors: self.mirrors.clone(),
            limits: Arc::new(Limits::start(&self.config, cancel)),
            max_refs: self.config.max_refs,
            max_file_bytes: self.config.max_file_bytes,
            url,
            credentials,
            progress,
            depths: DEPTHS,
        })
    }

    /// Removes all mirrors but those of `known` keys, with those of their submodules, and answers how many. One of which a
    /// checkout is still held stays.
    pub async fn remove_mirrors_but(&self, known: &[&str]) -> Result<usize, SourceError> {
        self.mirrors.remove_but(known).await
    }
}

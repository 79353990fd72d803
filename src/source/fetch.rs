//! One fetch: from what is wanted to a commit that is wholly in the mirror.

use std::sync::Arc;
use std::time::Instant;

use git2::{AutotagOption, ErrorClass, FetchOptions, Oid, RemoteCallbacks, Repository};
use tokio::runtime::Handle;

use super::advertisement::Advertisement;
use super::http::HttpClient;
use super::limits::Limits;
use super::mirror::{Generation, Mirror, MirrorKey, Mirrors};
use super::objects::{ObjectError, peel, require_complete};
use super::transport::{PrivateAddress, Session};
use super::{Checkout, GitCredentials, SourceError, Wanted, ancestry, local};
use crate::domain::progress::Progress;
use crate::domain::rule::SourceType;
use crate::domain::source_url::SourceUrl;

/// How many commits of a branch are taken, one step after the other, until the wanted one is among them. The last
/// is the protocol's word for all.
pub(super) const DEPTHS: &[i32] = &[50, 500, 5_000, i32::MAX];

/// The same for a commit that is only compared with, which is not worth all history.
pub(super) const DEPTHS_TO_COMPARE: &[i32] = &[50, 500];

/// Every fetched object stays under a ref of its own name, so that the next fetch builds upon it.
const PIN_PREFIX: &str = "refs/hullworks/";

/// Everything that a fetch works with.
#[derive(Clone)]
pub(super) struct Fetch {
    pub http: HttpClient,
    pub mirrors: Mirrors,
    pub limits: Arc<Limits>,
    pub max_refs: usize,
    pub max_file_bytes: u64,
    pub url: SourceUrl,
    pub credentials: Option<GitCredentials>,
    pub progress: Arc<dyn Progress>,
    /// How far back a commit is looked for that cannot be asked for by its sha.
    pub depths: &'static [i32],
}

/// What is wanted, checked.
#[derive(Debug, Clone)]
struct Target {
    /// Unknown until the server is asked, if a ref is wanted.
    oid: Option<Oid>,
    kind: SourceType,
    name: Option<String>,
}

impl Target {
    fn new(wanted: &Wanted) -> Result<Self, SourceError> {
        let (oid, kind, name) = match wanted {
            Wanted::Commit { sha, source_type, name } => (Some(parse_sha(sha)?), *source_type, name.clone()),
            Wanted::Ref { source_type, name } => (None, *source_type, Some(name.clone())),
        };
        if let Some(name) = &name
            && !git2::Reference::is_valid_name(&kind.full_ref(name))
        {
            return Err(SourceError::Invalid(format!(
                "`{}` cannot be the name of a {}",
                name.escape_debug(),
                kind.as_str()
            )));
        }
        Ok(Self { oid, kind, name })
    }

    fn full_ref(&self) -> Option<String> {
        self.name.as_deref().map(|name| self.kind.full_ref(name))
    }

    fn ref_gone(&self) -> SourceError {
        SourceError::RefGone {
            name: format!("{} {}", self.kind.as_str(), self.name.as_deref().unwrap_or_default()),
        }
    }
}

fn parse_sha(sha: &str) -> Result<Oid, SourceError> {
    let whole = sha.len() == 40 && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    match Oid::from_str(sha) {
        Ok(oid) if whole && !oid.is_zero() => Ok(oid),
        _ => Err(SourceError::Invalid(format!(
            "`{}` is no commit: it takes 40 hexadecimal digits",
            sha.chars().take(80).collect::<String>().escape_debug()
        ))),
    }
}

impl Fetch {
    pub(super) async fn run(self, mirror_key: MirrorKey<'_>, wanted: &Wanted) -> Result<Checkout, SourceError> {
        let target = Target::new(wanted)?;
        let mirror = Arc::new(self.limits.wait(self.mirrors.lock(mirror_key)).await??);
        let source = self.url.as_str().to_owned();
        let generation = blocking(&mirror, move |mirror| mirror.current(&source)).await?;
        let fresh = generation.fresh;
        match self.attempt(&mirror, Arc::new(generation), &target).await {
            Err(SourceError::Mirror(reason)) if !fresh => {
                tracing::warn!(
                    source = self.url.as_str(),
                    reason,
                    "a source mirror is broken and made afresh"
                );
                self.progress.line("The source mirror is broken; fetching afresh");
                let source = self.url.as_str().to_owned();
                let generation = blocking(&mirror, move |mirror| mirror.renew(&source)).await?;
                self.attempt(&mirror, Arc::new(generation), &target).await
            }
            result => result,
        }
    }

    async fn attempt(
        &self,
        mirror: &Arc<Mirror>,
        generation: Arc<Generation>,
        target: &Target,
    ) -> Result<Checkout, SourceError> {
        if let Some(oid) = target.oid
            && let Some(checkout) = self.find(mirror, &generation, oid).await?
        {
            self.progress
                .line(&format!("Commit {} is in the mirror already", checkout.commit()));
            return Ok(checkout);
        }
        self.progress.line(&format!("Fetching from {}", self.url.as_str()));
        let started = Instant::now();
        let oid = match self.url.as_url().scheme() {
            "file" => self.copy(mirror, &generation, target.clone()).await?,
            _ => self.download(mirror, &generation, target).await?,
        };
        let checkout = self
            .find(mirror, &generation, oid)
            .await?
            .ok_or_else(|| SourceError::Mirror(format!("the server did not send {oid} though it was asked for it")))?;
        self.progress.line(&format!(
            "Fetched commit {}: {} KiB in {:.1} s",
            checkout.commit(),
            self.limits.received().div_ceil(1024),
            started.elapsed().as_secs_f32()
        ));
        Ok(checkout)
    }

    /// The commit, if the mirror has it and all of its files.
    async fn find(
        &self,
        mirror: &Arc<Mirror>,
        generation: &Arc<Generation>,
        oid: Oid,
    ) -> Result<Option<Checkout>, SourceError> {
        let limits = Arc::clone(&self.limits);
        let generation = Arc::clone(generation);
        let max_file_bytes = self.max_file_bytes;
        blocking(mirror, move |_| {
            let repository = generation.open()?;
            if !repository.odb()?.exists(oid) {
                return Ok(None);
            }
            let (commit, _) = peel(&repository, oid)?;
            let commit = repository.find_commit(commit).map_err(ObjectError::from)?;
            let submodules = require_complete(&repository, commit.tree_id(), &limits)?;
            pin(&repository, oid)?;
            Ok(Some(Checkout::new(generation, &commit, submodules, max_file_bytes)))
        })
        .await
    }

    async fn copy(
        &self,
        mirror: &Arc<Mirror>,
        generation: &Arc<Generation>,
        target: Target,
    ) -> Result<Oid, SourceError> {
        let limits = Arc::clone(&self.limits);
        let generation = Arc::clone(generation);
        let url = self.url.as_url().clone();
        blocking(mirror, move |_| {
            let source = local::open(&url)?;
            let oid = match (target.oid, target.full_ref()) {
                (Some(oid), _) if source.odb()?.exists(oid) => oid,
                (Some(oid), _) => return Err(commit_gone(oid)),
                (None, name) => name
                    .and_then(|name| local::resolve(&source, &name))
                    .ok_or_else(|| target.ref_gone())?,
            };
            local::copy(&source, &generation.open()?, oid, &limits)?;
            Ok(oid)
        })
        .await
    }

    async fn download(
        &self,
        mirror: &Arc<Mirror>,
        generation: &Arc<Generation>,
        target: &Target,
    ) -> Result<Oid, SourceError> {
        let repository = self
            .http
            .connect(
                self.url.as_url(),
                self.credentials.as_ref(),
                self.max_refs,
                &self.limits,
            )
            .await?;
        let full_ref = target.full_ref();
        let advertised = full_ref
            .as_deref()
            .and_then(|name| repository.advertisement.by_name(name));
        let oid = target.oid.or(advertised).ok_or_else(|| target.ref_gone())?;
        if target.oid.is_none() && self.find(mirror, generation, oid).await?.is_some() {
            return Ok(oid);
        }
        let branch = match advertised {
            Some(_) => full_ref,
            // The branch may have been deleted after it was merged.
            None => repository.advertisement.by_name("HEAD").map(|_| "HEAD".to_owned()),
        };
        let generation = Arc::clone(generation);
        let session = Arc::new(Session::new(repository, Arc::clone(&self.limits), Handle::current()));
        let depths = self.depths;
        blocking(mirror, move |_| {
            let mirror = generation.open()?;
            Download {
                mirror: &mirror,
                address: PrivateAddress::new(Arc::clone(&session)),
                session: &session,
                depths,
            }
            .commit(oid, branch.as_deref())
        })
        .await?;
        Ok(oid)
    }
}

impl Fetch {
    /// The commit at which a branch left the server's default branch, with all of its files.
    pub(super) async fn branched_off(
        &self,
        mirror_key: MirrorKey<'_>,
        commit: &str,
        branch: &str,
    ) -> Result<Checkout, SourceError> {
        let (commit, branch) = (parse_sha(commit)?, SourceType::Branch.full_ref(branch));
        let mirror = Arc::new(self.limits.wait(self.mirrors.lock(mirror_key)).await??);
        let source = self.url.as_str().to_owned();
        let generation = Arc::new(blocking(&mirror, move |mirror| mirror.current(&source)).await?);
        let parted = match self.url.as_url().scheme() {
            "file" => self.parted_on_disk(&mirror, &generation, commit, branch).await?,
            _ => self.parted_on_server(&mirror, &generation, commit, branch).await?,
        };
        let checkout = self.find(&mirror, &generation, parted).await?;
        checkout.ok_or_else(|| SourceError::Mirror(format!("the server did not send {parted} with what leads to it")))
    }

    async fn parted_on_disk(
        &self,
        mirror: &Arc<Mirror>,
        generation: &Arc<Generation>,
        commit: Oid,
        branch: String,
    ) -> Result<Oid, SourceError> {
        let limits = Arc::clone(&self.limits);
        let generation = Arc::clone(generation);
        let url = self.url.as_url().clone();
        blocking(mirror, move |_| {
            let source = local::open(&url)?;
            let head = source.head().map_err(|_| no_default_branch())?;
            if head.name() == Ok(branch.as_str()) {
                return Err(is_default_branch());
            }
            let default = head.target().ok_or_else(no_default_branch)?;
            let parted = ancestry::parted(&source, commit, default, &limits)?.ok_or_else(nothing_in_common)?;
            local::copy(&source, &generation.open()?, parted, &limits)?;
            Ok(parted)
        })
        .await
    }

    async fn parted_on_server(
        &self,
        mirror: &Arc<Mirror>,
        generation: &Arc<Generation>,
        commit: Oid,
        branch: String,
    ) -> Result<Oid, SourceError> {
        let connected = self.http.connect(
            self.url.as_url(),
            self.credentials.as_ref(),
            self.max_refs,
            &self.limits,
        );
        let repository = connected.await?;
        let default = repository.advertisement.by_name("HEAD").ok_or_else(no_default_branch)?;
        match repository.advertisement.default_branch() {
            Some(name) if name == branch => return Err(is_default_branch()),
            // An old server does not say which it is.
            None if default == commit => return Err(no_default_branch()),
            _ => {}
        }
        let (limits, depths) = (Arc::clone(&self.limits), self.depths);
        let generation = Arc::clone(generation);
        let session = Arc::new(Session::new(repository, Arc::clone(&limits), Handle::current()));
        blocking(mirror, move |_| {
            let mirror = generation.open()?;
            let download = Download {
                mirror: &mirror,
                address: PrivateAddress::new(Arc::clone(&session)),
                session: &session,
                depths,
            };
            for depth in depths {
                download.both_histories(commit, &branch, default, *depth)?;
                // Where its history is cut off a repository reads once.
                let deepened = generation.open()?;
                if let Some(parted) = ancestry::parted(&deepened, commit, default, &limits)? {
                    return Ok(parted);
                }
                if !deepened.is_shallow() {
                    break;
                }
            }
            Err(nothing_in_common())
        })
        .await
    }
}

fn no_default_branch() -> SourceError {
    SourceError::Invalid("the server does not say which branch is its default".to_owned())
}

fn is_default_branch() -> SourceError {
    SourceError::Invalid("it is the default branch".to_owned())
}

fn nothing_in_common() -> SourceError {
    SourceError::Invalid("no commit was found that the default branch has too".to_owned())
}

/// The part of a fetch that libgit2 does, on a thread where it may block.
struct Download<'a> {
    mirror: &'a Repository,
    session: &'a Session,
    address: PrivateAddress,
    depths: &'static [i32],
}

impl Download<'_> {
    /// Fetches exactly one object with what it needs, or fails.
    fn commit(&self, oid: Oid, branch: Option<&str>) -> Result<(), SourceError> {
        let advertisement: &Advertisement = &self.session.repository.advertisement;
        if advertisement.gives_reachable() {
            return self.fetch(&oid.to_string(), oid, 1).map_err(|error| match error {
                Refused::ByServer(text) if says_unknown(&text) => commit_gone(oid),
                error => error.into(),
            });
        }
        let name = advertisement.pointing_to(oid).or_else(|| advertisement.peeling_to(oid));
        if let Some((name, tip)) = name.and_then(|name| advertisement.by_name(&name).map(|tip| (name, tip))) {
            return Ok(self.fetch(&name, tip, 1)?);
        }
        let Some((branch, tip)) = branch.and_then(|branch| Some((branch, advertisement.by_name(branch)?))) else {
            return Err(commit_gone(oid));
        };
        for depth in self.depths {
            self.fetch(branch, tip, *depth)?;
            if self.mirror.odb()?.exists(oid) {
                return Ok(());
            }
            if !self.mirror.is_shallow() {
                break;
            }
        }
        Err(commit_gone(oid))
    }

    /// Fetches the newest commits that lead to one, so many of each line, and the same of the default branch.
    fn both_histories(&self, commit: Oid, branch: &str, default: Oid, depth: i32) -> Result<(), SourceError> {
        let advertisement = &self.session.repository.advertisement;
        let (what, tip) = match (advertisement.gives_reachable(), advertisement.by_name(branch)) {
            (true, _) => (commit.to_string(), commit),
            (false, Some(tip)) => (branch.to_owned(), tip),
            (false, None) => return Err(commit_gone(commit)),
        };
        self.fetch(&what, tip, depth)?;
        Ok(self.fetch("HEAD", default, depth)?)
    }

    fn fetch(&self, what: &str, pinned_as: Oid, depth: i32) -> Result<(), Refused> {
        let limits = &self.session.limits;
        let mut callbacks = RemoteCallbacks::new();
        callbacks.transfer_progress(|_| match limits.check() {
            Ok(()) => true,
            Err(error) => {
                self.session.fail(error);
                false
            }
        });
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(callbacks)
            .depth(depth)
            .download_tags(AutotagOption::None)
            .update_fetchhead(false);
        let refspec = format!("+{what}:{PIN_PREFIX}{pinned_as}");
        let fetched = self
            .mirror
            .remote_anonymous(&self.address.url())
            .and_then(|mut remote| remote.fetch(&[refspec], Some(&mut options), None));
        let Err(error) = fetched else { return Ok(()) };
        if let Some(failure) = self.session.take_failure() {
            return Err(Refused::Failed(failure));
        }
        if let Some(text) = self.session.take_refusal() {
            return Err(Refused::ByServer(text));
        }
        limits.check().map_err(Refused::Failed)?;
        Err(Refused::Failed(match error.class() {
            ErrorClass::Net => SourceError::Unavailable(format!("the transfer broke off: {}", error.message())),
            _ => ObjectError::from(error).into(),
        }))
    }
}

/// Why a fetch over the network gave nothing.
enum Refused {
    /// The server's own words.
    ByServer(String),
    Failed(SourceError),
}

impl From<Refused> for SourceError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::ByServer(text) => Self::Unavailable(format!("the git server refused: {text}")),
            Refused::Failed(error) => error,
        }
    }
}

/// Whether a server's refusal means that it does not have the commit: git's, JGit's and Gitea's words.
fn says_unknown(refusal: &str) -> bool {
    ["not our ref", "not valid", "unknown object", "not found"]
        .iter()
        .any(|words| refusal.contains(words))
}

fn commit_gone(oid: Oid) -> SourceError {
    SourceError::CommitGone {
        commit: oid.to_string(),
    }
}

fn pin(repository: &Repository, oid: Oid) -> Result<(), ObjectError> {
    repository.reference(&format!("{PIN_PREFIX}{oid}"), oid, true, "")?;
    Ok(())
}

/// Runs libgit2 where it may block. The mirror's lock goes along: it must not open while the work goes on, even if
/// nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    mirror: &Arc<Mirror>,
    work: impl FnOnce(&Mirror) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let mirror = Arc::clone(mirror);
    tokio::task::spawn_blocking(move || work(&mirror))
        .await
        .map_err(SourceError::mirror)?
}

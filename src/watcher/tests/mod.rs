//! Waves, taken further step by step, with builds that end as the tests say.

mod waves;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};

use super::{WatcherParts, WatcherSettings, waves::pass};
use crate::{
    clock::Clock,
    domain::{
        build::{BaseImage, Cause, Ending, ErrorKind, Failure},
        ids::{BuildId, HookId, RepositoryId, RuleId, WaveId, WorkerId},
        image::ImageReference,
        repository::{Provider, Repository, RepositoryName, Visibility},
        rule::{Rule, SourceType},
        source_url::SourcePolicy,
    },
    intake::{Intake, IntakeSettings, RetryInputs, Trigger},
    registry::{Registries, RegistriesConfig},
    signals::Signals,
    store::{
        Leased, NewRepository, PushedTag, RepositoryChange, SourceSecret, Store, TagClaim, WatchKey, Wave, WaveItem,
        WaveMove,
    },
    vault::Vault,
};

/// The registry of our own images, and the base that everything begins with.
const OURS: &str = "r.example.com";
const BASE: &str = "127.0.0.1:1/base:1";

/// A server without engine and registries: what they would do, the tests do.
struct World {
    parts: WatcherParts,
    seconds: Arc<AtomicI64>,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_sqlite(&directory.path().join("test.db")).await.unwrap();
        let vault = Arc::new(Vault::open_or_create(&directory.path().join("key"), true).unwrap());
        let seconds = Arc::new(AtomicI64::new(0));
        let clock = {
            let seconds = seconds.clone();
            Clock::from_fn(move || start() + TimeDelta::seconds(seconds.load(Ordering::Relaxed)))
        };
        let signals = Signals::default();
        let settings = IntakeSettings {
            source_policy: SourcePolicy { allow_local: false },
            default_registry: Some(OURS.to_owned()),
        };
        let intake = Intake::start(store.clone(), vault.clone(), clock.clone(), signals.clone(), settings);
        let parts = WatcherParts {
            store,
            intake,
            registries: Registries::new(RegistriesConfig::default()).unwrap(),
            vault,
            clock,
            signals,
            settings: Arc::new(WatcherSettings {
                poll: Duration::from_secs(900),
                poll_of: HashMap::new(),
                debounce: Duration::from_secs(10),
                at_once: 4,
            }),
        };
        Self {
            parts,
            seconds,
            _directory: directory,
        }
    }

    fn store(&self) -> &Store {
        &self.parts.store
    }

    fn let_pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Saves `team/NAME` with one rule for each of these sources and tags.
    async fn save(&self, name: &str, rules: &[(&str, &str)]) -> Repository {
        let name = RepositoryName::new("team", name).unwrap();
        let existing = self.store().repository_named(&name).await.unwrap();
        let new = NewRepository {
            id: RepositoryId::new(),
            hook_id: HookId::new(),
            webhook_secret: b"sealed".to_vec(),
            now: self.parts.clock.now(),
        };
        let change = RepositoryChange {
            name,
            visibility: Visibility::Public,
            description: String::new(),
            image: None,
            provider: Provider::Github,
            source_url: "https://git.example.com/team/app.git".to_owned(),
            source_account: None,
            submodules: true,
            rules: rules.iter().map(|(source, tag)| rule(source, tag)).collect(),
            links: vec![],
            detect_base_images: true,
            ignored_base_images: vec![],
            limits: Default::default(),
            build_secrets: None,
            credentials: SourceSecret::Keep,
            webhook_secret: None,
            last_changed: None,
        };
        let existing = existing.map(|repository| repository.id);
        self.store()
            .put_repository(existing.as_ref(), &new, &change)
            .await
            .unwrap()
            .unwrap()
            .repository
    }

    /// Has `team/NAME:latest` built by hand on these, as `IMAGE@DIGEST`, and pushed under a digest.
    async fn built(&self, name: &str, bases: &[&str], digest: &str) -> Repository {
        let repository = self.save(name, &[("main", "latest")]).await;
        self.push(&repository).await;
        let leased = self.claim().await.unwrap();
        self.succeed(&leased, bases, digest).await;
        repository
    }

    /// Queues a build of a new commit of `main`.
    async fn push(&self, repository: &Repository) -> BuildId {
        let trigger = Trigger {
            commit: Some("c0ffee".to_owned()),
            ..Trigger::default()
        };
        let triggered = self.parts.intake.trigger(repository, &trigger, "ann").await.unwrap();
        triggered.accepted.builds[0].clone()
    }

    async fn claim(&self) -> Option<Leased> {
        let lease = Duration::from_secs(1_000_000);
        self.let_pass(1);
        self.store()
            .claim(&WorkerId::new(), self.parts.clock.now(), lease)
            .await
            .unwrap()
    }

    /// Claims what is queued, which must be of this repository.
    async fn start(&self, name: &str) -> Leased {
        let leased = self
            .claim()
            .await
            .unwrap_or_else(|| panic!("nothing is queued, where {name} should be"));
        assert_eq!(leased.build.repository.name(), name);
        leased
    }

    async fn succeed(&self, leased: &Leased, bases: &[&str], digest: &str) {
        let build = &leased.build;
        let now = self.parts.clock.now();
        let image = ImageReference::parse(&build.plan.image).unwrap().name();
        for tag in &build.plan.tags {
            let claim = self
                .store()
                .claim_tag(&leased.lease, &build.push_order, &image, tag, now)
                .await
                .unwrap();
            if claim != TagClaim::Granted {
                continue;
            }
            let pushed = PushedTag {
                image: &image,
                tag,
                digest: Some(digest),
                image_bytes: None,
                at: now,
            };
            self.store()
                .tag_pushed(&leased.lease, &build.push_order, &pushed)
                .await
                .unwrap();
        }
        let bases: Vec<BaseImage> = bases
            .iter()
            .map(|base| {
                let (name, digest) = base.split_once('@').unwrap();
                BaseImage {
                    name: name.to_owned(),
                    digest: Some(digest.to_owned()),
                    pinned: false,
                }
            })
            .collect();
        let ending = Ending::Succeeded {
            digest: Some(digest.to_owned()),
        };
        self.store().finish(&leased.lease, &ending, &bases, now).await.unwrap();
    }

    /// Ends a build as one that stood on exactly what it was told to.
    async fn succeed_as_told(&self, leased: &Leased, digest: &str) {
        let told: Vec<String> = leased
            .build
            .plan
            .base_digests
            .iter()
            .map(|(image, digest)| format!("{image}@{digest}"))
            .collect();
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        self.succeed(leased, &told, digest).await;
    }

    async fn fail(&self, leased: &Leased) {
        let ending = Ending::Failed(Failure::new(ErrorKind::Build, "step 2 failed"));
        self.store()
            .finish(&leased.lease, &ending, &[], self.parts.clock.now())
            .await
            .unwrap();
    }

    async fn moved(&self, image: &str, to: &str) -> WaveId {
        let moved = WaveMove {
            image: image.to_owned(),
            access: String::new(),
            from: None,
            to: to.to_owned(),
            parent: None,
            is_inner: false,
        };
        self.store()
            .add_move(&moved, TimeDelta::seconds(10), self.parts.clock.now())
            .await
            .unwrap()
    }

    /// Has an image move, and the wave of it begin.
    async fn wave(&self, image: &str, to: &str) -> WaveId {
        let wave = self.moved(image, to).await;
        self.let_pass(10);
        self.pass().await;
        wave
    }

    async fn pass(&self) {
        pass(&self.parts).await.unwrap();
    }

    async fn get(&self, wave: &WaveId) -> Wave {
        self.store().wave(wave).await.unwrap().unwrap()
    }

    async fn items(&self, wave: &WaveId) -> Vec<WaveItem> {
        self.store().wave_items(wave).await.unwrap()
    }

    /// How every item of a wave is: `base done, app waiting`.
    async fn told(&self, wave: &WaveId) -> String {
        let items = self.items(wave).await;
        let words: Vec<String> = items
            .iter()
            .map(|item| format!("{} {}", item.repository.name(), item.state.as_str()))
            .collect();
        words.join(", ")
    }

    /// Whether anybody would be rebuilt for what an image is now.
    async fn outdated(&self, image: &str, digest: &str) -> usize {
        let key = WatchKey {
            image: image.to_owned(),
            access: String::new(),
        };
        self.store().outdated_on(&key, digest).await.unwrap().len()
    }
}

fn start() -> DateTime<Utc> {
    Utc.timestamp_opt(1_700_000_000, 0).unwrap()
}

/// `team/NAME:latest`, fully named.
fn ours(name: &str) -> String {
    format!("{OURS}/team/{name}:latest")
}

fn on(image: &str, digest: &str) -> String {
    format!("{image}@{digest}")
}

fn rule(source: &str, docker_tag: &str) -> Rule {
    Rule {
        id: RuleId::new(),
        source_type: SourceType::Branch,
        source: source.to_owned(),
        docker_tag: docker_tag.to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        context: "/".to_owned(),
        autobuild: true,
        cache: true,
        target: String::new(),
        platforms: vec![],
        build_args: BTreeMap::new(),
        paths: vec![],
        schedule: None,
    }
}

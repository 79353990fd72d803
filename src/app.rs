//! Wires the parts together and owns the shutdown. Only this and the command line see the whole configuration.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use tokio::{net::TcpListener, signal::unix::SignalKind};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    build_log::BuildLogs,
    clock::Clock,
    config::{BuilderChoice, Config},
    domain::{polling::PollPace, source_url::SourcePolicy},
    engine::{Builder, ConnectError, Engine, EngineConfig},
    intake::{Intake, IntakeSettings},
    janitor,
    layout::{DataDir, LayoutError},
    logs::sealed::SealedLogs,
    mail::{MailError, Mailer},
    oidc::{Oidc, OidcConfig, OidcError},
    poller::{self, PollerParts, PollerSettings},
    registry::{Registries, RegistriesConfig, RegistryError},
    reporter::{self, ReporterParts},
    scheduler::{self, SchedulerParts},
    signals::Signals,
    source::{SourceConfig, SourceError, Sources},
    store::{Store, StoreError},
    tokens,
    vault::{Vault, VaultError},
    watcher::{self, WatcherParts, WatcherSettings},
    web::{self, SignInProvider},
    worker::{Parts, Places, Worker, WorkerSettings},
};

/// The fact by which the database knows the key that sealed its secrets.
const KEY_FINGERPRINT: &str = "key fingerprint";

/// Refs that a source may have before it is refused.
const MOST_REFS: usize = 500_000;

/// Largest single file of a build context, in bytes.
const LARGEST_FILE: u64 = 2 << 30;

/// Why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the key file {} is not the one that sealed the secrets in this database: put the right one back from a backup", .0.display())]
    OtherKey(PathBuf),
    #[error("failed to set up the connection to the Docker Engine: {0}")]
    Engine(#[from] ConnectError),
    #[error("failed to set up the source mirrors: {0}")]
    Source(#[from] SourceError),
    #[error("failed to set up the registry client: {0}")]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Mail(#[from] MailError),
    #[error("oidc: {0}")]
    Oidc(#[from] OidcError),
    #[error("failed to open the sealed logs: {0}")]
    Logs(std::io::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("a worker alone needs a database that it can share: set database_url to postgres://...")]
    WorkerNeedsPostgres,
    #[error("signals cannot be handled: {0}")]
    Signals(std::io::Error),
}

/// An installation's database and key, opened.
pub struct Opened {
    pub data_dir: DataDir,
    pub store: Store,
    pub vault: Arc<Vault>,
    pub clock: Clock,
}

/// Opens the database and the key file, making both where there are none yet.
pub async fn open(config: &Config) -> Result<Opened, AppError> {
    let data_dir = DataDir::create(&config.data_dir)?;
    let store = match &config.database_url {
        Some(url) => Store::open_postgres(url).await?,
        None => Store::open_sqlite(&data_dir.database()).await?,
    };
    let known = store.installation_fact(KEY_FINGERPRINT).await?;
    let vault = Vault::open_or_create(&data_dir.key_file(), known.is_none())?;
    store
        .record_installation_fact(KEY_FINGERPRINT, vault.fingerprint().as_bytes())
        .await?;
    // Read back rather than compared with `known`: two processes may make an installation at the same time.
    if store.installation_fact(KEY_FINGERPRINT).await?.as_deref() != Some(vault.fingerprint().as_bytes()) {
        return Err(AppError::OtherKey(data_dir.key_file()));
    }
    Ok(Opened {
        data_dir,
        store,
        vault: Arc::new(vault),
        clock: Clock::system(),
    })
}

/// Runs pages, API, webhooks, queue and worker until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> Result<(), AppError> {
    let shutdown = shutdown_on_signals()?;
    // The lock comes first: nothing of another server's data is touched.
    let _lock = DataDir::create(&config.data_dir)?.lock()?;
    let opened = open(&config).await?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| AppError::Listen {
            address: config.listen,
            source,
        })?;
    let address = listener.local_addr().map_err(|source| AppError::Listen {
        address: config.listen,
        source,
    })?;
    let signals = Signals::default();
    let logs = build_logs(&opened)?;
    let worker = Worker::new(
        parts(&config, &opened, &signals, &logs)?,
        opened.data_dir.worker_id()?,
        machine_name(),
    );
    let intake = Intake::start(
        opened.store.clone(),
        opened.vault.clone(),
        opened.clock.clone(),
        signals.clone(),
        IntakeSettings {
            source_policy: source_policy(&config),
            default_registry: config.default_registry.clone(),
        },
    );
    let watching = WatcherParts {
        store: opened.store.clone(),
        intake: intake.clone(),
        registries: registries(&config)?,
        vault: opened.vault.clone(),
        clock: opened.clock.clone(),
        signals: signals.clone(),
        settings: Arc::new(watcher_settings(&config)),
    };
    let mailer = mailer(&config)?;
    let reporting = ReporterParts {
        store: opened.store.clone(),
        logs: logs.clone(),
        clock: opened.clock.clone(),
        signals: signals.clone(),
        base_url: config.base_url(address),
    };
    let scheduling = SchedulerParts {
        store: opened.store.clone(),
        intake: intake.clone(),
        clock: opened.clock.clone(),
        signals: signals.clone(),
    };
    let polling = PollerParts {
        store: opened.store.clone(),
        intake: intake.clone(),
        sources: sources(&config, &opened)?,
        vault: opened.vault.clone(),
        clock: opened.clock.clone(),
        settings: PollerSettings {
            pace: poll_pace(&config),
            source_policy: source_policy(&config),
        },
    };
    let state = web::AppState {
        store: opened.store.clone(),
        intake,
        vault: opened.vault.clone(),
        clock: opened.clock.clone(),
        signals: signals.clone(),
        logs: logs.clone(),
        engine: worker.engine_health(),
        shutdown: shutdown.clone(),
        provider: sign_in_provider(&config)?,
        settings: web::WebSettings {
            base_url: config.base_url(address),
            source_policy: source_policy(&config),
            default_registry: config.default_registry.clone(),
            data_dir: opened.data_dir.path().to_owned(),
            builds_here: config.concurrency > 0,
            started_with: config.shown(),
            sends_mail: mailer.is_some(),
            poll_pace: poll_pace(&config),
        },
    };
    tracing::info!(%address, data_dir = %opened.data_dir.path().display(), "listening");
    offer_set_up(&opened.store, &config.base_url(address)).await?;
    let tasks = TaskTracker::new();
    tasks.spawn(worker.run(shutdown.clone()));
    tasks.spawn(watcher::run(watching, shutdown.clone()));
    tasks.spawn(reporter::run(reporting, mailer, shutdown.clone()));
    tasks.spawn(scheduler::run(scheduling, shutdown.clone()));
    tasks.spawn(poller::run(polling, shutdown.clone()));
    tasks.spawn(janitor::run(opened.store.clone(), logs, signals, shutdown.clone()));
    tasks.close();
    web::serve(listener, web::router(state), shutdown.clone()).await;
    tasks.wait().await;
    opened.store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Runs a worker alone, for a database that others serve.
pub async fn worker(config: Config) -> Result<(), AppError> {
    if config.database_url.is_none() {
        return Err(AppError::WorkerNeedsPostgres);
    }
    let shutdown = shutdown_on_signals()?;
    let _lock = DataDir::create(&config.data_dir)?.lock()?;
    let opened = open(&config).await?;
    let signals = Signals::default();
    let logs = build_logs(&opened)?;
    let worker = Worker::new(
        parts(&config, &opened, &signals, &logs)?,
        opened.data_dir.worker_id()?,
        machine_name(),
    );
    tracing::info!("working");
    worker.run(shutdown).await;
    opened.store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// While there is no administrator, whoever reads this process's log may make the first: by a code that is new at each
/// start.
async fn offer_set_up(store: &Store, base_url: &str) -> Result<(), StoreError> {
    let code = tokens::new_set_up_code();
    let hash = tokens::token_hash(&tokens::normal_set_up_code(code.expose_secret()));
    if store.offer_set_up(hash.as_bytes()).await? {
        let code = code.expose_secret();
        // A warning, so that it is seen where nothing but warnings is kept.
        tracing::warn!("there is no administrator yet: open {base_url}/set-up and enter this code: {code}");
    }
    Ok(())
}

fn sign_in_provider(config: &Config) -> Result<Option<SignInProvider>, AppError> {
    let Some(oidc) = &config.oidc else {
        return Ok(None);
    };
    let provider = Oidc::new(OidcConfig {
        issuer: oidc.issuer.clone(),
        client_id: oidc.client_id.clone(),
        client_secret: oidc.client_secret.clone(),
        wants_groups: oidc.admin_group.is_some(),
    })?;
    Ok(Some(SignInProvider {
        oidc: provider,
        name: oidc.name.clone(),
        allow_sign_up: oidc.allow_sign_up,
        admin_group: oidc.admin_group.clone(),
    }))
}

fn mailer(config: &Config) -> Result<Option<Mailer>, AppError> {
    let mail = config.mail.as_ref();
    Ok(mail.map(|mail| Mailer::new(&mail.smtp_url, &mail.from)).transpose()?)
}

fn build_logs(opened: &Opened) -> Result<Arc<BuildLogs>, AppError> {
    let sealed = SealedLogs::new(opened.data_dir.logs()).map_err(AppError::Logs)?;
    Ok(Arc::new(BuildLogs::new(opened.store.clone(), sealed)))
}

fn parts(config: &Config, opened: &Opened, signals: &Signals, logs: &Arc<BuildLogs>) -> Result<Parts, AppError> {
    Ok(Parts {
        store: opened.store.clone(),
        vault: opened.vault.clone(),
        clock: opened.clock.clone(),
        signals: signals.clone(),
        sources: sources(config, opened)?,
        engine: Engine::connect(&EngineConfig {
            docker_host: config.docker_host.clone(),
        })?,
        registries: registries(config)?,
        logs: logs.clone(),
        settings: WorkerSettings {
            concurrency: config.concurrency,
            build_timeout: Duration::from_secs(config.build_timeout_seconds),
            drain: Duration::from_secs(config.drain_seconds),
            max_log_bytes: config.max_log_bytes,
            builder: match config.builder {
                BuilderChoice::Auto => Builder::Auto,
                BuilderChoice::Buildkit => Builder::BuildKit,
                BuilderChoice::Classic => Builder::Classic,
            },
            allowed_frontends: config.allowed_frontends.clone(),
            source_policy: source_policy(config),
            places: Places {
                data_dir: opened.data_dir.path().to_owned(),
                database: config.database_url.is_none().then(|| opened.data_dir.database()),
                logs: opened.data_dir.logs(),
                mirrors: opened.data_dir.mirrors(),
            },
        },
    })
}

fn sources(config: &Config, opened: &Opened) -> Result<Sources, SourceError> {
    Sources::new(SourceConfig {
        mirrors_dir: opened.data_dir.mirrors(),
        policy: source_policy(config),
        allow_private_addresses: config.allow_private_sources,
        max_fetch_bytes: config.max_source_bytes,
        max_refs: MOST_REFS,
        max_file_bytes: LARGEST_FILE,
        connect_timeout: Duration::from_secs(10),
        stall_timeout: Duration::from_secs(60),
        fetch_timeout: Duration::from_secs(30 * 60),
    })
}

fn poll_pace(config: &Config) -> PollPace {
    PollPace {
        poll: Duration::from_secs(config.sources.poll_seconds),
        without_webhook: Duration::from_secs(config.sources.without_webhook_seconds),
    }
}

fn registries(config: &Config) -> Result<Registries, RegistryError> {
    Registries::new(RegistriesConfig {
        insecure: config.insecure_registries.clone(),
        ..RegistriesConfig::default()
    })
}

fn watcher_settings(config: &Config) -> WatcherSettings {
    let base_images = &config.base_images;
    WatcherSettings {
        poll: Duration::from_secs(base_images.poll_seconds),
        poll_of: base_images
            .poll_seconds_of
            .iter()
            .map(|(host, seconds)| (host.clone(), Duration::from_secs(*seconds)))
            .collect(),
        debounce: Duration::from_secs(base_images.debounce_seconds),
        at_once: base_images.at_once,
    }
}

fn source_policy(config: &Config) -> SourcePolicy {
    SourcePolicy {
        allow_local: config.allow_local_sources,
    }
}

/// The machine's name, for people who look for where a build runs.
fn machine_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "worker".to_owned(), |name| name.trim().to_owned())
}

/// A token that is cancelled by SIGTERM or SIGINT; a second one ends the process at once.
fn shutdown_on_signals() -> Result<CancellationToken, AppError> {
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate()).map_err(AppError::Signals)?;
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match first {
                true => tracing::info!("shutting down; a second signal ends at once"),
                // What runs is taken back at the next start.
                false => std::process::exit(1),
            }
            cancelled.cancel();
        }
    });
    Ok(token)
}

//! HTTP: the API, the webhooks and the pages. One file per resource or page, each with its own `routes()`.
//!
//! Everything is done by calling the store, the intake, the logs and the vault. Nothing here may build, fetch or talk to a
//! registry, and no stored secret may be part of an answer, except one that the very request made.

mod api;
mod assets;
mod audit;
mod auth;
mod base_images;
mod build_selection;
mod entitlement;
mod guard;
mod json;
mod live;
mod metrics;
mod organisations;
mod pages;
mod parameters;
mod password_work;
mod problem;
mod provider;
mod registries;
mod registry_webhooks;
mod serve;
mod session;
mod suggested_name;
mod throttle;
mod visitor;
mod webhooks;

use std::{path::PathBuf, sync::Arc};

use axum::{Router, middleware};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use self::{live::LiveStreams, metrics::Metrics, password_work::PasswordWork, problem::Problem, throttle::Throttle};
pub use self::{provider::SignInProvider, serve::serve};
use crate::{
    build_log::BuildLogs,
    clock::Clock,
    domain::{
        engine_health::EngineHealth,
        polling::PollPace,
        repository::{Repository, default_image},
        source_url::SourcePolicy,
    },
    intake::Intake,
    signals::Signals,
    store::Store,
    vault::Vault,
};

/// Everything that requests are answered with.
pub struct AppState {
    pub store: Store,
    pub intake: Intake,
    pub vault: Arc<Vault>,
    pub clock: Clock,
    pub signals: Signals,
    pub logs: Arc<BuildLogs>,
    /// The engine of this process's worker, as last seen.
    pub engine: watch::Receiver<EngineHealth>,
    /// Cancelled when the process is to end: streams end then.
    pub shutdown: CancellationToken,
    /// Through which people may sign in beside their passwords.
    pub provider: Option<SignInProvider>,
    pub settings: WebSettings,
}

/// What the web needs of the configuration.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// Under which address others reach the service, without a trailing slash.
    pub base_url: String,
    pub source_policy: SourcePolicy,
    pub default_registry: Option<String>,
    /// The directory whose disk must have room.
    pub data_dir: PathBuf,
    /// Whether this process is to build, and so needs an engine.
    pub builds_here: bool,
    /// Name and value of what the server was started with, without secrets, for its administrators to read.
    pub started_with: Vec<(&'static str, String)>,
    /// Whether notifications can be sent.
    pub sends_mail: bool,
    /// How often sources are looked at.
    pub poll_pace: PollPace,
}

impl WebSettings {
    /// Whether browsers reach the service by TLS: cookies then never leave without it.
    pub fn is_secure(&self) -> bool {
        self.base_url.starts_with("https://")
    }
}

/// The state of all handlers. Cheap to clone.
#[derive(Clone)]
struct Web {
    state: Arc<AppState>,
    metrics: Arc<Metrics>,
    /// Kibibytes of webhook bodies that may be in memory at once.
    webhook_memory: Arc<Semaphore>,
    passwords: Arc<PasswordWork>,
    throttle: Arc<Throttle>,
    live: Arc<LiveStreams>,
}

impl std::ops::Deref for Web {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.state
    }
}

impl Web {
    /// The image that a repository's builds bear, without a tag.
    fn image_of(&self, repository: &Repository) -> String {
        repository
            .image
            .clone()
            .unwrap_or_else(|| default_image(&repository.name, self.settings.default_registry.as_deref()))
    }
}

/// All routes, ready to be served.
pub fn router(state: AppState) -> Router {
    let metrics = Metrics::new();
    metrics.started_at(state.clock.now());
    let web = Web {
        state: Arc::new(state),
        metrics: Arc::new(metrics),
        webhook_memory: Arc::new(Semaphore::new(webhooks::MEMORY_KIB)),
        passwords: Arc::default(),
        throttle: Arc::default(),
        live: Arc::default(),
    };
    let (router, description) = api::described_routes().split_for_parts();
    router
        .merge(api::routes(description))
        .merge(pages::routes())
        .merge(live::routes())
        .fallback(|| async { Problem::not_found("page") })
        .method_not_allowed_fallback(guard::method_not_allowed)
        .layer(middleware::from_fn_with_state(web.clone(), guard::same_origin))
        .layer(middleware::from_fn_with_state(web.clone(), metrics::measure))
        .layer(CatchPanicLayer::custom(guard::panicked))
        .layer(middleware::from_fn_with_state(
            web.clone(),
            pages::problems_become_pages,
        ))
        .layer(middleware::map_response(guard::secure))
        .with_state(web)
}

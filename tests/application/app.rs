//! The service in one process, with three users: `root`, who administers; `ann`, who owns a namespace; `bob`, another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use hullworks::{
    build_log::BuildLogs,
    clock::Clock,
    domain::{
        access::Scope,
        build::Ending,
        engine_health::EngineHealth,
        ids::{BuildId, TokenId, UserId, WorkerId},
        polling::PollPace,
        source_url::SourcePolicy,
    },
    intake::{Intake, IntakeSettings},
    logs::sealed::SealedLogs,
    poller::{Poller, PollerParts, PollerSettings},
    scheduler::SchedulerParts,
    signals::Signals,
    source::{SourceConfig, Sources},
    store::{Lease, Leased, NewToken, Store, User},
    tokens,
    vault::Vault,
    web::{self, AppState, SignInProvider, WebSettings},
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// A secret that must be seen nowhere.
pub const HOOK_SECRET: &str = "canary-of-the-hook";

pub struct App {
    pub store: Store,
    pub intake: Intake,
    pub clock: Clock,
    /// Seconds by which its clock is ahead.
    ahead: Arc<AtomicI64>,
    pub logs: Arc<BuildLogs>,
    /// Starts nothing by itself: tests say when.
    pub scheduler: SchedulerParts,
    /// The same of looks at sources.
    pub poller: Poller,
    pub engine: watch::Sender<EngineHealth>,
    pub url: String,
    pub root: String,
    pub ann: String,
    pub bob: String,
    /// A token of `ann` that has expired.
    pub expired: String,
    pub client: reqwest::Client,
    pub shutdown: CancellationToken,
    _server: AbortOnDropHandle<()>,
    _directory: tempfile::TempDir,
}

/// What differs from the usual.
pub struct Setup {
    pub builds_here: bool,
    pub provider: Option<SignInProvider>,
    pub sends_mail: bool,
    pub allow_local_sources: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            builds_here: true,
            provider: None,
            sends_mail: false,
            allow_local_sources: false,
        }
    }
}

impl App {
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub async fn start_with(setup: Setup) -> Self {
        let app = Self::start_without_people(setup).await;
        let now = app.clock.now();
        let root = token_of_new_user(&app.store, "root", true, now, None).await;
        let ann = token_of_new_user(&app.store, "ann", false, now, None).await;
        let bob = token_of_new_user(&app.store, "bob", false, now, None).await;
        let owner = app.store.user_named("ann").await.unwrap().unwrap().id;
        let expired = token(&app.store, &owner, Scope::Admin, now, Some(now - TimeDelta::seconds(1))).await;
        Self {
            root,
            ann,
            bob,
            expired,
            ..app
        }
    }

    /// As on the first day: nobody is known, and nobody has a token.
    pub async fn start_without_people(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_sqlite(&directory.path().join("test.db")).await.unwrap();
        let vault = Arc::new(Vault::open_or_create(&directory.path().join("master.key"), true).unwrap());
        let (signals, shutdown) = (Signals::default(), CancellationToken::new());
        let ahead = Arc::new(AtomicI64::new(0));
        let clock = {
            let ahead = ahead.clone();
            Clock::from_fn(move || Clock::system().now() + TimeDelta::seconds(ahead.load(Ordering::Relaxed)))
        };
        let logs = Arc::new(BuildLogs::new(
            store.clone(),
            SealedLogs::new(directory.path().join("logs")).unwrap(),
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let source_policy = SourcePolicy {
            allow_local: setup.allow_local_sources,
        };
        let poll_pace = PollPace {
            poll: Duration::from_secs(3600),
            without_webhook: Duration::from_secs(120),
        };
        let settings = IntakeSettings {
            source_policy,
            default_registry: Some("r.example.com".to_owned()),
        };
        let intake = Intake::start(store.clone(), vault.clone(), clock.clone(), signals.clone(), settings);
        let scheduler = SchedulerParts {
            store: store.clone(),
            intake: intake.clone(),
            clock: clock.clone(),
            signals: signals.clone(),
        };
        let poller = Poller::new(PollerParts {
            store: store.clone(),
            intake: intake.clone(),
            sources: sources(&directory, source_policy),
            vault: vault.clone(),
            clock: clock.clone(),
            settings: PollerSettings {
                pace: poll_pace,
                source_policy,
            },
        });
        let engine = watch::Sender::new(EngineHealth::Up("20.10.24".to_owned()));
        let router = web::router(AppState {
            store: store.clone(),
            intake: intake.clone(),
            vault,
            clock: clock.clone(),
            signals,
            logs: logs.clone(),
            engine: engine.subscribe(),
            shutdown: shutdown.clone(),
            provider: setup.provider,
            settings: WebSettings {
                base_url: url.clone(),
                source_policy,
                default_registry: Some("r.example.com".to_owned()),
                data_dir: directory.path().to_owned(),
                builds_here: setup.builds_here,
                started_with: vec![("concurrency", "2".to_owned())],
                sends_mail: setup.sends_mail,
                poll_pace,
            },
        });
        let server = AbortOnDropHandle::new(tokio::spawn(web::serve(listener, router, shutdown.clone())));
        Self {
            store,
            intake,
            clock,
            ahead,
            logs,
            scheduler,
            poller,
            engine,
            url,
            root: String::new(),
            ann: String::new(),
            bob: String::new(),
            expired: String::new(),
            client: reqwest::Client::new(),
            shutdown,
            _server: server,
            _directory: directory,
        }
    }

    /// Lets time go by.
    pub fn pass(&self, time: TimeDelta) {
        self.ahead.fetch_add(time.num_seconds(), Ordering::Relaxed);
    }

    /// Adds a user; answers a token of theirs.
    pub async fn user(&self, name: &str) -> String {
        token_of_new_user(&self.store, name, false, self.clock.now(), None).await
    }

    /// A token of a user that allows no more than `scope`.
    pub async fn scoped_token(&self, name: &str, scope: Scope) -> String {
        let owner = self.store.user_named(name).await.unwrap().unwrap();
        token(&self.store, &owner.id, scope, self.clock.now(), None).await
    }

    /// A request by whoever has `token`; an empty one is nobody's.
    pub fn request(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        match token {
            "" => request,
            token => request.bearer_auth(token),
        }
    }

    /// Status and document of an answer to a request with an optional JSON body.
    pub async fn call(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.request(token, method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(&self.ann, Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(&self.ann, Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(&self.ann, Method::PUT, path, Some(body)).await
    }

    /// The repository `ann/app`: `main` becomes `latest`, versions their own tags.
    pub async fn app(&self) -> Value {
        let (status, document) = self.put("/api/v1/repositories/ann/app", document()).await;
        assert_eq!(status, 201, "{document:#}");
        document
    }

    /// Sends a payload of GitHub to a repository's webhook, rightly signed.
    pub async fn push(&self, repository: &Value, delivery: &str, payload: &Value) -> (u16, Value) {
        let body = payload.to_string();
        let request = self.webhook(repository, "push", delivery, &body);
        answer(request.body(body).send().await.unwrap()).await
    }

    /// A signed request without its body.
    pub fn webhook(&self, repository: &Value, event: &str, delivery: &str, body: &str) -> RequestBuilder {
        self.client
            .post(repository["webhook"]["url"].as_str().unwrap())
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", delivery)
            .header("x-hub-signature-256", signature(body))
    }

    /// A signed request with its body, by a secret other than [`HOOK_SECRET`].
    pub fn signed_webhook(
        &self,
        repository: &Value,
        event: &str,
        delivery: &str,
        body: &str,
        secret: &str,
    ) -> RequestBuilder {
        self.client
            .post(repository["webhook"]["url"].as_str().unwrap())
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", delivery)
            .header("x-hub-signature-256", signature_by(secret, body))
            .body(body.to_owned())
    }

    /// Claims the oldest build.
    pub async fn claim(&self) -> Leased {
        let now = Clock::system().now();
        let claimed = self
            .store
            .claim(&WorkerId::new(), now, Duration::from_secs(60))
            .await
            .unwrap();
        claimed.unwrap()
    }

    pub async fn finish(&self, lease: &Lease, ending: Ending) {
        self.store
            .finish(lease, &ending, &[], Clock::system().now())
            .await
            .unwrap();
        self.logs.hub().changed(lease.build());
    }

    /// Starts a build of `ann/app` by hand.
    pub async fn trigger(&self) -> BuildId {
        let (status, started) = self.post("/api/v1/repositories/ann/app/trigger", json!({})).await;
        assert_eq!(status, 202, "{started:#}");
        BuildId::from(started["builds"][0]["id"].as_str().unwrap())
    }
}

fn sources(directory: &tempfile::TempDir, policy: SourcePolicy) -> Sources {
    let config = SourceConfig {
        mirrors_dir: directory.path().join("mirrors"),
        policy,
        allow_private_addresses: false,
        max_fetch_bytes: 1 << 20,
        max_refs: 1000,
        max_file_bytes: 1 << 20,
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(5),
        fetch_timeout: Duration::from_secs(20),
    };
    Sources::new(config).unwrap()
}

/// The document that most tests save.
pub fn document() -> Value {
    json!({
        "source": {
            "provider": "github", "url": "https://github.com/acme/app.git", "webhook_secret": HOOK_SECRET,
        },
        "rules": [
            { "source_type": "branch", "source": "main", "docker_tag": "latest" },
            { "source_type": "tag", "source": "/^v([0-9.]+)$/", "docker_tag": "{\\1}" },
        ],
    })
}

/// A push of one commit to one ref, as GitHub tells of it.
pub fn payload(full_ref: &str, commit: &str, message: &str) -> Value {
    let commit_document = json!({ "id": commit, "message": message });
    json!({
        "ref": full_ref, "before": "0".repeat(40), "after": commit,
        "created": true, "deleted": false, "forced": false,
        "commits": [commit_document], "head_commit": commit_document,
        "repository": { "full_name": "acme/app", "clone_url": "https://github.com/acme/app.git" },
    })
}

/// A commit's name made of one letter.
pub fn commit(letter: char) -> String {
    letter.to_string().repeat(40)
}

pub fn signature(body: &str) -> String {
    signature_by(HOOK_SECRET, body)
}

fn signature_by(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

pub async fn answer(response: Response) -> (u16, Value) {
    let status = response.status();
    if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE {
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json",
            "{status}"
        );
    }
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(response.headers().contains_key("content-security-policy"));
    let text = response.text().await.unwrap();
    let document = match text.is_empty() {
        true => Value::Null,
        false => serde_json::from_str(&text).unwrap_or(Value::String(text)),
    };
    (status.as_u16(), document)
}

async fn token_of_new_user(
    store: &Store,
    name: &str,
    is_admin: bool,
    now: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
) -> String {
    let user = User {
        id: UserId::new(),
        name: name.to_owned(),
        is_admin,
        created_at: now,
        access: Default::default(),
    };
    assert!(store.add_user(&user, "no password can have this hash").await.unwrap());
    token(store, &user.id, Scope::Admin, now, expires_at).await
}

async fn token(
    store: &Store,
    user: &UserId,
    scope: Scope,
    now: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
) -> String {
    let secret = tokens::new_token();
    let hash = tokens::token_hash(secret.expose_secret());
    let new = NewToken {
        id: TokenId::new(),
        user,
        label: "test",
        hash: hash.as_bytes(),
        scope,
        created_at: now,
        expires_at,
    };
    store.add_token(&new).await.unwrap();
    secret.expose_secret().to_owned()
}

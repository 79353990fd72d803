//! Everything that a push needs to become an image: a service, an engine, a registry with a base image, a git server.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    engine::{CleanUp, Engine},
    gate::Gate,
    git_server::{GitServer, Repository},
    registry::Registry,
    server::{Options, Server, ids},
    webhook::{Push, Webhook},
};

/// How long a small build may take, with everything else that the machine does at the same time.
pub const BUILD: Duration = Duration::from_secs(90);

/// The parts of one test; all end with it, the service first.
pub struct World {
    pub server: Server,
    pub engine: Engine,
    pub git: GitServer,
    /// The whole name of an image with a shell, in the engine and at the registry.
    pub base: String,
    images: Vec<CleanUp>,
    pub registry: Registry,
}

/// One image repository of the service, and its source.
pub struct App {
    /// `namespace/name`
    pub name: String,
    /// Without a tag.
    pub image: String,
    pub source: Repository,
    pub webhook: Webhook,
    /// `owner/name` at the forge.
    pub full_name: String,
}

impl World {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// With some lines of hullworks.toml.
    pub async fn with_settings(lines: &str) -> Self {
        Self::with(Options::with_settings(lines)).await
    }

    pub async fn with(options: Options) -> Self {
        Self::with_git(options, GitServer::start().await).await
    }

    pub async fn with_git(options: Options, git: GitServer) -> Self {
        let (engine, registry) = (Engine::connect().await, Registry::start().await);
        let images = vec![engine.clean_up(registry.host())];
        let base = format!("{}/base/busybox:1", registry.host());
        // Its own, so that no step is in the engine's cache from another test or run.
        engine.import_busybox(&base, &Uuid::now_v7().to_string()).await;
        engine.push(&base).await;
        Self {
            server: Server::start(options).await,
            engine,
            git,
            base,
            images,
            registry,
        }
    }

    /// A Dockerfile that goes on from the base image.
    pub fn dockerfile(&self, steps: &str) -> String {
        format!("FROM {}\n{steps}\n", self.base)
    }

    /// A step that builds are held up at.
    pub fn gate(&self) -> Gate {
        Gate::new(&self.base)
    }

    /// Removes images that are named after another registry than the world's own, when the test is over.
    pub fn clean_up_after(&mut self, registry: &str) {
        self.images.push(self.engine.clean_up(registry));
    }

    /// The repository `admin/app` with `changes` to its document, by default one whose branch `main` becomes `latest`.
    pub async fn app(&self, changes: Value) -> App {
        self.app_named("app", changes).await
    }

    pub async fn app_named(&self, name: &str, changes: Value) -> App {
        let full_name = format!("team/{name}");
        let source = self.git.create(&full_name).await;
        let mut document = json!({
            "image": format!("{}/admin/{name}", self.registry.host()),
            "source": { "provider": "github", "url": source.url },
            "rules": [{ "source_type": "branch", "source": "main", "docker_tag": "latest" }]
        });
        merge(&mut document, changes);
        let image = document["image"].as_str().unwrap_or_default().to_owned();
        let name = format!("admin/{name}");
        let webhook = self.server.put_repository(&name, document).await;
        App {
            name,
            image,
            source,
            webhook,
            full_name,
        }
    }

    /// Pushes files to `main`, tells the service, and returns the build's id.
    pub async fn push(&self, app: &App, files: &[(&str, &str)]) -> String {
        let commit = app.source.push(files, "A change").await;
        app.announce("main", &commit).await.remove(0)
    }

    /// As [`World::push`], and waits for the build to succeed.
    pub async fn build(&self, app: &App, files: &[(&str, &str)]) -> Value {
        let id = self.push(app, files).await;
        self.server.wait_for_success(&id, BUILD).await
    }

    /// As [`World::push`], and waits for the build to fail; returns it and its log.
    pub async fn failure(&self, app: &App, files: &[(&str, &str)]) -> (Value, String) {
        let id = self.push(app, files).await;
        let build = self.server.wait_for_end(&id, "failed", BUILD).await;
        (build, self.server.log(&id).await)
    }

    /// What an image of an app prints, after a pull.
    pub async fn run(&self, app: &App, tag: &str, arguments: &[&str]) -> String {
        let image = format!("{}:{tag}", app.image);
        self.engine.pull(&image).await;
        self.engine.run(&image, arguments).await
    }

    /// Waits until a build is in a phase.
    pub async fn wait_for_phase(&self, id: &str, phase: &str) {
        self.server
            .wait_for(id, &format!("the phase {phase}"), BUILD, |build| {
                build["phase"] == phase
            })
            .await;
    }

    /// The digest that `latest` of `admin/app` has at the registry.
    pub async fn latest(&self) -> Option<String> {
        self.registry.digest("admin/app", "latest").await
    }
}

impl App {
    /// Tells the service that a branch was pushed, as GitHub does, and returns the ids of the builds that it queued.
    pub async fn announce(&self, branch: &str, commit: &str) -> Vec<String> {
        let (status, answer) = self.webhook.github(&self.push_of(branch, commit)).await;
        assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");
        ids(&answer["builds"])
    }

    /// A push of a branch, to be told to the service.
    pub fn push_of<'a>(&'a self, branch: &'a str, commit: &'a str) -> Push<'a> {
        Push {
            full_name: &self.full_name,
            clone_url: &self.source.url,
            branch,
            commit,
            message: "A change",
        }
    }
}

/// Merges objects into objects (RFC 7396, but without removals); everything else is replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

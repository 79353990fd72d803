//! From a push to an image that runs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    engine::Engine,
    faults::{Fault, FaultyProxy},
    git_server::GitServer,
    postgres::Database,
    registry::Registry,
    server::{Options, Server, ids},
    webhook::Push,
};

/// How long a small build may take, with everything else that the machine does at the same time.
const BUILD: Duration = Duration::from_secs(90);

/// A repository whose branch `main` becomes `latest`.
fn document(provider: &str, url: &str, image: &str) -> Value {
    json!({
        "image": image,
        "source": { "provider": provider, "url": url },
        "rules": [{ "source_type": "branch", "source": "main", "docker_tag": "latest" }]
    })
}

fn push<'a>(clone_url: &'a str, commit: &'a str) -> Push<'a> {
    Push {
        full_name: "team/app",
        clone_url,
        branch: "main",
        commit,
        message: "A change",
    }
}

/// Pushes a commit whose image prints `text`, tells the service, and returns the image after a pull.
async fn push_builds_an_image_that_prints(server: &Server, text: &str) {
    let (engine, registry, git) = (
        Engine::connect().await,
        Registry::start().await,
        GitServer::start().await,
    );
    let _images = engine.clean_up(registry.host());
    let base = format!("{}/base/busybox:1", registry.host());
    engine.import_busybox(&base, "base").await;
    engine.push(&base).await;
    let source = git.create("team/app").await;
    let image = format!("{}/admin/app", registry.host());
    let webhook = server
        .put_repository("admin/app", document("github", &source.url, &image))
        .await;

    let dockerfile = format!("FROM {base}\nCOPY text /text\nRUN grep . /text\nCMD [\"cat\", \"/text\"]\n");
    let commit = source
        .push(&[("Dockerfile", &dockerfile), ("text", text)], "A change")
        .await;
    let (status, answer) = webhook.github(&push(&source.url, &commit)).await;
    assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");

    let build = server.wait_for_success(&ids(&answer["builds"])[0], BUILD).await;
    assert_eq!(build["commit"], commit);
    let digest = registry.digest("admin/app", "latest").await;
    assert_eq!(build["digest"].as_str(), digest.as_deref());
    let log = server.log(build["id"].as_str().expect("an id")).await;
    assert!(log.contains(text), "{log}");
    let image = format!("{image}:latest");
    engine.pull(&image).await;
    assert_eq!(engine.run(&image, &[]).await, text);
}

#[tokio::test]
async fn a_pushed_commit_becomes_an_image_that_runs() {
    let server = Server::start(Options::default()).await;
    push_builds_an_image_that_prints(&server, "made from a push").await;
}

#[tokio::test]
async fn a_pushed_commit_becomes_an_image_with_postgresql_too() {
    let database = Database::create().await;
    let server = Server::start(Options {
        database_url: Some(database.url()),
        ..Options::default()
    })
    .await;
    push_builds_an_image_that_prints(&server, "made with PostgreSQL").await;
}

/// A service that accepts and queues, and builds nothing.
async fn queueing_server() -> Server {
    Server::start(Options {
        settings: "concurrency = 0".to_owned(),
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn every_forge_that_is_known_queues_a_build() {
    let (server, git) = (queueing_server().await, GitServer::start().await);
    let source = git.create("team/app").await;
    let commit = source.push(&[("Dockerfile", "FROM scratch\n")], "A change").await;
    for provider in ["github", "bitbucket", "bitbucket-server"] {
        let image = format!("127.0.0.1:5000/admin/{provider}");
        let webhook = server
            .put_repository(&format!("admin/{provider}"), document(provider, &source.url, &image))
            .await;
        let push = push(&source.url, &commit);
        let (status, answer) = match provider {
            "github" => webhook.github(&push).await,
            "bitbucket" => webhook.bitbucket(&push).await,
            _ => webhook.bitbucket_server(&push).await,
        };
        assert_eq!(
            (status, &answer["outcome"]),
            (202, &json!("queued")),
            "{provider}: {answer:#}"
        );
        let build = server.build(&ids(&answer["builds"])[0]).await;
        assert_eq!(
            (&build["status"], &build["commit"]),
            (&json!("queued"), &json!(commit)),
            "{provider}"
        );
    }
}

#[tokio::test]
async fn an_acknowledged_push_survives_a_kill() {
    let (mut server, git) = (queueing_server().await, GitServer::start().await);
    let source = git.create("team/app").await;
    let commit = source.push(&[("Dockerfile", "FROM scratch\n")], "A change").await;
    let image = "127.0.0.1:5000/admin/app";
    let webhook = server
        .put_repository("admin/app", document("github", &source.url, image))
        .await;
    let (status, answer) = webhook.github(&push(&source.url, &commit)).await;
    assert_eq!(status, 202, "{answer:#}");
    server.kill9();
    server.restart().await;
    let build = server.build(&ids(&answer["builds"])[0]).await;
    assert_eq!((&build["status"], &build["commit"]), (&json!("queued"), &json!(commit)));
}

#[tokio::test]
async fn the_service_ends_by_itself_when_it_is_asked_to() {
    let mut server = queueing_server().await;
    assert!(server.sigterm().await.success());
    server.restart().await;
    assert!(server.sigterm().await.success());
}

#[tokio::test]
async fn a_registry_that_fails_for_a_while_is_tried_again() {
    let (server, registry, git) = (
        Server::start(Options::default()).await,
        Registry::start().await,
        GitServer::start().await,
    );
    let proxy = FaultyProxy::before(registry.host()).await;
    let _images = Engine::connect().await.clean_up(proxy.host());
    let source = git.create("team/app").await;
    source
        .push(&[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "a")], "A change")
        .await;
    let image = format!("{}/admin/app", proxy.host());
    server
        .put_repository("admin/app", document("github", &source.url, &image))
        .await;
    proxy.set(Fault::Status(500));
    let builds = server.trigger("admin/app", json!({})).await;
    server
        .wait_for(&builds[0], "the push or a second attempt", BUILD, |build| {
            build["phase"] == "push" || build["attempt"].as_u64() > Some(1)
        })
        .await;
    proxy.set(Fault::None);
    let build = server.wait_for_success(&builds[0], BUILD).await;
    assert_eq!(
        build["digest"].as_str(),
        registry.digest("admin/app", "latest").await.as_deref()
    );
}

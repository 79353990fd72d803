//! Pushing to registries that ask for a password, refuse, fail for a while, or would pass credentials on.

use axum::http::{StatusCode, header};
use serde_json::json;

use crate::support::{
    engine::Engine,
    faults::{Fault, FaultyProxy},
    git_server::GitServer,
    registry::Registry,
    server::{Options, Server},
    wait,
    witness::Witness,
    world::{BUILD, World},
};

const FILES: [(&str, &str); 2] = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "a")];

#[tokio::test]
async fn a_registry_with_a_password_is_pushed_to_with_the_stored_one() {
    let mut world = World::start().await;
    let private = Registry::start_with_password("pusher", "s3cret-pass").await;
    world.clean_up_after(private.host());
    let app = world
        .app(json!({ "image": format!("{}/admin/app", private.host()) }))
        .await;
    world
        .server
        .put_registry("admin", private.host(), "pusher", "s3cret-pass")
        .await;
    let dockerfile = world.dockerfile("CMD [\"echo\", \"private\"]");
    let build = world.build(&app, &[("Dockerfile", &dockerfile)]).await;
    assert_eq!(
        build["digest"].as_str(),
        private.digest("admin/app", "latest").await.as_deref()
    );
    let image = format!("{}:latest", app.image);
    world.engine.remove(&image).await;
    world.engine.pull_as(&image, "pusher", "s3cret-pass").await;
    assert_eq!(world.engine.run(&image, &[]).await, "private");
}

#[tokio::test]
async fn a_base_image_is_pulled_with_the_stored_password() {
    let mut world = World::start().await;
    let private = Registry::start_with_password("puller", "s3cret-pass").await;
    world.clean_up_after(private.host());
    let base = format!("{}/base/private:1", private.host());
    world.engine.import_busybox(&base, "a private base").await;
    world.engine.push_as(&base, "puller", "s3cret-pass").await;
    world.engine.remove(&base).await;
    let app = world.app(json!({})).await;
    world
        .server
        .put_registry("admin", private.host(), "puller", "s3cret-pass")
        .await;
    let dockerfile = format!("FROM {base}\nCMD [\"cat\", \"/content\"]\n");
    world.build(&app, &[("Dockerfile", &dockerfile)]).await;
    assert_eq!(world.run(&app, "latest", &[]).await, "a private base");
}

#[tokio::test]
async fn a_registry_that_refuses_the_password_fails_the_build_at_once() {
    let (server, git) = (Server::start(Options::default()).await, GitServer::start().await);
    let registry = Registry::start_with_password("pusher", "s3cret-pass").await;
    let _images = Engine::connect().await.clean_up(registry.host());
    let source = git.create("team/app").await;
    source.push(&FILES, "A change").await;
    let document = json!({
        "image": format!("{}/admin/app", registry.host()),
        "source": { "provider": "github", "url": source.url },
        "rules": [{ "source_type": "branch", "source": "main" }]
    });
    server.put_repository("admin/app", document).await;
    server
        .put_registry("admin", registry.host(), "pusher", "a-wrong-pass")
        .await;
    let builds = server.trigger("admin/app", json!({})).await;
    let build = server.wait_for_end(&builds[0], "failed", BUILD).await;
    assert_eq!(
        (&build["error"]["kind"], &build["attempt"]),
        (&json!("registry"), &json!(1)),
        "{build:#}"
    );
    let log = server.log(&builds[0]).await;
    assert!(!log.contains("trying again") && !log.contains("a-wrong-pass"), "{log}");
    assert_eq!(registry.digest("admin/app", "latest").await, None);
}

#[tokio::test]
async fn a_registry_that_fails_for_a_while_is_tried_again() {
    let mut world = World::start().await;
    let proxy = FaultyProxy::before(world.registry.host()).await;
    world.clean_up_after(proxy.host());
    let app = world
        .app(json!({ "image": format!("{}/admin/app", proxy.host()) }))
        .await;
    proxy.set(Fault::Status(500));
    let build = world.push(&app, &FILES).await;
    wait::until("a first failure", BUILD, async || (proxy.failed() > 0).then_some(())).await;
    proxy.set(Fault::None);
    let build = world.server.wait_for_success(&build, BUILD).await;
    assert_eq!(build["digest"].as_str(), world.latest().await.as_deref());
}

#[tokio::test]
async fn a_realm_on_another_host_gets_no_credentials() {
    let world = World::start().await;
    let thief = Witness::start(StatusCode::UNAUTHORIZED).await;
    let challenge = format!("Bearer realm=\"http://localhost:{}/token\",service=\"x\"", thief.port());
    let registry = Witness::start((StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)])).await;
    let host = format!("127.0.0.1:{}", registry.port());
    let app = world.app(json!({ "image": format!("{host}/admin/app") })).await;
    world.server.put_registry("admin", &host, "pusher", "s3cret-pass").await;
    let (build, log) = world.failure(&app, &FILES).await;
    assert_eq!(build["error"]["kind"], "registry", "{build:#}\n{log}");
    assert!(log.contains("trusted realms"), "{log}");
    assert_eq!(thief.seen(), [], "the other host was asked");
    assert!(!registry.seen().is_empty(), "the registry was asked");
}

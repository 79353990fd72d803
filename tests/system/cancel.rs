//! A cancel takes effect within two seconds, whatever the build is doing.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::{
    faults::{Fault, FaultyProxy},
    git_server::Behaviour,
    wait,
    world::{BUILD, World},
};

const PROMPTLY: Duration = Duration::from_secs(2);

const SCRATCH: [(&str, &str); 2] = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "a")];

/// Cancels a build and waits, not for long, until it has ended so, with its log saying it.
async fn cancel(world: &World, build: &str) {
    let (status, answer) = world.server.cancel(build).await;
    assert_eq!(status, 202, "{answer:#}");
    let ended = world
        .server
        .wait_for(build, "the end of a canceled build", PROMPTLY, |build| {
            !build["finished_at"].is_null()
        })
        .await;
    assert_eq!(
        (&ended["status"], &ended["error"]),
        (&json!("canceled"), &json!(null)),
        "{ended:#}"
    );
    let log = world.server.log(build).await;
    assert!(log.lines().last().unwrap_or_default().contains("canceled"), "{log}");
    assert_eq!(world.latest().await, None);
    let (status, _) = world.server.cancel(build).await;
    assert!(matches!(status, 202 | 409), "a second cancel changes nothing: {status}");
    assert_eq!(world.server.build(build).await["finished_at"], ended["finished_at"]);
}

#[tokio::test]
async fn a_queued_build_is_canceled_and_never_starts() {
    let world = World::with_settings("concurrency = 0").await;
    let app = world.app(json!({})).await;
    let build = world.push(&app, &SCRATCH).await;
    cancel(&world, &build).await;
    assert!(world.server.log(&build).await.contains("canceled by admin"));
    assert_eq!(world.server.build(&build).await["started_at"], json!(null));
}

#[tokio::test]
async fn a_fetch_from_a_server_that_does_not_answer_is_canceled() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let commit = app.source.push(&SCRATCH, "A change").await;
    world.git.set(Behaviour::Stall);
    let build = app.announce("main", &commit).await.remove(0);
    world.wait_for_phase(&build, "fetch").await;
    cancel(&world, &build).await;
    // The next one is not held up by what was broken off.
    world.git.set(Behaviour::Serve);
    world.build(&app, &[("a", "b")]).await;
}

/// Cancels a build in a step of its Dockerfile, under a builder that the settings choose.
async fn cancel_in_a_step(settings: &str) {
    let world = World::with_settings(settings).await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let dockerfile = world.dockerfile(&gate.step());
    let build = world.push(&app, &[("Dockerfile", &dockerfile)]).await;
    gate.reached_by(1).await;
    cancel(&world, &build).await;
    wait::until("the step to end", PROMPTLY, async || (gate.held() == 0).then_some(())).await;
    wait::until("nothing to be left in the engine", PROMPTLY, async || {
        world.engine.traces_of(&build).await.is_empty().then_some(())
    })
    .await;
    world.build(&app, &SCRATCH).await;
}

#[tokio::test]
async fn a_running_step_is_canceled_and_leaves_nothing_running() {
    cancel_in_a_step("builder = \"buildkit\"").await;
}

#[tokio::test]
async fn a_running_step_of_the_classic_builder_is_canceled_and_leaves_no_container() {
    cancel_in_a_step("builder = \"classic\"").await;
}

#[tokio::test]
async fn a_push_to_a_registry_that_does_not_answer_is_canceled() {
    let mut world = World::start().await;
    let proxy = FaultyProxy::before(world.registry.host()).await;
    world.clean_up_after(proxy.host());
    let app = world
        .app(json!({ "image": format!("{}/admin/app", proxy.host()) }))
        .await;
    proxy.set(Fault::Stall);
    // From the base image: what has neither a name nor a digest afterwards is cleaned up by its label.
    let dockerfile = world.dockerfile("COPY a /");
    let build = world.push(&app, &[("Dockerfile", &dockerfile), ("a", "a")]).await;
    wait::until("the push to hang", BUILD, async || (proxy.failed() > 0).then_some(())).await;
    cancel(&world, &build).await;
    proxy.set(Fault::None);
    let next = world.build(&app, &[("a", "b")]).await;
    assert_eq!(world.latest().await.as_deref(), next["digest"].as_str());
}

#[tokio::test]
async fn a_build_that_has_ended_cannot_be_canceled() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let build = world.build(&app, &SCRATCH).await;
    let (status, answer) = world.server.cancel(build["id"].as_str().expect("an id")).await;
    assert_eq!(status, 409, "{answer:#}");
    assert_eq!(
        world.server.build(build["id"].as_str().expect("an id")).await["status"],
        "succeeded"
    );
}

#[tokio::test]
async fn a_repository_that_is_deleted_takes_its_running_build_with_it() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let dockerfile = world.dockerfile(&gate.step());
    let build = world.push(&app, &[("Dockerfile", &dockerfile)]).await;
    gate.reached_by(1).await;
    let (status, answer) = world
        .server
        .request(Method::DELETE, "/repositories/admin/app", None)
        .await;
    assert!(matches!(status, 200 | 204), "{status} {answer:#}");
    wait::until("the step to end", PROMPTLY, async || (gate.held() == 0).then_some(())).await;
    for path in [format!("/builds/{build}"), format!("/builds/{build}/log")] {
        assert_eq!(world.server.request(Method::GET, &path, None).await.0, 404, "{path}");
    }
    let (status, answer) = app.webhook.github(&app.push_of("main", &"1".repeat(40))).await;
    assert_eq!(status, 404, "{answer:#}");
    wait::until("nothing to be left in the engine", BUILD, async || {
        world.engine.traces_of(&build).await.is_empty().then_some(())
    })
    .await;
    // The worker is free for others.
    let other = world.app_named("other", json!({})).await;
    world.build(&other, &SCRATCH).await;
}

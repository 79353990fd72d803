//! What the service stands on goes away and comes back: it waits, says for what, and goes on by itself.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use url::Url;

use crate::support::{
    engine,
    faults::{Fault, FaultyProxy},
    postgres::Database,
    server::{Options, Server},
    wait,
    world::{BUILD, World},
};

const SCRATCH: [(&str, &str); 2] = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "a")];

/// How long the service may take to see that something is gone or back.
const NOTICED: Duration = Duration::from_secs(30);

/// Waits until `/readyz` answers with a status and names all of `words`.
async fn readiness(server: &Server, wanted: u16, words: &[&str]) {
    let mut last = String::new();
    let found = wait::until_some(NOTICED, async || {
        let response = reqwest::get(format!("{}/readyz", server.url()))
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        last = response.text().await.expect("an answer");
        (status == wanted && words.iter().all(|word| last.contains(word))).then_some(())
    })
    .await;
    assert!(found.is_some(), "not {wanted} with {words:?}: {last}");
}

/// A world whose engine is behind a proxy.
async fn world_behind(proxy: &FaultyProxy) -> World {
    World::with(Options {
        without_engine: true,
        ..Options::with_settings(&format!("docker_host = \"tcp://{}\"", proxy.host()))
    })
    .await
}

/// Without an engine a build waits for it and costs no attempt; `named` is what `/readyz` says of the engine.
async fn builds_wait_for_the_engine(fault: Fault, named: &str) {
    let proxy = FaultyProxy::before(&engine::address()).await;
    proxy.set(fault);
    let world = world_behind(&proxy).await;
    let app = world.app(json!({})).await;
    let build = world.push(&app, &SCRATCH).await;
    readiness(&world.server, 503, &["engine", named]).await;
    let waiting = world.server.build(&build).await;
    assert_eq!(
        (&waiting["status"], &waiting["attempt"]),
        (&json!("queued"), &json!(0)),
        "{waiting:#}"
    );
    let waiting_for = waiting["waiting_for"].as_str().unwrap_or_default();
    assert!(waiting_for.contains("Docker Engine"), "{waiting:#}");

    proxy.set(Fault::None);
    let done = world.server.wait_for_success(&build, BUILD).await;
    assert_eq!(done["attempt"], 1);
    readiness(&world.server, 200, &[]).await;
}

#[tokio::test]
async fn without_an_engine_builds_wait_and_start_when_it_comes() {
    builds_wait_for_the_engine(Fault::Gone, "the connection to the engine was lost").await;
}

#[tokio::test]
async fn while_the_engine_hangs_builds_wait_and_start_when_it_answers() {
    builds_wait_for_the_engine(Fault::Stall, "did not answer").await;
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_named_by_its_address() {
    let server = Server::start(Options {
        without_engine: true,
        ..Options::with_settings("docker_host = \"unix:///nowhere/docker.sock\"")
    })
    .await;
    readiness(&server, 503, &["engine", "unix:///nowhere/docker.sock"]).await;
}

#[tokio::test]
async fn a_build_whose_engine_went_away_is_tried_again_when_it_is_back() {
    let proxy = FaultyProxy::before(&engine::address()).await;
    let world = world_behind(&proxy).await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let build = world
        .push(&app, &[("Dockerfile", &world.dockerfile(&gate.step()))])
        .await;
    gate.reached_by(1).await;
    proxy.set(Fault::Gone);
    let waiting = world
        .server
        .wait_for(&build, "its return to the queue", NOTICED, |build| {
            build["status"] == "queued"
        })
        .await;
    assert_ne!(waiting["waiting_for"].as_str().unwrap_or_default(), "", "{waiting:#}");
    readiness(&world.server, 503, &["engine"]).await;
    wait::until("the step to end", NOTICED, async || (gate.held() == 0).then_some(())).await;

    proxy.set(Fault::None);
    gate.reached_by(1).await;
    gate.open().await;
    let done = world.server.wait_for_success(&build, BUILD).await;
    assert_eq!(done["attempt"], 2, "{done:#}");
    assert_eq!(world.latest().await.as_deref(), done["digest"].as_str());
}

#[tokio::test]
async fn while_the_database_is_gone_nothing_is_acknowledged_and_afterwards_everything_goes_on() {
    let database = Database::create().await;
    let mut url = Url::parse(&database.url()).expect("the address of a database");
    let host = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(5432));
    let proxy = FaultyProxy::before(&host).await;
    let (host, port) = proxy.host().split_once(':').expect("a host and a port");
    url.set_host(Some(host)).expect("a host");
    url.set_port(port.parse().ok()).expect("a port");
    let world = World::with(Options {
        database_url: Some(url.into()),
        ..Options::default()
    })
    .await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let running = world
        .push(&app, &[("Dockerfile", &world.dockerfile(&gate.step()))])
        .await;
    gate.reached_by(1).await;

    proxy.set(Fault::Gone);
    readiness(&world.server, 503, &["database"]).await;
    let commit = app.source.push(&SCRATCH, "While the database is gone").await;
    let event = app
        .webhook
        .github_event("push", app.push_of("main", &commit).github().to_string());
    let (status, answer) = app.webhook.send(&event).await;
    assert_eq!(status, 503, "{answer:#}");
    let (status, _) = world.server.request(Method::GET, "/builds", None).await;
    assert_eq!(status, 503);

    proxy.set(Fault::None);
    readiness(&world.server, 200, &[]).await;
    gate.open().await;
    let done = world.server.wait_for_success(&running, BUILD).await;
    assert_eq!(
        done["attempt"], 1,
        "a short absence costs the running build nothing: {done:#}"
    );
    let (status, answer) = app.webhook.send(&event).await;
    assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");
    let next = crate::support::server::ids(&answer["builds"]).remove(0);
    world.server.wait_for_success(&next, BUILD).await;
    drop(world);
}

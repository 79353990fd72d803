//! What a real registry reports to the service while images are pushed to it and pulled.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    engine::Engine,
    registry::Registry,
    server::{Options, Server},
    wait,
    world::{BUILD, World},
};

const REPORTED: Duration = Duration::from_secs(30);

/// A registry that reports to a service, with the secret that it was given or with another.
async fn reporting_registry(server: &Server, secret: Option<&str>) -> Registry {
    let host = Registry::free_host();
    let stored = server.put_registry("admin", &host, "pusher", "s3cret-pass").await;
    let of = |field: &str| stored["webhook"][field].as_str().expect("a text").to_owned();
    let secret = secret.map_or_else(|| of("secret"), str::to_owned);
    Registry::start_reporting(host, &of("url"), &secret).await
}

/// A service, and a registry that reported to it what was pushed and pulled.
async fn reported(secret: Option<&str>) -> (Server, Registry) {
    let (server, engine) = (Server::start(Options::default()).await, Engine::connect().await);
    let registry = reporting_registry(&server, secret).await;
    let _images = engine.clean_up(registry.host());
    let image = format!("{}/team/base:1", registry.host());
    engine.import_busybox(&image, "a base").await;
    engine.push(&image).await;
    engine.pull(&image).await;
    (server, registry)
}

/// How the registry's reports were answered, once there are answers.
async fn answers(registry: &Registry) -> Vec<String> {
    wait::until("an answer to a report", REPORTED, async || {
        let Value::Object(statuses) = registry.report_statuses().await else {
            return None;
        };
        (!statuses.is_empty()).then(|| statuses.keys().cloned().collect())
    })
    .await
}

/// How often the service has taken a registry's report, by what it led to; as the metrics have it.
async fn counted(server: &Server) -> String {
    let metrics = reqwest::get(format!("{}/metrics", server.url()))
        .await
        .expect("an answer");
    assert_eq!(metrics.status(), 200);
    let metrics = metrics.text().await.expect("a text");
    let lines = metrics.lines().filter(|line| line.contains("provider=\"registry\""));
    lines.collect()
}

/// How often a report had images looked at.
async fn looks(server: &Server) -> u32 {
    let counted = counted(server).await;
    let (_, after) = counted.split_once("outcome=\"queued\"} ").unwrap_or_default();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

#[tokio::test]
async fn the_reports_of_a_real_registry_are_taken() {
    let (server, registry) = reported(None).await;
    assert_eq!(answers(&registry).await, ["202 Accepted"]);
    // Layers, pushes and pulls alike; nothing stands on this image.
    assert!(
        counted(&server)
            .await
            .starts_with("hullworks_webhooks_total{provider=\"registry\",outcome=\"ignored\"} ")
    );
}

#[tokio::test]
async fn a_registry_with_a_wrong_secret_is_refused() {
    let (server, registry) = reported(Some("wrong")).await;
    assert_eq!(answers(&registry).await, ["401 Unauthorized"]);
    assert_eq!(counted(&server).await, "");
}

#[tokio::test]
async fn a_push_that_a_registry_reports_has_what_stands_on_it_built_again_at_once() {
    // It would be looked at by itself in a quarter of an hour.
    let mut world = World::with_settings("[base_images]\ndebounce_seconds = 0").await;
    let registry = reporting_registry(&world.server, None).await;
    world.clean_up_after(registry.host());
    let base = format!("{}/team/base:1", registry.host());
    let push = async |content: &str| {
        world.engine.import_busybox(&base, content).await;
        world.engine.push(&base).await;
    };
    push("the first").await;
    let app = world.app(json!({})).await;
    let dockerfile = format!("FROM {base}\nCMD [\"cat\", \"/content\"]\n");
    let first = world.build(&app, &[("Dockerfile", &dockerfile)]).await;
    wait::until("the base to be watched", BUILD, async || {
        world.engine.push(&base).await;
        (looks(&world.server).await > 0).then_some(())
    })
    .await;
    let before = looks(&world.server).await;
    push("the second").await;
    wait::until("the report to be taken", REPORTED, async || {
        (looks(&world.server).await > before).then_some(())
    })
    .await;
    let again = wait::until("the build that follows", BUILD, async || {
        let builds = world.server.builds(&app.name).await;
        builds.into_iter().find(|build| build["cause"]["kind"] == "base_image")
    })
    .await;
    let again = world
        .server
        .wait_for_success(again["id"].as_str().expect("an id"), BUILD)
        .await;
    assert_eq!(again["commit"], first["commit"]);
    assert_eq!(again["cause"]["image"], base);
    assert_eq!(world.run(&app, "latest", &[]).await, "the second");
}

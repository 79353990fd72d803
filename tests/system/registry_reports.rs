//! What a real registry reports to the service while images are pushed to it and pulled.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    engine::Engine,
    registry::Registry,
    server::{Options, Server},
    wait,
};

const REPORTED: Duration = Duration::from_secs(30);

/// A service, and a registry that reports to it with the stored secret or another; what was pushed to it.
async fn push_to_reporting_registry(secret: Option<&str>) -> (Server, Registry) {
    let (server, engine) = (Server::start(Options::default()).await, Engine::connect().await);
    let host = Registry::free_host();
    let stored = server.put_registry("admin", &host, "pusher", "s3cret-pass").await;
    let of = |field: &str| stored["webhook"][field].as_str().expect("a text").to_owned();
    let secret = secret.map_or_else(|| of("secret"), str::to_owned);
    let registry = Registry::start_reporting(host, &of("url"), &secret).await;
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

async fn counted(server: &Server) -> String {
    let metrics = reqwest::get(format!("{}/metrics", server.url()))
        .await
        .expect("an answer");
    assert_eq!(metrics.status(), 200);
    let metrics = metrics.text().await.expect("a text");
    let lines = metrics.lines().filter(|line| line.contains("provider=\"registry\""));
    lines.collect()
}

#[tokio::test]
async fn the_reports_of_a_real_registry_are_taken() {
    let (server, registry) = push_to_reporting_registry(None).await;
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
    let (server, registry) = push_to_reporting_registry(Some("wrong")).await;
    assert_eq!(answers(&registry).await, ["401 Unauthorized"]);
    assert_eq!(counted(&server).await, "");
}

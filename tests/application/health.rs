use std::collections::BTreeMap;

use hullworks::domain::engine_health::EngineHealth;
use reqwest::Method;
use serde_json::json;

use crate::app::{App, Setup, answer, commit, payload};

#[tokio::test]
async fn ready_is_said_only_when_everything_can_be_used() {
    let app = App::start().await;
    assert_eq!(
        app.call("", Method::GET, "/healthz", None).await,
        (200, json!({ "status": "up" }))
    );
    assert_eq!(
        app.call("", Method::GET, "/readyz", None).await,
        (200, json!({ "status": "ready" }))
    );
    app.engine.send_replace(EngineHealth::Down("no answer".to_owned()));
    let (status, problem) = app.call("", Method::GET, "/readyz", None).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (503, &json!("engine")),
        "{problem:#}"
    );
    assert!(problem.to_string().contains("no answer"), "{problem:#}");
    app.store.close().await;
    let (status, problem) = app.call("", Method::GET, "/readyz", None).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (503, &json!("database")),
        "{problem:#}"
    );
    assert_eq!(app.call("", Method::GET, "/healthz", None).await.0, 200);
}

/// The metrics as somebody gets them who sends this `Accept` header: their media type and text.
async fn metrics(app: &App, accept: &str) -> (String, String) {
    let request = app.request("", Method::GET, "/metrics").header("accept", accept);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    (media_type, response.text().await.unwrap())
}

#[tokio::test]
async fn metrics_count_builds_and_requests() {
    let app = App::start().await;
    let repository = app.app().await;
    app.push(&repository, "d", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    app.get("/api/v1/repositories/ann/app").await;
    let (media_type, text) = metrics(&app, "application/openmetrics-text;version=1.0.0;q=0.6,*/*;q=0.1").await;
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("# TYPE hullworks_webhooks counter\n"), "{text}");
    let (_, prometheus) = metrics(&app, "*/*").await;
    for text in [text, prometheus] {
        for line in [
            "hullworks_builds{status=\"queued\"} 1",
            "hullworks_builds{status=\"failed\"} 0",
            "hullworks_webhooks_total{provider=\"github\",outcome=\"queued\"} 1",
            "hullworks_http_requests_total{method=\"GET\",route=\"/api/v1/repositories/{namespace}/{name}\",status=\"200\"} 1",
            "hullworks_engine_up 1",
            "hullworks_workers 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("ann"), "what users wrote is no label:\n{text}");
    }
}

#[tokio::test]
async fn whoever_does_not_ask_for_open_metrics_gets_prometheus_text() {
    let app = App::start().await;
    // What was never counted is not told.
    app.get("/healthz").await;
    for accept in [
        "*/*",
        "text/plain",
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "text/html",
    ] {
        let (media_type, text) = metrics(&app, accept).await;
        assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8", "{accept}");
        assert!(!text.contains("# EOF"), "{text}");
        // In this format every sample bears the name under which its kind was told, a histogram's parts beside it.
        let mut kinds = BTreeMap::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(kinds.insert(name, kind), None, "{name} is described twice");
            } else if !line.starts_with('#') {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let name = sample.split('{').next().unwrap();
                let of_histogram = ["_bucket", "_sum", "_count"]
                    .iter()
                    .filter_map(|part| name.strip_suffix(part))
                    .any(|name| kinds.get(name) == Some(&"histogram"));
                assert!(
                    kinds.contains_key(name) || of_histogram,
                    "{line} is not described in\n{text}"
                );
            }
        }
        assert_eq!(kinds.get("hullworks_http_requests_total"), Some(&"counter"));
    }
}

#[tokio::test]
async fn an_engine_is_asked_for_only_where_something_is_built() {
    let app = App::start().await;
    app.engine.send_replace(EngineHealth::Unknown);
    let (status, problem) = app.call("", Method::GET, "/readyz", None).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (503, &json!("engine")));
    let elsewhere = App::start_with(Setup {
        builds_here: false,
        ..Setup::default()
    })
    .await;
    elsewhere
        .engine
        .send_replace(EngineHealth::Down("no answer".to_owned()));
    assert_eq!(elsewhere.call("", Method::GET, "/readyz", None).await.0, 200);
}

#[tokio::test]
async fn without_its_database_the_service_asks_to_come_back() {
    let app = App::start().await;
    let repository = app.app().await;
    app.store.close().await;
    for path in ["/api/v1/builds", "/api/v1/repositories/ann/app", "/metrics", "/"] {
        let response = app.request("", Method::GET, path).send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"), "{path}");
        assert_eq!(answer(response).await.0, 503, "{path}");
    }
    let push = payload("refs/heads/main", &commit('a'), "x").to_string();
    let request = app.webhook(&repository, "push", "d", &push).body(push);
    let response = request.send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(answer(response).await.0, 503);
}

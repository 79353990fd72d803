use std::collections::BTreeSet;

use hullworks::domain::engine_health::EngineHealth;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, commit, document, payload};

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

#[tokio::test]
async fn metrics_count_builds_and_requests() {
    let app = App::start().await;
    let repository = app.app().await;
    app.push(&repository, "d", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    let text = app
        .request("", Method::GET, "/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for line in [
        "hullworks_builds{status=\"queued\"} 1",
        "hullworks_webhooks_total{provider=\"github\",outcome=\"queued\"} 1",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_description_of_the_api_is_whole() {
    let app = App::start().await;
    let (status, description) = app.call("", Method::GET, "/api/openapi.json", None).await;
    assert_eq!(status, 200);
    let paths: BTreeSet<String> = description["paths"].as_object().unwrap().keys().cloned().collect();
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/repositories",
        "/api/v1/repositories/{namespace}/{name}",
        "/api/v1/repositories/{namespace}/{name}/trigger",
        "/api/v1/repositories/{namespace}/{name}/preview",
        "/api/v1/repositories/{namespace}/{name}/builds",
        "/api/v1/repositories/{namespace}/{name}/deliveries",
        "/api/v1/repositories/{namespace}/{name}/deliveries/{id}/replay",
        "/api/v1/builds",
        "/api/v1/builds/{id}",
        "/api/v1/builds/{id}/log",
        "/api/v1/builds/{id}/cancel",
        "/api/v1/builds/{id}/retry",
        "/api/v1/namespaces/{namespace}/registries/{host}",
        "/api/v1/registries/{host}",
        "/webhooks/{provider}/{hook_id}",
    ] {
        assert!(paths.contains(path), "{path}");
    }
    let mut references = Vec::new();
    collect_references(&description, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    assert!(description["components"]["securitySchemes"]["token"].is_object());
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect_references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_start_page_escapes_what_strangers_wrote_and_shows_nothing_private() {
    let app = App::start().await;
    let mut rules = document();
    rules["rules"] = json!([{ "source_type": "branch", "source": "/.*/", "docker_tag": "x" }]);
    let (_, repository) = app.put("/api/v1/repositories/ann/app", rules.clone()).await;
    let (_, answer) = app
        .push(
            &repository,
            "d",
            &payload("refs/heads/<script>x</script>", &commit('a'), "x"),
        )
        .await;
    assert_eq!(answer["outcome"], "queued", "{answer:#}");
    rules["visibility"] = json!("private");
    let (_, hidden) = app.put("/api/v1/repositories/ann/hidden", rules).await;
    app.push(&hidden, "d", &payload("refs/heads/main", &commit('b'), "x"))
        .await;
    let page = app.request("", Method::GET, "/").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'none'"), "{policy}");
    let text = page.text().await.unwrap();
    assert!(text.contains("ann/app") && !text.contains("hidden"), "{text}");
    assert!(!text.contains("<script"), "{text}");
}

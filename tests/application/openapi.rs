//! The description of the API against the routes that are served.

use std::{collections::BTreeSet, path::Path};

use hullworks::domain::build::{Ending, ErrorKind, Failure};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::app::{App, commit, document, payload};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

pub async fn description(app: &App) -> Value {
    let (status, description) = app.call("", Method::GET, "/api/openapi.json", None).await;
    assert_eq!(status, 200);
    description
}

/// Every path with its methods.
fn paths(description: &Value) -> &Map<String, Value> {
    description["paths"].as_object().unwrap()
}

/// Every path and method that is described, and its description.
pub fn operations(description: &Value) -> Vec<(String, Method, Value)> {
    let mut operations = Vec::new();
    for (path, item) in paths(description) {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                operations.push((path.clone(), method, operation.clone()));
            }
        }
    }
    operations
}

#[tokio::test]
async fn what_is_described_is_served_and_nothing_else() {
    let app = App::start().await;
    let description = description(&app).await;
    for (path, item) in paths(&description) {
        let address = path
            .split('/')
            .map(|part| if part.starts_with('{') { "none" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        for method in METHODS {
            let asked = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let (status, answer) = app.call(&app.root, asked, &address, None).await;
            assert_eq!(
                status == 405,
                item.get(method).is_none(),
                "{method} {path}: {status} {answer:#}"
            );
            assert_ne!(answer["detail"], "there is no such page", "{method} {path}");
        }
    }
    // What is routed without a description is the description itself; everything else is a page.
    let mut undescribed = BTreeSet::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/api")).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let routed = source
            .split(".route(")
            .skip(1)
            .filter_map(|rest| rest.split('"').nth(1));
        undescribed.extend(routed.map(str::to_owned));
    }
    let expected = ["/api/openapi.json"].map(str::to_owned);
    assert_eq!(undescribed, BTreeSet::from(expected));
}

#[tokio::test]
async fn every_route_of_the_interface_is_there() {
    let app = App::start().await;
    let description = description(&app).await;
    let found: BTreeSet<String> = operations(&description)
        .into_iter()
        .map(|(path, method, _)| format!("{method} {path}"))
        .collect();
    for operation in [
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "GET /api/v1/repositories",
        "GET /api/v1/repositories/{namespace}/{name}",
        "PUT /api/v1/repositories/{namespace}/{name}",
        "DELETE /api/v1/repositories/{namespace}/{name}",
        "POST /api/v1/repositories/{namespace}/{name}/trigger",
        "POST /api/v1/repositories/{namespace}/{name}/preview",
        "GET /api/v1/repositories/{namespace}/{name}/builds",
        "GET /api/v1/repositories/{namespace}/{name}/deliveries",
        "POST /api/v1/repositories/{namespace}/{name}/deliveries/{id}/replay",
        "GET /api/v1/builds",
        "GET /api/v1/builds/{id}",
        "GET /api/v1/builds/{id}/log",
        "POST /api/v1/builds/{id}/cancel",
        "POST /api/v1/builds/{id}/retry",
        "GET /api/v1/namespaces/{namespace}/registries",
        "GET /api/v1/namespaces/{namespace}/registries/{host}",
        "PUT /api/v1/namespaces/{namespace}/registries/{host}",
        "DELETE /api/v1/namespaces/{namespace}/registries/{host}",
        "GET /api/v1/registries",
        "GET /api/v1/registries/{host}",
        "PUT /api/v1/registries/{host}",
        "DELETE /api/v1/registries/{host}",
        "POST /webhooks/{provider}/{hook_id}",
        "POST /webhooks/registry/{hook_id}",
    ] {
        assert!(found.contains(operation), "{operation} is not in {found:#?}");
    }
}

#[tokio::test]
async fn the_description_is_valid() {
    let app = App::start().await;
    let description = description(&app).await;
    assert!(
        description["openapi"].as_str().unwrap().starts_with("3."),
        "{description:#}"
    );
    assert!(description["info"]["title"].is_string() && description["info"]["version"].is_string());
    assert_eq!(
        description["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&description) {
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id.clone()), "{id} is there twice");
        let summary = operation["summary"].as_str().or(operation["description"].as_str());
        assert!(summary.is_some_and(|text| !text.is_empty()), "{id} says nothing");
        let nothing = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&nothing);
        let mut in_path = BTreeSet::new();
        for parameter in parameters {
            assert!(parameter["schema"].is_object(), "{id}: {parameter:#}");
            assert!(parameter["description"].is_string(), "{id}: {parameter:#}");
            if parameter["in"] == "path" {
                assert_eq!(parameter["required"], true, "{id}: {parameter:#}");
                in_path.insert(parameter["name"].as_str().unwrap().to_owned());
            }
        }
        let named: BTreeSet<String> = path.split(['{', '}']).skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(in_path, named, "{id}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{id}");
        for (status, response) in responses {
            assert!(response["description"].is_string(), "{id}: {status}");
            if status.starts_with(['4', '5']) {
                assert!(
                    response["content"]["application/problem+json"].is_object(),
                    "{id}: {status} is no problem: {response:#}"
                );
            }
        }
        let is_public = operation["security"]
            .as_array()
            .is_some_and(|of| of.contains(&Value::Object(Map::new())));
        assert_eq!(is_public, !path.starts_with("/api/"), "{method} {path}");
    }
    let mut references = Vec::new();
    collect_references(&description, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
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

/// Holds an answer against its schema, down to the last field: nothing in it is undescribed, and what is promised is there.
fn conforms(description: &Value, schema: &Value, answer: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = description.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        return conforms(description, schema, answer, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let is_null = |choice: &&Value| choice["type"] == "null";
        // Only what may be null, and a cause, is a choice; the kinds of cause are told apart by their `kind`.
        let choice = choices.iter().find(|choice| match answer {
            Value::Null => is_null(choice),
            answer => {
                let kinds = &choice["properties"]["kind"]["enum"];
                !is_null(choice) && (kinds.is_null() || kinds[0] == answer["kind"])
            }
        });
        return conforms(
            description,
            choice.unwrap_or_else(|| panic!("{at}: {answer}")),
            answer,
            at,
        );
    }
    let kind = match answer {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        one => vec![one.clone()],
    };
    assert!(
        allowed.iter().any(|allowed| allowed == kind),
        "{at} is {answer}, not {schema}"
    );
    match answer {
        Value::String(text) if schema["format"] == "date-time" => assert!(text.ends_with('Z'), "{at}: {text}"),
        Value::String(text) if schema["enum"].is_array() => {
            assert!(schema["enum"].as_array().unwrap().contains(answer), "{at}: {text}");
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                conforms(description, &schema["items"], item, &format!("{at}[{index}]"));
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let described = schema["properties"].get(name).or(schema.get("additionalProperties"));
                let described = described.unwrap_or_else(|| panic!("{at}.{name} is not described"));
                conforms(description, described, value, &format!("{at}.{name}"));
            }
            for required in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    fields.contains_key(required.as_str().unwrap()),
                    "{at} promises {required}"
                );
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_answer_is_as_it_is_described() {
    let app = App::start().await;
    let description = description(&app).await;
    let check = |path: &str, method: &str, (status, answer): (u16, Value)| {
        let content = &description["paths"][path][method]["responses"][status.to_string()]["content"];
        let media_type = if status < 400 {
            "application/json"
        } else {
            "application/problem+json"
        };
        let schema = &content[media_type]["schema"];
        assert!(
            schema.is_object(),
            "{method} {path}: {status} is not described: {answer:#}"
        );
        conforms(&description, schema, &answer, path);
    };
    let base = "/api/v1/repositories/{namespace}/{name}";
    let mut full = document();
    full["source"].as_object_mut().unwrap().remove("webhook_secret");
    full["source"]["credentials"] = json!({ "username": "u", "password": "p" });
    full["build_secrets"] = json!({ "npm": "x" });
    full["rules"][0]["build_args"] = json!({ "A": "b" });
    full["rules"][0]["schedule"] = json!({ "cron": "@weekly" });
    full["links"] = json!(["alpine"]);
    check(base, "put", app.put("/api/v1/repositories/ann/made", full).await);
    let repository = app.app().await;
    check(base, "put", app.put("/api/v1/repositories/ann/app", document()).await);
    check(
        base,
        "put",
        app.put("/api/v1/repositories/ann/app?x=1", document()).await,
    );
    let push = payload("refs/heads/main", &commit('a'), "x");
    check(
        "/webhooks/{provider}/{hook_id}",
        "post",
        app.push(&repository, "d", &push).await,
    );
    check(
        "/webhooks/{provider}/{hook_id}",
        "post",
        app.push(&repository, "d", &push).await,
    );
    check(
        "/webhooks/{provider}/{hook_id}",
        "post",
        app.push(&repository, "e", &json!([])).await,
    );
    let leased = app.claim().await;
    app.finish(&leased.lease, Ending::Failed(Failure::new(ErrorKind::Build, "x")))
        .await;
    let id = leased.build.id.to_string();
    let build = "/api/v1/builds/{id}";
    let retry = app.post(&format!("/api/v1/builds/{id}/retry"), json!({})).await;
    let second = retry.1["builds"][0]["id"].as_str().unwrap().to_owned();
    check("/api/v1/builds/{id}/retry", "post", retry);
    for id in [&id, &second] {
        check(build, "get", app.get(&format!("/api/v1/builds/{id}")).await);
        check(
            "/api/v1/builds/{id}/cancel",
            "post",
            app.post(&format!("/api/v1/builds/{id}/cancel"), json!({})).await,
        );
    }
    check(build, "get", app.get("/api/v1/builds/none").await);
    check("/api/v1/builds", "get", app.get("/api/v1/builds").await);
    check("/api/v1/repositories", "get", app.get("/api/v1/repositories").await);
    check(base, "get", app.get("/api/v1/repositories/ann/app").await);
    check(
        base,
        "get",
        app.call("", Method::GET, "/api/v1/repositories/ann/app", None).await,
    );
    let of = |path: &str| (format!("{base}/{path}"), format!("/api/v1/repositories/ann/app/{path}"));
    let (path, address) = of("trigger");
    check(&path, "post", app.post(&address, json!({})).await);
    let (path, address) = of("preview");
    check(
        &path,
        "post",
        app.post(&address, json!({ "source_type": "tag", "source_name": "v1" }))
            .await,
    );
    let (path, address) = of("builds");
    check(&path, "get", app.get(&address).await);
    let (path, address) = of("deliveries");
    check(&path, "get", app.get(&address).await);
    let registry = json!({ "username": "u", "password": "p", "trusted_realms": ["a.example.com"] });
    let path = "/api/v1/namespaces/{namespace}/registries/{host}";
    let address = "/api/v1/namespaces/ann/registries/r.example.com";
    check(path, "put", app.put(address, registry.clone()).await);
    check(path, "put", app.put(address, registry).await);
    check(path, "put", app.put(address, json!({ "username": 1 })).await);
    check(path, "get", app.get(address).await);
    check(path, "get", app.get(&format!("{address}?x")).await);
    check(
        "/api/v1/namespaces/{namespace}/registries",
        "get",
        app.get("/api/v1/namespaces/ann/registries").await,
    );
    check("/api/v1/registries", "get", app.get("/api/v1/registries").await);
    check("/healthz", "get", app.get("/healthz").await);
    check("/readyz", "get", app.get("/readyz").await);
    app.store.close().await;
    check("/readyz", "get", app.get("/readyz").await);
    check(
        "/api/v1/builds",
        "get",
        app.call("", Method::GET, "/api/v1/builds", None).await,
    );
}

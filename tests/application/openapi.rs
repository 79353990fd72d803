//! The description of the API against the routes that are served.

use std::{collections::BTreeSet, path::Path};

use reqwest::Method;
use serde_json::{Map, Value};

use crate::app::App;

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
    // What is routed without a description is for browsers, and the description itself.
    let mut undescribed = BTreeSet::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let source = std::fs::read_to_string(path).unwrap();
            let routed = source
                .split(".route(")
                .skip(1)
                .filter_map(|rest| rest.split('"').nth(1));
            undescribed.extend(routed.map(str::to_owned));
        }
    }
    let expected = ["/", "/api/openapi.json", "/style.css"].map(str::to_owned);
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

#[tokio::test]
async fn every_field_of_an_answer_is_described() {
    let app = App::start().await;
    let repository = app.app().await;
    let build = app.trigger().await;
    let description = description(&app).await;
    let check = |schema: &str, document: &Value| {
        let described = &description["components"]["schemas"][schema];
        let properties = described["properties"].as_object().unwrap();
        for field in document.as_object().unwrap().keys() {
            assert!(properties.contains_key(field), "{schema} does not describe {field}");
        }
        for required in described["required"].as_array().unwrap() {
            let field = required.as_str().unwrap();
            assert!(document.get(field).is_some(), "{schema} promises {field}");
        }
    };
    check("Repository", &repository);
    check("Build", &app.get(&format!("/api/v1/builds/{build}")).await.1);
    let (_, deliveries) = app.get("/api/v1/repositories/ann/app/deliveries").await;
    check("Delivery", &deliveries["items"][0]);
    check("Problem", &app.get("/api/v1/builds?x=1").await.1);
}

//! What holds for every request, whatever it is about.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    app::{App, answer},
    openapi::{description, operations},
};

/// Every route that is described, about things that exist.
async fn addresses(app: &App) -> Vec<(Method, String)> {
    let repository = app.app().await;
    let build = app.trigger().await;
    let (_, registry) = app
        .put(
            "/api/v1/namespaces/ann/registries/r.example.com",
            json!({ "username": "u", "password": "p" }),
        )
        .await;
    let last_part = |document: &Value| {
        let url = document["webhook"]["url"].as_str().unwrap();
        url.rsplit('/').next().unwrap().to_owned()
    };
    let (hook, registry_hook) = (last_part(&repository), last_part(&registry));
    let described = operations(&description(app).await);
    let filled = described.into_iter().map(|(path, method, _)| {
        let path = path
            .replace("{namespace}", "ann")
            .replace("{name}", "app")
            .replace("{id}", build.as_str())
            .replace("{host}", "r.example.com")
            .replace("{provider}", "github")
            .replace(
                "/webhooks/registry/{hook_id}",
                &format!("/webhooks/registry/{registry_hook}"),
            )
            .replace("{hook_id}", &hook);
        (method, path)
    });
    let pages = ["/", "/api/openapi.json"].map(|path| (Method::GET, path.to_owned()));
    filled.chain(pages).collect()
}

#[tokio::test]
async fn no_route_takes_a_parameter_that_it_does_not_know() {
    let app = App::start().await;
    for (method, path) in addresses(&app).await {
        let (status, problem) = app
            .call(&app.root, method.clone(), &format!("{path}?nonsense=1"), None)
            .await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!("nonsense")),
            "{method} {path}: {problem:#}"
        );
    }
}

#[tokio::test]
async fn no_route_takes_a_token_in_its_address() {
    let app = App::start().await;
    for (method, path) in addresses(&app).await {
        for name in ["token", "access_token", "cursor"] {
            let (status, problem) = app
                .call("", method.clone(), &format!("{path}?{name}={}", app.root), None)
                .await;
            assert_eq!(status, 422, "{method} {path}: {problem:#}");
            assert!(!problem.to_string().contains(&app.root), "{problem:#}");
        }
    }
}

#[tokio::test]
async fn every_answer_bears_the_headers_against_misuse() {
    let app = App::start().await;
    let mut requests = addresses(&app).await;
    requests.push((Method::GET, "/no/such/page".to_owned()));
    requests.push((Method::PATCH, "/api/v1/builds".to_owned()));
    requests.push((Method::OPTIONS, "/".to_owned()));
    for (method, path) in requests {
        for token in ["", app.bob.as_str(), app.root.as_str(), "hwt_garbage"] {
            let response = app.request(token, method.clone(), &path).send().await.unwrap();
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "same-origin"),
                ("x-frame-options", "DENY"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                assert_eq!(response.headers()[name], value, "{method} {path}");
            }
            let policy = response.headers()["content-security-policy"].to_str().unwrap();
            assert!(
                policy.contains("default-src 'self'") && policy.contains("script-src 'self'"),
                "{policy}"
            );
            let cached = response.headers()["cache-control"].to_str().unwrap();
            assert_eq!(
                cached == "no-store",
                !path.starts_with("/assets/"),
                "{method} {path}: {cached}"
            );
            assert!(!response.headers().contains_key("access-control-allow-origin"));
            assert_ne!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_method_that_is_not_there_is_answered_with_those_that_are() {
    let app = App::start().await;
    app.app().await;
    for (method, path, allowed) in [
        (Method::GET, "/api/v1/repositories/ann/app/trigger", "POST"),
        (Method::OPTIONS, "/api/v1/repositories/ann/app/trigger", "POST"),
        (Method::PATCH, "/api/v1/repositories/ann/app", "GET,HEAD,PUT,DELETE"),
        (Method::OPTIONS, "/api/v1/builds", "GET,HEAD"),
        (Method::GET, "/webhooks/github/none", "POST"),
        (Method::POST, "/", "GET,HEAD"),
        (Method::DELETE, "/healthz", "GET,HEAD"),
    ] {
        let response = app.request(&app.ann, method.clone(), path).send().await.unwrap();
        let mut told: Vec<&str> = response.headers()["allow"].to_str().unwrap().split(',').collect();
        let mut wanted: Vec<&str> = allowed.split(',').collect();
        told.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(told, wanted, "{method} {path}");
        let (status, problem) = answer(response).await;
        assert_eq!(
            (status, &problem["status"]),
            (405, &json!(405)),
            "{method} {path}: {problem:#}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let app = App::start().await;
    app.app().await;
    for path in [
        "/nothing",
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/builds",
        "/api/v1/builds/",
        "/api/v1/builds/none",
        "/api/v1/builds/none/log",
        "/api/v1/builds/%00",
        "/api/v1/builds/%ff",
        "/api/v1/builds/..%2f..%2fetc%2fpasswd/log",
        "/api/v1/repositories/ann/none",
        "/api/v1/repositories/ann/app/",
        "/api/v1/repositories/Ann/app",
        "/api/v1/repositories/ann%2fapp/app",
        "/api/v1/repositories/ann%00/app",
        "/api/v1/repositories/none/none/builds",
        "/api/v1/repositories/none/none/deliveries",
        "/api/v1/namespaces/A/registries",
        "/api/v1/registries/none.example.com",
        "/.git/config",
        "//",
    ] {
        let (status, problem) = app.call(&app.root, Method::GET, path, None).await;
        assert_eq!(status, 404, "{path}: {problem:#}");
        assert_eq!(
            (&problem["type"], &problem["title"], &problem["status"]),
            (&json!("about:blank"), &json!("Not Found"), &json!(404)),
            "{path}"
        );
        assert!(
            problem["detail"].as_str().unwrap().starts_with("there is no such "),
            "{problem:#}"
        );
    }
}

#[tokio::test]
async fn a_head_is_answered_as_a_get_without_its_body() {
    let app = App::start().await;
    app.app().await;
    let build = app.trigger().await;
    for path in [
        "/".to_owned(),
        "/healthz".to_owned(),
        "/api/v1/builds".to_owned(),
        "/api/v1/repositories/ann/app".to_owned(),
        "/api/v1/repositories/ann/none".to_owned(),
        format!("/api/v1/builds/{build}/log"),
        // Though the build goes on, the head is all that is asked for.
        format!("/api/v1/builds/{build}/log?follow=true"),
    ] {
        let head = app.request(&app.ann, Method::HEAD, &path).send().await.unwrap();
        let get = app.request(&app.ann, Method::GET, &path).send().await.unwrap();
        assert_eq!(head.status(), get.status(), "{path}");
        assert_eq!(head.headers()["content-type"], get.headers()["content-type"], "{path}");
        assert_eq!(head.bytes().await.unwrap().len(), 0, "{path}");
    }
}

#[tokio::test]
async fn only_one_bearer_token_is_a_sign_in() {
    let app = App::start().await;
    let ask = async |values: &[String]| {
        let mut request = app.request("", Method::GET, "/api/v1/registries");
        for value in values {
            request = request.header("authorization", value);
        }
        let response = request.send().await.unwrap();
        let challenge = response.headers().get("www-authenticate").cloned();
        (answer(response).await.0, challenge)
    };
    for good in [
        format!("Bearer {}", app.root),
        format!("bearer {}", app.root),
        format!("BEARER  {}", app.root),
    ] {
        assert_eq!(ask(std::slice::from_ref(&good)).await.0, 200, "{good}");
    }
    let wrong_end = format!("{}0", &app.root[..app.root.len() - 1]);
    for bad in [
        vec![],
        vec![String::new()],
        vec!["Bearer".to_owned()],
        vec![app.root.clone()],
        vec![format!("Basic {}", app.root)],
        vec![format!("Token {}", app.root)],
        vec![format!("Bearer {}x", app.root)],
        vec![format!("Bearer {}", app.root.to_uppercase())],
        vec![format!("Bearer {}", app.root.trim_start_matches("hwt_"))],
        vec![format!("Bearer {} {}", app.root, app.root)],
        vec![format!("Bearer {}", app.root), format!("Bearer {}", app.root)],
        vec![format!("Bearer {}", "x".repeat(10_000))],
        vec!["Bearer hwt_".to_owned()],
        vec![format!("Bearer {}", app.expired)],
    ] {
        let (status, challenge) = ask(&bad).await;
        assert_eq!(status, 401, "{bad:?}");
        assert_eq!(challenge.unwrap(), "Bearer realm=\"hullworks\"", "{bad:?}");
    }
    assert_eq!(
        ask(&[format!("Bearer {wrong_end}")]).await.0,
        if app.root.ends_with('0') { 200 } else { 401 }
    );
}

#[tokio::test]
async fn whoever_may_not_do_it_is_told_that_before_what_is_wrong_with_the_body() {
    let app = App::start().await;
    app.app().await;
    let build = app.trigger().await;
    let wrong = |method: Method, path: &str, token: &str| {
        let request = app.request(token, method, path);
        request
            .header("content-type", "application/json")
            .body("{\"nonsense\": ")
    };
    for (method, path, other) in [
        (Method::PUT, "/api/v1/repositories/ann/app".to_owned(), 403),
        (Method::PUT, "/api/v1/repositories/ann/none".to_owned(), 403),
        (Method::POST, "/api/v1/repositories/ann/app/trigger".to_owned(), 403),
        (Method::POST, "/api/v1/repositories/ann/none/trigger".to_owned(), 404),
        (Method::POST, "/api/v1/repositories/ann/app/preview".to_owned(), 403),
        (Method::POST, format!("/api/v1/builds/{build}/cancel"), 403),
        (Method::POST, format!("/api/v1/builds/{build}/retry"), 403),
        (Method::PUT, "/api/v1/registries/r.example.com".to_owned(), 403),
        (
            Method::PUT,
            "/api/v1/namespaces/ann/registries/r.example.com".to_owned(),
            403,
        ),
    ] {
        for (token, expected) in [("", 401), (app.bob.as_str(), other), ("hwt_x", 401)] {
            let response = wrong(method.clone(), &path, token).send().await.unwrap();
            assert_eq!(response.status().as_u16(), expected, "{method} {path} by {token:?}");
        }
        let response = wrong(method.clone(), &path, &app.root).send().await.unwrap();
        let allowed = if other == 404 { 404 } else { 422 };
        assert_eq!(answer(response).await.0, allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_is_an_object_in_json_and_nothing_else() {
    let app = App::start().await;
    app.app().await;
    let path = "/api/v1/repositories/ann/app/trigger";
    let send = async |headers: &[(&str, &str)], body: &str| {
        let mut request = app.request(&app.ann, Method::POST, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.body(body.to_owned()).send().await.unwrap()).await
    };
    let json = ("content-type", "application/json");
    for (headers, body, expected) in [
        (&[][..], "", 202),
        (&[json], "", 202),
        (&[json], "{}", 202),
        (&[json, ("content-encoding", "identity")], "{}", 202),
        (&[("content-type", "Application/JSON; charset=utf-8")], " {} ", 202),
        (&[], "{}", 415),
        (&[("content-type", "text/plain")], "{}", 415),
        (&[("content-type", "application/x-www-form-urlencoded")], "a=b", 415),
        (&[json, ("content-encoding", "gzip")], "{}", 415),
        (&[json], "[]", 422),
        (&[json], "[null, null, null, null, false]", 422),
        (&[json], "null", 422),
        (&[json], "1", 422),
        (&[json], "\"x\"", 422),
        (&[json], "{} {}", 422),
        (&[json], "{", 422),
        (&[json], "\u{feff}{}", 422),
        (&[json], "{\"no_cache\": 1}", 422),
        (&[json], "{\"no_cache\": false, \"no_cache\": true}", 422),
        (&[json], "{\"source_type\": \"\\ud800\"}", 422),
        (&[json], "{\"docker_tag\": \"a\\u0000\"}", 422),
    ] {
        let (status, problem) = send(headers, body).await;
        assert_eq!(status, expected, "{headers:?} {body:?}: {problem:#}");
        let fields: &Value = &problem["errors"][0]["field"];
        assert_eq!(fields.is_string(), expected == 422, "{body:?}: {problem:#}");
    }
    let request = app
        .request(&app.ann, Method::POST, path)
        .header("content-type", "application/json");
    let not_text = request
        .body(b"{\"docker_tag\": \"\xff\"}".to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(answer(not_text).await.0, 422);
}

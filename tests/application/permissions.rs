use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, document};

/// Asks for a route as everybody; the expected statuses are in this order: nobody, another user, the owner, an
/// administrator.
async fn check(app: &App, method: &Method, path: &str, body: Option<&Value>, expected: [u16; 4]) {
    for (who, token, expected) in [
        ("nobody", "", expected[0]),
        ("another", &app.bob, expected[1]),
        ("the owner", &app.ann, expected[2]),
        ("an administrator", &app.root, expected[3]),
    ] {
        let (status, answer) = app.call(token, method.clone(), path, body.cloned()).await;
        assert_eq!(status, expected, "{method} {path} by {who}: {answer:#}");
    }
    for token in [app.expired.as_str(), "hwt_garbage", "garbage"] {
        let (status, _) = app.call(token, method.clone(), path, body.cloned()).await;
        assert_eq!(status, 401, "{method} {path} with the token {token}");
    }
}

#[tokio::test]
async fn public_is_read_by_everybody_and_private_does_not_exist_for_others() {
    let app = App::start().await;
    app.app().await;
    let mut private = document();
    private["visibility"] = json!("private");
    app.put("/api/v1/repositories/ann/secret", private).await;
    let build = app.trigger().await;
    let (_, started) = app.post("/api/v1/repositories/ann/secret/trigger", json!({})).await;
    let hidden = started["builds"][0]["id"].as_str().unwrap();
    let get = Method::GET;
    for path in [
        "/api/v1/repositories".to_owned(),
        "/api/v1/builds".to_owned(),
        "/api/v1/repositories/ann/app".to_owned(),
        "/api/v1/repositories/ann/app/builds".to_owned(),
        format!("/api/v1/builds/{build}"),
        format!("/api/v1/builds/{build}/log"),
    ] {
        check(&app, &get, &path, None, [200, 200, 200, 200]).await;
    }
    for path in [
        "/api/v1/repositories/ann/secret".to_owned(),
        "/api/v1/repositories/ann/secret/builds".to_owned(),
        format!("/api/v1/builds/{hidden}"),
        format!("/api/v1/builds/{hidden}/log"),
        format!("/api/v1/builds/{hidden}/log?follow=false"),
    ] {
        check(&app, &get, &path, None, [404, 404, 200, 200]).await;
    }
    check(
        &app,
        &get,
        "/api/v1/repositories/ann/secret/deliveries",
        None,
        [401, 404, 200, 200],
    )
    .await;
    check(
        &app,
        &get,
        "/api/v1/repositories/ann/app/deliveries",
        None,
        [401, 403, 200, 200],
    )
    .await;
    for (token, sees) in [("", false), (&app.bob, false), (&app.ann, true), (&app.root, true)] {
        for path in ["/api/v1/repositories", "/api/v1/builds"] {
            let (_, list) = app.call(token, Method::GET, path, None).await;
            assert_eq!(list.to_string().contains("secret"), sees, "{path}: {list:#}");
        }
    }
}

#[tokio::test]
async fn only_those_who_may_write_change_anything() {
    let app = App::start().await;
    app.app().await;
    let mut private = document();
    private["visibility"] = json!("private");
    app.put("/api/v1/repositories/ann/secret", private).await;
    let post = Method::POST;
    let tag = json!({ "source_type": "branch", "source_name": "main" });
    check(
        &app,
        &post,
        "/api/v1/repositories/ann/app/trigger",
        Some(&json!({})),
        [401, 403, 202, 202],
    )
    .await;
    check(
        &app,
        &post,
        "/api/v1/repositories/ann/secret/trigger",
        Some(&json!({})),
        [401, 404, 202, 202],
    )
    .await;
    check(
        &app,
        &post,
        "/api/v1/repositories/ann/app/preview",
        Some(&tag),
        [401, 403, 200, 200],
    )
    .await;
    check(
        &app,
        &post,
        "/api/v1/repositories/ann/secret/preview",
        Some(&tag),
        [401, 404, 200, 200],
    )
    .await;
    check(
        &app,
        &post,
        "/api/v1/repositories/ann/app/deliveries/none/replay",
        None,
        [401, 403, 404, 404],
    )
    .await;
    let build = app.trigger().await;
    check(
        &app,
        &post,
        &format!("/api/v1/builds/{build}/retry"),
        Some(&json!({})),
        [401, 403, 409, 409],
    )
    .await;
    check(
        &app,
        &post,
        &format!("/api/v1/builds/{build}/cancel"),
        None,
        [401, 403, 202, 202],
    )
    .await;
    check(
        &app,
        &post,
        &format!("/api/v1/builds/{build}/retry"),
        Some(&json!({})),
        [401, 403, 202, 202],
    )
    .await;
    let put = Method::PUT;
    check(
        &app,
        &put,
        "/api/v1/repositories/ann/app",
        Some(&document()),
        [401, 403, 200, 200],
    )
    .await;
    check(
        &app,
        &put,
        "/api/v1/repositories/team/app",
        Some(&document()),
        [401, 403, 403, 201],
    )
    .await;
    let delete = Method::DELETE;
    check(
        &app,
        &delete,
        "/api/v1/repositories/ann/app",
        None,
        [401, 403, 204, 404],
    )
    .await;
    check(
        &app,
        &delete,
        "/api/v1/repositories/ann/secret",
        None,
        [401, 404, 204, 404],
    )
    .await;
}

#[tokio::test]
async fn registries_are_their_namespaces_and_the_whole_servers_are_the_administrators() {
    let app = App::start().await;
    let credentials = json!({ "username": "u", "password": "p" });
    let own = "/api/v1/namespaces/ann/registries/r.example.com%3A5000";
    let everybodys = "/api/v1/registries/r.example.com%3A5000";
    check(&app, &Method::PUT, own, Some(&credentials), [401, 403, 201, 200]).await;
    check(&app, &Method::GET, own, None, [401, 403, 200, 200]).await;
    check(
        &app,
        &Method::GET,
        "/api/v1/namespaces/ann/registries",
        None,
        [401, 403, 200, 200],
    )
    .await;
    check(&app, &Method::DELETE, own, None, [401, 403, 204, 404]).await;
    check(&app, &Method::PUT, everybodys, Some(&credentials), [401, 403, 403, 201]).await;
    check(&app, &Method::GET, everybodys, None, [401, 403, 403, 200]).await;
    check(&app, &Method::GET, "/api/v1/registries", None, [401, 403, 403, 200]).await;
    check(&app, &Method::DELETE, everybodys, None, [401, 403, 403, 204]).await;
}

#[tokio::test]
async fn what_only_writers_may_know_is_not_shown_to_readers() {
    let app = App::start().await;
    let mut saved = document();
    saved["rules"][0]["build_args"] = json!({ "PROFILE": "canary-of-an-argument" });
    saved["build_secrets"] = json!({ "npm": "canary-of-a-build" });
    app.put("/api/v1/repositories/ann/app", saved).await;
    for token in ["", app.bob.as_str()] {
        let (_, read) = app.call(token, Method::GET, "/api/v1/repositories/ann/app", None).await;
        for absent in [
            "webhook",
            "build_secrets_set",
            "credentials_set",
            "build_args",
            "canary",
        ] {
            assert!(!read.to_string().contains(absent), "{absent}: {read:#}");
        }
    }
    let (_, read) = app.get("/api/v1/repositories/ann/app").await;
    assert_eq!(read["rules"][0]["build_args"]["PROFILE"], "canary-of-an-argument");
    assert_eq!(read["build_secrets_set"], json!(["npm"]));
}

#[tokio::test]
async fn a_token_has_no_place_in_an_address() {
    let app = App::start().await;
    let (status, problem) = app
        .call("", Method::GET, &format!("/api/v1/builds?token={}", app.ann), None)
        .await;
    assert_eq!(status, 422, "{problem:#}");
    assert!(!problem.to_string().contains(&app.ann), "{problem:#}");
}

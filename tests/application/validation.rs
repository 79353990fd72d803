//! Everything that is refused, by the path of the field at fault.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, document};

const PATH: &str = "/api/v1/repositories/ann/app";

/// The usual document with other values, each given by its pointer; without what is given as `None`.
fn changed(changes: &[(&str, Option<Value>)]) -> Value {
    let mut changed = document();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = changed.pointer_mut(parent).unwrap();
        match value {
            Some(value) => parent[key] = value.clone(),
            None => {
                parent.as_object_mut().unwrap().remove(key);
            }
        }
    }
    changed
}

fn fields(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{problem:#}"));
    errors
        .iter()
        .map(|error| error["field"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_document_is_refused_by_exactly_the_field_at_fault() {
    let app = App::start().await;
    let many = |count: usize| {
        (0..count)
            .map(|n| (format!("A{n}"), json!("x")))
            .collect::<serde_json::Map<_, _>>()
    };
    let rule = json!({ "source_type": "branch", "source": "main" });
    for (pointer, value, field) in [
        ("/source", None, "source"),
        ("/source/url", None, "source.url"),
        ("/source/provider", None, "source.provider"),
        ("/rules/0/source", None, "rules[0].source"),
        ("/rules/1/source_type", None, "rules[1].source_type"),
        (
            "/source",
            Some(json!(["github", "https://github.com/acme/app.git"])),
            "source",
        ),
        ("/source", Some(json!("https://github.com/acme/app.git")), "source"),
        ("/source/url", Some(json!(null)), "source.url"),
        ("/source/url", Some(json!("")), "source.url"),
        (
            "/source/url",
            Some(json!("https://u:p@github.com/acme/app.git")),
            "source.url",
        ),
        (
            "/source/url",
            Some(json!("http://github.com/acme/app.git")),
            "source.url",
        ),
        ("/source/url", Some(json!("git@github.com:acme/app.git")), "source.url"),
        (
            "/source/url",
            Some(json!("https://github.com/acme/app.git\n")),
            "source.url",
        ),
        ("/source/url", Some(json!("https://[::1]/acme/app.git")), "source.url"),
        ("/source/provider", Some(json!("GitHub")), "source.provider"),
        ("/source/submodules", Some(json!("yes")), "source.submodules"),
        ("/source/account", Some(json!(1)), "source.account"),
        ("/source/credentials", Some(json!("x")), "source.credentials"),
        ("/source/credentials", Some(json!({})), "source.credentials"),
        ("/source/credentials", Some(json!(["u", "p"])), "source.credentials"),
        (
            "/source/credentials",
            Some(json!({ "username": "", "password": "" })),
            "source.credentials",
        ),
        (
            "/source/credentials",
            Some(json!({ "user": "u" })),
            "source.credentials.user",
        ),
        (
            "/source/credentials",
            Some(json!({ "ssh_key": "k" })),
            "source.credentials.ssh_key",
        ),
        (
            "/source/credentials",
            Some(json!({ "username": "u", "password": 1 })),
            "source.credentials.password",
        ),
        ("/rules", Some(json!({})), "rules"),
        ("/rules", Some(json!([["branch", "main"]])), "rules[0]"),
        ("/rules", Some(json!(vec![rule; 201])), "rules"),
        ("/rules/0/source", Some(json!("")), "rules[0].source"),
        ("/rules/0/source", Some(json!("//")), "rules[0].source"),
        ("/rules/0/source", Some(json!("/(?=x)/")), "rules[0].source"),
        ("/rules/0/docker_tag", Some(json!("")), "rules[0].docker_tag"),
        ("/rules/0/docker_tag", Some(json!("a,,b")), "rules[0].docker_tag"),
        ("/rules/0/docker_tag", Some(json!("{branch}")), "rules[0].docker_tag"),
        (
            "/rules/0/docker_tag",
            Some(json!("x".repeat(129))),
            "rules[0].docker_tag",
        ),
        ("/rules/0/autobuild", Some(json!(1)), "rules[0].autobuild"),
        ("/rules/0/cache", Some(json!(null)), "rules[0].cache"),
        ("/rules/0/paths", Some(json!("src/")), "rules[0].paths"),
        ("/rules/0/paths", Some(json!([1])), "rules[0].paths[0]"),
        ("/rules/0/paths", Some(json!(["api/", "[a"])), "rules[0].paths[1]"),
        ("/rules/0/paths", Some(json!([""])), "rules[0].paths[0]"),
        ("/rules/0/paths", Some(json!(["!"])), "rules[0].paths[0]"),
        ("/rules/0/paths", Some(json!(["# all"])), "rules[0].paths[0]"),
        ("/rules/0/paths", Some(json!(["a\0"])), "rules[0].paths[0]"),
        (
            "/rules/0/paths",
            Some(json!(["ok", "x".repeat(1_001)])),
            "rules[0].paths[1]",
        ),
        ("/rules/0/paths", Some(json!(vec!["a"; 101])), "rules[0].paths"),
        (
            "/rules/0/platforms",
            Some(json!(["linux/amd64", "linux/arm64"])),
            "rules[0].platforms",
        ),
        ("/rules/0/build_args", Some(json!({ "A": 1 })), "rules[0].build_args.A"),
        ("/rules/0/build_args", Some(json!(["A=1"])), "rules[0].build_args"),
        (
            "/rules/0/build_args",
            Some(json!({ "A": "a\0" })),
            "rules[0].build_args.A",
        ),
        (
            "/rules/0/build_args",
            Some(Value::Object(many(201))),
            "rules[0].build_args",
        ),
        ("/rules/0/context", Some(json!(5)), "rules[0].context"),
        ("/rules/0/schedule", Some(json!("@daily")), "rules[0].schedule"),
        (
            "/rules/0/schedule",
            Some(json!(["@daily", "UTC", true])),
            "rules[0].schedule",
        ),
        ("/rules/0/schedule", Some(json!({})), "rules[0].schedule.cron"),
        (
            "/rules/0/schedule",
            Some(json!({ "cron": "every day" })),
            "rules[0].schedule.cron",
        ),
        (
            "/rules/0/schedule",
            Some(json!({ "cron": "* * * * *" })),
            "rules[0].schedule.cron",
        ),
        (
            "/rules/0/schedule",
            Some(json!({ "cron": "@daily", "time_zone": "Berlin" })),
            "rules[0].schedule.time_zone",
        ),
        (
            "/rules/0/schedule",
            Some(json!({ "cron": "@daily", "time_zone": null })),
            "rules[0].schedule.time_zone",
        ),
        (
            "/rules/0/schedule",
            Some(json!({ "cron": "@daily", "no_cache": 1 })),
            "rules[0].schedule.no_cache",
        ),
        (
            "/rules/0/schedule",
            Some(json!({ "cron": "@daily", "seconds": 5 })),
            "rules[0].schedule.seconds",
        ),
        ("/links", Some(json!([""])), "links[0]"),
        ("/links", Some(json!(["alpine", "https://x"])), "links[1]"),
        ("/links", Some(json!(["alpine@sha256:1"])), "links[0]"),
        ("/links", Some(json!(vec!["alpine"; 201])), "links"),
        ("/links", Some(json!("alpine")), "links"),
        ("/detect_base_images", Some(json!("true")), "detect_base_images"),
        (
            "/ignored_base_images",
            Some(json!(["alpine", "a b"])),
            "ignored_base_images[1]",
        ),
        (
            "/ignored_base_images",
            Some(json!(vec!["alpine"; 201])),
            "ignored_base_images",
        ),
        ("/ignored_base_images", Some(json!(null)), "ignored_base_images"),
        ("/visibility", Some(json!(null)), "visibility"),
        ("/description", Some(json!("x".repeat(25_001))), "description"),
        ("/description", Some(json!(["x"])), "description"),
        ("/image", Some(json!("")), "image"),
        ("/image", Some(json!("https://r.example.com/app")), "image"),
        ("/build_secrets", Some(json!({ "a/b": "x" })), "build_secrets.a/b"),
        ("/build_secrets", Some(json!({ "a": "" })), "build_secrets.a"),
        ("/build_secrets", Some(json!({ "a": null })), "build_secrets.a"),
        ("/build_secrets", Some(json!({ "a": 5 })), "build_secrets.a"),
        ("/build_secrets", Some(json!(["a"])), "build_secrets"),
        ("/role", Some(json!("admin")), "role"),
        ("/id", Some(json!("x")), "id"),
        ("/hook_id", Some(json!("x")), "hook_id"),
    ] {
        let (status, problem) = app.put(PATH, changed(&[(pointer, value.clone())])).await;
        assert_eq!(status, 422, "{pointer} {value:?}: {problem:#}");
        assert_eq!(fields(&problem), [field], "{pointer} {value:?}: {problem:#}");
        assert!(problem["detail"].as_str().unwrap().starts_with(field), "{problem:#}");
        assert_eq!(problem["title"], "Unprocessable Entity");
    }
    assert_eq!(app.get(PATH).await.0, 404, "nothing of it was stored");
}

#[tokio::test]
async fn every_fault_is_told_at_once() {
    let app = App::start().await;
    let (status, problem) = app
        .put(
            PATH,
            changed(&[
                ("/source/url", Some(json!("ftp://x/y"))),
                ("/rules/0/docker_tag", Some(json!("a/b"))),
                ("/rules/1/docker_tag", Some(json!("{\\2}"))),
                ("/links", Some(json!(["A B"]))),
            ]),
        )
        .await;
    assert_eq!(status, 422);
    let expected = ["source.url", "rules[0].docker_tag", "rules[1].docker_tag", "links[0]"];
    assert_eq!(fields(&problem), expected, "{problem:#}");
}

#[tokio::test]
async fn what_is_allowed_to_be_left_out_has_its_default() {
    let app = App::start().await;
    let least = json!({ "source": { "provider": "bitbucket", "url": "https://bitbucket.org/acme/app" } });
    let (status, saved) = app.put(PATH, least).await;
    assert_eq!(status, 201, "{saved:#}");
    assert_eq!(
        (
            &saved["visibility"],
            &saved["rules"],
            &saved["links"],
            &saved["detect_base_images"]
        ),
        (&json!("public"), &json!([]), &json!([]), &json!(true))
    );
    let rules = json!([{ "source_type": "branch", "source": "main" }]);
    let (_, saved) = app.put(PATH, changed(&[("/rules", Some(rules))])).await;
    let rule = &saved["rules"][0];
    assert_eq!(
        (&rule["docker_tag"], &rule["dockerfile"], &rule["context"]),
        (&json!("latest"), &json!("Dockerfile"), &json!("/"))
    );
    assert_eq!((&rule["autobuild"], &rule["cache"]), (&json!(true), &json!(true)));
    assert_eq!(rule["schedule"], Value::Null);
    let weekly = json!([{ "source_type": "branch", "source": "main", "schedule": { "cron": "0 4 * * 1" } }]);
    let (_, saved) = app.put(PATH, changed(&[("/rules", Some(weekly))])).await;
    assert_eq!(
        saved["rules"][0]["schedule"],
        json!({ "cron": "0 4 * * 1", "time_zone": "UTC", "no_cache": false })
    );
    assert_eq!(
        saved["rules"][0]["id"], rule["id"],
        "a schedule is not what makes a rule"
    );
}

#[tokio::test]
async fn fields_that_can_only_be_read_are_accepted_and_not_acted_on() {
    let app = App::start().await;
    let created = app.app().await;
    let (status, saved) = app
        .put(
            PATH,
            changed(&[
                ("/stars", Some(json!(99))),
                ("/pulls", Some(json!("many"))),
                ("/last_build", Some(json!({ "id": "x", "status": "succeeded" }))),
                ("/created_at", Some(json!("1970-01-01T00:00:00Z"))),
                ("/updated_at", Some(json!(null))),
                (
                    "/webhook",
                    Some(json!({ "url": "https://evil.example.com", "secret": "not the secret" })),
                ),
                ("/build_secrets_set", Some(json!(["x"]))),
                ("/source/credentials_set", Some(json!(true))),
                ("/rules/0/id", Some(json!("an id of my own"))),
                ("/namespace", Some(json!("ann"))),
                ("/name", Some(json!("app"))),
            ]),
        )
        .await;
    assert_eq!(status, 200, "{saved:#}");
    for field in [
        "stars",
        "pulls",
        "last_build",
        "created_at",
        "webhook",
        "rules",
        "build_secrets_set",
        "source",
    ] {
        assert_eq!(saved[field], created[field], "{field}");
    }
    assert_ne!(saved["updated_at"], Value::Null);
}

#[tokio::test]
async fn names_have_their_form() {
    let app = App::start().await;
    for (namespace, name, field) in [
        ("ann", "App", "name"),
        ("ann", "a--b", "name"),
        ("ann", "-a", "name"),
        ("ann", "a.", "name"),
        ("ann", "a%20b", "name"),
        ("ann", "%C3%A4", "name"),
        ("ann", "a%2Fb", "name"),
        ("ann", "..%2F..", "name"),
        ("Ann", "app", "namespace"),
        ("a__b", "app", "namespace"),
    ] {
        let path = format!("/api/v1/repositories/{namespace}/{name}");
        let (status, problem) = app.call(&app.root, Method::PUT, &path, Some(document())).await;
        assert_eq!(status, 422, "{path}: {problem:#}");
        assert_eq!(fields(&problem), [field], "{path}");
    }
    let longest = "a".repeat(100);
    let put = async |name: &str| app.put(&format!("/api/v1/repositories/ann/{name}"), document()).await.0;
    assert_eq!(put(&longest).await, 201);
    assert_eq!(put(&format!("{longest}a")).await, 422);
    for good in ["a", "0", "my-app", "a.b_c-d"] {
        assert_eq!(put(good).await, 201, "{good}");
    }
}

#[tokio::test]
async fn flags_are_true_or_false() {
    let app = App::start().await;
    app.app().await;
    let build = app.trigger().await;
    for value in ["1", "yes", "", "True"] {
        let (status, problem) = app.put(&format!("{PATH}?build={value}"), document()).await;
        assert_eq!((status, fields(&problem)), (422, vec!["build".to_owned()]), "{value}");
        let (status, problem) = app.get(&format!("/api/v1/builds/{build}/log?follow={value}")).await;
        assert_eq!((status, fields(&problem)), (422, vec!["follow".to_owned()]), "{value}");
    }
    assert_eq!(app.put(&format!("{PATH}?build=false"), document()).await.0, 200);
}

#[tokio::test]
async fn other_bodies_are_refused_by_the_field_at_fault() {
    let app = App::start().await;
    app.app().await;
    let build = app.trigger().await;
    let preview = format!("{PATH}/preview");
    let cancel = format!("/api/v1/builds/{build}/cancel");
    let retry = format!("/api/v1/builds/{build}/retry");
    for (path, body, field) in [
        (&preview, json!({}), "source_type"),
        (&preview, json!({ "source_type": "branch" }), "source_name"),
        (
            &preview,
            json!({ "source_type": "commit", "source_name": "x" }),
            "source_type",
        ),
        (
            &preview,
            json!({ "source_type": "branch", "source_name": "a b" }),
            "source_name",
        ),
        (
            &preview,
            json!({ "source_type": "branch", "source_name": "x", "x": 1 }),
            "x",
        ),
        (&cancel, json!({ "force": true }), "force"),
        (&retry, json!({ "inputs": null }), "inputs"),
        (&retry, json!({ "inputs": "SAME" }), "inputs"),
        (&retry, json!({ "input": "same" }), "input"),
    ] {
        let (status, problem) = app.post(path, body.clone()).await;
        assert_eq!(
            (status, fields(&problem)),
            (422, vec![field.to_owned()]),
            "{path} {body}"
        );
    }
    let (_, unchanged) = app.get(&format!("/api/v1/builds/{build}")).await;
    assert_eq!(unchanged["status"], "queued");
}

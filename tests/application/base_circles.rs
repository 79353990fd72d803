//! Images that would stand on each other: refused when they are saved, by tag, by name and by what builds have told.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    app::{App, document},
    base_images::{built, saved, used},
};

/// Rules of branches, each with its tag.
fn branches(rules: &[(&str, &str)]) -> Value {
    rules
        .iter()
        .map(|(source, tag)| json!({ "source_type": "branch", "source": source, "docker_tag": tag }))
        .collect()
}

#[tokio::test]
async fn a_circle_of_links_is_named_by_its_tags() {
    let app = App::start().await;
    let rules = branches(&[("main", "latest")]);
    let on = |links: &[&str]| json!({ "rules": rules, "links": links });
    assert_eq!(saved(&app, "a", on(&["r.example.com/ann/b"])).await.0, 201);
    let (status, problem) = saved(&app, "b", on(&["r.example.com/ann/a"])).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("links")),
        "{problem:#}"
    );
    let message = problem["errors"][0]["message"].as_str().unwrap();
    assert!(
        message.ends_with("r.example.com/ann/a:latest -> r.example.com/ann/b:latest -> r.example.com/ann/a:latest"),
        "{message}"
    );
    // A tag that no rule makes is none of ours.
    assert_eq!(saved(&app, "b", on(&["r.example.com/ann/a:other"])).await.0, 201);
    // What is switched off is not followed.
    let mut off = on(&["r.example.com/ann/a"]);
    off["ignored_base_images"] = json!(["r.example.com/ann/a"]);
    assert_eq!(saved(&app, "b", off).await.0, 200);
}

#[tokio::test]
async fn one_tag_of_a_repository_may_stand_on_another() {
    let app = App::start().await;
    let rules = branches(&[("main", "latest"), ("builder", "builder")]);
    let links = json!({ "rules": rules, "links": ["r.example.com/ann/app:builder"] });
    assert_eq!(saved(&app, "app", links).await.0, 201);
    let alone = json!({ "rules": branches(&[("main", "latest")]), "links": ["r.example.com/ann/app"] });
    assert_eq!(saved(&app, "app", alone).await.0, 422);
}

#[tokio::test]
async fn what_a_build_stood_on_counts() {
    let app = App::start().await;
    let rules = branches(&[("main", "latest")]);
    saved(&app, "a", json!({ "rules": rules })).await;
    built(&app, "a", &[used("r.example.com/ann/b:latest", 'a')], '1').await;
    let linked = json!({ "rules": rules, "links": ["r.example.com/ann/a"] });
    let (status, problem) = saved(&app, "b", linked.clone()).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("links")),
        "{problem:#}"
    );
    let off = json!({ "rules": rules, "ignored_base_images": ["r.example.com/ann/b:latest"] });
    assert_eq!(saved(&app, "a", off).await.0, 200);
    assert_eq!(saved(&app, "b", linked).await.0, 201);
    // Now it is the other one that would close it.
    let (status, problem) = saved(&app, "a", json!({ "rules": rules })).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("detect_base_images")),
        "{problem:#}"
    );
}

#[tokio::test]
async fn a_circle_that_builds_have_made_does_not_keep_anybody_from_saving() {
    let app = App::start().await;
    let rules = branches(&[("main", "latest")]);
    for (name, other) in [("a", "b"), ("b", "a")] {
        saved(&app, name, json!({ "rules": rules })).await;
        built(
            &app,
            name,
            &[used(&format!("r.example.com/ann/{other}:latest"), 'a')],
            '1',
        )
        .await;
    }
    let described = json!({ "rules": rules, "description": "d" });
    assert_eq!(saved(&app, "a", described).await.0, 200);
}

#[tokio::test]
async fn a_refusal_tells_nothing_of_what_somebody_may_not_see() {
    let app = App::start().await;
    let private = json!({
        "visibility": "private", "rules": branches(&[("main", "latest")]), "links": ["r.example.com/bob/mine"],
    });
    assert_eq!(saved(&app, "unseen", private).await.0, 201);
    let mut mine = document();
    mine["links"] = json!(["r.example.com/ann/unseen"]);
    let (status, problem) = app
        .call(&app.bob, Method::PUT, "/api/v1/repositories/bob/mine", Some(mine))
        .await;
    assert_eq!(status, 201, "{problem:#}");
}

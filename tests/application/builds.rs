use hullworks::domain::build::{Ending, ErrorKind, Failure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, commit, document, payload};

#[tokio::test]
async fn a_build_is_read_with_every_field_of_the_interface() {
    let app = App::start().await;
    let repository = app.app().await;
    let (_, answer) = app
        .push(&repository, "d", &payload("refs/heads/main", &commit('a'), "A change"))
        .await;
    let id = answer["builds"][0].as_str().unwrap();
    let (status, build) = app.get(&format!("/api/v1/builds/{id}")).await;
    assert_eq!(status, 200);
    let expected = json!({
        "id": id, "number": 1, "repository": "ann/app", "status": "queued", "phase": null,
        "cause": { "kind": "push", "delivery": answer["delivery"] }, "rule": repository["rules"][0]["id"],
        "source_type": "branch", "source_name": "main", "commit": commit('a'), "commit_message": "A change",
        "image": "r.example.com/ann/app", "tags": ["latest"], "digest": null, "base_images": [], "steps": [],
        "queue_position": 1, "waiting_for": "a worker: none is running", "worker": null, "queued_at": build["queued_at"],
        "started_at": null, "finished_at": null, "error": null, "attempt": 0, "cancel_requested": false,
        "superseded_by": null,
    });
    assert_eq!(build, expected);
    assert!(build["queued_at"].as_str().unwrap().ends_with('Z'), "{build:#}");

    let leased = app.claim().await;
    let failure = Failure::new(ErrorKind::Build, "exit code 7");
    app.finish(&leased.lease, Ending::Failed(failure)).await;
    let (_, build) = app.get(&format!("/api/v1/builds/{id}")).await;
    assert_eq!(build["error"], json!({ "kind": "build", "message": "exit code 7" }));
    assert_eq!(
        (&build["status"], &build["attempt"], &build["queue_position"]),
        (&json!("failed"), &json!(1), &Value::Null)
    );
}

#[tokio::test]
async fn a_trigger_builds_what_was_asked_for_and_says_what_it_does_not() {
    let app = App::start().await;
    app.app().await;
    let trigger = async |body: Value| app.post("/api/v1/repositories/ann/app/trigger", body).await;
    let (status, all) = trigger(json!({})).await;
    assert_eq!((status, all["builds"].as_array().unwrap().len()), (202, 1), "{all:#}");
    assert!(
        all["not_built"][0]["reason"].as_str().unwrap().contains("is a pattern"),
        "{all:#}"
    );
    let (_, tag) = trigger(json!({ "source_type": "tag", "source_name": "v2.0" })).await;
    assert_eq!(tag["builds"].as_array().unwrap().len(), 1, "{tag:#}");
    let (_, by_tag) = trigger(json!({ "docker_tag": "latest" })).await;
    assert_eq!(by_tag["builds"].as_array().unwrap().len(), 1, "{by_tag:#}");
    let (status, none) = trigger(json!({ "docker_tag": "nope" })).await;
    assert_eq!((status, &none["builds"]), (202, &json!([])), "{none:#}");
    let (_, exact) = trigger(json!({ "commit": commit('e'), "no_cache": true })).await;
    let (_, build) = app
        .get(&format!(
            "/api/v1/builds/{}",
            exact["builds"][0]["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        (&build["commit"], &build["cause"]),
        (&json!(commit('e')), &json!({ "kind": "manual", "user": "ann" }))
    );
    for (body, field) in [
        (json!({ "commit": "abc" }), "commit"),
        (json!({ "source_name": "main" }), "source_type"),
        (json!({ "source_type": "branch" }), "source_name"),
        (json!({ "source_type": "branch", "source_name": "a..b" }), "source_name"),
        (json!({ "docker_tag": "a/b" }), "docker_tag"),
        (json!({ "build": true }), "build"),
        (json!({ "no_cache": "yes" }), "no_cache"),
    ] {
        let (status, problem) = trigger(body.clone()).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field)),
            "{body}: {problem:#}"
        );
    }
}

#[tokio::test]
async fn the_dry_run_is_what_a_push_does() {
    let app = App::start().await;
    let repository = app.app().await;
    let body = json!({ "source_type": "tag", "source_name": "v1.20" });
    let (status, preview) = app.post("/api/v1/repositories/ann/app/preview", body).await;
    assert_eq!(status, 200);
    let expected = json!({
        "matches": [{
            "rule": repository["rules"][1]["id"], "tags": ["1.20"], "dockerfile": "Dockerfile", "context": "/",
        }],
        "not_matched": [{ "rule": repository["rules"][0]["id"], "reason": "it builds branches, this is a tag" }],
    });
    assert_eq!(preview, expected);
    let (_, answer) = app
        .push(&repository, "d", &payload("refs/tags/v1.20", &commit('a'), "x"))
        .await;
    let (_, build) = app
        .get(&format!("/api/v1/builds/{}", answer["builds"][0].as_str().unwrap()))
        .await;
    assert_eq!(
        (&build["tags"], &build["rule"]),
        (&preview["matches"][0]["tags"], &preview["matches"][0]["rule"])
    );
}

#[tokio::test]
async fn cancel_and_retry_do_what_the_state_allows() {
    let app = App::start().await;
    app.app().await;
    let build = app.trigger().await;
    let cancel = format!("/api/v1/builds/{build}/cancel");
    let (status, canceled) = app.call(&app.ann, Method::POST, &cancel, None).await;
    assert_eq!((status, &canceled["status"]), (202, &json!("canceled")), "{canceled:#}");
    assert_eq!(app.call(&app.ann, Method::POST, &cancel, None).await.0, 202);

    let retry = format!("/api/v1/builds/{build}/retry");
    let (status, again) = app.post(&retry, json!({ "inputs": "same" })).await;
    assert_eq!(status, 202, "{again:#}");
    let leased = app.claim().await;
    let running = leased.build.id.to_string();
    assert_eq!(again["builds"][0]["id"], running);
    assert_eq!(
        app.post(&format!("/api/v1/builds/{running}/retry"), json!({})).await.0,
        409
    );
    let (status, asked) = app
        .call(
            &app.ann,
            Method::POST,
            &format!("/api/v1/builds/{running}/cancel"),
            None,
        )
        .await;
    assert_eq!(
        (status, &asked["status"], &asked["cancel_requested"]),
        (202, &json!("running"), &json!(true))
    );
    app.finish(&leased.lease, Ending::Succeeded { digest: None }).await;
    assert_eq!(
        app.call(
            &app.ann,
            Method::POST,
            &format!("/api/v1/builds/{running}/cancel"),
            None
        )
        .await
        .0,
        409
    );
    let (status, refreshed) = app
        .post(
            &format!("/api/v1/builds/{running}/retry"),
            json!({ "inputs": "refresh" }),
        )
        .await;
    assert_eq!(status, 202, "{refreshed:#}");
    let (_, document) = app
        .get(&format!(
            "/api/v1/builds/{}",
            refreshed["builds"][0]["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        (&document["cause"]["kind"], &document["cause"]["build"]),
        (&json!("retry"), &json!(running))
    );
    let (status, problem) = app.post(&retry, json!({ "inputs": "other" })).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("inputs")),
        "{problem:#}"
    );
}

#[tokio::test]
async fn builds_are_listed_by_state_and_repository() {
    let app = App::start().await;
    app.app().await;
    app.put("/api/v1/repositories/ann/other", document()).await;
    let first = app.trigger().await;
    app.post("/api/v1/repositories/ann/other/trigger", json!({})).await;
    let leased = app.claim().await;
    assert_eq!(leased.build.id, first);
    app.finish(&leased.lease, Ending::Canceled).await;
    let count = async |path: &str| app.get(path).await.1["items"].as_array().unwrap().len();
    assert_eq!(count("/api/v1/builds").await, 2);
    assert_eq!(count("/api/v1/builds?status=canceled").await, 1);
    assert_eq!(count("/api/v1/builds?status=queued").await, 1);
    assert_eq!(count("/api/v1/repositories/ann/app/builds").await, 1);
    assert_eq!(count("/api/v1/repositories/ann/app/builds?status=queued").await, 0);
    let (status, problem) = app.get("/api/v1/builds?status=done").await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("status")),
        "{problem:#}"
    );
}

#[tokio::test]
async fn methods_and_paths_that_do_not_exist_are_problems_too() {
    let app = App::start().await;
    app.app().await;
    let response = app
        .request(&app.ann, Method::GET, "/api/v1/repositories/ann/app/trigger")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(crate::app::answer(response).await.0, 405);
    assert_eq!(app.get("/api/v1/nothing").await.0, 404);
    assert_eq!(app.get("/api/v1/builds/nothing").await.0, 404);
}

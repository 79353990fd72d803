use hullworks::domain::build::{BaseImage, Ending, ErrorKind, Failure, Phase};
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
        "superseded_by": null, "status_reason": null,
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
async fn path_filters_hold_for_pushes_of_branches_and_are_told_beforehand() {
    let app = App::start().await;
    let mut wanted = document();
    for rule in 0..2 {
        wanted["rules"][rule]["paths"] = json!(["api/", "!*.md"]);
    }
    let (status, repository) = app.put("/api/v1/repositories/ann/app", wanted).await;
    assert_eq!(
        (status, &repository["rules"][0]["paths"]),
        (201, &json!(["api/", "!*.md"])),
        "{repository:#}"
    );
    let preview = async |source_type: &str, name: &str| {
        let body = json!({ "source_type": source_type, "source_name": name });
        let (_, preview) = app.post("/api/v1/repositories/ann/app/preview", body).await;
        preview["matches"][0]["paths"].clone()
    };
    assert_eq!(preview("branch", "main").await, json!(["api/", "!*.md"]));
    // What a tag pointed to before says nothing of what is new in it.
    assert_eq!(preview("tag", "v1.20").await, json!([]));
    for (full_ref, before) in [("refs/heads/main", true), ("refs/tags/v1.20", false)] {
        let (_, answer) = app
            .push(&repository, full_ref, &payload(full_ref, &commit('a'), "x"))
            .await;
        assert_eq!(answer["outcome"], "queued", "{answer:#}");
        let leased = app.claim().await;
        assert_eq!(leased.build.before.is_some(), before, "{full_ref}");
        app.finish(&leased.lease, Ending::Canceled).await;
    }
    app.trigger().await;
    assert_eq!(app.claim().await.build.before, None);
}

#[tokio::test]
async fn a_skipped_build_says_why() {
    let app = App::start().await;
    let repository = app.app().await;
    app.push(&repository, "d", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    let leased = app.claim().await;
    let reason = "none of the 2 files changed since build #1 matches <the> path filter".to_owned();
    app.finish(&leased.lease, Ending::Skipped { reason: reason.clone() })
        .await;
    let (_, build) = app.get(&format!("/api/v1/builds/{}", leased.build.id)).await;
    assert_eq!(
        (&build["status"], &build["status_reason"], &build["error"]),
        (&json!("skipped"), &json!(reason), &Value::Null)
    );
    let (_, ledger) = app.get("/api/v1/repositories/ann/app/deliveries").await;
    let entry = &ledger["items"][0];
    assert_eq!(entry["outcome"], "queued");
    let told = entry["reason"].as_str().unwrap();
    assert!(told.ends_with(&format!("; build #1 skipped: {reason}")), "{told}");
    let page = app
        .browser("ann")
        .await
        .get(&format!("/builds/{}", leased.build.id))
        .await
        .text;
    let shown = "Skipped: none of the 2 files changed since build #1 matches &#60;the&#62; path filter";
    assert!(page.contains(shown) && page.contains("is-skipped"), "{page}");
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
            "paths": [],
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

#[tokio::test]
async fn a_retry_of_the_same_inputs_ignores_what_the_rule_says_now_and_a_refresh_does_not() {
    let app = App::start().await;
    let repository = app.app().await;
    let push = payload("refs/heads/main", &commit('a'), "A change");
    let (_, pushed) = app.push(&repository, "d", &push).await;
    let first = pushed["builds"][0].as_str().unwrap();
    let retry = format!("/api/v1/builds/{first}/retry");
    assert_eq!(app.post(&retry, json!({})).await.0, 409, "it has not ended");
    let leased = app.claim().await;
    assert_eq!(app.post(&retry, json!({})).await.0, 409, "it has not ended");
    app.finish(&leased.lease, Ending::Failed(Failure::new(ErrorKind::Build, "x")))
        .await;

    let mut edited = app.get("/api/v1/repositories/ann/app").await.1;
    edited["image"] = json!("r.example.com/ann/renamed");
    edited["rules"][0]["autobuild"] = json!(false);
    let (_, mut edited) = app.put("/api/v1/repositories/ann/app", edited).await;
    assert_eq!(edited["rules"][0]["id"], repository["rules"][0]["id"]);
    let started = async |inputs: Value| {
        let (status, started) = app.post(&retry, inputs).await;
        assert_eq!((status, &started["not_built"]), (202, &json!([])), "{started:#}");
        let build = &started["builds"][0];
        assert_eq!(build["status"], "queued");
        let (_, read) = app
            .get(&format!("/api/v1/builds/{}", build["id"].as_str().unwrap()))
            .await;
        assert_eq!((&read["number"], &read["rule"]), (&build["number"], &build["rule"]));
        assert_eq!(read["cause"], json!({ "kind": "retry", "user": "ann", "build": first }));
        read
    };
    for inputs in [json!({}), json!({ "inputs": "same" })] {
        let same = started(inputs).await;
        assert_eq!(
            (&same["commit"], &same["commit_message"], &same["tags"], &same["image"]),
            (
                &json!(commit('a')),
                &json!("A change"),
                &json!(["latest"]),
                &json!("r.example.com/ann/app")
            )
        );
    }
    let fresh = started(json!({ "inputs": "refresh" })).await;
    assert_eq!(
        (&fresh["commit"], &fresh["tags"], &fresh["image"]),
        (&Value::Null, &json!(["latest"]), &json!("r.example.com/ann/renamed"))
    );
    edited["rules"] = json!([]);
    app.put("/api/v1/repositories/ann/app", edited).await;
    let (status, problem) = app.post(&retry, json!({ "inputs": "refresh" })).await;
    assert_eq!(status, 409, "{problem:#}");
    assert_eq!(app.post(&retry, json!({ "inputs": "same" })).await.0, 202);
}

#[tokio::test]
async fn canceling_twice_is_as_good_as_once() {
    let app = App::start().await;
    app.app().await;
    let queued = app.trigger().await;
    let running = app.claim().await;
    assert_eq!(running.build.id, queued);
    let cancel = format!("/api/v1/builds/{queued}/cancel");
    for _ in 0..2 {
        let (status, told) = app.call(&app.ann, Method::POST, &cancel, None).await;
        assert_eq!((status, &told["cancel_requested"]), (202, &json!(true)), "{told:#}");
    }
    assert!(app.store.cancel_requested(&running.lease).await.unwrap());
    app.finish(&running.lease, Ending::Canceled).await;
    let (status, told) = app.call(&app.ann, Method::POST, &cancel, None).await;
    assert_eq!((status, &told["status"]), (202, &json!("canceled")), "{told:#}");
}

#[tokio::test]
async fn a_retry_of_the_same_inputs_stands_on_the_same_base_images_and_a_refresh_on_what_they_are_by_then() {
    let app = App::start().await;
    app.app().await;
    let first = app.trigger().await;
    let leased = app.claim().await;
    let digest = |letter: &str| Some(format!("sha256:{}", letter.repeat(64)));
    let base = |name: &str, digest: Option<String>, pinned: bool| BaseImage {
        name: name.to_owned(),
        digest,
        pinned,
    };
    let used = [
        base("docker.io/library/alpine:3.20", digest("a"), false),
        base("docker.io/library/debian:12", digest("b"), true),
        base("r.example.com/unknown:1", None, false),
    ];
    let failed = Ending::Failed(Failure::new(ErrorKind::Build, "x"));
    let now = hullworks::clock::Clock::system().now();
    app.store.finish(&leased.lease, &failed, &used, now).await.unwrap();
    let retried = async |inputs: &str| {
        let path = format!("/api/v1/builds/{first}/retry");
        let (status, started) = app.post(&path, json!({ "inputs": inputs })).await;
        assert_eq!(status, 202, "{started:#}");
        let leased = app.claim().await;
        app.finish(&leased.lease, failed.clone()).await;
        leased.build.plan.base_digests
    };
    let exact = [("docker.io/library/alpine:3.20".to_owned(), digest("a").unwrap())];
    assert_eq!(retried("same").await, exact.into());
    assert_eq!(retried("refresh").await, [].into());
}

#[tokio::test]
async fn a_running_and_an_ended_build_show_what_became_of_them() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let leased = app.claim().await;
    let path = format!("/api/v1/builds/{id}");
    app.store
        .set_commit(&leased.lease, &commit('c'), "From the fetch")
        .await
        .unwrap();
    for phase in Phase::ALL {
        app.store.set_phase(&leased.lease, phase).await.unwrap();
        assert_eq!(app.get(&path).await.1["phase"], phase.as_str());
    }
    let base = BaseImage {
        name: "docker.io/library/alpine:3.20".to_owned(),
        digest: Some(format!("sha256:{}", "b".repeat(64))),
        pinned: false,
    };
    let digest = format!("sha256:{}", "a".repeat(64));
    let ending = Ending::Succeeded {
        digest: Some(digest.clone()),
    };
    let now = hullworks::clock::Clock::system().now();
    app.store
        .finish(&leased.lease, &ending, std::slice::from_ref(&base), now)
        .await
        .unwrap();
    let (_, build) = app.get(&path).await;
    assert_eq!(
        (&build["status"], &build["phase"], &build["digest"], &build["error"]),
        (&json!("succeeded"), &Value::Null, &json!(digest), &Value::Null)
    );
    assert_eq!(
        build["base_images"],
        json!([{ "name": base.name, "digest": base.digest, "pinned": false }])
    );
    assert_eq!(
        (&build["commit"], &build["commit_message"]),
        (&json!(commit('c')), &json!("From the fetch"))
    );
    let (_, repository) = app.get("/api/v1/repositories/ann/app").await;
    let expected = json!({
        "id": id, "number": 1, "status": "succeeded", "finished_at": build["finished_at"],
    });
    assert_eq!(repository["last_build"], expected);
    for time in ["queued_at", "started_at", "finished_at"] {
        let text = build[time].as_str().unwrap();
        assert!(
            text.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok(),
            "{text}"
        );
    }
}

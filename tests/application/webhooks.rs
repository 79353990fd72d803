use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, answer, commit, payload, signature};

async fn ledger(app: &App) -> Vec<Value> {
    let (status, list) = app.get("/api/v1/repositories/ann/app/deliveries").await;
    assert_eq!(status, 200, "{list:#}");
    list["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_outcome_is_answered_and_recorded_with_its_reason() {
    let app = App::start().await;
    let repository = app.app().await;
    let check = async |delivery: &str, payload: Value, outcome: &str, builds: usize, reason: &str| {
        let (status, answer) = app.push(&repository, delivery, &payload).await;
        assert_eq!((status, &answer["outcome"]), (202, &json!(outcome)), "{answer:#}");
        assert_eq!(answer["builds"].as_array().unwrap().len(), builds, "{answer:#}");
        assert!(answer["reason"].as_str().unwrap().contains(reason), "{answer:#}");
        let newest = &ledger(&app).await[0];
        assert_eq!(newest["id"], answer["delivery"]);
        assert_eq!(
            (&newest["outcome"], &newest["reason"], &newest["builds"]),
            (&answer["outcome"], &answer["reason"], &answer["builds"])
        );
        assert_eq!(
            (&newest["delivery_id"], &newest["provider"], &newest["event"]),
            (&json!(delivery), &json!("github"), &json!("push"))
        );
    };
    let main = payload("refs/heads/main", &commit('a'), "A change");
    check("1", main.clone(), "queued", 1, "build #1 of main").await;
    check("1", main.clone(), "duplicate", 1, "the same delivery came before").await;
    check("2", main, "duplicate", 1, "the same body came before").await;
    let mut again = payload("refs/heads/main", &commit('a'), "A change");
    again["repository"]["pushed_at"] = json!(1);
    check("3", again, "duplicate", 1, "queued already as build #1").await;
    check(
        "4",
        payload("refs/heads/other", &commit('b'), "x"),
        "no_match",
        0,
        "`other` is not `main`",
    )
    .await;
    check(
        "5",
        payload("refs/heads/main", &commit('c'), "x [skip ci]"),
        "skipped",
        0,
        "[skip ci]",
    )
    .await;
    check(
        "6",
        payload("refs/tags/v1.2", &commit('d'), "x"),
        "queued",
        1,
        "of v1.2",
    )
    .await;
    let mut deleted = payload("refs/heads/main", &"0".repeat(40), "x");
    deleted["deleted"] = json!(true);
    deleted["before"] = json!(commit('a'));
    deleted["head_commit"] = Value::Null;
    check("7", deleted, "ignored", 0, "was deleted").await;
}

#[tokio::test]
async fn a_tag_that_cannot_be_one_and_a_rule_that_is_off_say_so() {
    let app = App::start().await;
    let mut document = crate::app::document();
    document["rules"] = json!([
        { "source_type": "branch", "source": "/.*/", "docker_tag": "{sourceref}" },
        { "source_type": "tag", "source": "/.*/", "docker_tag": "x", "autobuild": false },
    ]);
    let (_, repository) = app.put("/api/v1/repositories/ann/app", document).await;
    let (_, answer) = app
        .push(&repository, "1", &payload("refs/heads/ünï", &commit('a'), "x"))
        .await;
    assert_eq!(answer["outcome"], "refused", "{answer:#}");
    assert!(
        answer["reason"].as_str().unwrap().contains("cannot be a tag"),
        "{answer:#}"
    );
    let (_, answer) = app
        .push(&repository, "2", &payload("refs/tags/v1", &commit('a'), "x"))
        .await;
    assert_eq!(answer["outcome"], "skipped", "{answer:#}");
    assert!(
        answer["reason"].as_str().unwrap().contains("autobuild is off"),
        "{answer:#}"
    );
}

#[tokio::test]
async fn what_is_not_taken_is_refused_in_the_promised_order_and_leaves_nothing() {
    let app = App::start().await;
    let repository = app.app().await;
    let good = payload("refs/heads/main", &commit('a'), "x").to_string();
    let status = async |request: reqwest::RequestBuilder, body: &str| {
        answer(request.body(body.to_owned()).send().await.unwrap()).await.0
    };
    let unknown = app.client.post(format!("{}/webhooks/github/none", app.url));
    assert_eq!(status(unknown, &"x".repeat(26 << 20)).await, 404);
    let url = repository["webhook"]["url"].as_str().unwrap();
    let wrong_provider = app.client.post(url.replace("/github/", "/bitbucket/"));
    assert_eq!(status(wrong_provider, &good).await, 404);
    assert_eq!(
        status(app.client.post(url.replace("/github/", "/nobody/")), &good).await,
        404
    );
    assert_eq!(
        status(
            app.client.post(url).header("content-type", "text/plain"),
            &"x".repeat(26 << 20)
        )
        .await,
        413
    );
    assert_eq!(
        status(app.client.post(url).header("content-type", "text/plain"), &good).await,
        415
    );
    assert_eq!(
        status(app.client.post(url).header("content-type", "application/json"), &good).await,
        401
    );
    assert_eq!(
        status(app.webhook(&repository, "push", "d", "another body"), &good).await,
        401
    );
    let bad = "{\"ref\": 1, \"ref\": 2}";
    assert_eq!(status(app.webhook(&repository, "push", "d", bad), bad).await, 400);
    let no_headers = app
        .client
        .post(url)
        .header("content-type", "application/json")
        .header("x-hub-signature-256", signature(&good));
    assert_eq!(status(no_headers, &good).await, 400);
    let foreign = good.replace("acme/app", "evil/app");
    assert_eq!(
        status(app.webhook(&repository, "push", "d", &foreign), &foreign).await,
        403
    );
    assert_eq!(ledger(&app).await, Vec::<Value>::new());
}

#[tokio::test]
async fn one_delivery_fifty_times_at_once_builds_once() {
    let app = App::start().await;
    let repository = app.app().await;
    let payload = payload("refs/heads/main", &commit('a'), "x");
    let sent = (0..50).map(|_| app.push(&repository, "the-one", &payload));
    let answers = futures_util::future::join_all(sent).await;
    assert!(answers.iter().all(|(status, _)| *status == 202));
    let builds: HashSet<String> = answers.iter().map(|(_, answer)| answer["builds"].to_string()).collect();
    assert_eq!(builds.len(), 1, "{builds:?}");
    assert_eq!(
        answers
            .iter()
            .filter(|(_, answer)| answer["outcome"] == "queued")
            .count(),
        1
    );
    assert_eq!(app.get("/api/v1/builds").await.1["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn githubs_form_is_taken_and_other_events_are_acknowledged() {
    let app = App::start().await;
    let repository = app.app().await;
    let json = payload("refs/heads/main", &commit('a'), "a & b = c").to_string();
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &json)
        .finish();
    let mut request = app.webhook(&repository, "push", "d1", &form).build().unwrap();
    request
        .headers_mut()
        .insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    *request.body_mut() = Some(form.into());
    let (status, told) = answer(app.client.execute(request).await.unwrap()).await;
    assert_eq!((status, &told["outcome"]), (202, &json!("queued")), "{told:#}");
    for event in ["ping", "issues"] {
        let body = "{\"zen\": \"x\"}";
        let request = app.webhook(&repository, event, event, body).body(body);
        let (status, told) = answer(request.send().await.unwrap()).await;
        assert_eq!(
            (status, &told["outcome"], &told["builds"]),
            (202, &json!("ignored"), &json!([])),
            "{told:#}"
        );
    }
}

#[tokio::test]
async fn a_replay_takes_the_stored_body_under_the_rules_as_they_are_now() {
    let app = App::start().await;
    let repository = app.app().await;
    let (_, first) = app
        .push(&repository, "d", &payload("refs/heads/next", &commit('a'), "x"))
        .await;
    assert_eq!(first["outcome"], "no_match");
    let mut document = crate::app::document();
    document["rules"] = json!([{ "source_type": "branch", "source": "next", "docker_tag": "next" }]);
    app.put("/api/v1/repositories/ann/app", document).await;
    let path = format!(
        "/api/v1/repositories/ann/app/deliveries/{}/replay",
        first["delivery"].as_str().unwrap()
    );
    let (status, replayed) = app.call(&app.ann, Method::POST, &path, None).await;
    assert_eq!((status, &replayed["outcome"]), (202, &json!("queued")), "{replayed:#}");
    let entries = ledger(&app).await;
    assert_eq!(
        (entries.len(), &entries[0]["delivery_id"], &entries[1]["delivery_id"]),
        (2, &Value::Null, &json!("d"))
    );

    app.trigger().await;
    let click = ledger(&app).await[0].clone();
    assert_eq!(
        (&click["provider"], &click["event"]),
        (&json!("api"), &json!("trigger"))
    );
    let path = format!(
        "/api/v1/repositories/ann/app/deliveries/{}/replay",
        click["id"].as_str().unwrap()
    );
    assert_eq!(app.call(&app.ann, Method::POST, &path, None).await.0, 409);
}

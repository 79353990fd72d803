//! The ledger: its entries, its pages, and what can be replayed.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, commit, document, payload};

const LEDGER: &str = "/api/v1/repositories/ann/app/deliveries";

async fn replay(app: &App, delivery: &Value) -> (u16, Value) {
    let path = format!("{LEDGER}/{}/replay", delivery.as_str().unwrap());
    app.call(&app.ann, Method::POST, &path, None).await
}

#[tokio::test]
async fn an_entry_has_every_field_of_the_interface() {
    let app = App::start().await;
    let repository = app.app().await;
    let (_, answer) = app
        .push(&repository, "guid-1", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    let fields: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["builds", "delivery", "outcome", "reason"]);
    let build = app.trigger().await;
    let (_, list) = app.get(LEDGER).await;
    let (click, webhook) = (&list["items"][0], &list["items"][1]);
    let expected = json!({
        "id": answer["delivery"], "delivery_id": "guid-1", "provider": "github", "event": "push",
        "received_at": webhook["received_at"], "source_name": "main", "commit": commit('a'), "outcome": "queued",
        "reason": answer["reason"], "builds": answer["builds"],
    });
    assert_eq!(*webhook, expected);
    assert!(webhook["received_at"].as_str().unwrap().ends_with('Z'));
    let expected = json!({
        "id": click["id"], "delivery_id": null, "provider": "api", "event": "trigger",
        "received_at": click["received_at"], "source_name": "main", "commit": null, "outcome": "queued",
        "reason": click["reason"], "builds": [build],
    });
    assert_eq!(*click, expected);
}

#[tokio::test]
async fn entries_are_listed_newest_first_page_by_page() {
    let app = App::start().await;
    let repository = app.app().await;
    let mut expected = Vec::new();
    for number in 0..7 {
        let push = payload(&format!("refs/heads/b{number}"), &commit('a'), "x");
        let (_, answer) = app.push(&repository, &format!("d{number}"), &push).await;
        expected.insert(0, answer["delivery"].clone());
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = app.get(&format!("{LEDGER}?limit=3{cursor}")).await;
        found.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn only_a_webhook_with_a_body_of_its_own_can_be_replayed() {
    let app = App::start().await;
    let repository = app.app().await;
    let push = payload("refs/heads/main", &commit('a'), "x");
    let (_, first) = app.push(&repository, "d", &push).await;
    let (_, repeated) = app.push(&repository, "d", &push).await;
    assert_eq!(
        (&repeated["outcome"], &repeated["builds"]),
        (&json!("duplicate"), &first["builds"])
    );
    assert_eq!(replay(&app, &repeated["delivery"]).await.0, 409);
    let (status, again) = replay(&app, &first["delivery"]).await;
    assert_eq!(
        (status, &again["outcome"], &again["builds"]),
        (202, &json!("duplicate"), &first["builds"]),
        "the commit is queued already: {again:#}"
    );
    app.call(
        &app.ann,
        Method::POST,
        &format!("/api/v1/builds/{}/cancel", first["builds"][0].as_str().unwrap()),
        None,
    )
    .await;
    let (status, again) = replay(&app, &first["delivery"]).await;
    assert_eq!((status, &again["outcome"]), (202, &json!("queued")), "{again:#}");
    let (status, of_replay) = replay(&app, &again["delivery"]).await;
    assert_eq!(
        (status, &of_replay["outcome"]),
        (202, &json!("duplicate")),
        "{of_replay:#}"
    );
}

#[tokio::test]
async fn a_delivery_is_found_in_its_own_repository_alone() {
    let app = App::start().await;
    let repository = app.app().await;
    app.put("/api/v1/repositories/ann/other", document()).await;
    let (_, first) = app
        .push(&repository, "d", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    let id = first["delivery"].as_str().unwrap();
    let elsewhere = format!("/api/v1/repositories/ann/other/deliveries/{id}/replay");
    assert_eq!(app.call(&app.ann, Method::POST, &elsewhere, None).await.0, 404);
    assert_eq!(replay(&app, &json!("none")).await.0, 404);
    assert_eq!(
        app.post(&format!("{LEDGER}/{id}/replay"), json!({ "x": 1 })).await.0,
        422
    );
}

#[tokio::test]
async fn a_replay_is_held_against_the_repositorys_source_as_it_is_now() {
    let app = App::start().await;
    let repository = app.app().await;
    let (_, first) = app
        .push(&repository, "d", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    let mut moved = document();
    moved["source"]["url"] = json!("https://github.com/acme/moved.git");
    app.put("/api/v1/repositories/ann/app", moved).await;
    let (status, problem) = replay(&app, &first["delivery"]).await;
    assert_eq!(status, 409, "{problem:#}");
    assert!(problem["detail"].as_str().unwrap().contains("acme/app"), "{problem:#}");
}

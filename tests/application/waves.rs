//! Waves over the API: who sees what of them, and what administrators do with them.

use hullworks::{
    domain::{
        build::Cause,
        ids::{BuildId, WaveId},
        wave::ItemState,
    },
    store::{WaveItem, WaveMove},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    app::App,
    base_images::{ALPINE, begun_wave, built, digest, saved, seen, used},
};

const BASE: &str = "r.example.com/ann/base:latest";

/// `ann/base` (private) on alpine, `ann/app` on that, and a wave for a new alpine.
async fn wave(app: &App) -> WaveId {
    saved(app, "base", json!({ "visibility": "private" })).await;
    saved(app, "app", json!({})).await;
    built(app, "base", &[used(ALPINE, 'a')], '1').await;
    built(app, "app", &[used(BASE, '1')], '2').await;
    seen(app, ALPINE, &digest('b')).await;
    begun_wave(app, ALPINE, &digest('b')).await
}

async fn items(app: &App, wave: &WaveId) -> Vec<WaveItem> {
    app.store.wave_items(wave).await.unwrap()
}

async fn steer(app: &App, wave: &WaveId, word: &str) -> (u16, Value) {
    let path = format!("/api/v1/waves/{wave}/{word}");
    app.call(&app.root, Method::POST, &path, None).await
}

#[tokio::test]
async fn a_wave_shows_what_moved_and_what_is_built_again_in_order() {
    let app = App::start().await;
    let id = wave(&app).await;
    let (status, shown) = app.get(&format!("/api/v1/waves/{id}")).await;
    assert_eq!(status, 200, "{shown:#}");
    assert_eq!(
        (&shown["state"], &shown["counts"], &shown["at_once"]),
        (&json!("running"), &json!({ "waiting": 2 }), &Value::Null)
    );
    assert_eq!(
        shown["moves"],
        json!([{ "image": ALPINE, "from": null, "to": digest('b'), "parent": null }])
    );
    let items = shown["items"].as_array().unwrap();
    assert_eq!(
        (&items[0]["repository"], &items[0]["after"], &items[0]["images"]),
        (&json!("ann/base"), &json!([]), &json!([BASE]))
    );
    assert_eq!(
        (&items[1]["repository"], &items[1]["after"]),
        (&json!("ann/app"), &json!([items[0]["id"]]))
    );
    let (_, list) = app.get("/api/v1/waves").await;
    assert_eq!(list["items"][0]["id"], json!(id.to_string()));
    assert_eq!(list["items"][0]["counts"], json!({ "waiting": 2 }));
}

#[tokio::test]
async fn others_see_of_a_wave_only_what_they_may() {
    let app = App::start().await;
    let id = wave(&app).await;
    let before = items(&app, &id).await;
    app.store
        .move_item(&before[0], ItemState::Failed, "no", None)
        .await
        .unwrap();
    let reason = "it stands on ann/base, which failed";
    app.store
        .move_item(&before[1], ItemState::Held, reason, None)
        .await
        .unwrap();
    let path = format!("/api/v1/waves/{id}");
    assert_eq!(app.get(&path).await.1["items"][1]["reason"], reason);
    let (status, others) = app.call(&app.bob, Method::GET, &path, None).await;
    assert_eq!(status, 200);
    assert_eq!(others["counts"], json!({ "held": 1 }));
    assert_eq!(
        (
            &others["items"][0]["repository"],
            &others["items"][0]["after"],
            &others["moves"]
        ),
        (&json!("ann/app"), &json!([]), &json!([])),
        "that somebody's private image stands on alpine is not told"
    );
    let items = others["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["reason"], "something that it stands on was not built");
    // Of a wave about private things alone there is nothing to see, not even while it settles.
    saved(&app, "app", json!({ "visibility": "private" })).await;
    assert_eq!(app.call(&app.bob, Method::GET, &path, None).await.0, 404);
    let moved = WaveMove {
        image: ALPINE.to_owned(),
        access: String::new(),
        from: None,
        to: digest('c'),
        parent: None,
        is_inner: false,
    };
    let pause = chrono::TimeDelta::hours(1);
    let settling = app.store.add_move(&moved, pause, app.clock.now()).await.unwrap();
    let (_, list) = app.call(&app.bob, Method::GET, "/api/v1/waves", None).await;
    assert_eq!(list["items"], json!([]));
    assert_eq!(
        app.get(&format!("/api/v1/waves/{settling}")).await.1["state"],
        "settling"
    );
    let (_, list) = app.get("/api/v1/waves?limit=1").await;
    assert_eq!(list["items"][0]["id"], json!(settling.to_string()));
    let next = list["next_cursor"].as_str().unwrap();
    let (_, list) = app.get(&format!("/api/v1/waves?limit=1&cursor={next}")).await;
    assert_eq!(list["items"][0]["id"], json!(id.to_string()));
}

#[tokio::test]
async fn administrators_pause_resume_and_bound_a_wave_and_that_is_written_down() {
    let app = App::start().await;
    let id = wave(&app).await;
    assert_eq!(steer(&app, &id, "resume").await.0, 409);
    let (status, paused) = steer(&app, &id, "pause").await;
    assert_eq!(
        (status, &paused["state"], &paused["steered_by"]),
        (200, &json!("paused"), &json!("root"))
    );
    assert_eq!(steer(&app, &id, "pause").await.0, 409);
    assert_eq!(steer(&app, &id, "resume").await.1["state"], "running");
    let path = format!("/api/v1/waves/{id}");
    let put = async |body: Value| app.call(&app.root, Method::PUT, &path, Some(body)).await;
    let (status, bounded) = put(json!({ "at_once": 2 })).await;
    assert_eq!((status, &bounded["at_once"]), (200, &json!(2)));
    assert_eq!(put(json!({ "at_once": null })).await.1["at_once"], Value::Null);
    for wrong in [
        json!({ "at_once": 0 }),
        json!({ "at_once": 1001 }),
        json!({}),
        json!({ "at_once": "2" }),
    ] {
        assert_eq!(put(wrong.clone()).await.0, 422, "{wrong}");
    }
    let (_, audit) = app
        .call(&app.root, Method::GET, &format!("/api/v1/audit?subject={id}"), None)
        .await;
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["wave.throttled", "wave.throttled", "wave.resumed", "wave.paused"]
    );
}

#[tokio::test]
async fn canceling_a_wave_cancels_its_builds() {
    let app = App::start().await;
    let id = wave(&app).await;
    let first = items(&app, &id).await.remove(0);
    let build = app.trigger_base(&id).await;
    app.store
        .move_item(&first, ItemState::Building, "", Some(&build))
        .await
        .unwrap();
    let (status, canceled) = steer(&app, &id, "cancel").await;
    assert_eq!((status, &canceled["state"]), (202, &json!("canceled")), "{canceled:#}");
    assert_eq!(canceled["items"][1]["state"], "canceled");
    let (_, build) = app.get(&format!("/api/v1/builds/{build}")).await;
    assert_eq!(build["status"], "canceled");
    assert_eq!(canceled["steered_by"], "root");
}

#[tokio::test]
async fn a_build_that_followed_from_a_private_one_does_not_name_it_to_others() {
    let app = App::start().await;
    saved(&app, "base", json!({ "visibility": "private" })).await;
    saved(&app, "app", json!({})).await;
    let parent = built(&app, "base", &[], '1').await;
    let last = built(&app, "app", &[used(BASE, '0')], '2').await;
    let cause = Cause::BaseImage {
        image: BASE.to_owned(),
        from: None,
        to: digest('1'),
        parent: Some(parent.to_string()),
        wave: WaveId::new().to_string(),
    };
    let build = app.rebuild(&last, cause).await;
    for path in [
        format!("/api/v1/builds/{build}"),
        "/api/v1/builds".to_owned(),
        "/api/v1/repositories/ann/app/builds".to_owned(),
    ] {
        let told = |answer: Value| answer.to_string().contains(&format!("\"parent\":\"{parent}\""));
        assert!(told(app.get(&path).await.1), "{path}");
        assert!(!told(app.call(&app.bob, Method::GET, &path, None).await.1), "{path}");
    }
}

impl App {
    /// A build of `ann/base` that a wave has queued.
    async fn trigger_base(&self, wave: &WaveId) -> BuildId {
        let last = items(self, wave).await[0].last_build.clone();
        let cause = Cause::BaseImage {
            image: ALPINE.to_owned(),
            from: None,
            to: digest('b'),
            parent: None,
            wave: wave.to_string(),
        };
        self.rebuild(&last, cause).await
    }

    /// Queues what a build made once more, for this cause.
    async fn rebuild(&self, last: &BuildId, cause: Cause) -> BuildId {
        let last = self.store.build(last).await.unwrap().unwrap();
        let found = self.store.repository(&last.repository_id).await.unwrap().unwrap();
        let id = BuildId::new();
        let rebuild = hullworks::intake::Rebuild {
            id: id.clone(),
            cause,
            base_digests: Default::default(),
        };
        self.intake.rebuild(&found.repository, &last, rebuild).await.unwrap();
        id
    }
}

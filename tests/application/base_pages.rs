//! Pages of base images: what is watched, who stands on whom, what is outdated, and the waves of rebuilds.

use chrono::TimeDelta;
use hullworks::{
    domain::{
        build::{BaseImage, Cause, Ending},
        ids::{BuildId, WaveId},
        wave::ItemState,
    },
    intake::Rebuild,
    store::{PushedTag, Sighting, WatchKey, WaveMove},
};
use reqwest::Method;
use serde_json::json;

use crate::{
    app::{App, document},
    browser::Page,
};

const ALPINE: &str = "docker.io/library/alpine:3.20";
pub const OLD: &str = "sha256:aaaaaaa000000000";
const NEW: &str = "sha256:bbbbbbb000000000";

/// A build of `ann/NAME`, made for this, that pushed `latest` on these bases.
pub async fn built(app: &App, name: &str, visibility: &str, bases: &[(&str, &str)]) -> BuildId {
    let mut wanted = document();
    wanted["visibility"] = json!(visibility);
    let path = format!("/api/v1/repositories/ann/{name}");
    let (status, answer) = app.put(&path, wanted).await;
    assert_eq!(status, 201, "{answer:#}");
    let (status, answer) = app.post(&format!("{path}/trigger"), json!({})).await;
    assert_eq!(status, 202, "{answer:#}");
    finish_next(app, name, bases).await
}

/// Claims the next build, of `ann/NAME`, and lets it push `latest`.
async fn finish_next(app: &App, name: &str, bases: &[(&str, &str)]) -> BuildId {
    let leased = app.claim().await;
    let (lease, order) = (&leased.lease, &leased.build.push_order);
    let (image, digest, now) = (
        format!("r.example.com/ann/{name}"),
        format!("sha256:{name}"),
        app.clock.now(),
    );
    app.store.claim_tag(lease, order, &image, "latest", now).await.unwrap();
    let pushed = PushedTag {
        image: &image,
        tag: "latest",
        digest: Some(&digest),
        image_bytes: None,
        at: now,
    };
    app.store.tag_pushed(lease, order, &pushed).await.unwrap();
    let bases: Vec<BaseImage> = bases
        .iter()
        .map(|(name, digest)| BaseImage {
            name: (*name).to_owned(),
            digest: Some((*digest).to_owned()),
            pinned: name.contains('@'),
        })
        .collect();
    let ending = Ending::Succeeded {
        digest: Some(digest.clone()),
    };
    app.store.finish(lease, &ending, &bases, now).await.unwrap();
    leased.build.id
}

/// `ann/base` on alpine, `ann/app` on both, and a private `ann/unseen` on alpine; alpine was seen as they were built on it.
pub async fn furnish(app: &App) -> BuildId {
    let base = "r.example.com/ann/base:latest";
    built(app, "base", "public", &[(ALPINE, OLD)]).await;
    let build = built(app, "app", "public", &[(base, "sha256:base"), (ALPINE, OLD)]).await;
    built(app, "unseen", "private", &[(ALPINE, OLD)]).await;
    seen(app, OLD).await;
    build
}

pub async fn seen(app: &App, digest: &str) {
    let now = app.clock.now();
    app.store.watch_what_is_stood_on(now).await.unwrap();
    let sighting = Sighting::Digest(digest.to_owned());
    let again = now + TimeDelta::days(1);
    app.store
        .image_seen(&key(), &sighting, (again, again), now)
        .await
        .unwrap();
}

fn key() -> WatchKey {
    WatchKey {
        image: ALPINE.to_owned(),
        access: String::new(),
    }
}

/// Alpine moves, and the wave that follows begins.
pub async fn wave(app: &App) -> WaveId {
    app.pass(TimeDelta::hours(2));
    seen(app, NEW).await;
    let moved = WaveMove {
        image: ALPINE.to_owned(),
        access: String::new(),
        from: Some(OLD.to_owned()),
        to: NEW.to_owned(),
        parent: None,
        is_inner: false,
    };
    let now = app.clock.now();
    let wave = app.store.add_move(&moved, TimeDelta::zero(), now).await.unwrap();
    app.store.begin_settled_wave(now).await.unwrap().unwrap();
    wave
}

fn shows(page: &Page, expected: &[&str]) {
    for text in expected {
        assert!(page.text.contains(text), "no {text} in\n{}", page.text);
    }
}

fn hides(page: &Page, unexpected: &[&str]) {
    for text in unexpected {
        assert!(!page.text.contains(text), "{text} in\n{}", page.text);
    }
}

#[tokio::test]
async fn images_are_listed_with_who_stands_on_them_as_far_as_the_viewer_may_know() {
    let app = App::start().await;
    let (ann, stranger) = (app.browser("ann").await, app.stranger());
    shows(&stranger.get("/bases").await, &["Nothing is watched yet"]);
    furnish(&app).await;
    let page = ann.get("/bases").await;
    shows(
        &page,
        &[
            "alpine:3.20",
            "3 images in 3 repositories",
            "aaaaaaa",
            "r.example.com/ann/base:latest",
        ],
    );
    hides(&page, &["outdated</span>"]);
    shows(&stranger.get("/bases").await, &["2 images in 2 repositories"]);
    let page = ann.get("/bases?q=ALP").await;
    shows(&page, &["alpine:3.20"]);
    hides(&page, &["ann/base"]);
    shows(&ann.get("/bases?q=nothing<").await, &["Nothing found", "nothing&#60;"]);
    assert_eq!(ann.get("/bases?skip=x").await.status, 422);
}

#[tokio::test]
async fn what_is_outdated_is_told_where_it_is_looked_for_and_hidden_from_others() {
    let app = App::start().await;
    let build = furnish(&app).await;
    let (ann, stranger) = (app.browser("ann").await, app.stranger());
    shows(&ann.get("/bases/outdated").await, &["Nothing is outdated"]);
    hides(&ann.get("/r/ann/app").await, &["Outdated"]);
    shows(&ann.get(&format!("/builds/{build}")).await, &["still current"]);
    app.pass(TimeDelta::days(3));
    seen(&app, NEW).await;
    app.pass(TimeDelta::days(2));
    let ann = app.browser("ann").await;
    let page = ann.get("/bases/outdated").await;
    shows(
        &page,
        &["ann/app", "ann/base", "ann/unseen", "aaaaaaa", "bbbbbbb", "2 days ago"],
    );
    let page = stranger.get("/bases/outdated").await;
    shows(&page, &["ann/app", "ann/base"]);
    hides(&page, &["unseen"]);
    shows(
        &stranger.get("/r/ann/app").await,
        &["Outdated", "alpine:3.20", "2 days ago"],
    );
    shows(&stranger.get("/bases").await, &["2</span> outdated"]);
    shows(&stranger.get(&format!("/builds/{build}")).await, &["moved since"]);
    shows(
        &stranger.get("/r/ann/app/bases").await,
        &["detected", "outdated, since", "not known"],
    );
}

#[tokio::test]
async fn the_graph_is_a_picture_and_a_list_of_what_the_viewer_may_see() {
    let app = App::start().await;
    let stranger = app.stranger();
    shows(&stranger.get("/bases/graph").await, &["Nothing stands on anything yet"]);
    furnish(&app).await;
    let page = app.browser("ann").await.get("/bases/graph").await;
    shows(
        &page,
        &[
            "<svg class=\"graph\"",
            "ann/unseen:latest",
            "at docker.io",
            "from branch main",
        ],
    );
    assert_eq!(page.text.matches("class=\"line\"").count(), 4);
    assert!(!page.text.contains("style="), "the policy forbids it");
    let page = stranger.get("/bases/graph").await;
    shows(&page, &["ann/app:latest"]);
    hides(&page, &["unseen"]);
    let page = stranger.get("/bases/graph?base=r.example.com/ann/base:latest").await;
    shows(&page, &["ann/app:latest", "ann/base:latest"]);
    assert_eq!(page.text.matches("class=\"line\"").count(), 1);
    shows(
        &stranger.get("/bases/graph?base=none:1").await,
        &["Nothing stands on none:1"],
    );
}

#[tokio::test]
async fn an_image_has_its_versions_and_what_would_follow_from_a_move_in_order() {
    let app = App::start().await;
    furnish(&app).await;
    let (ann, stranger) = (app.browser("ann").await, app.stranger());
    let path = "/bases/image?name=alpine:3.20";
    let page = ann.get(path).await;
    shows(
        &page,
        &[
            "If it moved now",
            "stands on alpine:3.20 itself",
            "after ",
            "Look now",
            "ann/unseen",
        ],
    );
    let (before, after) = (
        page.text.find("consequences-title").unwrap(),
        page.text.find("versions-title").unwrap(),
    );
    let order = &page.text[before..after];
    assert!(
        order.find("ann/base").unwrap() < order.find("ann/app").unwrap(),
        "{order}"
    );
    hides(&stranger.get(path).await, &["unseen", "Look now"]);
    assert_eq!(ann.get("/bases/image?name=none:1").await.status, 404);
    assert_eq!(ann.get("/bases/image").await.status, 422);

    let form = [("image", ALPINE), ("next", path)];
    assert_eq!(app.browser("bob").await.post("/bases/look", &form).await.status, 403);
    let looked = ann.post("/bases/look", &form).await;
    assert_eq!((looked.status, looked.location.as_deref()), (303, Some(path)));
    let watched = app.store.watched_image(&key()).await.unwrap().unwrap();
    assert!(watched.check_at <= app.clock.now());

    let wave = wave(&app).await;
    let page = ann.get(path).await;
    shows(
        &page,
        &[
            "bbbbbbb",
            "aaaaaaa",
            &format!("/waves/{wave}"),
            "a wave of 3 images, running",
        ],
    );
}

#[tokio::test]
async fn a_wave_shows_its_items_and_administrators_steer_it() {
    let app = App::start().await;
    furnish(&app).await;
    let (root, ann) = (app.browser("root").await, app.browser("ann").await);
    shows(&ann.get("/waves").await, &["No wave yet"]);
    let wave = wave(&app).await;
    shows(
        &ann.get("/waves").await,
        &["alpine:3.20 moved", "0 of 3 images done, 3 waiting", "running"],
    );
    shows(&app.stranger().get("/waves").await, &["0 of 2 images done"]);
    let path = format!("/waves/{wave}");
    let page = ann.get(&path).await;
    shows(
        &page,
        &[
            "0 of 3 images done, 3 waiting.",
            "waits for ann/base (main)",
            "aaaaaaa",
            "bbbbbbb",
            "ann/unseen",
        ],
    );
    hides(&page, &["Pause", "Builds at once"]);
    hides(&app.stranger().get(&path).await, &["unseen"]);
    assert_eq!(ann.get("/waves/0123456789abcdef0123456789abcdef").await.status, 404);

    for action in ["pause", "resume", "cancel"] {
        assert_eq!(ann.post(&format!("{path}/{action}"), &[]).await.status, 403, "{action}");
    }
    assert_eq!(
        ann.post(&format!("{path}/throttle"), &[("at_once", "2")]).await.status,
        403
    );
    shows(&root.get(&path).await, &["Pause", "Cancel", "Builds at once"]);
    let steer = async |action: &str, fields: &[(&str, &str)]| {
        let answer = root.post(&format!("{path}/{action}"), fields).await;
        assert_eq!(
            (answer.status, answer.location.as_deref()),
            (303, Some(path.as_str())),
            "{}",
            answer.text
        );
        root.keep_cookies(&answer);
        root.get(&path).await
    };
    shows(
        &steer("pause", &[]).await,
        &["paused by root", "Resume", "starts nothing new"],
    );
    shows(&steer("pause", &[]).await, &["notice bad"]);
    shows(&steer("resume", &[]).await, &["The wave goes on"]);
    shows(
        &steer("throttle", &[("at_once", "2")]).await,
        &["At most 2 of its builds", "value=\"2\""],
    );
    shows(&steer("throttle", &[("at_once", "many")]).await, &["was not set"]);
    shows(&steer("throttle", &[("at_once", "")]).await, &["no longer bounded"]);
    let page = steer("cancel", &[]).await;
    shows(
        &page,
        &["canceled by root", "3 canceled", "the wave was canceled by root"],
    );
    hides(&page, &["Builds at once"]);
    let (_, log) = app.call(&app.root, Method::GET, "/api/v1/audit", None).await;
    let log = log.to_string();
    assert!(log.contains("wave.canceled") && log.contains("wave.paused"), "{log}");
}

#[tokio::test]
async fn a_build_that_followed_from_a_move_says_what_moved() {
    let app = App::start().await;
    furnish(&app).await;
    let wave = wave(&app).await;
    let items = app.store.wave_items(&wave).await.unwrap();
    let unseen = items.iter().find(|item| item.repository.name() == "unseen").unwrap();
    let repository = app.store.repository_named(&items[0].repository).await.unwrap().unwrap();
    let last = app.store.build(&items[0].last_build).await.unwrap().unwrap();
    let rebuild = Rebuild {
        id: BuildId::new(),
        cause: Cause::BaseImage {
            image: ALPINE.to_owned(),
            from: Some(OLD.to_owned()),
            to: NEW.to_owned(),
            parent: Some(unseen.last_build.to_string()),
            wave: wave.to_string(),
        },
        base_digests: [(ALPINE.to_owned(), NEW.to_owned())].into(),
    };
    let build = rebuild.id.clone();
    app.intake.rebuild(&repository, &last, rebuild).await.unwrap();
    app.store
        .move_item(&items[0], ItemState::Building, "", Some(&build))
        .await
        .unwrap();
    let path = format!("/builds/{build}");
    shows(
        &app.browser("ann").await.get(&format!("/waves/{wave}")).await,
        &[&path, "1 building"],
    );
    let parent = format!("/builds/{}", unseen.last_build);
    let sentence = [
        "New version of",
        "name=alpine%3A3.20",
        "aaaaaaa",
        "bbbbbbb",
        &format!("/waves/{wave}"),
    ];
    let page = app.browser("ann").await.get(&path).await;
    shows(&page, &sentence);
    shows(&page, &[&parent]);
    let page = app.stranger().get(&path).await;
    shows(&page, &sentence);
    hides(&page, &[&parent]);
}

#[tokio::test]
async fn links_and_switches_of_a_repository_are_small_forms_for_its_administrators() {
    let app = App::start().await;
    furnish(&app).await;
    let (ann, bob) = (app.browser("ann").await, app.browser("bob").await);
    let path = "/r/ann/app/bases";
    shows(
        &ann.get(path).await,
        &[
            "detected",
            "Switch off",
            "Link an image by hand",
            "Switch detection off",
            "Look now",
        ],
    );
    hides(
        &bob.get(path).await,
        &["Switch off", "Link an image by hand", "Look now"],
    );
    assert_eq!(bob.get("/r/ann/unseen/bases").await.status, 404);
    for (action, field) in [("link", "image"), ("unlink", "image"), ("look", "image")] {
        assert_eq!(
            bob.post(&format!("{path}/{action}"), &[(field, ALPINE)]).await.status,
            403,
            "{action}"
        );
    }
    let stored = async || app.get("/api/v1/repositories/ann/app").await.1;
    let done = async |action: &str, fields: &[(&str, &str)]| {
        let answer = ann.post(&format!("{path}/{action}"), fields).await;
        assert_eq!(
            (answer.status, answer.location.as_deref()),
            (303, Some(path)),
            "{}",
            answer.text
        );
        ann.get(path).await
    };
    let page = ann.post(&format!("{path}/link"), &[("image", "not an image")]).await;
    assert_eq!(page.status, 422);
    shows(&page, &["value=\"not an image\"", "image-wrong"]);

    shows(
        &done("link", &[("image", " debian:12 ")]).await,
        &["debian:12", "linked by hand"],
    );
    assert_eq!(stored().await["links"], json!(["docker.io/library/debian:12"]));
    hides(
        &done("unlink", &[("image", "docker.io/library/debian:12")]).await,
        &["linked by hand"],
    );
    let page = done("switch", &[("image", ALPINE), ("follow", "no")]).await;
    shows(&page, &["switched off", "Switch on"]);
    assert_eq!(stored().await["ignored_base_images"], json!([ALPINE]));
    hides(
        &done("switch", &[("image", ALPINE), ("follow", "yes")]).await,
        &["switched off"],
    );
    shows(
        &done("detection", &[("detect", "no")]).await,
        &["Switch detection on", "not followed"],
    );
    assert_eq!(stored().await["detect_base_images"], json!(false));
    let looked = ann
        .post(&format!("{path}/look"), &[("image", "docker.io/library/other:1")])
        .await;
    assert_eq!(looked.status, 404);
    done("detection", &[("detect", "yes")]).await;
    done("look", &[("image", ALPINE)]).await;
}

//! What stands on what, over the API: of a repository, of everything, and as far as somebody may see it.

use chrono::TimeDelta;
use hullworks::{
    domain::{
        build::{BaseImage, Ending},
        ids::{BuildId, WaveId},
    },
    store::{PushedTag, Sighting, WatchKey, WaveMove},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, document};

pub const ALPINE: &str = "docker.io/library/alpine:3.20";

/// A digest made of one letter.
pub fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// An image that a build stood on.
pub fn used(image: &str, letter: char) -> BaseImage {
    BaseImage {
        name: image.to_owned(),
        digest: Some(digest(letter)),
        pinned: false,
    }
}

/// Builds what is queued: it pushes `image:latest`, and stood on these.
pub async fn pushed(app: &App, image: &str, bases: &[BaseImage], letter: char) -> BuildId {
    let leased = app.claim().await;
    let (lease, order) = (&leased.lease, &leased.build.push_order);
    let now = app.clock.now();
    app.store.claim_tag(lease, order, image, "latest", now).await.unwrap();
    let its = digest(letter);
    let pushed = PushedTag {
        image,
        tag: "latest",
        digest: Some(&its),
        image_bytes: None,
        at: now,
    };
    app.store.tag_pushed(lease, order, &pushed).await.unwrap();
    let ending = Ending::Succeeded { digest: Some(its) };
    app.store.finish(lease, &ending, bases, now).await.unwrap();
    leased.build.id
}

/// `ann/NAME` with a build of `main` that stood on these images.
pub async fn built(app: &App, name: &str, bases: &[BaseImage], letter: char) -> BuildId {
    let (status, started) = app
        .post(&format!("/api/v1/repositories/ann/{name}/trigger"), json!({}))
        .await;
    assert_eq!(status, 202, "{started:#}");
    pushed(app, &format!("r.example.com/ann/{name}"), bases, letter).await
}

/// Saves `ann/NAME` with what differs from the usual.
pub async fn saved(app: &App, name: &str, more: Value) -> (u16, Value) {
    let mut body = document();
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    app.put(&format!("/api/v1/repositories/ann/{name}"), body).await
}

/// A look at an image with the server's credentials has found this digest.
pub async fn seen(app: &App, image: &str, digest: &str) {
    seen_as(app, "", image, &Sighting::Digest(digest.to_owned())).await;
}

async fn seen_as(app: &App, access: &str, image: &str, sighting: &Sighting) {
    let now = app.clock.now();
    app.store.watch_what_is_stood_on(now).await.unwrap();
    let key = WatchKey {
        image: image.to_owned(),
        access: access.to_owned(),
    };
    let again = now + TimeDelta::hours(1);
    app.store.image_seen(&key, sighting, (now, again), now).await.unwrap();
}

/// A wave that has begun because an image moved to this digest.
pub async fn begun_wave(app: &App, image: &str, to: &str) -> WaveId {
    let now = app.clock.now();
    let moved = WaveMove {
        image: image.to_owned(),
        access: String::new(),
        from: None,
        to: to.to_owned(),
        parent: None,
        is_inner: false,
    };
    let wave = app.store.add_move(&moved, TimeDelta::zero(), now).await.unwrap();
    let (begun, _) = app.store.begin_settled_wave(now).await.unwrap().unwrap();
    assert_eq!(begun, wave);
    wave
}

async fn bases_of(app: &App, name: &str) -> Vec<Value> {
    let (status, list) = app.get(&format!("/api/v1/repositories/ann/{name}/base-images")).await;
    assert_eq!((status, &list["next_cursor"]), (200, &Value::Null), "{list:#}");
    list["items"].as_array().unwrap().clone()
}

/// `ann/base` on alpine, `ann/app` (private) on that and alpine.
async fn chain(app: &App) {
    saved(app, "base", json!({})).await;
    saved(app, "app", json!({ "visibility": "private" })).await;
    built(app, "base", &[used(ALPINE, 'a')], '1').await;
    let bases = [used(ALPINE, 'a'), used("r.example.com/ann/base:latest", '1')];
    built(app, "app", &bases, '2').await;
    seen(app, ALPINE, &digest('a')).await;
    seen(app, "r.example.com/ann/base:latest", &digest('1')).await;
}

#[tokio::test]
async fn a_repository_tells_what_it_stands_on_how_that_is_known_and_how_old_it_is() {
    let app = App::start().await;
    saved(
        &app,
        "app",
        json!({ "links": ["busybox:1", "alpine:3.20"], "ignored_base_images": ["debian:12"] }),
    )
    .await;
    let pinned = BaseImage {
        pinned: true,
        ..used("docker.io/library/golang:1.25", 'c')
    };
    built(
        &app,
        "app",
        &[used(ALPINE, 'a'), used("docker.io/library/debian:12", 'd'), pinned],
        '1',
    )
    .await;
    seen(&app, ALPINE, &digest('a')).await;
    app.pass(TimeDelta::days(2));
    seen(&app, ALPINE, &digest('b')).await;

    let bases = bases_of(&app, "app").await;
    let of = |familiar: &str| bases.iter().find(|base| base["familiar"] == familiar).unwrap();
    assert_eq!(bases.len(), 4, "{bases:#?}");
    let alpine = of("alpine:3.20");
    assert_eq!(
        (
            &alpine["image"],
            &alpine["detected"],
            &alpine["linked"],
            &alpine["followed"],
            &alpine["watch"]
        ),
        (
            &json!(ALPINE),
            &json!(true),
            &json!(true),
            &json!(true),
            &json!("watched")
        )
    );
    assert_eq!(
        (&alpine["current"], &alpine["outdated"], &alpine["behind_since"]),
        (&json!(digest('b')), &json!(true), &alpine["since"])
    );
    let use_of = &alpine["uses"][0];
    assert_eq!(
        (
            &use_of["used"],
            &use_of["images"],
            &use_of["source_name"],
            &use_of["outdated"]
        ),
        (
            &json!(digest('a')),
            &json!(["r.example.com/ann/app:latest"]),
            &json!("main"),
            &json!(true)
        )
    );
    let debian = of("debian:12");
    assert_eq!(
        (
            &debian["detected"],
            &debian["ignored"],
            &debian["followed"],
            &debian["watch"],
            &debian["outdated"]
        ),
        (
            &json!(true),
            &json!(true),
            &json!(false),
            &json!("never"),
            &json!(false)
        )
    );
    let golang = of("golang:1.25");
    assert_eq!(
        (&golang["pinned"], &golang["followed"], &golang["watch"]),
        (&json!(true), &json!(false), &json!("never"))
    );
    let busybox = of("busybox:1");
    assert_eq!(
        (
            &busybox["detected"],
            &busybox["linked"],
            &busybox["watch"],
            &busybox["current"]
        ),
        (&json!(false), &json!(true), &json!("watched"), &Value::Null)
    );
    assert_eq!(busybox["uses"][0]["used"], Value::Null);
}

#[tokio::test]
async fn what_is_linked_before_anything_is_built_is_not_watched_yet() {
    let app = App::start().await;
    saved(&app, "app", json!({ "links": ["alpine:3.20"] })).await;
    let bases = bases_of(&app, "app").await;
    assert_eq!(
        (&bases[0]["watch"], &bases[0]["uses"], &bases[0]["followed"]),
        (&json!("not_yet"), &json!([]), &json!(true))
    );
}

#[tokio::test]
async fn what_was_linked_alone_is_old_once_it_moved_after_the_build() {
    let app = App::start().await;
    saved(&app, "app", json!({ "links": ["alpine:3.20"] })).await;
    built(&app, "app", &[], '1').await;
    seen(&app, ALPINE, &digest('a')).await;
    assert_eq!(bases_of(&app, "app").await[0]["outdated"], false);
    app.pass(TimeDelta::hours(1));
    seen(&app, ALPINE, &digest('b')).await;
    assert_eq!(bases_of(&app, "app").await[0]["outdated"], true);
}

#[tokio::test]
async fn an_image_that_is_gone_or_cannot_be_looked_at_says_so() {
    let app = App::start().await;
    saved(&app, "app", json!({})).await;
    built(&app, "app", &[used(ALPINE, 'a')], '1').await;
    seen(&app, ALPINE, &digest('a')).await;
    seen_as(&app, "", ALPINE, &Sighting::Gone).await;
    let gone = &bases_of(&app, "app").await[0];
    assert!(gone["gone_since"].is_string() && gone["outdated"] == false, "{gone:#}");
    seen_as(&app, "", ALPINE, &Sighting::Failed("it answers 500".to_owned())).await;
    let failed = &bases_of(&app, "app").await[0];
    assert_eq!(failed["problem"], "it answers 500");
    let (_, text) = app.get("/metrics").await;
    for line in [
        "hullworks_watched_images{look=\"failed\"} 1",
        "hullworks_watched_images{look=\"found\"} 0",
        "hullworks_outdated_images 0",
        "hullworks_open_waves 0",
    ] {
        assert!(text.as_str().unwrap().contains(line), "{line}: {text}");
    }
}

#[tokio::test]
async fn a_new_version_that_is_the_same_for_the_platform_makes_nothing_old() {
    let app = App::start().await;
    let rules = json!([{ "source_type": "branch", "source": "main", "platforms": ["linux/arm64"] }]);
    saved(&app, "app", json!({ "rules": rules })).await;
    built(&app, "app", &[used(ALPINE, 'a')], '1').await;
    seen(&app, ALPINE, &digest('a')).await;
    app.pass(TimeDelta::hours(1));
    seen(&app, ALPINE, &digest('b')).await;
    assert_eq!(bases_of(&app, "app").await[0]["outdated"], true);
    let key = WatchKey {
        image: ALPINE.to_owned(),
        access: String::new(),
    };
    for letter in ['a', 'b'] {
        let platforms = [("linux/arm64", digest('5')), ("linux/amd64", digest(letter))];
        let platforms = platforms
            .into_iter()
            .map(|(name, digest)| (name.to_owned(), digest))
            .collect();
        app.store
            .record_platforms(&key, &digest(letter), &platforms)
            .await
            .unwrap();
    }
    assert_eq!(bases_of(&app, "app").await[0]["outdated"], false);
}

#[tokio::test]
async fn images_graph_consequences_and_what_is_old_hold_only_what_the_caller_may_see() {
    let app = App::start().await;
    chain(&app).await;
    saved(&app, "secret", json!({ "visibility": "private" })).await;
    built(&app, "secret", &[used("docker.io/library/secret-base:1", 'e')], '3').await;
    seen(&app, "docker.io/library/secret-base:1", &digest('f')).await;
    seen(&app, ALPINE, &digest('b')).await;
    for path in [
        "/api/v1/base-images",
        "/api/v1/base-images?outdated=true",
        "/api/v1/base-images/graph",
        "/api/v1/base-images/alpine%3A3.20/consequences",
        "/api/v1/base-images/docker.io%2Flibrary%2Falpine:3.20",
        "/api/v1/outdated",
    ] {
        let (status, own) = app.get(path).await;
        assert_eq!(status, 200, "{path}: {own:#}");
        assert!(own.to_string().contains("alpine"), "{path}: {own:#}");
        let (status, others) = app.call(&app.bob, Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {others:#}");
        assert_ne!(own, others, "{path}");
        let others = others.to_string();
        assert!(
            !others.contains("ann/app") && !others.contains("secret"),
            "{path}: {others}"
        );
    }
    for path in [
        "/api/v1/base-images/secret-base%3A1",
        "/api/v1/base-images/r.example.com%2Fann%2Fbase",
    ] {
        assert_eq!(app.get(path).await.0, 200, "{path}");
        let (status, problem) = app.call(&app.bob, Method::GET, path, None).await;
        assert_eq!(status, 404, "{path}");
        let absent = app.get("/api/v1/base-images/none%3A1").await.1;
        assert_eq!(problem, absent, "what may not be seen is as what is not there");
        let check = format!("{path}/check");
        assert_eq!(app.call(&app.bob, Method::POST, &check, None).await.0, 404, "{path}");
    }
    let (_, alpine) = app.get("/api/v1/base-images/alpine%3A3.20").await;
    let (_, seen_by_bob) = app
        .call(&app.bob, Method::GET, "/api/v1/base-images/alpine%3A3.20", None)
        .await;
    assert_eq!(
        (&alpine["repositories"], &seen_by_bob["repositories"]),
        (&json!(2), &json!(1))
    );
    assert_eq!((&alpine["outdated"], &seen_by_bob["outdated"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn what_is_seen_with_credentials_of_a_namespace_is_for_its_members() {
    let app = App::start().await;
    let credentials = json!({ "username": "u", "password": "p" });
    app.put("/api/v1/namespaces/ann/registries/docker.io", credentials)
        .await;
    saved(&app, "app", json!({})).await;
    built(&app, "app", &[used(ALPINE, 'a')], '1').await;
    seen_as(&app, "ann", ALPINE, &Sighting::Digest(digest('b'))).await;
    let base = &bases_of(&app, "app").await[0];
    assert_eq!((&base["watch"], &base["outdated"]), (&json!("watched"), &json!(true)));
    assert_eq!(app.get("/api/v1/base-images").await.1["items"][0]["access"], "ann");
    let path = "/api/v1/repositories/ann/app/base-images";
    let (_, others) = app.call(&app.bob, Method::GET, path, None).await;
    let base = &others["items"][0];
    assert_eq!(
        (&base["watch"], &base["current"], &base["outdated"]),
        (&json!("hidden"), &Value::Null, &json!(false))
    );
    for path in ["/api/v1/base-images", "/api/v1/outdated"] {
        let (_, list) = app.call(&app.bob, Method::GET, path, None).await;
        assert_eq!(list["items"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn a_watched_image_has_its_history_and_what_stands_on_it() {
    let app = App::start().await;
    chain(&app).await;
    app.pass(TimeDelta::hours(1));
    seen(&app, ALPINE, &digest('b')).await;
    let wave = begun_wave(&app, ALPINE, &digest('b')).await;
    let (_, image) = app.get("/api/v1/base-images/alpine%3A3.20").await;
    let versions = image["versions"].as_array().unwrap();
    assert_eq!(
        (&versions[0]["digest"], &versions[0]["current"], &versions[0]["waves"]),
        (
            &json!(digest('b')),
            &json!(true),
            &json!([{ "id": wave.to_string(), "state": "running" }])
        )
    );
    assert_eq!(
        (&versions[1]["digest"], &versions[1]["current"], &versions[1]["waves"]),
        (&json!(digest('a')), &json!(false), &json!([]))
    );
    let standing: Vec<&str> = image["standing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|standing| standing["repository"].as_str().unwrap())
        .collect();
    assert_eq!(standing, ["ann/app", "ann/base"]);
    let (_, own) = app.get("/api/v1/base-images/r.example.com%2Fann%2Fbase%3Alatest").await;
    assert_eq!(own["made_by"], "ann/base");
}

#[tokio::test]
async fn consequences_are_in_order_and_start_nothing() {
    let app = App::start().await;
    chain(&app).await;
    let (_, dry_run) = app.get("/api/v1/base-images/alpine%3A3.20/consequences").await;
    let items = dry_run["items"].as_array().unwrap();
    assert_eq!(
        (&items[0]["repository"], &items[0]["depth"], &items[0]["after"]),
        (&json!("ann/base"), &json!(0), &json!([]))
    );
    assert_eq!(
        (&items[1]["repository"], &items[1]["after"]),
        (&json!("ann/app"), &json!([0]))
    );
    assert_eq!(items.len(), 2);
    assert_eq!(app.get("/api/v1/waves").await.1["items"], json!([]));
    let (status, none) = app.get("/api/v1/base-images/none/consequences").await;
    assert_eq!((status, &none["items"]), (200, &json!([])));
    assert_eq!(app.get("/api/v1/base-images/A%20B/consequences").await.0, 404);
}

#[tokio::test]
async fn the_graph_has_a_node_for_what_each_build_made_and_can_begin_at_an_image() {
    let app = App::start().await;
    chain(&app).await;
    saved(&app, "other", json!({})).await;
    built(&app, "other", &[used("docker.io/library/debian:12", 'd')], '3').await;
    let (_, graph) = app.get("/api/v1/base-images/graph").await;
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 5, "{graph:#}");
    let (_, graph) = app.get("/api/v1/base-images/graph?base=r.example.com/ann/base").await;
    let names: Vec<&str> = graph["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["familiar"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["r.example.com/ann/base:latest", "r.example.com/ann/app:latest"]);
    assert_eq!(
        graph["edges"],
        json!([{ "base": 0, "standing": 1, "linked": false, "outdated": false }])
    );
    let (_, none) = app.get("/api/v1/base-images/graph?base=none").await;
    assert_eq!(none, json!({ "nodes": [], "edges": [] }));
}

#[tokio::test]
async fn lists_sorted_by_a_name_go_on_from_page_to_page() {
    let app = App::start().await;
    saved(&app, "app", json!({})).await;
    let bases: Vec<BaseImage> = ["b", "a", "c"]
        .map(|name| used(&format!("docker.io/library/{name}:1"), 'a'))
        .into();
    built(&app, "app", &bases, '1').await;
    for base in &bases {
        seen(&app, &base.name, &digest('b')).await;
    }
    for (path, key) in [
        ("/api/v1/base-images", "image"),
        ("/api/v1/outdated", "base"),
        ("/api/v1/repositories/ann/app/base-images", "image"),
    ] {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, page) = app.get(&format!("{path}?limit=1{cursor}")).await;
            assert_eq!(status, 200, "{page:#}");
            names.extend(page["items"].as_array().unwrap().iter().map(|item| item[key].clone()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let expected: Vec<Value> = ["a", "b", "c"]
            .map(|name| json!(format!("docker.io/library/{name}:1")))
            .into();
        let mut sorted = names.clone();
        sorted.sort_by_key(ToString::to_string);
        assert_eq!((names.len(), sorted), (3, expected), "{path}");
        for query in ["cursor=zz", "cursor=ff", "limit=0", "nope=1"] {
            assert_eq!(app.get(&format!("{path}?{query}")).await.0, 422, "{path}?{query}");
        }
    }
}

#[tokio::test]
async fn an_image_is_looked_at_when_somebody_asks_who_may() {
    let app = App::start().await;
    chain(&app).await;
    let key = WatchKey {
        image: ALPINE.to_owned(),
        access: String::new(),
    };
    let due = async || app.store.watched_image(&key).await.unwrap().unwrap().check_at <= app.clock.now();
    let check = "/api/v1/base-images/alpine%3A3.20/check";
    assert!(!due().await);
    assert_eq!(app.call("", Method::POST, check, None).await.0, 401);
    // Somebody else sees that something public stands on it, and no more.
    assert_eq!(app.call(&app.bob, Method::POST, check, None).await.0, 403);
    assert!(!due().await);
    assert_eq!(app.call(&app.ann, Method::POST, check, None).await.0, 202);
    assert!(due().await);
    assert_eq!(app.call(&app.root, Method::POST, check, None).await.0, 202);
}

#[tokio::test]
async fn an_image_that_is_switched_off_is_not_followed_until_it_is_switched_on() {
    let app = App::start().await;
    saved(&app, "app", json!({})).await;
    built(&app, "app", &[used(ALPINE, 'a')], '1').await;
    let watched = async || {
        app.store.watch_what_is_stood_on(app.clock.now()).await.unwrap();
        app.store.watched_images().await.unwrap().len()
    };
    assert_eq!(watched().await, 1);
    let (_, off) = saved(
        &app,
        "app",
        json!({ "ignored_base_images": ["alpine:3.20", "alpine:3.20"] }),
    )
    .await;
    assert_eq!(off["ignored_base_images"], json!([ALPINE]));
    assert_eq!(watched().await, 0);
    let (_, read) = app.get("/api/v1/repositories/ann/app").await;
    assert_eq!(
        app.put("/api/v1/repositories/ann/app", read.clone()).await.1["ignored_base_images"],
        json!([ALPINE])
    );
    let (_, audit) = app
        .call(&app.root, Method::GET, "/api/v1/audit?action=repository.changed", None)
        .await;
    assert_eq!(
        audit["items"][0]["detail"],
        json!({ "fields": ["ignored_base_images"] })
    );
    let (_, on) = saved(&app, "app", json!({})).await;
    assert_eq!(on["ignored_base_images"], json!([]));
    assert_eq!(watched().await, 1);
}

#[tokio::test]
async fn a_badge_tells_whether_a_repository_stands_on_what_its_base_images_are_now() {
    let app = App::start().await;
    saved(&app, "app", json!({})).await;
    let badge = async |token: &str| {
        let request = app.request(token, Method::GET, "/badge/ann/app/bases.svg");
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let says = async |words: &str| {
        let (status, svg) = badge("").await;
        assert_eq!(status, 200);
        assert!(svg.contains(&format!("base images: {words}<")), "{words}: {svg}");
    };
    says("unknown").await;
    built(&app, "app", &[used(ALPINE, 'a')], '1').await;
    says("unknown").await;
    seen(&app, ALPINE, &digest('a')).await;
    says("up to date").await;
    app.pass(TimeDelta::minutes(1));
    seen(&app, ALPINE, &digest('b')).await;
    app.pass(TimeDelta::days(3));
    says("behind 3 days").await;
    saved(&app, "app", json!({ "visibility": "private" })).await;
    assert_eq!(badge("").await.0, 404);
}

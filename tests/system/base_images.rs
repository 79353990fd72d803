//! What is built again when a base image moves: on real registries, with real images.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    faults::{Fault, FaultyProxy},
    postgres::Database,
    registry::Registry,
    server::{Options, Server},
    wait,
    world::{App, World},
};

/// Looks every second, and waits no longer than that for more to move.
const PROMPT: &str = "[base_images]\npoll_seconds = 1\ndebounce_seconds = 1\n";

/// Looks at nothing by itself within a test.
const SELDOM: &str = "[base_images]\npoll_seconds = 86400\ndebounce_seconds = 1\n";

/// How long a wave may take, with everything else that the machine does at the same time.
const WAVE: Duration = Duration::from_secs(180);

/// Gives the base image of a world new content, under the same tag. Answers its digest.
async fn move_base(world: &World, content: &str) -> String {
    world.engine.import_busybox(&world.base, content).await;
    world.engine.push(&world.base).await;
    world
        .registry
        .digest("base/busybox", "1")
        .await
        .expect("the base image")
}

/// An app whose image stands on another.
async fn app_on(world: &World, name: &str, base: &str) -> App {
    let app = world.app_named(name, json!({})).await;
    let dockerfile = format!("FROM {base}\nRUN echo {name} >> /built\n");
    world.build(&app, &[("Dockerfile", &dockerfile)]).await;
    app
}

fn latest(app: &App) -> String {
    format!("{}:latest", app.image)
}

/// Waits until a repository has so many builds, the newest of which has ended like that. Answers it.
async fn last_of(server: &Server, app: &App, count: usize, status: &str) -> Value {
    let what = format!("build {count} of {} to end {status}", app.name);
    let build = wait::until(&what, WAVE, async || {
        let builds = server.builds(&app.name).await;
        let newest = builds.first()?;
        (builds.len() >= count && newest["status"] == status).then(|| (builds.len(), newest.clone()))
    })
    .await;
    assert_eq!(build.0, count, "{} has more builds than it should", app.name);
    build.1
}

fn digest_of<'a>(build: &'a Value, image: &str) -> &'a Value {
    let bases = build["base_images"].as_array().expect("a list");
    let base = bases.iter().find(|base| base["name"] == image);
    base.map_or(&Value::Null, |base| &base["digest"])
}

/// The waves, newest first, each with its items.
async fn waves(server: &Server) -> Vec<Value> {
    let mut waves = Vec::new();
    for wave in server.list("/waves").await {
        let id = wave["id"].as_str().expect("an id").to_owned();
        let (status, wave) = server
            .request(reqwest::Method::GET, &format!("/waves/{id}"), None)
            .await;
        assert_eq!(status, 200, "{wave}");
        waves.push(wave);
    }
    waves
}

/// Waits until the only wave has ended.
async fn only_wave(server: &Server) -> Value {
    wait::until("the wave to end", WAVE, async || {
        let mut waves = waves(server).await;
        assert!(waves.len() <= 1, "{waves:#?}");
        waves.pop().filter(|wave| wave["state"] == "done")
    })
    .await
}

#[tokio::test]
async fn a_chain_of_four_is_rebuilt_in_order_each_on_exactly_what_the_one_before_pushed() {
    let world = World::with_settings(PROMPT).await;
    let one = app_on(&world, "one", &world.base).await;
    let two = app_on(&world, "two", &latest(&one)).await;
    let three = app_on(&world, "three", &latest(&two)).await;
    let four = app_on(&world, "four", &latest(&three)).await;
    let before = world.server.builds(&four.name).await.remove(0);

    let moved = move_base(&world, "the new base").await;

    let last = last_of(&world.server, &four, 2, "succeeded").await;
    assert_eq!(last["commit"], before["commit"], "the same commit as last time");
    assert_eq!(world.run(&four, "latest", &["cat", "/content"]).await, "the new base");
    assert_eq!(
        world.run(&four, "latest", &["cat", "/built"]).await,
        "one\ntwo\nthree\nfour"
    );
    let mut below = (world.base.clone(), json!(moved), Value::Null);
    for app in [&one, &two, &three, &four] {
        let build = last_of(&world.server, app, 2, "succeeded").await;
        let (image, digest, parent) = &below;
        assert_eq!(digest_of(&build, image), digest, "{}", app.name);
        let cause = &build["cause"];
        assert_eq!(
            (&cause["kind"], &cause["image"], &cause["to"]),
            (&json!("base_image"), &json!(image), digest)
        );
        assert_eq!(&cause["parent"], parent, "{}", app.name);
        assert_ne!(cause["from"], cause["to"]);
        below = (latest(app), build["digest"].clone(), build["id"].clone());
    }
    let wave = only_wave(&world.server).await;
    assert!(
        wave["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["state"] == "done"),
        "{wave:#}"
    );
}

#[tokio::test]
async fn a_diamonds_last_is_rebuilt_once_on_both_sides_new_versions() {
    let world = World::with_settings(PROMPT).await;
    let left = app_on(&world, "left", &world.base).await;
    let right = app_on(&world, "right", &world.base).await;
    let last = world.app_named("last", json!({})).await;
    let dockerfile = format!(
        "FROM {} AS left\nFROM {}\nCOPY --from=left /built /left\n",
        latest(&left),
        latest(&right)
    );
    world.build(&last, &[("Dockerfile", &dockerfile)]).await;
    move_base(&world, "moved").await;
    let build = last_of(&world.server, &last, 2, "succeeded").await;
    for side in [&left, &right] {
        let rebuilt = last_of(&world.server, side, 2, "succeeded").await;
        assert_eq!(digest_of(&build, &latest(side)), &rebuilt["digest"]);
    }
    only_wave(&world.server).await;
    assert_eq!(world.server.builds(&last.name).await.len(), 2);
}

#[tokio::test]
async fn every_way_to_stand_on_an_image_is_followed_and_a_pinned_digest_never() {
    let world = World::with_settings(PROMPT).await;
    let pinned = world
        .registry
        .digest("base/busybox", "1")
        .await
        .expect("the base image");
    let (host, base) = (world.registry.host(), &world.base);
    let name = base.rsplit_once(':').expect("a tag").0;
    let dockerfiles = [
        ("argument", format!("ARG TAG=2\nFROM {name}:${{TAG}}\nRUN true\n")),
        ("copied", format!("FROM scratch\nCOPY --from={base} /content /\n")),
        (
            "stage",
            format!("FROM {base} AS build\nRUN echo x > /x\nFROM scratch\nCOPY --from=build /x /\n"),
        ),
        ("pinned", format!("FROM {base}@{pinned}\nRUN true\n")),
    ];
    let mut apps = Vec::new();
    for (name, dockerfile) in &dockerfiles {
        let changes = json!({ "rules": [{
            "source_type": "branch", "source": "main", "docker_tag": "latest", "build_args": { "TAG": "1" }
        }] });
        let app = world.app_named(name, changes).await;
        world.build(&app, &[("Dockerfile", dockerfile)]).await;
        apps.push(app);
    }
    let moved = move_base(&world, "moved").await;
    for app in &apps[..3] {
        let build = last_of(&world.server, app, 2, "succeeded").await;
        assert_eq!(digest_of(&build, base), &json!(moved), "{}", app.name);
    }
    only_wave(&world.server).await;
    let untouched = world.server.builds(&apps[3].name).await;
    assert_eq!(untouched.len(), 1);
    assert_eq!(
        untouched[0]["base_images"],
        json!([{ "name": base, "digest": pinned, "pinned": true }])
    );
    assert!(base.starts_with(host));
}

#[tokio::test]
async fn a_push_to_a_base_of_ours_is_followed_with_its_build_as_the_parent() {
    let world = World::with_settings(SELDOM).await;
    let base = app_on(&world, "base", &world.base).await;
    let child = app_on(&world, "child", &latest(&base)).await;
    let dockerfile = world.dockerfile("RUN echo another >> /built");
    let pushed = world.build(&base, &[("Dockerfile", &dockerfile)]).await;
    let build = last_of(&world.server, &child, 2, "succeeded").await;
    let cause = &build["cause"];
    assert_eq!((&cause["parent"], &cause["to"]), (&pushed["id"], &pushed["digest"]));
    assert_eq!(world.run(&child, "latest", &["cat", "/built"]).await, "another\nchild");
    // And once more for each push, but not for one that changes nothing.
    let again = world
        .build(&base, &[("Dockerfile", &dockerfile), ("README", "not in the image")])
        .await;
    if again["digest"] == pushed["digest"] {
        only_wave(&world.server).await;
    }
}

#[tokio::test]
async fn a_failure_holds_what_stands_on_it_and_says_so() {
    let world = World::with_settings(PROMPT).await;
    let base = world.app_named("base", json!({})).await;
    let dockerfile = world.dockerfile("RUN ! grep -q broken /content && echo base >> /built");
    world.build(&base, &[("Dockerfile", &dockerfile)]).await;
    let child = app_on(&world, "child", &latest(&base)).await;
    move_base(&world, "broken").await;
    last_of(&world.server, &base, 2, "failed").await;
    let wave = only_wave(&world.server).await;
    let told: Vec<(&Value, &Value)> = wave["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["repository"], &item["state"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("admin/base"), &json!("failed")),
            (&json!("admin/child"), &json!("held"))
        ]
    );
    assert_eq!(wave["items"][1]["reason"], "it stands on admin/base, which failed");
    assert_eq!(world.server.builds(&child.name).await.len(), 1);
    // The next version mends it, and everything follows.
    move_base(&world, "mended").await;
    last_of(&world.server, &child, 2, "succeeded").await;
    assert_eq!(world.run(&child, "latest", &["cat", "/content"]).await, "mended");
}

#[tokio::test]
async fn however_many_stand_on_an_image_a_look_is_one_request() {
    let world = World::with_settings(SELDOM).await;
    let one = app_on(&world, "one", &world.base).await;
    app_on(&world, "two", &world.base).await;
    let bases = format!("/repositories/{}/base-images", one.name);
    let checked_at = async || {
        let (status, found) = world.server.request(reqwest::Method::GET, &bases, None).await;
        assert_eq!(status, 200, "{found}");
        Some(found["items"][0]["checked_at"].clone()).filter(Value::is_string)
    };
    let first = wait::until("the first look", WAVE, checked_at).await;
    let before = world.registry.manifest_requests().await;
    let image = format!(
        "/base-images/{}/check",
        world.base.replace('/', "%2F").replace(':', "%3A")
    );
    let (status, answer) = world
        .server
        .request(reqwest::Method::POST, &image, Some(json!({})))
        .await;
    assert_eq!(status, 202, "{answer}");
    wait::until("another look", WAVE, async || {
        checked_at().await.filter(|at| *at != first)
    })
    .await;
    assert_eq!(world.registry.manifest_requests().await - before, 1);
}

#[tokio::test]
async fn a_registry_with_a_password_is_watched_with_the_stored_one() {
    let mut world = World::with_settings(PROMPT).await;
    let private = Registry::start_with_password("watcher", "s3cret-pass").await;
    world.clean_up_after(private.host());
    let base = format!("{}/base/private:1", private.host());
    let put_base = async |content: &str| {
        world.engine.import_busybox(&base, content).await;
        world.engine.push_as(&base, "watcher", "s3cret-pass").await;
        world.engine.remove(&base).await;
    };
    put_base("private one").await;
    world
        .server
        .put_registry("admin", private.host(), "watcher", "s3cret-pass")
        .await;
    let app = app_on(&world, "app", &base).await;
    put_base("private two").await;
    last_of(&world.server, &app, 2, "succeeded").await;
    assert_eq!(world.run(&app, "latest", &["cat", "/content"]).await, "private two");
}

#[tokio::test]
async fn a_registrys_report_is_followed_at_once() {
    let mut world = World::with_settings(SELDOM).await;
    let host = Registry::free_host();
    let stored = world.server.put_registry("admin", &host, "pusher", "s3cret-pass").await;
    let of = |field: &str| stored["webhook"][field].as_str().expect("a text");
    let reporting = Registry::start_reporting(host, of("url"), of("secret")).await;
    world.clean_up_after(reporting.host());
    let base = format!("{}/base/reported:1", reporting.host());
    world.engine.import_busybox(&base, "one").await;
    world.engine.push(&base).await;
    let app = app_on(&world, "app", &base).await;
    world.engine.import_busybox(&base, "two").await;
    world.engine.push(&base).await;
    last_of(&world.server, &app, 2, "succeeded").await;
    assert_eq!(world.run(&app, "latest", &["cat", "/content"]).await, "two");
}

#[tokio::test]
async fn a_registry_that_is_away_is_told_and_looked_at_again() {
    let mut world = World::with_settings(PROMPT).await;
    let proxy = FaultyProxy::before(world.registry.host()).await;
    world.clean_up_after(proxy.host());
    let base = format!("{}/base/busybox:1", proxy.host());
    let app = app_on(&world, "app", &base).await;
    let bases = format!("/repositories/{}/base-images", app.name);
    let problem = async || {
        let (status, found) = world.server.request(reqwest::Method::GET, &bases, None).await;
        assert_eq!(status, 200, "{found}");
        found["items"][0]["problem"].clone()
    };
    wait::until("a look", WAVE, async || {
        let (_, found) = world.server.request(reqwest::Method::GET, &bases, None).await;
        (!found["items"][0]["checked_at"].is_null()).then_some(())
    })
    .await;
    proxy.set(Fault::Gone);
    let told = wait::until("the problem to be told", WAVE, async || {
        Some(problem().await).filter(Value::is_string)
    })
    .await;
    assert!(told.as_str().unwrap().contains(proxy.host()), "{told}");
    move_base(&world, "meanwhile").await;
    proxy.set(Fault::None);
    last_of(&world.server, &app, 2, "succeeded").await;
    assert_eq!(problem().await, Value::Null);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_wave_resumes_it() {
    let mut world = World::with_settings(PROMPT).await;
    let gate = world.gate();
    let one = world.app_named("one", json!({})).await;
    // Held up from the second version on.
    let step = format!(
        "RUN if grep -q second /content; then {}; fi\nRUN echo one >> /built",
        gate.command()
    );
    let dockerfile = world.dockerfile(&step);
    world.build(&one, &[("Dockerfile", &dockerfile)]).await;
    let two = app_on(&world, "two", &latest(&one)).await;
    move_base(&world, "second").await;
    gate.reached_by(1).await;
    world.server.kill9();
    world.server.restart().await;
    gate.reached_by(1).await;
    gate.open().await;
    let built = last_of(&world.server, &two, 2, "succeeded").await;
    assert_eq!(
        digest_of(&built, &latest(&one)),
        &last_of(&world.server, &one, 2, "succeeded").await["digest"]
    );
    only_wave(&world.server).await;
}

#[tokio::test]
async fn two_servers_on_one_database_rebuild_once() {
    let database = Database::create().await;
    let options = || Options {
        database_url: Some(database.url().to_string()),
        ..Options::with_settings(PROMPT)
    };
    let world = World::with(options()).await;
    let one = app_on(&world, "one", &world.base).await;
    let two = app_on(&world, "two", &latest(&one)).await;
    let other = Server::beside(&world.server, options()).await;
    move_base(&world, "moved").await;
    last_of(&world.server, &two, 2, "succeeded").await;
    last_of(&other, &one, 2, "succeeded").await;
    only_wave(&other).await;
}

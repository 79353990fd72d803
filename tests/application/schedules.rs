//! Builds without a push: at the time, not before, once, and what of it is told.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hullworks::{
    domain::{build::Ending, ids::BuildId},
    scheduler,
    store::{PushedTag, TagClaim},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::app::{App, commit, document, payload};

const PATH: &str = "/api/v1/repositories/ann/app";

/// How long something may take that happens by itself.
const SOON: Duration = Duration::from_secs(20);

/// The usual document, its first rule with a schedule.
fn scheduled(schedule: Value) -> Value {
    let mut document = document();
    document["rules"][0]["schedule"] = schedule;
    document
}

async fn save(app: &App, document: Value) -> Value {
    let (status, saved) = app.put(PATH, document).await;
    assert!(matches!(status, 200 | 201), "{saved:#}");
    saved
}

/// Starts what is due now.
async fn start_due(app: &App) {
    scheduler::start_due(&app.scheduler, &CancellationToken::new())
        .await
        .unwrap();
}

async fn next_due(app: &App) -> Option<DateTime<Utc>> {
    app.store.next_due().await.unwrap()
}

/// Lets time go by until a moment, and `more`.
async fn pass_until(app: &App, moment: DateTime<Utc>, more: TimeDelta) {
    app.pass(moment - app.clock.now() + more);
}

async fn items(app: &App, list: &str) -> Vec<Value> {
    let (status, page) = app.get(&format!("{PATH}/{list}")).await;
    assert_eq!(status, 200, "{page:#}");
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_schedule_builds_at_its_time_and_not_before_and_the_ledger_says_so() {
    let app = App::start().await;
    let schedule = json!({ "cron": "0 4 * * 1", "time_zone": "Europe/Berlin", "no_cache": true });
    save(&app, scheduled(schedule)).await;
    let due = next_due(&app).await.unwrap();
    pass_until(&app, due, TimeDelta::seconds(-60)).await;
    start_due(&app).await;
    assert!(items(&app, "builds").await.is_empty());

    pass_until(&app, due, TimeDelta::seconds(1)).await;
    start_due(&app).await;
    start_due(&app).await;
    let builds = items(&app, "builds").await;
    assert_eq!(builds.len(), 1);
    let build = &builds[0];
    assert_eq!(
        build["cause"],
        json!({ "kind": "schedule", "cron": "0 4 * * 1", "time_zone": "Europe/Berlin" })
    );
    assert_eq!(
        (&build["source_name"], &build["commit"], &build["tags"]),
        (&json!("main"), &Value::Null, &json!(["latest"]))
    );
    let stored = app
        .store
        .build(&BuildId::from(build["id"].as_str().unwrap()))
        .await
        .unwrap()
        .unwrap();
    assert!(!stored.plan.cache);
    let deliveries = items(&app, "deliveries").await;
    assert_eq!(deliveries.len(), 1);
    let delivery = &deliveries[0];
    for (field, expected) in [
        ("provider", json!("schedule")),
        ("event", json!("schedule")),
        ("outcome", json!("queued")),
        ("reason", json!("build #1 of main")),
        ("source_name", json!("main")),
        ("delivery_id", Value::Null),
        ("builds", json!([build["id"]])),
    ] {
        assert_eq!(delivery[field], expected, "{field}");
    }
    assert!(next_due(&app).await.unwrap() >= due + TimeDelta::days(6));
    let (_, of_cause) = app.get("/api/v1/builds?cause=schedule").await;
    assert_eq!(of_cause["items"].as_array().unwrap().len(), 1);
    assert!(
        app.get("/api/v1/builds?cause=push").await.1["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_rule_that_no_push_builds_is_built_by_its_schedule_with_its_cache() {
    let app = App::start().await;
    let mut document = scheduled(json!({ "cron": "@daily" }));
    document["rules"][0]["autobuild"] = json!(false);
    save(&app, document).await;
    pass_until(&app, next_due(&app).await.unwrap(), TimeDelta::seconds(1)).await;
    start_due(&app).await;
    let build = app.claim().await.build;
    assert!(build.plan.cache);
    assert_eq!(build.commit, None);
}

#[tokio::test]
async fn what_was_missed_many_times_is_built_once_and_the_reason_says_so() {
    let app = App::start().await;
    save(&app, scheduled(json!({ "cron": "0 */6 * * *" }))).await;
    let due = next_due(&app).await.unwrap();
    pass_until(&app, due, TimeDelta::days(3)).await;
    start_due(&app).await;
    assert_eq!(items(&app, "builds").await.len(), 1);
    let deliveries = items(&app, "deliveries").await;
    let reason = format!(
        "build #1 of main; missed since {}, and made up for once",
        due.format("%Y-%m-%d %H:%M UTC")
    );
    assert_eq!(
        (deliveries.len(), &deliveries[0]["outcome"], &deliveries[0]["reason"]),
        (1, &json!("queued"), &json!(reason))
    );
    let next = next_due(&app).await.unwrap();
    assert!(next > app.clock.now() && next <= app.clock.now() + TimeDelta::hours(6));

    let lease = app.claim().await.lease;
    app.finish(&lease, Ending::Canceled).await;
    pass_until(&app, next, TimeDelta::hours(1)).await;
    start_due(&app).await;
    let reason = items(&app, "deliveries").await[0]["reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        reason.contains("missed at ") && reason.ends_with(", and made up for"),
        "{reason}"
    );
}

#[tokio::test]
async fn what_is_on_its_way_is_not_built_twice() {
    let app = App::start().await;
    let repository = save(&app, scheduled(json!({ "cron": "@daily" }))).await;
    app.push(&repository, "d", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    pass_until(&app, next_due(&app).await.unwrap(), TimeDelta::seconds(1)).await;
    start_due(&app).await;
    assert_eq!(items(&app, "builds").await.len(), 1);
    let delivery = &items(&app, "deliveries").await[0];
    assert_eq!(
        (&delivery["provider"], &delivery["outcome"], &delivery["reason"]),
        (
            &json!("schedule"),
            &json!("duplicate"),
            &json!("main is queued already as build #1")
        )
    );
}

#[tokio::test]
async fn a_schedule_that_was_changed_or_taken_away_starts_nothing_at_its_old_time() {
    let app = App::start().await;
    save(&app, scheduled(json!({ "cron": "@daily" }))).await;
    let old = next_due(&app).await.unwrap();
    save(&app, scheduled(json!({ "cron": "@yearly" }))).await;
    // Where this is the turn of a year, both are due at the same time.
    if next_due(&app).await != Some(old) {
        pass_until(&app, old, TimeDelta::seconds(1)).await;
        start_due(&app).await;
        assert!(items(&app, "builds").await.is_empty());
    }
    save(&app, scheduled(json!({ "cron": "@daily" }))).await;
    save(&app, scheduled(Value::Null)).await;
    assert_eq!(next_due(&app).await, None);
    save(&app, scheduled(json!({ "cron": "@daily" }))).await;
    pass_until(&app, next_due(&app).await.unwrap(), TimeDelta::seconds(1)).await;
    let (status, _) = app.call(&app.ann, Method::DELETE, PATH, None).await;
    assert_eq!(status, 204);
    assert_eq!(next_due(&app).await, None);
    start_due(&app).await;
    assert!(
        app.get("/api/v1/builds").await.1["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn pages_tell_when_a_schedule_builds_next_and_that_it_did() {
    let app = App::start().await;
    save(&app, document()).await;
    let browser = app.stranger();
    assert!(!browser.get("/r/ann/app").await.text.contains(r#"id="schedules""#));
    let schedule = json!({ "cron": "@daily", "time_zone": "Asia/Tokyo", "no_cache": true });
    save(&app, scheduled(schedule)).await;
    let due = next_due(&app).await.unwrap();
    let page = browser.get("/r/ann/app").await.text;
    let next = format!(r#"<time datetime="{}""#, due.format("%Y-%m-%dT%H:%M:%SZ"));
    for shown in ["<code>@daily</code> in Asia/Tokyo, without cache", &next] {
        assert!(page.contains(shown), "{shown}\n{page}");
    }
    pass_until(&app, due, TimeDelta::seconds(1)).await;
    start_due(&app).await;
    let build = items(&app, "builds").await[0]["id"].as_str().unwrap().to_owned();
    for path in [
        "/builds?cause=schedule",
        &format!("/builds/{build}"),
        "/r/ann/app/builds",
    ] {
        let page = browser.get(path).await.text;
        assert!(page.contains("schedule @daily in Asia/Tokyo"), "{path}\n{page}");
    }
}

/// Builds a git tag from its push to the tags of the image; answers its place in the order of pushes.
async fn release(app: &App, repository: &Value, name: &str, letter: char) -> String {
    let push = payload(&format!("refs/tags/{name}"), &commit(letter), "x");
    let (status, answer) = app.push(repository, name, &push).await;
    assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");
    let leased = app.claim().await;
    let order = &leased.build.push_order;
    for tag in &leased.build.plan.tags {
        let (image, at) = ("r.example.com/ann/app", app.clock.now());
        let claimed = app.store.claim_tag(&leased.lease, order, image, tag, at).await.unwrap();
        assert_eq!(claimed, TagClaim::Granted);
        let pushed = PushedTag {
            image,
            tag,
            digest: None,
            image_bytes: None,
            at,
        };
        app.store.tag_pushed(&leased.lease, order, &pushed).await.unwrap();
    }
    app.finish(&leased.lease, Ending::Succeeded { digest: None }).await;
    leased.build.push_order
}

#[tokio::test]
async fn a_pattern_builds_every_ref_that_holds_tags_again_and_no_older_one_takes_a_newer_ones_tag() {
    let app = App::start().await;
    let mut document = document();
    document["rules"][1]["docker_tag"] = json!("{\\1},newest");
    document["rules"][1]["schedule"] = json!({ "cron": "@weekly" });
    let repository = save(&app, document).await;
    pass_until(&app, next_due(&app).await.unwrap(), TimeDelta::seconds(1)).await;
    start_due(&app).await;
    let delivery = &items(&app, "deliveries").await[0];
    assert_eq!(delivery["outcome"], "no_match");
    assert!(
        delivery["reason"].as_str().unwrap().contains("is a pattern"),
        "{delivery:#}"
    );

    let places = [
        release(&app, &repository, "v1.0", 'a').await,
        release(&app, &repository, "v1.1", 'b').await,
    ];
    pass_until(&app, next_due(&app).await.unwrap(), TimeDelta::seconds(1)).await;
    start_due(&app).await;
    let mut queued: Vec<Value> = items(&app, "builds").await;
    queued.retain(|build| build["status"] == "queued");
    queued.sort_by_key(|build| build["source_name"].to_string());
    let told: Vec<Value> = queued
        .iter()
        .map(|build| {
            json!([
                build["source_type"],
                build["source_name"],
                build["commit"],
                build["tags"]
            ])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!(["tag", "v1.0", commit('a'), ["1.0"]]),
            json!(["tag", "v1.1", commit('b'), ["1.1", "newest"]]),
        ]
    );
    for (build, place) in queued.iter().zip(places) {
        let id = BuildId::from(build["id"].as_str().unwrap());
        assert_eq!(
            app.store.build(&id).await.unwrap().unwrap().push_order,
            place,
            "a push that waits keeps its tags"
        );
    }
}

#[tokio::test]
async fn the_scheduler_wakes_at_the_time_and_ends_with_the_service() {
    let app = App::start().await;
    save(&app, scheduled(json!({ "cron": "@daily" }))).await;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(scheduler::run(app.scheduler.clone(), shutdown.clone()));
    pass_until(&app, next_due(&app).await.unwrap(), TimeDelta::seconds(-2)).await;
    // It looks anew because something was saved, and finds the time close.
    save(&app, scheduled(json!({ "cron": "@daily", "no_cache": true }))).await;
    let started = async {
        while items(&app, "builds").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, started).await.expect("nothing was started");
    shutdown.cancel();
    tokio::time::timeout(SOON, running).await.expect("it goes on").unwrap();
}

#[tokio::test]
async fn a_clock_that_was_wrong_for_a_while_does_not_silence_a_schedule() {
    let app = App::start().await;
    save(&app, scheduled(json!({ "cron": "@daily" }))).await;
    let soon = next_due(&app).await.unwrap();
    app.pass(TimeDelta::days(400));
    start_due(&app).await;
    assert!(next_due(&app).await.unwrap() > soon + TimeDelta::days(390));
    app.pass(TimeDelta::days(-400));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(scheduler::run(app.scheduler.clone(), shutdown.clone()));
    let put_right = async {
        while next_due(&app).await.unwrap() > soon + TimeDelta::days(1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, put_right)
        .await
        .expect("it waits for more than a year");
    shutdown.cancel();
    tokio::time::timeout(SOON, running).await.expect("it goes on").unwrap();
}

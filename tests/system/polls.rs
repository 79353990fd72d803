//! Pushes that no webhook told of.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    wait,
    world::{BUILD, World},
};

/// How long a look may take that is due within half a minute.
const LOOKED: Duration = Duration::from_secs(90);

const SETTINGS: &str = "[sources]\npoll_seconds = 30\nwithout_webhook_seconds = 30";

/// Waits until the source of `admin/app` was looked at after a moment, and returns when.
async fn look_after(world: &World, moment: &Value) -> Value {
    let found = wait::until_some(LOOKED, async || {
        let response = world.server.get("/repositories/admin/app/poll").send().await;
        let watching: Value = response.ok()?.json().await.ok()?;
        let last = watching["last_look_at"].clone();
        (!last.is_null() && last != *moment).then_some(last)
    })
    .await;
    found.expect("a look at the source")
}

/// Waits for a build of a commit.
async fn build_of(world: &World, commit: &str) -> Value {
    let found = wait::until_some(LOOKED, async || {
        let builds = world.server.builds("admin/app").await;
        builds.into_iter().find(|build| build["commit"] == commit)
    })
    .await;
    found.expect("a build of the commit")
}

#[tokio::test]
async fn what_was_pushed_while_the_server_was_down_is_built_after_its_start() {
    let mut world = World::with_settings(SETTINGS).await;
    let app = world.app(json!({})).await;
    let files = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "1")];
    let before = look_after(&world, &Value::Null).await;
    world.build(&app, &files).await;
    look_after(&world, &before).await;

    world.server.sigterm().await;
    let commit = app.source.push(&[("a", "2")], "while it was down").await;
    world.server.restart().await;
    let build = build_of(&world, &commit).await;
    assert_eq!(build["cause"], json!({ "kind": "poll" }));
    let id = build["id"].as_str().expect("an id");
    world.server.wait_for_success(id, BUILD).await;
    assert_eq!(world.server.builds("admin/app").await.len(), 2);
    assert_eq!(world.server.deliveries("admin/app").await[0]["provider"], "poll");

    let asks = app.source.push(&[("a", "3")], "third [skip ci]").await;
    let build = build_of(&world, &asks).await;
    let id = build["id"].as_str().expect("an id");
    let build = world.server.wait_for_end(id, "skipped", BUILD).await;
    assert_eq!(build["status_reason"], "the commit message says [skip ci]");
}

//! Base images in the browser: waves as they go, the graph, and what a repository follows.

use serde_json::json;

use crate::{
    parts::{
        gate::Gate,
        world::{App, BUILD},
    },
    stage::Stage,
};

/// A service that sees moves soon and does not wait for more.
pub async fn set() -> Stage {
    Stage::with_settings("[base_images]\npoll_seconds = 2\ndebounce_seconds = 1").await
}

/// `admin/base`, and `admin/app` that is built on its image, both built once; builds of `admin/app` are held up by the gate.
pub async fn furnish(stage: &Stage, gate: &Gate) -> (App, App) {
    let base = stage.app_named("base", json!({})).await;
    move_base(stage, &base, "one").await;
    let app = stage.app(json!({})).await;
    let dockerfile = format!("FROM {}:latest\n{}CMD [\"true\"]\n", base.image, gate.step());
    let id = stage.push(&app, &[("Dockerfile", &dockerfile)]).await;
    gate.reached_by(1).await;
    gate.open().await;
    stage.server.wait_for_success(&id, BUILD).await;
    (base, app)
}

/// Builds `admin/base` with something else inside, which moves its tag.
pub async fn move_base(stage: &Stage, base: &App, version: &str) {
    let dockerfile = stage.dockerfile(&format!("RUN echo {version} > /version"));
    stage.build(base, &[("Dockerfile", &dockerfile)]).await;
}

#[tokio::test]
async fn a_wave_is_seen_from_the_move_to_the_last_build_without_a_reload() {
    let stage = set().await;
    let gate = stage.gate();
    let (base, app) = furnish(&stage, &gate).await;
    let browser = stage.stranger().await;
    browser.go("/waves").await;
    browser.sees_in("#waves", "No wave yet").await;
    browser.run("window.notReloaded = true", vec![]).await;
    move_base(&stage, &base, "two").await;
    let title = format!("{}:latest moved", base.image);
    browser.sees_within(BUILD, "#waves", &title).await;
    assert_eq!(browser.run("return window.notReloaded", vec![]).await, true);

    browser.follow_in("#waves", &title).await;
    browser.run("window.notReloaded = true", vec![]).await;
    gate.reached_by(1).await;
    browser.sees_in("#wave-items", "building").await;
    browser.sees_in("#wave-head", "0 of 1 image done, 1 building.").await;
    gate.open().await;
    browser.sees_within(BUILD, "#wave-head", "1 of 1 image done.").await;
    assert_eq!(browser.run("return window.notReloaded", vec![]).await, true);

    let build = &stage.server.builds(&app.name).await[0];
    browser
        .go(&format!("/builds/{}", build["id"].as_str().expect("an id")))
        .await;
    browser.sees_in("#build-head", "New version of").await;
    browser.sees_in("#build-facts", "still current").await;
    browser.follow_in("#build-head", "the wave that it belongs to").await;
    browser.sees_in("#wave-head", &title).await;
}

#[tokio::test]
async fn what_a_repository_follows_is_changed_by_clicks_and_shown_as_a_graph() {
    let stage = set().await;
    let gate = stage.gate();
    let (base, _) = furnish(&stage, &gate).await;
    let image = format!("{}:latest", base.image);
    let browser = stage.signed_in("admin").await;
    browser.go("/r/admin/app/bases").await;
    browser.sees_in("#repository-bases", "up to date").await;
    browser.fill("Link an image by hand", "alpine:3.20").await;
    browser.press_in("main", "Link").await;
    browser.sees_in("#repository-bases", "linked by hand").await;
    browser
        .press_in("#repository-bases", "Remove the link to alpine:3.20")
        .await;
    browser.sees_in("main", "The link to alpine:3.20 was removed.").await;
    browser
        .press_in("#repository-bases", &format!("Switch off {image}"))
        .await;
    browser.sees_in("#repository-bases", "switched off").await;
    browser
        .press_in("#repository-bases", &format!("Switch on {image}"))
        .await;
    browser.sees_in("main", "is followed again").await;
    browser
        .press_in("#repository-bases", &format!("Look now at {image}"))
        .await;
    browser
        .until("the button to turn green", async || {
            (browser.count("button.done").await > 0).then_some(())
        })
        .await;

    browser.go("/bases/graph").await;
    browser.sees_in("#graph table", "admin/app:latest").await;
    // What admin/base is built on, itself, and what is built on it.
    assert_eq!(browser.count("#graph .graph-frame a").await, 3);
    let outside = "return [...document.querySelectorAll('#graph .graph-frame a')].filter((link) => {
        const right = (part) => link.querySelector(part).getBoundingClientRect().right;
        return right('.name') > right('rect');
    }).length";
    assert_eq!(browser.run(outside, vec![]).await, 0, "names that leave their boxes");
    browser.choose("What stands on", &image).await;
    browser.press_in("main", "Show").await;
    browser
        .until("the smaller graph", async || {
            (browser.count("#graph .graph-frame a").await == 2).then_some(())
        })
        .await;

    browser.go(&format!("/bases/image?name={image}")).await;
    browser.sees_in("#consequences", "admin/app").await;
    assert_eq!(
        stage.server.builds("admin/app").await.len(),
        1,
        "looking builds nothing"
    );
}

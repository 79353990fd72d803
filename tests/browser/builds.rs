//! What people do with builds: trigger, cancel, send a delivery again.

use serde_json::json;

use crate::{parts::world::BUILD, stage::Stage};

#[tokio::test]
async fn a_click_on_trigger_turns_green_and_the_build_is_in_the_list_without_a_reload() {
    let stage = Stage::set().await;
    let app = stage.app(json!({})).await;
    app.source
        .push(&[("Dockerfile", &stage.dockerfile("RUN true"))], "Begin")
        .await;
    let browser = stage.signed_in("admin").await;
    browser.go("/r/admin/app/builds").await;
    browser.run("window.notReloaded = true", vec![]).await;
    browser.press_in("#trigger", "Trigger").await;
    browser
        .until("the button to turn green", async || {
            (browser.count("button.done").await > 0).then_some(())
        })
        .await;
    browser.sees_in("main", "#1").await;
    browser.sees_within(BUILD, "main", "succeeded").await;
    assert_eq!(browser.run("return window.notReloaded", vec![]).await, true);
}

#[tokio::test]
async fn a_running_build_is_canceled_by_a_click() {
    let stage = Stage::set().await;
    let app = stage.app(json!({})).await;
    let gate = stage.gate();
    let id = stage
        .push(&app, &[("Dockerfile", &stage.dockerfile(&gate.step()))])
        .await;
    gate.reached_by(1).await;
    let browser = stage.signed_in("admin").await;
    browser.go(&format!("/builds/{id}")).await;
    browser.press_in("main", "Cancel").await;
    browser.sees_in("main", "canceled").await;
    stage.server.wait_for_end(&id, "canceled", BUILD).await;
    assert_eq!(gate.held(), 0, "the step still runs");
}

#[tokio::test]
async fn a_delivery_is_sent_again_by_a_click() {
    let stage = Stage::set().await;
    let app = stage.app(json!({})).await;
    let build = stage
        .build(&app, &[("Dockerfile", &stage.dockerfile("RUN true"))])
        .await;
    let browser = stage.signed_in("admin").await;
    browser.go("/r/admin/app/deliveries").await;
    browser.sees_in("main", "push").await;
    browser.press_in("#deliveries", "Replay…").await;
    browser
        .until("a second build", async || {
            (stage.server.builds("admin/app").await.len() == 2).then_some(())
        })
        .await;
    let again = &stage.server.builds("admin/app").await[0];
    assert_eq!(again["commit"], build["commit"]);
}

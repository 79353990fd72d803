//! The log of a build under the hands of a reader.

use serde_json::json;

use crate::{parts::world::BUILD, stage::Stage};

#[tokio::test]
async fn a_long_log_is_folded_searched_and_linked_while_few_of_its_lines_are_in_the_page() {
    let stage = Stage::set().await;
    let app = stage.app(json!({})).await;
    let steps = r"RUN i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo number $i; done";
    let build = stage.build(&app, &[("Dockerfile", &stage.dockerfile(steps))]).await;
    let path = format!("/builds/{}", build["id"].as_str().expect("an id"));
    let browser = stage.stranger().await;
    browser.go(&path).await;
    browser.sees_in("#log-view", "more lines").await;
    browser.fill_in("#log", "Search in the log", "NUMBER 2999").await;
    browser.sees_in("#log-count", "1 of 1").await;
    browser.sees_in("#log-view .hit-now", "number 2999").await;
    let drawn = browser.count("#log-view .ln").await;
    assert!(drawn < 200, "{drawn} lines are in the page");
    browser.go(&format!("{path}#L50-L52")).await;
    browser
        .until("three lines to be marked", async || {
            (browser.count("#log-view .ln.sel").await == 3).then_some(())
        })
        .await;
}

#[tokio::test]
async fn lines_and_the_end_of_a_build_arrive_without_a_reload() {
    let stage = Stage::set().await;
    let app = stage.app(json!({})).await;
    let gate = stage.gate();
    let steps = format!("RUN echo this is before\n{}\nRUN echo this is after", gate.step());
    let id = stage.push(&app, &[("Dockerfile", &stage.dockerfile(&steps))]).await;
    gate.reached_by(1).await;
    let browser = stage.stranger().await;
    browser.go(&format!("/builds/{id}")).await;
    browser.run("window.notReloaded = true", vec![]).await;
    browser.sees_in("#log-view", "this is before").await;
    browser.sees_in("#log-follow", "Following").await;
    gate.open().await;
    browser.sees_within(BUILD, "#build-head", "succeeded").await;
    browser.sees_in("#log-view", "succeeded").await;
    assert_eq!(browser.run("return window.notReloaded", vec![]).await, true);
}

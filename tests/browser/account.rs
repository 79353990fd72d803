//! What people do for themselves: stars, tokens, and leaving.

use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn a_star_is_given_and_found_again() {
    let stage = Stage::set().await;
    stage.user("ann").await;
    stage.app(json!({})).await;
    let browser = stage.signed_in("ann").await;
    browser.go("/stars").await;
    assert!(!browser.read("main").await.contains("admin/app"));
    browser.go("/r/admin/app").await;
    browser.press_in("main", "Star…").await;
    browser.sees_in("main", "Starred").await;
    browser.go("/stars").await;
    browser.sees_in("main", "admin/app").await;
}

#[tokio::test]
async fn a_token_is_made_shown_once_and_works() {
    let stage = Stage::set().await;
    stage.user("ann").await;
    let browser = stage.signed_in("ann").await;
    browser.go("/settings/tokens").await;
    browser.fill("What it is for", "for a script").await;
    browser.press_in("main", "Make the token").await;
    let token = browser
        .until("the new token", async || {
            let text = browser.text_of("main").await?;
            text.split_whitespace()
                .find(|word| word.starts_with("hwt_") && word.len() > 20)
                .map(str::to_owned)
        })
        .await;
    let url = format!("{}/api/v1/repositories", stage.server.url());
    let answer = reqwest::Client::new()
        .get(url)
        .bearer_auth(&token)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    browser.go("/settings/tokens").await;
    browser.sees_in("main", "for a script").await;
    assert!(!browser.read("main").await.contains(&token));
}

#[tokio::test]
async fn signing_out_ends_a_log_that_is_open_in_another_window() {
    let stage = Stage::set().await;
    let app = stage.app(json!({ "visibility": "private" })).await;
    let (first, second) = (stage.gate(), stage.gate());
    let steps = format!(
        "{}RUN echo a line for those who may see it\n{}",
        first.step(),
        second.step()
    );
    let id = stage.push(&app, &[("Dockerfile", &stage.dockerfile(&steps))]).await;
    first.reached_by(1).await;
    let browser = stage.signed_in("admin").await;
    let log = format!("/builds/{id}");
    browser.go(&log).await;
    browser.sees_in("main", "running").await;
    // The same person in another window, by the same session.
    let window = browser.other_window("/").await;
    browser.press_in("header", "Account and organisations of admin").await;
    browser.press_in("header", "Sign out").await;
    browser.arrives_at("/sign-in").await;
    first.open().await;
    second.reached_by(1).await;
    browser.back_to(window).await;
    let text = browser.text_of("main").await.unwrap_or_default();
    assert!(!text.contains("a line for those who may see it"), "{text}");
    second.open().await;
}

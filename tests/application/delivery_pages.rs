//! The ledger as a page: what arrived, what became of it, what it held, and taking it once more.

use serde_json::{Value, json};

use crate::app::{App, commit, document, payload};

const LEDGER: &str = "/r/ann/app/deliveries";

/// Sends a push, and answers the address of its delivery's page.
async fn pushed(app: &App, repository: &Value, name: &str, letter: char) -> String {
    let (status, answer) = app
        .push(repository, name, &payload("refs/heads/main", &commit(letter), "x"))
        .await;
    assert_eq!(status, 202, "{answer:#}");
    format!("{LEDGER}/{}", answer["delivery"].as_str().unwrap())
}

#[tokio::test]
async fn an_empty_ledger_says_where_webhooks_go_and_how_to_test_them() {
    let app = App::start().await;
    let repository = app.app().await;
    let page = app.browser("ann").await.get(LEDGER).await;
    assert!(page.text.contains("Nothing has arrived yet"));
    assert!(page.text.contains(repository["webhook"]["url"].as_str().unwrap()));
    assert!(page.text.contains("Redeliver"));
}

#[tokio::test]
async fn every_delivery_is_listed_with_its_outcome_its_reason_and_its_builds() {
    let app = App::start().await;
    let repository = app.app().await;
    let webhook = pushed(&app, &repository, "d1", 'a').await;
    let (_, ignored) = app
        .push(&repository, "d2", &payload("refs/heads/<i>x</i>", &commit('b'), "x"))
        .await;
    assert_eq!(ignored["outcome"], "no_match", "{ignored:#}");
    let build = app.trigger().await;
    let browser = app.browser("ann").await;
    let page = browser.get(LEDGER).await;
    assert_eq!(page.status, 200);
    for part in [
        "push from GitHub",
        &format!(r#"href="{webhook}""#),
        "no match",
        "&#60;i&#62;x&#60;/i&#62;",
        "aaaaaaa",
        &format!(r#"href="/builds/{build}""#),
        "#2",
    ] {
        assert!(page.text.contains(part), "{part}\n{}", page.text);
    }
    assert_eq!(page.text.matches("/replay").count(), 2);
    let narrowed = browser.get(&format!("{LEDGER}?outcome=no_match")).await;
    assert!(narrowed.text.contains("bbbbbbb") && !narrowed.text.contains("aaaaaaa"));
    let none = browser.get(&format!("{LEDGER}?outcome=skipped")).await;
    assert!(none.text.contains("No delivery had this outcome"));
    assert_eq!(browser.get(&format!("{LEDGER}?outcome=lost")).await.status, 422);
}

#[tokio::test]
async fn a_long_ledger_is_walked_to_what_is_older_and_back() {
    let app = App::start().await;
    app.app().await;
    for _ in 0..35 {
        app.trigger().await;
    }
    let browser = app.browser("ann").await;
    let address = |text: &str, relation: &str| {
        let (_, rest) = text.split_once(&format!(r#"rel="{relation}" href=""#))?;
        Some(rest.split('"').next().unwrap().replace("&#38;", "&"))
    };
    let rows = |text: &str| text.matches(r#"class="build-when"#).count();
    let first = browser.get(&format!("{LEDGER}?outcome=queued")).await.text;
    assert_eq!((rows(&first), address(&first, "prev")), (30, None));
    let older = address(&first, "next").unwrap();
    assert!(older.contains("outcome=queued"), "{older}");
    let second = browser.get(&older).await.text;
    assert_eq!((rows(&second), address(&second, "next")), (5, None));
    let back = browser.get(&address(&second, "prev").unwrap()).await.text;
    assert_eq!((rows(&back), address(&back, "prev")), (30, None));
}

#[tokio::test]
async fn a_payload_is_laid_out_and_escaped() {
    let app = App::start().await;
    let repository = app.app().await;
    let mut body = payload("refs/heads/main", &commit('a'), "</pre><script>alert(1)</script>");
    body["nested"] = json!({ "key": "value" });
    let (_, answer) = app.push(&repository, "d", &body).await;
    let path = format!("{LEDGER}/{}", answer["delivery"].as_str().unwrap());
    let page = app.browser("ann").await.get(&path).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("&#34;key&#34;: &#34;value&#34;"), "{}", page.text);
    assert!(!page.text.contains("<script>alert"));
    app.trigger().await;
    let (_, list) = app.get("/api/v1/repositories/ann/app/deliveries").await;
    let click = format!("{LEDGER}/{}", list["items"][0]["id"].as_str().unwrap());
    let click = app.browser("ann").await.get(&click).await;
    assert!(
        click
            .text
            .contains("A click, a schedule and a look at the source bring none")
            && !click.text.contains("/replay")
    );
}

#[tokio::test]
async fn a_webhook_is_taken_once_more_from_the_page() {
    let app = App::start().await;
    let repository = app.app().await;
    let path = pushed(&app, &repository, "d", 'a').await;
    let lease = app.claim().await.lease;
    app.finish(&lease, hullworks::domain::build::Ending::Canceled).await;
    let browser = app.browser("ann").await;
    let sent = browser.post(&format!("{path}/replay"), &[]).await;
    assert_eq!((sent.status, sent.location.as_deref()), (303, Some(LEDGER)));
    let told = browser.post_by_script(&format!("{path}/replay"), &[]).await;
    assert_eq!(told["tone"], "bad", "the commit is on its way already: {told}");
    let (_, builds) = app.get("/api/v1/builds").await;
    assert_eq!(builds["items"].as_array().unwrap().len(), 2);
    assert_eq!(browser.post(&format!("{LEDGER}/none/replay"), &[]).await.status, 404);
}

#[tokio::test]
async fn the_ledger_is_for_those_who_may_start_builds() {
    let app = App::start().await;
    let repository = app.app().await;
    let path = pushed(&app, &repository, "d", 'a').await;
    let mut wanted = document();
    wanted["visibility"] = json!("private");
    app.put("/api/v1/repositories/ann/unseen", wanted).await;
    let bob = app.browser("bob").await;
    for path in [LEDGER, &path] {
        assert_eq!(bob.get(path).await.status, 403, "{path}");
        let led = app.stranger().get(path).await;
        assert!(led.location.unwrap().starts_with("/sign-in?next="), "{path}");
    }
    assert_eq!(bob.get("/r/ann/unseen/deliveries").await.status, 404);
    assert_eq!(bob.post(&format!("{path}/replay"), &[]).await.status, 403);
}

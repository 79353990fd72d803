//! What people do with their accounts is in the audit log.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    app::App,
    sign_in::{PASSWORD, sign_in},
};

/// What was done, the newest first: actor, way, action, subject.
async fn log(app: &App) -> Vec<(String, String, String, String)> {
    let (status, log) = app.call(&app.root, Method::GET, "/api/v1/audit", None).await;
    assert_eq!(status, 200, "{log:#}");
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    let entries = log["items"].as_array().unwrap().iter();
    entries
        .map(|entry| {
            (
                text(entry, "actor"),
                text(entry, "by"),
                text(entry, "action"),
                text(entry, "subject"),
            )
        })
        .collect()
}

fn entry(actor: &str, action: &str, subject: &str) -> (String, String, String, String) {
    (
        actor.to_owned(),
        "session".to_owned(),
        action.to_owned(),
        subject.to_owned(),
    )
}

#[tokio::test]
async fn sign_ins_are_written_down_and_a_password_in_the_wrong_field_is_not() {
    let app = App::start().await;
    app.give_password("ann").await;
    assert_eq!(sign_in(&app.stranger(), "ann", PASSWORD).await.status, 303);
    assert_eq!(sign_in(&app.stranger(), "ann", "wrong").await.status, 422);
    assert_eq!(sign_in(&app.stranger(), "My Secret Password", "ann").await.status, 422);
    let none = "(no name)";
    assert_eq!(
        log(&app).await,
        [
            entry(none, "sign_in.failed", none),
            entry("ann", "sign_in.failed", "ann"),
            entry("ann", "sign_in.succeeded", "ann"),
        ]
    );
}

#[tokio::test]
async fn tokens_sessions_and_passwords_are_written_down() {
    let app = App::start().await;
    app.give_password("ann").await;
    let ann = app.browser("ann").await;
    let made = ann
        .post(
            "/settings/tokens",
            &[("label", "laptop"), ("scope", "read"), ("expires", "7d")],
        )
        .await;
    let (_, after) = made.text.split_once("/settings/tokens/revoke").unwrap();
    let (_, after) = after.split_once(r#"name="id" value=""#).unwrap();
    let id = after.split('"').next().unwrap();
    assert_eq!(ann.post("/settings/tokens/revoke", &[("id", id)]).await.status, 303);
    assert_eq!(ann.post("/settings/sessions/end-others", &[]).await.status, 303);
    let passwords = [("current", PASSWORD), ("new", "another horse battery")];
    assert_eq!(ann.post("/settings/password", &passwords).await.status, 303);
    assert_eq!(
        log(&app).await,
        [
            entry("ann", "password.changed", "ann"),
            entry("ann", "session.ended", "ann"),
            entry("ann", "token.revoked", "laptop"),
            entry("ann", "token.created", "laptop"),
        ]
    );
    let (_, log) = app
        .call(&app.root, Method::GET, "/api/v1/audit?action=token.created", None)
        .await;
    assert_eq!(log["items"][0]["detail"]["scope"], json!("read"));
}

//! Streams end with the right to see them.

use std::time::Duration;

use futures_util::{StreamExt, future::BoxFuture};
use hullworks::domain::ids::BuildId;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::{
    app::{App, document},
    browser::Browser,
};

/// Ends told in the same process come at once, those told by another within the pause between two looks.
const AT_ONCE: Duration = Duration::from_secs(2);
const BY_LOOKING: Duration = Duration::from_secs(8);

/// A private build of `ann` that goes on.
async fn private_build(app: &App) -> BuildId {
    let mut private = document();
    private["visibility"] = json!("private");
    assert_eq!(app.put("/api/v1/repositories/ann/app", private).await.0, 201);
    app.trigger().await
}

/// Opens a stream, lets something happen, and waits for its end.
async fn ends<'a>(request: RequestBuilder, within: Duration, what: impl AsyncFnOnce() + 'a) -> bool {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut stream = answer.bytes_stream();
    let early = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
    assert!(!matches!(early, Ok(None)), "it ended before anything happened");
    what().await;
    let to_the_end = async {
        while let Some(piece) = stream.next().await {
            let piece = piece.unwrap();
            let text = String::from_utf8_lossy(&piece);
            assert!(!text.contains("event: end"), "how the build ends is not told: {text}");
        }
    };
    tokio::time::timeout(within, to_the_end).await.is_ok()
}

/// Both forms of a log that is followed.
fn followed(build: &BuildId, request: impl Fn(&str) -> RequestBuilder) -> [RequestBuilder; 2] {
    [
        request(&format!("/api/v1/builds/{build}/log?follow=true")),
        request(&format!("/api/v1/builds/{build}/log")).header("accept", "text/event-stream"),
    ]
}

fn by_session<'a>(browser: &'a Browser) -> impl Fn(&str) -> RequestBuilder + 'a {
    |path| browser.request(Method::GET, path)
}

#[tokio::test]
async fn signing_out_ends_the_streams_of_the_session_and_no_others() {
    let app = App::start().await;
    let build = private_build(&app).await;
    for form in 0..2 {
        let (browser, other) = (app.browser("ann").await, app.browser("ann").await);
        let [text, events] = followed(&build, by_session(&browser));
        let request = if form == 0 { text } else { events };
        let [others, _] = followed(&build, by_session(&other));
        let mut others = others.send().await.unwrap().bytes_stream();
        assert!(
            ends(request, AT_ONCE, async || assert_eq!(
                browser.post("/sign-out", &[]).await.status,
                303
            ))
            .await
        );
        let goes_on = tokio::time::timeout(Duration::from_millis(300), others.next()).await;
        assert!(goes_on.is_err(), "another session's stream goes on");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let app = App::start().await;
    let build = private_build(&app).await;
    let user = app.store.user_named("ann").await.unwrap().unwrap();
    let browser = app.browser("ann").await;
    let list = app.store.tokens_of(&user.id, None, 10).await.unwrap();
    // The first made is the one that `App` uses.
    let id = list.last().unwrap().id.clone();
    let [text, _] = followed(&build, |path| app.request(&app.ann, Method::GET, path));
    let revoke = async || {
        let page = browser.post("/settings/tokens/revoke", &[("id", id.as_str())]).await;
        assert_eq!(page.status, 303);
    };
    assert!(ends(text, AT_ONCE, revoke).await);
}

#[tokio::test]
async fn a_members_stream_ends_with_the_role() {
    let app = App::start().await;
    let (status, made) = app.post("/api/v1/organisations", json!({ "name": "team" })).await;
    assert_eq!(status, 201, "{made:#}");
    let member = json!({ "role": "read" });
    let (status, added) = app.put("/api/v1/organisations/team/members/bob", member).await;
    assert!(matches!(status, 200 | 201), "{added:#}");
    let mut private = document();
    private["visibility"] = json!("private");
    assert_eq!(app.put("/api/v1/repositories/team/app", private).await.0, 201);
    let (_, started) = app.post("/api/v1/repositories/team/app/trigger", json!({})).await;
    let build = BuildId::from(started["builds"][0]["id"].as_str().unwrap());
    for request in followed(&build, |path| app.request(&app.bob, Method::GET, path)) {
        let leave = async || {
            let path = "/api/v1/organisations/team/members/bob";
            let (status, problem) = app.call(&app.ann, Method::DELETE, path, None).await;
            assert_eq!(status, 204, "{problem:#}");
        };
        assert!(ends(request, AT_ONCE, leave).await);
        app.put("/api/v1/organisations/team/members/bob", json!({ "role": "read" }))
            .await;
    }
}

#[tokio::test]
async fn a_stream_ends_within_seconds_of_what_another_process_did() {
    let app = App::start().await;
    let build = private_build(&app).await;
    let browser = app.browser("ann").await;
    let streams = followed(&build, by_session(&browser)).map(|request| {
        // As `hullworks user passwd` does: without this process's bell.
        let new_password = async || assert!(app.store.set_password("ann", "hash", None).await.unwrap());
        let ended: BoxFuture<'_, bool> = Box::pin(ends(request, BY_LOOKING, new_password));
        ended
    });
    assert_eq!(futures_util::future::join_all(streams).await, [true, true]);
}

#[tokio::test]
async fn a_strangers_stream_ends_when_the_repository_becomes_private_and_its_owners_does_not() {
    let app = App::start().await;
    app.app().await;
    let build = app.trigger().await;
    let owner = app.browser("ann").await;
    let [owners, _] = followed(&build, by_session(&owner));
    let mut owners = owners.send().await.unwrap().bytes_stream();
    let stranger = app.stranger();
    let [_, events] = followed(&build, by_session(&stranger));
    let hide = async || {
        let mut private = document();
        private["visibility"] = json!("private");
        assert_eq!(app.put("/api/v1/repositories/ann/app", private).await.0, 200);
    };
    assert!(ends(events, AT_ONCE, hide).await);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), owners.next())
            .await
            .is_err()
    );
    let [_, events] = followed(&build, by_session(&stranger));
    assert_eq!(events.send().await.unwrap().status(), 404);
}

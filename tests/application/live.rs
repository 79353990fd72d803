//! Streams that tell that a page may have changed: when, to whom, and until when.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt};
use hullworks::domain::build::{Ending, Phase};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{App, document};

const DEADLINE: Duration = Duration::from_secs(20);

struct Events {
    bytes: Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>>>>,
    text: String,
}

/// Opens a stream; `last` is the id of the event that was seen last.
async fn open(app: &App, token: &str, path: &str, last: Option<&str>) -> Events {
    let mut request = app
        .request(token, Method::GET, path)
        .header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    Events {
        bytes: Box::pin(answer.bytes_stream()),
        text: String::new(),
    }
}

impl Events {
    /// Name and id of the next event; none at the end of the stream.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let Some(name) = field("event:") {
                    assert!(!block.contains("ann"), "an event tells nothing: {block}");
                    return Some((name.to_owned(), field("id:").unwrap_or_default().to_owned()));
                }
                continue;
            }
            let piece = tokio::time::timeout(DEADLINE, self.bytes.next())
                .await
                .expect("nothing came")?;
            self.text.push_str(std::str::from_utf8(&piece.ok()?).unwrap());
        }
    }

    async fn expect(&mut self, name: &str) -> String {
        let (found, id) = self.next().await.expect("the stream has ended");
        assert_eq!(found, name);
        id
    }
}

#[tokio::test]
async fn every_change_of_a_build_is_told_and_then_its_end() {
    let app = App::start().await;
    app.app().await;
    let build = app.trigger().await;
    let mut events = open(&app, "", &format!("/live/builds/{build}"), None).await;
    events.expect("change").await;
    let lease = app.claim().await.lease;
    events.expect("change").await;
    app.store.set_phase(&lease, Phase::Build).await.unwrap();
    events.expect("change").await;
    app.finish(&lease, Ending::Succeeded { digest: None }).await;
    events.expect("change").await;
    events.expect("end").await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn lists_the_queue_and_a_repository_are_told_of_a_new_build_at_once() {
    let app = App::start().await;
    app.app().await;
    for path in ["/live/builds", "/live/queue", "/live/repositories/ann/app"] {
        let mut events = open(&app, &app.ann, path, None).await;
        events.expect("change").await;
        app.trigger().await;
        let since = std::time::Instant::now();
        events.expect("change").await;
        assert!(
            since.elapsed() < Duration::from_secs(1),
            "{path} was found out by looking alone"
        );
    }
}

#[tokio::test]
async fn a_stream_that_was_cut_off_is_told_of_what_it_missed_and_of_nothing_else() {
    let app = App::start().await;
    app.app().await;
    let path = "/live/repositories/ann/app";
    let mut events = open(&app, "", path, None).await;
    let seen = events.expect("change").await;
    drop(events);
    let mut events = open(&app, "", path, Some(&seen)).await;
    app.trigger().await;
    let next = events.expect("change").await;
    assert_ne!(next, seen);
    drop(events);
    assert_eq!(open(&app, "", path, Some(&seen)).await.expect("change").await, next);
}

#[tokio::test]
async fn what_is_private_has_no_stream_for_others_and_one_ends_with_the_right_to_it() {
    let app = App::start().await;
    let mut wanted = document();
    let path = "/api/v1/repositories/ann/app";
    app.put(path, wanted.clone()).await;
    let build = app.trigger().await;
    let streams = ["/live/repositories/ann/app".to_owned(), format!("/live/builds/{build}")];
    let mut open_ones = Vec::new();
    for stream in &streams {
        let mut events = open(&app, &app.bob, stream, None).await;
        events.expect("change").await;
        open_ones.push(events);
    }
    wanted["visibility"] = json!("private");
    assert_eq!(app.put(path, wanted).await.0, 200);
    for mut events in open_ones {
        while let Some((name, _)) = events.next().await {
            if name == "end" {
                break;
            }
        }
        assert_eq!(events.next().await, None);
    }
    for stream in &streams {
        for token in ["", &app.bob] {
            let absent = app.request(token, Method::GET, stream).send().await.unwrap();
            assert_eq!(absent.status(), StatusCode::NOT_FOUND, "{stream}");
        }
        open(&app, &app.ann, stream, None).await.expect("change").await;
    }
}

#[tokio::test]
async fn streams_of_changes_end_when_the_service_does() {
    let app = App::start().await;
    app.app().await;
    let mut events = open(&app, "", "/live/builds", None).await;
    events.expect("change").await;
    app.shutdown.cancel();
    assert_eq!(events.next().await, None, "whoever watches is to come back");
}

#[tokio::test]
async fn so_many_streams_may_be_open_and_no_more() {
    let app = App::start().await;
    let mut streams = Vec::new();
    let refused = loop {
        let request = app.request("", Method::GET, "/live/builds");
        let answer = request.header("accept", "text/event-stream").send().await.unwrap();
        match answer.status() {
            StatusCode::OK => streams.push(answer),
            status => break status,
        }
        assert!(streams.len() <= 1000);
    };
    assert_eq!((refused, streams.len()), (StatusCode::SERVICE_UNAVAILABLE, 1000));
    assert_eq!(app.stranger().get("/builds").await.status, 200);
}

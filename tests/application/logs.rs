use std::time::Duration;

use futures_util::StreamExt;
use hullworks::domain::build::{Ending, ErrorKind, Failure};
use reqwest::{Method, Response};

use crate::app::App;

const DEADLINE: Duration = Duration::from_secs(20);

/// Name, id and data of every event until the stream ends.
async fn events(response: Response) -> Vec<(String, String, String)> {
    let text = tokio::time::timeout(DEADLINE, response.text())
        .await
        .expect("the stream does not end")
        .unwrap();
    let blocks = text.split("\n\n").filter(|block| block.contains("data:"));
    let field = |block: &str, name: &str| {
        let lines = block
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines
            .map(|value| value.strip_prefix(' ').unwrap_or(value))
            .collect::<Vec<_>>()
            .join("\n")
    };
    blocks
        .map(|block| (field(block, "event"), field(block, "id"), field(block, "data")))
        .collect()
}

#[tokio::test]
async fn a_log_is_followed_as_it_grows_and_ends_with_the_build() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let leased = app.claim().await;
    app.store.append_log(&leased.lease, 0, b"one\n").await.unwrap();
    let path = format!("/api/v1/builds/{id}/log");
    let followed = app
        .request("", Method::GET, &format!("{path}?follow=true"))
        .send()
        .await
        .unwrap();
    assert_eq!(followed.headers()["content-type"], "text/plain; charset=utf-8");
    let mut stream = followed.bytes_stream();
    let first = tokio::time::timeout(DEADLINE, stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(first.as_ref(), b"one\n");
    app.store.append_log(&leased.lease, 4, b"two\n").await.unwrap();
    app.logs.hub().changed(&id);
    let second = tokio::time::timeout(DEADLINE, stream.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(second.as_ref(), b"two\n");
    app.finish(&leased.lease, Ending::Canceled).await;
    assert!(tokio::time::timeout(DEADLINE, stream.next()).await.unwrap().is_none());
    for _ in ["in the store", "sealed"] {
        let whole = app
            .request("", Method::GET, &path)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert_eq!(whole, "one\ntwo\n");
        app.logs.put_away(&id).await.unwrap();
    }
}

#[tokio::test]
async fn events_carry_the_same_text_and_resume_where_they_broke_off() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let leased = app.claim().await;
    let text = "one\n\nthree ä\n50%\r100%\nend\n";
    app.store.append_log(&leased.lease, 0, text.as_bytes()).await.unwrap();
    app.finish(&leased.lease, Ending::Succeeded { digest: None }).await;
    let path = format!("/api/v1/builds/{id}/log");
    let ask = |after: Option<&str>, query: &str| {
        let request = app
            .request("", Method::GET, &format!("{path}{query}"))
            .header("accept", "text/event-stream");
        match after {
            Some(id) => request.header("last-event-id", id.to_owned()),
            None => request,
        }
    };
    let all = events(ask(None, "").send().await.unwrap()).await;
    let (last, logs) = all.split_last().unwrap();
    let told: String = logs.iter().map(|(_, _, data)| data.as_str()).collect();
    assert_eq!(told, text.replace('\r', "\n"));
    assert!(logs.iter().all(|(name, ..)| name == "log"));
    assert_eq!(
        (last.0.as_str(), last.1.as_str()),
        ("end", text.len().to_string().as_str())
    );
    assert!(last.2.contains("\"succeeded\""), "{last:?}");
    for (after, query) in [(Some("4"), ""), (None, "?after=4"), (Some("4"), "?after=0")] {
        let rest = events(ask(after, query).send().await.unwrap()).await;
        let told: String = rest
            .iter()
            .filter(|(name, ..)| name == "log")
            .map(|(_, _, data)| data.as_str())
            .collect();
        assert_eq!(told, text.replace('\r', "\n")[4..]);
    }
    assert_eq!(ask(Some("x"), "").send().await.unwrap().status(), 422);
    assert_eq!(ask(None, "?after=-1").send().await.unwrap().status(), 422);
}

#[tokio::test]
async fn streams_end_when_the_service_does() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let request = app.request("", Method::GET, &format!("/api/v1/builds/{id}/log"));
    let response = request.header("accept", "text/event-stream").send().await.unwrap();
    app.shutdown.cancel();
    let told = events(response).await;
    assert!(
        told.iter().all(|(name, ..)| name != "end"),
        "a build that goes on has not ended: {told:?}"
    );
}

/// What the events of a log say, put together, from an offset on.
async fn told(app: &App, path: &str, after: u64) -> String {
    let request = app.request("", Method::GET, path).header("accept", "text/event-stream");
    let response = request.header("last-event-id", after.to_string()).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let events = events(response).await;
    events
        .into_iter()
        .filter(|(name, ..)| name == "log")
        .map(|(_, _, data)| data)
        .collect()
}

/// A log of many megabytes, with long lines and characters of every length.
fn large_log() -> String {
    let line = |number: usize| format!("step {number} ä€😀 {}\n", "x".repeat(number % 997));
    (0..8000).map(line).collect()
}

#[tokio::test]
async fn a_large_log_is_the_same_by_every_way_and_wherever_it_lies() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let leased = app.claim().await;
    let log = large_log();
    let mut at = 0;
    for piece in log.as_bytes().chunks(200_003) {
        app.store.append_log(&leased.lease, at, piece).await.unwrap();
        at += piece.len() as u64;
    }
    app.finish(&leased.lease, Ending::Succeeded { digest: None }).await;
    let path = format!("/api/v1/builds/{id}/log");
    let ask = async |query: &str| {
        let response = app
            .request("", Method::GET, &format!("{path}{query}"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    };
    let line = log.find("step 4000 ").unwrap();
    for _ in ["in the store", "sealed"] {
        assert!(ask("").await == log);
        assert!(
            ask("?follow=true").await == log,
            "an ended log is followed to its end at once"
        );
        assert!(ask(&format!("?after={line}")).await == log[line..]);
        assert!(ask(&format!("?follow=true&after={line}")).await == log[line..]);
        assert_eq!(ask(&format!("?after={}", log.len())).await, "");
        assert_eq!(ask(&format!("?after={}", i64::MAX)).await, "");
        assert!(told(&app, &path, 0).await == log);
        assert!(told(&app, &path, line as u64).await == log[line..]);
        assert_eq!(told(&app, &path, log.len() as u64).await, "");
        app.logs.put_away(&id).await.unwrap();
    }
}

#[tokio::test]
async fn every_event_is_a_place_to_resume_from() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let leased = app.claim().await;
    // Pieces that end within a character.
    let log = "ä€😀 one\n".repeat(40_000);
    for (number, piece) in log.as_bytes().chunks(100_001).enumerate() {
        app.store
            .append_log(&leased.lease, number as u64 * 100_001, piece)
            .await
            .unwrap();
    }
    app.finish(&leased.lease, Ending::Canceled).await;
    let path = format!("/api/v1/builds/{id}/log");
    let request = app
        .request("", Method::GET, &path)
        .header("accept", "text/event-stream");
    let all = events(request.send().await.unwrap()).await;
    assert!(all.len() > 5, "{} events", all.len());
    let mut so_far = String::new();
    for (name, at, data) in &all {
        if name == "log" {
            so_far.push_str(data);
        }
        let at: u64 = at.parse().unwrap();
        assert_eq!(at, so_far.len() as u64);
    }
    for (_, at, _) in all.iter().step_by(3) {
        let at: usize = at.parse().unwrap();
        assert!(told(&app, &path, at as u64).await == log[at..], "resumed at {at}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_kept_as_they_are_and_shown_as_far_as_they_can_be() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let leased = app.claim().await;
    let bytes = b"a\xff\xfe\x00b\x1b[31mred\x1b[0m\n\xf0\x9f";
    app.store.append_log(&leased.lease, 0, bytes).await.unwrap();
    app.finish(&leased.lease, Ending::Canceled).await;
    let path = format!("/api/v1/builds/{id}/log");
    let whole = app.request("", Method::GET, &path).send().await.unwrap();
    assert_eq!(whole.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(whole.bytes().await.unwrap().as_ref(), bytes);
    assert_eq!(told(&app, &path, 0).await, String::from_utf8_lossy(bytes));
}

#[tokio::test]
async fn the_last_event_says_how_the_build_ended_and_why() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let leased = app.claim().await;
    let failure = Failure::new(ErrorKind::Dockerfile, "line 3:\nno such stage");
    app.finish(&leased.lease, Ending::Failed(failure)).await;
    let request = app.request("", Method::GET, &format!("/api/v1/builds/{id}/log"));
    let told = events(request.header("accept", "text/event-stream").send().await.unwrap()).await;
    let [(name, at, data)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((name.as_str(), at.as_str()), ("end", "0"));
    let expected = serde_json::json!({
        "status": "failed", "error": { "kind": "dockerfile", "message": "line 3:\nno such stage" },
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(data).unwrap(), expected);
}

#[tokio::test]
async fn the_log_of_a_queued_build_is_followed_until_it_is_canceled() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let path = format!("/api/v1/builds/{id}/log");
    let text = app
        .request("", Method::GET, &format!("{path}?follow=true"))
        .send()
        .await
        .unwrap();
    let request = app
        .request("", Method::GET, &path)
        .header("accept", "text/event-stream");
    let stream = request.send().await.unwrap();
    app.call(&app.ann, Method::POST, &format!("/api/v1/builds/{id}/cancel"), None)
        .await;
    let text = tokio::time::timeout(DEADLINE, text.text()).await.unwrap().unwrap();
    assert_eq!(text, "canceled by ann before it started\n");
    let told = events(stream).await;
    assert_eq!((told[0].2.as_str(), told[1].0.as_str()), (text.as_str(), "end"));
    assert!(told[1].2.contains("\"canceled\""), "{told:?}");
}

#[tokio::test]
async fn a_stream_whose_repository_is_deleted_ends() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let request = app.request("", Method::GET, &format!("/api/v1/builds/{id}/log"));
    let stream = request.header("accept", "text/event-stream").send().await.unwrap();
    app.call(&app.ann, Method::DELETE, "/api/v1/repositories/ann/app", None)
        .await;
    assert_eq!(events(stream).await, []);
}

#[tokio::test]
async fn a_stream_says_something_while_there_is_nothing_to_say() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let request = app.request("", Method::GET, &format!("/api/v1/builds/{id}/log"));
    let mut stream = request
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap()
        .bytes_stream();
    // In steps that no wait for the database notices: the right to see the log is looked up meanwhile.
    let mut said = None;
    for _ in 0..10 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(4)).await;
        tokio::time::resume();
        if let Ok(next) = tokio::time::timeout(Duration::from_secs(1), stream.next()).await {
            said = Some(next.unwrap().unwrap());
            break;
        }
    }
    let said = said.unwrap();
    assert!(said.starts_with(b":"), "a comment, not an event: {said:?}");
}

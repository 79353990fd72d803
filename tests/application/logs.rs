use std::time::Duration;

use futures_util::StreamExt;
use hullworks::domain::build::Ending;
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

//! The page of a build and what its script asks for.

use std::time::Duration;

use futures_util::StreamExt;
use hullworks::domain::{
    build::{Ending, ErrorKind, Failure, Step},
    ids::BuildId,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, document};

const DEADLINE: Duration = Duration::from_secs(20);

const LOG: &str = "\
fetching branch main
#1 [1/2] FROM busybox
#1 CACHED
#2 [2/2] RUN make
#2 0.100 <script>alert(1)</script>
#2 0.200 \x1b[31mx.c:1: error: no\x1b[0m
#2 ERROR: process \"make\" did not complete successfully: exit code: 2
failed (build): the step `[2/2] RUN make` failed
";

fn step(name: &str, cached: bool, error: Option<&str>) -> Step {
    let at = |seconds| chrono::DateTime::from_timestamp(1_700_000_000_i64 + seconds, 0);
    Step {
        name: name.to_owned(),
        started_at: at(0),
        finished_at: at(2),
        cached,
        error: error.map(str::to_owned),
    }
}

/// A build of `ann/app` that failed, with [`LOG`].
async fn failed(app: &App) -> BuildId {
    let id = app.trigger().await;
    let leased = app.claim().await;
    app.store.append_log(&leased.lease, 0, LOG.as_bytes()).await.unwrap();
    let steps = [
        step("[1/2] FROM busybox", true, None),
        step("[2/2] RUN make", false, Some("exit code: 2")),
    ];
    app.store.set_steps(&leased.lease, &steps).await.unwrap();
    let failure = Failure::new(ErrorKind::Build, "the step `[2/2] RUN make` failed");
    app.finish(&leased.lease, Ending::Failed(failure)).await;
    id
}

/// A build of `ann/app` that succeeded, with a log of that many lines.
async fn numbered(app: &App, lines: usize) -> BuildId {
    let id = app.trigger().await;
    let leased = app.claim().await;
    let log: String = (1..=lines).map(|number| format!("line {number}\n")).collect();
    app.store.append_log(&leased.lease, 0, log.as_bytes()).await.unwrap();
    app.finish(&leased.lease, Ending::Succeeded { digest: None }).await;
    id
}

#[tokio::test]
async fn a_failed_build_says_at_the_top_what_failed_and_leads_to_the_line() {
    let app = App::start().await;
    app.app().await;
    let id = failed(&app).await;
    let page = app.stranger().get(&format!("/builds/{id}")).await;
    assert_eq!(page.status, 200);
    let top = &page.text[..page.text.find("id=\"log\"").unwrap()];
    for expected in [
        "A step of the Dockerfile failed",
        "Correct the cause and push",
        "x.c:1: error: no",
        "href=\"#L6\"",
    ] {
        assert!(top.contains(expected), "{expected} in {top}");
    }
    // The step's bar leads to its first line, and says in words how it ended.
    assert!(
        page.text.contains("<a href=\"#L4\" class=\"step failed\">"),
        "{}",
        page.text
    );
    assert!(page.text.contains("<span class=\"step-state\">cached</span>"));
    assert!(page.text.contains("id=\"L8\""));
}

#[tokio::test]
async fn a_log_is_text_whatever_is_in_it() {
    let app = App::start().await;
    app.app().await;
    let id = failed(&app).await;
    let page = app.stranger().get(&format!("/builds/{id}")).await.text;
    assert!(!page.contains("<script>"));
    assert!(page.contains("&#60;script&#62;alert(1)") || page.contains("&lt;script&gt;alert(1)"));
    let (_, lines) = app.get(&format!("/builds/{id}/log/lines?from=5&count=2")).await;
    assert_eq!(
        lines["lines"],
        json!([
            [["p", "#2 0.100 "], "<script>alert(1)</script>"],
            [["p", "#2 0.200 "], ["c1", "x.c:1: error: no"]],
        ])
    );
}

#[tokio::test]
async fn without_script_the_last_lines_are_there_and_links_lead_to_the_others() {
    let app = App::start().await;
    app.app().await;
    let id = numbered(&app, 1200).await;
    let browser = app.stranger();
    let shows = |text: &str, line: usize| text.contains(&format!("id=\"L{line}\""));
    let last = browser.get(&format!("/builds/{id}")).await.text;
    assert!(shows(&last, 701) && shows(&last, 1200) && !shows(&last, 700));
    assert!(last.contains("?from=201#log") && !last.contains("Later lines"));
    let first = browser.get(&format!("/builds/{id}?from=1")).await.text;
    assert!(shows(&first, 1) && shows(&first, 500) && !shows(&first, 501));
    assert!(first.contains("?from=501#log") && !first.contains("Earlier lines"));
    assert_eq!(browser.get(&format!("/builds/{id}?from=0")).await.status, 422);
    assert_eq!(browser.get(&format!("/builds/{id}?from=99999")).await.status, 200);
}

#[tokio::test]
async fn windows_outline_and_hits_are_the_same_before_and_after_sealing() {
    let app = App::start().await;
    app.app().await;
    let (id, long) = (failed(&app).await, numbered(&app, 5000).await);
    for _ in ["in the store", "sealed"] {
        let (_, outline) = app.get(&format!("/builds/{id}/log/outline")).await;
        assert_eq!((&outline["total"], &outline["ended"]), (&json!(8), &json!(true)));
        assert_eq!(outline["first_error"], 6);
        let steps: Vec<&Value> = outline["sections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|section| &section["outcome"])
            .collect();
        assert_eq!(steps, ["open", "cached", "failed", "open"]);
        let (_, window) = app.get(&format!("/builds/{long}/log/lines?from=4999&count=10")).await;
        assert_eq!((&window["from"], &window["total"]), (&json!(4999), &json!(5000)));
        assert_eq!(window["lines"], json!([["line 4999"], ["line 5000"]]));
        let (_, found) = app
            .get(&format!("/builds/{long}/log/search?q=LINE%20499&from=4000"))
            .await;
        assert_eq!(found["lines"][0], 4990);
        assert_eq!(
            (found["lines"].as_array().unwrap().len(), &found["next"]),
            (10, &Value::Null)
        );
        app.logs.put_away(&id).await.unwrap();
        app.logs.put_away(&long).await.unwrap();
    }
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_named() {
    let app = App::start().await;
    app.app().await;
    let id = numbered(&app, 1).await;
    for (path, field) in [
        ("lines?from=0", "from"),
        ("lines?from=x", "from"),
        ("lines?count=2001", "count"),
        ("lines?count=0", "count"),
        ("search", "q"),
        ("search?q=", "q"),
        ("search?q=a&from=-1", "from"),
        ("outline?surprise=1", "surprise"),
        ("stream?from=0", "from"),
    ] {
        let (status, problem) = app.get(&format!("/builds/{id}/log/{path}")).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{path}");
    }
}

#[tokio::test]
async fn a_private_build_is_as_if_it_were_not_there() {
    let app = App::start().await;
    let mut document = document();
    document["visibility"] = json!("private");
    app.put("/api/v1/repositories/ann/app", document).await;
    let id = failed(&app).await;
    let paths = ["", "/log/lines", "/log/outline", "/log/search?q=x", "/log/stream"];
    for path in paths {
        for browser in [app.stranger(), app.browser("bob").await] {
            let private = browser.get(&format!("/builds/{id}{path}")).await;
            let absent = browser.get(&format!("/builds/{}{path}", "0".repeat(32))).await;
            assert_eq!((private.status, absent.status), (404, 404), "{path}");
            let (private, absent) = (
                private.text.replace(id.as_str(), "ID"),
                absent.text.replace(&"0".repeat(32), "ID"),
            );
            assert_eq!(private, absent, "{path}");
        }
        let mine = app.browser("ann").await.get(&format!("/builds/{id}{path}")).await;
        assert_eq!(mine.status, 200, "{path}");
    }
}

#[tokio::test]
async fn only_who_may_write_sees_buttons() {
    let app = App::start().await;
    app.app().await;
    let ended = failed(&app).await;
    let queued = app.trigger().await;
    let (ann, bob) = (app.browser("ann").await, app.browser("bob").await);
    for (id, action) in [(&ended, "retry"), (&queued, "cancel")] {
        let form = format!("action=\"/builds/{id}/{action}\"");
        assert!(ann.get(&format!("/builds/{id}")).await.text.contains(&form));
        assert!(!bob.get(&format!("/builds/{id}")).await.text.contains(&form));
    }
    let waiting = bob.get(&format!("/builds/{queued}")).await.text;
    assert!(waiting.contains("Waiting for"), "{waiting}");
}

/// Reads events from a stream until `enough` says so.
async fn read_until(
    stream: &mut (impl futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Unpin),
    told: &mut String,
    enough: &str,
) {
    while !told.contains(enough) {
        let piece = tokio::time::timeout(DEADLINE, stream.next()).await;
        let piece = piece.unwrap_or_else(|_| panic!("no `{enough}` in {told}"));
        told.push_str(std::str::from_utf8(&piece.expect("the stream ended").unwrap()).unwrap());
    }
}

#[tokio::test]
async fn lines_arrive_as_they_are_written_until_the_build_ends() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let leased = app.claim().await;
    app.store.append_log(&leased.lease, 0, b"one\n").await.unwrap();
    let path = format!("/builds/{id}/log/stream?from=1");
    let answer = app.request("", Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let (mut stream, mut told) = (answer.bytes_stream(), String::new());
    read_until(&mut stream, &mut told, r#""lines":[["one"]]"#).await;
    assert!(told.contains("event: outline"), "{told}");
    app.store.append_log(&leased.lease, 4, b"two\nthr").await.unwrap();
    app.logs.hub().changed(&id);
    read_until(
        &mut stream,
        &mut told,
        r#""from":2,"lines":[["two"],["thr"]],"total":3,"open":true"#,
    )
    .await;
    app.store.append_log(&leased.lease, 11, b"ee\n").await.unwrap();
    app.logs.hub().changed(&id);
    read_until(
        &mut stream,
        &mut told,
        r#""from":3,"lines":[["three"]],"total":3,"open":false"#,
    )
    .await;
    app.finish(&leased.lease, Ending::Canceled).await;
    read_until(&mut stream, &mut told, r#"{"status":"canceled"}"#).await;
    assert!(tokio::time::timeout(DEADLINE, stream.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_stream_that_broke_off_resumes_and_a_fast_log_is_not_sent_whole() {
    let app = App::start().await;
    app.app().await;
    let id = numbered(&app, 5000).await;
    let path = format!("/builds/{id}/log/stream");
    let read = |last: Option<&'static str>| {
        let request = app.request("", Method::GET, &path);
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        async { request.send().await.unwrap().text().await.unwrap() }
    };
    let whole = read(None).await;
    assert!(whole.contains(r#""from":4901,"lines":[["line 4901"]"#), "{whole}");
    let rest = read(Some("4990")).await;
    assert!(rest.contains(r#""from":4991,"lines":[["line 4991"]"#), "{rest}");
    assert!(rest.contains("event: end"));
}

#[tokio::test]
async fn a_stream_of_lines_ends_with_the_right_to_see_them() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let leased = app.claim().await;
    app.store.append_log(&leased.lease, 0, b"one\n").await.unwrap();
    let request = app.request(&app.bob, Method::GET, &format!("/builds/{id}/log/stream"));
    let (mut stream, mut told) = (request.send().await.unwrap().bytes_stream(), String::new());
    read_until(&mut stream, &mut told, "one").await;
    let mut document = document();
    document["visibility"] = json!("private");
    app.put("/api/v1/repositories/ann/app", document).await;
    let rest = tokio::time::timeout(DEADLINE, stream.next()).await.unwrap();
    assert!(rest.is_none(), "{rest:?}");
}

#[tokio::test]
async fn commits_are_linked_where_the_forge_shows_them() {
    let app = App::start().await;
    let repository = app.app().await;
    let commit = crate::app::commit('a');
    let push = crate::app::payload("refs/heads/main", &commit, "<b>Bold</b> words\n\nand why");
    app.push(&repository, "d1", &push).await;
    let (_, builds) = app.get("/api/v1/builds").await;
    let id = builds["items"][0]["id"].as_str().unwrap();
    let page = app.stranger().get(&format!("/builds/{id}")).await.text;
    let link = format!("href=\"https://github.com/acme/app/commit/{commit}\"");
    assert!(page.contains(&link), "{page}");
    assert!(page.contains("push of aaaaaaa to main") && page.contains("and why"));
    assert!(!page.contains("<b>Bold"));
}

//! Webhooks as each forge sends them, and the bounds on what may come.

use bytes::Bytes;
use futures_util::stream;
use hmac::{Hmac, KeyInit, Mac};
use hullworks::domain::build::Ending;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::app::{App, HOOK_SECRET, answer, commit, document, payload, signature};

const PATH: &str = "/api/v1/repositories/ann/app";

/// A repository of this source whose rules build every branch and tag.
async fn repository(app: &App, provider: &str, url: &str) -> Value {
    let mut everything = document();
    everything["source"]["provider"] = json!(provider);
    everything["source"]["url"] = json!(url);
    everything["rules"] = json!([
        { "source_type": "branch", "source": "/.*/", "docker_tag": "{sourceref}" },
        { "source_type": "tag", "source": "/.*/", "docker_tag": "tag-{sourceref}" },
    ]);
    let (status, saved) = app.put(PATH, everything).await;
    assert!(status == 201 || status == 200, "{saved:#}");
    saved
}

/// A body that either Bitbucket signed.
fn bitbucket(app: &App, repository: &Value, headers: [(&str, &str); 2], body: &str) -> RequestBuilder {
    let mut request = app
        .client
        .post(repository["webhook"]["url"].as_str().unwrap())
        .header("content-type", "application/json; charset=utf-8")
        .header("x-hub-signature", signature(body));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(body.to_owned())
}

async fn sent(request: RequestBuilder) -> (u16, Value) {
    answer(request.send().await.unwrap()).await
}

fn bitbucket_change(kind: &str, name: &str, commit: &str, message: &str) -> Value {
    json!({ "old": null, "new": { "type": kind, "name": name, "target": { "hash": commit, "message": message } } })
}

fn bitbucket_push(changes: &[Value]) -> String {
    let repository = json!({
        "full_name": "acme/app", "links": { "html": { "href": "https://bitbucket.org/acme/app" } },
    });
    json!({ "push": { "changes": changes }, "repository": repository }).to_string()
}

#[tokio::test]
async fn every_ref_of_one_delivery_of_bitbucket_builds() {
    let app = App::start().await;
    let repository = repository(&app, "bitbucket", "https://bitbucket.org/acme/app.git").await;
    let body = bitbucket_push(&[
        bitbucket_change("branch", "main", &commit('a'), "x"),
        bitbucket_change("branch", "quiet", &commit('b'), "x [ci skip]"),
        bitbucket_change("annotated_tag", "v1", &commit('a'), "x"),
        json!({ "old": { "type": "branch", "name": "gone" }, "new": null }),
    ]);
    let headers = [("x-event-key", "repo:push"), ("x-request-uuid", "uuid-1")];
    let (status, told) = sent(bitbucket(&app, &repository, headers, &body)).await;
    assert_eq!((status, &told["outcome"]), (202, &json!("queued")), "{told:#}");
    let reason = told["reason"].as_str().unwrap();
    for part in ["of main", "of v1", "[ci skip]", "`gone` was deleted"] {
        assert!(reason.contains(part), "{part} is not in {reason}");
    }
    let mut built = Vec::new();
    for id in told["builds"].as_array().unwrap() {
        let (_, build) = app.get(&format!("/api/v1/builds/{}", id.as_str().unwrap())).await;
        built.push((
            build["source_type"].clone(),
            build["source_name"].clone(),
            build["tags"].clone(),
        ));
    }
    let expected = [
        (json!("branch"), json!("main"), json!(["main"])),
        (json!("tag"), json!("v1"), json!(["tag-v1"])),
    ];
    assert_eq!(built, expected);
    let (_, again) = sent(bitbucket(&app, &repository, headers, &body)).await;
    assert_eq!(
        (&again["outcome"], &again["builds"]),
        (&json!("duplicate"), &told["builds"])
    );
}

#[tokio::test]
async fn bitbuckets_sha1_named_header_of_github_is_not_taken_for_a_signature() {
    let app = App::start().await;
    let repository = repository(&app, "github", "https://github.com/acme/app.git").await;
    let body = payload("refs/heads/main", &commit('a'), "x").to_string();
    let headers = [("x-github-event", "push"), ("x-github-delivery", "d")];
    let (status, problem) = sent(bitbucket(&app, &repository, headers, &body)).await;
    assert_eq!(status, 401, "{problem:#}");
}

#[tokio::test]
async fn the_connection_test_of_bitbucket_data_center_is_acknowledged_and_not_recorded() {
    let app = App::start().await;
    let repository = repository(&app, "bitbucket-server", "https://git.example.com/scm/acme/app.git").await;
    let url = repository["webhook"]["url"].as_str().unwrap();
    let ping = |key: &'static str| {
        let request = app.client.post(url).header("content-type", "application/json");
        request.header("x-event-key", key).body("{\"test\": true}")
    };
    let (status, told) = sent(ping("diagnostics:ping")).await;
    assert_eq!(
        (status, &told["outcome"], &told["builds"], &told["delivery"]),
        (200, &json!("ignored"), &json!([]), &Value::Null)
    );
    assert_eq!(
        sent(ping("repo:refs_changed")).await.0,
        401,
        "nothing else goes unsigned"
    );
    assert_eq!(app.get(&format!("{PATH}/deliveries")).await.1["items"], json!([]));

    let change = |name: &str, kind: &str| {
        let id = format!("refs/{}/{name}", if kind == "TAG" { "tags" } else { "heads" });
        json!({
            "ref": { "id": id, "displayId": name, "type": kind }, "refId": id, "type": "UPDATE",
            "fromHash": commit('0'), "toHash": commit('c'),
        })
    };
    let push = json!({
        "repository": { "slug": "app", "project": { "key": "ACME" } },
        "changes": [change("main", "BRANCH"), change("v2", "TAG")],
    });
    let headers = [("x-event-key", "repo:refs_changed"), ("x-request-id", "r-1")];
    let (status, told) = sent(bitbucket(&app, &repository, headers, &push.to_string())).await;
    assert_eq!((status, told["builds"].as_array().unwrap().len()), (202, 2), "{told:#}");
}

#[tokio::test]
async fn what_forges_really_send_is_taken() {
    let app = App::start().await;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/payloads/github/octokit")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let body = std::fs::read_to_string(&path).unwrap();
        let parsed: Value = serde_json::from_str(&body).unwrap();
        let event = name.split('-').next().unwrap();
        let url = parsed["repository"]["clone_url"]
            .as_str()
            .unwrap_or("https://github.com/acme/app.git");
        let repository = repository(&app, "github", url).await;
        let request = app
            .webhook(&repository, event, &format!("id of {name}"), &body)
            .body(body.clone());
        let (status, told) = sent(request).await;
        assert_eq!(status, 202, "{name}: {told:#}");
        let outcome = told["outcome"].as_str().unwrap();
        match (event, parsed["deleted"].as_bool()) {
            ("push", Some(false)) => assert!(["queued", "duplicate"].contains(&outcome), "{name}: {told:#}"),
            _ => assert_eq!(outcome, "ignored", "{name}: {told:#}"),
        }
    }
}

#[tokio::test]
async fn a_deleted_tag_and_a_ref_that_is_none_of_ours_build_nothing() {
    let app = App::start().await;
    let repository = repository(&app, "github", "https://github.com/acme/app.git").await;
    let mut deleted = payload("refs/tags/v1", &"0".repeat(40), "x");
    deleted["deleted"] = json!(true);
    deleted["head_commit"] = Value::Null;
    let (status, told) = app.push(&repository, "1", &deleted).await;
    assert_eq!((status, &told["outcome"]), (202, &json!("ignored")), "{told:#}");
    assert!(
        told["reason"].as_str().unwrap().contains("tag `v1` was deleted"),
        "{told:#}"
    );
    let (status, told) = app
        .push(&repository, "2", &payload("refs/notes/commits", &commit('a'), "x"))
        .await;
    assert_eq!((status, &told["outcome"]), (202, &json!("ignored")), "{told:#}");
}

#[tokio::test]
async fn a_commit_is_under_way_until_its_build_has_ended() {
    let app = App::start().await;
    let repository = repository(&app, "github", "https://github.com/acme/app.git").await;
    let push = async |number: usize| {
        let mut push = payload("refs/heads/main", &commit('a'), "x");
        push["repository"]["pushed_at"] = json!(number);
        app.push(&repository, &format!("d{number}"), &push).await.1
    };
    let first = push(1).await;
    assert_eq!(first["outcome"], "queued");
    let leased = app.claim().await;
    let second = push(2).await;
    assert_eq!(
        (&second["outcome"], &second["builds"]),
        (&json!("duplicate"), &first["builds"])
    );
    assert!(
        second["reason"].as_str().unwrap().contains("is running already"),
        "{second:#}"
    );
    app.finish(&leased.lease, Ending::Succeeded { digest: None }).await;
    let third = push(3).await;
    assert_eq!(third["outcome"], "queued", "{third:#}");
    assert_ne!(third["builds"], first["builds"]);
}

#[tokio::test]
async fn a_newer_push_takes_the_place_of_an_older_queued_one() {
    let app = App::start().await;
    let repository = repository(&app, "github", "https://github.com/acme/app.git").await;
    let (_, older) = app
        .push(&repository, "1", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    let (_, newer) = app
        .push(&repository, "2", &payload("refs/heads/main", &commit('b'), "x"))
        .await;
    let (_, build) = app
        .get(&format!("/api/v1/builds/{}", older["builds"][0].as_str().unwrap()))
        .await;
    assert_eq!(
        (&build["status"], &build["superseded_by"], &build["error"]),
        (&json!("superseded"), &newer["builds"][0], &Value::Null)
    );
    assert!(build["finished_at"].is_string(), "{build:#}");
}

#[tokio::test]
async fn an_encoding_that_is_not_taken_is_told_before_the_signature_is_looked_at() {
    let app = App::start().await;
    let repository = repository(&app, "github", "https://github.com/acme/app.git").await;
    let body = payload("refs/heads/main", &commit('a'), "x").to_string();
    let url = repository["webhook"]["url"].as_str().unwrap();
    for (name, value) in [
        ("content-type", "application/xml"),
        ("content-type", "application/jsonp"),
        ("content-encoding", "gzip"),
    ] {
        let mut request = app.client.post(url).header(name, value);
        if name != "content-type" {
            request = request.header("content-type", "application/json");
        }
        let (status, problem) = sent(request.body(body.clone())).await;
        assert_eq!(status, 415, "{name}: {value}: {problem:#}");
    }
    let no_type = app.client.post(url).body(body.clone());
    assert_eq!(sent(no_type).await.0, 415);
}

#[tokio::test]
async fn a_signature_is_over_these_very_bytes_and_comes_once() {
    let app = App::start().await;
    let repository = repository(&app, "github", "https://github.com/acme/app.git").await;
    let body = payload("refs/heads/main", &commit('a'), "x").to_string();
    let good = signature(&body);
    let send = async |signatures: &[String]| {
        let mut request = app
            .client
            .post(repository["webhook"]["url"].as_str().unwrap())
            .header("content-type", "application/json")
            .header("x-github-event", "push")
            .header("x-github-delivery", "d");
        for signature in signatures {
            request = request.header("x-hub-signature-256", signature);
        }
        let (status, problem) = sent(request.body(body.clone())).await;
        assert!(
            !problem.to_string().contains(&good[7..]),
            "what was expected is not told: {problem:#}"
        );
        assert!(!problem.to_string().contains(HOOK_SECRET), "{problem:#}");
        status
    };
    let with_other_secret = {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"another secret").unwrap();
        mac.update(body.as_bytes());
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    };
    for bad in [
        vec![],
        vec![String::new()],
        vec!["sha256=".to_owned()],
        vec![good[7..].to_owned()],
        vec![good[..good.len() - 2].to_owned()],
        vec![format!("{good}00")],
        vec![good.replace("sha256", "sha1")],
        vec![signature(&format!("{body} "))],
        vec![with_other_secret],
        vec![good.clone(), good.clone()],
    ] {
        assert_eq!(send(&bad).await, 401, "{bad:?}");
    }
    assert_eq!(send(std::slice::from_ref(&good)).await, 202);
}

#[tokio::test]
async fn what_cannot_be_parsed_or_lacks_a_header_is_a_bad_request() {
    let app = App::start().await;
    let repository = repository(&app, "github", "https://github.com/acme/app.git").await;
    let good = payload("refs/heads/main", &commit('a'), "x").to_string();
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        deep.as_str(),
        &format!("{good}x"),
        &good.replacen("\"ref\"", "\"ref\": \"refs/heads/x\", \"ref\"", 1),
        &good.replacen("\"full_name\"", "\"full_name\": \"acme/app\", \"full\\u005fname\"", 1),
        &good.replace(&commit('a'), "not a commit"),
        &good.replace("refs/heads/main", "refs/heads/a..b"),
    ] {
        let request = app.webhook(&repository, "push", "d", body).body(body.to_owned());
        let (status, problem) = sent(request).await;
        assert_eq!(status, 400, "{body}: {problem:#}");
    }
    let url = repository["webhook"]["url"].as_str().unwrap();
    for missing in ["x-github-event", "x-github-delivery"] {
        let mut request = app
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("x-hub-signature-256", signature(&good));
        for name in ["x-github-event", "x-github-delivery"]
            .into_iter()
            .filter(|name| *name != missing)
        {
            request = request.header(name, "push");
        }
        let (status, problem) = sent(request.body(good.clone())).await;
        assert_eq!(status, 400, "{problem:#}");
        assert!(
            problem["detail"].as_str().unwrap().to_lowercase().contains(missing),
            "{problem:#}"
        );
    }
    assert_eq!(app.get(&format!("{PATH}/deliveries")).await.1["items"], json!([]));
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_though_it_does_not_say_its_length() {
    let app = App::start().await;
    let repository = repository(&app, "github", "https://github.com/acme/app.git").await;
    let pieces = stream::iter((0..26).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1 << 20]))));
    let request = app
        .client
        .post(repository["webhook"]["url"].as_str().unwrap())
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(pieces));
    let (status, problem) = sent(request).await;
    assert_eq!(status, 413, "{problem:#}");
}

#[tokio::test]
async fn bodies_that_would_take_too_much_memory_together_are_asked_to_come_back() {
    let app = App::start().await;
    let repository = repository(&app, "github", "https://github.com/acme/app.git").await;
    let url = repository["webhook"]["url"].as_str().unwrap();
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut client = TcpStream::connect(host).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        open.push(client);
    }
    // The ten hold their room from when they are looked at; whoever comes then finds none.
    let (status, retry_after) = loop {
        let mut client = TcpStream::connect(host).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        let mut first = [0; 1024];
        let read = tokio::time::timeout(std::time::Duration::from_secs(2), client.read(&mut first)).await;
        match read {
            Ok(read) => {
                let text = String::from_utf8_lossy(&first[..read.unwrap()]).to_lowercase();
                break (text[9..12].to_owned(), text.contains("retry-after: "));
            }
            // This one found room, and holds it.
            Err(_) => open.push(client),
        }
    };
    assert_eq!((status.as_str(), retry_after), ("429", true));
    drop(open);
    let body = payload("refs/heads/main", &commit('a'), "x").to_string();
    let (status, told) = sent(app.webhook(&repository, "push", "d", &body).body(body)).await;
    assert_eq!(status, 202, "small ones still find room: {told:#}");
}

//! Clients of the API, against a server that answers as the interface promises.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::{Call, hullworks};

/// One request as it arrived.
#[derive(Debug, Clone)]
struct Request {
    line: String,
    headers: String,
    body: String,
}

/// A server on a port of its own; answers each request by a function, one connection at a time.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

enum Answer {
    Json(u16, Value),
    /// Events as they go over the wire, after which the connection ends.
    Events(String),
}

impl Server {
    fn start(answer: impl Fn(&Request, usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let Some(request) = read_request(&mut connection) else {
                    continue;
                };
                let earlier = seen
                    .lock()
                    .unwrap()
                    .iter()
                    .filter(|r: &&Request| r.line == request.line)
                    .count();
                seen.lock().unwrap().push(request.clone());
                let (status, kind, body) = match answer(&request, earlier) {
                    Answer::Json(status, body) => (status, "application/json", body.to_string()),
                    Answer::Events(events) => (200, "text/event-stream", events),
                };
                let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
                connection.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        Self { url, requests }
    }

    fn call(&self, arguments: &[&str]) -> Call {
        hullworks(arguments)
            .env("HULLWORKS_URL", &self.url)
            .env("HULLWORKS_TOKEN", "hwt_test")
    }

    fn requests(&self, method: &str) -> Vec<Request> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|request| request.line.starts_with(method))
            .cloned()
            .collect()
    }
}

fn read_request(connection: &mut TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = String::new();
    while reader.read_line(&mut headers).ok()? > 2 {}
    let headers = headers.to_lowercase();
    let length = headers
        .lines()
        .find_map(|header| header.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        line: line.trim_end().trim_end_matches(" HTTP/1.1").to_owned(),
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

fn build(status: &str) -> Value {
    json!({"id": "b1", "number": 1, "repository": "team/app", "status": status, "phase": null, "image": "r.example.com/team/app",
        "tags": ["latest"], "digest": "sha256:ab", "error": null, "source_type": "branch", "source_name": "main"})
}

#[test]
fn a_followed_log_is_taken_up_where_it_broke_off_and_the_outcome_decides() {
    for (status, code) in [("succeeded", 0), ("failed", 1)] {
        let server = Server::start(move |request, earlier| match request.line.as_str() {
            "POST /api/v1/repositories/team/app/trigger" => {
                Answer::Json(202, json!({"builds": [{"id": "b1", "rule": "r"}], "not_built": []}))
            }
            "GET /api/v1/builds/b1/log" if earlier == 0 => {
                Answer::Events("event: log\nid: 6\ndata: first\ndata:\n\n".to_owned())
            }
            "GET /api/v1/builds/b1/log" => {
                assert!(request.headers.contains("last-event-id: 6"), "{}", request.headers);
                Answer::Events("event: log\nid: 13\ndata: second\ndata:\n\nevent: end\ndata: end\n\n".to_owned())
            }
            _ => Answer::Json(200, build(status)),
        });
        let called = server
            .call(&["trigger", "team/app", "--branch", "main", "--follow"])
            .run();
        assert_eq!(called.stdout, "first\nsecond\n", "{}", called.stderr);
        assert_eq!(called.code, Some(code), "{}", called.stderr);
        assert!(
            called.stderr.contains(&format!("team/app #1 {status}")),
            "{}",
            called.stderr
        );
        let posted = &server.requests("POST")[0];
        assert_eq!(
            serde_json::from_str::<Value>(&posted.body).unwrap(),
            json!({"source_type": "branch", "source_name": "main"})
        );
        assert!(posted.headers.contains("authorization: bearer hwt_test"));
    }
}

#[test]
fn ctrl_c_ends_the_following_and_says_how_to_cancel() {
    let (reached, log_asked_for) = std::sync::mpsc::channel();
    let server = Server::start(move |request, _| {
        if request.line.ends_with("/log") {
            // Once nobody waits any more nobody needs to know.
            let _ = reached.send(());
            return Answer::Events("event: log\nid: 1\ndata: x\n\n".to_owned());
        }
        Answer::Json(200, build("running"))
    });
    let child = server.call(&["logs", "b1", "--follow"]).start();
    log_asked_for.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{words}");
    assert!(words.contains("hullworks cancel b1"), "{words}");
    assert!(server.requests("POST").is_empty());
}

#[test]
fn a_trigger_that_builds_nothing_is_refused_and_says_why() {
    let server = Server::start(|_, _| {
        Answer::Json(
            202,
            json!({"builds": [], "not_built": [{"rule": "r", "reason": "it builds tags"}]}),
        )
    });
    server
        .call(&["trigger", "team/app", "--branch", "x"])
        .run()
        .refused(1, &["it builds tags", "nothing is built"]);
}

#[test]
fn a_problem_is_told_in_words() {
    let server = Server::start(|_, _| {
        Answer::Json(
            422,
            json!({"title": "t", "detail": "limit: it is at most 200", "status": 422}),
        )
    });
    server
        .call(&["builds"])
        .run()
        .refused(1, &["error: limit: it is at most 200"]);
}

#[test]
fn no_server_is_one_readable_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    hullworks(&["builds"])
        .env("HULLWORKS_URL", &url)
        .run()
        .refused(1, &["no answer from", "HULLWORKS_URL"]);
    hullworks(&["builds"])
        .env("HULLWORKS_URL", "localhost:8080")
        .run()
        .refused(2, &["HULLWORKS_URL"]);
}

const FILE: &str = "
repositories:
  - name: team/app
    source: {provider: github, url: https://github.com/acme/app.git, webhook_secret: '${HOOK}'}
    rules: [{source_type: branch, source: main, docker_tag: 1.20}]
registries:
  - {host: 'r.example.com:5000', username: robot}
";

fn absent_then_created(request: &Request, _: usize) -> Answer {
    match request.line.split(' ').next() {
        Some("PUT") if request.line.contains("repositories") => Answer::Json(
            201,
            json!({"webhook": {"url": "http://x/webhooks/github/1", "secret": "shown-once"}}),
        ),
        Some("PUT") => Answer::Json(200, json!({})),
        _ => Answer::Json(404, json!({"detail": "there is none"})),
    }
}

#[test]
fn apply_creates_with_secrets_from_the_environment_and_shows_the_webhook_once() {
    let server = Server::start(absent_then_created);
    let out = server
        .call(&["apply", "-f", "-"])
        .env("HOOK", "canary")
        .input(FILE)
        .run()
        .done();
    assert!(out.contains("create    repository team/app"), "{out}");
    assert!(out.contains("shown-once") && !out.contains("canary"), "{out}");
    let puts = server.requests("PUT");
    assert_eq!(puts[0].line, "PUT /api/v1/registries/r.example.com:5000");
    assert_eq!(puts[1].line, "PUT /api/v1/repositories/team/app");
    let body: Value = serde_json::from_str(&puts[1].body).unwrap();
    assert_eq!(body["source"]["webhook_secret"], "canary");
    assert_eq!(body["rules"][0]["docker_tag"], "1.20");
    assert_eq!(body["name"], Value::Null);
}

#[test]
fn a_dry_run_and_a_faulty_file_write_nothing() {
    let server = Server::start(absent_then_created);
    let dry = server
        .call(&["apply", "-f", "-", "--dry-run"])
        .env("HOOK", "canary")
        .input(FILE);
    assert!(dry.run().done().contains("create"));
    let unset = server.call(&["apply", "-f", "-"]).input(FILE);
    unset
        .run()
        .refused(1, &["repositories[0] (team/app): source.webhook_secret", "HOOK"]);
    let unknown = server.call(&["apply", "-f", "-"]).input("repositores: []");
    unknown.run().refused(1, &["repositores"]);
    assert!(server.requests("PUT").is_empty());
}

#[test]
fn what_export_prints_apply_leaves_unchanged() {
    let document = json!({
        "namespace": "team", "name": "app", "visibility": "private", "description": "with: a colon", "image": "r.example.com/team/app",
        "source": {"provider": "github", "url": "https://github.com/acme/app.git", "account": null, "submodules": false,
            "credentials_set": true},
        "rules": [{"id": "r1", "source_type": "tag", "source": "/^v(.*)$/", "docker_tag": "{\\1}", "dockerfile": "Dockerfile",
            "context": "/", "autobuild": true, "cache": false, "paths": ["src/**"], "platforms": [], "build_args": {"A": "1.0"}}],
        "links": ["docker.io/library/alpine:3.20"], "detect_base_images": false,
        "limits": {"timeout_seconds": 600, "memory_bytes": null, "cpus": 1.5}, "stars": 0, "pulls": 0, "last_build": null,
        "webhook": {"url": "http://x", "secret_set": true}, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    let registry = json!({"host": "r.example.com", "username": "robot", "password_set": true, "trusted_realms": ["a.example.com"]});
    let server = Server::start(move |request, _| {
        let path = request.line.split([' ', '?']).nth(1).unwrap();
        let list = |items: &[&Value]| json!({"items": items, "next_cursor": null});
        Answer::Json(
            200,
            match path {
                "/api/v1/repositories" => list(&[&document]),
                "/api/v1/repositories/team/app" => document.clone(),
                "/api/v1/registries" => list(&[&registry]),
                "/api/v1/registries/r.example.com" => registry.clone(),
                _ => list(&[]),
            },
        )
    });
    let text = server.call(&["export"]).run().done();
    let out = server.call(&["apply", "-f", "-"]).input(&text).run().done();
    assert_eq!(
        out, "unchanged registry r.example.com\nunchanged repository team/app\n",
        "{text}"
    );
    assert!(server.requests("PUT").is_empty());
}

fn list(items: &[Value]) -> Answer {
    Answer::Json(200, json!({"items": items, "next_cursor": null}))
}

#[test]
fn base_images_are_listed_of_a_repository_of_everything_and_by_age() {
    let server = Server::start(|request, _| match request.line.split([' ', '?']).nth(1) {
        Some("/api/v1/repositories/team/app/base-images") => {
            list(&[json!({"familiar": "alpine:3.20", "detected": true,
            "linked": true, "ignored": false, "pinned": false, "followed": true, "watch": "watched",
            "current": "sha256:0123456789abcdef", "outdated": false, "checked_at": null})])
        }
        Some("/api/v1/base-images") => list(&[
            json!({"familiar": "alpine:3.20", "access": null, "targets": 3, "outdated": 1,
            "current": "sha256:0123456789abcdef", "checked_at": null}),
        ]),
        Some("/api/v1/outdated") => list(&[
            json!({"repository": "team/app", "source_type": "branch", "source_name": "main",
            "base": "docker.io/library/alpine:3.20", "used": "sha256:aaaaaaaaaaaaaaaa", "current": "sha256:bbbbbbbbbbbbbbbb",
            "behind_since": null}),
        ]),
        _ => Answer::Json(404, json!({"detail": "there is none"})),
    });
    let out = server.call(&["bases", "team/app"]).run().done();
    assert_eq!(out, "alpine:3.20  up to date  detected, linked  0123456789ab\n");
    let out = server.call(&["bases"]).run().done();
    assert_eq!(out, "alpine:3.20  0123456789ab  3  1\n");
    let out = server.call(&["bases", "--outdated"]).run().done();
    assert_eq!(
        out,
        "team/app  branch main  alpine:3.20    aaaaaaaaaaaa  bbbbbbbbbbbb\n"
    );
    let out = server.call(&["bases", "--outdated", "--json"]).run().done();
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap()["items"][0]["repository"],
        "team/app"
    );
    server
        .call(&["bases", "team/app", "--outdated"])
        .run()
        .refused(2, &["cannot be used with"]);
}

#[test]
fn consequences_are_asked_for_by_the_name_that_people_write() {
    let server = Server::start(|_, _| {
        Answer::Json(
            200,
            json!({"items": [{"repository": "team/app", "source_type": "branch", "source_name": "main",
                "images": ["r.example.com/team/app:latest"], "after": [], "cut": null}]}),
        )
    });
    let out = server.call(&["consequences", "r.example.com:5000/base:1"]).run().done();
    assert_eq!(out, "1  team/app  branch main  r.example.com/team/app:latest\n");
    assert_eq!(
        server.requests("GET")[0].line,
        "GET /api/v1/base-images/r.example.com:5000%2Fbase:1/consequences"
    );
    server
        .call(&["consequences", "Not An Image"])
        .run()
        .refused(2, &["is not an image name"]);
}

#[test]
fn waves_are_listed_shown_and_steered() {
    let server = Server::start(|request, _| {
        let wave = json!({"id": "w1", "state": "running", "created_at": null, "counts": {"done": 1, "waiting": 2},
            "moves": [{"image": "docker.io/library/alpine:3.20", "to": "sha256:0123456789abcdef"}],
            "items": [{"state": "done", "repository": "team/app", "source_type": "branch", "source_name": "main",
                "build": {"id": "b1", "number": 4, "status": "succeeded"}, "reason": ""}]});
        match request.line.starts_with("GET /api/v1/waves?") {
            true => list(&[wave]),
            false => Answer::Json(200, wave),
        }
    });
    let out = server.call(&["waves"]).run().done();
    assert_eq!(out, "w1  running  alpine:3.20 to 0123456789ab    2 waiting, 1 done\n");
    let out = server.call(&["waves", "show", "w1"]).run().done();
    assert!(out.contains("done  team/app  branch main  #4 succeeded"), "{out}");
    for word in ["pause", "resume", "cancel"] {
        server.call(&["waves", word, "w1"]).run().done();
    }
    server.call(&["waves", "limit", "w1", "2"]).run().done();
    server.call(&["waves", "limit", "w1", "default"]).run().done();
    let lines = |method: &str| {
        let requests = server.requests(method).into_iter();
        requests
            .map(|request| format!("{} {}", request.line, request.body))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lines("POST"),
        ["pause", "resume", "cancel"].map(|word| format!("POST /api/v1/waves/w1/{word} {{}}"))
    );
    assert_eq!(
        lines("PUT"),
        [
            r#"PUT /api/v1/waves/w1 {"at_once":2}"#,
            r#"PUT /api/v1/waves/w1 {"at_once":null}"#
        ]
    );
    server
        .call(&["waves", "pause", "../x"])
        .run()
        .refused(2, &["it is a wave's id"]);
}

#[test]
fn a_log_of_a_rebuild_begins_with_what_it_follows() {
    let server = Server::start(|request, _| {
        let mut build = build("succeeded");
        build["cause"] = json!({"kind": "base_image", "image": "docker.io/library/alpine:3.20", "from": null,
            "to": "sha256:0123456789abcdef", "parent": null, "wave": "w1"});
        match request.line.ends_with("/log") {
            true => Answer::Json(200, json!("the log")),
            false => Answer::Json(200, build),
        }
    });
    let called = server.call(&["logs", "b1"]).run();
    assert_eq!(called.code, Some(0), "{}", called.stderr);
    assert_eq!(called.stdout, "\"the log\"");
    assert_eq!(
        called.stderr,
        "built again because alpine:3.20 moved to 0123456789ab (wave w1)\n"
    );
}

//! What strangers send: webhooks, sources, Dockerfiles and settings that are wrong, or meant to do harm.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
    time::Duration,
};

use futures_util::{StreamExt, future::join_all, stream};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    push::queueing_server,
    support::{
        server::{Server, WEBHOOK_SECRET, ids, refusal_to_start},
        wait,
        webhook::{Delivery, NO_COMMIT, Push, Webhook},
        witness::Witness,
        world::{BUILD, World},
    },
};

const COMMIT: &str = "0da1a1f0b3a0c8a1b5c9b1a7b4d6e9f0a1b2c3d4";

/// Largest body of a webhook, in bytes.
const LARGEST_BODY: usize = 25 << 20;

const PUSH: Push<'static> = Push {
    full_name: "team/app",
    clone_url: "http://127.0.0.1:9/team/app.git",
    branch: "main",
    commit: COMMIT,
    message: "A change",
};

/// The webhook of a repository that builds every branch.
async fn webhook_of(server: &Server, name: &str) -> Webhook {
    let document = json!({
        "image": "127.0.0.1:9/admin/app",
        "source": { "provider": "github", "url": PUSH.clone_url },
        "rules": [{ "source_type": "branch", "source": "/.*/", "docker_tag": "{sourceref}" }]
    });
    server.put_repository(name, document).await
}

/// Deliveries whose signature is wrong, each in its own way.
fn badly_signed(webhook: &Webhook) -> Vec<(&'static str, Delivery)> {
    const HEADER: &str = "x-hub-signature-256";
    let good = || webhook.github_event("push", PUSH.github().to_string());
    let right = webhook.sign(&good().body);
    let another = Webhook {
        secret: "a long secret of another webhook".to_owned(),
        ..webhook.clone()
    };
    let pretty = serde_json::to_vec_pretty(&PUSH.github()).expect("JSON");
    let mut changed = good().body;
    let last = changed.len() - 1;
    changed[last - 1] ^= 1;
    vec![
        ("none", good().without(HEADER)),
        ("empty", good().with(HEADER, "")),
        ("cut off", good().with(HEADER, &right[..right.len() - 1])),
        ("one digit more", good().with(HEADER, format!("{right}0"))),
        ("a doubled prefix", good().with(HEADER, format!("sha256={right}"))),
        ("no prefix", good().with(HEADER, right.trim_start_matches("sha256="))),
        ("not ASCII", good().with(HEADER, b"sha256=\xff\xfe")),
        (
            "only SHA-1",
            good()
                .without(HEADER)
                .with("x-hub-signature", "sha1=0000000000000000000000000000000000000000"),
        ),
        (
            "another's secret",
            another.github_event("push", PUSH.github().to_string()),
        ),
        ("one byte changed", good().with_body(changed)),
        ("written anew", good().with_body(pretty)),
    ]
}

#[tokio::test]
async fn a_webhook_that_is_not_signed_rightly_is_refused_and_leaves_nothing() {
    let server = queueing_server().await;
    let webhook = webhook_of(&server, "admin/app").await;
    for (what, delivery) in badly_signed(&webhook) {
        let (status, answer) = webhook.send(&delivery).await;
        assert_eq!((status, &answer["status"]), (401, &json!(401)), "{what}: {answer:#}");
    }
    let elsewhere = Webhook {
        url: webhook.url.replace("/webhooks/github/", "/webhooks/bitbucket/"),
        ..webhook.clone()
    };
    let (status, _) = elsewhere
        .send(&webhook.github_event("push", PUSH.github().to_string()))
        .await;
    assert_eq!(status, 404, "another provider's address");
    assert_eq!(server.deliveries("admin/app").await, Vec::<Value>::new());
    let expected = webhook.sign(PUSH.github().to_string().as_bytes());
    let digest = expected.trim_start_matches("sha256=");
    assert!(
        !server.process_log().contains(digest),
        "the expected signature was logged"
    );
}

#[tokio::test]
async fn two_thousand_bad_deliveries_leave_no_rows() {
    let server = queueing_server().await;
    let webhook = webhook_of(&server, "admin/app").await;
    let client = reqwest::Client::new();
    let bad = badly_signed(&webhook);
    let statuses: Vec<u16> = stream::iter(bad.iter().cycle().take(2000))
        .map(|(_, delivery)| {
            let delivery = delivery
                .clone()
                .with("x-github-delivery", uuid::Uuid::now_v7().to_string());
            let (webhook, client) = (&webhook, &client);
            async move { webhook.try_send(client, &delivery).await.expect("an answer").0 }
        })
        .buffer_unordered(16)
        .collect()
        .await;
    // Guessing may be slowed down, but nothing else.
    assert!(
        statuses.iter().all(|status| matches!(status, 401 | 429)),
        "{statuses:?}"
    );
    assert_eq!(server.deliveries("admin/app").await, Vec::<Value>::new());
    assert_eq!(server.builds("admin/app").await, Vec::<Value>::new());
    let (status, answer) = webhook.github(&PUSH).await;
    assert_eq!(status, 202, "who has the secret is not shut out: {answer:#}");
}

#[tokio::test]
async fn one_delivery_sent_fifty_times_at_once_and_after_a_restart_is_built_once() {
    let mut server = queueing_server().await;
    let webhook = webhook_of(&server, "admin/app").await;
    let delivery = webhook.github_event("push", PUSH.github().to_string());
    let answers = join_all((0..50).map(|_| webhook.send(&delivery))).await;
    server.kill9();
    server.restart().await;
    let after = webhook.send(&delivery).await;
    let builds = server.builds("admin/app").await;
    assert_eq!(builds.len(), 1);
    for (status, answer) in answers.iter().chain([&after]) {
        assert_eq!(*status, 202, "{answer:#}");
        assert_eq!(ids(&answer["builds"]), ids(&json!(builds)));
    }
    let queued = answers
        .iter()
        .filter(|(_, answer)| answer["outcome"] == "queued")
        .count();
    assert_eq!(queued, 1, "only one of them started it");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_has_come() {
    let server = queueing_server().await;
    let webhook = webhook_of(&server, "admin/app").await;
    let address = webhook.url.trim_start_matches("http://");
    let (host, path) = address.split_once('/').expect("a path");
    // By its length alone: not one byte of the body is sent.
    let mut connection = TcpStream::connect(host).await.expect("a connection");
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nx-github-event: push\r\n\
         x-github-delivery: 1\r\ncontent-length: {}\r\n\r\n",
        LARGEST_BODY + 1
    );
    connection.write_all(head.as_bytes()).await.expect("a request");
    let mut answer = vec![0; 12];
    tokio::time::timeout(Duration::from_secs(5), connection.read_exact(&mut answer))
        .await
        .expect("an answer before the body")
        .expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 413");

    // Chunked, without a length and without an end.
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 64 << 10]));
    let sent = reqwest::Client::new()
        .post(&webhook.url)
        .headers(webhook.github_event("push", "").headers)
        .body(reqwest::Body::wrap_stream(endless))
        .send();
    let sent = tokio::time::timeout(Duration::from_secs(30), sent)
        .await
        .expect("an answer before the end");
    // The connection may break under the sender's hands before it looks for the answer.
    assert!(
        sent.as_ref().map_or(true, |response| response.status() == 413),
        "{sent:?}"
    );
    assert_eq!(server.deliveries("admin/app").await, Vec::<Value>::new());
}

#[tokio::test]
async fn only_plain_json_and_githubs_form_are_taken() {
    let server = queueing_server().await;
    let webhook = webhook_of(&server, "admin/app").await;
    let event = || webhook.github_event("push", PUSH.github().to_string());
    for (header, value) in [
        ("content-encoding", "gzip"),
        ("content-type", "text/plain"),
        ("content-type", "multipart/form-data; boundary=x"),
    ] {
        let (status, answer) = webhook.send(&event().with(header, value)).await;
        assert_eq!(status, 415, "{header}: {value}: {answer:#}");
    }
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("payload", &PUSH.github().to_string());
    let form = webhook
        .github_event("push", form.finish())
        .with("content-type", "application/x-www-form-urlencoded");
    let (status, answer) = webhook.send(&form).await;
    assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");
}

#[tokio::test]
async fn a_body_that_is_not_what_it_says_is_refused() {
    let server = queueing_server().await;
    let webhook = webhook_of(&server, "admin/app").await;
    let good = PUSH.github().to_string();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut payload = PUSH.github();
        change(&mut payload);
        payload.to_string()
    };
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (what, body) in [
        ("nothing", String::new()),
        ("null", "null".to_owned()),
        ("a list", "[]".to_owned()),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("something after the end", format!("{good} x")),
        (
            "a doubled key",
            good.replacen('{', &format!("{{\"after\":\"{COMMIT}\","), 1),
        ),
        ("nested deeply", format!("{{\"x\":{nested},{}", &good[1..])),
        ("a null for a text", with(&|payload| payload["after"] = Value::Null)),
        ("a number for a text", with(&|payload| payload["ref"] = json!(1))),
        ("no commit", with(&|payload| payload["after"] = json!("main"))),
        (
            "a ref with ..",
            with(&|payload| payload["ref"] = json!("refs/heads/a..b")),
        ),
        (
            "a ref with a control character",
            with(&|payload| payload["ref"] = json!("refs/heads/a\u{1b}b")),
        ),
        (
            "a ref with a space",
            with(&|payload| payload["ref"] = json!("refs/heads/a b")),
        ),
        (
            "a ref that is an option",
            with(&|payload| payload["ref"] = json!("refs/heads/-x")),
        ),
        (
            "a ref that ends in .lock",
            with(&|payload| payload["ref"] = json!("refs/heads/a.lock")),
        ),
        ("an empty ref", with(&|payload| payload["ref"] = json!("refs/heads/"))),
    ] {
        let (status, answer) = webhook.send(&webhook.github_event("push", body)).await;
        assert_eq!(status, 400, "{what}: {answer:#}");
    }
    for header in ["x-github-event", "x-github-delivery"] {
        let (status, answer) = webhook
            .send(&webhook.github_event("push", good.clone()).without(header))
            .await;
        assert_eq!(status, 400, "without {header}: {answer:#}");
    }
    let other = with(&|payload| {
        payload["repository"]["full_name"] = json!("team/other");
        payload["repository"]["clone_url"] = json!("http://127.0.0.1:9/team/other.git");
    });
    let (status, answer) = webhook.send(&webhook.github_event("push", other)).await;
    assert_eq!(status, 403, "{answer:#}");
    assert_eq!(server.deliveries("admin/app").await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_no_push_of_a_commit_is_acknowledged_and_builds_nothing() {
    let server = queueing_server().await;
    let webhook = webhook_of(&server, "admin/app").await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut payload = PUSH.github();
        change(&mut payload);
        payload.to_string()
    };
    let events = [
        ("ping", json!({ "zen": "Keep it simple.", "hook_id": 1 }).to_string()),
        ("issues", json!({ "action": "opened" }).to_string()),
        ("push", with(&|payload| payload["after"] = json!(NO_COMMIT))),
        ("push", with(&|payload| payload["deleted"] = json!(true))),
        ("push", with(&|payload| payload["ref"] = json!("refs/notes/commits"))),
    ];
    for (event, body) in &events {
        let (status, answer) = webhook.send(&webhook.github_event(event, body.clone())).await;
        assert_eq!(
            (status, &answer["outcome"]),
            (202, &json!("ignored")),
            "{event}: {answer:#}"
        );
        assert_ne!(answer["reason"], "", "{event}");
    }
    let skipped = with(&|payload| payload["head_commit"]["message"] = json!("Docs [skip ci]"));
    let (status, answer) = webhook.send(&webhook.github_event("push", skipped)).await;
    assert_eq!((status, &answer["outcome"]), (202, &json!("skipped")), "{answer:#}");
    assert_eq!(server.builds("admin/app").await, Vec::<Value>::new());
    assert_eq!(
        server.deliveries("admin/app").await.len(),
        events.len() + 1,
        "each is in the ledger"
    );
}

#[tokio::test]
async fn while_the_database_is_locked_no_webhook_is_acknowledged() {
    let server = queueing_server().await;
    let webhook = webhook_of(&server, "admin/app").await;
    let path = format!("sqlite://{}", server.data().join("hullworks.db").display());
    let mut other = SqliteConnection::connect(&path).await.expect("the database");
    sqlx::query("begin immediate")
        .execute(&mut other)
        .await
        .expect("a lock");
    let event = webhook.github_event("push", PUSH.github().to_string());
    let client = reqwest::Client::new();
    let request = client
        .post(&webhook.url)
        .headers(event.headers.clone())
        .body(event.body.clone());
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    sqlx::query("rollback").execute(&mut other).await.expect("no lock");
    other.close().await.expect("a closed connection");
    // What comes again is taken.
    let (status, answer) = webhook.send(&event).await;
    assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");
}

#[tokio::test]
async fn hundreds_of_connections_that_say_nothing_do_not_slow_others_down() {
    let server = queueing_server().await;
    let webhook = webhook_of(&server, "admin/app").await;
    let host = server.url().trim_start_matches("http://").to_owned();
    let mut connections = Vec::new();
    for _ in 0..800 {
        let mut connection = TcpStream::connect(&host).await.expect("a connection");
        connection
            .write_all(b"POST /webhooks/github/x HTTP/1.1\r\nhost: ")
            .await
            .expect("half a request");
        connections.push(connection);
    }
    let client = reqwest::Client::new();
    for number in 0..20 {
        let commit = format!("{:040x}", number + 1);
        let push = Push {
            commit: &commit,
            ..PUSH
        };
        let event = webhook.github_event("push", push.github().to_string());
        let answer = tokio::time::timeout(Duration::from_secs(1), webhook.try_send(&client, &event)).await;
        let (status, answer) = answer.expect("an answer within a second").expect("an answer");
        assert_eq!(status, 202, "{answer:#}");
    }
}

#[tokio::test]
async fn a_build_argument_cannot_bear_the_name_of_a_secret() {
    let server = queueing_server().await;
    let rule = json!({ "source_type": "branch", "source": "main", "build_args": { "TOKEN": "canary-value" } });
    let document = json!({
        "image": "127.0.0.1:9/admin/app",
        "source": { "provider": "github", "url": PUSH.clone_url },
        "rules": [rule],
        "build_secrets": { "TOKEN": "canary-secret" }
    });
    let (status, answer) = server
        .request(Method::PUT, "/repositories/admin/app", Some(document))
        .await;
    assert_eq!(status, 422, "{answer:#}");
    let answer = answer.to_string();
    assert!(
        answer.contains("build_args.TOKEN") && !answer.contains("canary"),
        "{answer}"
    );
}

/// Bytes of all files below a directory.
fn size_of(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    entries
        .map(|entry| match entry.path().is_dir() {
            true => size_of(&entry.path()),
            false => entry.metadata().map_or(0, |data| data.len()),
        })
        .sum()
}

#[tokio::test]
async fn a_source_that_is_too_large_fails_and_its_disk_is_reclaimed() {
    let world = World::with_settings("max_source_bytes = 1000000").await;
    let app = world.app(json!({})).await;
    // Nothing that could be compressed.
    let noise: String = (0..250_000)
        .map(|_| format!("{:016x}", rand::random::<u64>()))
        .collect();
    let (build, log) = world
        .failure(&app, &[("Dockerfile", "FROM scratch\n"), ("noise", &noise)])
        .await;
    assert_eq!(build["error"]["kind"], "source", "{build:#}");
    assert!(
        log.contains("max_source_bytes") || log.contains("larger") || log.contains("MiB"),
        "{log}"
    );
    let size = size_of(&world.server.data().join("mirrors"));
    assert!(size < 1_000_000, "{size} bytes are left");
    assert!(!log.contains("trying again"), "{log}");
}

#[tokio::test]
async fn addresses_that_are_no_sources_are_refused_when_they_are_saved() {
    let server = queueing_server().await;
    for url in [
        "ext::sh -c touch% /tmp/x",
        "/etc",
        "../..",
        "-uploadpack=touch /tmp/x",
        "--upload-pack=touch",
        "ssh://-oProxyCommand=touch/x",
        "ssh://git@example.com/x.git",
        "git://example.com/x.git",
        "http://example.com/x.git",
        "http://169.254.169.254/latest/meta-data",
        "https://user:password@example.com/x.git",
        "https://example.com/x.git\r\nX-Header: 1",
        "https://example.com/x.git?x=1",
        "https://",
        "",
    ] {
        let document = json!({
            "image": "127.0.0.1:9/admin/app",
            "source": { "provider": "github", "url": url, "webhook_secret": WEBHOOK_SECRET },
            "rules": [{ "source_type": "branch", "source": "main" }]
        });
        let (status, answer) = server
            .request(Method::PUT, "/repositories/admin/app", Some(document))
            .await;
        assert_eq!(status, 422, "{url}: {answer:#}");
        assert!(answer.to_string().contains("source.url"), "{url}: {answer:#}");
    }
    let (status, _) = server.request(Method::GET, "/repositories/admin/app", None).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_source_that_redirects_to_another_host_is_not_followed() {
    let world = World::start().await;
    let target = Witness::start(axum::http::StatusCode::OK).await;
    let location = format!(
        "http://localhost:{}/team/app.git/info/refs?service=git-upload-pack",
        target.port()
    );
    let redirecting = Witness::start(axum::response::Redirect::temporary(&location)).await;
    let url = format!("http://127.0.0.1:{}/team/app.git", redirecting.port());
    let credentials = json!({ "username": "reader", "password": "s3cret-pass" });
    let app = world
        .app(json!({ "source": { "url": url, "credentials": credentials } }))
        .await;
    let build = world.server.trigger(&app.name, json!({})).await.remove(0);
    let build = world.server.wait_for_end(&build, "failed", BUILD).await;
    assert_eq!(build["error"]["kind"], "source", "{build:#}");
    assert!(!redirecting.seen().is_empty());
    assert_eq!(target.seen(), [], "the other host was asked");
}

#[tokio::test]
async fn a_commit_that_was_force_pushed_away_fails_and_the_tip_is_not_built_in_its_stead() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let gone = app
        .source
        .push(&[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "1")], "Gone")
        .await;
    app.source
        .git(&["commit", "--quiet", "--amend", "--message", "Instead"])
        .await;
    app.source
        .git(&["push", "--quiet", "--force", "origin", "HEAD:main"])
        .await;
    let build = app.announce("main", &gone).await.remove(0);
    let build = world.server.wait_for_end(&build, "failed", BUILD).await;
    assert_eq!(
        (&build["error"]["kind"], &build["commit"]),
        (&json!("source"), &json!(gone)),
        "{build:#}"
    );
    let message = build["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("force-pushed"), "{message}");
    assert_eq!(world.latest().await, None);
}

#[tokio::test]
async fn a_location_outside_of_the_repository_is_refused() {
    let world = World::start().await;
    let locations = [("../../etc/passwd", "/"), ("Dockerfile", "../.."), ("..", "")];
    for (index, (dockerfile, context)) in locations.into_iter().enumerate() {
        let rule = json!({
            "source_type": "branch", "source": "main", "dockerfile": dockerfile, "context": context
        });
        let app = world
            .app_named(&format!("app{index}"), json!({ "rules": [rule] }))
            .await;
        let (build, log) = world.failure(&app, &[("Dockerfile", "FROM scratch\n")]).await;
        assert_eq!(build["error"]["kind"], "dockerfile", "{build:#}");
        assert!(log.contains("leaves the repository") && !log.contains("root:"), "{log}");
    }
}

#[tokio::test]
async fn a_dockerfile_that_is_a_link_to_outside_is_not_read() {
    let world = World::start().await;
    for (index, target) in ["/etc/passwd", "../../../../../../etc/passwd", "Dockerfile"]
        .into_iter()
        .enumerate()
    {
        let app = world.app_named(&format!("app{index}"), json!({})).await;
        symlink(target, app.source.path().join("Dockerfile")).expect("a link");
        let (build, log) = world.failure(&app, &[("a", "a")]).await;
        assert_eq!(build["error"]["kind"], "dockerfile", "{target}: {build:#}");
        assert!(
            !log.contains("root:") && !build.to_string().contains("root:"),
            "{target}: {log}"
        );
    }
}

/// Builds a context with names and links that are unusual, under a builder that the settings choose.
async fn keeps_links_and_names(settings: &str) {
    let world = World::with_settings(settings).await;
    let app = world.app(json!({})).await;
    let path = app.source.path();
    fs::create_dir_all(path.join("files")).expect("a directory");
    symlink("/etc/passwd", path.join("files/link")).expect("a link");
    symlink("nowhere", path.join("files/dangling")).expect("a link");
    fs::write(path.join("files").join(OsStr::from_bytes(b"latin-\xe9")), "one").expect("a file");
    let steps = "COPY files /files\n\
                 RUN readlink /files/link >/found && readlink /files/dangling >>/found && cat /files/latin-* >>/found\n\
                 CMD [\"cat\", \"/found\"]";
    world
        .build(
            &app,
            &[("Dockerfile", &world.dockerfile(steps)), ("files/name with space", "")],
        )
        .await;
    assert_eq!(world.run(&app, "latest", &[]).await, "/etc/passwd\nnowhere\none");
}

#[tokio::test]
async fn links_stay_links_and_any_name_is_kept_by_buildkit() {
    keeps_links_and_names("builder = \"buildkit\"").await;
}

#[tokio::test]
async fn links_stay_links_and_any_name_is_kept_by_the_classic_builder() {
    keeps_links_and_names("builder = \"classic\"").await;
}

#[tokio::test]
async fn a_dockerfile_that_cannot_be_built_fails_with_a_reason() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let long_line = format!("FROM scratch\nLABEL x={}\n", "x".repeat(10 << 20));
    for (what, dockerfile, reason) in [
        ("empty", "", "empty"),
        ("only comments", "# nothing\n", "instructions"),
        ("an unknown instruction", "FROM scratch\nFRO x\n", "FRO"),
        ("an undefined argument", "FROM $UNDEFINED\n", "base name"),
        ("a line of 10 MB", long_line.as_str(), "1 MiB"),
        ("a file that is not there", "FROM scratch\nCOPY missing /\n", "missing"),
        (
            "a frontend of a stranger",
            "# syntax=127.0.0.1:9/stranger/frontend\nFROM scratch\nCOPY a /\n",
            "127.0.0.1:9/stranger/frontend",
        ),
        (
            "the host's network",
            "FROM scratch\nRUN --network=host true\n",
            "network",
        ),
        (
            "an insecure step",
            "FROM scratch\nRUN --security=insecure true\n",
            "security",
        ),
    ] {
        let (build, log) = world.failure(&app, &[("Dockerfile", dockerfile)]).await;
        assert_eq!(build["error"]["kind"], "dockerfile", "{what}: {build:#}\n{log}");
        let message = build["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(reason), "{what}: {message}");
        assert_eq!(build["attempt"], 1, "{what}");
    }
    let (build, log) = world
        .failure(&app, &[("Dockerfile", &world.dockerfile("RUN exit 7"))])
        .await;
    assert_eq!(build["error"]["kind"], "build", "{build:#}\n{log}");
    assert!(
        build["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .contains("exit code 7"),
        "{build:#}"
    );
    // Written on Windows: a byte order mark and CRLF line ends are no fault.
    let windows = format!("\u{feff}FROM {}\r\nCOPY a /a\r\nCMD [\"cat\", \"/a\"]\r\n", world.base);
    world.build(&app, &[("Dockerfile", &windows), ("a", "fine")]).await;
    assert_eq!(world.run(&app, "latest", &[]).await, "fine");
}

#[tokio::test]
async fn a_build_that_takes_too_long_is_ended_at_its_limit() {
    let world = World::with_settings("build_timeout_seconds = 5").await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let (build, log) = world
        .failure(&app, &[("Dockerfile", &world.dockerfile(&gate.step()))])
        .await;
    assert_eq!(build["error"]["kind"], "timeout", "{build:#}\n{log}");
    wait::until("the step to end", BUILD, async || (gate.held() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_repository_bounds_the_time_and_memory_of_its_own_builds() {
    let world = World::start().await;
    let limits = json!({ "timeout_seconds": 5, "memory_bytes": 64 << 20, "cpus": 0.5 });
    let app = world.app(json!({ "limits": limits })).await;
    let gate = world.gate();
    let (build, log) = world
        .failure(&app, &[("Dockerfile", &world.dockerfile(&gate.step()))])
        .await;
    assert_eq!(build["error"]["kind"], "timeout", "{build:#}\n{log}");
    let message = build["error"]["message"].as_str().expect("a message");
    assert!(message.contains("5 s, limits.timeout_seconds"), "{message}");
    wait::until("the step to end", BUILD, async || (gate.held() == 0).then_some(())).await;
    let hog = world.dockerfile("RUN tail /dev/zero\n");
    let (build, log) = world.failure(&app, &[("Dockerfile", &hog)]).await;
    let message = build["error"]["message"].as_str().expect("a message");
    assert!(message.contains("64 MiB (limits.memory_bytes)"), "{build:#}\n{log}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_named_and_nothing_is_made() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let refused = async |what: &str, data: &Path, settings: &[(&str, &str)], named: &str| {
        let (code, said) = refusal_to_start(data, settings).await;
        assert!(matches!(code, 1 | 2), "{what}: {code} {said}");
        assert!(said.contains(named), "{what}: {said}");
        assert!(!data.join("hullworks.db").exists(), "{what}");
    };
    let data = directory.path().join("data");
    fs::create_dir(&data).expect("a directory");
    for (line, named) in [
        ("concurency = 2", "concurency"),
        ("listen = \"127.0.0.1:99999\"", "listen"),
        ("concurrency = -1", "concurrency"),
        ("database_url = \"mysql://x\"", "database_url"),
        ("[base_images]\npoll_secs = 3", "poll_secs"),
        ("not toml", "hullworks.toml"),
    ] {
        fs::write(data.join("hullworks.toml"), line).expect("a file");
        refused(line, &data, &[], named).await;
    }
    fs::remove_file(data.join("hullworks.toml")).expect("a file");
    refused(
        "a bad port",
        &data,
        &[("HULLWORKS_LISTEN", "127.0.0.1:99999")],
        "listen",
    )
    .await;
    refused("no number", &data, &[("HULLWORKS_CONCURRENCY", "many")], "concurrency").await;
    let file = directory.path().join("file");
    fs::write(&file, "").expect("a file");
    let below = file.join("below");
    refused("a file for a directory", &below, &[], below.to_str().expect("UTF-8")).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let (code, said) = refusal_to_start(&data, &[("HULLWORKS_LISTEN", &address)]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&address), "{said}");
}

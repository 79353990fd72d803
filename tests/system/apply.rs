//! One file for everything: applied, compared, exported and applied elsewhere, and what its rules would build.

use serde_json::{Value, json};

use crate::support::server::{Options, Server};

const FILE: &str = r#"
repositories:
  - name: admin/app
    visibility: private
    description: The application
    image: registry.example.com/admin/app
    source:
      provider: github
      url: https://github.com/acme/app.git
      webhook_secret: a-secret-of-the-hook
      credentials: { username: x-access-token, password: a-secret-of-the-source }
    rules:
      - { source_type: branch, source: main, docker_tag: latest, target: release, build_args: { PROFILE: release } }
      - { source_type: tag, source: '/^v([0-9]+)\.([0-9]+)$/', docker_tag: '{\1}.{\2},{\1}',
          schedule: { cron: '0 4 * * 1', time_zone: Europe/Berlin, no_cache: true } }
      - { source_type: branch, source: dev, docker_tag: dev, schedule: { cron: '@monthly' } }
    links: [ 'alpine:3.20' ]
    build_secrets: { npm: a-secret-of-the-build }
registries:
  - { host: 'registry.example.com:5000', namespace: admin, username: robot, password: a-secret-of-the-registry }
  - { host: 'docker.io', username: hub, password: another-secret }
"#;

async fn queueing_server() -> Server {
    Server::start(Options::with_settings("concurrency = 0")).await
}

async fn apply(server: &Server, file: &str, flags: &[&str]) -> String {
    server
        .command_line(&[&["apply", "-f", "-"], flags].concat(), file.as_bytes())
        .await
}

#[tokio::test]
async fn a_file_is_applied_once_and_changes_nothing_the_second_time() {
    let server = queueing_server().await;
    let dry = apply(&server, FILE, &["--dry-run"]).await;
    assert!(dry.contains("admin/app"), "{dry}");
    assert_eq!(
        server
            .request(reqwest::Method::GET, "/repositories/admin/app", None)
            .await
            .0,
        404
    );

    let shown = apply(&server, FILE, &[]).await;
    assert!(shown.contains("/webhooks/github/"), "{shown}");
    let (status, document) = server
        .request(reqwest::Method::GET, "/repositories/admin/app", None)
        .await;
    assert_eq!(status, 200, "{document}");
    assert_eq!(document["rules"][0]["target"], "release");
    assert_eq!(
        document["rules"][1]["schedule"],
        json!({ "cron": "0 4 * * 1", "time_zone": "Europe/Berlin", "no_cache": true })
    );
    assert_eq!(document["links"], json!(["docker.io/library/alpine:3.20"]));
    assert_eq!(document["source"]["credentials_set"], true);
    assert_eq!(document["build_secrets_set"], json!(["npm"]));

    let (_, before) = server
        .request(reqwest::Method::GET, "/repositories/admin/app", None)
        .await;
    apply(&server, FILE, &[]).await;
    let (_, after) = server
        .request(reqwest::Method::GET, "/repositories/admin/app", None)
        .await;
    assert_eq!(before["rules"], after["rules"]);
    assert_eq!(before["webhook"], after["webhook"]);
}

#[tokio::test]
async fn what_one_server_exports_another_takes_and_exports_again() {
    let (one, other) = (queueing_server().await, queueing_server().await);
    apply(&one, FILE, &[]).await;
    let exported = one.command_line(&["export"], b"").await;
    assert!(
        exported.contains("admin/app") && exported.contains("registry.example.com:5000"),
        "{exported}"
    );
    assert!(!exported.contains("secret-of"), "{exported}");
    assert!(
        exported.contains("Europe/Berlin") && exported.contains("@monthly"),
        "{exported}"
    );
    let unchanged = apply(&one, &exported, &["--dry-run"]).await;
    assert!(
        !unchanged.contains("->") && !unchanged.contains("create"),
        "{unchanged}"
    );

    // Passwords are not in the export: registries that are new need theirs.
    let without_registries = exported.split("registries:").next().expect("text");
    apply(&other, without_registries, &[]).await;
    let again = other.command_line(&["export"], b"").await;
    assert_eq!(
        again.split("registries:").next().expect("text").trim(),
        without_registries.trim()
    );
}

#[tokio::test]
async fn the_dry_run_of_a_push_tells_what_it_would_build_and_why_not() {
    let server = queueing_server().await;
    apply(&server, FILE, &[]).await;
    let shown = server
        .command_line(&["preview", "admin/app", "--tag", "v1.20"], b"")
        .await;
    assert!(
        shown.contains("1.20") && shown.contains("it builds branches, this is a tag"),
        "{shown}"
    );
    assert!(shown.contains("(at 0 4 * * 1, Europe/Berlin)"), "{shown}");
    let json = server
        .command_line(&["preview", "admin/app", "--branch", "main", "--json"], b"")
        .await;
    let answer: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(answer["matches"][0]["tags"], json!(["latest"]));
    let (code, shown) = server.try_command_line(&["preview", "admin/app"]).await;
    assert_eq!(code, 2, "{shown}");
}

//! Every command as a person uses it, against a running server that queues and builds nothing.

use std::{path::Path, process::Child, time::Duration};

use serde_json::Value;

use crate::{
    Call, Called, hullworks,
    support::{
        postgres::Database,
        server::{Options, Server},
        wait,
    },
};

const DEADLINE: Duration = Duration::from_secs(30);

const FILE: &str = r#"
repositories:
  - name: team/app
    description: The application
    source: { provider: github, url: "https://github.com/acme/app.git" }
    rules:
      - { source_type: branch, source: main, docker_tag: latest, target: release, build_args: { PROFILE: release } }
      - { source_type: tag, source: '/^v([0-9]+)\.([0-9]+)$/', docker_tag: '{\1}.{\2},{\1}' }
    links: [ 'alpine:3.20' ]
    build_secrets: { npm: '${NPM}' }
"#;

const REGISTRY: &str = "
registries:
  - { host: 'r.example.com:5000', namespace: team, username: robot, password: '${ROBOT}' }
";

/// A server, and `team`, who administers it.
pub struct Live {
    pub server: Server,
    pub token: String,
}

impl Live {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(mut options: Options) -> Self {
        options.settings.push_str("concurrency = 0");
        let server = Server::start(options).await;
        let add = ["user", "add", "team", "--admin", "--password-stdin"];
        server.command_line(&add, b"correct horse\n").await;
        let token = server.command_line(&["token", "create", "--user", "team"], b"").await;
        Self { server, token }
    }

    /// With the repository of [`FILE`].
    pub async fn with_app() -> Self {
        let live = Self::start().await;
        live.apply(FILE, &[]).done();
        live
    }

    /// A call as a client: it knows the server's address alone.
    pub fn call(&self, arguments: &[&str]) -> Call {
        self.call_with(&self.token, arguments)
    }

    fn call_with(&self, token: &str, arguments: &[&str]) -> Call {
        hullworks(arguments)
            .env("HULLWORKS_URL", self.server.url())
            .env("HULLWORKS_TOKEN", token)
    }

    fn apply(&self, file: &str, flags: &[&str]) -> Called {
        let call = self.call(&[&["apply", "-f", "-"], flags].concat());
        call.env("NPM", "canary-npm")
            .env("ROBOT", "canary-robot")
            .input(file)
            .run()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let out = self.call(&[arguments, &["--json"]].concat()).run().done();
        serde_json::from_str(&out).unwrap()
    }

    /// Starts one build and gives its id.
    pub fn trigger(&self) -> String {
        let out = self.call(&["trigger", "team/app"]).run().done();
        assert_eq!(out.lines().count(), 1, "{out}");
        out.trim().to_owned()
    }

    /// Waits until a build is queued, and gives its id.
    pub async fn queued(&self) -> String {
        wait::until("a queued build", DEADLINE, async || {
            let builds = self.json(&["builds", "--status", "queued"]);
            builds["items"][0]["id"].as_str().map(str::to_owned)
        })
        .await
    }
}

/// Waits for the end of a call that was started.
pub fn end(child: Child) -> Called {
    let output = child.wait_with_output().unwrap();
    Called {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_and_leaves_the_server_as_it_is() {
    let live = Live::start().await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hullworks.yaml");
    let apply = ["apply", "-f", file.to_str().unwrap()];
    let called = live.call(&[&apply[..], &["--dry-run"]].concat()).run();
    has(&called.stderr, &["nothing was done", "2 created"]);
    has(
        &called.done(),
        &[
            "create    repository team/app",
            "source: https://github.com/acme/app.git",
            "rule: branch main -> latest",
        ],
    );
    assert_eq!(live.json(&["export"])["repositories"], serde_json::json!([]));

    let called = live.call(&apply).run();
    has(&called.stderr, &["2 created"]);
    let out = called.done();
    assert_eq!(out.matches("webhook address: http").count(), 2, "{out}");
    assert_eq!(out.matches("webhook secret, shown this once: ").count(), 2, "{out}");

    let called = live.call(&apply).run();
    assert_eq!(called.stderr, "2 unchanged\n");
    assert_eq!(
        called.done(),
        "unchanged repository team/app\nunchanged repository team/worker\n"
    );
}

#[tokio::test]
async fn a_change_is_shown_field_by_field_and_secrets_are_never_shown() {
    let live = Live::start().await;
    let file = format!("{FILE}{REGISTRY}");
    let first = live.apply(&file, &[]);
    assert!(!first.stderr.contains("canary"), "{}", first.stderr);
    let out = first.done();
    has(
        &out,
        &[
            "create    registry r.example.com:5000 of team",
            "create    repository team/app",
        ],
    );
    assert!(!out.contains("canary"), "{out}");

    // Whether a secret would change cannot be known.
    let out = live.apply(&file, &[]).done();
    has(
        &out,
        &[
            "secrets   registry",
            "password: set again",
            "secrets   repository",
            "build_secrets.npm: set again",
        ],
    );
    let changed = file
        .replace("docker_tag: latest", "docker_tag: edge")
        .replace("target: release, ", "");
    let out = live.apply(&changed, &["--dry-run"]).done();
    has(
        &out,
        &[
            "change    repository team/app",
            r#"rules[0].docker_tag: "latest" -> "edge""#,
            r#"rules[0].target: "release" -> (default)"#,
        ],
    );
    assert!(!out.contains("canary"), "{out}");
}

#[tokio::test]
async fn a_refused_entry_is_named_and_what_was_created_before_it_still_shown() {
    let live = Live::start().await;
    let file = "
repositories:
  - { name: team/one, source: { provider: github, url: 'https://github.com/acme/one.git' } }
  - { name: team/two, source: { provider: github, url: 'ftp://github.com/acme/two.git' } }
";
    for flags in [&[][..], &["--json"]] {
        let called = live.apply(&file.replace("team/one", &format!("team/one{}", flags.len())), flags);
        assert_eq!(called.code, Some(1), "{}", called.stderr);
        has(&called.stderr, &["error: repository team/two: source.url"]);
        has(&called.stdout, &["/webhooks/github/", "secret"]);
        if flags == ["--json"] {
            let answer: Value = serde_json::from_str(&called.stdout).unwrap();
            assert_eq!(answer["entries"][0]["change"], "create");
        }
    }
}

#[tokio::test]
async fn what_one_server_exports_is_unchanged_there_and_makes_another_the_same() {
    let (one, other) = (Live::start().await, Live::start().await);
    one.apply(&format!("{FILE}{REGISTRY}"), &[]).done();
    let called = one.call(&["export"]).run();
    assert_eq!(called.stderr, "");
    let exported = called.done();
    has(
        &exported,
        &[
            "name: team/app",
            "target: release",
            "host: r.example.com:5000",
            "namespace: team",
        ],
    );
    for absent in ["canary", "created_at", "webhook", "_set", "id:"] {
        assert!(!exported.contains(absent), "{absent} in {exported}");
    }
    assert_eq!(
        one.apply(&exported, &[]).done(),
        "unchanged registry r.example.com:5000 of team\nunchanged repository team/app\n"
    );

    // A new registry needs the password that no export has.
    let refused = other.apply(&exported, &[]);
    refused.refused(1, &["registry r.example.com:5000 of team", "password"]);
    let with_password = exported.replace("username: robot", "username: robot\n  password: '${ROBOT}'");
    other.apply(&with_password, &[]).done();
    assert_eq!(other.call(&["export"]).run().done(), exported);
    assert_eq!(other.json(&["export"]), one.json(&["export"]));
}

#[tokio::test]
async fn an_export_has_what_the_caller_may_change_and_says_what_it_lacks() {
    let live = Live::with_app().await;
    live.server
        .command_line(&["user", "add", "ben", "--password-stdin"], b"battery staple")
        .await;
    let token = live
        .server
        .command_line(&["token", "create", "--user", "ben"], b"")
        .await;
    let called = live.call_with(&token, &["export"]).run();
    has(
        &called.stderr,
        &["left out: team/app", "left out: the registries of the whole server: "],
    );
    assert!(!called.done().contains("team/app"));
}

#[tokio::test]
async fn a_preview_names_rules_by_what_they_build() {
    let live = Live::with_app().await;
    let out = live.call(&["preview", "team/app", "--tag", "v1.20"]).run().done();
    assert_eq!(
        out,
        "builds   tag /^v([0-9]+)\\.([0-9]+)$/ -> {\\1}.{\\2},{\\1}: 1.20, 1 from Dockerfile in /\n\
         nothing  branch main -> latest: it builds branches, this is a tag\n"
    );
    let answer = live.json(&["preview", "team/app", "--branch", "main"]);
    assert_eq!(answer["matches"][0]["tags"][0], "latest");
    live.call(&["preview", "team/app"]).run().refused(2, &["--branch"]);
    live.call(&["preview", "team/app", "--branch", "a", "--tag", "b"])
        .run()
        .refused(2, &["--tag"]);
    live.call(&["preview", "team/none", "--tag", "v1"])
        .run()
        .refused(1, &["no such repository"]);
}

#[tokio::test]
async fn a_trigger_prints_ids_alone_and_names_the_rules_that_do_not_build() {
    let live = Live::with_app().await;
    let called = live.call(&["trigger", "team/app"]).run();
    has(
        &called.stderr,
        &[r"not built: tag /^v([0-9]+)\.([0-9]+)$/ -> {\1}.{\2},{\1}: "],
    );
    let id = called.done();
    assert_eq!(live.json(&["builds"])["items"][0]["id"], id.trim());

    let nothing = live.call(&["trigger", "team/app", "--branch", "other"]).run();
    nothing.refused(1, &["not built: branch main -> latest", "nothing is built"]);
    let answer = live.json(&["trigger", "team/app", "--tag", "v1.20"]);
    assert_eq!(answer["builds"][0]["number"], 2, "{answer}");
    assert_eq!(answer["not_built"].as_array().unwrap().len(), 1, "{answer}");
    live.call(&["trigger", "team/none"])
        .run()
        .refused(1, &["no such repository"]);
    live.call(&["trigger", "team/app", "--branch", "a..b"])
        .run()
        .refused(1, &["source_name", "a..b"]);
    live.call(&["trigger", "team/app", "--commit", "0123"])
        .run()
        .refused(1, &["commit"]);
}

#[tokio::test]
async fn builds_and_deliveries_are_listed_in_columns() {
    let live = Live::with_app().await;
    let first = live.trigger();
    live.call(&["cancel", &first]).run().done();
    let second = live.json(&["trigger", "team/app", "--tag", "v1.20"])["builds"][0]["id"].clone();
    for arguments in [&["builds"][..], &["builds", "team/app"]] {
        let out = live.call(arguments).run().done();
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines.len(), 2, "{out}");
        assert!(lines[0].starts_with(second.as_str().unwrap()), "{out}");
        has(lines[0], &["queued    team/app #2  tag v1.20", "1.20,1"]);
        has(lines[1], &["canceled  team/app #1  branch main", "latest"]);
        assert!(!out.contains('\x1b'), "{out}");
    }
    let canceled = live.json(&["builds", "--status", "canceled", "--limit", "1"]);
    assert_eq!(canceled["items"][0]["id"], first);
    let none = live.call(&["builds", "--status", "failed"]).run();
    assert_eq!(none.stderr, "there are none\n");
    assert_eq!(none.done(), "");

    let out = live.call(&["deliveries", "team/app"]).run().done();
    assert_eq!(out.lines().count(), 2, "{out}");
    has(
        out.lines().next().unwrap(),
        &["queued", "api trigger", "build #2 of v1.20"],
    );
    assert_eq!(live.json(&["deliveries", "team/app"])["items"][1]["builds"][0], first);
    live.call(&["deliveries", "team/none"])
        .run()
        .refused(1, &["no such repository"]);
}

#[tokio::test]
async fn a_list_longer_than_a_page_of_the_api_is_whole() {
    let live = Live::with_app().await;
    for _ in 0..3 {
        let id = live.trigger();
        live.call(&["cancel", &id]).run().done();
    }
    let ids = |limit: &str| -> Vec<String> {
        let builds = live.json(&["builds", "--limit", limit]);
        builds["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|build| build["id"].to_string())
            .collect()
    };
    assert_eq!(ids("2").len(), 2);
    assert_eq!(ids("300").len(), 3);
}

#[tokio::test]
async fn a_build_is_canceled_retried_and_its_log_read() {
    let live = Live::with_app().await;
    let id = live.trigger();
    live.call(&["retry", &id]).run().refused(1, &["ended"]);
    let called = live.call(&["cancel", &id]).run();
    assert_eq!(called.stderr, "canceled\n");
    assert_eq!(called.done(), "");
    live.call(&["logs", &id]).run().done();
    let log = live.json(&["logs", &id]);
    assert_eq!(log["build"], id);
    assert!(log["log"].is_string(), "{log}");
    let followed = live.call(&["logs", &id, "--follow"]).run();
    assert_eq!(followed.code, Some(1), "{}", followed.stderr);
    has(&followed.stderr, &["team/app #1 canceled"]);

    let again = live.call(&["retry", &id]).run().done();
    assert_ne!(again.trim(), id);
    assert_eq!(live.json(&["cancel", again.trim()])["status"], "canceled");
    let refreshed = live.json(&["retry", &id, "--refresh"]);
    assert_eq!(refreshed["builds"][0]["number"], 3, "{refreshed}");
    for command in ["logs", "cancel", "retry"] {
        live.call(&[command, "0198c0ffee"]).run().refused(1, &["no such build"]);
    }
}

#[tokio::test]
async fn following_ends_with_1_when_the_build_is_canceled_from_elsewhere() {
    let live = Live::with_app().await;
    let child = live.call(&["trigger", "team/app", "--follow"]).start();
    let id = live.queued().await;
    live.call(&["cancel", &id]).run().done();
    let called = end(child);
    assert_eq!(called.code, Some(1), "{}", called.stderr);
    has(
        &called.stderr,
        &["==> team/app #1: branch main", &id, "team/app #1 canceled"],
    );

    let child = live.call(&["retry", &id, "--follow", "--json"]).start();
    let id = live.queued().await;
    live.call(&["cancel", &id]).run().done();
    let called = end(child);
    assert_eq!(called.code, Some(1), "{}", called.stderr);
    let build: Value = serde_json::from_str(&called.stdout).unwrap();
    assert_eq!((&build["id"], &build["status"]), (&Value::from(id), &"canceled".into()));
}

#[tokio::test]
async fn following_outlives_a_restart_of_the_server() {
    let mut live = Live::with_app().await;
    let child = live.call(&["trigger", "team/app", "--follow"]).start();
    let id = live.queued().await;
    live.server.kill9();
    live.server.restart().await;
    live.call(&["cancel", &id]).run().done();
    let called = end(child);
    assert_eq!(called.code, Some(1), "{}", called.stderr);
    has(&called.stderr, &["team/app #1 canceled"]);
}

#[tokio::test]
async fn a_token_that_is_missing_or_wrong_is_refused_with_what_to_do() {
    let live = Live::with_app().await;
    let client = |token: &str| live.call_with(token, &["trigger", "team/app"]).run();
    client("").refused(1, &["needs a token", "set HULLWORKS_TOKEN", "hullworks token create"]);
    client("hwt_wrong").refused(1, &["not known", "HULLWORKS_TOKEN"]);
    live.server
        .command_line(&["user", "add", "ben", "--password-stdin"], b"battery staple")
        .await;
    let ben = live
        .server
        .command_line(&["token", "create", "--user", "ben"], b"")
        .await;
    let refused = client(&ben);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.starts_with("error: "), "{}", refused.stderr);
    let short = ["token", "create", "--user", "ben", "--expires", "1s"];
    let short = live.server.command_line(&short, b"").await;
    wait::until("the token to expire", DEADLINE, async || {
        live.call_with(&short, &["builds"])
            .run()
            .stderr
            .contains("expired")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_backup_of_a_running_server_is_another_server() {
    let live = Live::with_app().await;
    let id = live.trigger();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let backup = hullworks(&["backup", file.to_str().unwrap()]).in_data_dir(&live.server.data());
    backup.run().done();
    let options = Options::with_settings("concurrency = 0");
    let restored = Live {
        server: Server::restore(file.to_str().unwrap(), options, &live.server).await,
        token: live.token.clone(),
    };
    assert_eq!(restored.json(&["builds"])["items"][0]["id"], id);
    assert_eq!(restored.json(&["export"]), live.json(&["export"]));
    restored.call(&["cancel", &id]).run().done();
    assert_eq!(live.json(&["builds"])["items"][0]["status"], "queued");
}

#[tokio::test]
async fn users_and_tokens_are_made_beside_a_running_server() {
    let live = Live::start().await;
    let passwd = ["user", "passwd", "team", "--password-stdin"];
    live.server.command_line(&passwd, b"another horse\n").await;
    live.call(&["builds"]).run().done();
    let users = live.server.command_line(&["user", "list"], b"").await;
    has(&users, &["admin", "team"]);
    let second = hullworks(&["serve", "--listen", "127.0.0.1:0"]).in_data_dir(&live.server.data());
    let refused = second.run();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    has(&refused.stderr, &["error: "]);
}

#[tokio::test]
async fn everything_is_the_same_on_postgresql() {
    let database = Database::create().await;
    let options = Options {
        database_url: Some(database.url()),
        ..Options::default()
    };
    let live = Live::with(options).await;
    let passwd = ["user", "passwd", "team", "--password-stdin"];
    live.server.command_line(&passwd, b"another horse\n").await;
    has(
        &live.server.command_line(&["user", "list"], b"").await,
        &["admin", "team"],
    );
    live.apply(&format!("{FILE}{REGISTRY}"), &[]).done();
    let exported = live.call(&["export"]).run().done();
    assert_eq!(
        live.apply(&exported, &[]).done(),
        "unchanged registry r.example.com:5000 of team\nunchanged repository team/app\n"
    );
    let id = live.trigger();
    live.call(&["cancel", &id]).run().done();
    let again = live.call(&["retry", &id]).run().done();
    let listed = live.call(&["builds"]).run().done();
    has(&listed, &[&id, again.trim()]);
    drop(live);
}

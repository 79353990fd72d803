//! The `post-receive` hook for plain git servers: real pushes into a bare repository, whose webhooks must be ones that we take.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; Clippy sees only the functions with #[test] as tests"
)]

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use bytes::Bytes;
use chrono::DateTime;
use hullworks::{
    domain::{
        event::{ChangeKind, EventKind, PushEvent, RefChange},
        repository::Provider,
        rule::SourceType,
    },
    forge::{Rejection, Verification, verify},
};
use secrecy::SecretString;

/// Longer than a block of SHA-256, with what a shell, a printf or a git configuration could trip over.
const SECRET: &str =
    "It's a \"Secret\" to $Everybody; %s \\n y*é, and so long that it has to be digested before it is a key";
const HOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/post-receive");
const QUEUED: &str = r#"{"delivery": "d1", "outcome": "queued", "builds": ["b1", "b2"], "reason": null}"#;

/// What the service has yet to answer, and what it was sent.
#[derive(Clone, Default)]
struct Service {
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
    requests: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Service {
    /// Listens on a free port of the loopback; answers what is given, and then `queued` for ever.
    async fn start(answers: &[(u16, &'static str)]) -> (Self, String) {
        let service = Self::default();
        service.answers.lock().unwrap().extend(answers);
        let router = Router::new()
            .route("/webhooks/github/hook", post(Self::answer))
            .with_state(service.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks/github/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (service, url)
    }

    async fn answer(State(service): State<Self>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
        service.requests.lock().unwrap().push((headers, body));
        let (status, text) = service.answers.lock().unwrap().pop_front().unwrap_or((202, QUEUED));
        (StatusCode::from_u16(status).unwrap(), text)
    }

    fn requests(&self) -> Vec<(HeaderMap, Bytes)> {
        self.requests.lock().unwrap().clone()
    }

    /// The pushes that the service was told of, each verified.
    fn pushes(&self) -> Vec<PushEvent> {
        self.requests()
            .into_iter()
            .map(|(headers, body)| push(&headers, body).unwrap())
            .collect()
    }

    fn changes(&self) -> Vec<RefChange> {
        self.pushes().into_iter().flat_map(|push| push.changes).collect()
    }
}

fn push(headers: &HeaderMap, body: Bytes) -> Result<PushEvent, Rejection> {
    // GitHub's signatures have no time.
    let (secret, now) = (SecretString::from(SECRET), DateTime::UNIX_EPOCH);
    let Verification::Verified(delivery) = verify(Provider::Github, headers, &secret, body, now)? else {
        panic!("a push is not a ping");
    };
    match delivery.parse()?.kind {
        EventKind::Push(push) => Ok(push),
        EventKind::Ignored(reason) => panic!("ignored: {reason}"),
    }
}

/// A bare repository with the hook, and a clone of it to push from.
struct Git {
    directory: tempfile::TempDir,
    /// A directory that comes first where the hook looks for programs.
    programs: PathBuf,
}

impl Git {
    fn new(url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let programs = directory.path().join("programs");
        fs::create_dir(&programs).unwrap();
        let git = Self { directory, programs };
        // Nobody has to wait for the pauses; that they are made, and how long, is recorded.
        let pauses = git.path("pauses");
        git.program("sleep", &format!("echo \"$1\" >> '{}'", pauses.display()));
        git.run(git.directory.path(), ["init", "--quiet", "--bare", "server/app.git"]);
        git.run(
            git.directory.path(),
            ["init", "--quiet", "--initial-branch", "main", "work"],
        );
        git.git(["remote", "add", "origin", "../server/app.git"]);
        git.configure("hullworks.url", url);
        git.configure("hullworks.secret", SECRET);
        git.install(&fs::read_to_string(HOOK).unwrap());
        git
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn install(&self, hook: &str) {
        write_program(&self.path("server/app.git/hooks/post-receive"), hook);
    }

    fn program(&self, name: &str, script: &str) {
        write_program(&self.programs.join(name), &format!("#!/bin/sh\n{script}\n"));
    }

    fn configure(&self, key: &str, value: &str) {
        self.run(&self.path("server/app.git"), ["config", key, value]);
    }

    fn run<S: AsRef<OsStr>>(&self, directory: &Path, arguments: impl IntoIterator<Item = S>) -> Output {
        let mut path = vec![self.programs.clone()];
        path.extend(search_path());
        let output = Command::new("git")
            .args(arguments)
            .current_dir(directory)
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.directory.path())
            .env("TMPDIR", self.directory.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Dora")
            .env("GIT_AUTHOR_EMAIL", "dora@example.com")
            .env("GIT_COMMITTER_NAME", "Dora")
            .env("GIT_COMMITTER_EMAIL", "dora@example.com")
            .env_remove("http_proxy")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Runs git in the clone, and returns its output.
    fn git<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self.run(&self.path("work"), arguments);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits, the message given as bytes, and returns the commit.
    fn commit(&self, message: &[u8]) -> String {
        let file = self.path("message");
        fs::write(&file, message).unwrap();
        let file = file.to_str().unwrap();
        self.git(["commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "-F", file]);
        self.git(["rev-parse", "HEAD"])
    }

    /// Makes a commit whose message git would have repaired, and returns it.
    fn commit_as_it_is(&self, message: &[u8]) -> String {
        self.commit(b"To take the rest from");
        let commit = self.git(["cat-file", "commit", "HEAD"]);
        let (header, _) = commit.split_once("\n\n").unwrap();
        let file = self.path("commit");
        fs::write(&file, [header.as_bytes(), b"\n\n", message].concat()).unwrap();
        self.git(["hash-object", "-t", "commit", "-w", file.to_str().unwrap()])
    }

    /// Pushes, which must succeed, and returns what the hook told.
    fn push<S: AsRef<OsStr>>(&self, refs: impl IntoIterator<Item = S>) -> Vec<String> {
        let mut arguments = vec![OsStr::new("push").to_owned(), OsStr::new("origin").to_owned()];
        arguments.extend(refs.into_iter().map(|name| name.as_ref().to_owned()));
        let output = self.run(&self.path("work"), arguments);
        let leftovers: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("hullworks."))
            .collect();
        assert!(leftovers.is_empty(), "{leftovers:?}");
        String::from_utf8_lossy(&output.stderr)
            .lines()
            .filter_map(|line| line.strip_prefix("remote: "))
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    fn pauses(&self) -> String {
        fs::read_to_string(self.path("pauses")).unwrap_or_default()
    }
}

fn search_path() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect()
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn updated(source_type: SourceType, name: &str, commit: &str, message: &str) -> RefChange {
    let kind = ChangeKind::Updated {
        commit: commit.to_owned(),
        message: Some(message.to_owned()),
        before: None,
    };
    RefChange {
        source_type,
        name: name.to_owned(),
        kind,
    }
}

fn deleted(source_type: SourceType, name: &str) -> RefChange {
    RefChange {
        source_type,
        name: name.to_owned(),
        kind: ChangeKind::Deleted,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_told_and_the_pusher_reads_the_answer() {
    let (service, url) = Service::start(&[]).await;
    let git = Git::new(&url);
    git.configure("hullworks.repository", "team/app");
    git.configure("hullworks.cloneurl", "ssh://git@git.example.com/srv/app.git");
    let commit = git.commit(b"First");
    assert_eq!(git.push(["main"]), ["hullworks: refs/heads/main: queued, build b1 b2"]);
    let [push] = &service.pushes()[..] else {
        panic!("one push")
    };
    assert_eq!(push.repository.full_name, "team/app");
    assert_eq!(push.repository.urls, ["ssh://git@git.example.com/srv/app.git"]);
    assert_eq!(push.changes, [updated(SourceType::Branch, "main", &commit, "First")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ref_of_a_push_is_told_with_a_delivery_id_of_its_own() {
    let (service, url) = Service::start(&[]).await;
    let git = Git::new(&url);
    let first = git.commit(b"First");
    git.git(["tag", "light"]);
    git.git(["tag", "-a", "v1.0", "-m", "Release"]);
    assert_eq!(git.push(["main", "light", "v1.0", "main:refs/heads/a/b"]).len(), 4);
    let mut changes = service.changes();
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    let expected = [
        updated(SourceType::Branch, "a/b", &first, "First"),
        updated(SourceType::Tag, "light", &first, "First"),
        updated(SourceType::Branch, "main", &first, "First"),
        updated(SourceType::Tag, "v1.0", &first, "First"),
    ];
    assert_eq!(changes, expected);
    assert!(service.pushes().iter().all(|push| push.repository.full_name == "app"));
    let requests = service.requests();
    let mut ids: Vec<_> = requests
        .iter()
        .map(|(headers, _)| headers["x-github-delivery"].as_bytes())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    let tag_object = git.git(["rev-parse", "v1.0"]);
    let tells_tag_object = |(_, body): &(HeaderMap, Bytes)| {
        serde_json::from_slice::<serde_json::Value>(body).unwrap()["after"] == tag_object.as_str()
    };
    assert_eq!(requests.iter().filter(|request| tells_tag_object(request)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_and_forced_pushes_are_told_as_such() {
    let (service, url) = Service::start(&[]).await;
    let git = Git::new(&url);
    let first = git.commit(b"First");
    git.push(["main", "main:old"]);
    git.git(["commit", "--quiet", "--amend", "--allow-empty", "-m", "Rewritten"]);
    let rewritten = git.git(["rev-parse", "HEAD"]);
    git.push(["+main"]);
    git.commit(b"More");
    git.push(["main"]);
    git.push([":old"]);
    let changes = service.changes();
    let mut expected = updated(SourceType::Branch, "main", &rewritten, "Rewritten");
    if let ChangeKind::Updated { before, .. } = &mut expected.kind {
        *before = Some(first);
    }
    assert_eq!(changes[2], expected);
    assert_eq!(changes[4], deleted(SourceType::Branch, "old"));
    let flags: Vec<_> = service.requests()[2..]
        .iter()
        .map(|(_, body)| serde_json::from_slice::<serde_json::Value>(body).unwrap())
        .map(|body| ["created", "forced", "deleted"].map(|flag| body[flag].as_bool().unwrap()))
        .collect();
    assert_eq!(
        flags,
        [[false, true, false], [false, false, false], [false, false, true]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_message_and_ref_name_survives_in_every_shell() {
    for shell in ["sh", "bash", "busybox sh"] {
        let (service, url) = Service::start(&[]).await;
        let git = Git::new(&url);
        git.install(&format!("#!/bin/sh\nexec {shell} '{HOOK}'\n"));
        let message =
            "Quote \" and 'this', back\\slash \\n %s $HOME `id` *\n\nTab\t, escape \u{1b}[31m, é € 🎉 \u{7f}\r\nlast";
        let name = "fix/\"it's\"-$(id);%s&é🎉";
        let commit = git.commit(message.as_bytes());
        git.push([format!("main:{name}").as_str()]);
        let expected = updated(SourceType::Branch, name, &commit, message);
        assert_eq!(service.changes(), [expected], "{shell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_utf_8_is_replaced_in_a_message_and_not_sent_in_a_name() {
    let (service, url) = Service::start(&[]).await;
    let git = Git::new(&url);
    let message = b"caf\xe9 \xf0\x9f\x8e \xed\xa0\x80 \xc3";
    let commit = git.commit_as_it_is(message);
    let to = |name: &[u8]| OsString::from_vec([commit.as_bytes(), b":refs/heads/", name].concat());
    let told = git.push([to(b"main"), to(b"caf\xe9")]);
    let expected = updated(SourceType::Branch, "main", &commit, &String::from_utf8_lossy(message));
    assert_eq!(service.changes(), [expected]);
    assert!(
        told.iter()
            .any(|line| line.contains("not sent, a webhook cannot carry a name that is not UTF-8")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_busy_is_tried_again_with_the_same_delivery() {
    let (service, url) = Service::start(&[(503, ""), (429, ""), (500, "")]).await;
    let git = Git::new(&url);
    git.commit(b"First");
    assert_eq!(git.push(["main"]), ["hullworks: refs/heads/main: queued, build b1 b2"]);
    let requests = service.requests();
    assert_eq!(requests.len(), 4);
    for (headers, body) in &requests {
        assert_eq!(headers["x-github-delivery"], requests[0].0["x-github-delivery"]);
        assert_eq!(body, &requests[0].1);
    }
    assert_eq!(git.pauses(), "1\n2\n4\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stays_busy_is_given_up_and_the_push_stands() {
    let answers = [(503, r#"{"title": "busy", "detail": "the disk is full"}"#); 4];
    let (service, url) = Service::start(&answers).await;
    let git = Git::new(&url);
    let commit = git.commit(b"First");
    let told = git.push(["main"]);
    assert_eq!(
        told,
        ["hullworks: refs/heads/main: THE SERVICE DID NOT TAKE IT, nothing will be built: status 503 the disk is full"]
    );
    assert_eq!(service.requests().len(), 4);
    assert_eq!(
        git.git(["ls-remote", "origin", "main"]),
        format!("{commit}\trefs/heads/main")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_waits_a_bounded_time_for_a_busy_service() {
    let (service, url) = Service::start(&[(503, ""); 4]).await;
    let git = Git::new(&url);
    git.commit(b"First");
    // A clock that is 25 seconds on each time one looks.
    let looks = git.path("looks");
    git.program(
        "date",
        &format!("echo >> '{0}'\nexpr 25 '*' $(wc -l < '{0}')", looks.display()),
    );
    let told = git.push(["main", "main:other"]);
    assert_eq!(service.requests().len(), 2);
    assert_eq!(told.len(), 2);
    assert!(told[0].contains("THE SERVICE DID NOT TAKE IT"), "{told:?}");
    assert!(told[1].contains("NOT SENT, the service took too long"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_and_not_tried_again() {
    let (service, url) = Service::start(&[(401, r#"{"detail":"the signature does not match"}"#)]).await;
    let git = Git::new(&url);
    git.commit(b"First");
    let told = git.push(["main"]);
    let expected = "hullworks: refs/heads/main: the service refused it: status 401 the signature does not match";
    assert_eq!(told, [expected]);
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_queued_is_told_with_its_reason() {
    let answer =
        "{\"delivery\":\"d\",\"outcome\":\"no_match\",\"builds\":[],\"reason\":\"no rule \\\"is\\\" about it\"}";
    let (_service, url) = Service::start(&[(202, answer)]).await;
    let git = Git::new(&url);
    git.commit(b"First");
    assert_eq!(
        git.push(["main"]),
        [r#"hullworks: refs/heads/main: no_match (no rule \"is\" about it)"#]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_be_reached_does_not_fail_the_push() {
    // The port is free once its listener is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let git = Git::new(&format!("http://127.0.0.1:{port}/webhooks/github/hook"));
    let commit = git.commit(b"First");
    let told = git.push(["main"]);
    assert!(
        told[0].contains("refs/heads/main: THE SERVICE COULD NOT BE REACHED, nothing will be built: curl:"),
        "{told:?}"
    );
    assert_eq!(git.pauses(), "1\n2\n4\n");
    assert_eq!(
        git.git(["ls-remote", "origin", "main"]),
        format!("{commit}\trefs/heads/main")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_on_no_command_line() {
    let (service, url) = Service::start(&[]).await;
    let git = Git::new(&url);
    let log = git.path("command-lines");
    for name in [
        "awk", "cat", "curl", "date", "head", "mktemp", "od", "openssl", "sed", "tr", "printf",
    ] {
        let real = search_path()
            .into_iter()
            .map(|directory| directory.join(name))
            .find(|path| path.exists())
            .unwrap();
        git.program(
            name,
            &format!(
                "printf '%s\\n' \"$0 $*\" >> '{}'\nexec '{}' \"$@\"",
                log.display(),
                real.display()
            ),
        );
    }
    git.commit(b"First");
    git.push(["main"]);
    assert_eq!(service.pushes().len(), 1);
    let command_lines = fs::read_to_string(log).unwrap();
    assert!(
        command_lines.contains("/openssl dgst") && command_lines.contains("/curl"),
        "{command_lines}"
    );
    for form in [
        SECRET.to_owned(),
        hex::encode(SECRET),
        "It's a".to_owned(),
        "webhooks/github/hook".to_owned(),
    ] {
        assert!(!command_lines.contains(&form), "{form} in {command_lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_may_be_in_a_file() {
    let (service, url) = Service::start(&[]).await;
    let git = Git::new(&url);
    git.configure("hullworks.secret", "not this one");
    let file = git.path("secret");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    git.configure("hullworks.secretfile", file.to_str().unwrap());
    git.commit(b"First");
    git.push(["main"]);
    assert_eq!(service.pushes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_not_set_up_says_what_is_missing() {
    let (service, url) = Service::start(&[]).await;
    let git = Git::new(&url);
    git.commit(b"First");
    git.configure("hullworks.secret", "");
    let check = |name: &str, message: &str| {
        let told = git.push([format!("main:{name}").as_str()]);
        assert!(told.len() == 1 && told[0].contains(message), "{told:?}");
    };
    check(
        "a",
        "neither git config hullworks.secretfile nor hullworks.secret has a secret; nothing was sent",
    );
    git.configure("hullworks.secretfile", "/nonexistent");
    check("b", "the secret's file /nonexistent cannot be read");
    git.configure("hullworks.url", "");
    check("c", "git config hullworks.url is not set");
    assert!(service.requests().is_empty());
}

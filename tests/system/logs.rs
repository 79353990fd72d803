//! Logs: live, whole, the same for everybody, and without secrets.

use std::{fs, time::Duration};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::{
    events::{Event, text_of},
    git_server::GitServer,
    registry::Registry,
    server::{Options, WEBHOOK_SECRET},
    world::{App, BUILD, World},
};

/// How long a line may take from the program that prints it to the viewer, on a machine that does much else.
const LIVE: Duration = Duration::from_millis(900);

/// What most lines may take.
const PROMPT: Duration = Duration::from_millis(300);

/// Seconds since this machine started, as every container on it sees them too.
fn uptime() -> Duration {
    let text = fs::read_to_string("/proc/uptime").expect("/proc can be read");
    seconds(text.split(' ').next().expect("a number")).expect("a number")
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs_f64)
}

#[tokio::test]
async fn a_line_is_seen_while_the_step_that_printed_it_still_runs() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    // Lines come further apart than they may take.
    let steps = "RUN for i in 1 2 3 4 5; do read -r up rest </proc/uptime; echo \"printed-at:$up\"; sleep 1; done";
    let build = world.push(&app, &[("Dockerfile", &world.dockerfile(steps))]).await;
    let mut events = world.server.log_events(&build, None).await;
    let mut text = String::new();
    let mut delays = Vec::new();
    while let Some(event) = events.next().await {
        let now = uptime();
        if event.name == "log" {
            text.push_str(&event.data);
        }
        let whole_lines = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let printed = whole_lines
            .lines()
            .filter_map(|line| seconds(line.rsplit_once("printed-at:")?.1));
        for at in printed.skip(delays.len()).collect::<Vec<_>>() {
            delays.push(now.saturating_sub(at));
        }
    }
    assert_eq!(delays.len(), 5, "{text}");
    assert!(delays.iter().all(|delay| *delay < LIVE), "{delays:?}");
    assert!(
        delays.iter().filter(|delay| **delay < PROMPT).count() >= 3,
        "{delays:?}"
    );
    world.server.wait_for_success(&build, BUILD).await;
}

#[tokio::test]
async fn all_viewers_get_the_same_bytes_whenever_they_come_and_from_wherever_they_resume() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let steps = format!(
        "RUN for i in $(seq 500); do echo \"line $i: äöü \\\\ <b>\"; done\n{}RUN seq 1000 1500",
        gate.step()
    );
    let build = world.push(&app, &[("Dockerfile", &world.dockerfile(&steps))]).await;
    let early = world.server.log_events(&build, None).await;
    let follower = tokio::spawn(follow_as_text(&world, &build));
    gate.reached_by(1).await;
    let middle = world.server.log_events(&build, None).await;
    gate.open().await;
    world.server.wait_for_success(&build, BUILD).await;
    let late = world.server.log_events(&build, None).await;

    let early = early.rest().await;
    let whole = text_of(&early);
    assert!(whole.contains("line 500: äöü") && whole.contains("1500\n"), "{whole}");
    for events in [middle, late] {
        assert_eq!(text_of(&events.rest().await), whole);
    }
    assert_eq!(world.server.log(&build).await, whole);
    assert_eq!(follower.await.expect("a viewer of the text"), whole);
    assert_eq!(early.last().map(|event| event.name.as_str()), Some("end"));

    resumes_at_any_event(&world, &build, &early).await;
    // The log is sealed by now or soon: that makes no difference.
    assert_eq!(
        text_of(&world.server.log_events(&build, None).await.rest().await),
        whole
    );
}

/// Reads a log with `?follow=true` to its end.
fn follow_as_text(world: &World, build: &str) -> impl Future<Output = String> + Send + 'static {
    let request = world.server.get(&format!("/builds/{build}/log?follow=true"));
    async move {
        let response = request.send().await.expect("an answer of the API");
        response.text().await.expect("a whole log")
    }
}

/// After any event that a viewer saw last, exactly the rest follows.
async fn resumes_at_any_event(world: &World, build: &str, events: &[Event]) {
    let whole = text_of(events);
    let logs: Vec<usize> = (0..events.len()).filter(|&index| events[index].name == "log").collect();
    for index in [logs[0], logs[logs.len() / 2], logs[logs.len() - 1]] {
        let seen = text_of(&events[..=index]);
        let resumed = world.server.log_events(build, Some(&events[index].id)).await;
        assert_eq!(seen + &text_of(&resumed.rest().await), whole);
    }
}

#[tokio::test]
async fn a_build_that_fails_before_its_first_step_says_why_in_its_log() {
    let world = World::start().await;
    let rules = json!([{
        "source_type": "branch", "source": "main", "docker_tag": "latest", "dockerfile": "docker/Missing.Dockerfile"
    }]);
    let app = world.app(json!({ "rules": rules })).await;
    let (build, log) = world.failure(&app, &[("Dockerfile", "FROM scratch\n")]).await;
    assert_eq!(build["error"]["kind"], "dockerfile", "{build:#}");
    assert!(log.contains("docker/Missing.Dockerfile"), "{log}");

    let gone = "1234567890123456789012345678901234567890";
    let build = app.announce("main", gone).await.remove(0);
    let build = world.server.wait_for_end(&build, "failed", BUILD).await;
    assert_eq!(build["error"]["kind"], "source", "{build:#}");
    let log = world.server.log(build["id"].as_str().expect("an id")).await;
    assert!(log.contains(gone) && log.lines().count() >= 2, "{log}");
}

#[tokio::test]
async fn a_flood_is_cut_and_the_log_says_so() {
    let world = World::with_settings("max_log_bytes = 65536").await;
    let app = world.app(json!({})).await;
    let steps = "RUN head -c 1000000 /dev/zero | tr '\\\\0' x | fold -w 100\nRUN echo the end && exit 3";
    let (build, log) = world.failure(&app, &[("Dockerfile", &world.dockerfile(steps))]).await;
    assert_eq!(build["error"]["kind"], "build");
    assert!(log.len() < 65536 + (64 << 10), "{}", log.len());
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.contains("failed (build)"),
        "what ended the build is told all the same: {last}"
    );
    assert!(log.contains("limit"), "{}", &log[log.len() - 1000..]);
}

#[tokio::test]
async fn a_viewer_that_stops_reading_does_not_hold_the_build_up() {
    // BuildKit would drop most of a flood.
    let world = World::with_settings("builder = \"classic\"").await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let steps = format!(
        "{}RUN head -c 8000000 /dev/zero | tr '\\\\0' x | fold -w 100\nRUN echo the end",
        gate.step()
    );
    let build = world.push(&app, &[("Dockerfile", &world.dockerfile(&steps))]).await;
    let idle = world.server.log_events(&build, None).await;
    gate.reached_by(1).await;
    gate.open().await;
    world.server.wait_for_success(&build, BUILD).await;
    // What it did not take in time is all there.
    let log = world.server.log(&build).await;
    assert!(log.len() > 8_000_000, "{}", log.len());
    assert!(text_of(&idle.rest().await) == log, "the viewer saw another log");
}

/// Characters that look different in base64 and in URLs.
const GIT_PASSWORD: &str = "canary+git/0d4f?1";
const REGISTRY_PASSWORD: &str = "canary+registry/77c1?2";
const BUILD_SECRET: &str = "canary+build/e9a2?3";

/// A secret in the forms in which programs print it.
fn forms(secret: &str) -> Vec<String> {
    let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    vec![
        secret.to_owned(),
        base64::engine::general_purpose::STANDARD.encode(secret),
        base64::engine::general_purpose::STANDARD.encode(format!("{secret}\n")),
        escaped,
    ]
}

#[tokio::test]
async fn secrets_are_in_no_log_answer_image_or_database() {
    let git = GitServer::start_with_password("reader", GIT_PASSWORD).await;
    let mut world = World::with_git(Options::default(), git).await;
    let private = Registry::start_with_password("pusher", REGISTRY_PASSWORD).await;
    world.clean_up_after(private.host());
    let app = world
        .app(json!({
            "image": format!("{}/admin/app", private.host()),
            "source": { "credentials": { "username": "reader", "password": GIT_PASSWORD } },
            "build_secrets": { "canary": BUILD_SECRET }
        }))
        .await;
    world
        .server
        .put_registry("admin", private.host(), "pusher", REGISTRY_PASSWORD)
        .await;
    // A step that gives away what it was lent, in every way but in clear Dockerfile text.
    let mount = "RUN --mount=type=secret,id=canary";
    let file = "/run/secrets/canary";
    let steps = [
        format!("{mount} cat {file}; echo; echo \"a $(cat {file}) b\" >&2"),
        format!("{mount} base64 {file}; cat {file} | (cat; echo) | base64"),
        format!("{mount} sed 's/+/%2B/g; s,/,%2F,g; s/?/%3F/g' {file}; echo"),
        format!("{mount} head -c 9 {file}; sleep 0.3; tail -c +10 {file}; echo"),
        format!("{mount} test -s {file}"),
        "CMD [\"true\"]".to_owned(),
    ];
    let build = world
        .build(&app, &[("Dockerfile", &world.dockerfile(&steps.join("\n")))])
        .await;
    let log = world.server.log(id_of(&build)).await;
    assert!(log.matches("***").count() >= 6, "{log}");
    fails_with_the_secret_in_its_message(&world, &app).await;

    let image = format!("{}:latest", app.image);
    world.engine.pull_as(&image, "pusher", REGISTRY_PASSWORD).await;
    let mut places = vec![
        ("the log".to_owned(), log),
        ("the history".to_owned(), world.engine.history(&image).await),
        ("the image".to_owned(), world.engine.inspect(&image).await.to_string()),
        ("the service's log".to_owned(), world.server.process_log()),
    ];
    for path in [
        "/repositories/admin/app".to_owned(),
        "/repositories/admin/app/builds".to_owned(),
        "/repositories/admin/app/deliveries".to_owned(),
        format!("/builds/{}", id_of(&build)),
        format!("/namespaces/admin/registries/{}", private.host().replace(':', "%3A")),
    ] {
        let (status, answer) = world.server.request(reqwest::Method::GET, &path, None).await;
        assert_eq!(status, 200, "{path} {answer:#}");
        places.push((path, answer.to_string()));
    }
    for entry in fs::read_dir(world.server.data()).expect("the data directory").flatten() {
        if entry.path().is_file() {
            let bytes = fs::read(entry.path()).expect("a file of the service");
            places.push((
                entry.path().display().to_string(),
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        }
    }
    assert!(places.iter().any(|(place, _)| place.ends_with("hullworks.db")));
    for (place, text) in places {
        for secret in [GIT_PASSWORD, REGISTRY_PASSWORD, BUILD_SECRET] {
            for form in forms(secret) {
                assert!(!text.contains(&form), "{form} is in {place}");
            }
        }
        // The test knows this one, and so may the command line; nothing else shows it again.
        assert!(!text.contains(WEBHOOK_SECRET), "the webhook's secret is in {place}");
    }
}

/// A step that fails while it prints the secret: the build's error is an answer of the API too.
async fn fails_with_the_secret_in_its_message(world: &World, app: &App) {
    let steps = "RUN --mount=type=secret,id=canary cat /run/secrets/canary; echo; exit 7";
    let (build, log) = world.failure(app, &[("Dockerfile", &world.dockerfile(steps))]).await;
    assert_eq!(build["error"]["kind"], "build");
    for form in forms(BUILD_SECRET) {
        assert!(!build.to_string().contains(&form) && !log.contains(&form), "{form}");
    }
}

fn id_of(build: &Value) -> &str {
    build["id"].as_str().expect("an id")
}

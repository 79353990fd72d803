//! Which builds run, which wait, and which are not needed any more.

use serde_json::{Value, json};

use crate::support::{
    gate::Gate,
    server::ids,
    world::{App, BUILD, World},
};

const SCRATCH: (&str, &str) = ("Dockerfile", "FROM scratch\nCOPY a /\n");

/// A world that accepts and queues, and builds nothing.
async fn queueing_world() -> World {
    World::with_settings("concurrency = 0").await
}

/// One rule: every branch, under its own name as tag.
fn every_branch() -> Value {
    json!({ "rules": [{ "source_type": "branch", "source": "/.*/", "docker_tag": "{sourceref}" }] })
}

/// Commits files and pushes them to a branch; returns the commit.
async fn commit_to(app: &App, branch: &str, files: &[(&str, &str)]) -> String {
    let commit = app.source.push(files, branch).await;
    app.source
        .git(&["push", "--quiet", "origin", &format!("HEAD:{branch}")])
        .await;
    commit
}

#[tokio::test]
async fn a_newer_push_takes_the_place_of_an_older_one_that_waits() {
    let world = queueing_world().await;
    let app = world.app(json!({})).await;
    let older = world.push(&app, &[SCRATCH, ("a", "1")]).await;
    let newer = world.push(&app, &[("a", "2")]).await;
    let build = world.server.build(&older).await;
    assert_eq!(
        (&build["status"], &build["superseded_by"]),
        (&json!("superseded"), &json!(newer))
    );
    let log = world.server.log(&older).await;
    assert!(log.contains("superseded by build #2"), "{log}");
    let build = world.server.build(&newer).await;
    assert_eq!(
        (&build["status"], &build["queue_position"]),
        (&json!("queued"), &json!(1))
    );
}

#[tokio::test]
async fn many_pushes_to_one_branch_wait_as_one_build_of_the_last() {
    let world = queueing_world().await;
    let app = world.app(json!({})).await;
    let commits: Vec<String> = (1..=100).map(|number| format!("{number:040x}")).collect();
    for commit in &commits {
        app.announce("main", commit).await;
    }
    let builds = world.server.builds(&app.name).await;
    assert_eq!(builds.len(), commits.len(), "each is in the history");
    let queued: Vec<&Value> = builds.iter().filter(|build| build["status"] == "queued").collect();
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0]["commit"].as_str(), commits.last().map(String::as_str));
}

#[tokio::test]
async fn a_commit_that_is_queued_or_running_is_not_built_twice() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let dockerfile = world.dockerfile(&gate.step());
    let commit = app.source.push(&[("Dockerfile", &dockerfile)], "A change").await;
    let build = app.announce("main", &commit).await.remove(0);
    let repeat = async |message: &str| {
        let mut push = app.push_of("main", &commit);
        push.message = message;
        let (status, answer) = app.webhook.github(&push).await;
        assert_eq!((status, &answer["outcome"]), (202, &json!("duplicate")), "{answer:#}");
        assert_eq!(ids(&answer["builds"]), [build.as_str()], "{answer:#}");
        assert_ne!(answer["reason"], "");
    };
    // The same body under a new delivery id; then another body that tells of the same commit.
    repeat("A change").await;
    repeat("Before it runs, or already while").await;
    gate.reached_by(1).await;
    repeat("While it runs").await;
    gate.open().await;
    world.server.wait_for_success(&build, BUILD).await;
    assert_eq!(world.server.builds(&app.name).await.len(), 1);
    // Once it has ended, the commit may be built again.
    let mut push = app.push_of("main", &commit);
    push.message = "After its end";
    let (_, answer) = app.webhook.github(&push).await;
    assert_eq!(answer["outcome"], "queued", "{answer:#}");
}

#[tokio::test]
async fn an_older_build_never_overwrites_the_tag_of_a_newer_one() {
    let world = World::with_settings("concurrency = 2").await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let slow = world.dockerfile(&gate.step());
    let older = world.push(&app, &[("Dockerfile", &slow)]).await;
    gate.reached_by(1).await;
    let newer = world.build(&app, &[SCRATCH, ("a", "newer")]).await;
    gate.open().await;
    let older = world.server.wait_for_end(&older, "superseded", BUILD).await;
    assert_eq!(older["superseded_by"], newer["id"]);
    assert_eq!(older["digest"], Value::Null);
    assert_eq!(world.latest().await.as_deref(), newer["digest"].as_str());
    let log = world.server.log(older["id"].as_str().expect("an id")).await;
    assert!(log.contains("a newer build has it"), "{log}");
}

#[tokio::test]
async fn a_retry_builds_the_same_commit_or_what_the_branch_is_now() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let first = world.build(&app, &[SCRATCH, ("a", "1")]).await;
    let moved = app.source.push(&[("a", "2")], "Nobody told the service").await;
    let id = first["id"].as_str().expect("an id");

    let same = world.server.retry(id, "same").await;
    let same = world.server.wait_for_success(&same, BUILD).await;
    assert_eq!(same["commit"], first["commit"]);
    assert_eq!(same["cause"]["kind"], "retry");
    assert_eq!(same["digest"], first["digest"], "the same inputs make the same image");

    let refreshed = world.server.retry(id, "refresh").await;
    let refreshed = world.server.wait_for_success(&refreshed, BUILD).await;
    assert_eq!(refreshed["commit"], moved);
    assert_ne!(refreshed["digest"], first["digest"]);

    // By now the first commit is the older one.
    let same = world.server.retry(id, "same").await;
    world.server.wait_for_end(&same, "superseded", BUILD).await;
    assert_eq!(world.latest().await.as_deref(), refreshed["digest"].as_str());
}

#[tokio::test]
async fn a_queued_build_tells_its_place_and_what_it_waits_for() {
    let world = queueing_world().await;
    let app = world.app(every_branch()).await;
    let mut builds = Vec::new();
    for branch in ["main", "one", "two"] {
        let commit = commit_to(&app, branch, &[SCRATCH, ("a", branch)]).await;
        builds.extend(app.announce(branch, &commit).await);
    }
    for (place, id) in builds.iter().enumerate() {
        let build = world.server.build(id).await;
        assert_eq!(build["queue_position"], json!(place + 1), "{build:#}");
        let waiting_for = build["waiting_for"].as_str().unwrap_or_default();
        assert!(waiting_for.contains("worker"), "{build:#}");
    }
    world.server.cancel(&builds[0]).await;
    assert_eq!(world.server.build(&builds[2]).await["queue_position"], 2);
}

#[tokio::test]
async fn no_more_builds_run_at_once_than_are_allowed() {
    let world = World::with_settings("concurrency = 2").await;
    let app = world.app(every_branch()).await;
    let gates: [Gate; 3] = std::array::from_fn(|_| world.gate());
    let mut builds = Vec::new();
    for (branch, gate) in ["main", "one", "two"].into_iter().zip(&gates) {
        let dockerfile = world.dockerfile(&gate.step());
        let commit = commit_to(&app, branch, &[("Dockerfile", &dockerfile)]).await;
        builds.extend(app.announce(branch, &commit).await);
    }
    gates[0].reached_by(1).await;
    gates[1].reached_by(1).await;
    let third = world.server.build(&builds[2]).await;
    assert_eq!(
        (&third["status"], &third["queue_position"]),
        (&json!("queued"), &json!(1)),
        "{third:#}"
    );
    assert_ne!(third["waiting_for"].as_str().unwrap_or_default(), "", "{third:#}");
    gates[1].open().await;
    // It takes the place that became free, while the first one still runs.
    gates[2].reached_by(1).await;
    assert_eq!(gates[0].held(), 1);
    gates[0].open().await;
    gates[2].open().await;
    for build in &builds {
        world.server.wait_for_success(build, BUILD).await;
    }
}

#[tokio::test]
async fn a_build_that_brings_its_worker_down_each_time_is_set_aside() {
    let mut world = World::start().await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let dockerfile = world.dockerfile(&gate.step());
    let build = world.push(&app, &[("Dockerfile", &dockerfile)]).await;
    for attempt in 1..=5 {
        world
            .server
            .wait_for(&build, "the attempt", BUILD, |build| {
                build["attempt"] == attempt && build["phase"] == "build"
            })
            .await;
        world.server.kill9();
        world.server.restart().await;
    }
    let build = world.server.wait_for_end(&build, "failed", BUILD).await;
    assert_eq!(build["error"]["kind"], "internal");
    let message = build["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("set aside after 5 attempts"), "{message}");
    // Others are built.
    world.build(&app, &[SCRATCH, ("a", "a")]).await;
}

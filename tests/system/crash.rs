//! What was accepted survives every end of the process, and is done once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    faults::{Fault, FaultyProxy},
    git_server::Behaviour,
    postgres::Database,
    server::{Options, Server, WEBHOOK_SECRET, ids, refusal_to_start},
    wait,
    webhook::{Delivery, Push, Webhook},
    worker::Worker,
    world::{App, BUILD, World},
};

/// A build whose worker died runs again within this time.
const TAKEN_BACK: Duration = Duration::from_secs(60);

const SCRATCH: [(&str, &str); 2] = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "a")];

/// Connections that send webhooks at the same time.
const SENDERS: usize = 8;

/// Acknowledged webhooks after which the process is killed.
const ENOUGH: usize = 400;

/// A webhook that nobody else sends: its own branch and commit.
fn unique_delivery(webhook: &Webhook, sender: usize, number: usize) -> Delivery {
    let commit = format!("{sender:020x}{:020x}", number + 1);
    let branch = format!("branch-{sender}-{number}");
    let push = Push {
        full_name: "team/app",
        clone_url: "http://127.0.0.1:9/team/app.git",
        branch: &branch,
        commit: &commit,
        message: "A change",
    };
    webhook.github_event("push", push.github().to_string())
}

/// What a client saw of one delivery: the ids of its builds, if it was acknowledged.
type Seen = (Delivery, Option<Vec<String>>);

/// Sends webhooks until the service is gone.
async fn send_until_gone(
    webhook: Webhook,
    sender: usize,
    acknowledged: Arc<Mutex<usize>>,
    gone: Arc<AtomicBool>,
) -> Vec<Seen> {
    let client = Client::new();
    let mut sent = Vec::new();
    for number in 0.. {
        let delivery = unique_delivery(&webhook, sender, number);
        let answer = webhook.try_send(&client, &delivery).await;
        let builds = match answer {
            Ok((202, answer)) => {
                *acknowledged.lock().expect("no sender panics with this lock") += 1;
                Some(ids(&answer["builds"]))
            }
            Ok((503, _)) | Err(_) => None,
            Ok((status, answer)) => panic!("{status} {answer:#}"),
        };
        sent.push((delivery, builds));
        if gone.load(Ordering::Relaxed) {
            break;
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_webhook_that_was_acknowledged_survives_a_kill_and_none_is_built_twice() {
    kill_while_webhooks_come(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_webhook_that_was_acknowledged_survives_a_kill_on_postgresql_too() {
    let database = Database::create().await;
    kill_while_webhooks_come(Some(database.url())).await;
}

/// Kills the service while many webhooks come at once, and sends them all again after its restart.
async fn kill_while_webhooks_come(database_url: Option<String>) {
    let mut server = Server::start(Options {
        database_url,
        ..Options::with_settings("concurrency = 0")
    })
    .await;
    let document = json!({
        "image": "127.0.0.1:9/admin/app",
        "source": { "provider": "github", "url": "http://127.0.0.1:9/team/app.git" },
        "rules": [{ "source_type": "branch", "source": "/.*/", "docker_tag": "{sourceref}" }]
    });
    let webhook = server.put_repository("admin/app", document).await;

    let (acknowledged, gone) = (Arc::new(Mutex::new(0)), Arc::new(AtomicBool::new(false)));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(send_until_gone(
            webhook.clone(),
            sender,
            acknowledged.clone(),
            gone.clone(),
        ));
    }
    wait::until("enough acknowledged webhooks", Duration::from_secs(60), async || {
        (*acknowledged.lock().expect("no sender panics with this lock") >= ENOUGH).then_some(())
    })
    .await;
    server.kill9();
    gone.store(true, Ordering::Relaxed);
    let sent: Vec<Seen> = senders.join_all().await.into_iter().flatten().collect();
    server.restart().await;

    let ledger: BTreeMap<String, Vec<String>> = server
        .deliveries("admin/app")
        .await
        .iter()
        .map(|delivery| {
            let id = delivery["delivery_id"].as_str().expect("the forge's id");
            (id.to_owned(), ids(&delivery["builds"]))
        })
        .collect();
    let known: BTreeSet<String> = server
        .builds("admin/app")
        .await
        .iter()
        .map(|build| id_of(build).to_owned())
        .collect();
    for (delivery, builds) in &sent {
        let Some(builds) = builds else { continue };
        assert_eq!(
            ledger.get(delivery_id(delivery)),
            Some(builds),
            "an acknowledged delivery"
        );
        assert!(builds.len() == 1 && known.contains(&builds[0]), "its build");
    }

    // A forge that saw no answer sends again: what was recorded is known, what was not is built now.
    let client = Client::new();
    for (delivery, builds) in &sent {
        let (status, answer) = webhook.try_send(&client, delivery).await.expect("an answer");
        assert_eq!(status, 202, "{answer:#}");
        if let Some(builds) = builds {
            assert_eq!(
                (&answer["outcome"], &ids(&answer["builds"])),
                (&json!("duplicate"), builds)
            );
        }
    }
    let builds = server.builds("admin/app").await;
    let branches: BTreeSet<&str> = builds
        .iter()
        .filter_map(|build| build["source_name"].as_str())
        .collect();
    assert_eq!((builds.len(), branches.len()), (sent.len(), sent.len()));
}

fn id_of(build: &Value) -> &str {
    build["id"].as_str().expect("an id")
}

fn delivery_id(delivery: &Delivery) -> &str {
    delivery.headers["x-github-delivery"].to_str().expect("ASCII")
}

/// Kills the service while it works on a build, lets `go_on` remove what held the build up, and starts it again: the
/// build is done in a second attempt, and nothing is left of the first.
async fn kill_and_take_back(world: &mut World, build: &str, go_on: impl AsyncFnOnce(&World)) {
    world.server.kill9();
    go_on(world).await;
    world.server.restart().await;
    let done = world.server.wait_for_success(build, TAKEN_BACK).await;
    assert_eq!(done["attempt"], 2, "{done:#}");
    assert_eq!(world.latest().await.as_deref(), done["digest"].as_str());
    let log = world.server.log(build).await;
    assert!(log.contains("the worker died during attempt 1"), "{log}");
    wait::until("nothing to be left in the engine", BUILD, async || {
        world.engine.traces_of(build).await.is_empty().then_some(())
    })
    .await;
    wait::until("the log to be sealed", BUILD, async || {
        unfinished_files(&world.server.data()).is_empty().then_some(())
    })
    .await;
}

/// Files in mirrors and logs that somebody began to write and did not finish.
fn unfinished_files(data: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![data.join("mirrors"), data.join("logs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory of the service").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                directories.push(entry.path());
            } else if [".sealing-", "_git2_", "tmp"].iter().any(|word| name.contains(word)) {
                found.push(name);
            }
        }
    }
    found
}

#[tokio::test]
async fn a_build_whose_worker_was_killed_in_the_fetch_is_done_again() {
    let mut world = World::start().await;
    let app = world.app(json!({})).await;
    let commit = app.source.push(&SCRATCH, "A change").await;
    world.git.set(Behaviour::Stall);
    let build = app.announce("main", &commit).await.remove(0);
    world.wait_for_phase(&build, "fetch").await;
    kill_and_take_back(&mut world, &build, async |world| world.git.set(Behaviour::Serve)).await;
}

/// Kills the service in a step of the Dockerfile, under a builder that the settings choose.
async fn kill_in_a_step(settings: &str) {
    let mut world = World::with_settings(settings).await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    // Only the first attempt is held up: by then the mark is in the build cache of neither builder.
    let dockerfile = world.dockerfile(&gate.step());
    let build = world.push(&app, &[("Dockerfile", &dockerfile)]).await;
    gate.reached_by(1).await;
    let open = async |_: &World| {
        // The engine ends the step with the connection, so that it must be reached again.
        wait::until("the step to end with its client", BUILD, async || {
            (gate.held() == 0).then_some(())
        })
        .await;
    };
    let ((), ()) = tokio::join!(kill_and_take_back(&mut world, &build, open), async {
        // Not before the first attempt's step is gone.
        wait::until("the first attempt's end", BUILD, async || {
            (gate.held() == 0).then_some(())
        })
        .await;
        gate.reached_by(1).await;
        gate.open().await;
    });
}

#[tokio::test]
async fn a_build_whose_worker_was_killed_in_a_step_is_done_again() {
    kill_in_a_step("builder = \"buildkit\"").await;
}

#[tokio::test]
async fn a_build_whose_worker_was_killed_in_a_step_of_the_classic_builder_is_done_again() {
    kill_in_a_step("builder = \"classic\"").await;
}

#[tokio::test]
async fn a_build_whose_worker_was_killed_in_the_push_is_done_again() {
    let mut world = World::start().await;
    let proxy = FaultyProxy::before(world.registry.host()).await;
    world.clean_up_after(proxy.host());
    let app = world
        .app(json!({ "image": format!("{}/admin/app", proxy.host()) }))
        .await;
    proxy.set(Fault::Stall);
    let build = world.push(&app, &SCRATCH).await;
    wait::until("the push to hang", BUILD, async || (proxy.failed() > 0).then_some(())).await;
    kill_and_take_back(&mut world, &build, async |_| proxy.set(Fault::None)).await;
}

#[tokio::test]
async fn a_shutdown_waits_for_a_build_that_ends_soon() {
    let mut world = World::start().await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let dockerfile = world.dockerfile(&gate.step());
    let build = world.push(&app, &[("Dockerfile", &dockerfile)]).await;
    gate.reached_by(1).await;
    world.server.signal("TERM").await;
    wait::until("the shutdown to begin", BUILD, async || {
        world
            .server
            .process_log()
            .contains("waiting for running builds")
            .then_some(())
    })
    .await;
    gate.open().await;
    assert!(world.server.exit().await.success());
    assert_eq!(gate.held(), 0);
    let pushed = world.latest().await;
    assert!(pushed.is_some(), "the image was pushed before the end");
    world.server.restart().await;
    let done = world.server.build(&build).await;
    assert_eq!((&done["status"], &done["attempt"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(done["digest"].as_str(), pushed.as_deref());
}

#[tokio::test]
async fn a_shutdown_gives_a_long_build_back_and_the_next_start_does_it() {
    let mut world = World::with_settings("drain_seconds = 1").await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let dockerfile = world.dockerfile(&gate.step());
    let build = world.push(&app, &[("Dockerfile", &dockerfile)]).await;
    gate.reached_by(1).await;
    assert!(world.server.sigterm().await.success());
    wait::until("the step to end", BUILD, async || (gate.held() == 0).then_some(())).await;
    assert_eq!(world.engine.traces_of(&build).await, "");
    world.server.restart().await;
    gate.reached_by(1).await;
    gate.open().await;
    let done = world.server.wait_for_success(&build, BUILD).await;
    // A shutdown is nobody's fault: it costs no attempt.
    assert_eq!(done["attempt"], 1, "{done:#}");
    let log = world.server.log(&build).await;
    assert!(log.contains("back to the queue: the worker was shut down"), "{log}");
}

/// How long a shutdown may take beyond the time that builds are given.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// Asks the service to end while a build cannot go on, and lets the next start do it.
async fn shut_down_and_go_on(world: &mut World, build: &str, go_on: impl AsyncFnOnce(&World)) {
    // A viewer who has seen the log so far, and waits.
    let mut viewer = world.server.log_events(build, None).await;
    assert!(viewer.next().await.is_some());
    let ended = tokio::time::timeout(SHUTDOWN, world.server.sigterm()).await;
    assert!(ended.expect("an end in time").success());
    while let Some(event) = viewer.next().await {
        assert_ne!(event.name, "end", "the build goes on, so its log has not ended");
    }
    go_on(world).await;
    world.server.restart().await;
    let done = world.server.wait_for_success(build, BUILD).await;
    assert_eq!(done["attempt"], 1, "{done:#}");
    assert_eq!(world.latest().await.as_deref(), done["digest"].as_str());
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_git_server_that_does_not_answer() {
    let mut world = World::with_settings("drain_seconds = 1").await;
    let app = world.app(json!({})).await;
    let commit = app.source.push(&SCRATCH, "A change").await;
    world.git.set(Behaviour::Stall);
    let build = app.announce("main", &commit).await.remove(0);
    world.wait_for_phase(&build, "fetch").await;
    shut_down_and_go_on(&mut world, &build, async |world| world.git.set(Behaviour::Serve)).await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_registry_that_does_not_answer() {
    let mut world = World::with_settings("drain_seconds = 1").await;
    let proxy = FaultyProxy::before(world.registry.host()).await;
    world.clean_up_after(proxy.host());
    let app = world
        .app(json!({ "image": format!("{}/admin/app", proxy.host()) }))
        .await;
    proxy.set(Fault::Stall);
    let build = world.push(&app, &SCRATCH).await;
    wait::until("the push to hang", BUILD, async || (proxy.failed() > 0).then_some(())).await;
    shut_down_and_go_on(&mut world, &build, async |_| proxy.set(Fault::None)).await;
}

#[tokio::test]
async fn a_second_signal_ends_the_service_at_once_and_the_build_is_taken_back() {
    let mut world = World::with_settings("drain_seconds = 600").await;
    let app = world.app(json!({})).await;
    let gate = world.gate();
    let dockerfile = world.dockerfile(&gate.step());
    let build = world.push(&app, &[("Dockerfile", &dockerfile)]).await;
    gate.reached_by(1).await;
    world.server.signal("TERM").await;
    wait::until("the shutdown to begin", BUILD, async || {
        world
            .server
            .process_log()
            .contains("waiting for running builds")
            .then_some(())
    })
    .await;
    let ended = tokio::time::timeout(SHUTDOWN, world.server.sigterm()).await;
    assert_eq!(ended.expect("an end in time").code(), Some(1));
    wait::until("the step to end with its client", BUILD, async || {
        (gate.held() == 0).then_some(())
    })
    .await;
    world.server.restart().await;
    gate.reached_by(1).await;
    gate.open().await;
    world.server.wait_for_success(&build, BUILD).await;
}

/// Pushes a branch other than `main` and waits for its build to succeed.
async fn build_branch(world: &World, app: &App, branch: &str) {
    let commit = app.source.push(&SCRATCH, branch).await;
    app.source
        .git(&["push", "--quiet", "origin", &format!("HEAD:{branch}")])
        .await;
    for build in app.announce(branch, &commit).await {
        world.server.wait_for_success(&build, TAKEN_BACK).await;
    }
}

#[tokio::test]
async fn a_worker_that_was_stopped_for_longer_than_its_lease_changes_nothing_afterwards() {
    let database = Database::create().await;
    let world = World::with(Options {
        database_url: Some(database.url()),
        ..Options::with_settings("concurrency = 0")
    })
    .await;
    let rule = |source: &str, tag: &str| json!({ "source_type": "branch", "source": source, "docker_tag": tag });
    let rules = json!([rule("main", "latest"), rule("/^probe/", "probe")]);
    let app = world.app(json!({ "rules": rules })).await;
    let gate = world.gate();
    let stale = Worker::start(&world.server);
    let dockerfile = world.dockerfile(&gate.step());
    let build = world.push(&app, &[("Dockerfile", &dockerfile)]).await;
    gate.reached_by(1).await;

    stale.signal("STOP").await;
    let fresh = Worker::start(&world.server);
    let newer = world
        .build(&app, &[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "newer")])
        .await;
    // The lease runs out, and the other worker takes the build. BuildKit sees two that want the same, and runs it once.
    world
        .server
        .wait_for(&build, "the second attempt", TAKEN_BACK, |build| {
            build["attempt"] == 2 && build["phase"] == "build"
        })
        .await;
    gate.open().await;
    stale.signal("CONT").await;
    let done = world.server.wait_for_end(&build, "superseded", BUILD).await;
    assert_eq!(
        (&done["attempt"], &done["superseded_by"]),
        (&json!(2), &newer["id"]),
        "{done:#}"
    );

    // Alone again, it is done with the old build before it takes another.
    drop(fresh);
    build_branch(&world, &app, "probe").await;
    assert_eq!(world.latest().await.as_deref(), newer["digest"].as_str());
    assert_eq!(world.server.build(&build).await, done);
    let log = world.server.log(&build).await;
    assert_eq!(log.matches("\nbuilt sha256:").count(), 1, "{log}");
    assert_eq!(world.engine.traces_of(&build).await, "");
    drop((stale, world));
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused() {
    let server = Server::start(Options::with_settings("concurrency = 0")).await;
    let (code, said) = refusal_to_start(&server.data(), &[]).await;
    assert_eq!(code, 1, "{said}");
    let data = server.data();
    assert!(
        said.contains(data.to_str().expect("a temporary path is UTF-8")),
        "{said}"
    );
    assert_eq!(
        server.list("/builds").await,
        Vec::<Value>::new(),
        "the first one goes on"
    );
}

/// Writes a file that its owner alone may read, as the key has to be.
fn write_private(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
}

#[tokio::test]
async fn without_its_key_the_service_refuses_to_start_and_leaves_the_data_alone() {
    let mut server = Server::start(Options::with_settings("concurrency = 0")).await;
    let document = json!({
        "image": "127.0.0.1:9/admin/app",
        "source": { "provider": "github", "url": "http://127.0.0.1:9/team/app.git" },
        "rules": [{ "source_type": "branch", "source": "main" }]
    });
    server.put_repository("admin/app", document.clone()).await;
    assert!(server.sigterm().await.success());
    let key_file = server.data().join("master.key");
    let key = fs::read(&key_file).expect("a key file");
    let other = Server::start(Options::with_settings("concurrency = 0")).await;
    let other_key = fs::read(other.data().join("master.key")).expect("a key file");
    for (what, content) in [
        ("missing", None),
        ("short", Some(&key[..key.len() / 2])),
        ("empty", Some(&[][..])),
        ("another's", Some(&other_key[..])),
    ] {
        match content {
            Some(content) => write_private(&key_file, content),
            None => fs::remove_file(&key_file).expect("a file"),
        }
        let (code, said) = refusal_to_start(&server.data(), &[]).await;
        assert_eq!(code, 1, "{what}: {said}");
        assert!(said.contains("master.key"), "{what}: {said}");
        match content {
            Some(content) => assert_eq!(fs::read(&key_file).expect("a file"), content, "{what}"),
            None => assert!(!key_file.exists(), "a new key would hide that the old one is gone"),
        }
    }
    write_private(&key_file, &key);
    server.restart().await;
    let webhook = server.put_repository("admin/app", document).await;
    assert_eq!(webhook.secret, WEBHOOK_SECRET);
    let (status, answer) = webhook.send(&unique_delivery(&webhook, 0, 0)).await;
    assert_eq!(status, 202, "{answer:#}");
}

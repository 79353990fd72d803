//! Looks at sources: what no webhook told of is built, once, and what of it is told.

use std::time::Duration;

use chrono::TimeDelta;
use hullworks::domain::build::Ending;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{App, HOOK_SECRET, Setup, payload},
    git_server::{Behaviour, GitServer, Repository},
};

const PATH: &str = "/api/v1/repositories/ann/app";

/// The service, a git server, and the repository `ann/app` whose source is there.
struct World {
    app: App,
    git: GitServer,
    source: Repository,
    saved: Value,
}

impl World {
    /// The first look has seen `main` at a commit, and `v1`.
    async fn seen() -> Self {
        let world = Self::start().await;
        world.source.push(&[("a", "1")], "first").await;
        world.source.git(&["tag", "v1"]).await;
        world.source.git(&["push", "--quiet", "origin", "v1"]).await;
        world.look().await;
        world
    }

    async fn start() -> Self {
        let git = GitServer::start().await;
        let app = App::start_with(Setup {
            allow_local_sources: true,
            ..Setup::default()
        })
        .await;
        let source = git.create("acme/app").await;
        let (status, saved) = app.put(PATH, document(&source.url)).await;
        assert_eq!(status, 201, "{saved:#}");
        Self {
            app,
            git,
            source,
            saved,
        }
    }

    /// Looks at what is due now.
    async fn look(&self) {
        self.app.poller.look_at_due(&CancellationToken::new()).await.unwrap();
    }

    /// Lets so much time go by that the source is due, and looks.
    async fn look_later(&self) {
        self.app.pass(TimeDelta::hours(2));
        self.look().await;
    }

    async fn items(&self, list: &str) -> Vec<Value> {
        let (status, page) = self.app.get(&format!("{PATH}/{list}")).await;
        assert_eq!(status, 200, "{page:#}");
        page["items"].as_array().unwrap().clone()
    }

    async fn watching(&self) -> Value {
        let (status, watching) = self.app.get(&format!("{PATH}/poll")).await;
        assert_eq!(status, 200, "{watching:#}");
        watching
    }

    /// GitHub's word of a push.
    async fn webhook(&self, delivery: &str, full_ref: &str, commit: &str, message: &str) -> Value {
        let mut payload = payload(full_ref, commit, message);
        payload["repository"]["clone_url"] = json!(self.source.url);
        let (status, answer) = self.app.push(&self.saved, delivery, &payload).await;
        assert_eq!(status, 202, "{answer:#}");
        answer
    }
}

fn document(url: &str) -> Value {
    json!({
        "source": { "provider": "github", "url": url, "webhook_secret": HOOK_SECRET },
        "rules": [
            { "source_type": "branch", "source": "main", "docker_tag": "latest" },
            { "source_type": "tag", "source": "/^v([0-9.]+)$/", "docker_tag": "{\\1}" },
        ],
    })
}

#[tokio::test]
async fn the_first_look_builds_nothing_and_later_ones_what_no_webhook_told_of() {
    let world = World::seen().await;
    world.look_later().await;
    assert!(world.items("builds").await.is_empty());
    assert!(
        world.items("deliveries").await.is_empty(),
        "a look that finds nothing leaves no entry"
    );

    let commit = world.source.push(&[("a", "2")], "second").await;
    // An annotated tag: what is built is its commit.
    world.source.git(&["tag", "--annotate", "--message", "two", "v2"]).await;
    world
        .source
        .git(&["push", "--quiet", "origin", "v2", ":v1", "HEAD:other"])
        .await;
    world.look_later().await;
    world.look_later().await;
    let builds = world.items("builds").await;
    let built: Vec<_> = builds
        .iter()
        .map(|build| {
            (
                build["source_name"].as_str().unwrap(),
                build["commit"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(built, [("v2", commit.as_str()), ("main", commit.as_str())]);
    assert_eq!(builds[0]["cause"], json!({ "kind": "poll" }));
    let deliveries = world.items("deliveries").await;
    assert_eq!(deliveries.len(), 1);
    for (field, expected) in [
        ("provider", json!("poll")),
        ("event", json!("poll")),
        ("outcome", json!("queued")),
        (
            "reason",
            json!("build #1 of main; build #2 of v2; no webhook told of main, v2"),
        ),
        ("builds", json!([builds[1]["id"], builds[0]["id"]])),
    ] {
        assert_eq!(deliveries[0][field], expected, "{field}");
    }
    let (_, of_cause) = world.app.get("/api/v1/builds?cause=poll").await;
    assert_eq!(of_cause["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_a_webhook_told_of_is_not_built_again_whatever_was_made_of_it() {
    let world = World::seen().await;
    let built = world.source.push(&[("a", "2")], "second").await;
    world.webhook("d1", "refs/heads/main", &built, "second").await;
    world.look_later().await;
    let ended = world.app.claim().await.lease;
    world.app.finish(&ended, Ending::Canceled).await;

    let skipped = world.source.push(&[("a", "3")], "third [skip ci]").await;
    let answer = world
        .webhook("d2", "refs/heads/main", &skipped, "third [skip ci]")
        .await;
    assert_eq!(answer["outcome"], "skipped");
    world.look_later().await;
    assert_eq!(world.items("builds").await.len(), 1);
    assert_eq!(world.items("deliveries").await.len(), 2);
}

#[tokio::test]
async fn a_forced_push_is_a_change_and_a_webhook_that_comes_late_is_a_duplicate() {
    let world = World::seen().await;
    world
        .source
        .git(&["commit", "--quiet", "--amend", "--message", "amended"])
        .await;
    world
        .source
        .git(&["push", "--quiet", "--force", "origin", "HEAD:main"])
        .await;
    let commit = world.source.git(&["rev-parse", "HEAD"]).await;
    world.look_later().await;
    let builds = world.items("builds").await;
    assert_eq!(builds.len(), 1);
    let lease = world.app.claim().await.lease;
    world.app.finish(&lease, Ending::Canceled).await;

    let answer = world.webhook("d1", "refs/heads/main", &commit, "amended").await;
    assert_eq!(
        (&answer["outcome"], &answer["builds"][0]),
        (&json!("duplicate"), &builds[0]["id"])
    );
    assert_eq!(world.items("builds").await.len(), 1);
}

#[tokio::test]
async fn a_rule_that_is_new_builds_no_old_refs_and_one_without_autobuild_none() {
    let world = World::seen().await;
    world.source.git(&["push", "--quiet", "origin", "HEAD:old"]).await;
    let mut more = document(&world.source.url);
    more["rules"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "source_type": "branch", "source": "/^(old|off)$/", "docker_tag": "{\\1}" }));
    world.app.put(PATH, more.clone()).await;
    world.look_later().await;
    assert!(world.items("builds").await.is_empty());
    let commit = world.source.push(&[("a", "2")], "second").await;
    world.source.git(&["push", "--quiet", "origin", "HEAD:old"]).await;
    more["rules"][0]["autobuild"] = json!(false);
    world.app.put(PATH, more).await;
    world.look_later().await;
    let builds = world.items("builds").await;
    assert_eq!(builds.len(), 1, "{builds:#?}");
    assert_eq!(
        (&builds[0]["source_name"], &builds[0]["commit"]),
        (&json!("old"), &json!(commit))
    );
}

#[tokio::test]
async fn a_server_that_is_down_is_one_problem_is_asked_ever_less_and_what_it_missed_is_found() {
    let world = World::seen().await;
    let commit = world.source.push(&[("a", "2")], "second").await;
    world.git.set(Behaviour::Fail);
    world.look_later().await;
    let down = world.watching().await;
    assert!(
        down["problem"]
            .as_str()
            .unwrap()
            .contains("the git server answered 503"),
        "{down:#}"
    );
    // Half a minute is always within the pause.
    world.app.pass(TimeDelta::seconds(20));
    world.app.post(&format!("{PATH}/poll"), Value::Null).await;
    world.look().await;
    assert_eq!(
        world.watching().await["last_look_at"],
        down["last_look_at"],
        "it is left alone"
    );
    for _ in 0..6 {
        world.app.pass(TimeDelta::minutes(10));
        world.look().await;
    }
    assert!(world.items("deliveries").await.is_empty());

    world.git.set(Behaviour::Serve);
    world.look_later().await;
    let builds = world.items("builds").await;
    assert_eq!((builds.len(), &builds[0]["commit"]), (1, &json!(commit)));
    assert_eq!(world.watching().await.get("problem"), None);
}

#[tokio::test]
async fn a_source_without_a_webhook_is_looked_at_often_and_its_page_says_so_to_whom_it_concerns() {
    let world = World::start().await;
    assert_eq!(world.watching().await["last_look_at"], Value::Null);
    world.source.push(&[("a", "1")], "first").await;
    world.look().await;
    let watching = world.watching().await;
    assert_eq!(
        (
            &watching["by_webhook"],
            &watching["is_looked_at"],
            &watching["every_seconds"]
        ),
        (&json!(false), &json!(true), &json!(120))
    );
    let second = world.source.push(&[("a", "2")], "second").await;
    world.app.pass(TimeDelta::seconds(100));
    world.look().await;
    assert!(world.items("builds").await.is_empty());
    world.app.pass(TimeDelta::seconds(21));
    world.look().await;
    assert_eq!(world.items("builds").await[0]["commit"], json!(second));

    let browser = world.app.browser("ann").await;
    let page = browser.get("/r/ann/app").await.text;
    assert!(page.contains("looked at every 2 minutes: no webhook has come lately") && page.contains("Look now"));
    let third = world.source.push(&[("a", "3")], "third").await;
    world.webhook("d1", "refs/heads/main", &third, "third").await;
    let page = browser.get("/r/ann/app").await.text;
    assert!(page.contains("by webhook, and looked at hourly"));
    assert_eq!(world.watching().await["every_seconds"], json!(3600));
}

#[tokio::test]
async fn a_look_that_is_asked_for_is_due_at_once() {
    let world = World::seen().await;
    let commit = world.source.push(&[("a", "2")], "second").await;
    world.look().await;
    assert!(world.items("builds").await.is_empty());
    let (status, watching) = world
        .app
        .call(&world.app.ann, Method::POST, &format!("{PATH}/poll"), None)
        .await;
    assert_eq!((status, &watching["is_looked_at"]), (202, &json!(true)));
    world.look().await;
    assert_eq!(world.items("builds").await[0]["commit"], json!(commit));
}

#[tokio::test]
async fn a_start_has_every_source_looked_at_within_minutes() {
    let world = World::seen().await;
    let commit = world.source.push(&[("a", "2")], "second").await;
    // Its webhooks come, so the next look is an hour away.
    world
        .webhook("d1", "refs/heads/gone", &commit, "nobody builds this")
        .await;
    world.app.pass(TimeDelta::seconds(121));
    world.look().await;
    world.source.push(&[("a", "3")], "third").await;
    world.app.pass(TimeDelta::minutes(5));
    world.look().await;
    assert_eq!(world.items("builds").await.len(), 1);
    world.app.poller.begin().await.unwrap();
    world.app.pass(TimeDelta::minutes(3));
    world.look().await;
    assert_eq!(world.items("builds").await.len(), 2);
}

#[tokio::test]
async fn a_server_that_says_nothing_holds_up_no_other_for_long() {
    let world = World::seen().await;
    world.git.set(Behaviour::Stall);
    world.app.pass(TimeDelta::hours(2));
    tokio::time::timeout(Duration::from_secs(30), world.look())
        .await
        .unwrap();
    let watching = world.watching().await;
    assert!(
        watching["problem"].as_str().unwrap().contains("said nothing"),
        "{watching:#}"
    );
}

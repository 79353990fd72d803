//! Path filters: what a push changed decides what is built of it.

use serde_json::{Value, json};

use crate::support::{
    server::ids,
    webhook::NO_COMMIT,
    world::{App, BUILD, World},
};

/// Two images out of one repository, each of its own directory.
fn two_directories() -> Value {
    let rule = |name: &str| {
        json!({
            "source_type": "branch", "source": "main", "docker_tag": name, "context": format!("/{name}"),
            "paths": [format!("{name}/"), "!*.md"]
        })
    };
    json!({ "rules": [rule("api"), rule("web")] })
}

const DOCKERFILE: &str = "FROM scratch\nCOPY main /\n";

/// Tells the service, as GitHub does, that a branch was moved, and returns the ids of the builds that it queued.
async fn announce(app: &App, branch: &str, before: &str, commit: &str) -> Vec<String> {
    let mut push = app.push_of(branch, commit).github();
    push["before"] = json!(before);
    let (status, answer) = app
        .webhook
        .send(&app.webhook.github_event("push", push.to_string()))
        .await;
    assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");
    ids(&answer["builds"])
}

/// The build is skipped; returns why.
async fn skipped(world: &World, id: &str) -> String {
    let build = world.server.wait_for_end(id, "skipped", BUILD).await;
    assert_eq!((&build["error"], &build["digest"]), (&Value::Null, &Value::Null));
    build["status_reason"].as_str().expect("a reason").to_owned()
}

/// The build succeeds; returns what made it build.
async fn built(world: &World, id: &str) -> String {
    let build = world.server.wait_for_success(id, BUILD).await;
    build["status_reason"].as_str().expect("a reason").to_owned()
}

#[tokio::test]
async fn a_push_builds_what_it_changed_and_nothing_else() {
    let world = World::start().await;
    let app = world.app(two_directories()).await;
    let first = [
        ("api/Dockerfile", DOCKERFILE),
        ("api/main", "1"),
        ("web/Dockerfile", DOCKERFILE),
        ("web/main", "1"),
        ("docs/a.md", "1"),
    ];
    let first = app.source.push(&first, "first").await;
    for id in announce(&app, "main", NO_COMMIT, &first).await {
        let reason = built(&world, &id).await;
        assert!(reason.contains("it is the default branch"), "{reason}");
    }
    let digests = async || {
        (
            world.registry.digest("admin/app", "api").await,
            world.registry.digest("admin/app", "web").await,
        )
    };
    let before = digests().await;

    let docs = app
        .source
        .push(&[("docs/a.md", "2"), ("api/README.md", "2")], "docs")
        .await;
    for id in announce(&app, "main", &first, &docs).await {
        let reason = skipped(&world, &id).await;
        assert!(
            reason.starts_with("none of the 2 files changed since build #")
                && reason.ends_with("matches the path filter"),
            "{reason}"
        );
        let log = world.server.log(&id).await;
        assert!(
            log.contains(&format!("paths: {reason}\n")) && log.contains("skipped: "),
            "{log}"
        );
        let page = reqwest::get(format!("{}/builds/{id}", world.server.url()))
            .await
            .expect("an answer");
        let page = page.text().await.expect("a page");
        assert!(page.contains(&format!("Skipped: {reason}")), "{page}");
    }
    assert_eq!(digests().await, before);

    let api = app.source.push(&[("api/main", "2")], "api").await;
    let ids = announce(&app, "main", &docs, &api).await;
    let reason = built(&world, &ids[0]).await;
    assert_eq!(reason, "`api/main` was changed since build #1");
    let log = world.server.log(&ids[0]).await;
    assert!(
        log.contains("paths: `api/main` was changed since build #1; it is built"),
        "{log}"
    );
    skipped(&world, &ids[1]).await;
    let after = digests().await;
    assert!(after.0 != before.0 && after.1 == before.1, "{before:?} {after:?}");

    let entry = world.server.deliveries(&app.name).await.remove(0);
    let reason = entry["reason"].as_str().expect("a reason");
    assert_eq!(entry["outcome"], "queued");
    for told in ["build #5 built: `api/main` was changed", "build #6 skipped: "] {
        assert!(reason.contains(told), "{reason}");
    }

    // Whoever asks gets what they ask for.
    for id in world.server.trigger(&app.name, json!({})).await {
        let build = world.server.wait_for_success(&id, BUILD).await;
        assert_eq!(build["status_reason"], Value::Null);
    }
    let retried = world.server.retry(&ids[1], "same").await;
    world.server.wait_for_end(&retried, "superseded", BUILD).await;
}

#[tokio::test]
async fn pushes_that_wait_as_one_build_lose_no_change() {
    let world = World::with_settings("concurrency = 1").await;
    let app = world.app(two_directories()).await;
    let files = [
        ("api/Dockerfile", DOCKERFILE),
        ("api/main", "1"),
        ("web/Dockerfile", DOCKERFILE),
        ("web/main", "1"),
    ];
    let first = app.source.push(&files, "first").await;
    let other = world.app_named("other", json!({})).await;
    let gate = world.gate();
    let slow = world
        .push(&other, &[("Dockerfile", &world.dockerfile(&gate.step()))])
        .await;
    gate.reached_by(1).await;
    // Nothing of it was built yet: what counts is what the branch was before the first of them.
    let api = app.source.push(&[("api/main", "2")], "api").await;
    announce(&app, "main", &first, &api).await;
    let docs = app.source.push(&[("docs/a.md", "2")], "docs").await;
    let ids = announce(&app, "main", &api, &docs).await;
    gate.open().await;
    world.server.wait_for_success(&slow, BUILD).await;
    let reason = built(&world, &ids[0]).await;
    assert_eq!(reason, format!("`api/main` was changed since {}", &first[..7]));
    let reason = skipped(&world, &ids[1]).await;
    assert_eq!(
        reason,
        format!(
            "none of the 2 files changed since {} matches the path filter",
            &first[..7]
        )
    );
}

#[tokio::test]
async fn what_failed_is_built_with_the_next_push_whatever_it_changes() {
    let world = World::start().await;
    let app = world.app(two_directories()).await;
    let files = [
        ("api/Dockerfile", DOCKERFILE),
        ("web/Dockerfile", DOCKERFILE),
        ("web/main", "1"),
    ];
    let broken = app.source.push(&files, "without its file").await;
    let ids = announce(&app, "main", NO_COMMIT, &broken).await;
    world.server.wait_for_end(&ids[0], "failed", BUILD).await;
    built(&world, &ids[1]).await;
    let docs = app.source.push(&[("docs/a.md", "1")], "docs").await;
    let ids = announce(&app, "main", &broken, &docs).await;
    let failed = world.server.wait_for_end(&ids[0], "failed", BUILD).await;
    assert_eq!(
        failed["status_reason"],
        "build #1, which came before, has not succeeded"
    );
    skipped(&world, &ids[1]).await;

    let mended = app.source.push(&[("api/main", "1")], "mended").await;
    let ids = announce(&app, "main", &docs, &mended).await;
    built(&world, &ids[0]).await;
    // This push was never told of: the next one is compared with what was built.
    let untold = app.source.push(&[("web/main", "2")], "untold").await;
    let docs = app.source.push(&[("docs/a.md", "2")], "docs").await;
    let ids = announce(&app, "main", &untold, &docs).await;
    skipped(&world, &ids[0]).await;
    assert_eq!(built(&world, &ids[1]).await, "`web/main` was changed since build #2");
}

#[tokio::test]
async fn a_changed_rule_and_a_commit_that_is_gone_build_in_any_case() {
    let world = World::start().await;
    let mut document = json!({ "rules": [{
        "source_type": "branch", "source": "main", "docker_tag": "latest", "paths": ["!docs/"]
    }] });
    let app = world.app(document.clone()).await;
    let first = app
        .source
        .push(&[("Dockerfile", DOCKERFILE), ("main", "1")], "first")
        .await;
    built(&world, &announce(&app, "main", NO_COMMIT, &first).await[0]).await;

    document["image"] = json!(app.image);
    document["source"] = json!({ "provider": "github", "url": app.source.url });
    document["rules"][0]["build_args"] = json!({ "MODE": "fast" });
    world.server.put_repository(&app.name, document).await;
    let docs = app.source.push(&[("docs/a.md", "1")], "docs").await;
    let reason = built(&world, &announce(&app, "main", &first, &docs).await[0]).await;
    assert_eq!(reason, "the rule was changed since build #1");

    // Of a branch that nothing was built of yet, and whose forge names a commit that nobody has.
    let gone = "5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689";
    let other = world
        .app_named(
            "other",
            json!({ "rules": [{
        "source_type": "branch", "source": "main", "docker_tag": "latest", "paths": ["api/"]
    }] }),
        )
        .await;
    let commit = other
        .source
        .push(&[("Dockerfile", DOCKERFILE), ("main", "1")], "first")
        .await;
    let reason = built(&world, &announce(&other, "main", gone, &commit).await[0]).await;
    assert!(
        reason.contains("cannot be told: commit 5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689 is no longer"),
        "{reason}"
    );
}

#[tokio::test]
async fn the_first_push_of_a_branch_builds_what_it_changed_since_it_left_the_default_branch() {
    let world = World::start().await;
    let app = world
        .app(json!({ "rules": [{
            "source_type": "branch", "source": "/^feature-/", "docker_tag": "{sourceref}", "paths": ["/main"]
        }] }))
        .await;
    app.source
        .push(&[("Dockerfile", DOCKERFILE), ("main", "1")], "first")
        .await;
    let branch = async |name: &str, file: (&str, &str)| {
        app.source
            .git(&["checkout", "--quiet", "-B", name, "origin/main"])
            .await;
        std::fs::write(app.source.path().join(file.0), file.1).expect("a file");
        app.source.git(&["add", "--all"]).await;
        app.source.git(&["commit", "--quiet", "--message", name]).await;
        app.source
            .git(&["push", "--quiet", "origin", &format!("HEAD:{name}")])
            .await;
        let commit = app.source.git(&["rev-parse", "HEAD"]).await;
        announce(&app, name, NO_COMMIT, &commit).await.remove(0)
    };
    let docs = branch("feature-docs", ("README.md", "words")).await;
    assert_eq!(
        skipped(&world, &docs).await,
        "the one file changed since it left the default branch does not match the path filter"
    );
    let code = branch("feature-code", ("main", "2")).await;
    assert_eq!(
        built(&world, &code).await,
        "`main` was changed since it left the default branch"
    );
    assert_eq!(world.registry.digest("admin/app", "feature-docs").await, None);
}

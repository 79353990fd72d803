//! What a Dockerfile is built with.

use serde_json::{Value, json};

use crate::support::world::{BUILD, World};

#[tokio::test]
async fn arguments_and_the_wanted_stage_reach_the_dockerfile() {
    let world = World::start().await;
    let app = world
        .app(json!({ "rules": [{
            "source_type": "branch", "source": "main", "docker_tag": "latest,extra",
            "target": "wanted", "build_args": { "GREETING": "hello  world" }
        }] }))
        .await;
    let dockerfile = format!(
        "FROM {base} AS wanted\n\
         ARG GREETING\nARG SOURCE_BRANCH\nARG SOURCE_COMMIT\nARG DOCKER_REPO\nARG DOCKER_TAG\nARG SOURCE_DATE_EPOCH\n\
         RUN echo \"$GREETING|$SOURCE_BRANCH|$SOURCE_COMMIT|$DOCKER_REPO|$DOCKER_TAG|$SOURCE_DATE_EPOCH\" >/arguments\n\
         CMD [\"cat\", \"/arguments\"]\n\
         FROM {base}\nRUN exit 1\n",
        base = world.base
    );
    let build = world.build(&app, &[("Dockerfile", &dockerfile)]).await;
    let commit = build["commit"].as_str().expect("a commit");
    let committed = app.source.git(&["log", "-1", "--format=%ct"]).await;
    let expected = format!("hello  world|main|{commit}|{}|latest,extra|{committed}", app.image);
    assert_eq!(world.run(&app, "latest", &[]).await, expected);
}

#[tokio::test]
async fn an_image_says_where_it_came_from() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let build = world
        .build(&app, &[("Dockerfile", &world.dockerfile("CMD [\"true\"]"))])
        .await;
    let image = format!("{}:latest", app.image);
    world.engine.pull(&image).await;
    let labels = &world.engine.inspect(&image).await["Config"]["Labels"];
    let label = |key: &str| labels[format!("org.opencontainers.image.{key}")].clone();
    assert_eq!(label("revision"), build["commit"]);
    assert_eq!(label("source"), json!(app.source.url));
    assert_eq!(label("version"), json!("latest"));
    assert_eq!(
        (label("base.name"), label("base.digest")),
        (json!(world.base), Value::Null)
    );
    let committed = app.source.git(&["log", "-1", "--format=%ct"]).await;
    let created = label("created").as_str().expect("a time").to_owned();
    let created = chrono::DateTime::parse_from_rfc3339(&created).expect("a time of RFC 3339");
    assert_eq!(created.timestamp().to_string(), committed);
}

/// A build tells what it stood on, and a retry stands on it again although the tag has moved, under a builder that the
/// settings choose.
async fn a_retry_stands_on_the_same_base(settings: &str) {
    let world = World::with_settings(settings).await;
    let app = world.app(json!({})).await;
    let dockerfile = format!(
        "ARG BASE={base}\nFROM $BASE AS tools\nFROM scratch AS unused\nFROM ${{BASE:-none}}\nCOPY --from={base} /bin/busybox /copied\n\
         CMD [\"true\"]\n",
        base = world.base
    );
    let digest = async || world.registry.digest("base/busybox", "1").await;
    let bases = |digest: Option<String>| json!([{ "name": world.base, "digest": digest, "pinned": false }]);
    let before = digest().await;
    let first = world.build(&app, &[("Dockerfile", &dockerfile)]).await;
    assert_eq!(first["base_images"], bases(before.clone()), "{first:#}");
    world.engine.import_busybox(&world.base, "moved").await;
    world.engine.push(&world.base).await;
    let after = digest().await;
    assert_ne!(before, after);
    let id = first["id"].as_str().expect("an id");
    let same = world.server.retry(id, "same").await;
    let same = world.server.wait_for_success(&same, BUILD).await;
    assert_eq!(same["base_images"], bases(before.clone()), "{same:#}");
    let log = world.server.log(same["id"].as_str().expect("an id")).await;
    let line = format!("base image {} pinned to {}\n", world.base, before.expect("a digest"));
    assert!(log.contains(&line), "{log}");
    let fresh = world.server.retry(id, "refresh").await;
    let fresh = world.server.wait_for_success(&fresh, BUILD).await;
    assert_eq!(fresh["base_images"], bases(after), "{fresh:#}");
    let log = world.server.log(fresh["id"].as_str().expect("an id")).await;
    assert!(!log.contains("pinned to"), "{log}");
}

#[tokio::test]
async fn a_retry_stands_on_the_same_base_by_buildkit() {
    a_retry_stands_on_the_same_base("builder = \"buildkit\"").await;
}

#[tokio::test]
async fn a_retry_stands_on_the_same_base_by_the_classic_builder() {
    a_retry_stands_on_the_same_base("builder = \"classic\"").await;
}

/// What `.dockerignore` leaves out is not in the image, under a builder that the settings choose.
async fn ignored_files_are_left_out(settings: &str) {
    let world = World::with_settings(settings).await;
    let app = world.app(json!({})).await;
    let files = [
        (
            "Dockerfile",
            world.dockerfile("COPY . /context\nCMD [\"find\", \"/context\", \"-type\", \"f\"]"),
        ),
        (".dockerignore", "**/*.tmp\n!kept.tmp\n/docs\n# a comment\n".to_owned()),
        ("a.tmp", String::new()),
        ("deep/b.tmp", String::new()),
        ("kept.tmp", String::new()),
        ("docs/c", String::new()),
        ("deep/docs/d", String::new()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (*path, content.as_str())).collect();
    world.build(&app, &files).await;
    let found = world.run(&app, "latest", &[]).await;
    let mut found: Vec<&str> = found.lines().map(|line| line.trim_start_matches("/context/")).collect();
    found.sort_unstable();
    assert_eq!(found, [".dockerignore", "Dockerfile", "deep/docs/d", "kept.tmp"]);
}

#[tokio::test]
async fn ignored_files_are_left_out_by_buildkit() {
    ignored_files_are_left_out("builder = \"buildkit\"").await;
}

#[tokio::test]
async fn ignored_files_are_left_out_by_the_classic_builder() {
    ignored_files_are_left_out("builder = \"classic\"").await;
}

#[tokio::test]
async fn a_build_secret_can_be_mounted_and_is_seen_nowhere() {
    let world = World::start().await;
    let app = world
        .app(json!({ "build_secrets": { "npm_token": "canary-7d1f0a" } }))
        .await;
    let steps = "RUN --mount=type=secret,id=npm_token cat /run/secrets/npm_token && \
                 test \"$(cat /run/secrets/npm_token | wc -c)\" = 13 && touch /it-was-there\n\
                 RUN test -e /it-was-there && test ! -e /run/secrets/npm_token\nCMD [\"true\"]";
    let build = world.build(&app, &[("Dockerfile", &world.dockerfile(steps))]).await;
    let log = world.server.log(build["id"].as_str().expect("an id")).await;
    assert!(
        log.contains("cat /run/secrets/npm_token") && !log.contains("canary"),
        "{log}"
    );
    let image = format!("{}:latest", app.image);
    world.engine.pull(&image).await;
    let history = world.engine.history(&image).await;
    assert!(!history.contains("canary"), "{history}");
}

#[tokio::test]
async fn a_build_lists_its_steps_and_which_came_from_the_cache() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let dockerfile = world.dockerfile("RUN echo first >/first\nCOPY a /a");
    let steps = |build: &Value| -> Vec<(String, bool)> {
        let steps = build["steps"].as_array().expect("steps").iter();
        let wanted = steps.filter(|step| {
            ["RUN", "COPY"]
                .iter()
                .any(|word| step["name"].as_str().is_some_and(|name| name.contains(word)))
        });
        wanted
            .map(|step| {
                let name = step["name"].as_str().expect("a name").to_owned();
                (name, step["cached"].as_bool().expect("whether it was cached"))
            })
            .collect()
    };
    let first = world.build(&app, &[("Dockerfile", &dockerfile), ("a", "1")]).await;
    let run = "[2/3] RUN echo first >/first".to_owned();
    let copy = "[3/3] COPY a /a".to_owned();
    assert_eq!(
        steps(&first),
        [(run.clone(), false), (copy.clone(), false)],
        "{first:#}"
    );
    let second = world.build(&app, &[("a", "2")]).await;
    assert_eq!(steps(&second), [(run, true), (copy, false)], "{second:#}");
    for step in second["steps"].as_array().expect("steps") {
        assert!(step["error"].is_null() && step["finished_at"].is_string(), "{step:#}");
    }
}

#[tokio::test]
async fn without_caching_every_step_runs_again() {
    let world = World::start().await;
    let app = world
        .app(json!({ "rules": [
            { "source_type": "branch", "source": "main", "docker_tag": "latest", "cache": false }
        ] }))
        .await;
    let dockerfile = world.dockerfile("RUN cat /proc/sys/kernel/random/uuid >/uuid\nCMD [\"cat\", \"/uuid\"]");
    let mut seen = Vec::new();
    for content in ["1", "2"] {
        world.build(&app, &[("Dockerfile", &dockerfile), ("a", content)]).await;
        seen.push(world.run(&app, "latest", &[]).await);
    }
    assert_ne!(seen[0], seen[1]);
}

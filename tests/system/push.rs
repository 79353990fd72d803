//! From a push to an image that runs.

use serde_json::{Value, json};

use crate::support::{
    git_server::GitServer,
    postgres::Database,
    server::{Options, Server, ids},
    webhook::Push,
    world::{App, BUILD, World},
};

/// Pushes a commit whose image prints `text`, tells the service, and pulls and runs what became of it.
async fn push_builds_an_image_that_prints(world: &World, text: &str) {
    let app = world.app(json!({})).await;
    let dockerfile = world.dockerfile("COPY text /text\nRUN grep . /text\nCMD [\"cat\", \"/text\"]");
    let commit = app
        .source
        .push(
            &[
                ("Dockerfile", &dockerfile),
                ("text", text),
                ("README.md", "# What it says"),
            ],
            "A change",
        )
        .await;
    let build = world
        .server
        .wait_for_success(&app.announce("main", &commit).await[0], BUILD)
        .await;

    assert_eq!((&build["commit"], &build["attempt"]), (&json!(commit), &json!(1)));
    assert_eq!(build["digest"].as_str(), world.latest().await.as_deref());
    let log = world.server.log(build["id"].as_str().expect("an id")).await;
    assert!(log.contains(text), "{log}");
    assert_eq!(world.run(&app, "latest", &[]).await, text);
    the_page_shows_what_was_built(world, &app, &build).await;
}

async fn the_page_shows_what_was_built(world: &World, app: &App, build: &Value) {
    let address = format!("{}/r/{}", world.server.url(), app.name);
    let page = reqwest::get(address).await.expect("an answer");
    let page = page.text().await.expect("a page");
    let digest = build["digest"].as_str().expect("a digest");
    for shown in [
        "What it says</h3>",
        "RUN grep . /text",
        &format!("docker pull {}:latest", app.image),
        &format!("title=\"{digest}\""),
        &format!("<code class=\"wrap\">{}</code>", world.base),
        " MB</span>",
    ] {
        assert!(page.contains(shown), "{shown}\n{page}");
    }
}

#[tokio::test]
async fn a_pushed_commit_becomes_an_image_that_runs() {
    push_builds_an_image_that_prints(&World::start().await, "made from a push").await;
}

#[tokio::test]
async fn a_pushed_commit_becomes_an_image_with_postgresql_too() {
    let database = Database::create().await;
    let world = World::with(Options {
        database_url: Some(database.url()),
        ..Options::default()
    })
    .await;
    push_builds_an_image_that_prints(&world, "made with PostgreSQL").await;
    // The service lets go of the database first.
    drop(world);
}

#[tokio::test]
async fn the_classic_builder_makes_the_same_of_a_push() {
    let world = World::with_settings("builder = \"classic\"").await;
    push_builds_an_image_that_prints(&world, "made by the classic builder").await;
}

#[tokio::test]
async fn a_push_that_gitlab_or_forgejo_reports_becomes_an_image_that_runs() {
    let world = World::start().await;
    for provider in ["gitlab", "gitea"] {
        let app = world
            .app_named(provider, json!({ "source": { "provider": provider } }))
            .await;
        let dockerfile = world.dockerfile("COPY text /text\nCMD [\"cat\", \"/text\"]");
        let text = format!("made from a push at {provider}");
        let files = [("Dockerfile", dockerfile.as_str()), ("text", text.as_str())];
        let commit = app.source.push(&files, "A change").await;
        let push = app.push_of("main", &commit);
        let (status, answer) = match provider {
            "gitlab" => app.webhook.gitlab(&push).await,
            _ => app.webhook.gitea(&push).await,
        };
        assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");
        let build = world.server.wait_for_success(&ids(&answer["builds"])[0], BUILD).await;
        assert_eq!(build["commit"], commit);
        assert_eq!(world.run(&app, "latest", &[]).await, text);
    }
}

/// A service that accepts and queues, and builds nothing.
pub async fn queueing_server() -> Server {
    Server::start(Options::with_settings("concurrency = 0")).await
}

/// A repository whose branch `main` becomes `latest`.
fn document(provider: &str, url: &str, image: &str) -> Value {
    json!({
        "image": image,
        "source": { "provider": provider, "url": url },
        "rules": [{ "source_type": "branch", "source": "main", "docker_tag": "latest" }]
    })
}

fn push<'a>(clone_url: &'a str, commit: &'a str) -> Push<'a> {
    Push {
        full_name: "team/app",
        clone_url,
        branch: "main",
        commit,
        message: "A change",
    }
}

#[tokio::test]
async fn every_forge_that_is_known_queues_a_build() {
    let (server, git) = (queueing_server().await, GitServer::start().await);
    let source = git.create("team/app").await;
    let commit = source.push(&[("Dockerfile", "FROM scratch\n")], "A change").await;
    for provider in ["github", "bitbucket", "bitbucket-server", "gitlab", "gitea"] {
        let image = format!("127.0.0.1:5000/admin/{provider}");
        let webhook = server
            .put_repository(&format!("admin/{provider}"), document(provider, &source.url, &image))
            .await;
        let push = push(&source.url, &commit);
        let (status, answer) = match provider {
            "github" => webhook.github(&push).await,
            "bitbucket" => webhook.bitbucket(&push).await,
            "bitbucket-server" => webhook.bitbucket_server(&push).await,
            "gitlab" => webhook.gitlab(&push).await,
            _ => webhook.gitea(&push).await,
        };
        assert_eq!(
            (status, &answer["outcome"]),
            (202, &json!("queued")),
            "{provider}: {answer:#}"
        );
        let build = server.build(&ids(&answer["builds"])[0]).await;
        assert_eq!(
            (&build["status"], &build["commit"]),
            (&json!("queued"), &json!(commit)),
            "{provider}"
        );
    }
}

#[tokio::test]
async fn every_ref_of_a_push_that_a_rule_matches_is_built() {
    let world = World::start().await;
    let rules = json!([
        { "source_type": "branch", "source": "/^(main|dev)$/", "docker_tag": "branch-{sourceref}" },
        { "source_type": "tag", "source": "/^v(.+)$/", "docker_tag": "{\\1}" }
    ]);
    let app = world
        .app(json!({ "source": { "provider": "bitbucket" }, "rules": rules }))
        .await;
    let first = app
        .source
        .push(&[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "1")], "First")
        .await;
    app.source.git(&["tag", "v1.0"]).await;
    let second = app.source.push(&[("a", "2")], "Second").await;
    let refs = ["HEAD:dev", "HEAD:other", "v1.0"];
    app.source
        .git(&[&["push", "--quiet", "origin"], &refs[..]].concat())
        .await;

    let (status, answer) = app
        .webhook
        .bitbucket_refs(
            &app.push_of("main", &second),
            &[
                ("branch", "main", &second),
                ("branch", "dev", &second),
                ("branch", "other", &second),
                ("tag", "v1.0", &first),
            ],
        )
        .await;
    assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");
    let builds = ids(&answer["builds"]);
    assert_eq!(builds.len(), 3, "{answer:#}");
    for (id, (commit, tag)) in builds
        .iter()
        .zip([(&second, "branch-main"), (&second, "branch-dev"), (&first, "1.0")])
    {
        let build = world.server.wait_for_success(id, BUILD).await;
        assert_eq!((&build["commit"], &build["tags"]), (&json!(commit), &json!([tag])));
        let digest = world.registry.digest("admin/app", tag).await;
        assert_eq!(build["digest"].as_str(), digest.as_deref(), "{tag}");
    }
}

#[tokio::test]
async fn one_build_gives_all_the_tags_that_its_rule_makes_of_the_ref() {
    let world = World::start().await;
    let app = world
        .app(json!({ "rules": [{
            "source_type": "branch", "source": "/^release-(\\d+)\\.(\\d+)$/",
            "docker_tag": "{\\1}.{\\2}, {\\1}, {sourceref}, stable"
        }] }))
        .await;
    let files = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "a")];
    let commit = app.source.push(&files, "A change").await;
    app.source.git(&["push", "--quiet", "origin", "HEAD:release-1.2"]).await;
    let builds = app.announce("release-1.2", &commit).await;
    assert_eq!(builds.len(), 1);
    let build = world.server.wait_for_success(&builds[0], BUILD).await;
    assert_eq!(build["tags"], json!(["1.2", "1", "release-1.2", "stable"]));
    for tag in ["1.2", "1", "release-1.2", "stable"] {
        let digest = world.registry.digest("admin/app", tag).await;
        assert_eq!(digest.as_deref(), build["digest"].as_str(), "{tag}");
    }
}

#[tokio::test]
async fn an_annotated_tag_builds_the_commit_that_it_points_to() {
    let world = World::start().await;
    let app = world
        .app(json!({ "rules": [{ "source_type": "tag", "source": "/^v(.+)$/", "docker_tag": "{\\1}" }] }))
        .await;
    let files = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "a")];
    let commit = app.source.push(&files, "A change").await;
    app.source
        .git(&["tag", "--annotate", "--message", "Version 1", "v1"])
        .await;
    app.source.git(&["push", "--quiet", "origin", "v1"]).await;
    let tag = app.source.git(&["rev-parse", "v1"]).await;
    assert_ne!(tag, commit);

    // GitHub names the tag object; the commit is only in `head_commit`, which may be missing.
    let mut payload = app.push_of("main", &tag).github();
    payload["ref"] = json!("refs/tags/v1");
    payload["head_commit"] = Value::Null;
    let (status, answer) = app
        .webhook
        .send(&app.webhook.github_event("push", payload.to_string()))
        .await;
    assert_eq!(status, 202, "{answer:#}");
    let build = world.server.wait_for_success(&ids(&answer["builds"])[0], BUILD).await;
    assert_eq!(build["commit"], commit);
    let digest = world.registry.digest("admin/app", "1").await;
    assert_eq!(build["digest"].as_str(), digest.as_deref());
}

#[tokio::test]
async fn each_directory_of_one_repository_becomes_an_image_of_its_own() {
    let world = World::start().await;
    let rule = |tag: &str, dockerfile: &str, context: &str| {
        json!({
            "source_type": "branch", "source": "main", "docker_tag": tag, "dockerfile": dockerfile, "context": context
        })
    };
    let app = world
        .app(json!({ "rules": [
            // Beside what it copies; elsewhere in the repository; and as on Docker Hub, where a directory was both.
            rule("a", "Dockerfile", "/services/a"),
            rule("b", "../../docker/b.Dockerfile", "services/b"),
            rule("c", "services/c", ""),
        ] }))
        .await;
    let dockerfile = world.dockerfile("COPY name /name\nCMD [\"cat\", \"/name\"]");
    let files = [
        ("services/a/Dockerfile", dockerfile.as_str()),
        ("services/a/name", "service a"),
        ("docker/b.Dockerfile", &dockerfile),
        ("services/b/name", "service b"),
        ("services/c/Dockerfile", &dockerfile),
        ("services/c/name", "service c"),
    ];
    let commit = app.source.push(&files, "A change").await;
    let builds = app.announce("main", &commit).await;
    assert_eq!(builds.len(), 3);
    for build in &builds {
        world.server.wait_for_success(build, BUILD).await;
    }
    for service in ["a", "b", "c"] {
        assert_eq!(world.run(&app, service, &[]).await, format!("service {service}"));
    }
}

#[tokio::test]
async fn an_image_of_no_registry_stays_in_the_engine_and_the_log_says_so() {
    let world = World::start().await;
    // The engine is everybody's: a name that nobody else has.
    let image = format!("admin/{}", uuid::Uuid::now_v7().simple());
    let app = world.app(json!({ "image": image })).await;
    let build = world
        .build(&app, &[("Dockerfile", &world.dockerfile("CMD [\"echo\", \"here\"]"))])
        .await;
    assert_eq!(build["digest"], Value::Null);
    let log = world.server.log(build["id"].as_str().expect("an id")).await;
    assert!(log.contains("stays in the engine: no registry is configured"), "{log}");
    assert_eq!(world.engine.run(&format!("{image}:latest"), &[]).await, "here");
}

#[tokio::test]
async fn a_private_source_is_fetched_with_its_password() {
    let git = GitServer::start_with_password("reader", "correct-horse").await;
    let world = World::with_git(Options::default(), git).await;
    let credentials =
        |password: &str| json!({ "source": { "credentials": { "username": "reader", "password": password } } });
    let files = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "a")];
    let app = world.app(credentials("correct-horse")).await;
    world.build(&app, &files).await;

    let app = world.app_named("wrong", credentials("wrong-horse")).await;
    let (build, log) = world.failure(&app, &files).await;
    assert_eq!(
        (&build["error"]["kind"], &build["attempt"]),
        (&json!("source"), &json!(1))
    );
    assert!(
        log.contains("failed (source)") && !log.contains("trying again"),
        "{log}"
    );
}

#[tokio::test]
async fn the_service_ends_by_itself_when_it_is_asked_to() {
    let mut server = queueing_server().await;
    assert!(server.sigterm().await.success());
    server.restart().await;
    assert!(server.sigterm().await.success());
}

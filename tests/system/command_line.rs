//! The command line against a server that really builds.

use serde_json::{Value, json};

use crate::support::{
    server::{Options, Server},
    world::World,
};

#[tokio::test]
async fn following_a_trigger_shows_the_log_and_ends_as_the_build_does() {
    let world = World::start().await;
    let app = world.app(json!({})).await;
    let trigger = ["trigger", "admin/app", "--follow"];
    app.source
        .push(
            &[("Dockerfile", &world.dockerfile("RUN echo \"the $((40 + 2))\""))],
            "Good",
        )
        .await;
    let (code, shown) = world.server.try_command_line(&trigger).await;
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("the 42") && shown.contains("succeeded"), "{shown}");

    app.source
        .push(&[("Dockerfile", &world.dockerfile("RUN exit 7"))], "Bad")
        .await;
    let (code, shown) = world.server.try_command_line(&trigger).await;
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("exit code 7"), "{shown}");

    let (code, shown) = world.server.try_command_line(&["builds", "--json"]).await;
    assert_eq!(code, 0, "{shown}");
    let builds: Value = serde_json::from_str(&shown).expect("JSON");
    assert!(
        builds.to_string().contains("succeeded") && builds.to_string().contains("failed"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_backup_of_a_running_server_can_be_restored_and_goes_on() {
    let mut world = World::with_settings("concurrency = 1").await;
    let app = world
        .app(json!({ "build_secrets": { "token": "a-kept-secret" } }))
        .await;
    let mount = "RUN --mount=type=secret,id=token grep -q a-kept-secret /run/secrets/token && echo it-is-there";
    let build = world.build(&app, &[("Dockerfile", &world.dockerfile(mount))]).await;
    let id = build["id"].as_str().expect("an id");
    let log = world.server.log(id).await;

    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("backup");
    let file = file.to_str().expect("a temporary path is UTF-8");
    world.server.command_line(&["backup", file], &[]).await;
    world.server.kill9();
    world.server = Server::restore(file, Options::default(), &world.server).await;

    assert_eq!(world.server.build(id).await["digest"], build["digest"]);
    assert_eq!(world.server.log(id).await, log);
    // Rules, the webhook's secret and the build's secret are all there.
    let restored = world.server.webhook_of(&app.webhook);
    let commit = app.source.push(&[("a", "a")], "After the restore").await;
    let (status, answer) = restored.github(&app.push_of("main", &commit)).await;
    assert_eq!(status, 202, "{answer:#}");
    let next = crate::support::server::ids(&answer["builds"]).remove(0);
    world.server.wait_for_success(&next, crate::support::world::BUILD).await;
}

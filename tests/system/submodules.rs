//! Repositories within repositories.

use std::fs;

use serde_json::{Value, json};

use crate::support::world::{App, World};

const MODULES: &str = "[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = ../lib.git\n";

/// An app with a submodule in it, and what its image lists of that.
async fn listed(world: &World, changes: Value) -> (App, String, String) {
    let lib = world.git.create("team/lib").await;
    let commit = lib.push(&[("hello", "from the submodule")], "The submodule").await;
    lib.push(&[("later", "not what is recorded")], "Later").await;
    let app = world.app(changes).await;
    let place = "vendor/lib";
    fs::create_dir_all(app.source.path().join(place)).expect("a directory");
    let entry = format!("160000,{commit},{place}");
    app.source.git(&["update-index", "--add", "--cacheinfo", &entry]).await;
    let dockerfile = world.dockerfile("COPY vendor /vendor\nCMD [\"find\", \"/vendor/lib\"]");
    let build = world
        .build(&app, &[("Dockerfile", &dockerfile), (".gitmodules", MODULES)])
        .await;
    let log = world.server.log(build["id"].as_str().expect("an id")).await;
    let found = world.run(&app, "latest", &[]).await;
    (app, found, log)
}

#[tokio::test]
async fn a_submodule_is_in_the_image_at_the_commit_that_is_recorded() {
    let world = World::start().await;
    let (app, found, log) = listed(&world, json!({})).await;
    assert_eq!(found, "/vendor/lib\n/vendor/lib/hello");
    assert!(log.contains("Fetching submodule vendor/lib at "), "{log}");

    let lost = format!("160000,{},vendor/lib", "1".repeat(40));
    app.source.git(&["update-index", "--cacheinfo", &lost]).await;
    let (build, _) = world.failure(&app, &[("again", "")]).await;
    let message = build["error"]["message"].as_str().expect("a message");
    assert!(message.starts_with("submodule `vendor/lib`"), "{message}");
    assert!(message.ends_with("or switch the source's submodules off"), "{message}");
}

#[tokio::test]
async fn where_they_are_switched_off_a_submodule_is_an_empty_directory_and_the_log_says_so() {
    let world = World::start().await;
    let (_, found, log) = listed(&world, json!({ "source": { "submodules": false } })).await;
    assert_eq!(found, "/vendor/lib");
    assert!(
        log.contains("submodules are switched off; left out as empty directories: vendor/lib"),
        "{log}"
    );
}

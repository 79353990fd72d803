//! What is written and must never be read: no answer, whoever asks and however wrongly, holds a stored secret.

use hullworks::{domain::repository::RepositoryName, store::Store};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    app::{App, answer, commit, document, payload},
    openapi::{description, operations},
};

const PATH: &str = "/api/v1/repositories/ann/app";

/// A document with a secret wherever one can be.
fn full_of_secrets() -> Value {
    let mut full = document();
    full["source"]["credentials"] = json!({ "username": "canary-user", "password": "canary-password" });
    full["build_secrets"] = json!({ "npm": "canary-of-npm", "pip": "canary-of-pip" });
    full
}

/// Everything sealed of `ann/app`.
async fn sealed(store: &Store) -> (Option<Vec<u8>>, Vec<(String, Vec<u8>)>) {
    let name = RepositoryName::new("ann", "app").unwrap();
    let id = store.repository_named(&name).await.unwrap().unwrap().id;
    (
        store.source_credentials(&id).await.unwrap(),
        store.build_secrets(&id).await.unwrap(),
    )
}

#[tokio::test]
async fn no_answer_holds_a_stored_secret() {
    let app = App::start().await;
    let (_, repository) = app.put(PATH, full_of_secrets()).await;
    let registry = json!({ "username": "u", "password": "canary-of-the-registry" });
    app.put("/api/v1/namespaces/ann/registries/r.example.com", registry.clone())
        .await;
    app.call(
        &app.root,
        Method::PUT,
        "/api/v1/registries/r.example.com",
        Some(registry),
    )
    .await;
    app.push(&repository, "d", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    let build = app.trigger().await;
    let described = operations(&description(&app).await);
    let paths = described
        .into_iter()
        .map(|(path, ..)| path)
        .chain(["/".to_owned(), "/api/openapi.json".to_owned()]);
    for path in paths {
        let path = path
            .replace("{namespace}", "ann")
            .replace("{name}", "app")
            .replace("{id}", build.as_str())
            .replace("{host}", "r.example.com");
        for token in ["", app.bob.as_str(), app.ann.as_str(), app.root.as_str()] {
            let text = app
                .request(token, Method::GET, &path)
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            assert!(!text.contains("canary"), "{path}: {text}");
            assert!(!text.contains("hwt_") || path.ends_with("openapi.json") || text.contains("Bearer hwt_..."));
        }
    }
}

#[tokio::test]
async fn a_refusal_does_not_repeat_what_was_sent_as_a_secret() {
    let app = App::start().await;
    for (pointer, value) in [
        ("/source/webhook_secret", json!(["canary"])),
        ("/source/webhook_secret", json!({ "canary": "canary" })),
        ("/source/webhook_secret", json!("canary\0")),
        ("/source/credentials", json!("canary")),
        ("/source/credentials", json!({ "username": "canary" })),
        (
            "/source/credentials",
            json!({ "username": "canary", "password": ["canary"] }),
        ),
        ("/source/credentials", json!({ "ssh_key": "canary" })),
        ("/source/credentials", json!(["canary"])),
        ("/build_secrets", json!("canary")),
        ("/build_secrets", json!({ "npm": ["canary"] })),
        ("/build_secrets", json!({ "a b": "canary" })),
        ("/build_secrets", json!({ "npm": "canary\0" })),
        ("/source/url", json!("https://canary:canary@github.com/acme/app.git")),
    ] {
        let mut wrong = document();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        wrong.pointer_mut(parent).unwrap()[key] = value;
        let (status, problem) = app.put(PATH, wrong).await;
        assert_eq!(status, 422, "{pointer}: {problem:#}");
        assert!(!problem.to_string().contains("canary"), "{problem:#}");
    }
    for body in [json!({ "username": "u", "password": ["canary"] }), json!("canary")] {
        let (status, problem) = app.put("/api/v1/namespaces/ann/registries/r.example.com", body).await;
        assert_eq!(status, 422);
        assert!(!problem.to_string().contains("canary"), "{problem:#}");
    }
}

#[tokio::test]
async fn what_is_read_back_and_written_keeps_every_secret() {
    let app = App::start().await;
    let (status, created) = app.put(PATH, full_of_secrets()).await;
    assert_eq!(status, 201, "{created:#}");
    let before = sealed(&app.store).await;
    assert!(before.0.is_some() && before.1.len() == 2);
    let (_, read) = app.get(PATH).await;
    let (status, written) = app.put(PATH, read.clone()).await;
    assert_eq!(status, 200, "{written:#}");
    for field in read.as_object().unwrap().keys().filter(|field| *field != "updated_at") {
        assert_eq!(read[field], written[field], "{field}");
    }
    // The answer to its creation works as well, and so does what an administrator reads.
    assert_eq!(app.put(PATH, created).await.0, 200);
    let (_, by_root) = app.call(&app.root, Method::GET, PATH, None).await;
    assert_eq!(app.call(&app.root, Method::PUT, PATH, Some(by_root)).await.0, 200);
    assert_eq!(sealed(&app.store).await, before);
    let (status, _) = app
        .push(&read, "d", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    assert_eq!(status, 202, "the webhook's secret is the same");
}

#[tokio::test]
async fn each_secret_is_replaced_or_removed_by_itself() {
    let app = App::start().await;
    app.put(PATH, full_of_secrets()).await;
    let before = sealed(&app.store).await;
    let mut change = document();
    change["build_secrets"] = json!({ "npm": null, "new": "canary-of-new" });
    app.put(PATH, change).await;
    let after = sealed(&app.store).await;
    assert_eq!(after.0, before.0, "the credentials were left out");
    let names: Vec<&str> = after.1.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["new", "npm"]);
    assert_eq!(after.1[1], before.1[0], "null keeps");
    let mut change = document();
    change["source"]["credentials"] = json!({ "username": "u", "password": "another" });
    change["build_secrets"] = json!({});
    app.put(PATH, change).await;
    let last = sealed(&app.store).await;
    assert!(last.0.is_some() && last.0 != after.0);
    assert_eq!(last.1, []);
}

#[tokio::test]
async fn another_webhook_secret_takes_the_place_of_the_first() {
    let app = App::start().await;
    let repository = app.app().await;
    let push = payload("refs/heads/main", &commit('a'), "x").to_string();
    let send = async || {
        answer(
            app.webhook(&repository, "push", "d", &push)
                .body(push.clone())
                .send()
                .await
                .unwrap(),
        )
        .await
        .0
    };
    let mut change = document();
    change["source"]["webhook_secret"] = json!("a secret of another kind");
    let (status, changed) = app.put(PATH, change).await;
    assert_eq!((status, &changed["webhook"]), (200, &repository["webhook"]));
    assert_eq!(send().await, 401);
    app.put(PATH, document()).await;
    assert_eq!(send().await, 202);
}

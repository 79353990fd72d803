use reqwest::Method;
use serde_json::json;

use crate::app::App;

const PATH: &str = "/api/v1/namespaces/ann/registries/r.example.com%3A5000";

#[tokio::test]
async fn credentials_are_stored_and_their_password_is_never_read() {
    let app = App::start().await;
    let (status, created) = app
        .put(
            PATH,
            json!({ "username": "ann", "password": "canary", "trusted_realms": ["auth.example.com"] }),
        )
        .await;
    assert_eq!(status, 201);
    assert_eq!(created["webhook"]["secret"].as_str().unwrap().len(), 64);
    let (_, read) = app.get(PATH).await;
    let expected = json!({
        "namespace": "ann", "host": "r.example.com:5000", "username": "ann", "password_set": true,
        "trusted_realms": ["auth.example.com"],
        "webhook": { "url": created["webhook"]["url"], "secret_set": true },
        "created_at": read["created_at"], "updated_at": read["updated_at"],
    });
    assert_eq!(read, expected);
    let (status, kept) = app.put(PATH, json!({ "username": "other" })).await;
    assert_eq!(
        (status, &kept["username"], &kept["webhook"]),
        (200, &json!("other"), &read["webhook"])
    );
    assert_eq!(app.put(PATH, read).await.0, 200);
    let (_, list) = app.get("/api/v1/namespaces/ann/registries?limit=1").await;
    assert_eq!(
        (list["items"].as_array().unwrap().len(), &list["next_cursor"]),
        (1, &json!(null))
    );
}

#[tokio::test]
async fn what_cannot_be_credentials_is_refused() {
    let app = App::start().await;
    let check = async |path: &str, body: serde_json::Value, field: &str| {
        let (status, problem) = app.put(path, body).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field)),
            "{problem:#}"
        );
    };
    check(PATH, json!({ "username": "ann" }), "password").await;
    check(PATH, json!({ "username": "", "password": "x" }), "username").await;
    check(PATH, json!({ "username": "a", "password": "" }), "password").await;
    check(
        PATH,
        json!({ "username": "a", "password": "x", "trusted_realms": ["a/b"] }),
        "trusted_realms[0]",
    )
    .await;
    check(
        PATH,
        json!({ "username": "a", "password": "x", "role": "admin" }),
        "role",
    )
    .await;
    let bad_host = "/api/v1/namespaces/ann/registries/not%20a%20host";
    check(bad_host, json!({ "username": "a", "password": "x" }), "host").await;
}

#[tokio::test]
async fn docker_hub_has_one_name() {
    let app = App::start().await;
    let credentials = json!({ "username": "ann", "password": "x" });
    assert_eq!(
        app.put("/api/v1/namespaces/ann/registries/index.docker.io", credentials)
            .await
            .0,
        201
    );
    let (status, read) = app.get("/api/v1/namespaces/ann/registries/docker.io").await;
    assert_eq!((status, &read["host"]), (200, &json!("docker.io")));
    let path = "/api/v1/namespaces/ann/registries/registry-1.docker.io";
    assert_eq!(app.call(&app.ann, Method::DELETE, path, None).await.0, 204);
}

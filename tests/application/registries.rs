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
    assert_eq!(
        created["webhook"]["secret"].as_str().unwrap().len(),
        "whsec_".len() + 44
    );
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

#[tokio::test]
async fn the_whole_servers_credentials_are_kept_apart_from_a_namespaces() {
    let app = App::start().await;
    let put = async |path: &str, user: &str| {
        let body = json!({ "username": user, "password": "x" });
        app.call(&app.root, Method::PUT, path, Some(body)).await
    };
    let everybodys = "/api/v1/registries/r.example.com%3A5000";
    let (status, created) = put(everybodys, "everybody").await;
    assert_eq!((status, &created["namespace"]), (201, &json!(null)));
    assert_eq!(app.get(PATH).await.0, 404);
    assert_eq!(put(PATH, "ann").await.0, 201);
    let read = async |path: &str| app.call(&app.root, Method::GET, path, None).await.1["username"].clone();
    assert_eq!(read(everybodys).await, "everybody");
    assert_eq!(read(PATH).await, "ann");
    let (_, list) = app.call(&app.root, Method::GET, "/api/v1/registries", None).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert!(list["items"][0]["webhook"].get("secret").is_none(), "{list:#}");
    let (status, again) = put(everybodys, "other").await;
    assert_eq!((status, again["webhook"].get("secret")), (200, None), "{again:#}");
    assert_eq!(app.call(&app.root, Method::DELETE, everybodys, None).await.0, 204);
    assert_eq!(app.call(&app.root, Method::DELETE, everybodys, None).await.0, 404);
    assert_eq!(read(PATH).await, "ann");
}

#[tokio::test]
async fn hosts_are_those_that_images_name() {
    let app = App::start().await;
    for (host, expected) in [
        ("r.example.com", 201),
        ("localhost", 201),
        ("localhost%3A5000", 201),
        ("127.0.0.1%3A5000", 201),
        ("%5B%3A%3A1%5D%3A5000", 201),
        ("docker.io", 201),
        ("index.docker.io", 200),
        ("team", 422),
        ("r.example.com%3A0", 422),
        ("r.example.com%3A99999", 422),
        ("r.example.com%2Fteam", 422),
        ("https%3A%2F%2Fr.example.com", 422),
        ("user%40r.example.com", 422),
        ("r..example.com", 422),
        ("%20", 422),
    ] {
        let body = json!({ "username": "u", "password": "p" });
        let (status, answer) = app
            .put(&format!("/api/v1/namespaces/ann/registries/{host}"), body)
            .await;
        assert_eq!(status, expected, "{host}: {answer:#}");
        if status == 422 {
            assert_eq!(answer["errors"][0]["field"], "host", "{host}");
        }
    }
}

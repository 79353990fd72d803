//! The administration of the server: for administrators alone, and never without one.

use hullworks::{
    domain::{disk::CleanUp, ids::WorkerId},
    store::Worker,
};
use reqwest::Method;
use serde_json::json;

use crate::app::App;

const PAGES: [&str; 6] = [
    "/admin/users",
    "/admin/organisations",
    "/admin/registries",
    "/admin/workers",
    "/admin/audit",
    "/admin/settings",
];

#[tokio::test]
async fn nobody_but_administrators_is_let_in() {
    let app = App::start().await;
    let (root, ann) = (app.browser("root").await, app.browser("ann").await);
    for path in PAGES {
        assert_eq!(root.get(path).await.status, 200, "{path}");
        assert_eq!(ann.get(path).await.status, 403, "{path}");
        let stranger = app.stranger().get(path).await;
        assert_eq!((stranger.status, stranger.location.is_some()), (303, true), "{path}");
    }
    for (path, form) in [
        ("/admin/users", vec![("name", "eve"), ("password", "a good long one")]),
        (
            "/admin/users/change",
            vec![("name", "ann"), ("deed", "make_administrator")],
        ),
        (
            "/admin/users/password",
            vec![("name", "root"), ("password", "a good long one")],
        ),
        (
            "/admin/registries",
            vec![("host", "r.example.com"), ("username", "u"), ("password", "p")],
        ),
        ("/admin/settings", vec![("organisation_makers", "administrators")]),
        ("/admin/workers/pause", vec![("worker", "w"), ("paused", "true")]),
        ("/admin/workers/clean-up", vec![("worker", "w"), ("kind", "images")]),
    ] {
        assert_eq!(ann.post(path, &form).await.status, 403, "{path}");
        // Not without the token of the form either.
        assert_eq!(root.post_as_it_is(path, &form).await.status, 403, "{path}");
    }
    assert!(app.store.user_named("eve").await.unwrap().is_none());
}

#[tokio::test]
async fn a_user_is_added_made_administrator_shut_out_and_deleted() {
    let app = App::start().await;
    let root = app.browser("root").await;
    let refused = root
        .post(
            "/admin/users",
            &[("name", "Not a name"), ("password", "a good long one")],
        )
        .await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text.contains("value=\"Not a name\""),
        "what was typed stays: {}",
        refused.text
    );
    let added = root
        .post("/admin/users", &[("name", "eve"), ("password", "a good long one")])
        .await;
    assert_eq!(added.status, 303, "{}", added.text);
    let eve = app.browser("eve").await;
    assert_eq!(eve.get("/settings/profile").await.status, 200);
    let change = |deed: &'static str, name: &'static str| {
        let root = &root;
        async move {
            root.post("/admin/users/change", &[("name", name), ("deed", deed)])
                .await
                .status
        }
    };
    assert_eq!(change("make_administrator", "eve").await, 303);
    assert_eq!(eve.get("/admin/users").await.status, 200);
    assert_eq!(change("unmake_administrator", "eve").await, 303);
    assert_eq!(eve.get("/admin/users").await.status, 403);
    assert_eq!(change("disable", "eve").await, 303);
    assert_eq!(eve.get("/settings/profile").await.status, 303, "the session has ended");
    assert_eq!(change("enable", "eve").await, 303);
    assert_eq!(change("delete", "eve").await, 303);
    assert!(app.store.user_named("eve").await.unwrap().is_none());
    assert_eq!(change("delete", "eve").await, 404);
    let log = root.get("/admin/audit?subject=eve").await.text;
    for words in ["created the user", "changed the user", "deleted the user"] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[tokio::test]
async fn a_token_of_somebody_who_is_shut_out_is_refused() {
    let app = App::start().await;
    let root = app.browser("root").await;
    assert_eq!(
        app.call(&app.ann, Method::GET, "/api/v1/repositories", None).await.0,
        200
    );
    root.post("/admin/users/change", &[("name", "ann"), ("deed", "disable")])
        .await;
    assert_eq!(
        app.call(&app.ann, Method::GET, "/api/v1/repositories", None).await.0,
        401
    );
}

#[tokio::test]
async fn the_last_administrator_stays_and_so_does_who_has_repositories() {
    let app = App::start().await;
    app.app().await;
    let root = app.browser("root").await;
    for (name, deed, still) in [
        ("root", "unmake_administrator", "the only administrator"),
        ("root", "disable", "the only administrator"),
        ("root", "delete", "the only administrator"),
        ("ann", "delete", "still has repositories"),
    ] {
        let answer = root
            .post("/admin/users/change", &[("name", name), ("deed", deed)])
            .await;
        assert_eq!(answer.status, 303, "{deed}");
        assert!(app.store.user_named(name).await.unwrap().is_some(), "{still}");
    }
    assert!(app.store.user_named("root").await.unwrap().unwrap().is_admin);
}

#[tokio::test]
async fn a_registrys_password_goes_in_and_never_comes_out() {
    let app = App::start().await;
    let root = app.browser("root").await;
    let secret = "canary-of-the-registry";
    let form = [("host", "r.example.com"), ("username", "u"), ("password", secret)];
    let made = root.post("/admin/registries", &form).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert!(made.text.contains("/webhooks/registry/"), "{}", made.text);
    let listed = root.get("/admin/registries").await.text;
    assert!(listed.contains("r.example.com") && !listed.contains(secret) && !made.text.contains(secret));
    let (status, stored) = app
        .call(&app.root, Method::GET, "/api/v1/registries/r.example.com", None)
        .await;
    assert_eq!((status, &stored["password_set"]), (200, &json!(true)));
    let refused = root
        .post(
            "/admin/registries",
            &[("host", "http://x"), ("username", "u:v"), ("password", "p")],
        )
        .await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text.contains("http://x"),
        "what was typed stays: {}",
        refused.text
    );
    assert_eq!(
        root.post("/admin/registries/delete", &[("host", "r.example.com")])
            .await
            .status,
        303
    );
    assert!(!root.get("/admin/registries").await.text.contains("r.example.com\""));
}

#[tokio::test]
async fn a_worker_is_paused_and_asked_to_clean_up() {
    let app = App::start().await;
    let root = app.browser("root").await;
    let now = app.clock.now();
    let worker = Worker {
        id: WorkerId::new(),
        name: "builder-1".to_owned(),
        concurrency: 2,
        started_at: now,
        last_seen_at: now,
        paused: false,
        disk: None,
        platform: String::new(),
    };
    app.store.worker_seen(&worker).await.unwrap();
    app.app().await;
    app.trigger().await;
    let id = worker.id.as_str();
    assert_eq!(
        root.post("/admin/workers/pause", &[("worker", id), ("paused", "true")])
            .await
            .status,
        303
    );
    let lease = std::time::Duration::from_secs(30);
    assert!(
        app.store.claim(&worker.id, now, lease).await.unwrap().is_none(),
        "a paused worker takes nothing"
    );
    // What it tells of itself does not let it go on.
    app.store.worker_seen(&worker).await.unwrap();
    assert!(app.store.claim(&worker.id, now, lease).await.unwrap().is_none());
    assert_eq!(
        root.post("/admin/workers/pause", &[("worker", id), ("paused", "false")])
            .await
            .status,
        303
    );
    assert!(
        app.store
            .claim(&worker.id, app.clock.now(), lease)
            .await
            .unwrap()
            .is_some()
    );

    let ask = [("worker", id), ("kind", "images")];
    assert_eq!(root.post("/admin/workers/clean-up", &ask).await.status, 303);
    root.post("/admin/workers/clean-up", &ask).await;
    let begun = app.store.begin_clean_up(&worker.id, now).await.unwrap().unwrap();
    assert_eq!((begun.kind, begun.requested_by.as_str()), (CleanUp::Images, "root"));
    app.store.finish_clean_up(&begun.id, "freed 3 MB", now).await.unwrap();
    assert!(
        app.store.begin_clean_up(&worker.id, now).await.unwrap().is_none(),
        "the second was the same"
    );
    let page = root.get("/admin/workers").await.text;
    assert!(page.contains("builder-1") && page.contains("freed 3 MB"), "{page}");
}

#[tokio::test]
async fn organisations_are_made_by_administrators_alone_where_the_server_says_so() {
    let app = App::start().await;
    let root = app.browser("root").await;
    let make = |name: &'static str| {
        let app = &app;
        async move {
            app.call(
                &app.ann,
                Method::POST,
                "/api/v1/organisations",
                Some(json!({ "name": name })),
            )
            .await
            .0
        }
    };
    assert_eq!(make("one").await, 201);
    let saved = root
        .post("/admin/settings", &[("organisation_makers", "administrators")])
        .await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    assert_eq!(make("two").await, 403);
    let page = root.get("/admin/settings").await.text;
    assert!(page.contains("<code>concurrency</code>"), "{page}");
    assert!(root.get("/admin/organisations").await.text.contains("/o/one"));
}

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, HOOK_SECRET, document};

const PATH: &str = "/api/v1/repositories/ann/app";

#[tokio::test]
async fn a_repository_is_read_back_with_every_field_of_the_interface() {
    let app = App::start().await;
    let created = app.app().await;
    let (status, read) = app.get(PATH).await;
    assert_eq!((status, &read), (200, &created));
    let expected = json!({
        "namespace": "ann", "name": "app", "visibility": "public", "description": "",
        "image": "r.example.com/ann/app",
        "source": {
            "provider": "github", "url": "https://github.com/acme/app.git", "account": null, "submodules": true,
            "credentials_set": false,
        },
        "links": [], "detect_base_images": true, "ignored_base_images": [],
        "limits": { "timeout_seconds": null, "memory_bytes": null, "cpus": null }, "build_secrets_set": [], "stars": 0, "pulls": 0, "last_build": null,
        "webhook": { "url": read["webhook"]["url"], "secret_set": true },
        "created_at": read["created_at"], "updated_at": read["updated_at"],
        "rules": [
            {
                "id": read["rules"][0]["id"], "source_type": "branch", "source": "main", "docker_tag": "latest",
                "dockerfile": "Dockerfile", "context": "/", "target": "", "autobuild": true, "cache": true, "paths": [],
                "platforms": [], "build_args": {}, "schedule": null,
            },
            {
                "id": read["rules"][1]["id"], "source_type": "tag", "source": "/^v([0-9.]+)$/", "docker_tag": "{\\1}",
                "dockerfile": "Dockerfile", "context": "/", "target": "", "autobuild": true, "cache": true, "paths": [],
                "platforms": [], "build_args": {}, "schedule": null,
            },
        ],
    });
    assert_eq!(read, expected);
    let url = read["webhook"]["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{}/webhooks/github/", app.url)), "{url}");
}

#[tokio::test]
async fn what_is_read_can_be_edited_and_written() {
    let app = App::start().await;
    app.app().await;
    // What has been built is read back too.
    app.trigger().await;
    let (_, mut read) = app.get(PATH).await;
    read["description"] = json!("edited");
    let (status, written) = app.put(PATH, read.clone()).await;
    assert_eq!(
        (status, &written["description"]),
        (200, &json!("edited")),
        "{written:#}"
    );
    assert_eq!(written["rules"], read["rules"]);
    assert_eq!(written["webhook"], read["webhook"]);
}

#[tokio::test]
async fn a_secret_is_shown_once_if_it_was_made_here_and_never_otherwise() {
    let app = App::start().await;
    let given = app.app().await;
    assert!(given["webhook"].get("secret").is_none(), "{given:#}");
    let mut without = document();
    without["source"].as_object_mut().unwrap().remove("webhook_secret");
    let (status, made) = app.put("/api/v1/repositories/ann/made", without.clone()).await;
    let secret = made["webhook"]["secret"].as_str().unwrap();
    // 32 bytes in base64, in the form that Standard Webhooks has for keys.
    assert_eq!((status, secret.starts_with("whsec_"), secret.len()), (201, true, 50));
    let (_, again) = app.put("/api/v1/repositories/ann/made", without).await;
    let (_, read) = app.get("/api/v1/repositories/ann/made").await;
    for later in [again, read] {
        assert!(!later.to_string().contains(secret), "{later:#}");
        assert_eq!(later["webhook"]["url"], made["webhook"]["url"]);
    }
}

#[tokio::test]
async fn write_only_fields_are_kept_replaced_and_removed_and_never_read() {
    let app = App::start().await;
    let mut saved = document();
    saved["source"]["credentials"] = json!({ "username": "ann", "password": "canary-of-the-source" });
    saved["build_secrets"] = json!({ "npm": "canary-of-npm", "pip": "canary-of-pip" });
    let (_, created) = app.put(PATH, saved).await;
    assert_eq!(created["source"]["credentials_set"], true);
    assert_eq!(created["build_secrets_set"], json!(["npm", "pip"]));
    assert!(!created.to_string().contains("canary"), "{created:#}");

    let (_, kept) = app.put(PATH, document()).await;
    assert_eq!(
        (&kept["source"]["credentials_set"], &kept["build_secrets_set"]),
        (&json!(true), &json!(["npm", "pip"]))
    );
    let mut fewer = document();
    fewer["source"]["credentials"] = Value::Null;
    fewer["build_secrets"] = json!({ "npm": null });
    let (_, less) = app.put(PATH, fewer).await;
    assert_eq!(
        (&less["source"]["credentials_set"], &less["build_secrets_set"]),
        (&json!(false), &json!(["npm"]))
    );
}

/// Saves the usual document with one thing wrong with it, and expects exactly this field to be named.
async fn refused(app: &App, pointer: &str, value: Value, field: &str) {
    let mut wrong = document();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    wrong.pointer_mut(parent).unwrap()[key] = value;
    let (status, problem) = app.put(PATH, wrong).await;
    assert_eq!(status, 422, "{pointer}: {problem:#}");
    let fields: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["field"].as_str())
        .collect();
    assert_eq!(fields, [field], "{pointer}: {problem:#}");
    assert!(!problem.to_string().contains(HOOK_SECRET), "{problem:#}");
}

#[tokio::test]
async fn what_cannot_work_is_refused_by_the_field_at_fault() {
    let app = App::start().await;
    refused(&app, "/rules/0/docker_tag", json!("a/b"), "rules[0].docker_tag").await;
    refused(&app, "/rules/0/docker_tag", json!("{\\1}"), "rules[0].docker_tag").await;
    refused(&app, "/rules/1/docker_tag", json!("{\\2}"), "rules[1].docker_tag").await;
    refused(&app, "/rules/1/source", json!("/(/"), "rules[1].source").await;
    refused(&app, "/rules/0/source", json!("a..b"), "rules[0].source").await;
    refused(&app, "/rules/0/source_type", json!("Branch"), "rules[0].source_type").await;
    refused(&app, "/rules/0/dockerfile", json!("a\0b"), "rules[0].dockerfile").await;
    refused(&app, "/rules/0/platforms", json!(["linux"]), "rules[0].platforms").await;
    refused(&app, "/rules/0/build_args", json!({ "1A": "x" }), "rules[0].build_args").await;
    refused(&app, "/rules/0/unknown", json!(1), "rules[0].unknown").await;
    refused(&app, "/unknown", json!(1), "unknown").await;
    refused(&app, "/source/unknown", json!(1), "source.unknown").await;
    refused(&app, "/source/url", json!("ext::sh -c id"), "source.url").await;
    refused(&app, "/source/url", json!("file:///etc"), "source.url").await;
    refused(&app, "/source/url", json!("http://127.0.0.1/a.git"), "source.url").await;
    refused(&app, "/source/provider", json!("sourceforge"), "source.provider").await;
    refused(&app, "/source/webhook_secret", json!(""), "source.webhook_secret").await;
    refused(
        &app,
        "/source/credentials",
        json!({ "username": "x" }),
        "source.credentials",
    )
    .await;
    refused(&app, "/image", json!("r.example.com/App"), "image").await;
    refused(&app, "/image", json!("r.example.com/app:latest"), "image").await;
    refused(&app, "/links", json!(["A B"]), "links[0]").await;
    refused(&app, "/visibility", json!("secret"), "visibility").await;
    refused(&app, "/namespace", json!("other"), "namespace").await;
    refused(&app, "/name", json!("other"), "name").await;
    refused(&app, "/description", json!("a\0b"), "description").await;
    refused(&app, "/rules", json!("none"), "rules").await;
    let (status, _) = app.get(PATH).await;
    assert_eq!(status, 404, "nothing was stored");
    for name in ["App", "a--b", "-a"] {
        let (status, problem) = app.put(&format!("/api/v1/repositories/ann/{name}"), document()).await;
        assert_eq!(status, 422, "{name}: {problem:#}");
    }
}

#[tokio::test]
async fn images_that_stand_on_each_other_in_a_circle_are_refused_when_saved() {
    let app = App::start().await;
    let linked = |links: &[&str]| {
        let mut linked = document();
        linked["links"] = json!(links);
        linked
    };
    assert_eq!(
        app.put("/api/v1/repositories/ann/a", linked(&["r.example.com/ann/b"]))
            .await
            .0,
        201
    );
    assert_eq!(app.put("/api/v1/repositories/ann/b", linked(&["alpine"])).await.0, 201);
    let (status, problem) = app
        .put("/api/v1/repositories/ann/b", linked(&["r.example.com/ann/a:1"]))
        .await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("links")),
        "{problem:#}"
    );
    let (status, _) = app
        .put("/api/v1/repositories/ann/c", linked(&["r.example.com/ann/c:x"]))
        .await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn a_body_that_is_not_what_it_says_is_refused() {
    let app = App::start().await;
    let send = async |content_type: &'static str, body: &str| {
        let request = app
            .request(&app.ann, Method::PUT, PATH)
            .header("content-type", content_type);
        request.body(body.to_owned()).send().await.unwrap().status().as_u16()
    };
    let good = document().to_string();
    assert_eq!(send("text/plain", &good).await, 415);
    assert_eq!(send("application/json", "{").await, 422);
    assert_eq!(send("application/json", &format!("{good} x")).await, 422);
    assert_eq!(
        send(
            "application/json",
            &good.replacen('{', "{\"links\": [], \"links\": [],", 1)
        )
        .await,
        422
    );
    assert_eq!(send("application/json", &"[".repeat(100_000)).await, 422);
    assert_eq!(send("application/json", &" ".repeat(2 << 20)).await, 413);
    assert_eq!(send("application/json; charset=utf-8", &good).await, 201);
}

#[tokio::test]
async fn a_first_build_is_started_where_it_is_asked_for_and_only_once() {
    let app = App::start().await;
    let (status, _) = app.put(&format!("{PATH}?build=true"), document()).await;
    assert_eq!(status, 201);
    let builds = async || app.get("/api/v1/builds").await.1["items"].clone();
    assert_eq!(builds().await.as_array().unwrap().len(), 1);
    assert_eq!(builds().await[0]["cause"], json!({ "kind": "create", "user": "ann" }));
    app.put(&format!("{PATH}?build=true"), document()).await;
    assert_eq!(builds().await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn lists_go_on_from_page_to_page_and_refuse_what_they_do_not_know() {
    let app = App::start().await;
    for number in 0..7 {
        app.put(&format!("/api/v1/repositories/ann/app{number}"), document())
            .await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = app.get(&format!("/api/v1/repositories?limit=3{cursor}")).await;
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["app6", "app5", "app4", "app3", "app2", "app1", "app0"]);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=1e9", "limit"),
        ("limit=-1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=x", "cursor"),
        ("page=2", "page"),
    ] {
        let (status, problem) = app.get(&format!("/api/v1/repositories?{query}")).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field)),
            "{query}: {problem:#}"
        );
    }
    let (status, problem) = app.get("/api/v1/repositories/ann/app1?x=1").await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("x")),
        "{problem:#}"
    );
}

#[tokio::test]
async fn a_deleted_repository_takes_its_builds_and_its_webhook_with_it() {
    let app = App::start().await;
    let document = app.app().await;
    let build = app.trigger().await;
    let (status, _) = app.call(&app.ann, Method::DELETE, PATH, None).await;
    assert_eq!(status, 204);
    assert_eq!(app.get(&format!("/api/v1/builds/{build}")).await.0, 404);
    assert_eq!(app.push(&document, "d", &json!({})).await.0, 404);
}

#[tokio::test]
async fn a_first_build_that_was_not_asked_for_at_once_can_be_asked_for_later() {
    let app = App::start().await;
    app.app().await;
    let (status, document) = app.put(&format!("{PATH}?build=true"), document()).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&document["last_build"]["number"], &document["last_build"]["status"]),
        (&json!(1), &json!("queued")),
        "{document:#}"
    );
    assert_eq!(document["last_build"]["finished_at"], Value::Null);
}

#[tokio::test]
async fn two_who_create_the_same_repository_at_once_make_one() {
    let app = App::start().await;
    let puts = (0..8).map(|_| app.put(PATH, document()));
    let answers = futures_util::future::join_all(puts).await;
    let created = answers.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(created, 1, "{answers:#?}");
    assert!(answers.iter().all(|(status, _)| [200, 201].contains(status)));
    let (_, list) = app.get("/api/v1/repositories").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn stored_credentials_do_not_follow_a_source_to_another_host() {
    let app = App::start().await;
    let mut saved = document();
    saved["source"]["credentials"] = json!({ "username": "ann", "password": "canary-of-the-source" });
    assert_eq!(app.put(PATH, saved.clone()).await.0, 201);
    let mut moved = document();
    moved["source"]["url"] = json!("https://evil.example.com/acme/app.git");
    let (status, problem) = app.put(PATH, moved.clone()).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("source.credentials")),
        "{problem:#}"
    );
    moved["source"]["credentials"] = Value::Null;
    assert_eq!(app.put(PATH, moved).await.0, 200);
    saved["source"]["url"] = json!("https://github.com/acme/other.git");
    assert_eq!(app.put(PATH, saved).await.0, 200);
}

#[tokio::test]
async fn limits_are_kept_and_those_that_cannot_be_are_named() {
    let app = App::start().await;
    let mut wanted = document();
    let limits = json!({ "timeout_seconds": 60, "memory_bytes": 67_108_864, "cpus": 0.25 });
    wanted["limits"] = limits.clone();
    let (status, saved) = app.put(PATH, wanted.clone()).await;
    assert_eq!((status, &saved["limits"]), (201, &limits), "{saved:#}");
    wanted["limits"] = json!({ "timeout_seconds": 0, "memory_bytes": 1024, "cpus": -2.0 });
    let (status, problem) = app.put(PATH, wanted.clone()).await;
    assert_eq!(status, 422);
    let fields: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["limits.timeout_seconds", "limits.memory_bytes", "limits.cpus"]);
    for bad in [
        json!(7),
        json!({ "disk": 1 }),
        json!({ "timeout_seconds": 1.5 }),
        json!({ "memory_bytes": -1 }),
    ] {
        wanted["limits"] = bad.clone();
        assert_eq!(app.put(PATH, wanted.clone()).await.0, 422, "{bad}");
    }
    // Left out, they are the server's again.
    let (_, saved) = app.put(PATH, document()).await;
    assert_eq!(saved["limits"]["timeout_seconds"], Value::Null);
}

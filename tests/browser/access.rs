//! Who sees what: roles, and what is private.

use reqwest::Method;
use serde_json::json;

use crate::{browser::Browser, parts::world::BUILD, stage::Stage};

#[tokio::test]
async fn a_private_log_is_to_a_stranger_as_one_that_is_not_there() {
    let stage = Stage::set().await;
    stage.user("eve").await;
    let app = stage.app(json!({ "visibility": "private" })).await;
    let build = stage
        .build(&app, &[("Dockerfile", &stage.dockerfile("RUN echo a private line"))])
        .await;
    let id = build["id"].as_str().expect("an id");
    for browser in [stage.stranger().await, stage.signed_in("eve").await] {
        for (there, absent) in [
            (
                format!("/builds/{id}"),
                "/builds/019a0000000070008000000000000000".to_owned(),
            ),
            ("/r/admin/app".to_owned(), "/r/admin/none".to_owned()),
            ("/r/admin/app/builds".to_owned(), "/r/admin/none/builds".to_owned()),
        ] {
            browser.go(&there).await;
            assert_eq!(browser.status().await, 404, "{there}");
            let private = browser.read("main").await;
            browser.go(&absent).await;
            assert_eq!(browser.status().await, 404, "{absent}");
            assert_eq!(browser.read("main").await, private);
        }
        for list in ["/explore", "/builds", "/queue"] {
            browser.go(list).await;
            let text = browser.read("main").await;
            assert!(!text.contains("admin/app"), "{list}: {text}");
        }
    }
}

/// A page's own POST, as a button that is not there would send it; returns the status.
async fn send(browser: &Browser, path: &str) -> u64 {
    let script = "const [path, done] = arguments;
        const csrf = document.querySelector('input[name=csrf]').value;
        fetch(path, { method: 'POST', body: new URLSearchParams({ csrf }) }).then(answer => done(answer.status));";
    browser
        .run_async(script, vec![json!(path)])
        .await
        .as_u64()
        .expect("a status")
}

#[tokio::test]
async fn a_role_shows_what_it_may_do_and_the_rest_is_refused() {
    let stage = Stage::set().await;
    for name in ["rita", "wanda", "eve"] {
        stage.user(name).await;
    }
    let requests = [
        (Method::POST, "/organisations", json!({ "name": "team" })),
        (
            Method::PUT,
            "/organisations/team/members/rita",
            json!({ "role": "read" }),
        ),
        (
            Method::PUT,
            "/organisations/team/members/wanda",
            json!({ "role": "write" }),
        ),
    ];
    for (method, path, body) in requests {
        let (status, answer) = stage.server.request(method, path, Some(body)).await;
        assert!(matches!(status, 200 | 201), "{path}: {status} {answer:#}");
    }
    let source = stage.git.create("team/app").await;
    source
        .push(&[("Dockerfile", &stage.dockerfile("RUN true"))], "Begin")
        .await;
    let document = json!({
        "visibility": "private",
        "image": format!("{}/team/app", stage.registry.host()),
        "source": { "provider": "github", "url": source.url },
        "rules": [{ "source_type": "branch", "source": "main", "docker_tag": "latest" }]
    });
    stage.server.put_repository("team/app", document).await;
    let id = stage.server.trigger("team/app", json!({})).await.remove(0);
    stage.server.wait_for_success(&id, BUILD).await;
    let (build, builds, settings) = (format!("/builds/{id}"), "/r/team/app/builds", "/r/team/app/settings");

    let reader = stage.signed_in("rita").await;
    reader.go(&build).await;
    reader.sees_in("main", "succeeded").await;
    assert!(!reader.has_button("Retry").await, "{}", reader.shown().await);
    reader.go(builds).await;
    reader.sees_in("main", "#1").await;
    assert!(!reader.has_button("Trigger").await, "{}", reader.shown().await);
    for path in [&format!("{build}/retry"), "/r/team/app/trigger"] {
        assert_eq!(send(&reader, path).await, 403, "{path}");
    }
    reader.go(settings).await;
    assert_eq!(reader.status().await, 403);

    let writer = stage.signed_in("wanda").await;
    writer.go(&build).await;
    assert!(writer.has_button("Retry").await, "{}", writer.shown().await);
    writer.go(builds).await;
    writer.press_in("#trigger", "Trigger").await;
    writer.sees_in("main", "#2").await;
    writer.go(settings).await;
    assert_eq!(writer.status().await, 403);

    let stranger = stage.signed_in("eve").await;
    for path in [&build, builds, settings, "/r/team/app"] {
        stranger.go(path).await;
        assert_eq!(stranger.status().await, 404, "{path}: {}", stranger.shown().await);
    }
    assert_eq!(stage.server.builds("team/app").await.len(), 2);
}

//! What a session cookie is good for: what it takes to use it, and when it is over.

use std::time::Duration;

use chrono::TimeDelta;
use hullworks::store::Alive;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::app::{App, answer, document};

#[tokio::test]
async fn a_session_may_use_the_api_and_changes_things_only_with_the_token_of_its_pages() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    let token = browser.csrf().await.unwrap();
    let others = app.browser("ann").await.csrf().await.unwrap();
    let put = |token: Option<&str>| {
        let request = browser
            .request(Method::PUT, "/api/v1/repositories/ann/app")
            .json(&document());
        match token {
            Some(token) => request.header("x-csrf-token", token),
            None => request,
        }
    };
    for (wrong, why) in [
        (None, "no token"),
        (Some(""), "an empty one"),
        (Some(&token[1..]), "a part of it"),
        (Some(others.as_str()), "another session's, though of the same user"),
    ] {
        let (status, problem) = answer(put(wrong).send().await.unwrap()).await;
        assert_eq!(status, 403, "{why}: {problem:#}");
        assert!(
            problem["detail"].as_str().unwrap().contains("X-CSRF-Token"),
            "{problem:#}"
        );
    }
    assert_eq!(answer(put(Some(&token)).send().await.unwrap()).await.0, 201);
    let read = browser.request(Method::GET, "/api/v1/repositories/ann/app");
    let (status, document) = answer(read.send().await.unwrap()).await;
    assert_eq!(status, 200);
    assert!(
        document.get("webhook").is_some(),
        "it is seen as its owner sees it: {document:#}"
    );
}

#[tokio::test]
async fn what_another_site_sends_is_refused_whatever_it_carries() {
    let app = App::start().await;
    app.app().await;
    app.give_password("ann").await;
    let browser = app.browser("ann").await;
    let csrf = browser.csrf().await.unwrap();
    let trigger = "/api/v1/repositories/ann/app/trigger";
    let by_token = || app.request(&app.ann, Method::POST, trigger).json(&json!({}));
    let by_session = || {
        let request = browser.request(Method::POST, trigger).json(&json!({}));
        request.header("x-csrf-token", &csrf)
    };
    let sign_in = || {
        let form = [("name", "ann"), ("password", crate::sign_in::PASSWORD)];
        app.client.post(format!("{}/sign-in", app.url)).form(&form)
    };
    let requests: [(&str, &dyn Fn() -> RequestBuilder); 3] = [
        ("by a token", &by_token),
        ("by a session", &by_session),
        ("signing in", &sign_in),
    ];
    for (which, request) in requests {
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let refused = request().header(name, value).send().await.unwrap();
            assert_eq!(refused.status(), 403, "{which}: {name}: {value}");
            assert!(!refused.headers().contains_key("set-cookie"));
        }
        let own = request()
            .header("origin", &app.url)
            .header("sec-fetch-site", "same-origin");
        let status = own.send().await.unwrap().status();
        assert!(status.is_success() || status == 303, "{which}: {status}");
    }
    assert_eq!(
        by_token().send().await.unwrap().status(),
        202,
        "programs send no such header"
    );
    // Reading is not refused: a link on another site leads here.
    let read = browser.request(Method::GET, "/").header("sec-fetch-site", "cross-site");
    assert_eq!(read.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_webhook_does_not_depend_on_where_it_comes_from() {
    let app = App::start().await;
    let repository = app.app().await;
    let body = crate::app::payload("refs/heads/main", &crate::app::commit('a'), "message").to_string();
    let request = app
        .webhook(&repository, "push", "one", &body)
        .header("origin", "https://forge.example.com");
    let (status, _) = answer(
        request
            .header("sec-fetch-site", "cross-site")
            .body(body)
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(status, 202);
}

#[tokio::test]
async fn a_session_is_over_after_two_weeks_without_use_and_makes_its_sender_nobody() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    app.pass(TimeDelta::hours(23));
    assert_eq!(browser.get("/settings/profile").await.status, 200);
    // `App::browser` makes sessions that expire after a day.
    app.pass(TimeDelta::hours(2));
    let page = browser.get("/settings/profile").await;
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/sign-in?next=%2Fsettings%2Fprofile"))
    );
    assert_eq!(
        browser.get("/").await.status,
        200,
        "what everybody may see is still seen"
    );
    app.give_password("ann").await;
    let browser = app.stranger();
    crate::sign_in::sign_in(&browser, "ann", crate::sign_in::PASSWORD).await;
    app.pass(TimeDelta::days(13));
    assert_eq!(browser.get("/settings/profile").await.status, 200);
    seen_now(&app).await;
    app.pass(TimeDelta::days(13));
    assert_eq!(
        browser.get("/settings/profile").await.status,
        200,
        "it was used in between"
    );
    seen_now(&app).await;
    app.pass(TimeDelta::days(15));
    assert_eq!(browser.get("/settings/profile").await.status, 303);
}

/// Waits until it is noted that the one session of `ann` was used.
async fn seen_now(app: &App) {
    let ann = app.store.user_named("ann").await.unwrap().unwrap();
    let now = app.clock.now();
    let alive = Alive {
        now,
        idle_since: now - TimeDelta::minutes(1),
    };
    for _ in 0..500 {
        if !app.store.sessions_of(&ann.id, alive).await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the use of a session was not noted");
}

#[tokio::test]
async fn a_cookie_that_is_none_of_ours_is_nobodys() {
    let app = App::start().await;
    for cookie in [
        "hullworks_session=",
        "hullworks_session=x",
        "hullworks_session=%00",
        "hullworks_session=' or 1=1 --",
        "hullworks_session",
        "=;=;;",
        &format!("hullworks_session={}", "0".repeat(64)),
        &format!("hullworks_session={}", "0".repeat(20_000)),
        &format!("hullworks_session={}", app.ann),
    ] {
        let request = app
            .client
            .get(format!("{}/api/v1/registries", app.url))
            .header("cookie", cookie);
        assert_eq!(answer(request.send().await.unwrap()).await.0, 401, "{cookie}");
    }
}

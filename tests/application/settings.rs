//! What people set for themselves: profile, password, sessions, tokens.

use chrono::TimeDelta;
use hullworks::{domain::repository::Visibility, store::Profile};
use reqwest::Method;
use serde_json::json;

use crate::{
    app::{App, document},
    sign_in::{PASSWORD, sign_in},
};

const PAGES: [&str; 5] = [
    "/settings/profile",
    "/settings/password",
    "/settings/sessions",
    "/settings/tokens",
    "/settings/accounts",
];

#[tokio::test]
async fn settings_are_for_those_who_are_signed_in() {
    let app = App::start().await;
    let (ann, stranger) = (app.browser("ann").await, app.stranger());
    for path in PAGES {
        let page = ann.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(
            page.text.contains(&format!("href=\"{path}\" aria-current=\"page\"")),
            "{path}"
        );
        assert_eq!(stranger.get(path).await.status, 303, "{path}");
    }
    for path in [
        "/settings/profile",
        "/settings/profile/visibility",
        "/settings/password",
        "/settings/sessions/end",
        "/settings/sessions/end-others",
        "/settings/tokens",
        "/settings/tokens/revoke",
    ] {
        assert_eq!(stranger.post(path, &[]).await.status, 401, "{path}");
        assert_eq!(
            ann.post_as_it_is(path, &[]).await.status,
            403,
            "{path} without the token of the form"
        );
        let page = ann.post(path, &[("is_admin", "true")]).await;
        assert_eq!(page.status, 422, "{path} with a field that is not known");
    }
}

#[tokio::test]
async fn a_profile_is_saved_and_what_is_refused_is_kept_for_mending() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    let form = |website: &'static str| {
        [
            ("full_name", " Ann <b>Example</b> "),
            ("about", "Two\r\nlines & <script>alert(1)</script>"),
            ("email", "ann@example.com"),
            ("website", website),
        ]
    };
    let page = browser.post("/settings/profile", &form("javascript:alert(1)")).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text.contains("website-wrong") && page.text.contains("ann@example.com"),
        "{}",
        page.text
    );
    assert!(
        !page.text.contains("<script>alert") && !page.text.contains("<b>Example"),
        "{}",
        page.text
    );
    let ann = app.store.user_named("ann").await.unwrap().unwrap();
    assert_eq!(
        app.store.profile(&ann.id).await.unwrap().unwrap().full_name,
        "",
        "nothing was saved"
    );
    let page = browser.post("/settings/profile", &form("https://example.com/")).await;
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/settings/profile"))
    );
    let saved = app.store.profile(&ann.id).await.unwrap().unwrap();
    assert_eq!(saved.full_name, "Ann <b>Example</b>");
    assert_eq!(saved.about, "Two\nlines & <script>alert(1)</script>");
    let page = browser.get("/settings/profile").await;
    assert!(page.text.contains("https://example.com/") && !page.text.contains("<script>alert"));
    let page = browser
        .post("/settings/profile/visibility", &[("default_visibility", "private")])
        .await;
    assert_eq!(page.status, 303);
    assert_eq!(
        app.store.default_visibility(&ann.id).await.unwrap(),
        Some(Visibility::Private)
    );
    let page = browser
        .post("/settings/profile/visibility", &[("default_visibility", "secret")])
        .await;
    assert_eq!(page.status, 422);
}

#[tokio::test]
async fn a_persons_page_shows_what_the_viewer_may_see() {
    let app = App::start().await;
    app.app().await;
    let mut private = document();
    private["visibility"] = json!("private");
    app.put("/api/v1/repositories/ann/secret", private).await;
    let ann = app.store.user_named("ann").await.unwrap().unwrap();
    let profile = Profile {
        full_name: "Ann <i>Example</i>".to_owned(),
        about: "Two\nlines <script>alert(1)</script>".to_owned(),
        email: "ann@example.com".to_owned(),
        website: "https://example.com/?a=1&b=\"".to_owned(),
    };
    app.store.set_profile(&ann.id, &profile).await.unwrap();
    for (browser, sees_all) in [
        (app.stranger(), false),
        (app.browser("bob").await, false),
        (app.browser("ann").await, true),
        (app.browser("root").await, true),
    ] {
        let page = browser.get("/u/ann").await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("/r/ann/app"), "{}", page.text);
        assert_eq!(page.text.contains("secret"), sees_all, "{}", page.text);
        assert!(page.text.contains("Two\nlines &#60;script&#62;"), "{}", page.text);
        assert!(
            page.text.contains("href=\"https://example.com/?a=1&#38;b=&#34;\""),
            "{}",
            page.text
        );
        assert!(
            !page.text.contains("<i>") && !page.text.contains("<script>alert"),
            "{}",
            page.text
        );
        assert!(
            !page.text.contains("ann@example.com"),
            "an address is for its owner alone"
        );
    }
    for path in ["/u/none", "/u/Ann", "/u/%00", "/u/..%2f"] {
        assert_eq!(app.browser("root").await.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_new_password_takes_the_old_one_and_ends_every_other_session() {
    let app = App::start().await;
    app.give_password("ann").await;
    let (browser, other) = (app.stranger(), app.stranger());
    sign_in(&browser, "ann", PASSWORD).await;
    sign_in(&other, "ann", PASSWORD).await;
    let change = async |current: &str, new: &str| {
        browser
            .post("/settings/password", &[("current", current), ("new", new)])
            .await
    };
    let page = change("wrong password", "a new password").await;
    assert_eq!(page.status, 422);
    assert!(
        page.text.contains("current-wrong") && page.text.contains("it is not your password"),
        "{}",
        page.text
    );
    let page = change(PASSWORD, "short").await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("new-wrong"), "{}", page.text);
    assert_eq!(other.get("/settings/profile").await.status, 200);
    let before = browser.copy();
    let page = change(PASSWORD, "a new password").await;
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/settings/password"))
    );
    assert_eq!(browser.get("/settings/profile").await.status, 200, "this one goes on");
    assert_eq!(before.get("/settings/profile").await.status, 303, "by a new cookie");
    assert_eq!(other.get("/settings/profile").await.status, 303);
    assert_eq!(sign_in(&app.stranger(), "ann", PASSWORD).await.status, 422);
    assert_eq!(sign_in(&app.stranger(), "ann", "a new password").await.status, 303);
    assert_eq!(app.get("/api/v1/namespaces/ann/registries").await.0, 200, "tokens stay");
    let form = [
        ("current", "a new password"),
        ("new", "a newer password"),
        ("revoke_tokens", "true"),
    ];
    assert_eq!(browser.post("/settings/password", &form).await.status, 303);
    assert_eq!(
        app.get("/api/v1/namespaces/ann/registries").await.0,
        401,
        "unless their owner says otherwise"
    );
}

#[tokio::test]
async fn whoever_finds_a_browser_open_cannot_guess_on() {
    let app = App::start().await;
    app.give_password("ann").await;
    let browser = app.browser("ann").await;
    let guess = [("current", "wrong password"), ("new", "a new password")];
    for _ in 0..5 {
        assert_eq!(browser.post("/settings/password", &guess).await.status, 422);
    }
    let page = browser.post("/settings/password", &guess).await;
    assert_eq!(page.status, 429);
    assert!(page.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all_others_at_once() {
    let app = App::start().await;
    app.give_password("ann").await;
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 <script>alert(1)</script>";
    let form = [("name", "ann"), ("password", PASSWORD)];
    let request = app
        .client
        .post(format!("{}/sign-in", app.url))
        .header("user-agent", agent);
    request
        .header("x-forwarded-for", "192.0.2.7")
        .form(&form)
        .send()
        .await
        .unwrap();
    let (browser, other) = (app.browser("ann").await, app.browser("ann").await);
    let bob = app.browser("bob").await;
    let page = browser.get("/settings/sessions").await;
    assert_eq!(page.text.matches("name=\"id\"").count(), 3, "{}", page.text);
    assert!(
        page.text.contains("Firefox on Linux") && page.text.contains("192.0.2.7"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("<script>alert"));
    assert_eq!(page.text.matches("this browser").count(), 1);
    let list = other.get("/settings/sessions").await.text;
    let own = list.split("this browser").nth(1).unwrap();
    let own = own
        .split("name=\"id\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(
        bob.post("/settings/sessions/end", &[("id", own)]).await.status,
        404,
        "not one of bob's"
    );
    assert_eq!(browser.post("/settings/sessions/end", &[("id", own)]).await.status, 303);
    assert_eq!(other.get("/settings/sessions").await.status, 303, "it was ended");
    assert_eq!(browser.post("/settings/sessions/end", &[("id", own)]).await.status, 404);
    assert_eq!(browser.post("/settings/sessions/end-others", &[]).await.status, 303);
    let page = browser.get("/settings/sessions").await;
    assert_eq!(page.text.matches("name=\"id\"").count(), 1, "{}", page.text);
    let own = page
        .text
        .split("name=\"id\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let page = browser.post("/settings/sessions/end", &[("id", own)]).await;
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/sign-in")),
        "ending one's own signs out"
    );
    assert_eq!(browser.cookie(), None);
    assert_eq!(bob.get("/settings/sessions").await.status, 200);
}

/// The token on a page that shows one.
fn shown_token(page: &str) -> Option<String> {
    let (_, after) = page.split_once("data-copy=\"hwt_")?;
    Some(format!("hwt_{}", after.split('"').next().unwrap()))
}

#[tokio::test]
async fn a_token_is_shown_once_used_and_revoked() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    let make = async |label: &str, scope: &str, expires: &str| {
        let form = [("label", label), ("scope", scope), ("expires", expires)];
        browser.post("/settings/tokens", &form).await
    };
    let page = make("the <b>laptop</b>", "admin", "7d").await;
    assert_eq!(page.status, 200);
    let token = shown_token(&page.text).unwrap();
    assert!(!page.text.contains("<b>laptop"), "{}", page.text);
    let list = browser.get("/settings/tokens").await.text;
    assert_eq!(shown_token(&list), None, "it is shown once");
    assert!(!list.contains(&token) && list.contains("laptop"));
    let by = |token: &str| app.request(token, Method::GET, "/api/v1/namespaces/ann/registries");
    assert_eq!(by(&token).send().await.unwrap().status(), 200);
    app.pass(TimeDelta::days(8));
    let browser = app.browser("ann").await;
    assert_eq!(by(&token).send().await.unwrap().status(), 401, "it has expired");
    let list = browser.get("/settings/tokens").await.text;
    assert!(list.contains("expired"), "{list}");
    let form = [("label", "robot"), ("scope", "admin"), ("expires", "never")];
    let token = shown_token(&browser.post("/settings/tokens", &form).await.text).unwrap();
    assert_eq!(by(&token).send().await.unwrap().status(), 200);
    let list = browser.get("/settings/tokens").await.text;
    let (_, after) = list.split_once("name=\"id\" value=\"").unwrap();
    let id = after.split('"').next().unwrap();
    let bob = app.browser("bob").await;
    assert_eq!(
        bob.post("/settings/tokens/revoke", &[("id", id)]).await.status,
        404,
        "not one of bob's"
    );
    assert_eq!(by(&token).send().await.unwrap().status(), 200);
    assert_eq!(browser.post("/settings/tokens/revoke", &[("id", id)]).await.status, 303);
    assert_eq!(by(&token).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_token_that_cannot_be_made_is_refused_by_field() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    for (label, scope, expires, field) in [
        ("", "read", "7d", "label"),
        (&*"x".repeat(101), "read", "7d", "label"),
        ("robot", "read", "10000y", "expires"),
    ] {
        let page = browser
            .post(
                "/settings/tokens",
                &[("label", label), ("scope", scope), ("expires", expires)],
            )
            .await;
        assert_eq!(page.status, 422, "{field}");
        assert!(
            page.text.contains(&format!("{field}-wrong\">")),
            "{field}: {}",
            page.text
        );
        assert_eq!(shown_token(&page.text), None);
    }
    let form = [("label", "robot"), ("scope", "owner"), ("expires", "7d")];
    assert_eq!(browser.post("/settings/tokens", &form).await.status, 422);
}

#[tokio::test]
async fn many_tokens_are_listed_page_by_page() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    for n in 0..3 {
        let form = [("label", &*format!("robot {n}")), ("scope", "read"), ("expires", "7d")];
        browser.post("/settings/tokens", &form).await;
    }
    let first = browser.get("/settings/tokens?limit=2").await.text;
    assert!(
        first.contains("robot 2") && first.contains("robot 1") && !first.contains("robot 0"),
        "{first}"
    );
    let (_, after) = first.split_once("href=\"/settings/tokens?cursor=").unwrap();
    let cursor = after.split('"').next().unwrap();
    let second = browser.get(&format!("/settings/tokens?cursor={cursor}")).await.text;
    assert!(second.contains("robot 0") && !second.contains("robot 1"), "{second}");
}

//! Create automated build: what the form makes, what it refuses, and what it never shows again.

use reqwest::Method;
use serde_json::json;

use crate::{
    app::{App, payload},
    browser::{Browser, Page},
};

/// Closes an attribute and an element, whichever it gets into.
const MARKUP: &str = "\"'><script>alert(1)</script>";

/// The form as the page has it at first, with what is needed to be saved.
const FORM: [(&str, &str); 13] = [
    ("source.provider", "github"),
    ("source.url", "https://github.com/acme/app.git"),
    ("source.submodules", "true"),
    ("namespace", "ann"),
    ("name", "app"),
    ("visibility", "public"),
    ("rules[0].source_type", "branch"),
    ("rules[0].source", "main"),
    ("rules[0].docker_tag", "latest"),
    ("rules[0].dockerfile", "Dockerfile"),
    ("rules[0].context", "/"),
    ("rules[0].autobuild", "true"),
    ("rules[0].cache", "true"),
];

/// The form with other values for some fields, and more fields.
fn form<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<(&str, &str)> = FORM.to_vec();
    for &(name, value) in changes {
        match fields.iter_mut().find(|(known, _)| *known == name) {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
    }
    fields
}

async fn create(browser: &Browser, changes: &[(&str, &str)]) -> Page {
    browser.post("/new", &form(changes)).await
}

/// What stands between `before` and the next `<`.
fn text_after<'t>(text: &'t str, before: &str) -> &'t str {
    let (_, after) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {text}"));
    after.split('<').next().unwrap()
}

#[tokio::test]
async fn the_form_begins_with_the_defaults_of_docker_hub() {
    let app = App::start().await;
    let page = app.browser("ann").await.get("/new").await;
    assert_eq!(page.status, 200);
    for (field, value) in [
        ("rules[0].source", "main"),
        ("rules[0].docker_tag", "latest"),
        ("rules[0].dockerfile", "Dockerfile"),
        ("rules[0].context", "/"),
    ] {
        let input = format!("name=\"{field}\" value=\"{}\"", value);
        assert!(page.text.contains(&input), "{input}\n{}", page.text);
    }
    assert!(
        page.text.contains("Docker tag<span class=\"sr\"> of rule 1</span>"),
        "{}",
        page.text
    );
    assert!(
        page.text.contains("placeholder=\"r.example.com/ann/name\""),
        "{}",
        page.text
    );
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_led_to_do_so_and_back() {
    let app = App::start().await;
    let stranger = app.stranger();
    let page = stranger.get("/new").await;
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/sign-in?next=%2Fnew"))
    );
    for path in ["/new", "/new/preview"] {
        assert_eq!(stranger.post(path, &FORM).await.status, 401, "{path}");
    }
    assert_eq!(app.get("/api/v1/repositories/ann/app").await.0, 404);
}

#[tokio::test]
async fn a_form_without_the_sessions_token_makes_nothing() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    for path in ["/new", "/new/preview"] {
        assert_eq!(browser.post_as_it_is(path, &FORM).await.status, 403, "{path}");
    }
    assert_eq!(app.get("/api/v1/repositories/ann/app").await.0, 404);
}

#[tokio::test]
async fn saving_makes_the_repository_starts_its_first_build_and_shows_the_secret_once() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    let saved = create(
        &browser,
        &[
            ("visibility", "private"),
            ("description", "An image"),
            ("links[0]", "alpine:3.20"),
            ("links[1]", " "),
            ("rules[0].build_args[0].name", "VERSION"),
            ("rules[0].build_args[0].value", "1 2"),
            ("rules[1].source_type", "tag"),
            ("rules[1].source", "/^v(.*)$/"),
            ("rules[1].docker_tag", "{\\1}"),
            ("rules[1].dockerfile", "Dockerfile"),
            ("rules[1].context", "/app"),
        ],
    )
    .await;
    assert_eq!(
        (saved.status, saved.location.as_deref()),
        (303, Some("/r/ann/app/created")),
        "{}",
        saved.text
    );
    browser.keep_cookies(&saved);

    let (_, document) = app.get("/api/v1/repositories/ann/app").await;
    assert_eq!(document["visibility"], "private");
    assert_eq!(document["image"], "r.example.com/ann/app");
    assert_eq!(document["source"]["url"], "https://github.com/acme/app.git");
    assert_eq!(document["source"]["submodules"], true);
    assert_eq!(document["detect_base_images"], false);
    assert_eq!(document["links"], json!(["docker.io/library/alpine:3.20"]));
    assert_eq!(document["rules"][0]["build_args"], json!({ "VERSION": "1 2" }));
    assert_eq!(document["rules"][0]["autobuild"], true);
    assert_eq!(document["rules"][1]["source"], "/^v(.*)$/");
    assert_eq!(document["rules"][1]["cache"], false);
    let build = document["last_build"]["id"].as_str().unwrap().to_owned();
    let (_, build_document) = app.get(&format!("/api/v1/builds/{build}")).await;
    assert_eq!(build_document["cause"], json!({ "kind": "create", "user": "ann" }));

    let page = browser.get("/r/ann/app/created").await;
    assert_eq!(page.status, 200);
    assert!(
        page.text.contains(document["webhook"]["url"].as_str().unwrap()),
        "{}",
        page.text
    );
    assert!(page.text.contains(&format!("/builds/{build}")), "{}", page.text);
    let (_, secret) = page.text.split_once("id=\"webhook-secret\"").unwrap();
    let secret = text_after(secret, "aria-label=\"the secret\">");
    assert!(secret.len() >= 20, "{secret}");

    // It is the one that deliveries are checked with.
    let push = payload("refs/heads/main", &"a".repeat(40), "one");
    let request = app.signed_webhook(&document, "push", "d1", &push.to_string(), secret);
    assert_eq!(request.send().await.unwrap().status(), 202);

    browser.keep_cookies(&page);
    let again = browser.get("/r/ann/app/created").await;
    assert_eq!(again.status, 200);
    assert!(
        !again.text.contains(secret) && !again.text.contains("webhook-secret"),
        "{}",
        again.text
    );
    assert!(again.text.contains("The first delivery arrived"), "{}", again.text);
    for cookie in [&saved, &page].into_iter().flat_map(Page::cookies) {
        assert!(!cookie.contains(secret), "{cookie}");
    }
}

#[tokio::test]
async fn a_secret_on_its_way_is_of_no_use_to_another_session() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    let saved = create(&browser, &[]).await;
    let other = app.browser("ann").await;
    other.keep_cookies(&saved);
    let page = other.get("/r/ann/app/created").await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("id=\"webhook-secret\""), "{}", page.text);
}

#[tokio::test]
async fn every_refused_field_is_named_beside_its_input_and_what_was_typed_is_kept() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    let page = create(
        &browser,
        &[
            ("name", "App"),
            ("source.url", "ssh://git@example.com/app.git"),
            ("description", "still here"),
            ("source.credentials.username", "ann"),
            ("source.credentials.password", "canary-password"),
            ("build_secrets[0].name", "NPM"),
            ("build_secrets[0].value", "canary-secret"),
            ("build_secrets[1].name", "PIP"),
            ("build_secrets[1].value", ""),
            ("rules[0].docker_tag", "a b"),
            ("rules[0].build_args[0].name", "NPM"),
            ("rules[0].build_args[0].value", "x"),
            ("rules[0].build_args[1].name", "TWICE"),
            ("rules[0].build_args[1].value", "1"),
            ("rules[0].build_args[2].name", "TWICE"),
            ("rules[0].build_args[2].value", "2"),
            ("rules[1].source_type", "branch"),
            ("rules[1].source", "/(/"),
            ("rules[1].docker_tag", "latest"),
            ("rules[1].dockerfile", "Dockerfile"),
            ("rules[1].context", "/"),
            ("links[0]", "Not An Image"),
        ],
    )
    .await;
    assert_eq!(page.status, 422, "{}", page.text);
    for label in [
        "Name",
        "Address of the repository",
        "Docker tag of rule 1",
        "Branch or tag of rule 2",
        "Build argument of rule 1",
        "Base image 1",
        "Build secret 2",
    ] {
        assert!(page.text.contains(&format!(">{label}</a>")), "{label}: {}", page.text);
    }
    for field in ["name", "source.url", "rules[0].docker_tag", "rules[1].source"] {
        assert!(
            page.text.contains(&format!("id=\"{field}-wrong\"")),
            "{field}: {}",
            page.text
        );
    }
    for kept in [
        "still here",
        "value=\"App\"",
        "ssh://git@example.com/app.git",
        "value=\"a b\"",
        "value=\"/(/\"",
        "Not An Image",
    ] {
        assert!(page.text.contains(kept), "{kept}: {}", page.text);
    }
    assert!(!page.text.contains("canary"), "{}", page.text);
    assert_eq!(app.get("/api/v1/repositories/ann/app").await.0, 404);
}

#[tokio::test]
async fn half_of_the_credentials_is_not_taken_for_none() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    for (given, missing) in [("username", "password"), ("password", "username")] {
        let page = create(&browser, &[(&format!("source.credentials.{given}"), "x")]).await;
        assert_eq!(page.status, 422);
        let id = format!("id=\"source.credentials.{missing}-wrong\"");
        assert!(page.text.contains(&id), "{}", page.text);
    }
}

#[tokio::test]
async fn markup_in_every_field_stays_text() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    let names = [
        "source.provider",
        "source.url",
        "source.credentials.username",
        "namespace",
        "name",
        "visibility",
        "image",
        "description",
        "try_name",
        "version",
        "rules[0].source",
        "rules[0].docker_tag",
        "rules[0].dockerfile",
        "rules[0].context",
        "rules[0].target",
        "rules[0].platforms",
        "rules[0].paths",
        "rules[0].build_args[0].name",
        "rules[0].build_args[0].value",
        "links[0]",
        "build_secrets[0].name",
        "build_secrets[0].value",
    ];
    let changes: Vec<(&str, &str)> = names.iter().map(|name| (*name, MARKUP)).collect();
    for path in ["/new", "/new/preview"] {
        for extra in ["preview", ""] {
            let mut fields = form(&changes);
            if !extra.is_empty() {
                fields.push(("do", extra));
            }
            let page = browser.post(path, &fields).await;
            assert!([200, 422].contains(&page.status), "{}", page.status);
            assert!(!page.text.contains("<script>alert"), "{}", page.text);
        }
    }
    // In the name of a field, too.
    let page = browser.post("/new", &[(MARKUP, "x")]).await;
    assert_eq!(page.status, 422);
    assert!(!page.text.contains("<script>alert"), "{}", page.text);
}

#[tokio::test]
async fn rows_are_added_and_removed_without_script_and_nothing_is_saved() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    let page = create(&browser, &[("rules[0].source", "kept"), ("add", "rules")]).await;
    assert_eq!(page.status, 200);
    assert!(
        page.text.contains("name=\"rules[1].source\"") && page.text.contains("value=\"kept\""),
        "{}",
        page.text
    );
    let page = create(
        &browser,
        &[("links[0]", "alpine"), ("links[1]", "busybox"), ("remove", "links[0]")],
    )
    .await;
    assert!(
        page.text.contains("name=\"links[0]\" value=\"busybox\""),
        "{}",
        page.text
    );
    assert!(!page.text.contains("links[1]"), "{}", page.text);
    let page = create(&browser, &[("add", "rules[0].build_args")]).await;
    assert!(
        page.text.contains("name=\"rules[0].build_args[0].name\""),
        "{}",
        page.text
    );
    for bad in ["rules[7]", "users", "rules[0].build_args[0]"] {
        assert_eq!(create(&browser, &[("remove", bad)]).await.status, 422, "{bad}");
    }
    assert_eq!(app.get("/api/v1/repositories/ann/app").await.0, 404);
}

#[tokio::test]
async fn each_rule_shows_what_it_would_build_for_the_ref_that_is_tried() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    let changes = [
        ("rules[1].source_type", "branch"),
        ("rules[1].source", "/^release-(.*)$/"),
        ("rules[1].docker_tag", "{\\1},stable"),
        ("rules[1].dockerfile", "Dockerfile"),
        ("rules[1].context", "/app"),
        ("rules[1].autobuild", "true"),
        ("try_name", "release-7"),
    ];
    let fragment = browser.post("/new/preview", &form(&changes)).await;
    assert_eq!(fragment.status, 200);
    assert!(!fragment.text.contains("<html"), "{}", fragment.text);
    for expected in [
        "`release-7` is not `main`",
        "r.example.com/ann/app:7",
        "r.example.com/ann/app:stable",
        "/app/Dockerfile",
    ] {
        assert!(fragment.text.contains(expected), "{expected}: {}", fragment.text);
    }
    let mut fields = form(&changes);
    fields.push(("do", "preview"));
    let page = browser.post("/new", &fields).await;
    assert!(
        page.text.contains("r.example.com/ann/app:stable") && page.text.contains("<html"),
        "{}",
        page.text
    );
}

#[tokio::test]
async fn nobody_makes_repositories_where_they_may_not() {
    let app = App::start().await;
    let page = create(&app.browser("ann").await, &[("namespace", "bob")]).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text.contains("you may not make repositories in `bob`"),
        "{}",
        page.text
    );
    // Administrators may, by typing the name.
    let root = app.browser("root").await;
    let page = create(&root, &[("namespace", "root"), ("other_namespace", "bob")]).await;
    assert_eq!(page.location.as_deref(), Some("/r/bob/app/created"), "{}", page.text);
    let (status, _) = app
        .call(&app.bob, Method::GET, "/api/v1/repositories/bob/app", None)
        .await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_and_the_repository_stays_as_it_is() {
    let app = App::start().await;
    let before = app.app().await;
    let page = create(&app.browser("ann").await, &[("description", "mine")]).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("exists already"), "{}", page.text);
    let (_, after) = app.get("/api/v1/repositories/ann/app").await;
    assert_eq!(after["updated_at"], before["updated_at"]);
}

#[tokio::test]
async fn a_form_with_fields_of_its_own_invention_is_refused() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    for field in [
        "role",
        "rules[0].id",
        "rules[5].source",
        "source.webhook_secret",
        "stars",
    ] {
        assert_eq!(create(&browser, &[(field, "x")]).await.status, 422, "{field}");
    }
    assert_eq!(app.get("/api/v1/repositories/ann/app").await.0, 404);
}

#[tokio::test]
async fn the_page_of_the_webhook_is_for_those_who_may_change_the_repository() {
    let app = App::start().await;
    create(&app.browser("ann").await, &[("visibility", "private")]).await;
    assert_eq!(app.stranger().get("/r/ann/app/created").await.status, 303);
    assert_eq!(app.browser("bob").await.get("/r/ann/app/created").await.status, 404);
    create(&app.browser("ann").await, &[("name", "open")]).await;
    assert_eq!(app.browser("bob").await.get("/r/ann/open/created").await.status, 403);
}

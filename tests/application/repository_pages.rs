//! Pages on which repositories are found and read.

use hullworks::{
    domain::{
        build::{BaseImage, Ending, ErrorKind, Failure},
        documents::{Document, Documents},
    },
    store::{Leased, PushedTag},
};
use reqwest::{Method, StatusCode, header};
use serde_json::json;

use crate::app::{App, commit, document, payload};

/// The repository `ann/NAME` with a description.
async fn repository(app: &App, name: &str, visibility: &str, description: &str) {
    let mut wanted = document();
    wanted["visibility"] = json!(visibility);
    wanted["description"] = json!(description);
    let (status, answer) = app.put(&format!("/api/v1/repositories/ann/{name}"), wanted).await;
    assert_eq!(status, 201, "{answer:#}");
}

/// Starts and claims a build of `ann/NAME`.
async fn claimed(app: &App, name: &str) -> Leased {
    let (status, answer) = app
        .post(&format!("/api/v1/repositories/ann/{name}/trigger"), json!({}))
        .await;
    assert_eq!(status, 202, "{answer:#}");
    app.claim().await
}

/// A build of `ann/NAME` that pushes one tag and leaves a README.
async fn succeeded(app: &App, name: &str, tag: &str, readme: &str) {
    let leased = claimed(app, name).await;
    let (lease, order) = (&leased.lease, &leased.build.push_order);
    let image = format!("r.example.com/ann/{name}");
    let now = app.clock.now();
    app.store.claim_tag(lease, order, &image, tag, now).await.unwrap();
    let pushed = PushedTag {
        image: &image,
        tag,
        digest: Some("sha256:0123456789abcdef"),
        image_bytes: Some(4_200_000),
        at: now,
    };
    app.store.tag_pushed(lease, order, &pushed).await.unwrap();
    let documents = Documents {
        readme: Some(Document::new("README.md", readme.as_bytes())),
        dockerfile: Some(Document::new("Dockerfile", b"FROM alpine:3.20\nRUN echo '<b>'\n")),
    };
    app.store.record_documents(lease, order, &documents).await.unwrap();
    let base = BaseImage {
        name: "docker.io/library/alpine:3.20".to_owned(),
        digest: Some("sha256:fedcba9876543210".to_owned()),
        pinned: false,
    };
    let ending = Ending::Succeeded {
        digest: Some("sha256:0123456789abcdef".to_owned()),
    };
    app.store.finish(lease, &ending, &[base], now).await.unwrap();
}

#[tokio::test]
async fn without_signing_in_the_start_shows_what_is_public_and_nothing_else() {
    let app = App::start().await;
    repository(&app, "app", "public", "<script>alert(1)</script>").await;
    repository(&app, "unseen", "private", "").await;
    for path in ["/", "/explore", "/explore?namespace=ann"] {
        let page = app.stranger().get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text.contains(r#"href="/r/ann/app""#), "{path}");
        assert!(
            !page.text.contains("unseen") && !page.text.contains("<script>"),
            "{path}"
        );
        assert!(page.text.contains("/sign-in"), "{path}");
    }
}

#[tokio::test]
async fn the_start_shows_ones_own_repositories_with_their_last_builds() {
    let app = App::start().await;
    let empty = app.browser("ann").await.get("/").await;
    assert!(empty.text.contains("one push away") && empty.text.contains(r#"href="/new""#));
    repository(&app, "app", "public", "what it does").await;
    repository(&app, "unseen", "private", "").await;
    succeeded(&app, "app", "latest", "").await;
    let failing = claimed(&app, "unseen").await;
    let failure = Failure::new(ErrorKind::Build, "no");
    app.finish(&failing.lease, Ending::Failed(failure)).await;
    let running = claimed(&app, "app").await;
    let page = app.browser("ann").await.get("/").await.text;
    for shown in [
        "what it does".to_owned(),
        "1 tag".to_owned(),
        format!(r#"href="/builds/{}""#, failing.build.id),
        format!(r#"href="/builds/{}""#, running.build.id),
        "is-running".to_owned(),
    ] {
        assert!(page.contains(&shown), "{shown}\n{page}");
    }
    let other = app.browser("bob").await;
    for path in ["/", "/?namespace=ann"] {
        let page = other.get(path).await.text;
        assert!(
            !page.contains("unseen") && !page.contains(&failing.build.id.to_string()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn lists_are_filtered_and_paged_and_bad_addresses_refused() {
    let app = App::start().await;
    for number in 0..52 {
        repository(&app, &format!("app{number:02}"), "public", "").await;
    }
    let stranger = app.stranger();
    let first = stranger.get("/explore").await.text;
    assert!(first.contains("ann/</span>app49") && !first.contains("ann/</span>app50"));
    let next = first
        .split('"')
        .find(|part| part.starts_with("/explore?after="))
        .unwrap();
    let second = stranger.get(next).await.text;
    assert!(second.contains("ann/</span>app50") && !second.contains("ann/</span>app49"));
    assert!(!second.contains("rel=\"next\""));
    let filtered = stranger.get("/explore?q=APP07").await.text;
    assert!(filtered.contains("ann/</span>app07") && !filtered.contains("ann/</span>app08"));
    let nothing = stranger.get("/explore?q=%22%3E%3Cscript%3E").await.text;
    assert!(nothing.contains("Nothing found") && !nothing.contains("\"><script>"));
    for path in [
        "/explore?after=x",
        "/explore?namespace=A..",
        "/explore?surprise=1",
        &format!("/explore?q={}", "x".repeat(201)),
        "/explore?q=%00",
    ] {
        assert_eq!(stranger.get(path).await.status, 422, "{path}");
    }
}

#[tokio::test]
async fn a_star_is_given_on_the_page_counted_in_the_document_and_found_again() {
    let app = App::start().await;
    repository(&app, "app", "public", "").await;
    let bob = app.browser("bob").await;
    assert!(bob.get("/stars").await.text.contains("No stars yet"));
    let starred = bob.post("/r/ann/app/star", &[("star", "yes")]).await;
    assert_eq!((starred.status, starred.location.as_deref()), (303, Some("/r/ann/app")));
    assert!(bob.get("/r/ann/app").await.text.contains(r#"aria-pressed="true""#));
    assert!(bob.get("/stars").await.text.contains(r#"href="/r/ann/app""#));
    let stars = async || app.get("/api/v1/repositories/ann/app").await.1["stars"].clone();
    assert_eq!(stars().await, 1);
    let path = "/api/v1/repositories/ann/app/star";
    assert_eq!(app.call(&app.ann, Method::PUT, path, None).await.0, 204);
    assert_eq!(stars().await, 2);
    assert_eq!(app.call(&app.ann, Method::DELETE, path, None).await.0, 204);
    bob.post("/r/ann/app/star", &[("star", "no")]).await;
    assert_eq!(stars().await, 0);
    assert_eq!(app.call("", Method::PUT, path, None).await.0, 401);
}

#[tokio::test]
async fn a_star_needs_a_form_of_ours_and_a_repository_that_may_be_seen() {
    let app = App::start().await;
    repository(&app, "unseen", "private", "").await;
    repository(&app, "app", "public", "").await;
    let bob = app.browser("bob").await;
    for name in ["unseen", "absent"] {
        let path = format!("/r/ann/{name}/star");
        assert_eq!(bob.post(&path, &[("star", "yes")]).await.status, 404, "{name}");
        let path = format!("/api/v1/repositories/ann/{name}/star");
        for method in [Method::PUT, Method::DELETE] {
            assert_eq!(app.call(&app.bob, method, &path, None).await.0, 404, "{name}");
        }
    }
    assert_eq!(
        bob.post_as_it_is("/r/ann/app/star", &[("star", "yes")]).await.status,
        403
    );
    assert_eq!(bob.post("/r/ann/app/star", &[("star", "maybe")]).await.status, 422);
    let stranger = app
        .stranger()
        .post_as_it_is("/r/ann/app/star", &[("star", "yes")])
        .await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test]
async fn contributions_are_to_what_others_own() {
    let app = App::start().await;
    repository(&app, "app", "public", "").await;
    claimed(&app, "app").await;
    let (status, _) = app
        .call(
            &app.root,
            Method::POST,
            "/api/v1/repositories/ann/app/trigger",
            Some(json!({})),
        )
        .await;
    assert_eq!(status, 202);
    let path = r#"href="/r/ann/app""#;
    assert!(app.browser("root").await.get("/contributed").await.text.contains(path));
    assert!(!app.browser("ann").await.get("/contributed").await.text.contains(path));
    let stranger = app.stranger().get("/contributed").await;
    assert_eq!(
        (stranger.status, stranger.location.as_deref()),
        (303, Some("/sign-in?next=%2Fcontributed"))
    );
}

#[tokio::test]
async fn a_repository_shows_how_to_pull_it_and_what_its_last_successful_build_held() {
    let app = App::start().await;
    repository(&app, "app", "public", "a <b>bold</b> one").await;
    let before = app.stranger().get("/r/ann/app").await.text;
    assert!(before.contains("Not built yet") && before.contains("docker pull r.example.com/ann/app"));
    let readme = "# Title\n\n[go](https://a.example) <img src=x onerror=alert(1)>\n\n[bad](javascript:alert(1))";
    succeeded(&app, "app", "3.1", readme).await;
    let page = app.stranger().get("/r/ann/app").await.text;
    for shown in [
        "docker pull r.example.com/ann/app:3.1",
        r#"<h3 id="readme-title">Title</h3>"#,
        r#"<a href="https://a.example" rel="nofollow noopener">go</a>"#,
        "docker.io/library/alpine:3.20",
        "fedcba9",
        "4.2 MB",
        "0123456",
        "FROM alpine:3.20",
        "1 of the last 1 build succeeded",
        r#"class="bar is-succeeded""#,
        "/badge/ann/app.svg",
        r#"href="https://github.com/acme/app""#,
    ] {
        assert!(page.contains(shown), "{shown}\n{page}");
    }
    for inert in ["<img src=x", "javascript:", "<b>"] {
        assert!(!page.contains(inert), "{inert}\n{page}");
    }
    let tags = app.stranger().get("/r/ann/app/tags").await.text;
    assert!(
        tags.contains("docker pull r.example.com/ann/app:3.1") && tags.contains("build #1"),
        "{tags}"
    );
}

#[tokio::test]
async fn pages_offer_what_the_viewer_may_do() {
    let app = App::start().await;
    repository(&app, "app", "public", "").await;
    for (browser, may_write) in [
        (app.browser("ann").await, true),
        (app.browser("bob").await, false),
        (app.stranger(), false),
    ] {
        let page = browser.get("/r/ann/app").await.text;
        for below in ["deliveries", "settings"] {
            let link = format!(r#"href="/r/ann/app/{below}""#);
            assert_eq!(page.contains(&link), may_write, "{below}");
        }
    }
}

#[tokio::test]
async fn a_private_repository_is_as_if_it_were_not_there() {
    let app = App::start().await;
    repository(&app, "unseen", "private", "").await;
    let ann = app.browser("ann").await;
    for (browser, name) in [(app.browser("bob").await, "bob"), (app.stranger(), "nobody")] {
        for path in ["/r/ann/{}", "/r/ann/{}/tags", "/badge/ann/{}.svg"] {
            let hidden = browser.get(&path.replace("{}", "unseen")).await;
            let absent = browser.get(&path.replace("{}", "absent")).await;
            assert_eq!((hidden.status, absent.status), (404, 404), "{name} {path}");
            assert_eq!(hidden.text.replace("unseen", "absent"), absent.text, "{name} {path}");
            assert_eq!(ann.get(&path.replace("{}", "unseen")).await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn tags_are_paged() {
    let app = App::start().await;
    repository(&app, "app", "public", "").await;
    let leased = claimed(&app, "app").await;
    let (lease, order) = (&leased.lease, &leased.build.push_order);
    for number in 0..53 {
        let (tag, now) = (format!("v{number:02}"), app.clock.now());
        app.store
            .claim_tag(lease, order, "r.example.com/ann/app", &tag, now)
            .await
            .unwrap();
        let pushed = PushedTag {
            image: "r.example.com/ann/app",
            tag: &tag,
            digest: None,
            image_bytes: None,
            at: now,
        };
        app.store.tag_pushed(lease, order, &pushed).await.unwrap();
    }
    let stranger = app.stranger();
    let first = stranger.get("/r/ann/app/tags").await.text;
    assert!(first.contains(">v52<") && first.contains(">v03<") && !first.contains(">v02<"));
    let next = first.split('"').find(|part| part.contains("/tags?after=")).unwrap();
    let second = stranger.get(next).await.text;
    assert!(second.contains(">v02<") && second.contains(">v00<") && !second.contains(">v03<"));
    assert_eq!(stranger.get("/r/ann/app/tags?after=nothing").await.status, 422);
}

#[tokio::test]
async fn a_badge_tells_how_builds_go_and_may_be_kept_for_a_minute() {
    let app = App::start().await;
    repository(&app, "app", "public", "").await;
    let stranger = app.stranger();
    let text = async |query: &str| stranger.get(&format!("/badge/ann/app.svg{query}")).await.text;
    assert!(text("").await.contains("unknown"));
    succeeded(&app, "app", "latest", "").await;
    assert!(text("").await.contains("succeeded"));
    let running = claimed(&app, "app").await;
    assert!(text("").await.contains("running"));
    app.finish(&running.lease, Ending::Failed(Failure::new(ErrorKind::Build, "no")))
        .await;
    let rule = running.build.rule_id.to_string();
    for query in ["", "?tag=latest", &format!("?rule={rule}")] {
        assert!(text(query).await.contains("failed"), "{query}");
    }
    for query in ["?tag=none", "?rule=none"] {
        assert!(text(query).await.contains("unknown"), "{query}");
    }
    for bad in ["?tag=%3Cscript%3E", "?rule=a&tag=b", "?x=1"] {
        assert_eq!(
            stranger.get(&format!("/badge/ann/app.svg{bad}")).await.status,
            422,
            "{bad}"
        );
    }
    assert_eq!(stranger.get("/badge/ann/app").await.status, 404);

    let request = app.request("", Method::GET, "/badge/ann/app.svg");
    let answer = request.send().await.unwrap();
    let headers = answer.headers().clone();
    assert_eq!(headers["content-type"], "image/svg+xml; charset=utf-8");
    assert_eq!(headers["cache-control"], "public, max-age=60");
    assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
    let again = app
        .request("", Method::GET, "/badge/ann/app.svg")
        .header(header::IF_NONE_MATCH, &headers["etag"]);
    assert_eq!(again.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn what_a_push_brings_is_escaped_on_every_page() {
    let app = App::start().await;
    let mut rules = document();
    rules["rules"] = json!([{ "source_type": "branch", "source": "/.*/", "docker_tag": "x" }]);
    let (_, repository) = app.put("/api/v1/repositories/ann/app", rules).await;
    let push = payload("refs/heads/<script>x</script>", &commit('a'), "<script>x");
    let (_, answer) = app.push(&repository, "d", &push).await;
    assert_eq!(answer["outcome"], "queued", "{answer:#}");
    let leased = app.claim().await;
    let ann = app.browser("ann").await;
    for path in ["/", "/r/ann/app"] {
        let page = ann.get(path).await.text;
        assert!(
            page.contains("&#60;script&#62;x") && !page.contains("<script>x"),
            "{path}\n{page}"
        );
    }
    app.finish(&leased.lease, Ending::Canceled).await;
}

#[tokio::test]
async fn members_switch_between_their_own_and_their_organisations_repositories() {
    let app = App::start().await;
    let (status, answer) = app.post("/api/v1/organisations", json!({ "name": "team" })).await;
    assert_eq!(status, 201, "{answer:#}");
    repository(&app, "own", "public", "").await;
    let mut unseen = document();
    unseen["visibility"] = json!("private");
    let (status, answer) = app.put("/api/v1/repositories/team/unseen", unseen).await;
    assert_eq!(status, 201, "{answer:#}");
    let bob = app.browser("bob").await;
    assert!(!bob.get("/?namespace=team").await.text.contains("/r/team/unseen"));
    let reader = Some(json!({ "role": "read" }));
    let (status, answer) = app
        .call(&app.ann, Method::PUT, "/api/v1/organisations/team/members/bob", reader)
        .await;
    assert!(status < 300, "{answer:#}");
    for (path, shows_team) in [("/", true), ("/?namespace=team", true), ("/?namespace=bob", false)] {
        let page = bob.get(path).await.text;
        assert_eq!(page.contains("/r/team/unseen"), shows_team, "{path}");
        assert!(!page.contains("/r/ann/own"), "{path}");
    }
    assert!(app.browser("ann").await.get("/").await.text.contains("/r/ann/own"));
    let page = bob.get("/r/team/unseen").await;
    assert!(page.status == 200 && !page.text.contains("/r/team/unseen/deliveries"));
}

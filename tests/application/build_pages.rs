//! Pages that list builds and what is done from them: narrowing, the queue, triggers, cancels and retries.

use hullworks::domain::{
    build::{Ending, ErrorKind, Failure},
    engine_health::EngineHealth,
    ids::{BuildId, WorkerId},
};
use hullworks::store::Worker;
use serde_json::json;

use crate::{
    app::{App, commit, document, payload},
    browser::Page,
};

/// The numbers of the builds that a page lists, in its order.
fn numbers(page: &Page) -> Vec<u32> {
    let (_, list) = page.text.split_once(r#"<section id="builds""#).unwrap();
    list.split(r#"<span class="num">#"#)
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap().parse().unwrap())
        .collect()
}

/// The first address on a page that a link of this relation leads to.
fn link(page: &Page, relation: &str) -> Option<String> {
    let (_, rest) = page.text.split_once(&format!(r#"rel="{relation}" href=""#))?;
    Some(
        rest.split('"')
            .next()
            .unwrap()
            .replace("&#38;", "&")
            .replace("&amp;", "&"),
    )
}

async fn private(app: &App, name: &str) {
    let mut wanted = document();
    wanted["visibility"] = json!("private");
    let (status, answer) = app.put(&format!("/api/v1/repositories/ann/{name}"), wanted).await;
    assert_eq!(status, 201, "{answer:#}");
    let (status, _) = app
        .post(&format!("/api/v1/repositories/ann/{name}/trigger"), json!({}))
        .await;
    assert_eq!(status, 202);
}

async fn state_of(app: &App, build: &BuildId) -> String {
    let (_, build) = app.get(&format!("/api/v1/builds/{build}")).await;
    build["status"].as_str().unwrap().to_owned()
}

async fn a_worker(app: &App) -> WorkerId {
    let worker = Worker {
        id: WorkerId::new(),
        name: "builder-1".to_owned(),
        concurrency: 2,
        started_at: app.clock.now(),
        last_seen_at: app.clock.now(),
        paused: false,
        disk: None,
        platform: String::new(),
    };
    app.store.worker_seen(&worker).await.unwrap();
    worker.id
}

#[tokio::test]
async fn a_list_says_of_every_build_what_it_is_and_how_it_went() {
    let app = App::start().await;
    let repository = app.app().await;
    let pushed = payload("refs/heads/main", &commit('a'), "Fix <b>it</b>\n\nAt last.");
    app.push(&repository, "d", &pushed).await;
    let leased = app.claim().await;
    let failure = Failure::new(ErrorKind::Build, "the step <i>failed</i>\nwith more");
    app.finish(&leased.lease, Ending::Failed(failure)).await;
    let triggered = app.trigger().await;
    for path in ["/builds", "/r/ann/app/builds"] {
        let page = app.browser("ann").await.get(path).await;
        assert_eq!((page.status, numbers(&page)), (200, vec![2, 1]), "{path}");
        for part in [
            "push of aaaaaaa to main",
            "triggered by ann",
            "Fix &#60;b&#62;it&#60;/b&#62;",
            "the step &#60;i&#62;failed&#60;/i&#62;",
            "is-failed",
            "is-queued",
            "Waits for a worker: none is running",
            &format!(r#"href="/builds/{triggered}""#),
            r#"<span class="tag mono">latest</span>"#,
        ] {
            let page = page
                .text
                .replace("<span class=\"num\">Place 1</span>, waits for", "Waits for");
            assert!(page.contains(part), "{path}: {part}\n{page}");
        }
        assert!(
            !page.text.contains("At last") && !page.text.contains("with more"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_list_is_narrowed_by_what_the_address_says_and_keeps_it_on_every_page() {
    let app = App::start().await;
    let repository = app.app().await;
    app.push(&repository, "d", &payload("refs/heads/main", &commit('a'), "x"))
        .await;
    for _ in 0..34 {
        let lease = app.claim().await.lease;
        app.finish(&lease, Ending::Canceled).await;
        app.trigger().await;
    }
    let browser = app.browser("ann").await;
    let rule = repository["rules"][0]["id"].as_str().unwrap();
    for (query, expected) in [
        ("status=queued".to_owned(), 1),
        ("status=&source_name=&cause=push&rule=".to_owned(), 1),
        ("source_name=main&status=failed".to_owned(), 0),
        ("source_name=main%20x".to_owned(), 0),
        (format!("rule={rule}"), 30),
        ("cause=manual&source_name=main".to_owned(), 30),
    ] {
        let page = browser.get(&format!("/r/ann/app/builds?{query}")).await;
        assert_eq!((page.status, numbers(&page).len()), (200, expected), "{query}");
    }
    assert_eq!(browser.get("/builds?status=broken").await.status, 422);
    assert_eq!(browser.get("/builds?colour=red").await.status, 422);
    let first = browser.get("/builds?cause=manual").await;
    let (older, newer) = (link(&first, "next").unwrap(), link(&first, "prev"));
    assert_eq!((numbers(&first)[0], newer), (35, None));
    assert!(older.contains("cause=manual"), "{older}");
    let second = browser.get(&older).await;
    assert_eq!((numbers(&second), link(&second, "next")), (vec![5, 4, 3, 2], None));
    let back = browser.get(&link(&second, "prev").unwrap()).await;
    assert_eq!((numbers(&back), link(&back, "prev")), (numbers(&first), None));
}

#[tokio::test]
async fn private_builds_are_in_no_strangers_list_and_their_pages_are_absent() {
    let app = App::start().await;
    private(&app, "unseen").await;
    let (ann, bob) = (app.browser("ann").await, app.browser("bob").await);
    assert!(ann.get("/builds").await.text.contains("ann/unseen"));
    for browser in [&bob, &app.stranger()] {
        assert!(!browser.get("/builds").await.text.contains("unseen"));
        let (unseen, absent) = (
            browser.get("/r/ann/unseen/builds").await,
            browser.get("/r/ann/absent/builds").await,
        );
        assert_eq!((unseen.status, absent.status), (404, 404));
        assert_eq!(unseen.text.replace("unseen", "absent"), absent.text);
    }
}

#[tokio::test]
async fn the_queue_shows_what_runs_where_and_what_waits_and_hides_what_is_private() {
    let app = App::start().await;
    let nothing = app.stranger().get("/queue").await;
    assert!(nothing.text.contains("No worker is running") && nothing.text.contains("Nothing waits"));
    app.app().await;
    private(&app, "unseen").await;
    let public = app.trigger().await;
    let worker = a_worker(&app).await;
    let now = app.clock.now();
    let lease_for = std::time::Duration::from_secs(60);
    app.store.claim(&worker, now, lease_for).await.unwrap().unwrap();
    private(&app, "covert").await;
    let own = app.browser("ann").await.get("/queue").await;
    for part in ["builder-1", "1 running, 1 free", "ann/unseen", "ann/app", "ann/covert"] {
        assert!(own.text.contains(part), "{part}\n{}", own.text);
    }
    assert_eq!(own.text.matches(r#"/cancel""#).count(), 3);
    for browser in [app.browser("bob").await, app.stranger()] {
        let page = browser.get("/queue").await;
        assert_eq!(page.text.matches("a private build").count(), 2);
        assert!(page.text.contains(&format!("/builds/{public}")));
        assert!(!page.text.contains("unseen") && !page.text.contains("covert") && !page.text.contains("/cancel"));
    }
    app.engine
        .send_replace(EngineHealth::Down("connection refused".to_owned()));
    let page = app.stranger().get("/queue").await;
    assert!(page.text.contains("connection refused"));
}

#[tokio::test]
async fn a_queue_that_is_long_has_pages_in_order() {
    let app = App::start().await;
    let mut wanted = document();
    let rule = |n: usize| json!({ "source_type": "branch", "source": format!("b{n}"), "docker_tag": format!("t{n}") });
    wanted["rules"] = (0..52).map(rule).collect();
    app.put("/api/v1/repositories/ann/app", wanted).await;
    app.trigger().await;
    let browser = app.browser("ann").await;
    let front = browser.get("/queue").await;
    assert!(front.text.contains(r#"<span class="num">#1</span>"#) && !front.text.contains(r#">#51<"#));
    let back = browser.get(&link(&front, "next").unwrap()).await;
    assert!(back.text.contains(r#"<span class="num">#51</span>"#) && !back.text.contains(r#">#50<"#));
    assert!(back.text.contains("</span>52</span>"), "{}", back.text);
}

#[tokio::test]
async fn a_trigger_starts_what_was_chosen_and_says_so() {
    let app = App::start().await;
    let repository = app.app().await;
    let browser = app.browser("ann").await;
    let page = browser.get("/r/ann/app/builds").await;
    assert!(page.text.contains(r#"action="/r/ann/app/trigger""#));
    assert!(
        browser
            .get("/r/ann/app")
            .await
            .text
            .contains(r#"action="/r/ann/app/trigger""#)
    );
    let path = "/r/ann/app/trigger";
    let sent = browser.post(path, &[("next", "/r/ann/app/builds")]).await;
    assert_eq!(
        (sent.status, sent.location.as_deref()),
        (303, Some("/r/ann/app/builds"))
    );
    let elsewhere = browser.post(path, &[("next", "//evil.example")]).await;
    assert_eq!(elsewhere.location.as_deref(), Some("/"));
    let (of_main, of_versions) = (
        repository["rules"][0]["id"].as_str().unwrap(),
        repository["rules"][1]["id"].as_str().unwrap(),
    );
    let empty = [("source_type", "branch"), ("source_name", ""), ("commit", "")];
    let check = async |fields: &[(&str, &str)], tone: &str, words: &[&str]| {
        let told = browser.post_by_script(path, &[&empty, fields].concat()).await;
        let notice = told["notice"].as_str().unwrap();
        assert_eq!(told["tone"], tone, "{fields:?} {notice}");
        for word in words {
            assert!(notice.contains(word), "{fields:?} {notice}");
        }
    };
    check(&[], "good", &["Queued #3.", "Not built", "pattern"]).await;
    check(&[("rule", of_main), ("no_cache", "true")], "good", &["Queued #4."]).await;
    check(
        &[("rule", of_versions)],
        "bad",
        &["Nothing was started", "is a pattern"],
    )
    .await;
    check(&[("rule", "gone")], "bad", &["this rule is gone"]).await;
    let (of_tag, commit) = ([("source_type", "tag"), ("source_name", "v1.2")], commit('b'));
    let told = browser
        .post_by_script(path, &[of_tag[0], of_tag[1], ("commit", &commit)])
        .await;
    assert!(told["notice"].as_str().unwrap().contains("Queued #5"), "{told}");
    let told = browser.post_by_script(path, &[("commit", "short")]).await;
    assert!(told["notice"].as_str().unwrap().contains("full commit id"), "{told}");
    let (_, list) = app.get("/api/v1/builds?limit=2").await;
    assert_eq!(list["items"][0]["tags"], json!(["1.2"]));
    assert_eq!(list["items"][0]["commit"], json!(commit));
}

#[tokio::test]
async fn who_may_only_look_has_no_buttons_and_is_refused() {
    let app = App::start().await;
    app.app().await;
    let build = app.trigger().await;
    let bob = app.browser("bob").await;
    for path in ["/r/ann/app/builds", "/r/ann/app", "/queue", "/builds"] {
        let page = bob.get(path).await;
        assert!(
            !page.text.contains("/trigger") && !page.text.contains("/cancel"),
            "{path}"
        );
    }
    for path in [
        "/r/ann/app/trigger",
        &format!("/builds/{build}/cancel"),
        &format!("/builds/{build}/retry"),
    ] {
        assert_eq!(bob.post(path, &[]).await.status, 403, "{path}");
        assert_eq!(app.stranger().post(path, &[]).await.status, 401, "{path}");
        assert_eq!(
            app.browser("ann").await.post_as_it_is(path, &[]).await.status,
            403,
            "{path}"
        );
        assert_eq!(app.browser("ann").await.get(path).await.status, 405, "{path}");
    }
    assert_eq!(state_of(&app, &build).await, "queued");
    private(&app, "unseen").await;
    assert_eq!(bob.post("/r/ann/unseen/trigger", &[]).await.status, 404);
}

#[tokio::test]
async fn a_build_is_canceled_and_tried_again_from_a_page() {
    let app = App::start().await;
    app.app().await;
    let build = app.trigger().await;
    let browser = app.browser("ann").await;
    let (cancel, retry) = (format!("/builds/{build}/cancel"), format!("/builds/{build}/retry"));
    let early = browser.post_by_script(&retry, &[]).await;
    assert_eq!(early["tone"], "bad", "{early}");
    let canceled = browser.post(&cancel, &[("next", "/queue")]).await;
    assert_eq!((canceled.status, canceled.location.as_deref()), (303, Some("/queue")));
    assert_eq!(state_of(&app, &build).await, "canceled");
    let again = browser.post(&retry, &[("inputs", "refresh")]).await;
    let new = again.location.unwrap();
    assert!(new.starts_with("/builds/") && !new.ends_with(build.as_str()), "{new}");
    let (_, document) = app.get(&format!("/api/v1{new}")).await;
    assert_eq!(document["cause"]["kind"], "retry");
    let lease = app.claim().await.lease;
    app.finish(&lease, Ending::Succeeded { digest: None }).await;
    let late = browser.post_by_script(&format!("{new}/cancel"), &[]).await;
    assert!(late["notice"].as_str().unwrap().contains("has ended already"), "{late}");
    assert_eq!(browser.post("/builds/none/cancel", &[]).await.status, 404);
    assert_eq!(browser.post(&retry, &[("inputs", "nonsense")]).await.status, 422);
}

#[tokio::test]
async fn the_api_narrows_its_lists_alike() {
    let app = App::start().await;
    let repository = app.app().await;
    app.push(&repository, "d", &payload("refs/tags/v7", &commit('a'), "x"))
        .await;
    app.trigger().await;
    let rule = repository["rules"][1]["id"].as_str().unwrap();
    for (query, expected) in [
        ("source_name=v7".to_owned(), 1),
        ("cause=push&source_name=main".to_owned(), 0),
        ("cause=manual".to_owned(), 1),
        (format!("rule={rule}"), 1),
    ] {
        for path in ["/api/v1/builds", "/api/v1/repositories/ann/app/builds"] {
            let (status, list) = app.get(&format!("{path}?{query}")).await;
            assert_eq!(
                (status, list["items"].as_array().unwrap().len()),
                (200, expected),
                "{path} {query}"
            );
        }
    }
    for query in ["cause=whim", "rule=1", "source_name=a%00b", "status="] {
        assert_eq!(app.get(&format!("/api/v1/builds?{query}")).await.0, 422, "{query}");
    }
    let ledger = "/api/v1/repositories/ann/app/deliveries";
    assert_eq!(
        app.get(&format!("{ledger}?outcome=queued")).await.1["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        app.get(&format!("{ledger}?outcome=ignored")).await.1["items"],
        json!([])
    );
    assert_eq!(app.get(&format!("{ledger}?outcome=lost")).await.0, 422);
}

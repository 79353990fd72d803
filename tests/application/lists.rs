//! Lists of builds: their order, their pages, and who sees which.

use std::{collections::BTreeSet, time::Duration};

use hullworks::{
    clock::Clock,
    domain::{
        build::{Ending, ErrorKind, Failure},
        engine_health::EngineHealth,
        ids::{BuildId, WorkerId},
    },
    store::{Requeue, Worker},
};
use serde_json::{Value, json};

use crate::app::{App, commit, document, payload};

/// Queues as many builds of `ann/app`, each of a ref of its own; gives their ids, oldest first.
async fn queue(app: &App, repository: &Value, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        let push = payload(&format!("refs/tags/v{number}"), &commit('a'), "x");
        let (_, answer) = app.push(repository, &format!("delivery {number}"), &push).await;
        ids.push(answer["builds"][0].as_str().unwrap().to_owned());
    }
    ids
}

/// The ids of all items, page after page.
async fn all_pages(app: &App, path: &str, between: impl AsyncFn(usize)) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    for page in 0.. {
        let (status, list) = app.get(&format!("{path}{cursor}")).await;
        assert_eq!(status, 200, "{list:#}");
        let fields: Vec<&String> = list.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["items", "next_cursor"]);
        ids.extend(
            list["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match list["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        between(page).await;
    }
    ids
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_even_while_builds_come_and_end() {
    let app = App::start().await;
    let repository = app.app().await;
    let mut ids = queue(&app, &repository, 11).await;
    ids.reverse();
    for limit in [1, 2, 5, 10, 11, 12, 200] {
        for path in ["/api/v1/builds", "/api/v1/repositories/ann/app/builds"] {
            let found = all_pages(&app, &format!("{path}?limit={limit}"), async |_| {}).await;
            assert_eq!(found, ids, "{path} by {limit}");
        }
    }
    let found = all_pages(&app, "/api/v1/builds?limit=3", async |page| {
        let push = payload(&format!("refs/tags/v9{page}"), &commit('b'), "x");
        app.push(&repository, &format!("in between {page}"), &push).await;
    })
    .await;
    assert_eq!(found, ids, "what comes later does not move what is there");
}

#[tokio::test]
async fn a_state_is_filtered_page_by_page() {
    let app = App::start().await;
    let repository = app.app().await;
    let ids = queue(&app, &repository, 9).await;
    for number in 0..6 {
        let leased = app.claim().await;
        let ending = match number % 2 {
            0 => Ending::Succeeded { digest: None },
            _ => Ending::Failed(Failure::new(ErrorKind::Build, "x")),
        };
        app.finish(&leased.lease, ending).await;
    }
    let newest_first = |numbers: &[usize]| numbers.iter().rev().map(|n| ids[*n].clone()).collect::<Vec<_>>();
    for (status, expected) in [
        ("succeeded", newest_first(&[0, 2, 4])),
        ("failed", newest_first(&[1, 3, 5])),
        ("queued", newest_first(&[6, 7, 8])),
        ("running", vec![]),
        ("skipped", vec![]),
        ("superseded", vec![]),
    ] {
        for path in ["/api/v1/builds", "/api/v1/repositories/ann/app/builds"] {
            let found = all_pages(&app, &format!("{path}?status={status}&limit=2"), async |_| {}).await;
            assert_eq!(found, expected, "{path} {status}");
        }
    }
}

#[tokio::test]
async fn lists_have_fifty_items_unless_asked_for_others() {
    let app = App::start().await;
    let repository = app.app().await;
    queue(&app, &repository, 51).await;
    let count = async |query: &str| {
        let (_, list) = app.get(&format!("/api/v1/builds{query}")).await;
        (list["items"].as_array().unwrap().len(), list["next_cursor"].is_string())
    };
    assert_eq!(count("").await, (50, true));
    assert_eq!(count("?limit=51").await, (51, false));
    assert_eq!(count("?limit=200").await, (51, false));
}

#[tokio::test]
async fn every_list_refuses_the_same_nonsense() {
    let app = App::start().await;
    app.app().await;
    for path in [
        "/api/v1/repositories",
        "/api/v1/builds",
        "/api/v1/repositories/ann/app/builds",
        "/api/v1/repositories/ann/app/deliveries",
        "/api/v1/namespaces/ann/registries",
    ] {
        let (status, empty) = app.get(&format!("{path}?limit=1&cursor={}", "0".repeat(32))).await;
        assert_eq!(
            (status, &empty),
            (200, &json!({ "items": [], "next_cursor": null })),
            "{path}"
        );
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=1e9", "limit"),
            ("limit=-1", "limit"),
            ("limit=", "limit"),
            ("limit=99999999999999999999", "limit"),
            ("limit=1.5", "limit"),
            ("limit=%00", "limit"),
            ("cursor=", "cursor"),
            ("cursor=x%27%20or%201=1", "cursor"),
            ("limit=2&limit=2", "limit"),
            ("offset=3", "offset"),
            ("Limit=3", "Limit"),
            ("=", ""),
        ] {
            let (status, problem) = app.get(&format!("{path}?{query}")).await;
            assert_eq!(
                (status, &problem["errors"][0]["field"]),
                (422, &json!(field)),
                "{path}?{query}: {problem:#}"
            );
        }
    }
}

#[tokio::test]
async fn pages_of_others_hold_no_private_builds_and_are_full_all_the_same() {
    let app = App::start().await;
    app.app().await;
    let mut private = document();
    private["visibility"] = json!("private");
    app.put("/api/v1/repositories/ann/secret", private).await;
    for _ in 0..3 {
        app.trigger().await;
        app.post("/api/v1/repositories/ann/secret/trigger", json!({})).await;
    }
    let count = async |token: &str| {
        let (_, list) = app
            .call(token, reqwest::Method::GET, "/api/v1/builds?limit=3", None)
            .await;
        let names: BTreeSet<String> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["repository"].as_str().unwrap().to_owned())
            .collect();
        (list["items"].as_array().unwrap().len(), names.len())
    };
    assert_eq!(count("").await, (3, 1));
    assert_eq!(count(&app.bob).await, (3, 1));
    assert_eq!(count(&app.ann).await, (3, 2));
    assert_eq!(count(&app.root).await, (3, 2));
}

#[tokio::test]
async fn a_queued_build_says_its_place_and_what_it_waits_for() {
    let app = App::start().await;
    let repository = app.app().await;
    let ids = queue(&app, &repository, 4).await;
    let shown = async |index: usize| {
        let (_, build) = app.get(&format!("/api/v1/builds/{}", ids[index])).await;
        (build["queue_position"].clone(), build["waiting_for"].clone())
    };
    assert_eq!(shown(3).await, (json!(4), json!("a worker: none is running")));
    let now = Clock::system().now();
    let worker = Worker {
        id: WorkerId::new(),
        name: "builder-1".to_owned(),
        concurrency: 1,
        started_at: now,
        last_seen_at: now,
        paused: false,
        disk: None,
        platform: String::new(),
    };
    app.store.worker_seen(&worker).await.unwrap();
    assert_eq!(shown(0).await, (json!(1), json!("a free worker")));
    assert_eq!(shown(1).await, (json!(2), json!("1 build before it")));
    assert_eq!(shown(3).await, (json!(4), json!("3 builds before it")));
    let (_, list) = app.get("/api/v1/builds").await;
    let places: Vec<&Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|build| &build["queue_position"])
        .collect();
    assert_eq!(places, [&json!(4), &json!(3), &json!(2), &json!(1)]);

    app.engine.send_replace(EngineHealth::Down("no answer".to_owned()));
    assert_eq!(shown(0).await.1, json!("the Docker Engine: no answer"));
    app.engine.send_replace(EngineHealth::Up("20.10".to_owned()));

    let claimed = app
        .store
        .claim(&worker.id, now, Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(claimed.build.id, BuildId::from(ids[0].as_str()));
    let (_, running) = app.get(&format!("/api/v1/builds/{}", ids[0])).await;
    assert_eq!(
        (
            &running["status"],
            &running["phase"],
            &running["worker"],
            &running["queue_position"]
        ),
        (&json!("running"), &json!("fetch"), &json!("builder-1"), &Value::Null)
    );
    assert_eq!(running["waiting_for"], Value::Null);
    assert!(running["started_at"].as_str().unwrap().ends_with('Z'), "{running:#}");
    assert_eq!(shown(1).await.0, json!(1));

    let requeue = Requeue {
        why: "the registry does not answer".to_owned(),
        not_before: Some(now + chrono::TimeDelta::hours(1)),
        counts: true,
    };
    app.store.requeue(&claimed.lease, &requeue).await.unwrap();
    let (_, waiting) = app.get(&format!("/api/v1/builds/{}", ids[0])).await;
    assert_eq!(
        (&waiting["status"], &waiting["error"]),
        (&json!("queued"), &Value::Null)
    );
    let why = waiting["waiting_for"].as_str().unwrap();
    assert!(
        why.starts_with("until ") && why.ends_with("the registry does not answer"),
        "{why}"
    );
}

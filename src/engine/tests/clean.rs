//! What builds leave, and that nothing else is touched.

use hyper::Method;
use serde_json::json;

use super::{
    super::{
        BUILD_LABEL, Builder, Engine,
        clean::temporary_name,
        http::{empty, full, request, request_with},
    },
    support::{MemoryContext, Name, build, busybox, call, containers_of, engine, inspect, json_of, spec, unique},
};

async fn container(engine: &Engine, image: &str, label: Option<&str>, start: bool) -> String {
    let labels = label.map_or_else(|| json!({}), |build| json!({BUILD_LABEL: build}));
    let body = json!({"Image": image, "Cmd": ["sleep", "60"], "Labels": labels}).to_string();
    let create = request_with(
        Method::POST,
        "/containers/create",
        &[("content-type", "application/json")],
        full(body),
    );
    let created: serde_json::Value = json_of(call(&engine.address, create.unwrap()).await);
    let id = created["Id"].as_str().unwrap().to_owned();
    if start {
        let start = request_with(Method::POST, &format!("/containers/{id}/start"), &[], empty()).unwrap();
        call(&engine.address, start).await.success().unwrap();
    }
    id
}

#[tokio::test]
async fn only_what_dead_builds_left_is_swept() {
    let engine = engine();
    let base = busybox(&engine).await;
    let (dead, alive) = (unique(), unique());
    let left = container(&engine, &base.0, Some(&dead), false).await;
    let running = container(&engine, &base.0, Some(&dead), true).await;
    let kept = container(&engine, &base.0, Some(&alive), false).await;
    let foreign = container(&engine, &base.0, None, false).await;
    let image = |id: &str| {
        let mut spec = spec(Builder::BuildKit);
        spec.build_id = id.to_owned();
        spec
    };
    let context = || MemoryContext::new("FROM scratch\nCOPY a /\n").file("a", unique());
    let own_name = Name(format!("hullworks-test.invalid/{}:1", unique()));
    let mut dead_spec = image(&dead);
    dead_spec.tags = vec![own_name.0.clone()];
    let _dead_image = build(&engine, &dead_spec, context()).await;
    let _live_image = build(&engine, &image(&alive), context()).await;

    // Other tests' builds are alive as far as this sweep knows.
    let swept = engine.sweep(|build| build == dead).await.unwrap();
    assert_eq!((swept.containers, swept.names), (1, 1));
    let mut rest = containers_of(&engine, &base.0).await;
    rest.sort();
    let mut expected = vec![running, kept, foreign];
    expected.sort();
    assert_eq!(rest, expected);
    assert!(!rest.contains(&left));
    inspect(&engine, &own_name.0).await;
    inspect(&engine, &temporary_name(&alive)).await;
    for id in rest {
        let remove = request(Method::DELETE, &format!("/containers/{id}?force=1")).unwrap();
        call(&engine.address, remove).await.success().unwrap();
    }
}

#[tokio::test]
async fn a_forgotten_image_is_gone_and_forgetting_twice_is_no_error() {
    let engine = engine();
    let context = MemoryContext::new("FROM scratch\nCOPY a /\n").file("a", unique());
    let run = build(&engine, &spec(Builder::BuildKit), context).await;
    inspect(&engine, run.image().id()).await;
    engine.forget(run.image()).await.unwrap();
    let inspect = request(Method::GET, &format!("/images/{}/json", run.image().id())).unwrap();
    assert_eq!(call(&engine.address, inspect).await.status, 404);
    engine.forget(run.image()).await.unwrap();
}

//! Pushes to a real registry.

use std::{net::TcpListener, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    super::{Builder, BuiltImage, Engine, EngineError, RegistryAuth},
    support::{Log, MemoryContext, Name, Registry, Run, build, engine, spec, unique},
};
use crate::domain::image::ImageReference;

/// Its base64 has characters that differ between the two alphabets.
const PASSWORD: &str = "p>?>?~~~>>>???";

async fn small_image(engine: &Engine) -> Run {
    let context = MemoryContext::new("FROM scratch\nCOPY a /\n").file("a", unique());
    build(engine, &spec(Builder::BuildKit), context).await
}

fn target(host: &str) -> (ImageReference, Name) {
    let target = ImageReference::parse(&format!("{host}/team/app:v1")).unwrap();
    let name = Name(target.to_string());
    (target, name)
}

fn auth(host: &str, password: &str) -> RegistryAuth {
    RegistryAuth {
        host: host.to_owned(),
        username: "user".to_owned(),
        password: password.into(),
    }
}

async fn push(
    engine: &Engine,
    image: &BuiltImage,
    target: &ImageReference,
    auth: Option<&RegistryAuth>,
) -> (Result<String, EngineError>, Log) {
    let log = Log::default();
    let result = engine.push(image, target, auth, &log, &CancellationToken::new()).await;
    (result, log)
}

#[tokio::test]
async fn a_pushed_image_has_the_digest_that_the_registry_gives() {
    let (engine, registry) = (engine(), Registry::start(None).await);
    let run = small_image(&engine).await;
    let (target, _name) = target(&registry.host);
    let (digest, log) = push(&engine, run.image(), &target, None).await;
    assert_eq!(digest.ok(), registry.digest("team/app", "v1", None).await);
    let text = log.text();
    assert!(
        text.contains(": Pushed\n") && text.contains("digest: sha256:"),
        "{text}"
    );
    let (again, log) = push(&engine, run.image(), &target, None).await;
    assert!(again.is_ok() && log.text().contains("already exists"), "{}", log.text());
    engine.untag(&target).await.unwrap();
    engine.untag(&target).await.unwrap();
}

#[tokio::test]
async fn credentials_open_a_registry_and_wrong_ones_are_a_refusal() {
    let engine = engine();
    let registry = Registry::start(Some(("user", PASSWORD))).await;
    let run = small_image(&engine).await;
    let (target, _name) = target(&registry.host);
    for bad in [None, Some(auth(&registry.host, "wrong"))] {
        let (result, _) = push(&engine, run.image(), &target, bad.as_ref()).await;
        let error = result.unwrap_err();
        assert!(
            matches!(error, EngineError::Refused(_)) && !error.retryable(),
            "{error:?}"
        );
    }
    let (digest, _) = push(&engine, run.image(), &target, Some(&auth(&registry.host, PASSWORD))).await;
    assert_eq!(
        digest.ok(),
        registry.digest("team/app", "v1", Some(("user", PASSWORD))).await
    );
}

#[tokio::test]
async fn a_base_image_is_pulled_with_the_builds_credentials_by_either_builder() {
    let engine = engine();
    let registry = Registry::start(Some(("user", PASSWORD))).await;
    let run = small_image(&engine).await;
    let (target, name) = target(&registry.host);
    push(&engine, run.image(), &target, Some(&auth(&registry.host, PASSWORD)))
        .await
        .0
        .unwrap();
    let dockerfile = format!("FROM {target}\nLABEL a=b\n");
    for builder in [Builder::BuildKit, Builder::Classic] {
        engine.untag(&target).await.unwrap();
        let mut spec = spec(builder);
        let refused = build(&engine, &spec, MemoryContext::new(&dockerfile)).await;
        assert!(
            matches!(refused.error(), EngineError::Refused(_)),
            "{builder:?}: {:?}",
            refused.result
        );
        spec.registry_auths = vec![auth("other.example.com", "x"), auth(&registry.host, PASSWORD)];
        build(&engine, &spec, MemoryContext::new(&dockerfile)).await.image();
    }
    drop(name);
}

#[tokio::test]
async fn a_registry_that_is_down_is_a_fault_that_may_pass() {
    let engine = engine();
    let run = small_image(&engine).await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (target, _name) = target(&format!("127.0.0.1:{port}"));
    let (result, _) = push(&engine, run.image(), &target, None).await;
    let error = result.unwrap_err();
    assert!(
        matches!(error, EngineError::Registry(_)) && error.retryable(),
        "{error:?}"
    );
    let pulled = build(
        &engine,
        &spec(Builder::BuildKit),
        MemoryContext::new(&format!("FROM {target}x\n")),
    )
    .await;
    assert!(
        matches!(pulled.error(), EngineError::Registry(_)),
        "{:?}",
        pulled.result
    );
}

#[tokio::test]
async fn a_push_to_a_registry_that_never_answers_is_canceled_at_once() {
    let engine = engine();
    let run = small_image(&engine).await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (target, _name) = target(&silent.local_addr().unwrap().to_string());
    let cancel = CancellationToken::new();
    let log = Log::default();
    let (result, ()) = tokio::join!(engine.push(run.image(), &target, None, &log, &cancel), async {
        log.wait_for("The push refers").await;
        cancel.cancel();
    });
    assert_eq!(result, Err(EngineError::Canceled));
}

#[tokio::test(start_paused = true)]
async fn a_push_that_stands_still_is_given_up() {
    let work = super::super::push::heard(std::future::pending::<Result<(), EngineError>>());
    let result = tokio::time::timeout(Duration::from_secs(121), work)
        .await
        .expect("it waits for ever");
    assert!(result.unwrap_err().retryable());
}

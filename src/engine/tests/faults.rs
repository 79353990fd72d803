//! Engines that are absent, hang or answer nonsense.

use std::{os::unix::net::UnixListener, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Builder, Engine, EngineConfig, EngineError, http::Address, info::gone},
    support::{Log, MemoryContext, SOCKET, build, engine, spec},
};
use crate::domain::platform::canonical_platform;

fn engine_at(directory: &TempDir) -> (Engine, std::path::PathBuf) {
    let socket = directory.path().join("socket");
    let docker_host = Some(format!("unix://{}", socket.display()));
    (Engine::connect(&EngineConfig { docker_host }).unwrap(), socket)
}

#[tokio::test]
async fn the_engine_says_what_it_is() {
    let info = engine().ping().await.unwrap();
    assert!(
        info.buildkit && !info.version.is_empty() && info.api_version.starts_with("1."),
        "{info:?}"
    );
    let machine = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    assert_eq!(Some(info.platform), canonical_platform(&machine));
}

#[tokio::test]
async fn an_engine_behind_tcp_is_asked_as_one_behind_a_socket() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let docker_host = Some(format!("tcp://{}", listener.local_addr().unwrap()));
    let relay = tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut far = tokio::net::UnixStream::connect(SOCKET).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let behind_tcp = Engine::connect(&EngineConfig { docker_host }).unwrap();
    assert_eq!(behind_tcp.ping().await, engine().ping().await);
    behind_tcp.builds_with_traces().await.unwrap();
    let context = MemoryContext::new("FROM scratch\nLABEL a=b\n");
    build(&behind_tcp, &spec(Builder::BuildKit), context).await.image();
    relay.abort();
}

#[tokio::test]
async fn the_builder_is_chosen_by_what_the_engine_has() {
    let engine = engine();
    let context = MemoryContext::new("FROM scratch\nLABEL a=b\n");
    let run = build(&engine, &spec(Builder::Auto), context).await;
    run.image();
    assert!(run.log.text().contains("#1 [internal]"), "{}", run.log.text());
}

#[tokio::test]
async fn an_absent_engine_is_unavailable_to_everything() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, _) = engine_at(&directory);
    let unavailable = |error: EngineError| assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
    unavailable(engine.ping().await.unwrap_err());
    unavailable(engine.sweep(|_| false).await.unwrap_err());
    for builder in [Builder::Auto, Builder::BuildKit, Builder::Classic] {
        let (log, cancel) = (Arc::new(Log::default()), CancellationToken::new());
        let context = Arc::new(MemoryContext::new("FROM scratch\n"));
        unavailable(engine.build(&spec(builder), context, log, &cancel).await.unwrap_err());
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_accepts_and_never_answers_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, socket) = engine_at(&directory);
    let _silent = UnixListener::bind(socket).unwrap();
    let bounded = async |limit, builder| {
        let (log, cancel) = (Arc::new(Log::default()), CancellationToken::new());
        let context = Arc::new(MemoryContext::new("FROM scratch\n"));
        let spec = spec(builder);
        let work = engine.build(&spec, context, log, &cancel);
        tokio::time::timeout(limit, work)
            .await
            .expect("it waits for ever")
            .unwrap_err()
    };
    let ping = tokio::time::timeout(Duration::from_secs(6), engine.ping())
        .await
        .expect("it waits for ever");
    assert!(matches!(ping.unwrap_err(), EngineError::Unavailable(_)));
    let asked = tokio::time::timeout(Duration::from_secs(11), engine.sweep(|_| false))
        .await
        .expect("it waits for ever");
    assert!(matches!(asked.unwrap_err(), EngineError::Unavailable(_)));
    for (builder, seconds) in [(Builder::Auto, 6), (Builder::BuildKit, 11), (Builder::Classic, 61)] {
        let error = bounded(Duration::from_secs(seconds), builder).await;
        assert!(
            matches!(error, EngineError::Unavailable(_)) && error.retryable(),
            "{builder:?}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_dies_while_a_step_is_silent_is_missed() {
    let address = Address::parse(Some("unix:///nonexistent/socket")).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(46), gone(&address))
        .await
        .expect("it is never missed");
    assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
}

/// Answers one connection after the other, whatever is asked.
fn serve(socket: &std::path::Path, answers: Vec<String>) -> tokio::task::JoinHandle<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

const NONSENSE: [&str; 4] = [
    "nonsense\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{{{",
    "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}",
    "HTTP/1.1 500 Oops\r\ncontent-length: 21\r\n\r\n{\"message\":\"on fire\"}\n",
];

#[tokio::test]
async fn nonsense_for_an_answer_to_a_build_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, socket) = engine_at(&directory);
    let server = serve(&socket, NONSENSE.map(str::to_owned).to_vec());
    for _ in NONSENSE {
        let (log, cancel) = (Arc::new(Log::default()), CancellationToken::new());
        let context = Arc::new(MemoryContext::new("FROM scratch\n"));
        let error = engine
            .build(&spec(Builder::Classic), context, log, &cancel)
            .await
            .unwrap_err();
        assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
    }
    server.await.unwrap();
}

#[tokio::test]
async fn nonsense_for_an_answer_to_a_question_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, socket) = engine_at(&directory);
    let server = serve(&socket, NONSENSE.map(str::to_owned).to_vec());
    let mut last = String::new();
    for _ in NONSENSE {
        let error = engine.sweep(|_| false).await.unwrap_err();
        assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
        last = error.to_string();
    }
    assert!(last.ends_with(": on fire"), "{last}");
    server.await.unwrap();
}

#[tokio::test]
async fn an_engine_that_does_not_say_its_version_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, socket) = engine_at(&directory);
    let server = serve(&socket, vec![answer("200 OK", "OK"), answer("200 OK", "{}")]);
    let error = engine.ping().await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_question_that_cannot_be_asked_says_where_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, socket) = engine_at(&directory);
    drop(UnixListener::bind(&socket).unwrap());
    let error = engine.sweep(|_| false).await.unwrap_err().to_string();
    let place = format!("the engine at unix://{} ", socket.display());
    assert!(
        error.starts_with(&place) && error.contains("Connection refused"),
        "{error}"
    );
}

#[test]
fn addresses_are_read_as_docker_writes_them() {
    let parse = |text: &str| {
        Engine::connect(&EngineConfig {
            docker_host: Some(text.to_owned()),
        })
        .map(drop)
    };
    for good in [
        "",
        "unix:///run/docker.sock",
        "tcp://10.0.0.1:2375",
        "tcp://[::1]:2375",
        "tcp://engine",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in [
        "unix://relative",
        "ssh://host",
        "/var/run/docker.sock",
        "tcp://",
        "https://host:2376",
    ] {
        let error = parse(bad).unwrap_err().to_string();
        let (key, right) = (
            format!("docker_host is `{bad}`"),
            "unix:///path/to/socket or tcp://host:port",
        );
        assert!(error.starts_with(&key) && error.ends_with(right), "{error}");
    }
}

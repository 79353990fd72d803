//! Connections themselves: slow ones, large heads, and what a shutdown does to them.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use hullworks::web;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::app::App;

const DEADLINE: Duration = Duration::from_secs(20);

struct Served {
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

async fn serve(router: Router) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(web::serve(listener, router, shutdown.clone()));
    Served {
        address,
        shutdown,
        server,
    }
}

impl Served {
    /// Sends these bytes and gives everything that comes back until the server closes the connection.
    async fn exchange(&self, sent: &[u8]) -> String {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        let mut answer = Vec::new();
        // A connection that the server resets, be it before all was sent, is closed as well.
        let _ = client.write_all(sent).await;
        let _ = client.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.server.await.unwrap();
    }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

// Time stands still but for the waiting: whoever waits for the network alone waits for the next deadline.
#[tokio::test(start_paused = true)]
async fn who_does_not_say_what_they_want_is_hung_up_on() {
    let served = serve(hello()).await;
    for begun in [
        &b""[..],
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let from = Instant::now();
        let answer = served.exchange(begun).await;
        let waited = from.elapsed();
        assert!(
            waited >= Duration::from_secs(5) && waited < Duration::from_secs(30),
            "{waited:?} for {begun:?}"
        );
        assert_eq!(answer.contains("hello"), begun.ends_with(b"\r\n\r\n"), "{answer}");
    }
    served.stop().await;
}

#[tokio::test]
async fn heads_have_a_bound() {
    let served = serve(hello()).await;
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: x\r\n".repeat(200));
    for sent in [large, many] {
        let answer = timeout(DEADLINE, served.exchange(sent.as_bytes())).await.unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let nonsense = timeout(DEADLINE, served.exchange(b"\x16\x03\x01 nonsense\r\n\r\n"))
        .await
        .unwrap();
    assert!(
        nonsense.is_empty() || nonsense.starts_with("HTTP/1.1 400"),
        "{nonsense}"
    );
    served.stop().await;
}

#[tokio::test]
async fn a_shutdown_lets_running_requests_end_and_takes_no_more() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun_inside, go_on_inside) = (begun.clone(), go_on.clone());
    let slow = Router::new().route(
        "/",
        get(move || async move {
            begun_inside.notify_one();
            go_on_inside.notified().await;
            "whole"
        }),
    );
    let served = serve(slow).await;
    let address = served.address;
    let running = tokio::spawn(reqwest::get(format!("http://{address}/")));
    begun.notified().await;
    served.shutdown.cancel();
    timeout(DEADLINE, async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("new connections are still taken");
    go_on.notify_one();
    assert_eq!(running.await.unwrap().unwrap().text().await.unwrap(), "whole");
    timeout(DEADLINE, served.server).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_end_holds_up_a_shutdown_only_so_long() {
    let begun = Arc::new(Notify::new());
    let begun_inside = begun.clone();
    let endless = Router::new().route(
        "/",
        get(move || async move {
            begun_inside.notify_one();
            std::future::pending::<&str>().await
        }),
    );
    let served = serve(endless).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    begun.notified().await;
    let from = Instant::now();
    served.stop().await;
    assert!(from.elapsed() < Duration::from_secs(15), "{:?}", from.elapsed());
}

#[tokio::test]
async fn followed_logs_end_with_the_service_and_do_not_hold_it_up() {
    let app = App::start().await;
    app.app().await;
    let id = app.trigger().await;
    let path = format!("{}/api/v1/builds/{id}/log?follow=true", app.url);
    let text = app.client.get(&path).send().await.unwrap();
    let events = app
        .client
        .get(&path)
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    let from = Instant::now();
    app.shutdown.cancel();
    for stream in [text, events] {
        timeout(DEADLINE, stream.text()).await.unwrap().unwrap();
    }
    assert!(from.elapsed() < Duration::from_secs(4), "{:?}", from.elapsed());
}

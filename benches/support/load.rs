//! Load on an HTTP server: so many connections, each of which sends its next request when the answer to the last is there.
//! Requests are whole messages made beforehand, so that only sending and reading is in the measured time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// What came of a load.
pub struct Figures {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// Sends requests, each of them once, from `connections` at a time until `time` is over or none is left.
///
/// # Panics
/// When an answer is not a success: what was not done must not be counted.
pub async fn run(address: &str, connections: usize, requests: &Arc<Vec<Vec<u8>>>, time: Duration) -> Figures {
    let next = Arc::new(AtomicUsize::new(0));
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        streams.push(stream);
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for stream in streams {
        tasks.spawn(one_connection(stream, requests.clone(), next.clone(), begun + time));
    }
    let mut latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    let at = |part: usize| latencies[(latencies.len() - 1) * part / 100];
    Figures {
        per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    }
}

async fn one_connection(
    mut stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    next: Arc<AtomicUsize>,
    end: Instant,
) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let mut buffer = Vec::with_capacity(64 << 10);
    while Instant::now() < end {
        let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) else {
            break;
        };
        let begun = Instant::now();
        stream.write_all(request).await.expect("a request can be sent");
        read_answer(&mut stream, &mut buffer).await;
        latencies.push(begun.elapsed());
    }
    latencies
}

/// Reads one whole answer with a length.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    let head = loop {
        let read = stream.read_buf(buffer).await.expect("an answer can be read");
        assert!(read > 0, "the server closed a connection");
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = std::str::from_utf8(&buffer[..head]).expect("the head of an answer is text");
    assert!(text.starts_with("HTTP/1.1 2"), "{}", String::from_utf8_lossy(buffer));
    let length: usize = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse().ok())
        .expect("an answer with a length");
    while buffer.len() < head + length {
        let read = stream.read_buf(buffer).await.expect("an answer can be read");
        assert!(read > 0, "the server closed a connection");
    }
}

//! A server that answers every request in the same way, and remembers who asked.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::Request, http::header, response::IntoResponse};
use tokio::{net::TcpListener, task::JoinSet};

/// A running server; it ends when this is dropped.
pub struct Witness {
    port: u16,
    seen: Arc<Mutex<Vec<Option<String>>>>,
    _tasks: JoinSet<()>,
}

impl Witness {
    pub async fn start(answer: impl IntoResponse + Clone + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let router = Router::new().fallback(move |request: Request| {
            let given = request.headers().get(header::AUTHORIZATION);
            let given = given.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            record.lock().expect("no test panics with this lock").push(given);
            let answer = answer.clone();
            async move { answer }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("it runs until it is dropped")
        });
        Self {
            port,
            seen,
            _tasks: tasks,
        }
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The `Authorization` of each request, in order.
    pub fn seen(&self) -> Vec<Option<String>> {
        self.seen.lock().expect("no test panics with this lock").clone()
    }
}

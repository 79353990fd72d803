//! HTTP to the engine: one connection for each request, so that dropping an answer ends what was asked for, and
//! nothing is ever left in a pool. Every wait here is bounded except for those that a running build needs.
//!
//! Paths bear no version: the engine then speaks its newest, which every engine offers.

use std::{fmt, io, path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::timeout,
};
use url::{Host, Url};

use super::error::{ConnectError, EngineError, clip};

/// The engine is on the same machine or the same network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For answers that take the engine little work, such as an inspection or the removal of a name.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer that is read whole, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Where Docker listens unless it was told otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// What a request carries.
pub(super) type Body = BoxBody<Bytes, io::Error>;

/// Where the engine listens.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
}

impl Address {
    /// Reads a `DOCKER_HOST`: `unix:///path` or `tcp://host:port`.
    pub(super) fn parse(docker_host: Option<&str>) -> Result<Self, ConnectError> {
        let Some(text) = docker_host.filter(|text| !text.is_empty()) else {
            return Ok(Self::Unix(PathBuf::from(DEFAULT_SOCKET)));
        };
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "tcp" | "http") && url.username().is_empty())
            .and_then(|url| {
                let host = match url.host()? {
                    Host::Domain(name) => name.to_owned(),
                    Host::Ipv4(address) => address.to_string(),
                    Host::Ipv6(address) => address.to_string(),
                };
                Some(Self::Tcp {
                    host,
                    port: url.port().unwrap_or(2375),
                })
            })
            .ok_or_else(|| ConnectError(clip(text)))
    }

    /// Sends one request and waits for the head of its answer, for as long as that takes.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Exchange, EngineError> {
        match self {
            Self::Unix(path) => exchange(self.connect(UnixStream::connect(path)).await?, request).await,
            Self::Tcp { host, port } => {
                exchange(self.connect(TcpStream::connect((host.as_str(), *port))).await?, request).await
            }
        }
    }

    /// Bounds the time that a connection takes, and says of a failed one where it should have led.
    async fn connect<T>(&self, connecting: impl Future<Output = io::Result<T>>) -> Result<T, EngineError> {
        let why = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer in {} s", CONNECT_TIMEOUT.as_secs()),
        };
        Err(EngineError::Unavailable(format!(
            "the engine at {self} cannot be reached: {why}"
        )))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// Bounds a wait for the engine.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(EngineError::Unavailable(format!(
            "the engine did not answer in {} s",
            limit.as_secs()
        )))
    })
}

/// A request without a body.
pub(super) fn request(method: Method, path_and_query: &str) -> Result<Request<Body>, EngineError> {
    request_with(method, path_and_query, &[], empty())
}

/// A request with headers and a body.
pub(super) fn request_with(
    method: Method,
    path_and_query: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Result<Request<Body>, EngineError> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path_and_query)
        .header("host", "docker");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder
        .body(body)
        .map_err(|error| EngineError::Dockerfile(format!("the engine cannot be asked for this: {error}")))
}

pub(super) fn empty() -> Body {
    full(Bytes::new())
}

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// Encodes a path's query.
pub(super) fn query<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("{path}?{query}")
}

/// An answer whose body is still to be read. Dropping it closes the connection at once.
pub(super) struct Exchange {
    pub(super) response: Response<Incoming>,
    connection: Connection,
}

impl Exchange {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        while let Some(frame) = self.response.body_mut().frame().await {
            let frame = frame.map_err(|error| lost(&error))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    pub(super) async fn read_whole(mut self) -> Result<Answer, EngineError> {
        let mut body = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if body.len() + bytes.len() > MAX_ANSWER {
                return Err(EngineError::Unavailable("the engine's answer is too long".to_owned()));
            }
            body.extend_from_slice(&bytes);
        }
        let (head, _) = self.response.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.freeze(),
        })
    }

    /// The raw connection, after the engine switched protocols.
    pub(super) async fn upgrade(self) -> Result<hyper::upgrade::Upgraded, EngineError> {
        // The connection's task ends by itself when it has handed the stream over.
        let Self {
            response,
            connection: _connection,
        } = self;
        hyper::upgrade::on(response).await.map_err(|error| lost(&error))
    }
}

/// An answer that was read whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The `message` of an engine's error, or its text.
    pub(super) fn message(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Problem {
            message: String,
        }
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) => clip(&problem.message),
            Err(_) => clip(&String::from_utf8_lossy(&self.body)),
        }
    }

    /// Demands success.
    pub(super) fn success(self) -> Result<Self, EngineError> {
        if self.status.is_success() {
            Ok(self)
        } else {
            Err(EngineError::Unavailable(format!(
                "the engine answered {}: {}",
                self.status,
                self.message()
            )))
        }
    }
}

/// The task that drives a connection; it dies with its owner, and the connection with it.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange<S>(stream: S, request: Request<Body>) -> Result<Exchange, EngineError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| lost(&error))?;
    let connection = Connection(tokio::spawn(async move {
        // A fault of the connection reaches whoever waits for the answer.
        let _ = connection.with_upgrades().await;
    }));
    let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
    Ok(Exchange { response, connection })
}

fn lost(error: &hyper::Error) -> EngineError {
    EngineError::Unavailable(format!("the connection to the engine was lost: {error}"))
}

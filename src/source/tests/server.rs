//! A real smart HTTP server, `git http-backend`, that can be told to misbehave.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::git::WorkTree;

/// What the server does instead of what it should.
#[derive(Debug, Clone, Default)]
pub(super) enum Mood {
    #[default]
    Well,
    /// Says nothing to a pack request.
    Stalls,
    /// Sends this much of a pack, then nothing.
    StallsAfter(usize),
    /// Sends this much of a pack, then ends.
    CutsAfter(usize),
    /// Answers everything with this status.
    Answers(u16),
    /// Sends everybody to the same path at another place.
    Redirects(String),
    /// Redirects every path but the repository's own to it.
    KnowsNewName,
    /// Gives out tips alone, as some servers do whatever they advertise.
    RefusesHistory,
    /// Answers with a page.
    Html,
    /// Claims that its answers are compressed.
    Compresses,
}

/// One request that came in.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct Shared {
    project_root: PathBuf,
    mood: Mutex<Mood>,
    password: Mutex<Option<String>>,
    seen: Mutex<Vec<Seen>>,
    sent: Mutex<u64>,
    stalling: Notify,
}

pub(super) struct GitServer {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl GitServer {
    /// Serves one work tree's repository, at `/.git`.
    pub(super) async fn start(tree: &WorkTree) -> Self {
        Self::of(tree.path()).await
    }

    /// Serves all repositories in a directory, each at `/` and its name.
    pub(super) async fn of(directory: &Path) -> Self {
        let shared = Arc::new(Shared {
            project_root: directory.to_owned(),
            ..Shared::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, shared, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/.git", self.address)
    }

    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn mood(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub(super) fn demand(&self, user: &str, password: &str) {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        *self.shared.password.lock().unwrap() = Some(format!("Basic {pair}"));
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many bytes of packs and refs were sent since this was asked last.
    pub(super) fn sent(&self) -> u64 {
        std::mem::take(&mut self.shared.sent.lock().unwrap())
    }

    /// Waits until a request has met with silence.
    pub(super) async fn stalling(&self) {
        let stalling = self.shared.stalling.notified();
        tokio::time::timeout(super::LONG, stalling)
            .await
            .expect("a request was to stall");
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let path = parts.uri.path().to_owned();
    let authorization = header("authorization");
    shared.seen.lock().unwrap().push(Seen {
        method: parts.method.to_string(),
        path: path.clone(),
        authorization: authorization.clone(),
    });
    if let Some(password) = &*shared.password.lock().unwrap()
        && authorization.as_ref() != Some(password)
    {
        return (StatusCode::UNAUTHORIZED, [("WWW-Authenticate", "Basic realm=git")]).into_response();
    }
    let mood = shared.mood.lock().unwrap().clone();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let is_pack = path.ends_with("/git-upload-pack");
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    match &mood {
        Mood::Answers(status) => return StatusCode::from_u16(*status).unwrap().into_response(),
        Mood::Redirects(origin) => return moved(format!("{origin}{path}?{query}")),
        Mood::KnowsNewName if !path.starts_with("/.git/") => return moved(format!("/.git/info/refs?{query}")),
        Mood::Html => return ([("Content-Type", "text/html")], "<html>sign in</html>").into_response(),
        Mood::Stalls if is_pack => {
            shared.stalling.notify_one();
            std::future::pending::<()>().await;
        }
        Mood::RefusesHistory if is_pack => {
            if let Some(refusal) = refuse_history(&shared, &body).await {
                return refusal;
            }
        }
        _ => {}
    }
    let backend = Backend {
        path,
        query,
        method: parts.method.to_string(),
        content_type: header("content-type").unwrap_or_default(),
    };
    let (status, mut headers, body) = backend.run(&shared, &body).await;
    if matches!(mood, Mood::Compresses) {
        headers.insert("Content-Encoding", "gzip".parse().unwrap());
    }
    *shared.sent.lock().unwrap() += body.len() as u64;
    let body = match mood {
        Mood::StallsAfter(length) if is_pack && body.len() > length => {
            shared.stalling.notify_one();
            let start = futures_util::stream::iter([Ok::<_, std::io::Error>(body.slice(..length))]);
            Body::from_stream(futures_util::StreamExt::chain(start, futures_util::stream::pending()))
        }
        Mood::CutsAfter(length) if is_pack && body.len() > length => Body::from(body.slice(..length)),
        _ => Body::from(body),
    };
    (status, headers, body).into_response()
}

fn moved(location: String) -> Response {
    (StatusCode::MOVED_PERMANENTLY, [("Location", location)]).into_response()
}

/// An error in the protocol if the request wants anything but a tip.
async fn refuse_history(shared: &Shared, body: &[u8]) -> Option<Response> {
    let text = String::from_utf8_lossy(body);
    let refs = Command::new("git")
        .args(["for-each-ref", "--format=%(objectname)"])
        .current_dir(&shared.project_root)
        .output()
        .await
        .unwrap();
    let refs = String::from_utf8(refs.stdout).unwrap();
    let mut wants = text.split("want ").skip(1).map(|want| &want[..40]);
    let unknown = wants.find(|want| !refs.contains(want))?;
    let line = format!("ERR upload-pack: not our ref {unknown}");
    let headers = [("Content-Type", "application/x-git-upload-pack-result")];
    Some((headers, format!("{:04x}{line}", line.len() + 4)).into_response())
}

/// One run of the CGI program.
struct Backend {
    path: String,
    query: String,
    method: String,
    content_type: String,
}

impl Backend {
    async fn run(&self, shared: &Shared, input: &[u8]) -> (StatusCode, HeaderMap, Bytes) {
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &shared.project_root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("PATH_INFO", &self.path)
            .env("QUERY_STRING", &self.query)
            .env("REQUEST_METHOD", &self.method)
            .env("CONTENT_TYPE", &self.content_type)
            .env("CONTENT_LENGTH", input.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // The program may end before it has read everything.
        tokio::spawn(async move { stdin.write_all(&input).await });
        let output = Bytes::from(child.wait_with_output().await.unwrap().stdout);
        let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let mut status = StatusCode::OK;
        let mut headers = HeaderMap::new();
        for line in std::str::from_utf8(&output[..end]).unwrap().lines() {
            let (name, value) = line.split_once(": ").unwrap();
            match name {
                "Status" => status = value[..3].parse().unwrap(),
                _ => {
                    let name: axum::http::HeaderName = name.parse().unwrap();
                    headers.insert(name, value.parse().unwrap());
                }
            }
        }
        (status, headers, output.slice(end + 4..))
    }
}

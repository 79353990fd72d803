//! A real git server: `git http-backend` behind HTTP, with or without a password, and repositories to push to.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::Engine as _;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpListener, process::Command, sync::watch, task::JoinSet};
use url::Url;

use super::command;

/// Largest request body, in bytes; more than any test pushes.
const MAX_BODY: usize = 256 << 20;

/// How the server treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Serve,
    /// Requests are taken and not answered until this changes.
    Stall,
    /// Requests are answered with 503.
    Fail,
}

/// A running git server; it ends, and its repositories are gone, when this is dropped.
pub struct GitServer {
    address: String,
    credentials: Option<(String, String)>,
    behaviour: watch::Sender<Behaviour>,
    directory: TempDir,
    _tasks: JoinSet<()>,
}

struct Shared {
    root: PathBuf,
    /// The `Authorization` header that is demanded.
    authorization: Option<String>,
    behaviour: watch::Receiver<Behaviour>,
}

impl GitServer {
    /// A server that anybody may read from and push to.
    pub async fn start() -> Self {
        Self::launch(None).await
    }

    /// A server that asks for this name and password.
    pub async fn start_with_password(user: &str, password: &str) -> Self {
        Self::launch(Some((user.to_owned(), password.to_owned()))).await
    }

    async fn launch(credentials: Option<(String, String)>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (behaviour, receiver) = watch::channel(Behaviour::Serve);
        let authorization = credentials.as_ref().map(|(user, password)| {
            let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            format!("Basic {encoded}")
        });
        let shared = Arc::new(Shared {
            root: directory.path().join("bare"),
            authorization,
            behaviour: receiver,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        let router = Router::new().fallback(serve).with_state(shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("the git server runs until it is dropped");
        });
        Self {
            address,
            credentials,
            behaviour,
            directory,
            _tasks: tasks,
        }
    }

    pub fn set(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// Makes an empty repository, `owner/name`, whose branch is `main`, and a clone of it to work in.
    pub async fn create(&self, name: &str) -> Repository {
        let bare = self.directory.path().join("bare").join(format!("{name}.git"));
        let work = self.directory.path().join("work").join(name);
        for (path, kind) in [(&bare, "--bare"), (&work, "--quiet")] {
            let path = path.to_str().expect("a temporary path is UTF-8");
            command::run("git", &["init", "--quiet", kind, "--initial-branch", "main", path]).await;
        }
        let repository = Repository {
            url: format!("http://{}/{name}.git", self.address),
            work,
        };
        let bare = bare.to_str().expect("a temporary path is UTF-8");
        command::run("git", &["-C", bare, "config", "http.receivepack", "true"]).await;
        let mut origin = Url::parse(&repository.url).expect("an address made of parts");
        if let Some((user, password)) = &self.credentials {
            origin.set_username(user).expect("an address with a host");
            origin.set_password(Some(password)).expect("an address with a host");
        }
        repository.git(&["remote", "add", "origin", origin.as_str()]).await;
        repository
    }
}

/// A repository on the server, and a clone of it.
pub struct Repository {
    /// Without the password.
    pub url: String,
    work: PathBuf,
}

impl Repository {
    /// Writes files, given by path and content, commits them, pushes `main`, and returns the commit.
    pub async fn push(&self, files: &[(&str, &str)], message: &str) -> String {
        for (path, content) in files {
            let path = self.work.join(path);
            fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
            fs::write(path, content).expect("a file");
        }
        self.git(&["add", "--all"]).await;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])
            .await;
        self.git(&["push", "--quiet", "origin", "HEAD:main"]).await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// The clone's directory, for what cannot be said in files given by path and content.
    pub fn path(&self) -> &Path {
        &self.work
    }

    /// Runs git in the clone, the same on every machine: nobody's own settings, and no question for a password.
    pub async fn git(&self, arguments: &[&str]) -> String {
        command::output_of(git_in(&self.work).args(arguments), &[]).await
    }

    /// Whether a new clone of an address works.
    pub async fn can_clone(&self, url: &str) -> bool {
        let target = tempfile::tempdir().expect("a temporary directory");
        git_in(target.path())
            .args(["clone", "--quiet", url, "clone"])
            .stderr(Stdio::null())
            .status()
            .await
            .is_ok_and(|status| status.success())
    }
}

fn git_in(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args(["-c", "user.name=Test", "-c", "user.email=test@localhost"]);
    command
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let mut behaviour = shared.behaviour.clone();
    if behaviour.wait_for(|now| *now != Behaviour::Stall).await.is_err() || *behaviour.borrow() == Behaviour::Fail {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Some(expected) = &shared.authorization
        && request
            .headers()
            .get(header::AUTHORIZATION)
            .is_none_or(|given| given != expected.as_str())
    {
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")],
        )
            .into_response();
    }
    backend(&shared.root, request).await
}

/// Runs one request through `git http-backend`, which is a CGI program.
async fn backend(root: &Path, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await.expect("a request body within bounds");
    let text = |name: &str| header_text(&parts.headers, name);
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", text("content-encoding"))
        .env("GIT_PROTOCOL", text("git-protocol"))
        .env("REMOTE_USER", "test")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("git is installed");
    let mut stdin = child.stdin.take().expect("a pipe to standard input");
    let write = async {
        // It does not read what it does not need.
        let _ = stdin.write_all(&body).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    cgi_response(&output.expect("the output of a child process").stdout)
}

fn header_text(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// A CGI answer: header lines, of which `Status` is the status, an empty line, the body.
fn cgi_response(output: &[u8]) -> Response {
    let separator = b"\r\n\r\n";
    let end = output
        .windows(separator.len())
        .position(|window| window == separator)
        .expect("git http-backend answers with headers");
    let head = std::str::from_utf8(&output[..end]).expect("CGI headers are text");
    let mut response = Response::builder();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        response = match name {
            "Status" => response.status(value.split(' ').next().expect("a status has a number")),
            _ => response.header(name, value),
        };
    }
    response
        .body(Body::from(output[end + separator.len()..].to_vec()))
        .expect("CGI headers are HTTP headers")
}

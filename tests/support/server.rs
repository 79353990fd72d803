//! The service's own process, as users run it, and a small client of its API.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    command,
    events::Events,
    port,
    process::{self, BINARY, PATIENCE},
    wait,
    webhook::Webhook,
};

/// The secret of every webhook that [`Server::put_repository`] sets up.
pub const WEBHOOK_SECRET: &str = "a long secret of this webhook";

/// How a server is started.
#[derive(Default)]
pub struct Options {
    /// PostgreSQL instead of SQLite.
    pub database_url: Option<String>,
    /// Lines for hullworks.toml.
    pub settings: String,
    /// The engine is absent by intention: the service counts as started when it answers.
    pub without_engine: bool,
    /// Nobody has set it up: there is no user yet, and the small client of the API is nobody.
    pub without_admin: bool,
}

impl Options {
    /// The defaults but for some lines of hullworks.toml.
    pub fn with_settings(lines: &str) -> Self {
        Self {
            settings: lines.to_owned(),
            ..Self::default()
        }
    }
}

/// A running service, by default with an administrator `admin`; it ends, and its data is gone, when this is dropped.
pub struct Server {
    options: Options,
    directory: TempDir,
    port: u16,
    process: Child,
    client: reqwest::Client,
    token: String,
}

impl Server {
    pub async fn start(options: Options) -> Self {
        let mut server = Self::launch(options, tempfile::tempdir().expect("a temporary directory")).await;
        if server.options.without_admin {
            return server;
        }
        server
            .command_line(
                &["user", "add", "admin", "--admin", "--password-stdin"],
                b"a long test password\n",
            )
            .await;
        server.act_as("admin").await;
        server
    }

    /// Lets the small client of the API be somebody from now on.
    pub async fn act_as(&mut self, user: &str) {
        self.token = self.command_line(&["token", "create", "--user", user], &[]).await;
    }

    /// A server on what `hullworks backup` wrote of another.
    pub async fn restore(backup: &str, options: Options, of: &Self) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut restore = tokio::process::Command::new(BINARY);
        restore
            .args(["restore", backup])
            .env("HULLWORKS_DATA_DIR", directory.path().join("data"));
        command::output_of(&mut restore, &[]).await;
        let mut server = Self::launch(options, directory).await;
        server.token = of.token.clone();
        server
    }

    /// A second server on the database of another, with its key, as on another machine.
    pub async fn beside(other: &Self, options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        fs::create_dir_all(&data).expect("a directory");
        fs::copy(other.data().join("master.key"), data.join("master.key")).expect("the other's key");
        let mut server = Self::launch(options, directory).await;
        server.token = other.token.clone();
        server
    }

    /// Starts the process and waits until it is ready.
    async fn launch(options: Options, directory: TempDir) -> Self {
        let data = directory.path().join("data");
        fs::create_dir_all(&data).expect("a directory");
        // Tests count what servers are asked, so sources are looked at only where that is what is tested.
        let looks = match options.settings.contains("[sources]") {
            true => "",
            false => "[sources]\npoll_seconds = 0\n",
        };
        fs::write(
            data.join("hullworks.toml"),
            format!("allow_local_sources = true\n{}\n{looks}", options.settings),
        )
        .expect("a file");
        let port = port::free();
        let process = spawn(&directory, &options, port);
        let mut server = Self {
            options,
            directory,
            port,
            process,
            client: reqwest::Client::new(),
            token: String::new(),
        };
        server.wait_until_ready().await;
        server
    }

    /// The same webhook, at this server's address.
    pub fn webhook_of(&self, webhook: &Webhook) -> Webhook {
        let path = webhook.url.find("/webhooks/").expect("a webhook's address");
        Webhook {
            url: format!("{}{}", self.url(), &webhook.url[path..]),
            secret: webhook.secret.clone(),
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs a command of `hullworks` against this server and its data; returns its standard output.
    pub async fn command_line(&self, arguments: &[&str], input: &[u8]) -> String {
        command::output_of(&mut self.command(arguments), input).await
    }

    /// As [`Server::command_line`], where it may fail: its exit code and everything that it said.
    pub async fn try_command_line(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).stdin(Stdio::null()).output().await;
        exit_of(output.expect("the service's binary can be started"))
    }

    fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(BINARY);
        command
            .args(arguments)
            .env("HULLWORKS_DATA_DIR", self.data())
            .env("HULLWORKS_URL", self.url())
            .env("HULLWORKS_TOKEN", &self.token);
        if let Some(url) = &self.options.database_url {
            command.env("HULLWORKS_DATABASE_URL", url);
        }
        command
    }

    /// Ends the process as a power cut would.
    pub fn kill9(&mut self) {
        self.process.kill().expect("the process can be killed");
        self.process.wait().expect("the process has ended");
    }

    /// Asks the process to end and waits until it has.
    pub async fn sigterm(&mut self) -> ExitStatus {
        self.signal("TERM").await;
        self.exit().await
    }

    /// Sends the process a signal by its name, such as `TERM`.
    pub async fn signal(&self, name: &str) {
        process::signal(&self.process, name).await;
    }

    /// Waits until the process has ended by itself.
    pub async fn exit(&mut self) -> ExitStatus {
        process::end_of(&mut self.process).await
    }

    /// Starts the process again, on the same data and port, after it has ended.
    pub async fn restart(&mut self) {
        self.process = spawn(&self.directory, &self.options, self.port);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&mut self) {
        let path = if self.options.without_engine {
            "healthz"
        } else {
            "readyz"
        };
        let ready = format!("{}/{path}", self.url());
        wait::until("the service to get ready", PATIENCE, async || {
            let ended = self.process.try_wait().expect("the state of a child process");
            assert!(ended.is_none(), "the service ended: {}", self.process_log());
            let response = self.client.get(&ready).send().await.ok()?;
            response.status().is_success().then_some(())
        })
        .await;
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// # Panics
    /// Where it runs on SQLite.
    pub fn database_url(&self) -> &str {
        self.options.database_url.as_deref().expect("a server on PostgreSQL")
    }

    /// What the process has said so far.
    pub fn process_log(&self) -> String {
        fs::read_to_string(log_file(&self.directory)).unwrap_or_default()
    }

    /// A reading request of the API, to be sent; `path` as in [`Server::request`].
    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/api/v1{path}", self.url());
        self.client.get(url).bearer_auth(&self.token)
    }

    /// One request of the API, `path` from `/api/v1` on; the status and the answer.
    pub async fn request(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self
            .client
            .request(method, format!("{}/api/v1{path}", self.url()))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer of the API");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a whole answer of the API");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Creates or replaces a repository, `namespace/name`, and returns its webhook.
    pub async fn put_repository(&self, name: &str, mut document: Value) -> Webhook {
        document["source"]["webhook_secret"] = json!(WEBHOOK_SECRET);
        let (status, answer) = self
            .request(Method::PUT, &format!("/repositories/{name}"), Some(document))
            .await;
        assert!(matches!(status, 200 | 201), "{status} {answer:#}");
        Webhook {
            url: answer["webhook"]["url"]
                .as_str()
                .expect("a webhook's address")
                .to_owned(),
            secret: WEBHOOK_SECRET.to_owned(),
        }
    }

    /// Triggers a repository and returns the ids of the builds.
    pub async fn trigger(&self, name: &str, body: Value) -> Vec<String> {
        let path = format!("/repositories/{name}/trigger");
        let (status, answer) = self.request(Method::POST, &path, Some(body)).await;
        assert_eq!(status, 202, "{answer:#}");
        ids(&answer["builds"])
    }

    pub async fn build(&self, id: &str) -> Value {
        let (status, build) = self.request(Method::GET, &format!("/builds/{id}"), None).await;
        assert_eq!(status, 200, "{build:#}");
        build
    }

    /// Asks for a build to be canceled.
    pub async fn cancel(&self, id: &str) -> (u16, Value) {
        self.request(Method::POST, &format!("/builds/{id}/cancel"), None).await
    }

    /// Tries a build again, with the `same` inputs or `refresh`ed ones, and returns the new build's id.
    pub async fn retry(&self, id: &str, inputs: &str) -> String {
        let body = json!({ "inputs": inputs });
        let (status, answer) = self
            .request(Method::POST, &format!("/builds/{id}/retry"), Some(body))
            .await;
        assert_eq!(status, 202, "{answer:#}");
        ids(&answer["builds"]).remove(0)
    }

    /// Everything in a list of the API, `path` as in [`Server::request`], newest first.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = format!("{path}?limit=200{cursor}");
            let (status, answer) = self.request(Method::GET, &page, None).await;
            assert_eq!(status, 200, "{answer:#}");
            items.extend(answer["items"].as_array().expect("a page of a list").iter().cloned());
            match answer["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// The ledger of a repository, newest first.
    pub async fn deliveries(&self, name: &str) -> Vec<Value> {
        self.list(&format!("/repositories/{name}/deliveries")).await
    }

    /// The builds of a repository, newest first.
    pub async fn builds(&self, name: &str) -> Vec<Value> {
        self.list(&format!("/repositories/{name}/builds")).await
    }

    /// Stores the credentials of a registry for a namespace, and returns what was stored.
    pub async fn put_registry(&self, namespace: &str, host: &str, username: &str, password: &str) -> Value {
        let path = format!("/namespaces/{namespace}/registries/{}", host.replace(':', "%3A"));
        let body = json!({ "username": username, "password": password });
        let (status, answer) = self.request(Method::PUT, &path, Some(body)).await;
        assert!(matches!(status, 200 | 201), "{status} {answer:#}");
        answer
    }

    /// Waits until a build is as wanted, and returns it. `what` is the condition in words.
    pub async fn wait_for(&self, id: &str, what: &str, deadline: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = wait::until_some(deadline, async || {
            last = self.build(id).await;
            wanted(&last).then_some(())
        })
        .await;
        assert!(found.is_some(), "waited {deadline:?} in vain for {what}: {last:#}");
        last
    }

    /// Waits for the end of a build that has to succeed, and returns it; otherwise shows its log.
    pub async fn wait_for_success(&self, id: &str, deadline: Duration) -> Value {
        self.wait_for_end(id, "succeeded", deadline).await
    }

    /// As [`Server::wait_for_success`], for an end of any status.
    pub async fn wait_for_end(&self, id: &str, status: &str, deadline: Duration) -> Value {
        let build = self
            .wait_for(id, "the build's end", deadline, |build| !build["finished_at"].is_null())
            .await;
        if build["status"] != status {
            panic!("not {status}: {build:#}\n{}", self.log(id).await);
        }
        build
    }

    /// The log of a build as it grows, after the event of this id.
    pub async fn log_events(&self, id: &str, last_event_id: Option<&str>) -> Events {
        let mut request = self
            .get(&format!("/builds/{id}/log"))
            .header("accept", "text/event-stream");
        if let Some(last) = last_event_id {
            request = request.header("last-event-id", last);
        }
        Events::of(request.send().await.expect("an answer of the API"))
    }

    /// The whole log of a build.
    pub async fn log(&self, id: &str) -> String {
        match self.request(Method::GET, &format!("/builds/{id}/log"), None).await {
            (200, Value::String(text)) => text,
            (200, other) => other.to_string(),
            (status, answer) => panic!("{status} {answer:#}"),
        }
    }
}

/// Runs `hullworks serve` where it has to refuse to start, on this data directory and with these settings from the
/// environment; returns its exit code and what it said.
pub async fn refusal_to_start(data: &Path, settings: &[(&str, &str)]) -> (i32, String) {
    let mut command = tokio::process::Command::new(BINARY);
    command
        .args(["serve", "--data-dir"])
        .arg(data)
        .env("HULLWORKS_LISTEN", format!("127.0.0.1:{}", port::free()))
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("the service refuses to start instead of running");
    exit_of(output.expect("the service's binary can be started"))
}

/// The exit code, and what was said to either stream.
fn exit_of(output: Output) -> (i32, String) {
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code().expect("it ends by itself"), said.concat())
}

/// The ids in a list of builds, which are strings or documents with an `id`.
pub fn ids(builds: &Value) -> Vec<String> {
    let list = builds.as_array().expect("a list of builds");
    list.iter()
        .map(|build| {
            build
                .as_str()
                .or(build["id"].as_str())
                .expect("a build's id")
                .to_owned()
        })
        .collect()
}

fn log_file(directory: &TempDir) -> PathBuf {
    directory.path().join("hullworks.log")
}

fn spawn(directory: &TempDir, options: &Options, port: u16) -> Child {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_file(directory))
        .expect("a log file");
    let mut command = Command::new(BINARY);
    command
        .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"])
        .arg(directory.path().join("data"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log);
    if let Some(url) = &options.database_url {
        command.env("HULLWORKS_DATABASE_URL", url);
    }
    command.spawn().expect("the service's binary can be started")
}

impl Drop for Server {
    /// A panic inside the service fails the test, whatever its answers were; a failed test shows the service's log.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let log = self.process_log();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the service's log:\n{log}");
        } else {
            assert!(!log.contains("panicked at"), "the service panicked:\n{log}");
        }
    }
}

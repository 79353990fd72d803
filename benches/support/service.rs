//! The service as a process of its own, started on data that may be there already.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::parts::{command, port, wait, webhook::Webhook};

const BINARY: &str = env!("CARGO_BIN_EXE_hullworks");

/// The password of `admin`.
pub const PASSWORD: &str = "a long password for figures";

/// Between two looks at something that is measured.
const PAUSE: Duration = Duration::from_millis(1);

const PATIENCE: Duration = Duration::from_secs(120);

/// A running service with an administrator `admin`; it ends, and its data is gone, when this is dropped.
pub struct Service {
    directory: TempDir,
    port: u16,
    process: Child,
    client: reqwest::Client,
    token: String,
    /// From the start of the process until it was ready.
    pub started_in: Duration,
}

impl Service {
    /// Starts on an empty data directory. `settings` are lines of hullworks.toml.
    pub async fn start(settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let settings = format!("allow_local_sources = true\nlog = \"warn\"\n{settings}\n");
        fs::write(directory.path().join("hullworks.toml"), settings).expect("a file");
        let port = port::free();
        let client = reqwest::Client::new();
        let (process, started_in) = spawn(&directory, port, &client).await;
        let mut service = Self {
            directory,
            port,
            process,
            client,
            token: String::new(),
            started_in,
        };
        let add = ["user", "add", "admin", "--admin", "--password-stdin"];
        service.command_line(&add, format!("{PASSWORD}\n").as_bytes()).await;
        service.token = service.command_line(&["token", "create", "--user", "admin"], &[]).await;
        service
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The file of the database.
    pub fn database(&self) -> PathBuf {
        hullworks::layout::DataDir::create(self.directory.path())
            .expect("the data directory")
            .database()
    }

    /// Ends the process by itself.
    pub async fn stop(&mut self) {
        command::run("kill", &["-TERM", &self.process.id().to_string()]).await;
        wait::until("the service to end", PATIENCE, async || {
            self.process.try_wait().expect("the state of a child process")
        })
        .await;
    }

    /// Starts the process again on the same data, after it was stopped.
    pub async fn restart(&mut self) {
        (self.process, self.started_in) = spawn(&self.directory, self.port, &self.client).await;
    }

    async fn command_line(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = tokio::process::Command::new(BINARY);
        command.args(arguments).env("HULLWORKS_DATA_DIR", self.directory.path());
        command::output_of(&mut command, input).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("http://{}/api/v1{path}", self.address()))
            .bearer_auth(&self.token)
    }

    /// Makes a repository and returns its webhook.
    pub async fn put_repository(&self, name: &str, mut document: Value) -> Webhook {
        let secret = "a long secret of this webhook";
        document["source"]["webhook_secret"] = json!(secret);
        let request = self
            .request(Method::PUT, &format!("/repositories/{name}"))
            .json(&document);
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        Webhook {
            url: answer["webhook"]["url"]
                .as_str()
                .unwrap_or_else(|| panic!("{answer:#}"))
                .to_owned(),
            secret: secret.to_owned(),
        }
    }

    /// Stores credentials for a registry of the whole server, and with them the address that it reports to.
    pub async fn put_registry(&self, host: &str) -> Value {
        let request = self.request(Method::PUT, &format!("/registries/{}", host.replace(':', "%3A")));
        let document = json!({ "username": "reporter", "password": "a long password" });
        request
            .json(&document)
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON")
    }

    /// The newest of all builds.
    pub async fn newest_build(&self) -> Value {
        let request = self.request(Method::GET, "/builds?limit=1");
        let list: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        list["items"][0].clone()
    }

    pub async fn build(&self, id: &str) -> Value {
        let request = self.request(Method::GET, &format!("/builds/{id}"));
        request.send().await.expect("an answer").json().await.expect("JSON")
    }

    /// The answer with a build's log as it grows, until the build ends.
    pub async fn follow_log(&self, id: &str) -> reqwest::Response {
        let request = self.request(Method::GET, &format!("/builds/{id}/log?follow=true"));
        request.send().await.expect("an answer")
    }

    /// Looks at a build until it is as wanted.
    pub async fn wait_for(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let build = self.build(id).await;
            if wanted(&build) {
                return build;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {build:#}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits for the end of a build.
    ///
    /// # Panics
    /// When it does not succeed; with its log.
    pub async fn wait_for_success(&self, id: &str) -> Value {
        let build = self.wait_for(id, |build| !build["finished_at"].is_null()).await;
        if build["status"] != "succeeded" {
            let log = self.follow_log(id).await.text().await.unwrap_or_default();
            panic!("{build:#}\n{log}");
        }
        build
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the process and waits until it is ready.
async fn spawn(directory: &TempDir, port: u16, client: &reqwest::Client) -> (Child, Duration) {
    let log_file = directory.path().join("service.log");
    let log = File::create(&log_file).expect("a log file");
    let begun = Instant::now();
    let mut process = Command::new(BINARY)
        .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("the service can be started");
    let ready = format!("http://127.0.0.1:{port}/readyz");
    loop {
        if client
            .get(&ready)
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            return (process, begun.elapsed());
        }
        let ended = process.try_wait().expect("the state of a child process").is_some();
        if ended || begun.elapsed() > PATIENCE {
            let _ = process.kill();
            panic!(
                "the service is not ready: {}",
                fs::read_to_string(&log_file).unwrap_or_default()
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

//! A real registry (distribution) on a free port, empty, with or without a password.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::{command, port, wait};

/// What a client must accept to be told the digest of what was pushed, and not of a conversion of it.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A running registry; it ends, and its storage is gone, when this is dropped.
pub struct Registry {
    host: String,
    password: Option<(String, String)>,
    /// Where it tells of itself.
    debug: String,
    process: Child,
    _directory: TempDir,
}

impl Registry {
    /// A registry that anybody may push to.
    pub async fn start() -> Self {
        Self::launch(Self::free_host(), None, "").await
    }

    /// A registry that asks for this name and password, for pulls too.
    pub async fn start_with_password(user: &str, password: &str) -> Self {
        let password = Some((user.to_owned(), password.to_owned()));
        Self::launch(Self::free_host(), password, "").await
    }

    /// A registry at this host that reports what happens to an address, with a secret.
    pub async fn start_reporting(host: String, url: &str, secret: &str) -> Self {
        let notifications = format!(
            "notifications:\n  endpoints:\n    - name: hullworks\n      url: \"{url}\"\n      \
             headers: {{Authorization: [\"Bearer {secret}\"]}}\n      timeout: 5s\n      threshold: 3\n      backoff: 1s\n"
        );
        Self::launch(host, None, &notifications).await
    }

    /// Where a registry can be started.
    pub fn free_host() -> String {
        format!("127.0.0.1:{}", port::free())
    }

    async fn launch(host: String, password: Option<(String, String)>, further: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        let debug = Self::free_host();
        let mut configuration = format!(
            "version: 0.1\nlog: {{level: warn}}\nhttp: {{addr: \"{host}\", debug: {{addr: \"{debug}\", prometheus: {{enabled: true, path: /metrics}}}}}}\n\
             storage: {{filesystem: {{rootdirectory: \"{}\"}}, delete: {{enabled: true}}}}\n{further}",
            path.join("storage").display()
        );
        if let Some((user, password)) = &password {
            let file = path.join("htpasswd");
            let entry = command::run("htpasswd", &["-Bbn", user, password]).await;
            fs::write(&file, entry).expect("a file in a temporary directory");
            configuration.push_str(&format!(
                "auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n",
                file.display()
            ));
        }
        let file = path.join("config.yml");
        fs::write(&file, configuration).expect("a file in a temporary directory");
        let log = path.join("log");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a file in a temporary directory"))
            .spawn()
            .expect("docker-registry is not installed; run `make setup`");
        let mut registry = Self {
            host,
            password,
            debug,
            process,
            _directory: directory,
        };
        wait::until("the registry to answer", Duration::from_secs(20), async || {
            let ended = registry.process.try_wait().expect("the state of a child process");
            assert!(
                ended.is_none(),
                "the registry ended: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            registry.request(reqwest::Method::GET, "/v2/").send().await.ok()
        })
        .await;
        registry
    }

    /// Host and port, as images name it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The digest that a tag has now; `None` where there is no such tag.
    pub async fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        let request = self.request(reqwest::Method::HEAD, &format!("/v2/{repository}/manifests/{tag}"));
        let response = request
            .header("accept", ACCEPT)
            .send()
            .await
            .expect("an answer of the registry");
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return None;
        }
        assert!(
            response.status().is_success(),
            "{repository}:{tag}: {}",
            response.status()
        );
        let digest = response.headers().get("docker-content-digest").expect("a digest");
        Some(digest.to_str().expect("a digest is ASCII").to_owned())
    }

    /// How its reports were answered so far, `202 Accepted` and the like, and how often.
    pub async fn report_statuses(&self) -> serde_json::Value {
        let address = format!("http://{}/debug/vars", self.debug);
        let answer = reqwest::get(address).await.expect("an answer of the registry");
        let variables: serde_json::Value = answer.json().await.expect("JSON");
        variables["registry"]["notifications"]["endpoints"][0]["Metrics"]["Statuses"].clone()
    }

    /// How often it was asked for a manifest or its digest so far.
    pub async fn manifest_requests(&self) -> u64 {
        let answer = reqwest::get(format!("http://{}/metrics", self.debug))
            .await
            .expect("an answer of the registry");
        let metrics = answer.text().await.expect("a text");
        let counts = metrics
            .lines()
            .filter(|line| line.starts_with("registry_http_requests_total{") && line.contains("handler=\"manifest\""));
        counts
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum()
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = reqwest::Client::new().request(method, format!("http://{}{path}", self.host));
        match &self.password {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

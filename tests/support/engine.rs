//! The real Docker Engine, used through its own command line: what a test sees is what a person would.

use std::{fs, path::Path, process::Stdio};

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::process::Command;

use super::command;

/// The engine that answers on this machine.
pub struct Engine(());

impl Engine {
    /// # Panics
    /// When no engine answers.
    pub async fn connect() -> Self {
        let answer = Command::new("docker")
            .args(["version", "--format", "{{.Server.Version}}"])
            .output()
            .await;
        assert!(
            answer.is_ok_and(|output| output.status.success()),
            "no Docker Engine answers; `make setup` starts one, or set DOCKER_HOST"
        );
        Self(())
    }

    /// Makes an image of one static busybox and its names. `image` is a whole name: `127.0.0.1:5000/base/busybox:1`.
    /// Images with different content have different digests.
    pub async fn import_busybox(&self, image: &str, content: &str) {
        let archive = busybox_root(content).await;
        let label = format!("LABEL {}", label_of(host_of(image)));
        let changes = [
            "--change",
            "CMD [\"sh\"]",
            "--change",
            "ENV PATH=/bin",
            "--change",
            &label,
        ];
        let mut import = Command::new("docker");
        import.arg("import").args(changes).args(["-", image]);
        command::output_of(&mut import, &archive).await;
    }

    pub async fn push(&self, image: &str) {
        command::run("docker", &["push", "--quiet", image]).await;
    }

    /// As [`Engine::push`], where it may fail: whether it succeeded.
    pub async fn try_push(&self, image: &str) -> bool {
        Command::new("docker")
            .args(["push", "--quiet", image])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await
            .is_ok_and(|status| status.success())
    }

    pub async fn pull(&self, image: &str) {
        command::run("docker", &["pull", "--quiet", image]).await;
    }

    /// Runs an image to its end, without a network, and returns what it printed.
    pub async fn run(&self, image: &str, arguments: &[&str]) -> String {
        let mut all = vec!["run", "--rm", "--network", "none", image];
        all.extend(arguments);
        command::run("docker", &all).await
    }

    /// As [`Engine::pull`], from a registry that asks for a name and a password.
    pub async fn pull_as(&self, image: &str, user: &str, password: &str) {
        self.signed_in("pull", image, user, password).await;
    }

    /// As [`Engine::push`], to a registry that asks for a name and a password.
    pub async fn push_as(&self, image: &str, user: &str, password: &str) {
        self.signed_in("push", image, user, password).await;
    }

    /// Runs one command with a login of its own, which nobody else on the machine sees.
    async fn signed_in(&self, verb: &str, image: &str, user: &str, password: &str) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let login = json!({ "auths": { host_of(image): { "auth": encoded } } });
        fs::write(directory.path().join("config.json"), login.to_string()).expect("a file");
        let mut docker = Command::new("docker");
        docker
            .arg("--config")
            .arg(directory.path())
            .args([verb, "--quiet", image]);
        command::output_of(&mut docker, &[]).await;
    }

    /// What the engine knows of an image, as `docker image inspect` shows it.
    pub async fn inspect(&self, image: &str) -> Value {
        let text = command::run("docker", &["image", "inspect", "--format", "{{json .}}", image]).await;
        serde_json::from_str(&text).expect("a JSON document")
    }

    /// How an image was made, step by step, with nothing cut.
    pub async fn history(&self, image: &str) -> String {
        command::run("docker", &["image", "history", "--no-trunc", image]).await
    }

    /// What a build has left in the engine: its containers, running or not, and its temporary images.
    pub async fn traces_of(&self, build: &str) -> String {
        let label = format!("label=io.hullworks.build={build}");
        let containers = command::run("docker", &["container", "ls", "--all", "--quiet", "--filter", &label]).await;
        let images = self.images(&format!("hullworks.invalid/build:{build}")).await;
        format!("{containers}{}", images.join(" "))
    }

    /// Whole names of the images that match a reference with wildcards, such as `127.0.0.1:5000/*/*`.
    pub async fn images(&self, reference: &str) -> Vec<String> {
        let filter = format!("reference={reference}");
        let arguments = [
            "image",
            "ls",
            "--filter",
            &filter,
            "--format",
            "{{.Repository}}:{{.Tag}}",
        ];
        let list = command::run("docker", &arguments).await;
        list.lines().map(str::to_owned).collect()
    }

    /// Lets the engine forget an image under this name.
    pub async fn remove(&self, image: &str) {
        command::run("docker", &["image", "rm", "--force", image]).await;
    }

    /// Removes, when it is dropped, every image in the engine that is named after this registry or made from a base that
    /// was imported for it.
    pub fn clean_up(&self, registry: &str) -> CleanUp {
        CleanUp {
            filters: [
                format!("reference={registry}/*/*"),
                format!("label={}", label_of(registry)),
            ],
        }
    }
}

/// Where the engine listens: `unix:///path`, or a host and port.
#[expect(
    clippy::disallowed_methods,
    reason = "what configures the tests is no part of the service's configuration"
)]
pub fn address() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    match host.strip_prefix("tcp://") {
        Some(host) => host.to_owned(),
        None if host.is_empty() => "unix:///var/run/docker.sock".to_owned(),
        None => host,
    }
}

/// The registry's host in the whole name of an image.
fn host_of(image: &str) -> &str {
    image.split('/').next().expect("a whole name begins with a host")
}

/// Marks what is made for a registry: an image that lost its name can still be found by it, and by nobody else's clean-up.
fn label_of(registry: &str) -> String {
    format!("hullworks.test.registry={registry}")
}

/// See [`Engine::clean_up`].
pub struct CleanUp {
    filters: [String; 2],
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        for filter in &self.filters {
            let script =
                "docker image ls --quiet --filter \"$1\" | sort -u | xargs --no-run-if-empty docker image rm --force";
            let _ = std::process::Command::new("sh")
                .args(["-c", script, "sh", filter])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// A root directory, as a tar stream: busybox, a link to it for each of its names, and a file that tells images apart.
async fn busybox_root(content: &str) -> Vec<u8> {
    let program = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("busybox-static is not installed; run `make setup`");
    let applets = command::run(program, &["--list"]).await;
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(true);
    archive
        .append_path_with_name(program, "bin/busybox")
        .expect("busybox can be read");
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        archive
            .append_link(&mut header, format!("bin/{applet}"), "busybox")
            .expect("a link in memory");
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, "content", content.as_bytes())
        .expect("a file in memory");
    archive.into_inner().expect("an archive in memory")
}

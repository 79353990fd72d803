//! What the tests stand on: a context in memory, a log that remembers, a base image of their own, a registry.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    ops::ControlFlow,
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper::{Method, Request};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::super::{
    BuildSpec, Builder, BuiltImage, DEFAULT_FRONTENDS, Engine, EngineConfig, EngineError,
    clean::temporary_name,
    http::{Address, Answer, Body, full, query, request, request_with},
};
use crate::domain::{
    build::{BaseImage, Step},
    context::{BuildContext, ContextError, ContextPart, Entry, EntryKind, Selection},
    progress::Progress,
};

pub(super) const SOCKET: &str = "/var/run/docker.sock";

/// Long enough for anything that is waited for, so that a test ends.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// A context in memory. Its Dockerfile's directory is its root, unless `apart` has other files for it.
#[derive(Default)]
pub(super) struct MemoryContext {
    files: BTreeMap<Vec<u8>, Node>,
    apart: Option<BTreeMap<Vec<u8>, Node>>,
    objects: HashMap<[u8; 20], Vec<u8>>,
    dockerfile: String,
    pub(super) modified: i64,
    pub(super) reads: Mutex<Vec<[u8; 20]>>,
    pub(super) broken: bool,
}

#[derive(Clone)]
enum Node {
    File(Vec<u8>, bool),
    Link(Vec<u8>),
}

impl MemoryContext {
    pub(super) fn new(dockerfile: &str) -> Self {
        Self {
            dockerfile: "Dockerfile".to_owned(),
            modified: 1_600_000_000,
            ..Self::default()
        }
        .file("Dockerfile", dockerfile)
    }

    pub(super) fn file(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.node(path, Node::File(content.as_ref().to_vec(), false))
    }

    pub(super) fn executable(self, path: &str, content: &str) -> Self {
        self.node(path, Node::File(content.into(), true))
    }

    pub(super) fn link(self, path: &str, target: &str) -> Self {
        self.node(path, Node::Link(target.into()))
    }

    pub(super) fn dockerfile_at(mut self, path: &str) -> Self {
        self.dockerfile = path.to_owned();
        self
    }

    /// Moves the Dockerfile out of the context.
    pub(super) fn dockerfile_apart(mut self) -> Self {
        let path = self.dockerfile.clone().into_bytes();
        let node = self.files.remove(&path).unwrap();
        self.apart = Some(BTreeMap::from([(path, node)]));
        self
    }

    fn node(mut self, path: impl AsRef<[u8]>, node: Node) -> Self {
        if let Node::File(content, _) = &node {
            self.objects.insert(object_of(content), content.clone());
        }
        self.files.insert(path.as_ref().to_vec(), node);
        self
    }

    fn tree(&self, part: ContextPart) -> &BTreeMap<Vec<u8>, Node> {
        match (part, &self.apart) {
            (ContextPart::Dockerfile, Some(apart)) => apart,
            _ => &self.files,
        }
    }

    pub(super) fn reads_of(&self, content: &str) -> usize {
        let object = object_of(content.as_bytes());
        self.reads
            .lock()
            .unwrap()
            .iter()
            .filter(|read| **read == object)
            .count()
    }
}

fn object_of(content: &[u8]) -> [u8; 20] {
    Sha256::digest(content)[..20].try_into().unwrap()
}

/// As much of the pattern syntax as the tests use: exact paths, directories, `*.suffix`, `*`.
fn matches(pattern: &str, path: &str) -> bool {
    let pattern = pattern.trim_matches('/');
    match pattern.strip_prefix('*') {
        Some(suffix) => path.ends_with(suffix) && !path.contains('/'),
        None => path == pattern || path.starts_with(&format!("{pattern}/")) || pattern.is_empty(),
    }
}

fn is_excluded(patterns: &[String], path: &str) -> bool {
    patterns
        .iter()
        .fold(false, |excluded, pattern| match pattern.strip_prefix('!') {
            Some(kept) => excluded && !matches(kept, path),
            None => excluded || matches(pattern, path),
        })
}

impl BuildContext for MemoryContext {
    fn walk(
        &self,
        part: ContextPart,
        selection: &Selection,
        visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), ContextError> {
        if self.broken && part == ContextPart::Context {
            return Err(ContextError::Unreadable("the disk is gone".to_owned()));
        }
        let tree = self.tree(part);
        let mut follow: Vec<String> = selection.follow.clone();
        let mut at = 0;
        while at < follow.len() {
            if let Some(Node::Link(target)) = tree.get(follow[at].as_bytes()) {
                let target = String::from_utf8_lossy(target).into_owned();
                if !follow.contains(&target) {
                    follow.push(target);
                }
            }
            at += 1;
        }
        let mut entries: BTreeSet<(Vec<u8>, Vec<u8>)> = BTreeSet::new();
        for path in tree.keys() {
            let text = String::from_utf8_lossy(path).into_owned();
            let wanted = |list: &[String]| list.is_empty() || list.iter().any(|pattern| matches(pattern, &text));
            if !wanted(&selection.include) || !wanted(&follow) || is_excluded(&selection.exclude, &text) {
                continue;
            }
            for (end, _) in path.iter().enumerate().filter(|(_, c)| **c == b'/') {
                entries.insert(ordered(&path[..end]));
            }
            entries.insert(ordered(path));
        }
        for (_, path) in entries {
            let (kind, object) = match tree.get(&path) {
                Some(Node::File(content, executable)) => (
                    EntryKind::File {
                        size: content.len() as u64,
                        executable: *executable,
                    },
                    object_of(content),
                ),
                Some(Node::Link(target)) => (EntryKind::Symlink { target: target.clone() }, object_of(target)),
                None => (EntryKind::Directory, [0; 20]),
            };
            if visit(Entry { path, kind, object }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, object: &[u8; 20]) -> Result<Vec<u8>, ContextError> {
        self.reads.lock().unwrap().push(*object);
        self.objects
            .get(object)
            .cloned()
            .ok_or_else(|| ContextError::Unreadable("no such object".to_owned()))
    }

    fn modified(&self) -> i64 {
        self.modified
    }

    fn dockerfile(&self) -> &str {
        &self.dockerfile
    }
}

/// A path with the key that sorts `/` before everything else.
fn ordered(path: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (
        path.iter().map(|&c| if c == b'/' { 0 } else { c }).collect(),
        path.to_vec(),
    )
}

/// Remembers a build's log and its last list of steps.
#[derive(Default)]
pub(super) struct Log {
    text: Mutex<Vec<u8>>,
    steps: Mutex<Vec<Step>>,
    base_images: Mutex<Vec<BaseImage>>,
}

impl Log {
    pub(super) fn base_images(&self) -> Vec<BaseImage> {
        self.base_images.lock().unwrap().clone()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap().clone()
    }

    /// Waits until the log contains a text.
    pub(super) async fn wait_for(&self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.text().contains(text) {
            assert!(Instant::now() < end, "no `{text}` in: {}", self.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Progress for Log {
    fn write(&self, bytes: &[u8]) {
        self.text.lock().unwrap().extend_from_slice(bytes);
    }

    fn steps(&self, steps: Vec<Step>) {
        *self.steps.lock().unwrap() = steps;
    }

    fn base_images(&self, images: Vec<BaseImage>) {
        *self.base_images.lock().unwrap() = images;
    }
}

/// The engine of the machine, which the tests cannot do without.
pub(super) fn engine() -> Engine {
    assert!(
        UnixStream::connect(SOCKET).is_ok(),
        "these tests need a Docker Engine on {SOCKET}: start dockerd"
    );
    Engine::connect(&EngineConfig::default()).unwrap()
}

pub(super) fn unique() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Removes an image's name when it goes out of scope.
pub(super) struct Name(pub(super) String);

impl Drop for Name {
    fn drop(&mut self) {
        let mut stream = UnixStream::connect(SOCKET).unwrap();
        write!(
            stream,
            "DELETE /images/{}?force=1 HTTP/1.0\r\nHost: docker\r\n\r\n",
            self.0
        )
        .unwrap();
        let _ = stream.read_to_string(&mut String::new());
    }
}

/// A base image with a shell, made from the machine's static busybox under a name of the test's own.
pub(super) async fn busybox(engine: &Engine) -> Name {
    let program = std::fs::read("/bin/busybox").expect("these tests need busybox-static");
    let mut tar = tar::Builder::new(Vec::new());
    // The engine knows a layer by its content: this makes its cached steps the test's own as well.
    let mark = unique();
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(mark.len() as u64);
    tar.append_data(&mut header, "mark", mark.as_bytes()).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(program.len() as u64);
    tar.append_data(&mut header, "bin/busybox", program.as_slice()).unwrap();
    for applet in [
        "sh", "cat", "ls", "sleep", "echo", "stat", "od", "readlink", "test", "seq", "find", "wc", "date",
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    let (repository, tag) = ("hullworks-test.invalid/busybox", unique());
    let path = query(
        "/images/create",
        [("fromSrc", "-"), ("repo", repository), ("tag", tag.as_str())],
    );
    let body = full(tar.into_inner().unwrap());
    let request = request_with(Method::POST, &path, &[("content-type", "application/x-tar")], body).unwrap();
    call(&engine.address, request).await.success().unwrap();
    Name(format!("{repository}:{tag}"))
}

/// One build of a test: what it is asked for, and what came of it.
pub(super) struct Run {
    pub(super) result: Result<BuiltImage, EngineError>,
    pub(super) log: Arc<Log>,
    _name: Name,
}

impl Run {
    pub(super) fn error(&self) -> &EngineError {
        match &self.result {
            Ok(_) => panic!("the build succeeded: {}", self.log.text()),
            Err(error) => error,
        }
    }

    pub(super) fn image(&self) -> &BuiltImage {
        match &self.result {
            Ok(image) => image,
            Err(error) => panic!("{error}\n{}", self.log.text()),
        }
    }
}

pub(super) fn spec(builder: Builder) -> BuildSpec {
    let id = unique();
    BuildSpec {
        build_id: id.clone(),
        builder,
        shared_key: id,
        allowed_frontends: DEFAULT_FRONTENDS.map(str::to_owned).to_vec(),
        ..BuildSpec::default()
    }
}

pub(super) async fn build(engine: &Engine, spec: &BuildSpec, context: MemoryContext) -> Run {
    build_shared(engine, spec, Arc::new(context)).await
}

pub(super) async fn build_shared(engine: &Engine, spec: &BuildSpec, context: Arc<MemoryContext>) -> Run {
    let log = Arc::new(Log::default());
    let cancel = CancellationToken::new();
    let work = engine.build(spec, context, Arc::clone(&log) as Arc<dyn Progress>, &cancel);
    let result = tokio::time::timeout(DEADLINE, work)
        .await
        .expect("the build took too long");
    Run {
        result,
        log,
        _name: Name(temporary_name(&spec.build_id)),
    }
}

/// Asks the engine and reads its whole answer.
pub(super) async fn call(address: &Address, request: Request<Body>) -> Answer {
    address.send(request).await.unwrap().read_whole().await.unwrap()
}

/// The document of a successful answer.
pub(super) fn json_of(answer: Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.success().unwrap().body).unwrap()
}

/// What `inspect` tells of an image.
pub(super) async fn inspect(engine: &Engine, name: &str) -> serde_json::Value {
    let inspect = request(Method::GET, &format!("/images/{name}/json")).unwrap();
    json_of(call(&engine.address, inspect).await)
}

/// The ids of all containers, running or not, that stem from an image.
pub(super) async fn containers_of(engine: &Engine, image: &str) -> Vec<String> {
    let filters = serde_json::json!({"ancestor": [image]}).to_string();
    let list = request(
        Method::GET,
        &query("/containers/json", [("all", "1"), ("filters", filters.as_str())]),
    )
    .unwrap();
    let list: serde_json::Value = json_of(call(&engine.address, list).await);
    list.as_array()
        .unwrap()
        .iter()
        .map(|container| container["Id"].as_str().unwrap().to_owned())
        .collect()
}

/// The command lines of the machine's processes.
pub(super) fn processes() -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .collect()
}

pub(super) async fn wait_until(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < end, "{what} did not happen in {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A registry on a port of its own.
pub(super) struct Registry {
    child: Child,
    pub(super) host: String,
    _directory: TempDir,
}

impl Registry {
    /// `user` is a name and password that it demands.
    pub(super) async fn start(user: Option<(&str, &str)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let path = directory.path().display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {path}/data}}}}\n\
             http: {{addr: '{host}'}}\n"
        );
        if let Some((name, password)) = user {
            let output = Command::new("htpasswd")
                .args(["-Bbn", name, password])
                .output()
                .expect("htpasswd is needed");
            std::fs::write(directory.path().join("htpasswd"), output.stdout).unwrap();
            config.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {path}/htpasswd}}}}\n"));
        }
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need docker-registry");
        let registry = Self {
            child,
            host,
            _directory: directory,
        };
        wait_until("the registry's start", DEADLINE, async || {
            TcpStream::connect(&registry.host).is_ok()
        })
        .await;
        registry
    }

    /// The digest that the registry gives for a tag.
    pub(super) async fn digest(&self, path: &str, tag: &str, user: Option<(&str, &str)>) -> Option<String> {
        let mut request = reqwest::Client::new()
            .head(format!("http://{}/v2/{path}/manifests/{tag}", self.host))
            .header("accept", "application/vnd.docker.distribution.manifest.v2+json");
        if let Some((name, password)) = user {
            request = request.basic_auth(name, Some(password));
        }
        let answer = request.send().await.unwrap();
        Some(
            answer
                .headers()
                .get("docker-content-digest")?
                .to_str()
                .unwrap()
                .to_owned(),
        )
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

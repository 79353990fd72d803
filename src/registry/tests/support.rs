//! What the tests ask: distribution's registry as a child process, and servers whose answers a test makes up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::body::Body;
use axum::http::{Request, Response};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use reqwest::header::{AUTHORIZATION, IF_NONE_MATCH};
use secrecy::SecretString;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::domain::image::ImageReference;
use crate::registry::{Registries, RegistriesConfig, RegistryCredentials};

pub(super) const USERNAME: &str = "robot";
pub(super) const PASSWORD: &str = "pa:ss>w?rd";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SERVICE: &str = "registry under test";
const ISSUER: &str = "issuer under test";

pub(super) fn registries() -> Registries {
    Registries::new(RegistriesConfig::default()).unwrap()
}

/// Gives up soon.
pub(super) fn hasty_registries() -> Registries {
    Registries::new(RegistriesConfig {
        connect_timeout: Duration::from_millis(300),
        total_timeout: Duration::from_millis(700),
        ..RegistriesConfig::default()
    })
    .unwrap()
}

pub(super) fn credentials(password: &str) -> RegistryCredentials {
    RegistryCredentials {
        username: USERNAME.to_owned(),
        password: SecretString::from(password),
        trusted_realms: Vec::new(),
    }
}

pub(super) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
}

pub(super) fn sha256(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

/// A registry process with its own storage; it ends with the value.
pub(super) struct DockerRegistry {
    pub(super) host: String,
    _process: Child,
    _directory: tempfile::TempDir,
}

impl DockerRegistry {
    pub(super) async fn open() -> Self {
        Self::start(tempfile::tempdir().unwrap(), "").await
    }

    pub(super) async fn with_password() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let line = Command::new("htpasswd")
            .args(["-nbB", USERNAME, PASSWORD])
            .output()
            .await
            .unwrap();
        assert!(
            line.status.success(),
            "htpasswd (package apache2-utils) makes the password file"
        );
        let file = directory.path().join("htpasswd");
        std::fs::write(&file, line.stdout).unwrap();
        let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display());
        Self::start(directory, &auth).await
    }

    pub(super) async fn with_tokens(service: &TokenService) -> Self {
        let auth = format!(
            "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    rootcertbundle: {}\n",
            service.realm(),
            service.certificate.display()
        );
        Self::start(tempfile::tempdir().unwrap(), &auth).await
    }

    async fn start(directory: tempfile::TempDir, auth: &str) -> Self {
        let storage = directory.path().join("storage");
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n{auth}",
            storage.display()
        );
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("docker-registry (package of that name) is installed");
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let host = loop {
            let line = log
                .next_line()
                .await
                .unwrap()
                .unwrap_or_else(|| panic!("the registry ended: {said}"));
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().unwrap().to_owned();
            }
            said += &line;
        };
        // Read on, or the registry would stop at a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self {
            host,
            _process: process,
            _directory: directory,
        }
    }

    pub(super) fn image(&self, name: &str) -> ImageReference {
        ImageReference::parse(&format!("{}/{name}", self.host)).unwrap()
    }

    /// Pushes an image of one layer with this content; returns its digest.
    pub(super) async fn push(&self, path: &str, tag: &str, content: &str, authorization: Option<&str>) -> String {
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [sha256(content.as_bytes())] },
            "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "test" }],
        })
        .to_string();
        for blob in [&config, content] {
            self.push_blob(path, blob, authorization).await;
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": config.len(),
                "digest": sha256(config.as_bytes()),
            },
            "layers": [{
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": content.len(),
                "digest": sha256(content.as_bytes()),
            }],
        })
        .to_string();
        self.push_manifest(path, tag, DOCKER_MANIFEST, manifest, authorization)
            .await
    }

    /// Pushes an index of images that this registry has, by their platforms (os, architecture, variant) and digests;
    /// returns its own digest.
    pub(super) async fn push_index(&self, path: &str, tag: &str, images: &[(&str, &str, &str, &str)]) -> String {
        let manifests: Vec<_> = images
            .iter()
            .map(|(os, architecture, variant, digest)| {
                let platform = json!({ "os": os, "architecture": architecture, "variant": variant });
                json!({ "mediaType": DOCKER_MANIFEST, "size": 1, "digest": digest, "platform": platform })
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
        self.push_manifest(path, tag, OCI_INDEX, index.to_string(), None).await
    }

    async fn push_manifest(
        &self,
        path: &str,
        tag: &str,
        kind: &str,
        manifest: String,
        authorization: Option<&str>,
    ) -> String {
        let digest = sha256(manifest.as_bytes());
        let put = reqwest::Client::new()
            .put(format!("http://{}/v2/{path}/manifests/{tag}", self.host))
            .header("content-type", kind)
            .body(manifest);
        assert_eq!(send(put, authorization).await.status(), 201);
        digest
    }

    async fn push_blob(&self, path: &str, content: &str, authorization: Option<&str>) {
        let client = reqwest::Client::new();
        let begin = client.post(format!("http://{}/v2/{path}/blobs/uploads/", self.host));
        let begun = send(begin, authorization).await;
        assert_eq!(begun.status(), 202);
        let mut place = url::Url::parse(begun.headers()["location"].to_str().unwrap()).unwrap();
        place
            .query_pairs_mut()
            .append_pair("digest", &sha256(content.as_bytes()));
        let put = client.put(place).body(content.to_owned());
        assert_eq!(send(put, authorization).await.status(), 201);
    }
}

async fn send(mut request: reqwest::RequestBuilder, authorization: Option<&str>) -> reqwest::Response {
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    request.send().await.unwrap()
}

/// A token service that distribution's registry believes: it grants whatever scope is asked for to [`USERNAME`].
pub(super) struct TokenService {
    pub(super) server: Fake,
    certificate: PathBuf,
    signer: Arc<Signer>,
    _directory: tempfile::TempDir,
}

impl TokenService {
    pub(super) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (key, certificate) = (
            directory.path().join("key.pem"),
            directory.path().join("certificate.pem"),
        );
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=token service under test", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "openssl makes the token service's key");
        let signer = Arc::new(Signer {
            key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pem(&key)).unwrap(),
            certificate: pem(&certificate),
        });
        let issuer = signer.clone();
        let server = Fake::start("127.0.0.1", move |request| {
            if request.authorization.as_deref() != Some(&basic(USERNAME, PASSWORD)) {
                return answer(401, &[], "no such user");
            }
            let address = url::Url::parse(&format!("http://x{}", request.target)).unwrap();
            let scope = address.query_pairs().find(|(name, _)| name == "scope");
            let token = issuer.token(scope.as_ref().map(|(_, scope)| scope.as_ref()));
            answer(200, &[], json!({ "token": token, "expires_in": 300 }).to_string())
        })
        .await;
        Self {
            server,
            certificate,
            signer,
            _directory: directory,
        }
    }

    pub(super) fn realm(&self) -> String {
        format!("http://{}/token", self.server.host)
    }

    pub(super) fn authorization(&self, scope: &str) -> String {
        format!("Bearer {}", self.signer.token(Some(scope)))
    }
}

struct Signer {
    key: EcdsaKeyPair,
    certificate: Vec<u8>,
}

impl Signer {
    /// <https://distribution.github.io/distribution/spec/auth/jwt/>
    fn token(&self, scope: Option<&str>) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let access: Vec<_> = scope
            .into_iter()
            .map(|scope| {
                let (kind, rest) = scope.split_once(':').unwrap();
                let (name, actions) = rest.rsplit_once(':').unwrap();
                json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() })
            })
            .collect();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [BASE64_STANDARD.encode(&self.certificate)] });
        let claims = json!({
            "iss": ISSUER, "aud": SERVICE, "sub": USERNAME, "jti": "1", "access": access,
            "iat": now, "nbf": now - 10, "exp": now + 300,
        });
        let encode = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

fn pem(file: &std::path::Path) -> Vec<u8> {
    let text = std::fs::read_to_string(file).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    BASE64_STANDARD.decode(body).unwrap()
}

/// A request that a [`Fake`] got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) authorization: Option<String>,
    pub(super) if_none_match: Option<String>,
}

/// An HTTP server whose every answer the test decides, and that remembers what it was asked.
pub(super) struct Fake {
    pub(super) host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(super) async fn start(ip: &str, answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (record, answer) = (seen.clone(), Arc::new(answer));
        let handle = move |request: Request<Body>| {
            let header = |name| {
                let value = request.headers().get(name);
                value.map(|value| value.to_str().unwrap().to_owned())
            };
            let request = Seen {
                method: request.method().to_string(),
                target: request.uri().to_string(),
                authorization: header(AUTHORIZATION),
                if_none_match: header(IF_NONE_MATCH),
            };
            record.lock().unwrap().push(request.clone());
            let answer = answer(&request);
            async move { answer }
        };
        let app = axum::Router::new().fallback(handle);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            host: address.to_string(),
            seen,
        }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn image(&self, name: &str) -> ImageReference {
        ImageReference::parse(&format!("{}/{name}", self.host)).unwrap()
    }
}

pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(body.into()).unwrap()
}

/// A 401 that names a token service.
pub(super) fn bearer_demand(realm: &str) -> Response<Body> {
    let challenge = format!(r#"Bearer realm="{realm}",service="fake",scope="repository:other:pull,push""#);
    answer(401, &[("www-authenticate", &challenge)], "")
}

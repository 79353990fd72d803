//! What a build is asked for and what it yields.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::domain::image::DOCKER_HUB;

/// How Docker Hub is called where credentials are kept.
const DOCKER_HUB_LOGIN: &str = "https://index.docker.io/v1/";

/// Which of the engine's builders is to be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Builder {
    /// BuildKit where the engine has it.
    #[default]
    Auto,
    BuildKit,
    /// The only one whose steps heed limits of memory and CPU, and the only one of Podman.
    Classic,
}

/// One build.
#[derive(Debug, Clone, Default)]
pub struct BuildSpec {
    /// Unique among all builds; makes the temporary name. A later build with the same id takes the name over.
    pub build_id: String,
    /// Full names that the image bears after success, besides a temporary one of our own.
    pub tags: Vec<String>,
    pub build_args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// The stage to stop at; `None`: the last one.
    pub target: Option<String>,
    /// `linux/arm64`; `None`: the engine's own.
    pub platform: Option<String>,
    pub no_cache: bool,
    /// Asks the registry for newer base images even where the engine has them.
    pub pull: bool,
    pub builder: Builder,
    /// Bytes of memory that each step may use, without swap. With this or the next the classic builder builds, whatever
    /// `builder` says: BuildKit's steps heed neither.
    pub memory_bytes: Option<u64>,
    /// Processors for each step, in thousandths of one.
    pub cpu_thousandths: Option<u64>,
    /// What an image (fully named, with its tag) is to be taken for, whatever its tag stands for by then.
    pub base_digests: BTreeMap<String, String>,
    /// For `RUN --mount=type=secret`, by id. BuildKit only.
    pub secrets: BTreeMap<String, SecretString>,
    /// For base images. The engine sends them to whatever realm the registry names: look at it before handing them in.
    pub registry_auths: Vec<RegistryAuth>,
    /// The same for the same repository and context: BuildKit keeps the last tree under it and asks only for what
    /// changed since.
    pub shared_key: String,
    /// Image names without tags that `# syntax=` may name; see [`super::DEFAULT_FRONTENDS`].
    pub allowed_frontends: Vec<String>,
}

impl BuildSpec {
    pub(super) fn has_limits(&self) -> bool {
        self.memory_bytes.is_some() || self.cpu_thousandths.is_some()
    }
}

/// Credentials for one registry.
#[derive(Debug, Clone)]
pub struct RegistryAuth {
    /// As image names have it: `docker.io`, `registry.example.com:5000`.
    pub host: String,
    pub username: String,
    pub password: SecretString,
}

impl RegistryAuth {
    /// The name under which the engine looks these credentials up.
    fn server(&self) -> &str {
        if self.host == DOCKER_HUB {
            DOCKER_HUB_LOGIN
        } else {
            &self.host
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "username": self.username,
            "password": self.password.expose_secret(),
            "serveraddress": self.server(),
        })
    }
}

/// The value of `X-Registry-Auth`: base64 in the URL's alphabet, an empty object for nobody.
pub(super) fn auth_header(auth: Option<&RegistryAuth>) -> String {
    let value = auth.map_or_else(|| json!({}), RegistryAuth::json);
    URL_SAFE.encode(value.to_string())
}

/// The value of `X-Registry-Config`: all credentials, by server.
pub(super) fn config_header(auths: &[RegistryAuth]) -> String {
    let servers: serde_json::Map<_, _> = auths
        .iter()
        .map(|auth| (auth.server().to_owned(), auth.json()))
        .collect();
    URL_SAFE.encode(serde_json::Value::Object(servers).to_string())
}

/// An image that a build made. Nothing else can make one, so nothing else can be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    id: String,
    build_id: String,
}

impl BuiltImage {
    pub(super) fn new(id: String, build_id: String) -> Self {
        Self { id, build_id }
    }

    /// `sha256:` and 64 hexadecimal digits: the digest of the image's configuration.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn build_id(&self) -> &str {
        &self.build_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_encoded_in_the_urls_alphabet_and_under_the_servers_name() {
        let auth = RegistryAuth {
            host: DOCKER_HUB.to_owned(),
            username: "u".to_owned(),
            password: "p>?>?~~~ÿÿ".into(),
        };
        let header = auth_header(Some(&auth));
        assert!(!header.contains(['+', '/']), "{header}");
        let back: serde_json::Value = serde_json::from_slice(&URL_SAFE.decode(header).unwrap()).unwrap();
        assert_eq!(back["password"], "p>?>?~~~ÿÿ");
        assert_eq!(back["serveraddress"], DOCKER_HUB_LOGIN);
        let config = URL_SAFE.decode(config_header(&[auth])).unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(&config).unwrap()[DOCKER_HUB_LOGIN].is_object());
    }
}

//! Configuration: flags over environment over file, unknown keys refused by name. Only `app` and the command line see
//! the whole of it.

mod base_images;
mod mail;
mod oidc;
mod sources;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use url::Url;

pub use self::{
    base_images::{BaseImagesConfig, BaseImagesSettings, SecondsOf},
    mail::{MailConfig, MailSettings},
    oidc::{OidcConfig, OidcSettings},
    sources::{SourcesConfig, SourcesSettings},
};

/// The file that is read when none is named and it is there.
pub const FILE_NAME: &str = "hullworks.toml";

/// How the whole service is set up, after flags, environment and file were merged.
#[derive(Debug, Clone)]
pub struct Config {
    /// Holds the database (unless it is PostgreSQL), the key file, mirrors and sealed logs.
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// Under which address others reach the service, without a trailing slash; by default the one listened on.
    pub public_url: Option<Url>,
    /// `postgres://...`; `None`: SQLite in the data directory.
    pub database_url: Option<String>,
    /// `unix:///...` or `tcp://...`; `None`: the Docker Engine's usual socket.
    pub docker_host: Option<String>,
    /// Builds at once; 0 accepts and queues but builds nothing.
    pub concurrency: u32,
    /// `file` sources and `http` to loopback.
    pub allow_local_sources: bool,
    /// Sources at private, link-local and other special addresses.
    pub allow_private_sources: bool,
    /// Registry of images that name none.
    pub default_registry: Option<String>,
    /// Registries, beside those on loopback, that are spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// Longest time a build may take, in seconds.
    pub build_timeout_seconds: u64,
    /// How long a shutdown waits for running builds before it gives them back to the queue, in seconds.
    pub drain_seconds: u64,
    /// Largest log of a build, in bytes.
    pub max_log_bytes: u64,
    /// Largest fetch of a source, in bytes.
    pub max_source_bytes: u64,
    /// Dockerfile frontends that `# syntax=` may name, beside Docker's own.
    pub allowed_frontends: Vec<String>,
    pub builder: BuilderChoice,
    /// Which records the service logs: a level, or directives such as `hullworks=debug`.
    pub log: String,
    pub log_format: LogFormat,
    pub base_images: BaseImagesConfig,
    pub sources: SourcesConfig,
    /// Sign-in through another service; `None`: by password alone.
    pub oidc: Option<OidcConfig>,
    /// `None`: nobody is notified.
    pub mail: Option<MailConfig>,
}

/// Which of the engine's builders to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BuilderChoice {
    /// BuildKit where the engine has it.
    #[default]
    Auto,
    Buildkit,
    Classic,
}

/// How log records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    Json,
}

impl Config {
    /// Name and value of what the service was started with, for its administrators to read: never a secret.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        let listed = |values: &[String]| match values {
            [] => "none".to_owned(),
            values => values.join(", "),
        };
        vec![
            ("data_dir", self.data_dir.display().to_string()),
            ("listen", self.listen.to_string()),
            ("public_url", or_none(self.public_url.as_ref().map(Url::to_string))),
            (
                "database_url",
                self.database_url
                    .as_deref()
                    .map_or_else(|| "SQLite in data_dir".to_owned(), without_password),
            ),
            ("docker_host", or_none(self.docker_host.clone())),
            ("concurrency", self.concurrency.to_string()),
            ("builder", format!("{:?}", self.builder).to_lowercase()),
            ("build_timeout_seconds", self.build_timeout_seconds.to_string()),
            ("drain_seconds", self.drain_seconds.to_string()),
            ("max_log_bytes", self.max_log_bytes.to_string()),
            ("max_source_bytes", self.max_source_bytes.to_string()),
            ("default_registry", or_none(self.default_registry.clone())),
            ("insecure_registries", listed(&self.insecure_registries)),
            ("allowed_frontends", listed(&self.allowed_frontends)),
            ("allow_local_sources", self.allow_local_sources.to_string()),
            ("allow_private_sources", self.allow_private_sources.to_string()),
            ("base_images.poll_seconds", self.base_images.poll_seconds.to_string()),
            (
                "base_images.poll_seconds_of",
                listed(
                    &self
                        .base_images
                        .poll_seconds_of
                        .iter()
                        .map(|(host, seconds)| format!("{host}={seconds}"))
                        .collect::<Vec<_>>(),
                ),
            ),
            (
                "base_images.debounce_seconds",
                self.base_images.debounce_seconds.to_string(),
            ),
            ("base_images.at_once", self.base_images.at_once.to_string()),
            ("sources.poll_seconds", self.sources.poll_seconds.to_string()),
            (
                "sources.without_webhook_seconds",
                self.sources.without_webhook_seconds.to_string(),
            ),
            ("log", self.log.clone()),
            ("oidc", if self.oidc.is_some() { "set up" } else { "none" }.to_owned()),
            ("mail", if self.mail.is_some() { "set up" } else { "none" }.to_owned()),
        ]
    }
}

/// The address of a database, without what proves who asks.
fn without_password(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else {
        return "set".to_owned();
    };
    // It cannot have a password if it cannot be given none.
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

/// One layer of settings: a file, or flags and environment. What is left out is `None`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub data_dir: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub public_url: Option<Url>,
    pub database_url: Option<String>,
    pub docker_host: Option<String>,
    pub concurrency: Option<u32>,
    pub allow_local_sources: Option<bool>,
    pub allow_private_sources: Option<bool>,
    pub default_registry: Option<String>,
    pub insecure_registries: Option<Vec<String>>,
    pub build_timeout_seconds: Option<u64>,
    pub drain_seconds: Option<u64>,
    pub max_log_bytes: Option<u64>,
    pub max_source_bytes: Option<u64>,
    pub allowed_frontends: Option<Vec<String>>,
    pub builder: Option<BuilderChoice>,
    pub log: Option<String>,
    pub log_format: Option<LogFormat>,
    #[serde(default)]
    pub base_images: BaseImagesSettings,
    #[serde(default)]
    pub sources: SourcesSettings,
    #[serde(default)]
    pub oidc: OidcSettings,
    #[serde(default)]
    pub mail: MailSettings,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}")]
    Malformed { path: PathBuf, message: String },
    #[error("{key}: {message}")]
    Invalid { key: &'static str, message: String },
}

impl Settings {
    /// Reads a configuration file. A key that is not known is refused by name.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| ConfigError::Malformed {
            path: path.to_owned(),
            message: error.to_string(),
        })
    }

    /// These settings, with those of `below` where these say nothing.
    pub fn over(self, below: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(below.data_dir),
            listen: self.listen.or(below.listen),
            public_url: self.public_url.or(below.public_url),
            database_url: self.database_url.or(below.database_url),
            docker_host: self.docker_host.or(below.docker_host),
            concurrency: self.concurrency.or(below.concurrency),
            allow_local_sources: self.allow_local_sources.or(below.allow_local_sources),
            allow_private_sources: self.allow_private_sources.or(below.allow_private_sources),
            default_registry: self.default_registry.or(below.default_registry),
            insecure_registries: self.insecure_registries.or(below.insecure_registries),
            build_timeout_seconds: self.build_timeout_seconds.or(below.build_timeout_seconds),
            drain_seconds: self.drain_seconds.or(below.drain_seconds),
            max_log_bytes: self.max_log_bytes.or(below.max_log_bytes),
            max_source_bytes: self.max_source_bytes.or(below.max_source_bytes),
            allowed_frontends: self.allowed_frontends.or(below.allowed_frontends),
            builder: self.builder.or(below.builder),
            log: self.log.or(below.log),
            log_format: self.log_format.or(below.log_format),
            base_images: self.base_images.over(below.base_images),
            sources: self.sources.over(below.sources),
            oidc: self.oidc.over(below.oidc),
            mail: self.mail.over(below.mail),
        }
    }

    /// Flags and environment, completed by the file that they name or that is in the data directory, and by defaults.
    pub fn load(self, file: Option<&Path>) -> Result<Config, ConfigError> {
        let from_file = match file {
            Some(path) => Self::from_file(path)?,
            None => {
                let path = self.data_dir.clone().unwrap_or_else(default_data_dir).join(FILE_NAME);
                match path.exists() {
                    true => Self::from_file(&path)?,
                    false => Self::default(),
                }
            }
        };
        self.over(from_file).complete()
    }

    fn complete(self) -> Result<Config, ConfigError> {
        let config = Config {
            data_dir: self.data_dir.unwrap_or_else(default_data_dir),
            listen: self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            public_url: self.public_url,
            database_url: self.database_url,
            docker_host: self.docker_host,
            concurrency: self.concurrency.unwrap_or_else(default_concurrency),
            allow_local_sources: self.allow_local_sources.unwrap_or(false),
            allow_private_sources: self.allow_private_sources.unwrap_or(false),
            default_registry: self.default_registry,
            insecure_registries: self.insecure_registries.unwrap_or_default(),
            build_timeout_seconds: self.build_timeout_seconds.unwrap_or(2 * 60 * 60),
            drain_seconds: self.drain_seconds.unwrap_or(20),
            max_log_bytes: self.max_log_bytes.unwrap_or(64 << 20),
            max_source_bytes: self.max_source_bytes.unwrap_or(4 << 30),
            allowed_frontends: self.allowed_frontends.unwrap_or_default(),
            builder: self.builder.unwrap_or_default(),
            log: self.log.unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.unwrap_or_default(),
            base_images: self.base_images.complete()?,
            sources: self.sources.complete()?,
            oidc: self.oidc.complete()?,
            mail: self.mail.complete()?,
        };
        config.check()?;
        Ok(config)
    }
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("hullworks-data")
}

/// Half of the processors, at least one: a build keeps more than one busy.
fn default_concurrency() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    (processors / 2).max(1)
}

impl Config {
    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |key, message: &str| {
            Err(ConfigError::Invalid {
                key,
                message: message.to_owned(),
            })
        };
        if let Some(url) = &self.database_url
            && !(url.starts_with("postgres://") || url.starts_with("postgresql://"))
        {
            return invalid(
                "database_url",
                "it begins with postgres://; leave it out for SQLite in the data directory",
            );
        }
        if let Some(url) = &self.public_url
            && (!matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some())
        {
            return invalid(
                "public_url",
                "it is the http or https address under which the service is reached",
            );
        }
        if let Some(host) = &self.default_registry
            && !(crate::domain::image::is_valid_registry_host(host) && crate::domain::image::is_registry_host(host))
        {
            return invalid(
                "default_registry",
                "it is a registry's host as images name it, such as registry.example.com:5000",
            );
        }
        if self.concurrency > 256 {
            return invalid("concurrency", "it is at most 256");
        }
        if self.build_timeout_seconds == 0 {
            return invalid("build_timeout_seconds", "it is at least 1");
        }
        Ok(())
    }

    /// The address that webhooks and links are made of, without a trailing slash.
    pub fn base_url(&self, listening: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{listening}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        for text in [
            "concurency = 2",
            "[base_images]\npoll_secs = 3",
            "[oidc]\nisuer = ''",
            "[mail]\nfrm = ''",
        ] {
            let message = settings(text).unwrap_err().to_string();
            let names_it = ["concurency", "poll_secs", "isuer", "frm"]
                .iter()
                .any(|key| message.contains(key));
            assert!(names_it, "{message}");
        }
    }

    #[test]
    fn flags_win_over_the_file_and_defaults_fill_the_rest() {
        let flags = Settings {
            concurrency: Some(3),
            ..Settings::default()
        };
        let file = settings("concurrency = 7\nallow_local_sources = true\n[base_images]\npoll_seconds = 5").unwrap();
        let config = flags.over(file).complete().unwrap();
        assert_eq!(
            (
                config.concurrency,
                config.allow_local_sources,
                config.base_images.poll_seconds
            ),
            (3, true, 5)
        );
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.database_url, None);
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_key() {
        let check = |text: &str, key: &str| match settings(text).unwrap().complete() {
            Err(ConfigError::Invalid { key: found, .. }) => assert_eq!(found, key),
            other => panic!("{text}: {other:?}"),
        };
        check("database_url = 'mysql://x'", "database_url");
        check("public_url = 'ftp://x'", "public_url");
        check("default_registry = 'not a host'", "default_registry");
        check("default_registry = 'team'", "default_registry");
        check("concurrency = 1000", "concurrency");
        check("build_timeout_seconds = 0", "build_timeout_seconds");
        check("[base_images]\npoll_seconds = 0", "base_images.poll_seconds");
        assert!(settings("listen = '127.0.0.1:99999'").is_err());
    }

    #[test]
    fn the_file_in_the_data_directory_is_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE_NAME), "concurrency = 9").unwrap();
        let flags = Settings {
            data_dir: Some(directory.path().to_owned()),
            ..Settings::default()
        };
        assert_eq!(flags.load(None).unwrap().concurrency, 9);
    }
}

//! The configuration's keys as flags and environment variables, one for one.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, builder::BoolishValueParser};
use secrecy::SecretString;
use url::Url;

use crate::config::{
    BaseImagesSettings, BuilderChoice, Config, ConfigError, LogFormat, MailSettings, OidcSettings, SecondsOf, Settings,
    SourcesSettings,
};

/// Flags of every command that works on an installation itself.
///
/// Each is also a key of the configuration file (with `_` for `-`) and an environment variable. The environment wins
/// over the file, a flag over both.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Installation")]
pub struct SettingsArgs {
    /// Configuration file (TOML); without it DIR/hullworks.toml is read if it is there
    #[arg(long, value_name = "FILE", env = "HULLWORKS_CONFIG")]
    config: Option<PathBuf>,

    /// Directory of the database, the key file, source mirrors and logs; created where it is missing [default:
    /// hullworks-data]
    #[arg(long, value_name = "DIR", env = "HULLWORKS_DATA_DIR")]
    data_dir: Option<PathBuf>,

    /// Address to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "HULLWORKS_LISTEN")]
    listen: Option<SocketAddr>,

    /// Address under which others reach the service; webhook addresses and links are made of it [default: the one
    /// listened on]
    #[arg(long, value_name = "URL", env = "HULLWORKS_PUBLIC_URL")]
    public_url: Option<Url>,

    /// PostgreSQL database, postgres://...; without it SQLite in the data directory. Best given in the environment,
    /// since it holds a password
    #[arg(long, value_name = "URL", env = "HULLWORKS_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,

    /// Docker Engine, unix:///path or tcp://host:port [default: the engine's usual socket]
    #[arg(long, value_name = "URL", env = "HULLWORKS_DOCKER_HOST")]
    docker_host: Option<String>,

    /// Builds at once; 0 accepts and queues but builds nothing [default: half of the processors]
    #[arg(long, value_name = "N", env = "HULLWORKS_CONCURRENCY")]
    concurrency: Option<u32>,

    /// Allow sources at file:// and at http:// to loopback: for demonstrations and tests
    #[arg(long, value_name = "BOOL", env = "HULLWORKS_ALLOW_LOCAL_SOURCES", num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    allow_local_sources: Option<bool>,

    /// Allow sources at private, link-local and other special addresses
    #[arg(long, value_name = "BOOL", env = "HULLWORKS_ALLOW_PRIVATE_SOURCES", num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    allow_private_sources: Option<bool>,

    /// Registry of images that name none, such as registry.example.com:5000
    #[arg(long, value_name = "HOST", env = "HULLWORKS_DEFAULT_REGISTRY")]
    default_registry: Option<String>,

    /// Registries that are spoken to without TLS, beside those on loopback; several with commas between
    #[arg(
        long,
        value_name = "HOST",
        env = "HULLWORKS_INSECURE_REGISTRIES",
        value_delimiter = ','
    )]
    insecure_registries: Option<Vec<String>>,

    /// Longest time a build may take, in seconds [default: 7200]
    #[arg(long, value_name = "SECONDS", env = "HULLWORKS_BUILD_TIMEOUT_SECONDS")]
    build_timeout_seconds: Option<u64>,

    /// How long a shutdown waits for running builds before they go back to the queue, in seconds [default: 20]
    #[arg(long, value_name = "SECONDS", env = "HULLWORKS_DRAIN_SECONDS")]
    drain_seconds: Option<u64>,

    /// Largest log of a build, in bytes [default: 64 MiB]
    #[arg(long, value_name = "BYTES", env = "HULLWORKS_MAX_LOG_BYTES")]
    max_log_bytes: Option<u64>,

    /// Largest fetch of a source, in bytes [default: 4 GiB]
    #[arg(long, value_name = "BYTES", env = "HULLWORKS_MAX_SOURCE_BYTES")]
    max_source_bytes: Option<u64>,

    /// Frontends that a Dockerfile's `# syntax=` may name, beside Docker's own; several with commas between
    #[arg(
        long,
        value_name = "IMAGE",
        env = "HULLWORKS_ALLOWED_FRONTENDS",
        value_delimiter = ','
    )]
    allowed_frontends: Option<Vec<String>>,

    /// Which of the engine's builders to use [default: auto]
    #[arg(long, value_name = "BUILDER", env = "HULLWORKS_BUILDER")]
    builder: Option<BuilderChoice>,

    /// What to log: a level (error, warn, info, debug, trace) or a list of target=level [default: info]
    #[arg(long, value_name = "FILTER", env = "HULLWORKS_LOG")]
    log: Option<String>,

    /// How to log [default: auto]
    #[arg(long, value_name = "FORMAT", env = "HULLWORKS_LOG_FORMAT")]
    log_format: Option<LogFormat>,

    /// Seconds between two looks at a base image (base_images.poll_seconds in the file) [default: 900]
    #[arg(long, value_name = "SECONDS", env = "HULLWORKS_BASE_IMAGES_POLL_SECONDS")]
    base_images_poll_seconds: Option<u64>,

    /// The same for the images of single registries; several with commas between
    #[arg(
        long,
        value_name = "HOST=SECONDS",
        env = "HULLWORKS_BASE_IMAGES_POLL_SECONDS_OF",
        value_delimiter = ','
    )]
    base_images_poll_seconds_of: Option<Vec<SecondsOf>>,

    /// Seconds that a wave of rebuilds waits for more base images to move [default: 10]
    #[arg(long, value_name = "SECONDS", env = "HULLWORKS_BASE_IMAGES_DEBOUNCE_SECONDS")]
    base_images_debounce_seconds: Option<u64>,

    /// Builds of one wave of rebuilds that may be under way at once [default: 4]
    #[arg(long, value_name = "N", env = "HULLWORKS_BASE_IMAGES_AT_ONCE")]
    base_images_at_once: Option<u32>,

    /// Seconds between two looks at a source, for pushes that no webhook told of (sources.poll_seconds in the file); 0
    /// switches looks off [default: 3600]
    #[arg(long, value_name = "SECONDS", env = "HULLWORKS_SOURCES_POLL_SECONDS")]
    sources_poll_seconds: Option<u64>,

    /// The same for sources of which no webhook has come lately [default: 120]
    #[arg(long, value_name = "SECONDS", env = "HULLWORKS_SOURCES_WITHOUT_WEBHOOK_SECONDS")]
    sources_without_webhook_seconds: Option<u64>,

    /// OpenID Connect provider that people may sign in through, as it spells its own address (oidc.issuer in the file)
    #[arg(long, value_name = "URL", env = "HULLWORKS_OIDC_ISSUER")]
    oidc_issuer: Option<String>,

    /// What the provider calls this service
    #[arg(long, value_name = "ID", env = "HULLWORKS_OIDC_CLIENT_ID")]
    oidc_client_id: Option<String>,

    /// What the provider gave for this service. Best given in the environment or in a file
    #[arg(
        long,
        value_name = "SECRET",
        env = "HULLWORKS_OIDC_CLIENT_SECRET",
        hide_env_values = true
    )]
    oidc_client_secret: Option<SecretString>,

    /// File whose first line is that secret
    #[arg(long, value_name = "FILE", env = "HULLWORKS_OIDC_CLIENT_SECRET_FILE")]
    oidc_client_secret_file: Option<PathBuf>,

    /// What people call the provider: "Sign in with NAME" [default: OpenID Connect]
    #[arg(long, value_name = "NAME", env = "HULLWORKS_OIDC_NAME")]
    oidc_name: Option<String>,

    /// Whether whoever the provider lets in, and nobody knows here, becomes a new user
    #[arg(long, value_name = "BOOL", env = "HULLWORKS_OIDC_ALLOW_SIGN_UP", num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    oidc_allow_sign_up: Option<bool>,

    /// Group at the provider whose members are administrators, and of those who sign in through it nobody else
    #[arg(long, value_name = "GROUP", env = "HULLWORKS_OIDC_ADMIN_GROUP")]
    oidc_admin_group: Option<String>,

    /// Mail server for notifications: smtps://USER:PASSWORD@HOST, or smtp://HOST?tls=required (mail.smtp_url in the
    /// file). Best given in the environment, since it holds a password
    #[arg(long, value_name = "URL", env = "HULLWORKS_MAIL_SMTP_URL", hide_env_values = true)]
    mail_smtp_url: Option<SecretString>,

    /// Whom notifications are from, such as "Hullworks <builds@example.com>"
    #[arg(long, value_name = "ADDRESS", env = "HULLWORKS_MAIL_FROM")]
    mail_from: Option<String>,
}

impl SettingsArgs {
    /// The whole configuration: these flags over the environment over the file over the defaults.
    pub fn load(self) -> Result<Config, ConfigError> {
        let settings = Settings {
            data_dir: self.data_dir,
            listen: self.listen,
            public_url: self.public_url,
            database_url: self.database_url,
            docker_host: self.docker_host,
            concurrency: self.concurrency,
            allow_local_sources: self.allow_local_sources,
            allow_private_sources: self.allow_private_sources,
            default_registry: self.default_registry,
            insecure_registries: self.insecure_registries,
            build_timeout_seconds: self.build_timeout_seconds,
            drain_seconds: self.drain_seconds,
            max_log_bytes: self.max_log_bytes,
            max_source_bytes: self.max_source_bytes,
            allowed_frontends: self.allowed_frontends,
            builder: self.builder,
            log: self.log,
            log_format: self.log_format,
            base_images: BaseImagesSettings {
                poll_seconds: self.base_images_poll_seconds,
                poll_seconds_of: self
                    .base_images_poll_seconds_of
                    .map(|all| all.into_iter().map(|of| (of.host, of.seconds)).collect()),
                debounce_seconds: self.base_images_debounce_seconds,
                at_once: self.base_images_at_once,
            },
            sources: SourcesSettings {
                poll_seconds: self.sources_poll_seconds,
                without_webhook_seconds: self.sources_without_webhook_seconds,
            },
            oidc: OidcSettings {
                issuer: self.oidc_issuer,
                client_id: self.oidc_client_id,
                client_secret: self.oidc_client_secret,
                client_secret_file: self.oidc_client_secret_file,
                name: self.oidc_name,
                allow_sign_up: self.oidc_allow_sign_up,
                admin_group: self.oidc_admin_group,
            },
            mail: MailSettings {
                smtp_url: self.mail_smtp_url,
                from: self.mail_from,
            },
        };
        settings.load(self.config.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        settings: SettingsArgs,
    }

    fn load(flags: &[&str]) -> Result<Config, ConfigError> {
        let probe = Probe::try_parse_from(["probe"].iter().chain(flags)).unwrap();
        probe.settings.load()
    }

    /// Asks the deserializer itself, so that a new key cannot be forgotten.
    fn keys_of_the_file() -> Vec<String> {
        let sections = ["base_images", "sources", "oidc", "mail"];
        let mut keys = keys_expected("no-such-key = 1");
        assert!(keys.len() > 15 + sections.len(), "{keys:?}");
        keys.retain(|key| !sections.contains(&key.as_str()));
        for section in sections {
            let inner = keys_expected(&format!("[{section}]\nno-such-key = 1"));
            keys.extend(inner.into_iter().map(|key| format!("{section}_{key}")));
        }
        keys
    }

    fn keys_expected(text: &str) -> Vec<String> {
        let message = toml::from_str::<Settings>(text).unwrap_err().to_string();
        let (_, expected) = message.rsplit_once("expected ").expect("the message lists the keys");
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_key_of_the_file_is_a_flag_and_an_environment_variable() {
        let command = Probe::command();
        for id in keys_of_the_file() {
            let flag = command.get_arguments().find(|flag| flag.get_id() == id.as_str());
            let flag = flag.unwrap_or_else(|| panic!("{id} is no flag"));
            assert_eq!(flag.get_long().unwrap(), id.replace('_', "-"));
            assert_eq!(
                flag.get_env().unwrap().to_str().unwrap(),
                format!("HULLWORKS_{}", id.to_uppercase())
            );
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_that_another_flag_names() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("other.toml");
        std::fs::write(
            &file,
            "concurrency = 7\nlisten = '127.0.0.1:1'\n[base_images]\npoll_seconds = 5",
        )
        .unwrap();
        let config = load(&["--config", file.to_str().unwrap(), "--concurrency", "0"]).unwrap();
        assert_eq!(
            (
                config.concurrency,
                config.listen.port(),
                config.base_images.poll_seconds
            ),
            (0, 1, 5)
        );
    }

    #[test]
    fn a_switch_takes_a_value_or_none() {
        let check = |flags: &[&str], expected| assert_eq!(load(flags).unwrap().allow_local_sources, expected);
        check(&[], false);
        check(&["--allow-local-sources"], true);
        check(&["--allow-local-sources", "--concurrency", "1"], true);
        check(&["--allow-local-sources=false"], false);
        check(&["--allow-local-sources", "true"], true);
    }

    #[test]
    fn a_named_file_that_is_missing_is_refused() {
        let message = load(&["--config", "/nonexistent/x.toml"]).unwrap_err().to_string();
        assert!(message.contains("/nonexistent/x.toml"), "{message}");
    }
}

//! `[base_images]`: how images that something stands on are watched, and how fast what follows goes.

use std::{collections::BTreeMap, str::FromStr};

use serde::Deserialize;

use super::ConfigError;
use crate::domain::image::is_valid_registry_host;

/// How base images are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImagesConfig {
    /// Between two looks at an image.
    pub poll_seconds: u64,
    /// The same for the images of single registries, by host.
    pub poll_seconds_of: BTreeMap<String, u64>,
    /// How long a wave of rebuilds waits for more images to move.
    pub debounce_seconds: u64,
    /// How many builds of a wave may be under way at once.
    pub at_once: u32,
}

/// One layer of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseImagesSettings {
    pub poll_seconds: Option<u64>,
    pub poll_seconds_of: Option<BTreeMap<String, u64>>,
    pub debounce_seconds: Option<u64>,
    pub at_once: Option<u32>,
}

/// `HOST=SECONDS`, as a flag has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondsOf {
    pub host: String,
    pub seconds: u64,
}

impl FromStr for SecondsOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .rsplit_once('=')
            .and_then(|(host, seconds)| Some((host, seconds.parse().ok()?)));
        let (host, seconds) = parts.ok_or("it is HOST=SECONDS, such as ghcr.io=300")?;
        Ok(Self {
            host: host.to_owned(),
            seconds,
        })
    }
}

impl BaseImagesSettings {
    /// These settings, with those of `below` where these say nothing.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            poll_seconds: self.poll_seconds.or(below.poll_seconds),
            poll_seconds_of: self.poll_seconds_of.or(below.poll_seconds_of),
            debounce_seconds: self.debounce_seconds.or(below.debounce_seconds),
            at_once: self.at_once.or(below.at_once),
        }
    }

    pub(super) fn complete(self) -> Result<BaseImagesConfig, ConfigError> {
        let config = BaseImagesConfig {
            poll_seconds: self.poll_seconds.unwrap_or(15 * 60),
            poll_seconds_of: self.poll_seconds_of.unwrap_or_default(),
            debounce_seconds: self.debounce_seconds.unwrap_or(10),
            at_once: self.at_once.unwrap_or(4),
        };
        let invalid = |key, message: String| Err(ConfigError::Invalid { key, message });
        if config.poll_seconds == 0 {
            return invalid("base_images.poll_seconds", "it is at least 1".to_owned());
        }
        for (host, seconds) in &config.poll_seconds_of {
            let key = "base_images.poll_seconds_of";
            if !is_valid_registry_host(host) {
                return invalid(key, format!("`{host}` is not a registry's host"));
            }
            if *seconds == 0 {
                return invalid(key, format!("for {host} it is at least 1"));
            }
        }
        if config.debounce_seconds > 24 * 60 * 60 {
            return invalid("base_images.debounce_seconds", "it is at most a day, 86400".to_owned());
        }
        if config.at_once == 0 {
            return invalid(
                "base_images.at_once",
                "it is at least 1; a wave that is to build nothing is paused on its page".to_owned(),
            );
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default_and_what_makes_no_sense_is_named() {
        let complete = |text: &str| toml::from_str::<BaseImagesSettings>(text).unwrap().complete();
        let config = complete("poll_seconds_of = { 'ghcr.io' = 300 }").unwrap();
        assert_eq!(
            (
                config.poll_seconds,
                config.poll_seconds_of["ghcr.io"],
                config.debounce_seconds,
                config.at_once
            ),
            (900, 300, 10, 4)
        );
        for (text, key) in [
            ("poll_seconds = 0", "base_images.poll_seconds:"),
            ("poll_seconds_of = { 'ghcr.io' = 0 }", "base_images.poll_seconds_of:"),
            ("poll_seconds_of = { 'no host' = 1 }", "base_images.poll_seconds_of:"),
            ("debounce_seconds = 86401", "base_images.debounce_seconds:"),
            ("at_once = 0", "base_images.at_once:"),
        ] {
            let error = complete(text).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }

    #[test]
    fn the_seconds_of_a_host_may_have_its_port() {
        let of = |host: &str, seconds| SecondsOf {
            host: host.to_owned(),
            seconds,
        };
        assert_eq!("ghcr.io=300".parse(), Ok(of("ghcr.io", 300)));
        assert_eq!("registry.lan:5000=30".parse(), Ok(of("registry.lan:5000", 30)));
        assert!("ghcr.io".parse::<SecondsOf>().is_err());
        assert!("ghcr.io=soon".parse::<SecondsOf>().is_err());
    }
}

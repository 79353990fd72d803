//! `[sources]`: how often sources are looked at, for pushes that no webhook told of.

use serde::Deserialize;

use super::ConfigError;

/// The shortest time between two looks at a source, in seconds.
const SHORTEST: u64 = 30;

/// How often sources are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourcesConfig {
    /// Between two looks at a source; 0: none is looked at.
    pub poll_seconds: u64,
    /// The same for one of which no webhook has come lately.
    pub without_webhook_seconds: u64,
}

/// One layer of it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcesSettings {
    pub poll_seconds: Option<u64>,
    pub without_webhook_seconds: Option<u64>,
}

impl SourcesSettings {
    /// These settings, with those of `below` where these say nothing.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            poll_seconds: self.poll_seconds.or(below.poll_seconds),
            without_webhook_seconds: self.without_webhook_seconds.or(below.without_webhook_seconds),
        }
    }

    pub(super) fn complete(self) -> Result<SourcesConfig, ConfigError> {
        let config = SourcesConfig {
            poll_seconds: self.poll_seconds.unwrap_or(60 * 60),
            without_webhook_seconds: self.without_webhook_seconds.unwrap_or(2 * 60),
        };
        let too_short = |key| {
            Err(ConfigError::Invalid {
                key,
                message: format!("it is at least {SHORTEST}; poll_seconds = 0 switches all looks off"),
            })
        };
        if config.poll_seconds != 0 && config.poll_seconds < SHORTEST {
            return too_short("sources.poll_seconds");
        }
        if config.without_webhook_seconds < SHORTEST {
            return too_short("sources.without_webhook_seconds");
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default_and_what_would_be_a_burden_is_refused() {
        let complete = |text: &str| toml::from_str::<SourcesSettings>(text).unwrap().complete();
        let config = complete("").unwrap();
        assert_eq!((config.poll_seconds, config.without_webhook_seconds), (3600, 120));
        assert_eq!(complete("poll_seconds = 0").unwrap().poll_seconds, 0);
        for (text, key) in [
            ("poll_seconds = 29", "sources.poll_seconds:"),
            ("without_webhook_seconds = 29", "sources.without_webhook_seconds:"),
            ("without_webhook_seconds = 0", "sources.without_webhook_seconds:"),
        ] {
            let error = complete(text).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}

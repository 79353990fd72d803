//! `[mail]`: how notifications are sent. Left out, none are.

use secrecy::SecretString;
use serde::Deserialize;

use super::ConfigError;

/// A mail server, and who mail is from.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// `smtps://USER:PASSWORD@HOST`, or `smtp://`; holds a password.
    pub smtp_url: SecretString,
    pub from: String,
}

/// One layer of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    pub smtp_url: Option<SecretString>,
    pub from: Option<String>,
}

impl MailSettings {
    /// These settings, with those of `below` where these say nothing.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            smtp_url: self.smtp_url.or(below.smtp_url),
            from: self.from.or(below.from),
        }
    }

    /// `None` where neither is set.
    pub(super) fn complete(self) -> Result<Option<MailConfig>, ConfigError> {
        let missing = |key, message: &str| {
            Err(ConfigError::Invalid {
                key,
                message: message.to_owned(),
            })
        };
        match (self.smtp_url, self.from) {
            (None, None) => Ok(None),
            (Some(smtp_url), Some(from)) => Ok(Some(MailConfig { smtp_url, from })),
            (None, Some(_)) => missing(
                "mail.smtp_url",
                "it is the mail server, such as smtps://USER:PASSWORD@HOST, and is missing",
            ),
            (Some(_), None) => missing("mail.from", "it is the address that mail is from, and is missing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_is_set_up_wholly_or_not_at_all() {
        let complete = |text: &str| toml::from_str::<MailSettings>(text).unwrap().complete();
        assert!(complete("").unwrap().is_none());
        let config = complete("smtp_url = 'smtps://u:secret@h'\nfrom = 'a@b'")
            .unwrap()
            .unwrap();
        assert!(!format!("{config:?}").contains("secret"));
        for (text, key) in [
            ("from = 'a@b'", "mail.smtp_url"),
            ("smtp_url = 'smtp://h'", "mail.from"),
        ] {
            let error = complete(text).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}

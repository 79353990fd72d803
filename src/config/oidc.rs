//! `[oidc]`: sign-in through an OpenID Connect provider. Left out, there is none.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::ConfigError;

/// Largest file that a secret is read from, in bytes.
const LARGEST_SECRET: u64 = 64 << 10;

/// The provider, complete.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    pub issuer: String,
    pub client_id: String,
    pub client_secret: SecretString,
    /// What the button says: sign in with NAME.
    pub name: String,
    /// Whether somebody whom nobody knows here becomes a new user.
    pub allow_sign_up: bool,
    /// Whoever is in this group at the provider is an administrator, and who is not, is not, as of each sign-in.
    pub admin_group: Option<String>,
}

/// One layer of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    pub issuer: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<SecretString>,
    pub client_secret_file: Option<PathBuf>,
    pub name: Option<String>,
    pub allow_sign_up: Option<bool>,
    pub admin_group: Option<String>,
}

impl OidcSettings {
    /// These settings, with those of `below` where these say nothing. The two places of the secret are one setting.
    pub(super) fn over(self, below: Self) -> Self {
        let has_secret = self.client_secret.is_some() || self.client_secret_file.is_some();
        let (secret, file) = match has_secret {
            true => (self.client_secret, self.client_secret_file),
            false => (below.client_secret, below.client_secret_file),
        };
        Self {
            issuer: self.issuer.or(below.issuer),
            client_id: self.client_id.or(below.client_id),
            client_secret: secret,
            client_secret_file: file,
            name: self.name.or(below.name),
            allow_sign_up: self.allow_sign_up.or(below.allow_sign_up),
            admin_group: self.admin_group.or(below.admin_group),
        }
    }

    /// `None` where nothing is set; otherwise issuer, client and secret must be.
    pub(super) fn complete(self) -> Result<Option<OidcConfig>, ConfigError> {
        let is_empty = self.issuer.is_none()
            && self.client_id.is_none()
            && self.client_secret.is_none()
            && self.client_secret_file.is_none()
            && self.name.is_none()
            && self.allow_sign_up.is_none()
            && self.admin_group.is_none();
        if is_empty {
            return Ok(None);
        }
        let issuer = self
            .issuer
            .ok_or_else(|| invalid("oidc.issuer", "it is the provider's address, and is missing"))?;
        let client_id = self.client_id.filter(|id| !id.is_empty()).ok_or_else(|| {
            invalid(
                "oidc.client_id",
                "it is what the provider calls this service, and is missing",
            )
        })?;
        let client_secret = match (self.client_secret, self.client_secret_file) {
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "oidc.client_secret",
                    "it is given twice, also as client_secret_file",
                ));
            }
            (Some(secret), None) => secret,
            (None, Some(path)) => read_secret(path)?,
            (None, None) => {
                return Err(invalid(
                    "oidc.client_secret",
                    "it is what the provider gave for this service, here or in client_secret_file, and is missing",
                ));
            }
        };
        if client_secret.expose_secret().is_empty() {
            return Err(invalid("oidc.client_secret", "it is empty"));
        }
        let name = self.name.unwrap_or_else(|| "OpenID Connect".to_owned());
        if name.trim().is_empty() || name.chars().count() > 50 || name.contains(char::is_control) {
            return Err(invalid(
                "oidc.name",
                "it is what people call the provider, at most 50 characters",
            ));
        }
        Ok(Some(OidcConfig {
            issuer,
            client_id,
            client_secret,
            name,
            allow_sign_up: self.allow_sign_up.unwrap_or(false),
            admin_group: self.admin_group,
        }))
    }
}

/// The first line of a file, without its end.
fn read_secret(path: PathBuf) -> Result<SecretString, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.clone(),
        source,
    };
    let size = std::fs::metadata(&path).map_err(unreadable)?.len();
    if size > LARGEST_SECRET {
        return Err(invalid(
            "oidc.client_secret_file",
            "it is too large to be a secret's file",
        ));
    }
    let text = std::fs::read_to_string(&path).map_err(unreadable)?;
    Ok(text.lines().next().unwrap_or_default().into())
}

fn invalid(key: &'static str, message: &str) -> ConfigError {
    ConfigError::Invalid {
        key,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str) -> Result<Option<OidcConfig>, ConfigError> {
        toml::from_str::<OidcSettings>(text).unwrap().complete()
    }

    #[test]
    fn a_provider_is_complete_or_absent() {
        assert!(complete("").unwrap().is_none());
        let check = |text: &str, expected: &str| match complete(text) {
            Err(ConfigError::Invalid { key, .. }) => assert_eq!(key, expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        };
        check("client_id = 'x'\nclient_secret = 'y'", "oidc.issuer");
        check("issuer = 'https://i'\nclient_secret = 'y'", "oidc.client_id");
        check("issuer = 'https://i'\nclient_id = 'x'", "oidc.client_secret");
        check(
            "issuer = 'https://i'\nclient_id = 'x'\nclient_secret = ''",
            "oidc.client_secret",
        );
        check("allow_sign_up = true", "oidc.issuer");
        let base = "issuer = 'https://i'\nclient_id = 'x'\nclient_secret = 'y'\n";
        check(&format!("{base}client_secret_file = '/x'"), "oidc.client_secret");
        check(&format!("{base}name = ' '"), "oidc.name");
        let config = complete(base).unwrap().unwrap();
        assert_eq!((config.name.as_str(), config.allow_sign_up), ("OpenID Connect", false));
        assert!(!format!("{config:?}").contains('y'), "the secret is not shown");
    }

    #[test]
    fn the_secret_may_be_the_first_line_of_a_file_and_wins_as_one_setting() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from the file\n\n").unwrap();
        let over = OidcSettings {
            client_secret_file: Some(file.path().to_owned()),
            ..OidcSettings::default()
        };
        let below = toml::from_str("issuer = 'https://i'\nclient_id = 'x'\nclient_secret = 'y'").unwrap();
        let config = over.over(below).complete().unwrap().unwrap();
        assert_eq!(config.client_secret.expose_secret(), "from the file");
        let missing = "issuer = 'https://i'\nclient_id = 'x'\nclient_secret_file = '/nonexistent/secret'";
        let error = complete(missing).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/secret"), "{error}");
    }
}

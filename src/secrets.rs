//! What each sealed secret is bound to, so that one cannot be moved into the place of another, and the forms of those that
//! are more than a text.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// Purpose of a repository's webhook secret.
pub fn webhook_secret(repository_id: &str) -> String {
    format!("webhook-secret:{repository_id}")
}

/// Purpose of a source's user name and password.
pub fn source_credentials(repository_id: &str) -> String {
    format!("source-credentials:{repository_id}")
}

/// Purpose of a value for `RUN --mount=type=secret`.
pub fn build_secret(repository_id: &str, name: &str) -> String {
    format!("build-secret:{repository_id}:{name}")
}

/// Purpose of a registry's password.
pub fn registry_password(registry_id: &str) -> String {
    format!("registry-password:{registry_id}")
}

/// Purpose of the secret with which a registry reports pushes.
pub fn registry_hook(registry_id: &str) -> String {
    format!("registry-hook:{registry_id}")
}

/// Purpose of a secret on its way to the one page that shows it, in the browser for which it was made.
pub fn shown_once(session_id: &str, repository_id: &str) -> String {
    format!("shown-once:{session_id}:{repository_id}")
}

/// Purpose of what a browser keeps while somebody signs in through the provider.
pub fn sign_in_attempt() -> String {
    "sign-in-attempt".to_owned()
}

/// Purpose of an identity that waits for its owner's word before it is linked.
pub fn identity_to_link(user_id: &str) -> String {
    format!("identity-to-link:{user_id}")
}

/// How a source is fetched from; sealed as one JSON text.
pub struct SourceCredentials {
    pub username: String,
    pub password: SecretString,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    username: String,
    password: String,
}

impl SourceCredentials {
    pub fn to_text(&self) -> String {
        let stored = Stored {
            username: self.username.clone(),
            password: self.password.expose_secret().to_owned(),
        };
        serde_json::json!(stored).to_string()
    }

    pub fn from_text(text: &SecretString) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text.expose_secret()).ok()?;
        Some(Self {
            username: stored.username,
            password: stored.password.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_credentials_read_back_as_written() {
        let written = SourceCredentials {
            username: "a\"b".to_owned(),
            password: "p\\w\n".to_owned().into(),
        };
        let read = SourceCredentials::from_text(&written.to_text().into()).unwrap();
        assert_eq!(
            (read.username.as_str(), read.password.expose_secret()),
            ("a\"b", "p\\w\n")
        );
    }
}

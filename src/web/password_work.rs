//! Hashing and checking passwords where requests are answered: on other threads, a few at a time.
//!
//! Whether a name is known must not be told, by the time it takes either: for a name that nobody has, a hash that nobody knows
//! the password of is checked.

use std::{sync::LazyLock, time::Duration};

use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::{
    passwords::{self, UnfitPassword},
    tokens,
};

/// Hashes at once; each takes a processor and 19 MiB.
const AT_ONCE: usize = 2;

/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// The hash of a password that nobody knows.
static NOBODYS: LazyLock<String> = LazyLock::new(|| {
    let unknown = tokens::new_session_value();
    passwords::hash(&unknown).unwrap_or_default()
});

/// Reads a field of a form that holds a password.
pub fn typed<'de, D: Deserializer<'de>>(field: D) -> Result<SecretString, D::Error> {
    String::deserialize(field).map(SecretString::from)
}

/// The turns for work on passwords.
pub struct PasswordWork {
    turns: Semaphore,
}

impl Default for PasswordWork {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

impl PasswordWork {
    /// Whether a password is the one that was hashed. `None`, and a text that is no hash, take as long as any other.
    pub async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool, Problem> {
        self.work(move || {
            let nobodys = NOBODYS.as_str();
            // What is longer was never taken as a password; it is not worth the work.
            let known = hash.as_deref().filter(|hash| passwords::is_hash(hash));
            let fits = password.expose_secret().len() <= passwords::MAX_BYTES;
            let password = if fits { password } else { SecretString::default() };
            passwords::verify(&password, known.unwrap_or(nobodys)) && known.is_some() && fits
        })
        .await
    }

    /// Hashes a new password.
    pub async fn hash(&self, password: SecretString) -> Result<Result<String, UnfitPassword>, Problem> {
        self.work(move || passwords::hash(&password)).await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let busy = |_| {
            let detail = "too many people are signing in at this moment; try again in a few seconds";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_later()
        };
        let turn = tokio::time::timeout(TURN, self.turns.acquire()).await.map_err(busy)?;
        let done = tokio::task::spawn_blocking(work).await;
        drop(turn);
        done.map_err(|error| Problem::internal(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_right_for_its_own_hash_alone() {
        let work = PasswordWork::default();
        let hash = work.hash("correct horse".into()).await.unwrap().unwrap();
        for (password, hash, expected) in [
            ("correct horse", Some(hash.clone()), true),
            ("correct hors", Some(hash.clone()), false),
            ("", Some(hash), false),
            ("correct horse", None, false),
            ("", None, false),
            ("", Some(String::new()), false),
            ("correct horse", Some("correct horse".to_owned()), false),
        ] {
            let verified = work.verify(password.into(), hash.clone()).await.unwrap();
            assert_eq!(verified, expected, "{password:?} {hash:?}");
        }
        assert_eq!(work.hash("short".into()).await.unwrap(), Err(UnfitPassword::TooShort));
    }
}

//! Remembers tokens, so that one question is one request. In memory alone, and never for another account.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::RegistryCredentials;

/// Tokens that are remembered at a time.
const MAX_TOKENS: usize = 1024;

/// Tokens that were fetched, until shortly before they end.
#[derive(Default)]
pub(super) struct TokenCache {
    tokens: Mutex<HashMap<TokenKey, Remembered>>,
}

/// Whom a token is for. A changed password makes another key, so that an old one's token is not used on.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    registry: String,
    scope: String,
    account: Option<[u8; 32]>,
}

struct Remembered {
    authorization: HeaderValue,
    until: Instant,
}

impl TokenKey {
    pub(super) fn new(registry: &str, scope: &str, credentials: Option<&RegistryCredentials>) -> Self {
        let account = credentials.map(|credentials| {
            let hash = Sha256::new()
                .chain_update(credentials.username.len().to_be_bytes())
                .chain_update(&credentials.username)
                .chain_update(credentials.password.expose_secret());
            hash.finalize().into()
        });
        Self {
            registry: registry.to_owned(),
            scope: scope.to_owned(),
            account,
        }
    }
}

impl TokenCache {
    pub(super) fn get(&self, key: &TokenKey, now: Instant) -> Option<HeaderValue> {
        let tokens = self.lock();
        let found = tokens.get(key).filter(|token| now < token.until)?;
        Some(found.authorization.clone())
    }

    pub(super) fn put(&self, key: TokenKey, authorization: HeaderValue, lifetime: Duration, now: Instant) {
        let mut tokens = self.lock();
        tokens.retain(|_, remembered| now < remembered.until);
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        // A tenth of its time is left for the way to the registry.
        let until = now + lifetime * 9 / 10;
        tokens.insert(key, Remembered { authorization, until });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenKey, Remembered>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn credentials(username: &str, password: &str) -> RegistryCredentials {
        RegistryCredentials {
            username: username.to_owned(),
            password: SecretString::from(password),
            trusted_realms: Vec::new(),
        }
    }

    #[test]
    fn tokens_are_remembered_until_shortly_before_they_end() {
        let cache = TokenCache::default();
        let key = || TokenKey::new("r.example", "repository:a:pull", None);
        let now = Instant::now();
        let after = |seconds| cache.get(&key(), now + Duration::from_secs(seconds));
        let authorization = HeaderValue::from_static("Bearer a");
        cache.put(key(), authorization.clone(), Duration::from_secs(100), now);
        assert_eq!(after(89), Some(authorization));
        assert_eq!(after(90), None);
    }

    #[test]
    fn a_token_is_remembered_for_one_registry_scope_and_password() {
        let keys = [
            TokenKey::new("r.example", "s", None),
            TokenKey::new("q.example", "s", None),
            TokenKey::new("r.example", "t", None),
            TokenKey::new("r.example", "s", Some(&credentials("ab", "c"))),
            TokenKey::new("r.example", "s", Some(&credentials("a", "bc"))),
            TokenKey::new("r.example", "s", Some(&credentials("ab", "d"))),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(at));
        }
    }

    #[test]
    fn the_cache_has_a_limit() {
        let cache = TokenCache::default();
        let token = HeaderValue::from_static("Bearer a");
        let (minute, now) = (Duration::from_secs(60), Instant::now());
        for number in 0..3000 {
            let key = TokenKey::new("r.example", &number.to_string(), None);
            cache.put(key, token.clone(), minute, now);
            assert!(cache.lock().len() <= MAX_TOKENS);
        }
    }
}

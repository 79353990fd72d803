//! Passwords, kept as Argon2id hashes (RFC 9106).
//!
//! Hashing takes tens of milliseconds and 19 MiB on purpose: never call it on a thread that answers others.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};

/// Shortest password that is taken, in characters.
pub const MIN_CHARACTERS: usize = 8;

/// Longest password that is taken, in bytes: enough for any passphrase, and no lever to keep the hash busy.
pub const MAX_BYTES: usize = 1024;

/// Memory in KiB, passes and lanes: the first choice of OWASP's Password Storage Cheat Sheet for Argon2id.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPassword {
    #[error("the password is too short: it has at least {MIN_CHARACTERS} characters")]
    TooShort,
    #[error("the password is too long: it has at most {MAX_BYTES} bytes")]
    TooLong,
}

/// Hashes a new password into a PHC string, which holds its own parameters and salt.
pub fn hash(password: &SecretString) -> Result<String, UnfitPassword> {
    let text = password.expose_secret();
    if text.chars().count() < MIN_CHARACTERS {
        return Err(UnfitPassword::TooShort);
    }
    if text.len() > MAX_BYTES {
        return Err(UnfitPassword::TooLong);
    }
    let hashed = hasher()
        .hash_password(text.as_bytes())
        .expect("Argon2 hashes any text of this length");
    Ok(hashed.to_string())
}

/// Whether a password is the one that was hashed. A text that is no hash is nobody's.
pub fn verify(password: &SecretString, hashed: &str) -> bool {
    PasswordHash::new(hashed).is_ok_and(|hashed| {
        hasher()
            .verify_password(password.expose_secret().as_bytes(), &hashed)
            .is_ok()
    })
}

/// Whether a text is the hash of a password at all. People without a password have another text in its place.
pub fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok()
}

fn hasher() -> Argon2<'static> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).expect("the costs are within Argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_against_its_own_hash_alone() {
        let password = SecretString::from("correct horse");
        let (one, other) = (hash(&password).unwrap(), hash(&password).unwrap());
        assert!(verify(&password, &one) && verify(&password, &other));
        assert_ne!(one, other, "each hash has its own salt");
        assert!(!verify(&"correct hors".into(), &one));
        assert!(is_hash(&one) && !is_hash("") && !is_hash("correct horse"));
        assert!(!verify(&password, "") && !verify(&password, "correct horse"));
    }

    #[test]
    fn the_hash_is_argon2id_with_at_least_the_recommended_cost() {
        let hashed = hash(&"correct horse".into()).unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
    }

    #[test]
    fn a_password_of_unfit_length_is_refused() {
        assert_eq!(hash(&"1234567".into()), Err(UnfitPassword::TooShort));
        assert_eq!(hash(&"ä".repeat(7).into()), Err(UnfitPassword::TooShort));
        assert_eq!(hash(&"x".repeat(MAX_BYTES + 1).into()), Err(UnfitPassword::TooLong));
    }
}

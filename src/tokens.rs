//! Random secrets that Hullworks itself gives out: API tokens, session cookies, webhook secrets, hook ids.
//!
//! A token is stored as its hash alone and shown once. All of them have at least 128 random bits, so that a plain
//! SHA-256 is enough for storage: there is nothing to guess, and a slow hash would only slow every request.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::domain::ids::HookId;

/// What every API token begins with, so that people and secret scanners recognise one.
pub const TOKEN_PREFIX: &str = "hwt_";

/// What a webhook secret begins with (Standard Webhooks); the rest is its key in base64.
const WEBHOOK_SECRET_PREFIX: &str = "whsec_";

/// Crockford's base 32: no letter that looks like a digit.
const CODE_LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A fresh API token: the prefix and 256 random bits in hexadecimal.
pub fn new_token() -> SecretString {
    SecretString::from(format!("{TOKEN_PREFIX}{}", hex::encode(rand::random::<[u8; 32]>())))
}

/// What is stored of a token, and looked up: its SHA-256, 64 hexadecimal digits.
///
/// A lookup by it leaks nothing through its time: whoever can choose the token cannot choose the hash.
pub fn token_hash(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

/// What a fresh session's cookie holds: 256 random bits in hexadecimal.
pub fn new_session_value() -> SecretString {
    SecretString::from(hex::encode(rand::random::<[u8; 32]>()))
}

/// A fresh one-time set-up code: 100 random bits in four groups, easy to read from one screen and type on another.
pub fn new_set_up_code() -> SecretString {
    let letters = rand::random::<[u8; 20]>().map(|byte| char::from(CODE_LETTERS[usize::from(byte) % 32]));
    let groups: Vec<String> = letters.chunks(5).map(|group| group.iter().collect()).collect();
    SecretString::from(groups.join("-"))
}

/// The code that somebody meant who typed `text`: without what separates, and letters that look like digits as those.
pub fn normal_set_up_code(text: &str) -> String {
    let known = text.chars().filter(char::is_ascii_alphanumeric);
    let digits = known.map(|c| match c.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        c => c,
    });
    digits.collect()
}

/// What accepts a fresh invitation: 256 random bits in hexadecimal.
pub fn new_invitation_code() -> SecretString {
    SecretString::from(hex::encode(rand::random::<[u8; 32]>()))
}

/// A fresh webhook secret: 256 random bits as Standard Webhooks writes them, the only form that GitLab takes for a signing
/// token; to all others it is a text like any other.
pub fn new_webhook_secret() -> SecretString {
    let random = BASE64_STANDARD.encode(rand::random::<[u8; 32]>());
    SecretString::from(format!("{WEBHOOK_SECRET_PREFIX}{random}"))
}

/// A fresh hook id: 128 random bits, none of them a time, for it is itself the secret where the sender can send no other.
pub fn new_hook_id() -> HookId {
    HookId::from(hex::encode(rand::random::<[u8; 16]>()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn secrets_have_their_form_and_never_repeat() {
        let check = |make: &dyn Fn() -> String, prefix: &str, digits: usize| {
            let made: HashSet<String> = (0..1000).map(|_| make()).collect();
            assert_eq!(made.len(), 1000);
            for text in made {
                let random = text.strip_prefix(prefix).unwrap();
                assert_eq!(random.len(), digits);
                assert!(
                    random.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)),
                    "{text}"
                );
            }
        };
        check(&|| new_token().expose_secret().to_owned(), "hwt_", 64);
        check(&|| new_session_value().expose_secret().to_owned(), "", 64);
        check(&|| new_invitation_code().expose_secret().to_owned(), "", 64);
        check(&|| new_hook_id().as_str().to_owned(), "", 32);
    }

    #[test]
    fn a_webhook_secret_is_a_signing_token_that_gitlab_takes() {
        let made: HashSet<String> = (0..1000)
            .map(|_| new_webhook_secret().expose_secret().to_owned())
            .collect();
        assert_eq!(made.len(), 1000);
        for text in made {
            let key = BASE64_STANDARD.decode(text.strip_prefix("whsec_").unwrap()).unwrap();
            assert_eq!(key.len(), 32, "{text}");
        }
    }

    #[test]
    fn a_set_up_code_is_read_back_however_it_is_typed() {
        let code = new_set_up_code();
        let normal = normal_set_up_code(code.expose_secret());
        assert_eq!((code.expose_secret().len(), normal.len()), (23, 20));
        assert_ne!(normal, normal_set_up_code(new_set_up_code().expose_secret()));
        let typed = format!(
            " {} ",
            code.expose_secret()
                .to_uppercase()
                .replace('-', " ")
                .replace('0', "O")
                .replace('1', "l")
        );
        assert_eq!(normal_set_up_code(&typed), normal);
    }

    #[test]
    fn two_hook_ids_of_one_moment_share_no_beginning() {
        let (one, other) = (new_hook_id(), new_hook_id());
        assert_ne!(one.as_str()[..12], other.as_str()[..12]);
    }

    #[test]
    fn a_token_is_stored_as_its_sha256() {
        // The vector of FIPS 180-2, appendix B.1.
        assert_eq!(
            token_hash("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}

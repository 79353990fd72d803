//! Seals secrets at rest with the key file of this installation.
//!
//! What is sealed here can be read again only with the same key and for the same purpose. The key itself must never
//! reach a log, the database or an answer, and a key file that is not as expected is never replaced or repaired: a new
//! key would make everything that was sealed before unreadable for good.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, MAX_TAG_LEN, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};

/// Length of the key, in bytes; in the file it is twice as many hexadecimal digits.
const KEY_LEN: usize = 32;

/// More than any well-formed key file has, in bytes: what is longer is not read to its end.
const MAX_KEY_FILE: u64 = 4096;

/// First byte of everything sealed. Version 1: nonce of 12 bytes, AES-256-GCM ciphertext, tag of 16 bytes.
const VERSION: u8 = 1;

/// What the fingerprint is the HMAC of; it must not change, or every installation would seem to have a new key.
const FINGERPRINT_TEXT: &[u8] = b"hullworks key fingerprint 1";

/// Seals and opens secrets with one key.
#[derive(Debug)]
pub struct Vault {
    key: RandomizedNonceKey,
    fingerprint: String,
}

/// Why the vault or a sealed secret could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(
        "the key file {} does not exist, but there are secrets that were sealed with it: put it back from a backup",
        path.display()
    )]
    Missing { path: PathBuf },
    #[error(
        "the key file {} {reason}; it must hold one line of 64 hexadecimal digits: put it back from a backup",
        path.display()
    )]
    Malformed { path: PathBuf, reason: &'static str },
    #[error(
        "the key file {path} can be read by others than its owner (mode {mode:04o}): run `chmod 600 {path}`",
        path = path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the key file {} could not be {action}: {source}", path.display())]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    #[error(
        "the sealed `{purpose}` cannot be opened: it was sealed with another key or for another purpose, or changed"
    )]
    Unopenable { purpose: String },
}

impl Vault {
    /// Reads the key file, or makes one where there is none and `may_create` allows it.
    ///
    /// The caller allows it only while nothing has been sealed yet. The directory must exist.
    pub fn open_or_create(path: &Path, may_create: bool) -> Result<Self, VaultError> {
        match read_key(path) {
            Err(VaultError::Missing { .. }) if may_create => {
                create_key(path)?;
                read_key(path)
            }
            key => key,
        }
        .map(|key| Self::new(&key))
    }

    fn new(key: &Key) -> Self {
        let key = key.expose_secret();
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), FINGERPRINT_TEXT);
        Self {
            key: RandomizedNonceKey::new(&AES_256_GCM, key).expect("AES-256 takes every key of 32 bytes"),
            fingerprint: hex::encode(&mac.as_ref()[..16]),
        }
    }

    /// A text that tells this key from others and nothing about it. Stored beside the data, it shows at the start
    /// whether the key file is the one that the data was sealed with.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Seals a secret for one purpose, such as `webhook-secret:<id>`: it opens for no other, so that a sealed value
    /// cannot be moved to another row.
    pub fn seal(&self, purpose: &str, secret: &str) -> Vec<u8> {
        let mut text = Vec::with_capacity(secret.len() + MAX_TAG_LEN);
        text.extend_from_slice(secret.as_bytes());
        let nonce = self
            .key
            .seal_in_place_append_tag(bind(purpose), &mut text)
            .expect("AES-GCM seals every text below 64 GiB");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        sealed
    }

    /// Opens what [`Vault::seal`] sealed for the same purpose.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<SecretString, VaultError> {
        self.try_open(purpose, sealed).ok_or_else(|| VaultError::Unopenable {
            purpose: purpose.to_owned(),
        })
    }

    fn try_open(&self, purpose: &str, sealed: &[u8]) -> Option<SecretString> {
        let (&version, rest) = sealed.split_first()?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        if version != VERSION {
            return None;
        }
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let secret = self.key.open_in_place(nonce, bind(purpose), &mut text).ok()?;
        Some(SecretString::from(str::from_utf8(secret).ok()?))
    }
}

type Key = SecretBox<[u8; KEY_LEN]>;

/// The version is bound too, so that no later format can be passed off as this one.
fn bind(purpose: &str) -> Aad<Vec<u8>> {
    Aad::from([&[VERSION], purpose.as_bytes()].concat())
}

fn read_key(path: &Path) -> Result<Key, VaultError> {
    let failed = |source| VaultError::Io {
        path: path.to_owned(),
        action: "read",
        source,
    };
    let malformed = |reason| VaultError::Malformed {
        path: path.to_owned(),
        reason,
    };
    // Looked at before it is opened, because opening a named pipe would wait for its writer.
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(malformed("is not a regular file")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(VaultError::Missing { path: path.to_owned() });
        }
        Err(error) => return Err(failed(error)),
    }
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(VaultError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_KEY_FILE).read_to_end(&mut text).map_err(failed)?;
    let digits = text.trim_ascii_end();
    if digits.len() != 2 * KEY_LEN {
        return Err(malformed(if digits.is_empty() {
            "is empty"
        } else if digits.len() < 2 * KEY_LEN {
            "is too short"
        } else {
            "is too long"
        }));
    }
    SecretBox::try_init_with(|| {
        let mut key = [0; KEY_LEN];
        hex::decode_to_slice(digits, &mut key).map(|()| key)
    })
    .map_err(|_| malformed("holds something else than hexadecimal digits"))
}

/// Makes the key file whole or not at all. Where another process was faster its key stays.
fn create_key(path: &Path) -> Result<(), VaultError> {
    let failed = |source| VaultError::Io {
        path: path.to_owned(),
        action: "created",
        source,
    };
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let key: Key = SecretBox::init_with(rand::random);
    let line = Zeroizing::new(hex::encode(key.expose_secret()) + "\n");
    let mut file = tempfile::Builder::new()
        .prefix(".key-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(line.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error.error)),
    }
    // Only now does the name survive a power cut; nothing may be sealed with a key that could still vanish.
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSE: &str = "webhook-secret:1";

    struct Installation {
        directory: tempfile::TempDir,
    }

    impl Installation {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().unwrap(),
            }
        }

        fn with_key_file(content: &[u8], mode: u32) -> Self {
            let this = Self::new();
            fs::write(this.key_file(), content).unwrap();
            fs::set_permissions(this.key_file(), fs::Permissions::from_mode(mode)).unwrap();
            this
        }

        fn key_file(&self) -> PathBuf {
            self.directory.path().join("key")
        }

        fn create(&self) -> Vault {
            Vault::open_or_create(&self.key_file(), true).unwrap()
        }
    }

    fn open(vault: &Vault, purpose: &str, sealed: &[u8]) -> Option<String> {
        vault
            .open(purpose, sealed)
            .ok()
            .map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_sealed_secret_opens_again_and_looks_like_nothing_in_between() {
        let vault = Installation::new().create();
        for secret in ["", "x", "a canary secret", "pässword ✓", &"long".repeat(10_000)] {
            let sealed = vault.seal(PURPOSE, secret);
            assert_eq!(open(&vault, PURPOSE, &sealed).as_deref(), Some(secret));
            assert!(secret.len() < 2 || !String::from_utf8_lossy(&sealed).contains(secret));
            assert_ne!(vault.seal(PURPOSE, secret), sealed, "each sealing has its own nonce");
        }
    }

    #[test]
    fn a_secret_opens_for_no_other_purpose() {
        let vault = Installation::new().create();
        let sealed = vault.seal(PURPOSE, "secret");
        for other in ["webhook-secret:2", "webhook-secret:", "", "password:1"] {
            let error = vault.open(other, &sealed).unwrap_err();
            assert!(
                matches!(&error, VaultError::Unopenable { purpose } if purpose == other),
                "{error}"
            );
        }
    }

    #[test]
    fn a_secret_opens_with_no_other_key() {
        let (one, other) = (Installation::new().create(), Installation::new().create());
        assert_eq!(open(&other, PURPOSE, &one.seal(PURPOSE, "secret")), None);
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_cut_or_changed_secret_does_not_open() {
        let vault = Installation::new().create();
        let sealed = vault.seal(PURPOSE, "secret");
        for length in 0..sealed.len() {
            assert_eq!(open(&vault, PURPOSE, &sealed[..length]), None, "cut to {length}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&vault, PURPOSE, &changed), None, "bit {bit} flipped");
        }
        let longer = [sealed.as_slice(), b"\0"].concat();
        assert_eq!(open(&vault, PURPOSE, &longer), None);
    }

    #[test]
    fn the_key_file_stays_the_same_and_is_for_its_owner_alone() {
        let installation = Installation::new();
        let first = installation.create();
        let text = fs::read_to_string(installation.key_file()).unwrap();
        assert_eq!(text.len(), 65);
        assert!(text.ends_with('\n') && hex::decode(text.trim_end()).is_ok());
        assert_eq!(fs::metadata(installation.key_file()).unwrap().mode() & 0o7777, 0o600);

        let second = Vault::open_or_create(&installation.key_file(), false).unwrap();
        assert_eq!(
            open(&second, PURPOSE, &first.seal(PURPOSE, "secret")).as_deref(),
            Some("secret")
        );
        assert_eq!(second.fingerprint(), first.fingerprint());
        assert_eq!(
            fs::read_dir(installation.directory.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn the_format_and_the_fingerprint_stay_as_they_were_released() {
        let installation = Installation::with_key_file("00".repeat(32).as_bytes(), 0o400);
        let vault = Vault::open_or_create(&installation.key_file(), false).unwrap();
        let sealed = hex::decode(SEALED_WITH_ZEROS).unwrap();
        assert_eq!(open(&vault, PURPOSE, &sealed).as_deref(), Some("secret"));
        assert_eq!(vault.fingerprint(), FINGERPRINT_OF_ZEROS);
    }

    /// Computed with another implementation (Python's `cryptography` and `hmac`), as the comments above describe it.
    const SEALED_WITH_ZEROS: &str = "01000102030405060708090a0bfbae50206589964a9a97d412bd4839d22786c30e54f5";
    const FINGERPRINT_OF_ZEROS: &str = "2521d6214d94915bc828329cb0d14ff5";

    #[test]
    fn a_missing_key_file_is_not_replaced_where_there_is_data() {
        let installation = Installation::new();
        let error = Vault::open_or_create(&installation.key_file(), false).unwrap_err();
        assert!(matches!(error, VaultError::Missing { .. }), "{error}");
        assert!(
            error.to_string().contains(installation.key_file().to_str().unwrap()),
            "{error}"
        );
        assert!(!installation.key_file().exists());
    }

    #[test]
    fn a_key_file_that_is_no_key_is_refused_and_left_alone() {
        let digits = "ab".repeat(32);
        for content in [
            String::new(),
            "\n".to_owned(),
            digits[1..].to_owned(),
            format!("{digits}0"),
            format!("{digits}\n{digits}\n"),
            format!("{}zz", &digits[2..]),
            format!(" {}", &digits[1..]),
            "\0".repeat(64),
            "0".repeat(1 << 20),
        ] {
            let installation = Installation::with_key_file(content.as_bytes(), 0o600);
            let error = Vault::open_or_create(&installation.key_file(), true).unwrap_err();
            assert!(matches!(error, VaultError::Malformed { .. }), "{error}");
            assert!(
                error.to_string().contains(installation.key_file().to_str().unwrap()),
                "{error}"
            );
            assert_eq!(fs::read(installation.key_file()).unwrap(), content.as_bytes());
        }
    }

    #[test]
    fn something_else_than_a_file_is_refused_without_waiting() {
        let installation = Installation::new();
        fs::create_dir(installation.key_file()).unwrap();
        let error = Vault::open_or_create(&installation.key_file(), true).unwrap_err();
        assert!(matches!(error, VaultError::Malformed { .. }), "{error}");

        let installation = Installation::new();
        let made = std::process::Command::new("mkfifo")
            .arg(installation.key_file())
            .status()
            .unwrap();
        assert!(made.success());
        let error = Vault::open_or_create(&installation.key_file(), true).unwrap_err();
        assert!(matches!(error, VaultError::Malformed { .. }), "{error}");
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused_and_the_remedy_named() {
        for mode in [0o640, 0o604, 0o660, 0o644, 0o620] {
            let installation = Installation::with_key_file("ab".repeat(32).as_bytes(), mode);
            let error = Vault::open_or_create(&installation.key_file(), true).unwrap_err();
            assert!(
                matches!(error, VaultError::Exposed { mode: found, .. } if found == mode),
                "{error}"
            );
            let remedy = format!("chmod 600 {}", installation.key_file().display());
            assert!(error.to_string().contains(&remedy), "{error}");
            assert_eq!(fs::metadata(installation.key_file()).unwrap().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let installation = Installation::new();
        let path = installation.directory.path().join("absent/key");
        let error = Vault::open_or_create(&path, true).unwrap_err();
        assert!(matches!(error, VaultError::Io { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn creators_at_the_same_time_end_with_one_key() {
        for _ in 0..20 {
            let installation = Installation::new();
            let start = std::sync::Barrier::new(8);
            let fingerprints: Vec<String> = std::thread::scope(|scope| {
                let creators: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            installation.create().fingerprint().to_owned()
                        })
                    })
                    .collect();
                creators.into_iter().map(|creator| creator.join().unwrap()).collect()
            });
            assert!(
                fingerprints.windows(2).all(|pair| pair[0] == pair[1]),
                "{fingerprints:?}"
            );
        }
    }

    #[test]
    fn debug_output_does_not_show_the_key() {
        let installation = Installation::with_key_file("ab".repeat(32).as_bytes(), 0o600);
        let vault = Vault::open_or_create(&installation.key_file(), false).unwrap();
        let shown = format!("{vault:?}");
        assert!(!shown.contains("abab") && !shown.contains("171, 171"), "{shown}");
    }
}

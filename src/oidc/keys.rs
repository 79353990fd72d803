//! The provider's public keys (RFC 7517), and which of them an ID token may be held against.

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use url::Url;

use super::{
    OidcError,
    http::Http,
    id_token::{Claims, Header},
};

/// Keys that are looked at; no provider has nearly as many.
const MOST_KEYS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Jwk>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl Keys {
    pub(super) async fn fetch(http: &Http, address: &Url) -> Result<Self, OidcError> {
        Ok(Self::new(http.get_json(address, None).await?))
    }

    /// Keys of kinds that are not known here are another's business.
    fn new(document: Document) -> Self {
        let keys = document.keys.into_iter().take(MOST_KEYS);
        Self(keys.filter_map(|key| serde_json::from_value(key).ok()).collect())
    }

    pub(super) fn has_one_for(&self, header: &Header) -> bool {
        self.0.iter().any(|key| fits(key, header))
    }

    /// The claims of a token that one of the keys has signed.
    pub(super) fn open(&self, token: &str, header: &Header) -> Result<Claims, OidcError> {
        let mut validation = Validation::new(header.algorithm);
        // The claims are checked by us, against our own clock; here the signature alone is.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let mut fitting = self.0.iter().filter(|key| fits(key, header)).peekable();
        if fitting.peek().is_none() {
            return Err(OidcError::Untrusted(
                "no key of the provider fits its ID token".to_owned(),
            ));
        }
        fitting
            .filter_map(|key| DecodingKey::from_jwk(key).ok())
            .find_map(|key| jsonwebtoken::decode::<Claims>(token, &key, &validation).ok())
            .map(|opened| opened.claims)
            .ok_or_else(|| OidcError::Untrusted("the signature of its ID token is wrong".to_owned()))
    }
}

/// Whether a key is the one that a token's header names, and made for its algorithm.
fn fits(key: &Jwk, header: &Header) -> bool {
    let is_named = header.key_id.is_none() || key.common.key_id == header.key_id;
    let is_for_signatures = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let is_of_algorithm = key
        .common
        .key_algorithm
        .is_none_or(|algorithm| Some(algorithm) == named(header.algorithm));
    let is_of_kind = match (&key.algorithm, header.algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256 | Algorithm::PS256) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    is_named && is_for_signatures && is_of_algorithm && is_of_kind
}

/// An algorithm by the name that keys have for it.
fn named(algorithm: Algorithm) -> Option<KeyAlgorithm> {
    match algorithm {
        Algorithm::RS256 => Some(KeyAlgorithm::RS256),
        Algorithm::PS256 => Some(KeyAlgorithm::PS256),
        Algorithm::ES256 => Some(KeyAlgorithm::ES256),
        Algorithm::EdDSA => Some(KeyAlgorithm::EdDSA),
        _ => None,
    }
}

//! Asks for manifests, and reads which digest an answer is about. What contradicts itself is no answer.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::http::{self, Question};
use super::token::demand;
use super::{Registries, RegistryCredentials, RegistryError};
use crate::domain::image::{ImageReference, is_valid_digest};

/// All kinds of manifest that an engine would pull. Where one is missing, registries answer 404, or convert what they
/// have into an older kind that has another digest.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";

/// What the media types of that older kind, signed or not, begin with.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// Longest manifest that is read, in bytes; distribution itself takes no more than 4 MiB.
pub(super) const MAX_MANIFEST: usize = 8 * 1024 * 1024;

impl Registries {
    /// Asks for a manifest, and once more with what the registry demands if it refuses at first. `known` is a digest
    /// whose manifest need not be told again: the answer may then be a 304.
    pub(super) async fn ask_for_manifest(
        &self,
        method: Method,
        image: &ImageReference,
        known: Option<&str>,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Response, RegistryError> {
        let (registry, path) = (image.registry.as_str(), &image.path);
        let reference = image
            .digest
            .as_ref()
            .or(image.tag.as_ref())
            .map_or("latest", String::as_str);
        let question = Question {
            registry,
            path: format!("{path}/manifests/{reference}"),
            accept: Some(MANIFESTS),
            known,
        };
        // Not the scope that the registry names: a hostile one could ask for a token to another's images.
        let scope = format!("repository:{path}:pull");
        let (client, insecure) = (&self.shared.http, &self.shared.config.insecure);
        let remembered = self.remembered(registry, &scope, credentials);
        let answer = http::ask(client, insecure, method.clone(), &question, remembered.as_ref()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let demand = demand(registry, &answer, credentials, insecure)?;
        let authorization = self.authorise(registry, demand, Some(&scope), credentials).await?;
        http::ask(client, insecure, method, &question, Some(&authorization)).await
    }
}

/// The digest that an answer's headers state, if any.
pub(super) fn stated_digest(image: &ImageReference, headers: &HeaderMap) -> Result<Option<String>, RegistryError> {
    let mut found: Option<&str> = None;
    for value in headers.get_all("docker-content-digest") {
        match value.to_str() {
            Ok(digest) if is_valid_digest(digest) && found.is_none_or(|other| other == digest) => found = Some(digest),
            _ => {
                return Err(RegistryError::Malformed(format!(
                    "{} states a digest for {image} that is none",
                    image.registry
                )));
            }
        }
    }
    Ok(found.map(str::to_owned))
}

/// Refuses an image that was converted for engines of before 2016: what it states is not the digest of the image.
pub(super) fn refuse_schema_1(image: &ImageReference, headers: &HeaderMap) -> Result<(), RegistryError> {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let is_schema_1 = kind
        .get(..SCHEMA_1.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SCHEMA_1.as_bytes()));
    if is_schema_1 {
        return Err(RegistryError::Malformed(format!(
            "{} answers with {image} converted to the old schema 1, whose digest is another",
            image.registry
        )));
    }
    Ok(())
}

/// The digest of a body, which the headers must not contradict. The body is handed to `take` piece by piece.
pub(super) async fn body_digest(
    image: &ImageReference,
    answer: Response,
    mut take: impl FnMut(&[u8]),
) -> Result<String, RegistryError> {
    let stated = stated_digest(image, answer.headers())?;
    let mut hash = Sha256::new();
    let both = |chunk: &[u8]| {
        hash.update(chunk);
        take(chunk);
    };
    http::read_body(&image.registry, answer, MAX_MANIFEST, both).await?;
    let digest = format!("sha256:{}", hex::encode(hash.finalize()));
    match stated {
        Some(stated) if stated != digest => Err(contradiction(image)),
        _ => Ok(digest),
    }
}

pub(super) fn contradiction(image: &ImageReference) -> RegistryError {
    RegistryError::Malformed(format!(
        "{} answered with something else than {image}: the digests differ",
        image.registry
    ))
}

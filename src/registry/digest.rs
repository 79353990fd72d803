//! What an image's tag stands for now.

use reqwest::header::HeaderMap;
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

/// Longest manifest that is read, in bytes; distribution itself takes no more than 4 MiB.
const MAX_MANIFEST: usize = 8 * 1024 * 1024;

impl Registries {
    /// The digest of what an image's tag (or digest, which wins) stands for now; `None` if there is no such image.
    ///
    /// Asks by `HEAD`, which registries do not count as a pull. Only where the answer lacks the digest is the manifest
    /// itself fetched.
    pub async fn digest(
        &self,
        image: &ImageReference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Option<String>, RegistryError> {
        let limit = self.shared.config.total_timeout;
        http::within(limit, &image.registry, self.find_digest(image, credentials)).await
    }

    async fn find_digest(
        &self,
        image: &ImageReference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Option<String>, RegistryError> {
        let answer = self.ask_for_manifest(Method::HEAD, image, credentials).await?;
        let found = match answer.status() {
            StatusCode::OK => header_digest(image, answer.headers())?,
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(http::failure(&image.registry, &image.to_string(), &answer)),
        };
        let digest = match found {
            Some(digest) => digest,
            None => {
                let answer = self.ask_for_manifest(Method::GET, image, credentials).await?;
                match answer.status() {
                    StatusCode::OK => body_digest(image, answer).await?,
                    StatusCode::NOT_FOUND => return Ok(None),
                    _ => return Err(http::failure(&image.registry, &image.to_string(), &answer)),
                }
            }
        };
        match &image.digest {
            Some(wanted) if *wanted != digest => Err(contradiction(image)),
            _ => Ok(Some(digest)),
        }
    }

    /// Asks for a manifest, and once more with what the registry demands if it refuses at first.
    async fn ask_for_manifest(
        &self,
        method: Method,
        image: &ImageReference,
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
        };
        // Not the scope that the registry names: a hostile one could ask for a token to another's images.
        let scope = format!("repository:{path}:pull");
        let (client, insecure) = (&self.shared.http, &self.shared.config.insecure);
        let known = self.remembered(registry, &scope, credentials);
        let answer = http::ask(client, insecure, method.clone(), &question, known.as_ref()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let demand = demand(registry, &answer, credentials, insecure)?;
        let authorization = self.authorise(registry, demand, Some(&scope), credentials).await?;
        http::ask(client, insecure, method, &question, Some(&authorization)).await
    }
}

/// The digest that an answer's headers state, if any.
fn header_digest(image: &ImageReference, headers: &HeaderMap) -> Result<Option<String>, RegistryError> {
    let Some(value) = headers.get("docker-content-digest") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(digest) if is_valid_digest(digest) => Ok(Some(digest.to_owned())),
        _ => Err(RegistryError::Malformed(format!(
            "{} states a digest for {image} that is none",
            image.registry
        ))),
    }
}

/// The digest of a body, which the headers must not contradict.
async fn body_digest(image: &ImageReference, answer: Response) -> Result<String, RegistryError> {
    let stated = header_digest(image, answer.headers())?;
    let mut hash = Sha256::new();
    http::read_body(&image.registry, answer, MAX_MANIFEST, |chunk| hash.update(chunk)).await?;
    let digest = format!("sha256:{}", hex::encode(hash.finalize()));
    match stated {
        Some(stated) if stated != digest => Err(contradiction(image)),
        _ => Ok(digest),
    }
}

fn contradiction(image: &ImageReference) -> RegistryError {
    RegistryError::Malformed(format!(
        "{} answered with something else than {image}: the digests differ",
        image.registry
    ))
}

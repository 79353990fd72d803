//! What an image's tag stands for now, at the smallest price: a look is one `HEAD`, which registries do not count as a
//! pull. Only where its answer lacks the digest is the manifest itself fetched.

use reqwest::{Method, StatusCode};

use super::allowance::{Allowance, allowance};
use super::manifest::{body_digest, contradiction, refuse_schema_1, stated_digest};
use super::{Registries, RegistryCredentials, RegistryError, http};
use crate::domain::image::{ImageReference, is_valid_digest};

/// What a look at an image found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub found: Found,
    /// How much more may be asked of the registry, where it said so.
    pub allowance: Option<Allowance>,
}

/// What an image's tag stands for, next to what was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Still what was known.
    Unchanged,
    /// This digest, which is not the known one.
    Digest(String),
    /// Nothing: the registry has no such image.
    Gone,
}

impl Registries {
    /// Looks whether an image's tag still stands for the `known` digest.
    pub async fn look(
        &self,
        image: &ImageReference,
        known: Option<&str>,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Look, RegistryError> {
        let (digest, allowance) = self.find(image, known, credentials).await?;
        let found = match digest {
            Some(digest) if known == Some(digest.as_str()) => Found::Unchanged,
            Some(digest) => Found::Digest(digest),
            None => Found::Gone,
        };
        Ok(Look { found, allowance })
    }

    /// The digest of what an image's tag (or digest, which wins) stands for now; `None` if there is no such image.
    pub async fn digest(
        &self,
        image: &ImageReference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Option<String>, RegistryError> {
        let (digest, _) = self.find(image, None, credentials).await?;
        Ok(digest)
    }

    async fn find(
        &self,
        image: &ImageReference,
        known: Option<&str>,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<(Option<String>, Option<Allowance>), RegistryError> {
        let known = known.filter(|digest| is_valid_digest(digest));
        let limit = self.shared.config.total_timeout;
        http::within(limit, &image.registry, self.find_by_head(image, known, credentials)).await
    }

    async fn find_by_head(
        &self,
        image: &ImageReference,
        known: Option<&str>,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<(Option<String>, Option<Allowance>), RegistryError> {
        let mut answer = self.ask_for_manifest(Method::HEAD, image, known, credentials).await?;
        let mut stated = None;
        if answer.status() == StatusCode::OK {
            refuse_schema_1(image, answer.headers())?;
            stated = stated_digest(image, answer.headers())?;
            if stated.is_none() {
                answer = self.ask_for_manifest(Method::GET, image, known, credentials).await?;
            }
        }
        let allowance = allowance(answer.headers());
        let digest = match (answer.status(), known) {
            (StatusCode::OK, _) => match stated {
                Some(digest) => digest,
                None => {
                    refuse_schema_1(image, answer.headers())?;
                    body_digest(image, answer, |_| {}).await?
                }
            },
            (StatusCode::NOT_MODIFIED, Some(known)) => match stated_digest(image, answer.headers())? {
                Some(stated) if stated != known => return Err(contradiction(image)),
                _ => known.to_owned(),
            },
            (StatusCode::NOT_FOUND, _) => return Ok((None, allowance)),
            _ => return Err(http::failure(&image.registry, &image.to_string(), &answer)),
        };
        match &image.digest {
            Some(wanted) if *wanted != digest => Err(contradiction(image)),
            _ => Ok((Some(digest), allowance)),
        }
    }
}

//! What the engine knows of an image.

use hyper::StatusCode;

use super::{BuiltImage, Engine, EngineError};
use crate::domain::image::ImageReference;

impl Engine {
    /// The digest under which an image came from its registry, or went there; `None` where the engine has no such image, or
    /// knows no digest of it, or several.
    pub(super) async fn digest_of(&self, image: &str) -> Result<Option<String>, EngineError> {
        let inspected = self
            .address
            .ask(|docker| async move { docker.inspect_image(image).await })
            .await?;
        let (Ok(found), Ok(reference)) = (inspected, ImageReference::parse(image)) else {
            return Ok(None);
        };
        let mut digests: Vec<String> = found
            .repo_digests
            .unwrap_or_default()
            .iter()
            .filter_map(|text| ImageReference::parse(text).ok())
            .filter(|known| known.name() == reference.name())
            .filter_map(|known| known.digest)
            .collect();
        digests.dedup();
        Ok(digests.pop().filter(|_| digests.is_empty()))
    }

    /// The size of an image in bytes, unpacked, its base included; `None` where the engine does not say.
    pub async fn image_bytes(&self, image: &BuiltImage) -> Result<Option<u64>, EngineError> {
        let inspected = self
            .address
            .ask(|docker| async move { docker.inspect_image(image.id()).await })
            .await?;
        match inspected {
            Ok(found) => Ok(found.size.and_then(|size| u64::try_from(size).ok())),
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

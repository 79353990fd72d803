//! What the engine knows of an image.

use bollard::models::DistributionInspect;
use hyper::{Method, StatusCode};

use super::{
    BuiltImage, Engine, EngineError, RegistryAuth,
    http::{ANSWER_TIMEOUT, empty, request_with, within},
    spec::auth_header,
};
use crate::domain::image::{ImageReference, is_valid_digest};

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

    /// The digest that a registry has for an image now, asked for by the engine; `None` where it is not told.
    pub(super) async fn digest_at_registry(
        &self,
        image: &str,
        auth: Option<&RegistryAuth>,
    ) -> Result<Option<String>, EngineError> {
        let header = auth_header(auth);
        let path = format!("/distribution/{image}/json");
        let asked = request_with(Method::GET, &path, &[("x-registry-auth", header.as_str())], empty())?;
        let answer = within(ANSWER_TIMEOUT, async {
            self.address.send(asked).await?.read_whole().await
        })
        .await?;
        let told = serde_json::from_slice::<DistributionInspect>(&answer.body);
        let digest = told.ok().and_then(|told| told.descriptor.digest);
        Ok(digest.filter(|digest| answer.status == StatusCode::OK && is_valid_digest(digest)))
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

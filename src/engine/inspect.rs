//! What the engine knows of an image that it built.

use hyper::StatusCode;

use super::{BuiltImage, Engine, EngineError};

impl Engine {
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

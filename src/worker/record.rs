//! What a successful build tells of its repository: its documents, and the image's size. None of it can fail a build.

use super::attempt::Attempt;
use crate::{domain::progress::Progress, engine::BuiltImage, source::Checkout, store::LeaseLost};

/// The size of the image in bytes, if the engine says it.
pub(super) async fn image_bytes(attempt: &Attempt<'_>, image: &BuiltImage) -> Option<u64> {
    match attempt.parts.engine.image_bytes(image).await {
        Ok(size) => size,
        Err(error) => {
            tracing::debug!(%error, build = %attempt.build.id, "failed to ask for the size of an image");
            None
        }
    }
}

/// Keeps the README and the Dockerfile of the commit for the repository's page.
pub(super) async fn documents(attempt: &Attempt<'_>, checkout: &Checkout) -> Result<(), LeaseLost> {
    let build = attempt.build;
    let (checkout, plan) = (checkout.clone(), build.plan.clone());
    let read = tokio::task::spawn_blocking(move || checkout.documents(&plan.dockerfile, &plan.context)).await;
    let documents = match read {
        Ok(Ok(documents)) => documents,
        Ok(Err(error)) => {
            attempt.progress.line(&format!("the README was not read: {error}"));
            return Ok(());
        }
        Err(error) => {
            tracing::error!(%error, build = %build.id, "reading the documents of a commit ended by a bug");
            return Ok(());
        }
    };
    match attempt
        .parts
        .store
        .record_documents(attempt.lease, &build.push_order, &documents)
        .await
    {
        Err(LeaseLost::Store(error)) => {
            tracing::warn!(%error, build = %build.id, "failed to keep the documents of a build");
            Ok(())
        }
        recorded => recorded,
    }
}

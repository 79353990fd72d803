//! Pushes: an image that was built, under one name, to one registry.

use std::time::Duration;

use bollard::query_parameters::TagImageOptionsBuilder;
use hyper::{Method, StatusCode};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    BuiltImage, Engine, EngineError, RegistryAuth,
    error::push_fault,
    http::{empty, query, request_with},
    layers::Layers,
    messages::{Record, Records},
    spec::auth_header,
};
use crate::domain::{
    image::{ImageReference, is_valid_digest},
    progress::Progress,
};

/// Longest silence of a push. The engine tells of every megabyte, and tries a failing layer again by itself with pauses
/// of up to half a minute.
const MAX_SILENCE: Duration = Duration::from_secs(120);

impl Engine {
    /// Gives the image the name `target`, which must have a tag, and pushes it there.
    ///
    /// Returns the manifest's digest as the registry has it. The name stays on the engine; see [`Engine::untag`].
    pub async fn push(
        &self,
        image: &BuiltImage,
        target: &ImageReference,
        auth: Option<&RegistryAuth>,
        progress: &dyn Progress,
        cancel: &CancellationToken,
    ) -> Result<String, EngineError> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(EngineError::Canceled),
            result = self.push_to_end(image, target, auth, progress) => result,
        }
    }

    async fn push_to_end(
        &self,
        image: &BuiltImage,
        target: &ImageReference,
        auth: Option<&RegistryAuth>,
        progress: &dyn Progress,
    ) -> Result<String, EngineError> {
        let tag = self.tag(image, target).await?;
        let path = query(&format!("/images/{}/push", target.name()), [("tag", tag)]);
        let header = auth_header(auth);
        let request = request_with(Method::POST, &path, &[("x-registry-auth", header.as_str())], empty())?;
        let exchange = heard(self.address.send(request)).await?;
        if exchange.response.status() != StatusCode::OK {
            let answer = heard(exchange.read_whole()).await?;
            return Err(EngineError::Unavailable(format!(
                "the engine answered {}: {}",
                answer.status,
                answer.message()
            )));
        }
        let told = follow(Records::new(exchange), progress).await?;
        self.verify(image, target, told).await
    }

    /// Gives the image the name `target`, which must have a tag; answers the tag. An image that bore the name loses it.
    pub async fn tag<'a>(&self, image: &BuiltImage, target: &'a ImageReference) -> Result<&'a str, EngineError> {
        let Some(tag) = target.tag.as_deref() else {
            return Err(EngineError::Refused(format!("`{target}` has no tag")));
        };
        let name = target.name();
        let options = TagImageOptionsBuilder::new().repo(&name).tag(tag).build();
        let tagged = self
            .address
            .ask(|docker| async move { docker.tag_image(image.id(), Some(options)).await })
            .await?;
        match tagged {
            Ok(()) => Ok(tag),
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Err(EngineError::Unavailable(
                "the image is no longer on the engine".to_owned(),
            )),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Demands that what was pushed is this image: another build may have taken the name between tagging and pushing.
    async fn verify(
        &self,
        image: &BuiltImage,
        target: &ImageReference,
        told: Option<String>,
    ) -> Result<String, EngineError> {
        let inspected = self
            .address
            .ask(|docker| async move { docker.inspect_image(image.id()).await })
            .await??;
        let known: Vec<String> = inspected
            .repo_digests
            .unwrap_or_default()
            .iter()
            .filter_map(|text| ImageReference::parse(text).ok())
            .filter(|reference| reference.name() == target.name())
            .filter_map(|reference| reference.digest)
            .collect();
        told.filter(|digest| known.contains(digest)).ok_or_else(|| {
            EngineError::Registry(format!(
                "the push to {target} ended without a digest of this image; it may be another's"
            ))
        })
    }
}

/// Follows a push to its end and returns the digest that it told.
async fn follow(mut records: Records, progress: &dyn Progress) -> Result<Option<String>, EngineError> {
    let mut layers = Layers::default();
    let mut digest = None;
    while let Some(record) = heard(records.next()).await? {
        if let Some(message) = record.error() {
            return Err(push_fault(message));
        }
        if let Some(line) = layers.line(&record) {
            progress.line(&line);
        }
        digest = told_digest(&record).or(digest);
    }
    Ok(digest)
}

/// The digest in a record: as data from newer engines, and in the words `1: digest: sha256:... size: 734`.
fn told_digest(record: &Record) -> Option<String> {
    let data = record.aux.as_ref().and_then(|aux| aux.get("Digest")?.as_str());
    let words = record.status.as_deref().and_then(|status| {
        let (_, rest) = status.split_once(": digest: ")?;
        rest.split_once(' ').map(|(digest, _)| digest)
    });
    data.or(words)
        .filter(|digest| is_valid_digest(digest))
        .map(str::to_owned)
}

/// Bounds the wait for the next word of the engine.
pub(super) async fn heard<T>(work: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    timeout(MAX_SILENCE, work).await.unwrap_or_else(|_| {
        Err(EngineError::Registry(format!(
            "the push stood still for {} s",
            MAX_SILENCE.as_secs()
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_taken_from_data_or_words_and_only_if_it_is_one() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let told = |json: String| told_digest(&serde_json::from_str(&json).unwrap());
        assert_eq!(
            told(format!(r#"{{"status":"1: digest: {digest} size: 734"}}"#)),
            Some(digest.clone())
        );
        assert_eq!(
            told(format!(
                r#"{{"progressDetail":{{}},"aux":{{"Tag":"1","Digest":"{digest}","Size":1}}}}"#
            )),
            Some(digest)
        );
        assert_eq!(told(r#"{"status":"1: digest: sha256:x size: 734"}"#.to_owned()), None);
        assert_eq!(told(r#"{"status":"Pushed","id":"a"}"#.to_owned()), None);
    }
}

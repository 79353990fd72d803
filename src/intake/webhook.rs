//! Webhooks: verified, then parsed, then held against the rules, then recorded. Nothing is stored of one that fails a check.

use bytes::Bytes;
use http::HeaderMap;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::{BODY_COMPRESSION_LEVEL, Intake, IntakeError, decide, writer::Overloaded};
use crate::{
    domain::{
        delivery::Outcome,
        event::{ChangeKind, EventKind, ForgeEvent, PushEvent},
        ids::{DeliveryId, HookId},
        repository::{Provider, Repository},
        source_url::SourceUrl,
    },
    forge::{self, Rejection, Verification, VerifiedDelivery},
    secrets,
    store::{Accepted, Delivery, DeliveryBody, HookTarget, NewDelivery, StoreError},
};

/// Why a webhook was not taken, in the order of the checks.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("there is no such webhook")]
    UnknownHook,
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("the payload is about `{0}`, which is not this webhook's repository")]
    OtherRepository(String),
    /// Try again in a moment.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    #[error("the stored webhook secret cannot be read")]
    Secret,
}

/// What the sender of a webhook is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookAnswer {
    Recorded(Accepted),
    /// A connection test without a signature: acknowledged, not recorded.
    UnsignedPing,
}

/// A webhook whose address is known; its body may be read now.
pub struct Hook {
    target: HookTarget,
    provider: Provider,
}

impl Intake {
    /// Finds the repository of a webhook's address. Done before a byte of the body is read.
    pub async fn hook(&self, provider: Provider, id: &HookId) -> Result<Hook, WebhookError> {
        let target = self
            .store
            .repository_of_hook(id)
            .await
            .map_err(unusable)?
            .ok_or(WebhookError::UnknownHook)?;
        if target.repository.source.provider != provider {
            return Err(WebhookError::UnknownHook);
        }
        Ok(Hook { target, provider })
    }

    /// Takes a webhook. When this returns `Ok`, what it names is on disk.
    pub async fn webhook(&self, hook: Hook, headers: &HeaderMap, body: Bytes) -> Result<WebhookAnswer, WebhookError> {
        let repository = hook.target.repository;
        let secret = self.webhook_secret(&repository, &hook.target.sealed_webhook_secret)?;
        let verified = match forge::verify(hook.provider, headers, &secret, body, self.clock.now())? {
            Verification::Verified(verified) => verified,
            Verification::UnsignedPing => return Ok(WebhookAnswer::UnsignedPing),
        };
        let event = verified.parse()?;
        let delivery = self.delivery_of(&repository, &verified, event)?;
        match self.record(delivery).await {
            Ok(accepted) => Ok(WebhookAnswer::Recorded(accepted)),
            Err(IntakeError::Overloaded(overloaded)) => Err(overloaded.into()),
            Err(IntakeError::Gone | IntakeError::Refused(_)) => Err(WebhookError::UnknownHook),
        }
    }

    /// Takes a stored webhook once more, under the rules as they are now.
    pub async fn replay(
        &self,
        repository: &Repository,
        delivery: &Delivery,
        body: DeliveryBody,
    ) -> Result<Accepted, IntakeError> {
        let unreadable = |what: &str| IntakeError::Refused(format!("the stored delivery cannot be replayed: {what}"));
        let provider = Provider::parse(&delivery.provider).ok_or_else(|| unreadable("it was no webhook"))?;
        let bytes = zstd::decode_all(body.body.as_slice()).map_err(|_| unreadable("its body is damaged"))?;
        let stored = VerifiedDelivery::from_ledger(
            provider,
            delivery.event.clone(),
            delivery.delivery_id.clone().unwrap_or_default(),
            body.content_type.as_deref().unwrap_or_default(),
            bytes.into(),
        )
        .map_err(|rejection| unreadable(&rejection.to_string()))?;
        let event = stored.parse().map_err(|rejection| unreadable(&rejection.to_string()))?;
        let new = self
            .delivery_of(repository, &stored, event)
            .map_err(|error| unreadable(&error.to_string()))?;
        // A replay is asked for, so it repeats nothing by its id or body.
        self.record(NewDelivery {
            delivery_id: None,
            body_hash: None,
            ..new
        })
        .await
    }

    fn delivery_of(
        &self,
        repository: &Repository,
        verified: &VerifiedDelivery,
        event: ForgeEvent,
    ) -> Result<NewDelivery, WebhookError> {
        let mut new = NewDelivery {
            id: DeliveryId::new(),
            provider: verified.provider().as_str().to_owned(),
            event: event.event,
            delivery_id: Some(event.delivery_id),
            content_type: Some(verified.content_type().to_owned()),
            ..self.click(repository, "")
        };
        match event.kind {
            EventKind::Ignored(reason) => new.decided.push((Outcome::Ignored, reason)),
            EventKind::Push(push) => {
                self.check_repository(repository, &push)?;
                new.body_hash = Some(Sha256::digest(verified.body()).into());
                let image = self.image_of(repository);
                (new.requests, new.decided) = decide::builds_of_push(repository, &image, &push, new.id.as_str());
                if let Some(first) = push.changes.first() {
                    new.source_name = Some(first.name.clone());
                    if let ChangeKind::Updated { commit, .. } = &first.kind {
                        new.commit = Some(commit.clone());
                    }
                }
            }
        }
        let compressed = zstd::encode_all(verified.body().as_ref(), BODY_COMPRESSION_LEVEL);
        new.body = Some(compressed.map_err(|error| Overloaded::Database(format!("the body cannot be kept: {error}")))?);
        Ok(new)
    }

    /// A payload must be about the repository that the webhook belongs to.
    fn check_repository(&self, repository: &Repository, push: &PushEvent) -> Result<(), WebhookError> {
        let named = SourceUrl::parse(&repository.source.url, self.settings.source_policy)
            .is_ok_and(|url| url.is_named_by(&push.repository));
        match named {
            true => Ok(()),
            false => Err(WebhookError::OtherRepository(push.repository.full_name.clone())),
        }
    }

    fn webhook_secret(&self, repository: &Repository, sealed: &[u8]) -> Result<SecretString, WebhookError> {
        self.vault
            .open(&secrets::webhook_secret(repository.id.as_str()), sealed)
            .map_err(|error| {
                tracing::error!(%error, repository = %repository.name, "failed to open a webhook secret");
                WebhookError::Secret
            })
    }
}

pub(super) fn unusable(error: StoreError) -> WebhookError {
    tracing::error!(%error, "failed to look up a webhook");
    WebhookError::Overloaded(Overloaded::Database("the database cannot be read now".to_owned()))
}

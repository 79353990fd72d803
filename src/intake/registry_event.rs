//! Reports of registries: what they say was pushed makes the watched images of that name due for a look, and nothing more. The
//! digest is asked of the registry itself, so a report that lies costs one question.

use std::fmt::Write;

use http::{HeaderMap, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};

use super::{Intake, WebhookError, webhook::unusable};
use crate::{
    domain::ids::HookId,
    forge::Rejection,
    registry::events::{self, NotificationError, Notified},
    secrets,
    store::RegistryRow,
};

/// Most images that an answer names.
const MOST_NAMED: usize = 5;

/// A report's address that is known; its body may be read now.
pub struct RegistryHook {
    registry: RegistryRow,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryEvent {
    /// The watched images that will be looked at now.
    pub due: Vec<String>,
    /// For the person who set the registry up.
    pub reason: String,
}

impl Intake {
    /// Finds the registry of a report's address. Done before a byte of the body is read.
    pub async fn registry_hook(&self, id: &HookId) -> Result<RegistryHook, WebhookError> {
        let found = self.store.registry_of_hook(id).await.map_err(unusable)?;
        let registry = found.ok_or(WebhookError::UnknownHook)?;
        Ok(RegistryHook { registry })
    }

    /// Takes a report. It can only be about images of the registry that the address belongs to.
    pub async fn registry_event(
        &self,
        hook: RegistryHook,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<RegistryEvent, WebhookError> {
        let registry = hook.registry;
        events::check_encoding(headers)?;
        self.check_secret(&registry, headers)?;
        let notified = events::pushed(headers, body)?;
        let pushed: Vec<(String, String)> = notified
            .pushed
            .iter()
            .map(|pushed| (pushed.path.clone(), pushed.tag.clone()))
            .collect();
        let due = match pushed.is_empty() {
            true => vec![],
            false => self
                .store
                .look_now(&registry.host, &pushed, self.clock.now())
                .await
                .map_err(unusable)?,
        };
        if !due.is_empty() {
            self.signals.base_images_changed();
        }
        tracing::debug!(
            registry = registry.host,
            sender = ?notified.sender,
            pushed = pushed.len(),
            due = due.len(),
            "a registry reported"
        );
        let reason = reason(&notified, &due);
        Ok(RegistryEvent { due, reason })
    }

    /// Not every registry can send a header, so the address, which nobody can guess, is enough; but a secret that is sent must
    /// be the right one.
    fn check_secret(&self, registry: &RegistryRow, headers: &HeaderMap) -> Result<(), WebhookError> {
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        let (first, second) = (sent.next(), sent.next());
        let Some(first) = first else {
            return Ok(());
        };
        let purpose = secrets::registry_hook(registry.id.as_str());
        let secret = self
            .vault
            .open(&purpose, &registry.sealed_hook_secret)
            .map_err(|error| {
                tracing::error!(%error, registry = registry.host, "failed to open the secret of a registry's webhook");
                WebhookError::Secret
            })?;
        match second.is_none() && is_bearer_of(&secret, first.as_bytes()) {
            true => Ok(()),
            false => Err(Rejection::Signature(
                "the header Authorization must be `Bearer` and the secret of this webhook, or be left out".to_owned(),
            )
            .into()),
        }
    }
}

fn is_bearer_of(secret: &SecretString, value: &[u8]) -> bool {
    let Some((scheme, sent)) = value.split_at_checked("Bearer ".len()) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Bearer ")
        && aws_lc_rs::constant_time::verify_slices_are_equal(sent, secret.expose_secret().as_bytes()).is_ok()
}

fn reason(notified: &Notified, due: &[String]) -> String {
    if notified.pushed.is_empty() {
        return format!("no tag was pushed; {} other events", notified.ignored);
    }
    if due.is_empty() {
        return "nothing here stands on what was pushed".to_owned();
    }
    let mut reason = format!("looking now at {}", due[..due.len().min(MOST_NAMED)].join(", "));
    if let more @ 1.. = due.len().saturating_sub(MOST_NAMED) {
        let _ = write!(reason, " and {more} more");
    }
    reason
}

impl From<NotificationError> for WebhookError {
    fn from(error: NotificationError) -> Self {
        Self::Rejected(match error {
            NotificationError::Encoding(why) => Rejection::Encoding(why),
            NotificationError::Malformed(why) => Rejection::Malformed(why),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::events::{Pushed, Sender};

    #[test]
    fn only_the_whole_secret_is_the_secret() {
        let secret = SecretString::from("s3cret");
        let check =
            |value: &str, expected: bool| assert_eq!(is_bearer_of(&secret, value.as_bytes()), expected, "{value}");
        check("Bearer s3cret", true);
        check("bearer s3cret", true);
        check("Bearer s3cre", false);
        check("Bearer s3cret ", false);
        check("Bearer  s3cret", false);
        check("Bearer", false);
        check("Bearer ", false);
        check("s3cret", false);
        check("Basic s3cret", false);
        check("", false);
        check("Bearerés3cret", false);
    }

    #[test]
    fn the_answer_names_a_few_images() {
        let notified = Notified {
            sender: Sender::Distribution,
            pushed: vec![Pushed {
                path: "a".to_owned(),
                tag: "1".to_owned(),
            }],
            ignored: 0,
        };
        let names: Vec<String> = (0..7).map(|number| format!("r/a:{number}")).collect();
        assert_eq!(reason(&notified, &names[..1]), "looking now at r/a:0");
        assert!(reason(&notified, &names).ends_with("r/a:4 and 2 more"));
    }
}

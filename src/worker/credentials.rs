//! Everything secret that one build needs, opened for as long as it runs.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::{Parts, fault::Fault};
use crate::{
    domain::{build::ErrorKind, image::ImageReference, progress::Progress, repository::Repository},
    engine::RegistryAuth,
    registry::RegistryCredentials,
    secrets::{self, SourceCredentials},
    source::GitCredentials,
    store::Build,
    vault::VaultError,
};

/// What one build may use.
pub(super) struct Credentials {
    source: Option<SourceCredentials>,
    /// By host.
    registries: BTreeMap<String, RegistryCredentials>,
    pub(super) build_secrets: BTreeMap<String, SecretString>,
}

/// Loads a build's repository and opens its secrets.
pub(super) async fn load(parts: &Parts, build: &Build) -> Result<(Repository, Credentials), Fault> {
    let found = parts.store.repository(&build.repository_id).await?;
    // It was deleted, and the build with it.
    let repository = found.ok_or(Fault::Stopped)?.repository;
    let id = repository.id.as_str();
    let source = match parts.store.source_credentials(&repository.id).await? {
        Some(sealed) => {
            let text = parts
                .vault
                .open(&secrets::source_credentials(id), &sealed)
                .map_err(unreadable)?;
            let parsed = SourceCredentials::from_text(&text);
            Some(
                parsed
                    .ok_or_else(|| Fault::fails(ErrorKind::Internal, "the stored source credentials make no sense"))?,
            )
        }
        None => None,
    };
    let mut registries = BTreeMap::new();
    for row in parts.store.registries_for(repository.name.namespace()).await? {
        let purpose = secrets::registry_password(row.id.as_str());
        let password = parts.vault.open(&purpose, &row.sealed_password).map_err(unreadable)?;
        let credentials = RegistryCredentials {
            username: row.username,
            password,
            trusted_realms: row.trusted_realms,
        };
        registries.insert(row.host, credentials);
    }
    let mut build_secrets = BTreeMap::new();
    for (name, sealed) in parts.store.build_secrets(&repository.id).await? {
        let value = parts
            .vault
            .open(&secrets::build_secret(id, &name), &sealed)
            .map_err(unreadable)?;
        build_secrets.insert(name, value);
    }
    Ok((
        repository,
        Credentials {
            source,
            registries,
            build_secrets,
        },
    ))
}

fn unreadable(error: VaultError) -> Fault {
    Fault::fails(
        ErrorKind::Internal,
        format!("a stored secret cannot be opened: {error}"),
    )
}

impl Credentials {
    /// Everything that must not be seen in a log.
    pub(super) fn all_secrets(&self) -> Vec<SecretString> {
        let source = self.source.iter().map(|source| source.password.clone());
        let registries = self.registries.values().map(|registry| registry.password.clone());
        source
            .chain(registries)
            .chain(self.build_secrets.values().cloned())
            .collect()
    }

    pub(super) fn git(&self) -> Option<GitCredentials> {
        self.source.as_ref().map(|source| GitCredentials {
            username: source.username.clone(),
            password: source.password.clone(),
        })
    }

    pub(super) fn registry(&self, host: &str) -> Option<&RegistryCredentials> {
        self.registries.get(host)
    }

    /// The registries whose credentials may be handed to the engine. It sends them to whatever token server a registry
    /// names, so that is looked at before.
    pub(super) async fn usable_registries(&self, parts: &Parts, progress: &dyn Progress) -> Vec<RegistryAuth> {
        let checks = self.registries.iter().map(|(host, credentials)| async move {
            match parts.registries.check_realm(host, credentials).await {
                Ok(_) => Some(auth(host, credentials)),
                Err(error) => {
                    progress.line(&format!("the credentials for {host} are not used: {error}"));
                    None
                }
            }
        });
        futures_util::future::join_all(checks)
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Whether the credentials for an image's registry may be handed to the engine, and as what.
pub(super) async fn for_push(
    parts: &Parts,
    image: &ImageReference,
    credentials: &RegistryCredentials,
) -> Result<RegistryAuth, crate::registry::RegistryError> {
    parts.registries.check_realm(&image.registry, credentials).await?;
    Ok(auth(&image.registry, credentials))
}

fn auth(host: &str, credentials: &RegistryCredentials) -> RegistryAuth {
    RegistryAuth {
        host: host.to_owned(),
        username: credentials.username.clone(),
        password: SecretString::from(credentials.password.expose_secret().to_owned()),
    }
}

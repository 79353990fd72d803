//! Wires the parts together. Only this and the command line see the whole configuration.

use std::{path::PathBuf, sync::Arc};

use crate::{
    clock::Clock,
    config::Config,
    layout::{DataDir, DataDirLock, LayoutError},
    store::{Store, StoreError},
    vault::{Vault, VaultError},
};

/// The fact by which the database knows the key that sealed its secrets.
const KEY_FINGERPRINT: &str = "key fingerprint";

/// Why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the key file {} is not the one that sealed the secrets in this database: put the right one back from a backup", .0.display())]
    OtherKey(PathBuf),
    #[error("a worker alone needs a database that it can share: set database_url to postgres://...")]
    WorkerNeedsPostgres,
}

/// An installation's database and key, opened.
pub struct Opened {
    pub data_dir: DataDir,
    pub store: Store,
    pub vault: Arc<Vault>,
    pub clock: Clock,
}

/// Opens the database and the key file, making both where there are none yet.
pub async fn open(config: &Config) -> Result<Opened, AppError> {
    let data_dir = DataDir::create(&config.data_dir)?;
    let store = match &config.database_url {
        Some(url) => Store::open_postgres(url).await?,
        None => Store::open_sqlite(&data_dir.database()).await?,
    };
    let known = store.installation_fact(KEY_FINGERPRINT).await?;
    let vault = Vault::open_or_create(&data_dir.key_file(), known.is_none())?;
    store
        .record_installation_fact(KEY_FINGERPRINT, vault.fingerprint().as_bytes())
        .await?;
    // Read back rather than compared with `known`: two processes may make an installation at the same time.
    if store.installation_fact(KEY_FINGERPRINT).await?.as_deref() != Some(vault.fingerprint().as_bytes()) {
        return Err(AppError::OtherKey(data_dir.key_file()));
    }
    Ok(Opened {
        data_dir,
        store,
        vault: Arc::new(vault),
        clock: Clock::system(),
    })
}

/// Runs pages, API, webhooks, queue and worker until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> Result<(), AppError> {
    let _lock: DataDirLock = DataDir::create(&config.data_dir)?.lock()?;
    open(&config).await?.store.close().await;
    Ok(())
}

/// Runs a worker alone, for a database that others serve.
pub async fn worker(config: Config) -> Result<(), AppError> {
    if config.database_url.is_none() {
        return Err(AppError::WorkerNeedsPostgres);
    }
    open(&config).await?.store.close().await;
    Ok(())
}

//! Stored credentials for registries, of a namespace or of the whole server. Passwords are sealed before they come here.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, from_json, on, to_json};
use crate::domain::ids::{HookId, RegistryId};

/// Credentials for one registry, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryRow {
    pub id: RegistryId,
    /// Empty: the whole server's.
    pub namespace: String,
    pub host: String,
    pub username: String,
    pub sealed_password: Vec<u8>,
    /// Hosts of token realms, beside the registry's own, that may see the credentials.
    pub trusted_realms: Vec<String>,
    pub hook_id: HookId,
    pub sealed_hook_secret: Vec<u8>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Credentials to be stored under a namespace and host, replacing what is there.
pub struct NewRegistry<'a> {
    /// Used if there is none yet; what is there keeps its id and webhook.
    pub id: RegistryId,
    pub namespace: &'a str,
    pub host: &'a str,
    pub username: &'a str,
    pub trusted_realms: &'a [String],
    pub hook_id: HookId,
    pub sealed_hook_secret: &'a [u8],
    pub now: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    namespace: String,
    host: String,
    username: String,
    password: Vec<u8>,
    trusted_realms: String,
    hook_id: String,
    hook_secret: Vec<u8>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for RegistryRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            namespace: row.namespace,
            host: row.host,
            username: row.username,
            sealed_password: row.password,
            trusted_realms: from_json("trusted realms", &row.trusted_realms)?,
            hook_id: row.hook_id.into(),
            sealed_hook_secret: row.hook_secret,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

impl Store {
    /// The credentials stored under exactly this namespace and host.
    pub async fn registry(&self, namespace: &str, host: &str) -> Result<Option<RegistryRow>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>("select * from registries where namespace = $1 and host = $2")
                .bind(namespace)
                .bind(host)
                .fetch_optional(c)
                .await
        })?;
        row.map(RegistryRow::try_from).transpose()
    }

    /// The credentials whose registry reports at this address.
    pub async fn registry_of_hook(&self, hook: &HookId) -> Result<Option<RegistryRow>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>("select * from registries where hook_id = $1")
                .bind(hook.as_str())
                .fetch_optional(c)
                .await
        })?;
        row.map(RegistryRow::try_from).transpose()
    }

    /// Everything that builds of a namespace may use, one entry a host: the namespace's own before the whole server's.
    pub async fn registries_for(&self, namespace: &str) -> Result<Vec<RegistryRow>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(
                "select * from registries r where namespace = $1 or (namespace = '' and not exists \
                 (select 1 from registries own where own.namespace = $1 and own.host = r.host)) order by host",
            )
            .bind(namespace)
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(RegistryRow::try_from).collect()
    }

    /// Everything stored under exactly this namespace.
    pub async fn registries_of(&self, namespace: &str) -> Result<Vec<RegistryRow>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>("select * from registries where namespace = $1 order by host")
                .bind(namespace)
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(RegistryRow::try_from).collect()
    }

    /// Stores credentials. `seal` gets the row's final id, to which the sealed password is bound; `None` keeps the
    /// stored password. Answers the row, and whether it is new; `None` if there is none yet and no password to store.
    pub async fn put_registry(
        &self,
        new: &NewRegistry<'_>,
        seal: impl Fn(&RegistryId) -> Option<Vec<u8>> + Send,
    ) -> Result<Option<(RegistryRow, bool)>, StoreError> {
        let trusted_realms = to_json(&new.trusted_realms)?;
        loop {
            let mut tx = self.begin().await?;
            // Touching the row locks it on PostgreSQL.
            let existing: Option<(String, Vec<u8>)> = on!(tx.handle(), c => {
                sqlx::query_as("update registries set updated_at = $3 where namespace = $1 and host = $2 returning id, password")
                    .bind(new.namespace)
                    .bind(new.host)
                    .bind(new.now)
                    .fetch_optional(c)
                    .await
            })?;
            let created = existing.is_none();
            let (id, old_password) = match existing {
                Some((id, password)) => (RegistryId::from(id), Some(password)),
                None => (new.id.clone(), None),
            };
            let Some(password) = seal(&id).or(old_password) else {
                return Ok(None);
            };
            let row = on!(tx.handle(), c => {
                sqlx::query_as::<_, Row>(
                    "insert into registries (id, namespace, host, username, password, trusted_realms, hook_id, hook_secret, \
                     created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) \
                     on conflict (namespace, host) do update set username = $4, password = $5, trusted_realms = $6, \
                     updated_at = $9 returning *",
                )
                .bind(id.as_str())
                .bind(new.namespace)
                .bind(new.host)
                .bind(new.username)
                .bind(&password)
                .bind(&trusted_realms)
                .bind(new.hook_id.as_str())
                .bind(new.sealed_hook_secret)
                .bind(new.now)
                .fetch_one(c)
                .await
            })?;
            // Somebody else stored the first credentials meanwhile: the password is sealed for another row. Again.
            if row.id != id.as_str() {
                continue;
            }
            tx.commit().await?;
            return Ok(Some((RegistryRow::try_from(row)?, created)));
        }
    }

    /// Forgets credentials; `false` if there were none.
    pub async fn delete_registry(&self, namespace: &str, host: &str) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let deleted = on!(tx.handle(), c => {
            sqlx::query("delete from registries where namespace = $1 and host = $2")
                .bind(namespace)
                .bind(host)
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(deleted == 1)
    }
}

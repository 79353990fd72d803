//! Stars: which repositories a person wants to find again. They are counted with the repository.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, Tx, on};
use crate::domain::ids::{RepositoryId, UserId};

impl Store {
    /// Gives a star, once.
    pub async fn star(&self, user: &UserId, repository: &RepositoryId, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into stars (user_id, repository_id, starred_at) select $1, id, $3 from repositories where id = $2 \
                 on conflict do nothing",
            )
            .bind(user.as_str())
            .bind(repository.as_str())
            .bind(now)
            .execute(c)
            .await
            .map(drop)
        })?;
        count(&mut tx, repository).await?;
        tx.commit().await
    }

    /// Takes a star back.
    pub async fn unstar(&self, user: &UserId, repository: &RepositoryId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("delete from stars where user_id = $1 and repository_id = $2")
                .bind(user.as_str())
                .bind(repository.as_str())
                .execute(c)
                .await
                .map(drop)
        })?;
        count(&mut tx, repository).await?;
        tx.commit().await
    }

    pub async fn has_starred(&self, user: &UserId, repository: &RepositoryId) -> Result<bool, StoreError> {
        let mut reader = self.reader().await?;
        let found: Option<String> = on!(reader.handle(), c => {
            sqlx::query_scalar("select user_id from stars where user_id = $1 and repository_id = $2")
                .bind(user.as_str())
                .bind(repository.as_str())
                .fetch_optional(c)
                .await
        })?;
        Ok(found.is_some())
    }
}

async fn count(tx: &mut Tx, repository: &RepositoryId) -> Result<(), StoreError> {
    on!(tx.handle(), c => {
        sqlx::query("update repositories set stars = (select count(*) from stars where repository_id = $1) where id = $1")
            .bind(repository.as_str())
            .execute(c)
            .await
            .map(drop)
    })?;
    Ok(())
}

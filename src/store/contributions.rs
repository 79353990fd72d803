//! Who did something in a repository: triggered, retried, created or changed it.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, Tx, on};
use crate::domain::ids::RepositoryId;

impl Store {
    /// Records that a person changed a repository.
    pub async fn record_contribution(
        &self,
        user: &str,
        repository: &RepositoryId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        record(&mut tx, user, repository, now).await?;
        tx.commit().await
    }
}

/// `user` is a name. One that is no user's, or a repository that is gone, leaves no trace.
pub(super) async fn record(
    tx: &mut Tx,
    user: &str,
    repository: &RepositoryId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    on!(tx.handle(), c => {
        sqlx::query(
            "insert into contributions (user_id, repository_id, last_at) \
             select u.id, r.id, $3 from users u join repositories r on r.id = $2 where u.name = $1 \
             on conflict (user_id, repository_id) do update set last_at = excluded.last_at",
        )
        .bind(user)
        .bind(repository.as_str())
        .bind(now)
        .execute(c)
        .await
        .map(drop)
    })?;
    Ok(())
}

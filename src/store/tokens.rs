//! API tokens as their owners see them: listed, revoked, and when they were last used. The tokens themselves are nowhere.

use chrono::{DateTime, Utc};

use super::{AFTER_EVERY_ID, Store, StoreError, known, on};
use crate::domain::{
    access::Scope,
    ids::{TokenId, UserId},
};

/// A token, as its owner sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    pub id: TokenId,
    pub label: String,
    pub scope: Scope,
    pub created_at: DateTime<Utc>,
    /// `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// To the minute; `None`: never.
    pub last_used_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    id: String,
    label: String,
    scope: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl Store {
    /// A person's tokens, newest first, expired ones too: at most `limit`, after the one where an earlier page ended.
    pub async fn tokens_of(
        &self,
        user: &UserId,
        after: Option<&TokenId>,
        limit: u32,
    ) -> Result<Vec<StoredToken>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, TokenRow>(
                "select id, label, scope, created_at, expires_at, last_used_at from tokens \
                 where user_id = $1 and id < $2 order by id desc limit $3",
            )
            .bind(user.as_str())
            .bind(after.map_or(AFTER_EVERY_ID, TokenId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let token = |row: TokenRow| {
            Ok(StoredToken {
                id: row.id.into(),
                label: row.label,
                scope: known("scope", &row.scope, Scope::parse)?,
                created_at: row.created_at,
                expires_at: row.expires_at,
                last_used_at: row.last_used_at,
            })
        };
        rows.into_iter().map(token).collect()
    }

    /// Ends a token of a person; answers its label, or `None` if they have no such token.
    pub async fn revoke_token(&self, user: &UserId, token: &TokenId) -> Result<Option<String>, StoreError> {
        let mut tx = self.begin().await?;
        let label = on!(tx.handle(), c => {
            sqlx::query_scalar("delete from tokens where user_id = $1 and id = $2 returning label")
                .bind(user.as_str())
                .bind(token.as_str())
                .fetch_optional(c)
                .await
        })?;
        tx.commit().await?;
        Ok(label)
    }

    /// Ends all tokens of a person; answers how many there were.
    pub async fn revoke_tokens(&self, user: &UserId) -> Result<i64, StoreError> {
        let mut tx = self.begin().await?;
        let ended = on!(tx.handle(), c => {
            sqlx::query("delete from tokens where user_id = $1")
                .bind(user.as_str())
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        // As SQL counts.
        Ok(i64::try_from(ended).unwrap_or(i64::MAX))
    }

    /// A token was used, unless that was noted since `unless_since`; answers whether it was written.
    pub async fn token_used(
        &self,
        hash: &[u8],
        now: DateTime<Utc>,
        unless_since: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        // Most calls come too early, and a look costs less than a transaction.
        let mut reader = self.reader().await?;
        let is_due: i64 = on!(reader.handle(), c => {
            sqlx::query_scalar(
                "select count(*) from tokens where hash = $1 and (last_used_at is null or last_used_at < $2)",
            )
            .bind(hash)
            .bind(unless_since)
            .fetch_one(c)
            .await
        })?;
        drop(reader);
        if is_due == 0 {
            return Ok(false);
        }
        let mut tx = self.begin().await?;
        let noted = on!(tx.handle(), c => {
            sqlx::query(
                "update tokens set last_used_at = $2 where hash = $1 and (last_used_at is null or last_used_at < $3)",
            )
            .bind(hash)
            .bind(now)
            .bind(unless_since)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(noted == 1)
    }
}

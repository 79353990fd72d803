//! Browsers that are signed in. What a cookie holds is never here, its hash alone.

use chrono::{DateTime, Utc};

use super::{
    Store, StoreError, User, on,
    users::{UserRow, memberships},
};
use crate::domain::{
    access::Scope,
    ids::{SessionId, UserId},
};

/// Sessions that one person may have at once; a further one ends the oldest.
const MOST_SESSIONS: i64 = 100;

/// A session to be kept.
pub struct NewSession<'a> {
    pub id: SessionId,
    pub user: &'a UserId,
    /// SHA-256 of the cookie's value.
    pub hash: &'a [u8],
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// From where it was made; empty where that is not known.
    pub address: &'a str,
    pub user_agent: &'a str,
}

/// A session, as its owner sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    pub id: SessionId,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub address: String,
    pub user_agent: String,
}

/// Which sessions are alive at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Alive {
    pub now: DateTime<Utc>,
    /// A session that was last seen before this is over.
    pub idle_since: DateTime<Utc>,
}

/// Whose session a cookie is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOwner {
    pub session: SessionId,
    pub last_seen_at: DateTime<Utc>,
    pub user: User,
}

#[derive(sqlx::FromRow)]
struct OwnerRow {
    session_id: String,
    last_seen_at: DateTime<Utc>,
    #[sqlx(flatten)]
    user: UserRow,
    memberships: Option<String>,
}

#[derive(sqlx::FromRow)]
struct SessionRow {
    id: String,
    created_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    address: String,
    user_agent: String,
}

impl From<SessionRow> for StoredSession {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id.into(),
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            expires_at: row.expires_at,
            address: row.address,
            user_agent: row.user_agent,
        }
    }
}

impl Store {
    /// Keeps a session, and forgets those of its owner that are over or too many.
    ///
    /// `replaces` is the session that the same browser had before: it ends.
    pub async fn add_session(
        &self,
        session: &NewSession<'_>,
        replaces: Option<&SessionId>,
        alive: Alive,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "delete from sessions where id = $2 or (user_id = $1 and (expires_at <= $3 or last_seen_at < $4 or id in \
                 (select id from sessions where user_id = $1 order by id desc limit 1000 offset $5)))",
            )
            .bind(session.user.as_str())
            .bind(replaces.map(SessionId::as_str))
            .bind(alive.now)
            .bind(alive.idle_since)
            .bind(MOST_SESSIONS - 1)
            .execute(c)
            .await
            .map(drop)
        })?;
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into sessions (id, user_id, hash, created_at, last_seen_at, expires_at, address, user_agent) \
                 values ($1, $2, $3, $4, $4, $5, $6, $7)",
            )
            .bind(session.id.as_str())
            .bind(session.user.as_str())
            .bind(session.hash)
            .bind(session.created_at)
            .bind(session.expires_at)
            .bind(session.address)
            .bind(session.user_agent)
            .execute(c)
            .await
            .map(drop)
        })?;
        tx.commit().await
    }

    /// Whose session this is, if it is one that is alive. `hash` is the SHA-256 of the cookie's value.
    pub async fn session_with(&self, hash: &[u8], alive: Alive) -> Result<Option<SessionOwner>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, OwnerRow>(concat!(
                "select sessions.id as session_id, sessions.last_seen_at, \
                 users.id, users.name, users.is_admin, users.created_at, ",
                memberships!(),
                " from sessions join users on users.id = sessions.user_id \
                 where sessions.hash = $1 and not users.disabled and sessions.expires_at > $2 and sessions.last_seen_at >= $3",
            ))
            .bind(hash)
            .bind(alive.now)
            .bind(alive.idle_since)
            .fetch_optional(c)
            .await
        })?;
        row.map(|row| {
            Ok(SessionOwner {
                session: row.session_id.into(),
                last_seen_at: row.last_seen_at,
                user: row.user.with_access(row.memberships.as_deref(), Scope::Admin)?,
            })
        })
        .transpose()
    }

    /// A session was used.
    pub async fn session_seen(&self, session: &SessionId, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("update sessions set last_seen_at = $2 where id = $1 and last_seen_at < $2")
                .bind(session.as_str())
                .bind(now)
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }

    /// A person's sessions that are alive, newest first; never more than `MOST_SESSIONS`.
    pub async fn sessions_of(&self, user: &UserId, alive: Alive) -> Result<Vec<StoredSession>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, SessionRow>(
                "select id, created_at, last_seen_at, expires_at, address, user_agent from sessions \
                 where user_id = $1 and expires_at > $2 and last_seen_at >= $3 order by id desc limit $4",
            )
            .bind(user.as_str())
            .bind(alive.now)
            .bind(alive.idle_since)
            .bind(MOST_SESSIONS)
            .fetch_all(c)
            .await
        })?;
        Ok(rows.into_iter().map(StoredSession::from).collect())
    }

    /// Ends a session of a person; `false` if they have no such session.
    pub async fn end_session(&self, user: &UserId, session: &SessionId) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let ended = on!(tx.handle(), c => {
            sqlx::query("delete from sessions where user_id = $1 and id = $2")
                .bind(user.as_str())
                .bind(session.as_str())
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(ended == 1)
    }

    /// Ends all sessions of a person but `keep`; answers how many there were.
    pub async fn end_sessions(&self, user: &UserId, keep: Option<&SessionId>) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let ended = on!(tx.handle(), c => {
            sqlx::query("delete from sessions where user_id = $1 and id <> $2")
                .bind(user.as_str())
                .bind(keep.map_or("", SessionId::as_str))
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(ended)
    }
}

//! Who people are at an OpenID Connect provider. Nobody is ever found by an e-mail address: the issuer and its name for them
//! alone tell who they are.

use chrono::{DateTime, Utc};

use super::{
    Store, StoreError, Tx, User, on,
    organisations::is_in_use,
    users::{UserRow, insert_user},
};
use crate::domain::ids::{IdentityId, UserId};

/// Identities that one person may have.
const MOST_IDENTITIES: i64 = 20;

/// Whom a provider means.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub issuer: &'a str,
    pub subject: &'a str,
    /// Empty where the provider says none.
    pub email: &'a str,
}

/// An identity, as its owner sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIdentity {
    pub id: IdentityId,
    pub issuer: String,
    pub subject: String,
    pub email: String,
    pub linked_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
}

/// What became of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    Done,
    /// It is this very person's already.
    Already,
    /// It is somebody else's.
    Taken,
    /// The person has as many as they may have.
    TooMany,
}

/// What became of an unlinking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlinked {
    Done(StoredIdentity),
    /// They have no such identity.
    Missing,
    /// Without it they could not sign in any more.
    LastWayIn,
}

/// What became of a new person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedUp {
    Done,
    NameTaken,
    /// The identity became somebody's meanwhile.
    IdentityTaken,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    issuer: String,
    subject: String,
    email: String,
    linked_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
}

impl From<Row> for StoredIdentity {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            issuer: row.issuer,
            subject: row.subject,
            email: row.email,
            linked_at: row.linked_at,
            last_used_at: row.last_used_at,
        }
    }
}

impl Store {
    /// Whose identity it is, if it is anybody's who may sign in; notes its use, and the address that came with it.
    pub async fn use_identity(&self, subject: Subject<'_>, now: DateTime<Utc>) -> Result<Option<User>, StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("update identities set last_used_at = $3, email = $4 where issuer = $1 and subject = $2")
                .bind(subject.issuer)
                .bind(subject.subject)
                .bind(now)
                .bind(subject.email)
                .execute(c)
                .await
                .map(drop)
        })?;
        let row = on!(tx.handle(), c => {
            sqlx::query_as::<_, UserRow>(
                "select users.id, users.name, users.is_admin, users.created_at \
                 from identities join users on users.id = identities.user_id \
                 where identities.issuer = $1 and identities.subject = $2 and not users.disabled",
            )
            .bind(subject.issuer)
            .bind(subject.subject)
            .fetch_optional(c)
            .await
        })?;
        tx.commit().await?;
        Ok(row.map(User::from))
    }

    /// Makes an identity a person's.
    pub async fn link_identity(
        &self,
        user: &UserId,
        subject: Subject<'_>,
        now: DateTime<Utc>,
    ) -> Result<Linked, StoreError> {
        let mut tx = self.begin().await?;
        lock(&mut tx, user).await?;
        let held: i64 = on!(tx.handle(), c => {
            sqlx::query_scalar("select count(*) from identities where user_id = $1").bind(user.as_str()).fetch_one(c).await
        })?;
        let owner: Option<String> = on!(tx.handle(), c => {
            sqlx::query_scalar("select user_id from identities where issuer = $1 and subject = $2")
                .bind(subject.issuer)
                .bind(subject.subject)
                .fetch_optional(c)
                .await
        })?;
        match owner {
            Some(owner) if owner == user.as_str() => return Ok(Linked::Already),
            Some(_) => return Ok(Linked::Taken),
            None if held >= MOST_IDENTITIES => return Ok(Linked::TooMany),
            None => {}
        }
        if !insert(&mut tx, user, subject, now).await? {
            return Ok(Linked::Taken);
        }
        tx.commit().await?;
        Ok(Linked::Done)
    }

    /// Makes a person without a password, who signs in by this identity.
    pub async fn sign_up(&self, user: &User, full_name: &str, subject: Subject<'_>) -> Result<SignedUp, StoreError> {
        let mut tx = self.begin().await?;
        // An administrator may keep things in a namespace that is nobody's: whoever comes by themselves does not get them.
        if is_in_use(&mut tx, &user.name).await? || !insert_user(&mut tx, user, "").await? {
            return Ok(SignedUp::NameTaken);
        }
        on!(tx.handle(), c => {
            sqlx::query("update users set email = $2, full_name = $3 where id = $1")
                .bind(user.id.as_str())
                .bind(subject.email)
                .bind(full_name)
                .execute(c)
                .await
                .map(drop)
        })?;
        if !insert(&mut tx, &user.id, subject, user.created_at).await? {
            return Ok(SignedUp::IdentityTaken);
        }
        tx.commit().await?;
        Ok(SignedUp::Done)
    }

    /// A person's identities, newest first; never more than `MOST_IDENTITIES`.
    pub async fn identities_of(&self, user: &UserId) -> Result<Vec<StoredIdentity>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(
                "select id, issuer, subject, email, linked_at, last_used_at from identities where user_id = $1 \
                 order by id desc limit $2",
            )
            .bind(user.as_str())
            .bind(MOST_IDENTITIES)
            .fetch_all(c)
            .await
        })?;
        Ok(rows.into_iter().map(StoredIdentity::from).collect())
    }

    /// Whether a person can sign in by password.
    pub async fn has_password(&self, user: &UserId) -> Result<bool, StoreError> {
        let mut reader = self.reader().await?;
        Ok(on!(reader.handle(), c => {
            sqlx::query_scalar("select exists (select 1 from users where id = $1 and password_hash <> '')")
                .bind(user.as_str())
                .fetch_one(c)
                .await
        })?)
    }

    /// Takes an identity from a person, unless it is their last way in. Their sessions stay.
    pub async fn unlink_identity(&self, user: &UserId, id: &IdentityId) -> Result<Unlinked, StoreError> {
        let mut tx = self.begin().await?;
        lock(&mut tx, user).await?;
        let row = on!(tx.handle(), c => {
            sqlx::query_as::<_, Row>(
                "delete from identities where user_id = $1 and id = $2 \
                 returning id, issuer, subject, email, linked_at, last_used_at",
            )
            .bind(user.as_str())
            .bind(id.as_str())
            .fetch_optional(c)
            .await
        })?;
        let Some(row) = row else {
            return Ok(Unlinked::Missing);
        };
        let has_way_in: bool = on!(tx.handle(), c => {
            sqlx::query_scalar(
                "select exists (select 1 from users where id = $1 and password_hash <> '') \
                 or exists (select 1 from identities where user_id = $1)",
            )
            .bind(user.as_str())
            .fetch_one(c)
            .await
        })?;
        if !has_way_in {
            return Ok(Unlinked::LastWayIn);
        }
        tx.commit().await?;
        Ok(Unlinked::Done(row.into()))
    }
}

/// Touching the row locks it on PostgreSQL: of two who change a person's ways in at once, the second sees what the first did.
async fn lock(tx: &mut Tx, user: &UserId) -> Result<(), StoreError> {
    Ok(on!(tx.handle(), c => {
        sqlx::query("update users set name = name where id = $1").bind(user.as_str()).execute(c).await.map(drop)
    })?)
}

/// `false` if the identity is somebody's.
async fn insert(tx: &mut Tx, user: &UserId, subject: Subject<'_>, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let added = on!(tx.handle(), c => {
        sqlx::query(
            "insert into identities (id, user_id, issuer, subject, email, linked_at, last_used_at) \
             values ($1, $2, $3, $4, $5, $6, $6) on conflict (issuer, subject) do nothing",
        )
        .bind(IdentityId::new().as_str())
        .bind(user.as_str())
        .bind(subject.issuer)
        .bind(subject.subject)
        .bind(subject.email)
        .bind(now)
        .execute(c)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(added == 1)
}

//! People and their API tokens.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Store, StoreError, Tx, known, on, organisations::take_name};
use crate::domain::{
    access::{Access, Role, Scope},
    ids::{SessionId, TokenId, UserId},
};

/// A person who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub is_admin: bool,
    pub created_at: DateTime<Utc>,
    /// Filled in where they were found by their credential; elsewhere it says nothing.
    pub access: Access,
}

impl User {
    /// What they may do in a namespace, as far as their credential allows.
    pub fn role_in(&self, namespace: &str) -> Option<Role> {
        self.access.role_in(&self.name, self.is_admin, namespace)
    }

    /// Whether they may do what is for the server's administrators alone.
    pub fn may_administer(&self) -> bool {
        self.is_admin && self.access.scope.most() == Role::Owner
    }
}

/// A token to be kept; the token itself is not here.
pub struct NewToken<'a> {
    pub id: TokenId,
    pub user: &'a UserId,
    pub label: &'a str,
    /// SHA-256 of the token.
    pub hash: &'a [u8],
    /// The most that it may do, whatever its owner may.
    pub scope: Scope,
    pub created_at: DateTime<Utc>,
    /// `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// The columns `id`, `name`, `is_admin`, `created_at` of `users`.
#[derive(sqlx::FromRow)]
pub(super) struct UserRow {
    id: String,
    name: String,
    is_admin: bool,
    created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct PasswordRow {
    #[sqlx(flatten)]
    user: UserRow,
    password_hash: String,
}

#[derive(sqlx::FromRow)]
struct TokenOwnerRow {
    #[sqlx(flatten)]
    user: UserRow,
    memberships: Option<String>,
    scope: String,
}

impl UserRow {
    /// The user, with what they may do by a credential.
    pub(super) fn with_access(self, memberships: Option<&str>, scope: Scope) -> Result<User, StoreError> {
        let access = Access {
            roles: roles(memberships)?,
            scope,
        };
        Ok(User {
            access,
            ..User::from(self)
        })
    }
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            is_admin: row.is_admin,
            created_at: row.created_at,
            access: Access::default(),
        }
    }
}

/// The memberships of a row of `users`, for [`roles`]: `NAME ROLE`, comma separated, or null.
macro_rules! memberships {
    () => {
        "(select string_agg(o.name || ' ' || m.role, ',') from members m join organisations o on o.id = m.organisation_id \
         where m.user_id = users.id) as memberships"
    };
}

pub(super) use memberships;

/// Reads what [`memberships`] selects.
fn roles(memberships: Option<&str>) -> Result<BTreeMap<String, Role>, StoreError> {
    let each = memberships.into_iter().flat_map(|all| all.split(','));
    each.map(|membership| {
        let (name, role) = membership.split_once(' ').unwrap_or((membership, ""));
        Ok((name.to_owned(), known("role", role, Role::parse)?))
    })
    .collect()
}

impl Store {
    /// Adds a person; `false` if the name is taken, be it by an organisation.
    pub async fn add_user(&self, user: &User, password_hash: &str) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let added = insert_user(&mut tx, user, password_hash).await?;
        if added {
            tx.commit().await?;
        }
        Ok(added)
    }

    /// Replaces a person's password and ends all their sessions but `keep`; `false` if there is no such person.
    pub async fn set_password(
        &self,
        name: &str,
        password_hash: &str,
        keep: Option<&SessionId>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let changed = on!(tx.handle(), c => {
            sqlx::query("update users set password_hash = $2 where name = $1")
                .bind(name)
                .bind(password_hash)
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        on!(tx.handle(), c => {
            sqlx::query("delete from sessions where id <> $2 and user_id = (select id from users where name = $1)")
                .bind(name)
                .bind(keep.map_or("", SessionId::as_str))
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await?;
        Ok(changed == 1)
    }

    /// Everybody, by name.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, UserRow>("select id, name, is_admin, created_at from users order by name").fetch_all(c).await
        })?;
        Ok(rows.into_iter().map(User::from).collect())
    }

    pub async fn user_named(&self, name: &str) -> Result<Option<User>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, UserRow>("select id, name, is_admin, created_at from users where name = $1")
                .bind(name)
                .fetch_optional(c)
                .await
        })?;
        Ok(row.map(User::from))
    }

    /// A person by name, with the hash of their password; nobody where they are shut out.
    pub async fn user_with_password(&self, name: &str) -> Result<Option<(User, String)>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, PasswordRow>(
                "select id, name, is_admin, created_at, password_hash from users where name = $1 and not disabled",
            )
            .bind(name)
            .fetch_optional(c)
            .await
        })?;
        Ok(row.map(|row| (row.user.into(), row.password_hash)))
    }

    pub async fn add_token(&self, token: &NewToken<'_>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into tokens (id, user_id, label, hash, created_at, expires_at, scope) \
                 values ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(token.id.as_str())
            .bind(token.user.as_str())
            .bind(token.label)
            .bind(token.hash)
            .bind(token.created_at)
            .bind(token.expires_at)
            .bind(token.scope.as_str())
            .execute(c)
            .await
            .map(drop)
        })?;
        tx.commit().await
    }

    /// Whose token this is, if it is one that has not expired, with what they may do by it. `hash` is the token's SHA-256.
    pub async fn user_with_token(&self, hash: &[u8], now: DateTime<Utc>) -> Result<Option<User>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, TokenOwnerRow>(concat!(
                "select users.id, users.name, users.is_admin, users.created_at, tokens.scope, ",
                memberships!(),
                " from tokens join users on users.id = tokens.user_id \
                 where tokens.hash = $1 and not users.disabled and (tokens.expires_at is null or tokens.expires_at > $2)",
            ))
            .bind(hash)
            .bind(now)
            .fetch_optional(c)
            .await
        })?;
        row.map(|row| {
            let scope = known("scope", &row.scope, Scope::parse)?;
            row.user.with_access(row.memberships.as_deref(), scope)
        })
        .transpose()
    }
}

/// Adds a person as a part of something larger, which is to be given up where the name is taken: `false`.
pub(super) async fn insert_user(tx: &mut Tx, user: &User, password_hash: &str) -> Result<bool, StoreError> {
    if !take_name(tx, &user.name, "user").await? {
        return Ok(false);
    }
    let added = on!(tx.handle(), c => {
        sqlx::query(
            "insert into users (id, name, password_hash, is_admin, created_at) values ($1, $2, $3, $4, $5) \
             on conflict (name) do nothing",
        )
        .bind(user.id.as_str())
        .bind(&user.name)
        .bind(password_hash)
        .bind(user.is_admin)
        .bind(user.created_at)
        .execute(c)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(added == 1)
}

//! People, as administrators see and change them. There is always somebody left who administers.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, Tx, on, repository_lists::escape_pattern};

/// A person in the list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    pub full_name: String,
    pub email: String,
    pub is_admin: bool,
    /// Shut out: neither signs in nor is known by a token.
    pub disabled: bool,
    pub created_at: DateTime<Utc>,
    /// The last use of a session; `None`: there is none any more.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// In the namespace that bears their name.
    pub repositories: i64,
}

/// What became of a wish to change a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonChange {
    Done,
    /// They were so already.
    Same,
    /// There is no such person.
    Missing,
    /// Nobody would administer the server any more.
    LastAdministrator,
    /// Their namespace still has repositories.
    HasRepositories,
    /// An organisation would have no owner any more.
    LastOwner,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    full_name: String,
    email: String,
    is_admin: bool,
    disabled: bool,
    created_at: DateTime<Utc>,
    last_seen_at: Option<DateTime<Utc>>,
    repositories: i64,
}

impl From<Row> for Person {
    fn from(row: Row) -> Self {
        Self {
            name: row.name,
            full_name: row.full_name,
            email: row.email,
            is_admin: row.is_admin,
            disabled: row.disabled,
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            repositories: row.repositories,
        }
    }
}

impl Store {
    /// People whose name, full name or address holds `words`, by name, after the one called `after`.
    pub async fn people(&self, words: &str, after: &str, limit: u32) -> Result<Vec<Person>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(
                "select name, full_name, email, is_admin, disabled, created_at, \
                 (select max(last_seen_at) from sessions where user_id = users.id) as last_seen_at, \
                 (select count(*) from repositories where namespace = users.name) as repositories \
                 from users where name > $1 and lower(name || ' ' || full_name || ' ' || email) like $2 escape '!' \
                 order by name limit $3",
            )
            .bind(after)
            .bind(format!("%{}%", escape_pattern(&words.to_lowercase())))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        Ok(rows.into_iter().map(Person::from).collect())
    }

    /// Makes a person an administrator, or one no more.
    pub async fn set_administrator(&self, name: &str, is_admin: bool) -> Result<PersonChange, StoreError> {
        let mut tx = self.begin().await?;
        if !is_admin && is_last_administrator(&mut tx, name).await? {
            return Ok(PersonChange::LastAdministrator);
        }
        let before: Option<bool> = on!(tx.handle(), c => {
            sqlx::query_scalar("select is_admin from users where name = $1").bind(name).fetch_optional(c).await
        })?;
        if before == Some(is_admin) {
            return Ok(PersonChange::Same);
        }
        let changed = on!(tx.handle(), c => {
            sqlx::query("update users set is_admin = $2 where name = $1")
                .bind(name)
                .bind(is_admin)
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        finish(tx, changed).await
    }

    /// Shuts a person out, which ends their sessions, or lets them in again.
    pub async fn set_disabled(&self, name: &str, disabled: bool) -> Result<PersonChange, StoreError> {
        let mut tx = self.begin().await?;
        if disabled && is_last_administrator(&mut tx, name).await? {
            return Ok(PersonChange::LastAdministrator);
        }
        let changed = on!(tx.handle(), c => {
            sqlx::query("update users set disabled = $2 where name = $1")
                .bind(name)
                .bind(disabled)
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        if disabled {
            on!(tx.handle(), c => {
                sqlx::query("delete from sessions where user_id = (select id from users where name = $1)")
                    .bind(name)
                    .execute(c)
                    .await
                    .map(drop)
            })?;
        }
        finish(tx, changed).await
    }

    /// Forgets a person, with their tokens, sessions, memberships and stars; their name is free again.
    pub async fn delete_person(&self, name: &str) -> Result<PersonChange, StoreError> {
        let mut tx = self.begin().await?;
        if is_last_administrator(&mut tx, name).await? {
            return Ok(PersonChange::LastAdministrator);
        }
        let (repositories, orphans): (i64, i64) = on!(tx.handle(), c => {
            sqlx::query_as(
                "select (select count(*) from repositories where namespace = $1), \
                 (select count(*) from members m where m.role = 'owner' and m.user_id = (select id from users where name = $1) \
                  and not exists (select 1 from members o where o.organisation_id = m.organisation_id \
                                  and o.role = 'owner' and o.user_id <> m.user_id))",
            )
            .bind(name)
            .fetch_one(c)
            .await
        })?;
        match (repositories, orphans) {
            (1.., _) => return Ok(PersonChange::HasRepositories),
            (_, 1..) => return Ok(PersonChange::LastOwner),
            _ => {}
        }
        on!(tx.handle(), c => {
            sqlx::query(
                "update repositories set stars = stars - 1 where id in \
                 (select repository_id from stars where user_id = (select id from users where name = $1))",
            )
            .bind(name)
            .execute(c)
            .await
            .map(drop)
        })?;
        let deleted = on!(tx.handle(), c => {
            sqlx::query("delete from users where name = $1").bind(name).execute(c).await.map(|done| done.rows_affected())
        })?;
        on!(tx.handle(), c => {
            sqlx::query("delete from namespaces where name = $1 and kind = 'user'").bind(name).execute(c).await.map(drop)
        })?;
        finish(tx, deleted).await
    }
}

async fn finish(tx: Tx, changed: u64) -> Result<PersonChange, StoreError> {
    match changed {
        0 => Ok(PersonChange::Missing),
        _ => {
            tx.commit().await?;
            Ok(PersonChange::Done)
        }
    }
}

/// Whether nobody else administers. Holds the administrators' rows until the end of the transaction: two who unmake each
/// other at the same moment must not both succeed.
async fn is_last_administrator(tx: &mut Tx, name: &str) -> Result<bool, StoreError> {
    on!(tx.handle(), c => {
        sqlx::query("update users set is_admin = is_admin where is_admin").execute(c).await.map(drop)
    })?;
    let (is_one, others): (i64, i64) = on!(tx.handle(), c => {
        sqlx::query_as(
            "select (select count(*) from users where name = $1 and is_admin and not disabled), \
             (select count(*) from users where name <> $1 and is_admin and not disabled)",
        )
        .bind(name)
        .fetch_one(c)
        .await
    })?;
    Ok(is_one == 1 && others == 0)
}

//! Organisations: several people with one namespace. Their members are in [`super::members`].

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{AFTER_EVERY_ID, Actor, Store, StoreError, Tx, audit, known, members, on};
use crate::domain::{
    access::Role,
    audit::Action,
    ids::{OrganisationId, UserId},
    repository::Visibility,
};

/// An organisation, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    pub id: OrganisationId,
    /// Its namespace.
    pub name: String,
    /// For people to read; may be empty.
    pub display_name: String,
    pub description: String,
    /// Of a new repository that does not say.
    pub default_visibility: Visibility,
    pub created_at: DateTime<Utc>,
}

/// What became of a new organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganisationAdded {
    Added,
    /// A user or an organisation has the name.
    NameTaken,
    /// An administrator keeps things in the namespace, which the organisation's owner would get.
    NamespaceInUse,
    /// The owner is in [`members::MOST_MEMBERSHIPS`] already.
    TooManyMemberships,
}

/// What became of a wish to delete an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganisationDeleted {
    Deleted,
    Missing,
    /// It still has repositories.
    HasRepositories,
}

/// An organisation in the list of all, with how much it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganisationCounts {
    pub id: OrganisationId,
    pub name: String,
    pub created_at: DateTime<Utc>,
    pub members: i64,
    pub repositories: i64,
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: String,
    name: String,
    display_name: String,
    description: String,
    default_visibility: String,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Organisation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            name: row.name,
            display_name: row.display_name,
            description: row.description,
            default_visibility: known("visibility", &row.default_visibility, Visibility::parse)?,
            created_at: row.created_at,
        })
    }
}

#[derive(sqlx::FromRow)]
struct RoleRow {
    #[sqlx(flatten)]
    organisation: Row,
    role: Option<String>,
}

impl Store {
    /// Adds an organisation with its first owner. `may_adopt`: also where the namespace holds things already.
    pub async fn add_organisation(
        &self,
        organisation: &Organisation,
        owner: &UserId,
        may_adopt: bool,
        actor: &Actor,
    ) -> Result<OrganisationAdded, StoreError> {
        let mut tx = self.begin().await?;
        if !take_name(&mut tx, &organisation.name, "organisation").await? {
            return Ok(OrganisationAdded::NameTaken);
        }
        if !may_adopt && is_in_use(&mut tx, &organisation.name).await? {
            return Ok(OrganisationAdded::NamespaceInUse);
        }
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into organisations (id, name, display_name, description, default_visibility, created_at) \
                 values ($1, $2, $3, $4, $5, $6)",
            )
            .bind(organisation.id.as_str())
            .bind(&organisation.name)
            .bind(&organisation.display_name)
            .bind(&organisation.description)
            .bind(organisation.default_visibility.as_str())
            .bind(organisation.created_at)
            .execute(c)
            .await
            .map(drop)
        })?;
        if !members::join(&mut tx, &organisation.id, owner, Role::Owner, organisation.created_at).await? {
            return Ok(OrganisationAdded::TooManyMemberships);
        }
        let event = actor.did(
            Action::OrganisationCreated,
            &organisation.name,
            &organisation.name,
            json!({}),
        );
        audit::record(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(OrganisationAdded::Added)
    }

    pub async fn organisation_named(&self, name: &str) -> Result<Option<Organisation>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>("select * from organisations where name = $1").bind(name).fetch_optional(c).await
        })?;
        row.map(Organisation::try_from).transpose()
    }

    /// The organisations of a user with the role there, newest first; with `all` every other one too. `before`: only those
    /// older than this one.
    pub async fn organisations(
        &self,
        user: &UserId,
        all: bool,
        before: Option<&OrganisationId>,
        limit: u32,
    ) -> Result<Vec<(Organisation, Option<Role>)>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, RoleRow>(
                "select o.*, m.role from organisations o \
                 left join members m on m.organisation_id = o.id and m.user_id = $1 \
                 where ($2 or m.user_id is not null) and o.id < $3 order by o.id desc limit $4",
            )
            .bind(user.as_str())
            .bind(all)
            .bind(before.map_or(AFTER_EVERY_ID, OrganisationId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let role = |role: Option<String>| role.map(|role| known("role", &role, Role::parse)).transpose();
        rows.into_iter()
            .map(|row| Ok((Organisation::try_from(row.organisation)?, role(row.role)?)))
            .collect()
    }

    /// All organisations with what they hold, newest first. `before`: only those older than this one.
    pub async fn organisation_counts(
        &self,
        before: Option<&OrganisationId>,
        limit: u32,
    ) -> Result<Vec<OrganisationCounts>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, DateTime<Utc>, i64, i64)> = on!(reader.handle(), c => {
            sqlx::query_as(
                "select o.id, o.name, o.created_at, (select count(*) from members where organisation_id = o.id), \
                 (select count(*) from repositories where namespace = o.name) \
                 from organisations o where o.id < $1 order by o.id desc limit $2",
            )
            .bind(before.map_or(AFTER_EVERY_ID, OrganisationId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let counts = |(id, name, created_at, members, repositories): (String, _, _, _, _)| OrganisationCounts {
            id: id.into(),
            name,
            created_at,
            members,
            repositories,
        };
        Ok(rows.into_iter().map(counts).collect())
    }

    /// What a new repository of a namespace is, where it does not say: as the user or the organisation wishes.
    pub async fn visibility_of_new(&self, namespace: &str) -> Result<Visibility, StoreError> {
        let mut reader = self.reader().await?;
        let wished: Option<String> = on!(reader.handle(), c => {
            sqlx::query_scalar(
                "select default_visibility from organisations where name = $1 \
                 union all select default_visibility from users where name = $1",
            )
            .bind(namespace)
            .fetch_optional(c)
            .await
        })?;
        match wished {
            Some(wished) => known("visibility", &wished, Visibility::parse),
            None => Ok(Visibility::default()),
        }
    }

    /// Replaces what an organisation says of itself; `false` if it is gone.
    pub async fn change_organisation(&self, new: &Organisation, actor: &Actor) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let Some(old) = lock(&mut tx, &new.id).await? else {
            return Ok(false);
        };
        on!(tx.handle(), c => {
            sqlx::query("update organisations set display_name = $2, description = $3, default_visibility = $4 where id = $1")
                .bind(new.id.as_str())
                .bind(&new.display_name)
                .bind(&new.description)
                .bind(new.default_visibility.as_str())
                .execute(c)
                .await
                .map(drop)
        })?;
        let fields = [
            ("display_name", old.display_name != new.display_name),
            ("description", old.description != new.description),
            ("default_visibility", old.default_visibility != new.default_visibility),
        ];
        let changed: Value = fields
            .iter()
            .filter(|(_, differs)| *differs)
            .map(|(field, _)| *field)
            .collect();
        if changed != json!([]) {
            let detail = json!({ "fields": changed });
            audit::record(
                &mut tx,
                &actor.did(Action::OrganisationChanged, &old.name, &old.name, detail),
            )
            .await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Deletes an organisation with its memberships, invitations and registries, unless it has repositories.
    pub async fn delete_organisation(
        &self,
        id: &OrganisationId,
        actor: &Actor,
    ) -> Result<OrganisationDeleted, StoreError> {
        let mut tx = self.begin().await?;
        let Some(organisation) = lock(&mut tx, id).await? else {
            return Ok(OrganisationDeleted::Missing);
        };
        let name = &organisation.name;
        let has_repositories: bool = on!(tx.handle(), c => {
            sqlx::query_scalar("select exists (select 1 from repositories where namespace = $1)").bind(name).fetch_one(c).await
        })?;
        if has_repositories {
            return Ok(OrganisationDeleted::HasRepositories);
        }
        for statement in [
            "delete from registries where namespace = $1",
            "delete from organisations where name = $1",
            "delete from namespaces where name = $1",
        ] {
            on!(tx.handle(), c => sqlx::query(statement).bind(name).execute(c).await.map(drop))?;
        }
        audit::record(&mut tx, &actor.did(Action::OrganisationDeleted, name, name, json!({}))).await?;
        tx.commit().await?;
        Ok(OrganisationDeleted::Deleted)
    }
}

/// Takes a name for a user or an organisation; `false` if either has it.
pub(super) async fn take_name(tx: &mut Tx, name: &str, kind: &str) -> Result<bool, StoreError> {
    let taken = on!(tx.handle(), c => {
        sqlx::query("insert into namespaces (name, kind) values ($1, $2) on conflict do nothing")
            .bind(name)
            .bind(kind)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(taken == 1)
}

pub(super) async fn is_in_use(tx: &mut Tx, namespace: &str) -> Result<bool, StoreError> {
    Ok(on!(tx.handle(), c => {
        sqlx::query_scalar(
            "select exists (select 1 from repositories where namespace = $1) \
             or exists (select 1 from registries where namespace = $1)",
        )
        .bind(namespace)
        .fetch_one(c)
        .await
    })?)
}

/// The organisation, which nobody else changes, nor its members, until the transaction ends.
pub(super) async fn lock(tx: &mut Tx, id: &OrganisationId) -> Result<Option<Organisation>, StoreError> {
    // Touching the row locks it on PostgreSQL.
    let row = on!(tx.handle(), c => {
        sqlx::query_as::<_, Row>("update organisations set name = name where id = $1 returning *")
            .bind(id.as_str())
            .fetch_optional(c)
            .await
    })?;
    row.map(Organisation::try_from).transpose()
}

//! Who belongs to an organisation, and in which role. An organisation always has an owner.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{AFTER_EVERY_ID, Actor, Store, StoreError, Tx, audit, known, on, organisations::lock};
use crate::domain::{
    access::Role,
    audit::Action,
    ids::{OrganisationId, UserId},
};

/// Organisations that one person may belong to: all of them are read with each of their requests.
pub const MOST_MEMBERSHIPS: i64 = 200;

/// Somebody who belongs to an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user: UserId,
    pub name: String,
    pub role: Role,
    pub since: DateTime<Utc>,
}

/// What became of a wish to change who belongs to an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    Added,
    Changed,
    Removed,
    /// They had the role already.
    Same,
    /// There is no such user, member or organisation.
    Missing,
    /// The organisation would have no owner any more.
    LastOwner,
    /// They belong to [`MOST_MEMBERSHIPS`] already.
    TooManyMemberships,
}

#[derive(sqlx::FromRow)]
struct Row {
    user_id: String,
    name: String,
    role: String,
    since: DateTime<Utc>,
}

impl TryFrom<Row> for Member {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            user: row.user_id.into(),
            name: row.name,
            role: known("role", &row.role, Role::parse)?,
            since: row.since,
        })
    }
}

impl Store {
    /// The members of an organisation, the newest users first. `before`: only users older than this one.
    pub async fn members(
        &self,
        organisation: &OrganisationId,
        before: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<Member>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(
                "select m.user_id, u.name, m.role, m.since from members m join users u on u.id = m.user_id \
                 where m.organisation_id = $1 and m.user_id < $2 order by m.user_id desc limit $3",
            )
            .bind(organisation.as_str())
            .bind(before.map_or(AFTER_EVERY_ID, UserId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Member::try_from).collect()
    }

    /// Gives a user a role in an organisation, as a new member or instead of the role they have.
    pub async fn put_member(
        &self,
        organisation: &OrganisationId,
        name: &str,
        role: Role,
        actor: &Actor,
    ) -> Result<MemberChange, StoreError> {
        let mut tx = self.begin().await?;
        let Some(locked) = lock(&mut tx, organisation).await? else {
            return Ok(MemberChange::Missing);
        };
        let Some(user) = user_id(&mut tx, name).await? else {
            return Ok(MemberChange::Missing);
        };
        let old = role_of(&mut tx, organisation, &user).await?;
        if old == Some(role) {
            return Ok(MemberChange::Same);
        }
        if old == Some(Role::Owner) && !has_other_owner(&mut tx, organisation, &user).await? {
            return Ok(MemberChange::LastOwner);
        }
        if !join(&mut tx, organisation, &user, role, actor.at).await? {
            return Ok(MemberChange::TooManyMemberships);
        }
        let (change, action, detail) = match old {
            None => (MemberChange::Added, Action::MemberAdded, json!({ "role": role })),
            Some(old) => (
                MemberChange::Changed,
                Action::MemberChanged,
                json!({ "role": role, "before": old }),
            ),
        };
        audit::record(&mut tx, &actor.did(action, name, locked.name, detail)).await?;
        tx.commit().await?;
        Ok(change)
    }

    /// Ends a membership.
    pub async fn remove_member(
        &self,
        organisation: &OrganisationId,
        name: &str,
        actor: &Actor,
    ) -> Result<MemberChange, StoreError> {
        let mut tx = self.begin().await?;
        let Some(locked) = lock(&mut tx, organisation).await? else {
            return Ok(MemberChange::Missing);
        };
        let Some(user) = user_id(&mut tx, name).await? else {
            return Ok(MemberChange::Missing);
        };
        let Some(role) = role_of(&mut tx, organisation, &user).await? else {
            return Ok(MemberChange::Missing);
        };
        if role == Role::Owner && !has_other_owner(&mut tx, organisation, &user).await? {
            return Ok(MemberChange::LastOwner);
        }
        on!(tx.handle(), c => {
            sqlx::query("delete from members where organisation_id = $1 and user_id = $2")
                .bind(organisation.as_str())
                .bind(user.as_str())
                .execute(c)
                .await
                .map(drop)
        })?;
        let event = actor.did(Action::MemberRemoved, name, locked.name, json!({ "before": role }));
        audit::record(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(MemberChange::Removed)
    }
}

/// Makes somebody a member, or replaces their role; `false` if they belong to too many organisations.
pub(super) async fn join(
    tx: &mut Tx,
    organisation: &OrganisationId,
    user: &UserId,
    role: Role,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let joined = on!(tx.handle(), c => {
        sqlx::query(
            "insert into members (organisation_id, user_id, role, since) select $1, $2, $3, $4 \
             where (select count(*) from members where user_id = $2 and organisation_id <> $1) < $5 \
             on conflict (organisation_id, user_id) do update set role = $3",
        )
        .bind(organisation.as_str())
        .bind(user.as_str())
        .bind(role.as_str())
        .bind(now)
        .bind(MOST_MEMBERSHIPS)
        .execute(c)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(joined == 1)
}

pub(super) async fn role_of(
    tx: &mut Tx,
    organisation: &OrganisationId,
    user: &UserId,
) -> Result<Option<Role>, StoreError> {
    let role: Option<String> = on!(tx.handle(), c => {
        sqlx::query_scalar("select role from members where organisation_id = $1 and user_id = $2")
            .bind(organisation.as_str())
            .bind(user.as_str())
            .fetch_optional(c)
            .await
    })?;
    role.map(|role| known("role", &role, Role::parse)).transpose()
}

async fn user_id(tx: &mut Tx, name: &str) -> Result<Option<UserId>, StoreError> {
    let id: Option<String> = on!(tx.handle(), c => {
        sqlx::query_scalar("select id from users where name = $1").bind(name).fetch_optional(c).await
    })?;
    Ok(id.map(UserId::from))
}

async fn has_other_owner(tx: &mut Tx, organisation: &OrganisationId, user: &UserId) -> Result<bool, StoreError> {
    Ok(on!(tx.handle(), c => {
        sqlx::query_scalar(
            "select exists (select 1 from members where organisation_id = $1 and user_id <> $2 and role = 'owner')",
        )
        .bind(organisation.as_str())
        .bind(user.as_str())
        .fetch_one(c)
        .await
    })?)
}

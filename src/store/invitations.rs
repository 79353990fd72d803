//! Offers of membership. What accepts one is a code that was shown once; its hash alone is here.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    AFTER_EVERY_ID, Actor, Store, StoreError, User, audit, known,
    members::{join, role_of},
    on,
    organisations::lock,
};
use crate::domain::{
    access::Role,
    audit::Action,
    ids::{InvitationId, OrganisationId},
};

/// Open invitations that one organisation may have.
pub const MOST_INVITATIONS: i64 = 200;

/// An open invitation, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    pub id: InvitationId,
    pub organisation: OrganisationId,
    /// The organisation's.
    pub name: String,
    /// A user's name, or an e-mail address, which has an `@`.
    pub invitee: String,
    pub role: Role,
    /// A user's name.
    pub invited_by: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl Invitation {
    /// Whether it is for somebody of this name. One by e-mail is for whoever has the code: nothing here knows who reads
    /// which mailbox.
    pub fn is_for(&self, name: &str) -> bool {
        self.invitee.contains('@') || self.invitee == name
    }
}

/// An invitation to be kept.
pub struct NewInvitation<'a> {
    pub id: InvitationId,
    pub organisation: &'a OrganisationId,
    pub invitee: &'a str,
    pub role: Role,
    /// SHA-256 of the code.
    pub hash: &'a [u8],
    pub expires_at: DateTime<Utc>,
}

/// What became of a new invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationAdded {
    Added,
    /// The organisation is gone.
    Missing,
    /// There is no user of that name.
    NoSuchUser,
    /// They belong to it already.
    AlreadyMember,
    /// There are [`MOST_INVITATIONS`] already.
    TooMany,
}

/// What became of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvitationAccepted {
    /// The organisation's name, and the role that they have there now.
    Joined(String, Role),
    /// The code is unknown, used, expired, or for somebody else.
    Missing,
    /// They belong to [`super::MOST_MEMBERSHIPS`] already.
    TooManyMemberships,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    organisation_id: String,
    name: String,
    invitee: String,
    role: String,
    invited_by: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl TryFrom<Row> for Invitation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            organisation: row.organisation_id.into(),
            name: row.name,
            invitee: row.invitee,
            role: known("role", &row.role, Role::parse)?,
            invited_by: row.invited_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        sqlx::query_as::<_, Row>(concat!(
            "select i.id, i.organisation_id, o.name, i.invitee, i.role, i.invited_by, i.created_at, i.expires_at \
             from invitations i join organisations o on o.id = i.organisation_id ",
            $rest
        ))
    };
}

impl Store {
    /// Keeps an invitation, in place of an earlier one of the same invitee, and forgets those that have expired.
    pub async fn add_invitation(&self, new: &NewInvitation<'_>, actor: &Actor) -> Result<InvitationAdded, StoreError> {
        let mut tx = self.begin().await?;
        let Some(organisation) = lock(&mut tx, new.organisation).await? else {
            return Ok(InvitationAdded::Missing);
        };
        if !new.invitee.contains('@') {
            let user: Option<(String, bool)> = on!(tx.handle(), c => {
                sqlx::query_as(
                    "select id, exists (select 1 from members where organisation_id = $2 and user_id = users.id) \
                     from users where name = $1",
                )
                .bind(new.invitee)
                .bind(new.organisation.as_str())
                .fetch_optional(c)
                .await
            })?;
            match user {
                None => return Ok(InvitationAdded::NoSuchUser),
                Some((_, true)) => return Ok(InvitationAdded::AlreadyMember),
                Some((_, false)) => {}
            }
        }
        on!(tx.handle(), c => {
            sqlx::query("delete from invitations where organisation_id = $1 and (invitee = $2 or expires_at <= $3)")
                .bind(new.organisation.as_str())
                .bind(new.invitee)
                .bind(actor.at)
                .execute(c)
                .await
                .map(drop)
        })?;
        let added = on!(tx.handle(), c => {
            sqlx::query(
                "insert into invitations (id, organisation_id, invitee, role, hash, invited_by, created_at, expires_at) \
                 select $1, $2, $3, $4, $5, $6, $7, $8 \
                 where (select count(*) from invitations where organisation_id = $2) < $9",
            )
            .bind(new.id.as_str())
            .bind(new.organisation.as_str())
            .bind(new.invitee)
            .bind(new.role.as_str())
            .bind(new.hash)
            .bind(&actor.name)
            .bind(actor.at)
            .bind(new.expires_at)
            .bind(MOST_INVITATIONS)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        if added == 0 {
            return Ok(InvitationAdded::TooMany);
        }
        let detail = json!({ "role": new.role });
        let event = actor.did(Action::InvitationCreated, new.invitee, organisation.name, detail);
        audit::record(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(InvitationAdded::Added)
    }

    /// The open invitations of an organisation, newest first. `before`: only those older than this one.
    pub async fn invitations(
        &self,
        organisation: &OrganisationId,
        now: DateTime<Utc>,
        before: Option<&InvitationId>,
        limit: u32,
    ) -> Result<Vec<Invitation>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            select!("where i.organisation_id = $1 and i.expires_at > $2 and i.id < $3 order by i.id desc limit $4")
                .bind(organisation.as_str())
                .bind(now)
                .bind(before.map_or(AFTER_EVERY_ID, InvitationId::as_str))
                .bind(i64::from(limit))
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(Invitation::try_from).collect()
    }

    /// The open invitation that a code accepts. `hash` is the code's SHA-256.
    pub async fn invitation_with(&self, hash: &[u8], now: DateTime<Utc>) -> Result<Option<Invitation>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            select!("where i.hash = $1 and i.expires_at > $2").bind(hash).bind(now).fetch_optional(c).await
        })?;
        row.map(Invitation::try_from).transpose()
    }

    /// Takes an invitation back; `false` if there is none.
    pub async fn withdraw_invitation(
        &self,
        organisation: &OrganisationId,
        id: &InvitationId,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let Some(locked) = lock(&mut tx, organisation).await? else {
            return Ok(false);
        };
        let invitee: Option<String> = on!(tx.handle(), c => {
            sqlx::query_scalar("delete from invitations where organisation_id = $1 and id = $2 returning invitee")
                .bind(organisation.as_str())
                .bind(id.as_str())
                .fetch_optional(c)
                .await
        })?;
        let Some(invitee) = invitee else { return Ok(false) };
        audit::record(
            &mut tx,
            &actor.did(Action::InvitationWithdrawn, invitee, locked.name, json!({})),
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Makes a user a member by a code, which is used up by it. Whoever is a member already keeps the higher role.
    pub async fn accept_invitation(
        &self,
        hash: &[u8],
        user: &User,
        actor: &Actor,
    ) -> Result<InvitationAccepted, StoreError> {
        let found = self.invitation_with(hash, actor.at).await?;
        let Some(invitation) = found.filter(|invitation| invitation.is_for(&user.name)) else {
            return Ok(InvitationAccepted::Missing);
        };
        let mut tx = self.begin().await?;
        let Some(organisation) = lock(&mut tx, &invitation.organisation).await? else {
            return Ok(InvitationAccepted::Missing);
        };
        // Of two who use the code at the same time one finds it gone.
        let used = on!(tx.handle(), c => {
            sqlx::query("delete from invitations where id = $1")
                .bind(invitation.id.as_str())
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        if used == 0 {
            return Ok(InvitationAccepted::Missing);
        }
        let old = role_of(&mut tx, &organisation.id, &user.id).await?;
        let role = old.map_or(invitation.role, |old| old.max(invitation.role));
        if !join(&mut tx, &organisation.id, &user.id, role, actor.at).await? {
            return Ok(InvitationAccepted::TooManyMemberships);
        }
        let detail = json!({ "role": role, "invited_by": invitation.invited_by });
        let event = actor.did(
            Action::InvitationAccepted,
            &organisation.name,
            &organisation.name,
            detail,
        );
        audit::record(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(InvitationAccepted::Joined(organisation.name, role))
    }
}

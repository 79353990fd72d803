//! Mail about builds that ended: written down with the end itself, for everybody who wants it, and kept until it was taken.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, Tx, from_json, known, on};
use crate::domain::{
    build::{Cause, Status},
    ids::{BuildId, UserId},
    notice::{News, Wish},
};

/// Mail to one person about one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingMail {
    pub build: BuildId,
    pub user: UserId,
    pub news: News,
    /// How often it was tried, this time included.
    pub attempts: i64,
}

/// Condition on a user `u` and a repository `r`: they may sign in, and see what it builds.
macro_rules! may_see {
    () => {
        "not u.disabled and (r.visibility = 'public' or u.is_admin or exists \
         (select 1 from readable_namespaces n where n.user_id = u.id and n.namespace = r.namespace))"
    };
}

#[derive(sqlx::FromRow)]
struct EndedRow {
    repository_id: String,
    rule_id: String,
    source_name: String,
    cause: String,
}

#[derive(sqlx::FromRow)]
struct MailRow {
    build_id: String,
    user_id: String,
    news: String,
    attempts: i64,
}

/// Writes down who is to be told of a build that the transaction ends. Of one that was cancelled or superseded nobody is.
pub(super) async fn tell_of_end(
    tx: &mut Tx,
    build: &BuildId,
    status: Status,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if !matches!(status, Status::Succeeded | Status::Failed) {
        return Ok(());
    }
    let ended = on!(tx.handle(), c => {
        sqlx::query_as::<_, EndedRow>("select repository_id, rule_id, source_name, cause from builds where id = $1")
            .bind(build.as_str())
            .fetch_one(c)
            .await
    })?;
    let news = match status {
        Status::Failed => News::Failed,
        _ if failed_before(tx, build, &ended).await? => News::Recovered,
        _ => News::Succeeded,
    };
    let cause: Cause = from_json("cause", &ended.cause)?;
    on!(tx.handle(), c => {
        sqlx::query(concat!(
            "insert into outbox (build_id, user_id, news, attempts, not_before) \
             select $1, u.id, $2, 0, $3 from users u join repositories r on r.id = $4 where u.email <> '' and (\
             (u.notify = 'all' and (u.name = $5 or exists \
             (select 1 from readable_namespaces n where n.user_id = u.id and n.namespace = r.namespace))) \
             or ($6 and u.notify = 'namespaces' and (u.name = $5 or exists \
             (select 1 from readable_namespaces n where n.user_id = u.id and n.namespace = r.namespace))) \
             or ($6 and u.notify = 'mine' and (u.name = $5 or u.name = r.namespace))) and ",
            may_see!(),
            " on conflict do nothing",
        ))
        .bind(build.as_str())
        .bind(news.as_str())
        .bind(now)
        .bind(&ended.repository_id)
        .bind(cause.user())
        .bind(news != News::Succeeded)
        .execute(c)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// Whether the last build before this one of the same rule and ref, that succeeded or failed, failed.
async fn failed_before(tx: &mut Tx, build: &BuildId, ended: &EndedRow) -> Result<bool, StoreError> {
    let before: Option<String> = on!(tx.handle(), c => {
        sqlx::query_scalar(
            "select status from builds where repository_id = $1 and rule_id = $2 and source_name = $3 and id < $4 \
             and status in ('succeeded', 'failed') order by id desc limit 1",
        )
        .bind(&ended.repository_id)
        .bind(&ended.rule_id)
        .bind(&ended.source_name)
        .bind(build.as_str())
        .fetch_optional(c)
        .await
    })?;
    Ok(before.as_deref() == Some(Status::Failed.as_str()))
}

impl Store {
    /// The mail that has waited longest of that which may be tried now. Nobody else gets it before `again_at`, when it is
    /// tried again unless it was removed.
    pub async fn claim_mail(
        &self,
        now: DateTime<Utc>,
        again_at: DateTime<Utc>,
    ) -> Result<Option<WaitingMail>, StoreError> {
        let mut tx = self.begin().await?;
        let row = on!(tx.handle(), c => {
            sqlx::query_as::<_, MailRow>(
                "update outbox set attempts = attempts + 1, not_before = $2 where not_before <= $1 \
                 and (build_id, user_id) in (select build_id, user_id from outbox where not_before <= $1 \
                 order by not_before, build_id, user_id limit 1) returning build_id, user_id, news, attempts",
            )
            .bind(now)
            .bind(again_at)
            .fetch_optional(c)
            .await
        })?;
        tx.commit().await?;
        row.map(|row| {
            Ok(WaitingMail {
                build: row.build_id.into(),
                user: row.user_id.into(),
                news: known("news", &row.news, News::parse)?,
                attempts: row.attempts,
            })
        })
        .transpose()
    }

    /// Where a mail is to go; `None` if its reader has no address, wants none, or may not see the build any more.
    pub async fn mail_address(&self, mail: &WaitingMail) -> Result<Option<String>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(on!(reader.handle(), c => {
            sqlx::query_scalar(concat!(
                "select u.email from users u join builds b on b.id = $1 join repositories r on r.id = b.repository_id \
                 where u.id = $2 and u.email <> '' and u.notify <> 'none' and ",
                may_see!(),
            ))
            .bind(mail.build.as_str())
            .bind(mail.user.as_str())
            .fetch_optional(c)
            .await
        })?)
    }

    /// A mail was taken by the mail server, or is not to be sent at all.
    pub async fn remove_mail(&self, mail: &WaitingMail) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("delete from outbox where build_id = $1 and user_id = $2")
                .bind(mail.build.as_str())
                .bind(mail.user.as_str())
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }

    /// A mail is to be tried again, not before a time.
    pub async fn put_mail_off(&self, mail: &WaitingMail, not_before: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("update outbox set not_before = $3 where build_id = $1 and user_id = $2")
                .bind(mail.build.as_str())
                .bind(mail.user.as_str())
                .bind(not_before)
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }

    /// Forgets everything that waits; answers how much it was. For an installation that sends no mail.
    pub async fn forget_mail(&self) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let forgotten = on!(tx.handle(), c => {
            sqlx::query("delete from outbox").execute(c).await.map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(forgotten)
    }

    /// Of which builds a person wants to be told; `None` if there is no such person.
    pub async fn notify_wish(&self, user: &UserId) -> Result<Option<Wish>, StoreError> {
        let mut reader = self.reader().await?;
        let text: Option<String> = on!(reader.handle(), c => {
            sqlx::query_scalar("select notify from users where id = $1").bind(user.as_str()).fetch_optional(c).await
        })?;
        text.map(|text| known("wish", &text, Wish::parse)).transpose()
    }

    pub async fn set_notify_wish(&self, user: &UserId, wish: Wish) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("update users set notify = $2 where id = $1")
                .bind(user.as_str())
                .bind(wish.as_str())
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }
}

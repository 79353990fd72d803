//! What deliveries are held against: earlier ones, and the builds that are under way.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{BuildRequest, NewDelivery, StoreError, Tx, from_json, group::Ref, on, rows};
use crate::domain::{
    build::Before,
    ids::{BuildId, DeliveryId, RepositoryId},
};

/// An earlier delivery, with what it led to.
#[derive(Clone)]
pub(super) struct Known {
    pub id: DeliveryId,
    pub builds: Vec<BuildId>,
}

/// A build that is queued or running, or that a look at the source found lately.
pub(super) struct Waiting {
    pub id: BuildId,
    pub number: i64,
    /// Else it is running, or has ended.
    pub queued: bool,
    pub commit: Option<String>,
    pub push_order: String,
    pub cancel_requested: bool,
    /// A look found it, and its end is past.
    pub has_ended: bool,
    pub before: Option<Before>,
    /// Where its row is, if it was queued by an earlier delivery of the group and is not written yet.
    pub row: Option<usize>,
}

/// Makes others who record deliveries of a repository wait, and answers its next build's number; `None` if it is gone.
pub(super) async fn lock_repository(tx: &mut Tx, repository: &RepositoryId) -> Result<Option<i64>, StoreError> {
    Ok(on!(tx.handle(), c => {
        sqlx::query_scalar("update repositories set next_number = next_number where id = $1 returning next_number")
            .bind(repository.as_str())
            .fetch_optional(c)
            .await
    })?)
}

/// `cross join` makes SQLite look each of the values up in the index, and not the other way round.
macro_rules! earlier {
    ($column:literal, $values:expr) => {
        format!(
            concat!(
                "select d.repository_id, d.",
                $column,
                ", d.id, d.builds from (values {}) as wanted cross join deliveries d \
                 where d.repository_id = wanted.column1 and d.",
                $column,
                " = wanted.column2 and d.repeats is null"
            ),
            rows::placeholders($values, 2, "")
        )
    };
}

pub(in crate::store) fn by_delivery_id(values: usize) -> String {
    earlier!("delivery_id", values)
}

pub(in crate::store) fn by_body(values: usize) -> String {
    earlier!("body_hash", values)
}

/// The earlier deliveries that bear the forge's id of one of these.
pub(super) async fn known_by_id<'a>(
    tx: &mut Tx,
    deliveries: &'a [NewDelivery],
) -> Result<HashMap<(&'a RepositoryId, &'a str), Known>, StoreError> {
    let wanted: Vec<(&RepositoryId, &str)> = deliveries
        .iter()
        .filter_map(|new| Some((&new.repository_id, new.delivery_id.as_deref()?)))
        .collect();
    let mut known = HashMap::new();
    for piece in rows::pieces(&wanted) {
        let sql = by_delivery_id(piece.len());
        let found: Vec<(String, String, String, String)> = on!(tx.handle(), c => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql));
            for (repository, id) in piece {
                query = query.bind(repository.as_str()).bind(*id);
            }
            query.fetch_all(c).await
        })?;
        for (repository, delivery_id, id, builds) in found {
            if let Some(key) = piece
                .iter()
                .find(|(r, d)| r.as_str() == repository && *d == delivery_id)
            {
                known.insert(*key, Known::stored(id, &builds)?);
            }
        }
    }
    Ok(known)
}

/// The earlier deliveries that had the body of one of these.
pub(super) async fn known_by_body<'a>(
    tx: &mut Tx,
    deliveries: &'a [NewDelivery],
) -> Result<HashMap<(&'a RepositoryId, &'a [u8; 32]), Known>, StoreError> {
    let wanted: Vec<(&RepositoryId, &[u8; 32])> = deliveries
        .iter()
        .filter_map(|new| Some((&new.repository_id, new.body_hash.as_ref()?)))
        .collect();
    let mut known = HashMap::new();
    for piece in rows::pieces(&wanted) {
        let sql = by_body(piece.len());
        let found: Vec<(String, Vec<u8>, String, String)> = on!(tx.handle(), c => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql));
            for (repository, hash) in piece {
                query = query.bind(repository.as_str()).bind(hash.as_slice());
            }
            query.fetch_all(c).await
        })?;
        for (repository, hash, id, builds) in found {
            if let Some(key) = piece
                .iter()
                .find(|(r, h)| r.as_str() == repository && h.as_slice() == hash)
            {
                known.insert(*key, Known::stored(id, &builds)?);
            }
        }
    }
    Ok(known)
}

impl Known {
    fn stored(id: String, builds: &str) -> Result<Self, StoreError> {
        Ok(Self {
            id: id.into(),
            builds: from_json("builds", builds)?,
        })
    }
}

/// Builds that looks at the source found count for a day after their end, so that webhooks that come late find them; but only
/// the newest of a ref: what was built since may have moved it there and back.
const LATE: TimeDelta = TimeDelta::days(1);

/// One statement, as each costs its way to the database.
pub(in crate::store) const UNDER_WAY: &str = "select id, number, status = 'queued', commit_sha, push_order, cancel_requested, before_sha, \
     false as has_ended from builds \
     where repository_id = $1 and rule_id = $2 and source_name = $3 and source_type = $4 \
     and status in ('queued', 'running') \
     union all select id, number, false, commit_sha, push_order, false, before_sha, true as has_ended from builds found \
     where repository_id = $1 and rule_id = $2 and source_name = $3 and source_type = $4 and cause_kind = 'poll' \
     and status not in ('queued', 'running') and queued_at >= $5 \
     and not exists (select 1 from builds later where later.repository_id = $1 and later.source_name = $3 \
     and later.id > found.id and later.rule_id = $2 and later.source_type = $4) \
     order by id";

/// In the order of the columns of [`UNDER_WAY`].
type WaitingRow = (String, i64, bool, Option<String>, String, bool, Option<String>, bool);

/// The builds of a ref that are queued or running, and the last one if a look found it lately, in the order of their ids.
pub(super) async fn under_way(tx: &mut Tx, of: Ref<'_>, now: DateTime<Utc>) -> Result<Vec<Waiting>, StoreError> {
    let found: Vec<WaitingRow> = on!(tx.handle(), c => {
        sqlx::query_as(UNDER_WAY)
            .bind(of.repository.as_str())
            .bind(of.rule.as_str())
            .bind(of.source_name)
            .bind(of.source_type.as_str())
            .bind(now - LATE)
            .fetch_all(c)
            .await
    })?;
    let waiting = found.into_iter().map(
        |(id, number, queued, commit, push_order, cancel_requested, before, has_ended)| Waiting {
            id: id.into(),
            number,
            queued,
            commit,
            push_order,
            cancel_requested,
            has_ended,
            before: before.as_deref().map(Before::parse),
            row: None,
        },
    );
    Ok(waiting.collect())
}

/// SQLite takes the index of builds by ref only where the condition of that index is repeated word for word.
pub(in crate::store) const SUPERSEDE: &str = "update builds set status = 'superseded', superseded_by = $6, finished_at = $7, not_before = null, error_kind = null, \
     error_message = null where repository_id = $1 and rule_id = $2 and source_name = $3 and source_type = $4 \
     and status in ('queued', 'running') and status = 'queued' and push_order < $5 returning id";

/// Ends the stored builds of the same rule and ref that are queued and came before, with a last line in their logs.
pub(super) async fn supersede_stored(
    tx: &mut Tx,
    new: &NewDelivery,
    request: &BuildRequest,
    order: &str,
    line: &str,
) -> Result<Vec<BuildId>, StoreError> {
    let superseded: Vec<String> = on!(tx.handle(), c => {
        sqlx::query_scalar(SUPERSEDE)
            .bind(new.repository_id.as_str())
            .bind(request.rule_id.as_str())
            .bind(&request.source_name)
            .bind(request.source_type.as_str())
            .bind(order)
            .bind(request.id.as_str())
            .bind(new.received_at)
            .fetch_all(c)
            .await
    })?;
    for id in &superseded {
        crate::store::logs::append_line(tx, id, line).await?;
    }
    Ok(superseded.into_iter().map(BuildId::from).collect())
}

//! The rows that a group of deliveries leads to, written many to a statement.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

use chrono::{DateTime, Utc};

use super::{Accepted, BuildRequest, NewDelivery, Outcome, StoreError, Tx, contributions, on, to_json};
use crate::domain::{
    build::{Before, Cause},
    ids::{BuildId, DeliveryId, RepositoryId},
    remote_refs::MANY,
};

/// Most rows of one statement.
const LARGEST_PIECE: usize = 64;

#[derive(Default)]
pub(super) struct Rows<'a> {
    pub deliveries: Vec<DeliveryRow<'a>>,
    pub builds: Vec<BuildRow<'a>>,
}

pub(super) struct DeliveryRow<'a> {
    new: &'a NewDelivery,
    outcome: Outcome,
    reason: String,
    repeats: Option<DeliveryId>,
    builds: String,
}

pub(super) struct BuildRow<'a> {
    new: &'a NewDelivery,
    request: &'a BuildRequest,
    number: i64,
    cause: String,
    plan: String,
    before: Option<Before>,
    /// By a later delivery of the same group.
    pub superseded: Option<Superseded>,
}

pub(super) struct Superseded {
    by: BuildId,
    at: DateTime<Utc>,
    /// All that its log will ever hold.
    line: String,
}

impl<'a> DeliveryRow<'a> {
    pub fn new(new: &'a NewDelivery, accepted: &Accepted) -> Result<Self, StoreError> {
        Ok(Self {
            new,
            outcome: accepted.outcome,
            reason: accepted.reason.clone(),
            repeats: accepted.repeats.clone(),
            builds: to_json(&accepted.builds)?,
        })
    }

    /// A repeated body is kept once, with the delivery that it came with first.
    fn body(&self) -> Option<(&'a DeliveryId, &'a [u8])> {
        let body = self.new.body.as_deref().filter(|_| self.repeats.is_none())?;
        Some((&self.new.id, body))
    }
}

impl<'a> BuildRow<'a> {
    /// `before`: that of the request, or of those whose place it takes.
    pub fn new(
        new: &'a NewDelivery,
        request: &'a BuildRequest,
        number: i64,
        before: Option<Before>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            new,
            request,
            number,
            cause: to_json(&request.cause)?,
            plan: to_json(&request.plan)?,
            before,
            superseded: None,
        })
    }
}

impl Superseded {
    pub fn new(by: &BuildId, at: DateTime<Utc>, line: &str) -> Self {
        Self {
            by: by.clone(),
            at,
            line: line.to_owned(),
        }
    }
}

impl<'a> Rows<'a> {
    /// Who asked for builds in which repository, each once; webhooks and schedules are nobody's doing.
    fn contributions(&self) -> BTreeMap<(&'a str, &'a RepositoryId), DateTime<Utc>> {
        let by = |row: &BuildRow<'a>| match &row.request.cause {
            Cause::Manual { user } | Cause::Create { user } | Cause::Retry { user, .. } => {
                Some(((user.as_str(), &row.new.repository_id), row.new.received_at))
            }
            Cause::Push { .. } | Cause::BaseImage { .. } | Cause::Schedule { .. } | Cause::Poll => None,
        };
        self.builds.iter().filter_map(by).collect()
    }

    /// Writes everything. `numbers` are the next builds' of the repositories.
    pub async fn write(self, tx: &mut Tx, numbers: &HashMap<&RepositoryId, i64>) -> Result<(), StoreError> {
        if !self.builds.is_empty() {
            write_numbers(tx, numbers).await?;
        }
        for piece in pieces(&self.builds) {
            write_builds(tx, piece).await?;
        }
        let lines: Vec<(&BuildId, &str)> = self
            .builds
            .iter()
            .filter_map(|row| Some((&row.request.id, row.superseded.as_ref()?.line.as_str())))
            .collect();
        for piece in pieces(&lines) {
            write_lines(tx, piece).await?;
        }
        for piece in pieces(&self.deliveries) {
            write_deliveries(tx, piece).await?;
        }
        let bodies: Vec<(&DeliveryId, &[u8])> = self.deliveries.iter().filter_map(DeliveryRow::body).collect();
        for piece in pieces(&bodies) {
            write_bodies(tx, piece).await?;
        }
        for ((user, repository), at) in self.contributions() {
            contributions::record(tx, user, repository, at).await?;
        }
        Ok(())
    }
}

async fn write_numbers(tx: &mut Tx, numbers: &HashMap<&RepositoryId, i64>) -> Result<(), StoreError> {
    for (repository, next) in numbers {
        on!(tx.handle(), c => {
            sqlx::query("update repositories set next_number = $2 where id = $1 and next_number <> $2")
                .bind(repository.as_str())
                .bind(*next)
                .execute(c)
                .await
                .map(drop)
        })?;
    }
    Ok(())
}

async fn write_builds(tx: &mut Tx, rows: &[BuildRow<'_>]) -> Result<(), StoreError> {
    let sql = format!(
        "insert into builds (id, repository_id, number, rule_id, status, cause, source_type, source_name, commit_sha, \
         commit_message, plan, push_order, queued_at, superseded_by, finished_at, log_size, cause_kind, class, before_sha, \
         base_images, steps, fence, attempt, cancel_requested, log_sealed) values {}",
        placeholders(rows.len(), 19, ", '[]', '[]', 0, 0, false, false")
    );
    on!(tx.handle(), c => {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for BuildRow { new, request, number, cause, plan, before, superseded } in rows {
            query = query
                .bind(request.id.as_str())
                .bind(new.repository_id.as_str())
                .bind(*number)
                .bind(request.rule_id.as_str())
                .bind(if superseded.is_some() { "superseded" } else { "queued" })
                .bind(cause)
                .bind(request.source_type.as_str())
                .bind(&request.source_name)
                .bind(request.commit.as_deref())
                .bind(request.commit_message.as_deref())
                .bind(plan)
                .bind(request.push_order.as_deref().unwrap_or(request.id.as_str()))
                .bind(new.received_at)
                .bind(superseded.as_ref().map(|superseded| superseded.by.as_str()))
                .bind(superseded.as_ref().map(|superseded| superseded.at))
                .bind(superseded.as_ref().map_or(0, |superseded| superseded.line.len() as i64))
                .bind(request.cause.kind().as_str())
                .bind(i64::from(waits_for_others(new, request)))
                .bind(before.as_ref().map(Before::as_str));
        }
        query.execute(c).await.map(drop)
    })?;
    Ok(())
}

/// Whether a build goes behind those that somebody waits for: so do the many that one look found.
fn waits_for_others(new: &NewDelivery, request: &BuildRequest) -> bool {
    let is_one_of_many = request.cause == Cause::Poll && new.requests.len() > MANY;
    request.cause.kind().is_automatic() || is_one_of_many
}

async fn write_lines(tx: &mut Tx, lines: &[(&BuildId, &str)]) -> Result<(), StoreError> {
    let values = placeholders(lines.len(), 2, ", 0");
    let sql = format!("insert into log_chunks (build_id, bytes, position) values {values}");
    on!(tx.handle(), c => {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (build, line) in lines {
            query = query.bind(build.as_str()).bind(line.as_bytes());
        }
        query.execute(c).await.map(drop)
    })?;
    Ok(())
}

async fn write_deliveries(tx: &mut Tx, rows: &[DeliveryRow<'_>]) -> Result<(), StoreError> {
    let sql = format!(
        "insert into deliveries (id, repository_id, provider, event, delivery_id, body_hash, content_type, received_at, \
         source_name, commit_sha, outcome, reason, repeats, builds) values {}",
        placeholders(rows.len(), 14, "")
    );
    on!(tx.handle(), c => {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for DeliveryRow { new, outcome, reason, repeats, builds } in rows {
            query = query
                .bind(new.id.as_str())
                .bind(new.repository_id.as_str())
                .bind(&new.provider)
                .bind(&new.event)
                .bind(new.delivery_id.as_deref())
                .bind(new.body_hash.as_ref().map(<[u8; 32]>::as_slice))
                .bind(new.content_type.as_deref())
                .bind(new.received_at)
                .bind(new.source_name.as_deref())
                .bind(new.commit.as_deref())
                .bind(outcome.as_str())
                .bind(reason)
                .bind(repeats.as_ref().map(DeliveryId::as_str))
                .bind(builds);
        }
        query.execute(c).await.map(drop)
    })?;
    Ok(())
}

async fn write_bodies(tx: &mut Tx, bodies: &[(&DeliveryId, &[u8])]) -> Result<(), StoreError> {
    let values = placeholders(bodies.len(), 2, "");
    let sql = format!("insert into delivery_bodies (delivery_id, body) values {values}");
    on!(tx.handle(), c => {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (delivery, body) in bodies {
            query = query.bind(delivery.as_str()).bind(*body);
        }
        query.execute(c).await.map(drop)
    })?;
    Ok(())
}

/// Splits rows into pieces whose lengths are powers of two: so few different statements that all of them stay prepared.
pub fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = (1 << rows.len().checked_ilog2()?).min(LARGEST_PIECE);
        let (piece, rest) = rows.split_at(length);
        rows = rest;
        Some(piece)
    })
}

/// `($1, $2), ($3, $4)`: parameters for so many rows of so many columns; each row ends with what is `constant`.
pub fn placeholders(rows: usize, columns: usize, constant: &str) -> String {
    let mut text = String::with_capacity(rows * (columns * 6 + constant.len() + 4));
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let separator = if column == 1 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{separator}${}", row * columns + column);
        }
        text.push_str(constant);
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_powers_of_two_and_together_everything() {
        let lengths = |rows: usize| pieces(&vec![(); rows]).map(<[()]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(0), Vec::<usize>::new());
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(23), [16, 4, 2, 1]);
        assert_eq!(lengths(150), [64, 64, 16, 4, 2]);
    }

    #[test]
    fn placeholders_count_through_all_rows() {
        assert_eq!(placeholders(1, 1, ""), "($1)");
        assert_eq!(placeholders(2, 2, ", '[]'"), "($1, $2, '[]'), ($3, $4, '[]')");
    }
}

//! What a group of deliveries leads to, decided in their order: each sees what those before it did, written or not.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use super::{
    Accepted, BuildRequest, NewDelivery, QueuedBuild, StoreError, Tx,
    lookups::{self, Known, Waiting},
    rows::{BuildRow, DeliveryRow, Rows, Superseded},
    schedules,
};
use crate::domain::{
    build::Before,
    delivery::Outcome,
    ids::{RepositoryId, RuleId},
    rule::SourceType,
};

/// Deliveries in the middle of being recorded.
pub(super) struct Group<'a> {
    /// The next build's number in each repository; one that is gone has none.
    numbers: HashMap<&'a RepositoryId, i64>,
    by_id: HashMap<(&'a RepositoryId, &'a str), Known>,
    by_body: HashMap<(&'a RepositoryId, &'a [u8; 32]), Known>,
    /// The builds of each ref that are queued or running, in the order of their ids; read when a ref first comes up.
    refs: HashMap<Ref<'a>, Vec<Waiting>>,
    rows: Rows<'a>,
}

/// What a build can take the place of another within.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ref<'a> {
    pub repository: &'a RepositoryId,
    pub rule: &'a RuleId,
    pub source_type: SourceType,
    pub source_name: &'a str,
}

impl<'a> Group<'a> {
    /// Reads what the deliveries are held against. On PostgreSQL it also makes those of one repository wait for each other.
    pub async fn begin(tx: &mut Tx, deliveries: &'a [NewDelivery]) -> Result<Self, StoreError> {
        // In one order everywhere, so that two processes do not wait for each other.
        let repositories: BTreeSet<&RepositoryId> = deliveries.iter().map(|new| &new.repository_id).collect();
        let mut numbers = HashMap::new();
        for repository in repositories {
            if let Some(next) = lookups::lock_repository(tx, repository).await? {
                numbers.insert(repository, next);
            }
        }
        Ok(Self {
            numbers,
            by_id: lookups::known_by_id(tx, deliveries).await?,
            by_body: lookups::known_by_body(tx, deliveries).await?,
            refs: HashMap::new(),
            rows: Rows::default(),
        })
    }

    /// Decides what one delivery leads to; `None` if its repository is gone, or another took its time of a schedule.
    pub async fn take(&mut self, tx: &mut Tx, new: &'a NewDelivery) -> Result<Option<Accepted>, StoreError> {
        if !self.numbers.contains_key(&new.repository_id) {
            return Ok(None);
        }
        if let Some(taken) = &new.takes
            && !schedules::take(tx, taken).await?
        {
            return Ok(None);
        }
        if let Some(repeated) = self.repeated(new) {
            self.rows.deliveries.push(DeliveryRow::new(new, &repeated)?);
            return Ok(Some(repeated));
        }
        let mut accepted = Accepted {
            id: new.id.clone(),
            outcome: Outcome::Ignored,
            reason: String::new(),
            builds: vec![],
            queued: vec![],
            under_way: vec![],
            repeats: None,
        };
        // What is built comes first in the reason.
        let mut parts = Vec::with_capacity(new.requests.len() + new.decided.len());
        for request in &new.requests {
            parts.push(self.queue_one(tx, new, request, &mut accepted).await?);
        }
        parts.extend(new.decided.iter().cloned());
        accepted.outcome = Outcome::of_all(parts.iter().map(|(outcome, _)| *outcome));
        let mut reasons: Vec<&str> = Vec::new();
        for (_, reason) in &parts {
            if !reason.is_empty() && !reasons.contains(&reason.as_str()) {
                reasons.push(reason);
            }
        }
        accepted.reason = reasons.join("; ");
        self.rows.deliveries.push(DeliveryRow::new(new, &accepted)?);
        self.remember(new, &accepted);
        Ok(Some(accepted))
    }

    /// Writes what was decided.
    pub async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        self.rows.write(tx, &self.numbers).await
    }

    /// The earlier delivery that this one repeats, as the answer to this one.
    fn repeated(&self, new: &NewDelivery) -> Option<Accepted> {
        let repository = &new.repository_id;
        let by_id = new
            .delivery_id
            .as_deref()
            .and_then(|id| self.by_id.get(&(repository, id)));
        let by_body = || {
            new.body_hash
                .as_ref()
                .and_then(|hash| self.by_body.get(&(repository, hash)))
        };
        let (earlier, why) = match by_id {
            Some(earlier) => (earlier, "the same delivery came before"),
            None => (by_body()?, "the same body came before under another delivery id"),
        };
        Some(Accepted {
            id: new.id.clone(),
            outcome: Outcome::Duplicate,
            reason: format!("{why}, as {}", earlier.id),
            builds: earlier.builds.clone(),
            queued: vec![],
            under_way: vec![],
            repeats: Some(earlier.id.clone()),
        })
    }

    /// Lets later deliveries of the group be held against this one.
    fn remember(&mut self, new: &'a NewDelivery, accepted: &Accepted) {
        let known = Known {
            id: accepted.id.clone(),
            builds: accepted.builds.clone(),
        };
        if let Some(id) = &new.delivery_id {
            self.by_id.insert((&new.repository_id, id), known.clone());
        }
        if let Some(hash) = &new.body_hash {
            self.by_body.insert((&new.repository_id, hash), known);
        }
    }

    /// Queues one build, unless it is needless, and sets older ones of its rule and ref aside.
    async fn queue_one(
        &mut self,
        tx: &mut Tx,
        new: &'a NewDelivery,
        request: &'a BuildRequest,
        accepted: &mut Accepted,
    ) -> Result<(Outcome, String), StoreError> {
        let of = Ref {
            repository: &new.repository_id,
            rule: &request.rule_id,
            source_type: request.source_type,
            source_name: &request.source_name,
        };
        let waiting = match self.refs.entry(of) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => unread.insert(lookups::under_way(tx, of, new.received_at).await?),
        };
        if let Some(build) = needless(new, request, waiting) {
            accepted.builds.push(build.id.clone());
            accepted.under_way.push((request.rule_id.clone(), build.id.clone()));
            let state = if build.queued { "queued" } else { "running" };
            let name = &request.source_name;
            let what = match request.commit.as_deref() {
                Some(commit) => format!("{} of {name}", short(commit)),
                None => name.clone(),
            };
            let reason = match build.has_ended {
                true => format!(
                    "{what} was found by a look at the source before, and built as build #{}",
                    build.number
                ),
                false => format!("{what} is {state} already as build #{}", build.number),
            };
            return Ok((Outcome::Duplicate, reason));
        }
        let next = self.numbers.get_mut(&new.repository_id).ok_or_else(|| {
            StoreError::Corrupt("a repository that was there a moment ago has no next build number".to_owned())
        })?;
        let number = *next;
        *next += 1;
        let replaced = supersede_older(tx, new, request, number, waiting, &mut self.rows.builds).await?;
        let row = self.rows.builds.len();
        let before = before_all(request, &replaced);
        self.rows
            .builds
            .push(BuildRow::new(new, request, number, before.clone())?);
        let at = waiting.partition_point(|build| build.id < request.id);
        waiting.insert(
            at,
            Waiting {
                id: request.id.clone(),
                number,
                queued: true,
                commit: request.commit.clone(),
                push_order: order(request).to_owned(),
                cancel_requested: false,
                has_ended: false,
                before,
                row: Some(row),
            },
        );
        accepted.builds.push(request.id.clone());
        accepted.queued.push(QueuedBuild {
            id: request.id.clone(),
            rule_id: request.rule_id.clone(),
            number,
        });
        let mut reason = format!("build #{number} of {}", request.source_name);
        if !replaced.is_empty() {
            reason.push_str(&format!(", in place of {} older queued", replaced.len()));
        }
        Ok((Outcome::Queued, reason))
    }
}

/// The build that makes a request needless. One that may be skipped is no replacement for one that may not. One that has
/// ended is for a webhook that comes late; whoever takes a webhook once more asks for another.
fn needless<'w>(new: &NewDelivery, request: &BuildRequest, waiting: &'w [Waiting]) -> Option<&'w Waiting> {
    let is_webhook = new.delivery_id.is_some() && request.commit.is_some();
    let is_same = |build: &Waiting| request.commit.is_none() || build.commit == request.commit;
    let is_as_good = |build: &Waiting| request.before.is_some() || build.before.is_none();
    let counts = |build: &Waiting| match build.has_ended {
        true => is_webhook,
        false => is_as_good(build) && !build.cancel_requested,
    };
    let mut waiting = waiting.iter().filter(|_| request.unless_under_way);
    waiting.find(|build| is_same(build) && counts(build))
}

/// What a build is compared with that takes the place of others: what the first of them was, so that no change between is
/// missed. Where one of them builds whatever was changed, so does this one.
fn before_all(request: &BuildRequest, replaced: &[Waiting]) -> Option<Before> {
    let own = request.before.as_ref()?;
    if replaced.iter().any(|build| build.before.is_none()) {
        return None;
    }
    let first = replaced.iter().min_by(|a, b| a.push_order.cmp(&b.push_order));
    first.and_then(|first| first.before.as_ref()).or(Some(own)).cloned()
}

/// A build's place in the order of pushes.
fn order(request: &BuildRequest) -> &str {
    request.push_order.as_deref().unwrap_or(request.id.as_str())
}

/// Ends the queued builds of the same rule and ref that came before, saying which one took their place, and answers them.
async fn supersede_older(
    tx: &mut Tx,
    new: &NewDelivery,
    request: &BuildRequest,
    number: i64,
    waiting: &mut Vec<Waiting>,
    rows: &mut [BuildRow<'_>],
) -> Result<Vec<Waiting>, StoreError> {
    let older = |build: &Waiting| build.queued && build.push_order.as_str() < order(request);
    let line = format!("superseded by build #{number} before it started\n");
    let stored = match waiting.iter().any(|build| older(build) && build.row.is_none()) {
        true => lookups::supersede_stored(tx, new, request, order(request), &line).await?,
        false => vec![],
    };
    let replaced = waiting.extract_if(.., |build| {
        if !older(build) {
            return false;
        }
        match build.row {
            Some(row) => rows[row].superseded = Some(Superseded::new(&request.id, new.received_at, &line)),
            None if stored.contains(&build.id) => {}
            // A worker claimed it after it was read.
            None => {
                build.queued = false;
                return false;
            }
        }
        true
    });
    Ok(replaced.collect())
}

/// A commit's name as people say it.
fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

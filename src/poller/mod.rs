//! Looks at sources for pushes that no webhook told of: forges drop deliveries, and some sources have no webhook at all.
//!
//! A look is one question for branches and tags; nothing is fetched. When each is due is kept in the store, and of several
//! servers one looks. What a look finds is built through intake, which knows what was built and told already.

mod hosts;
mod look;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::hosts::Hosts;
use crate::{
    clock::Clock,
    domain::{polling::PollPace, source_url::SourcePolicy},
    intake::Intake,
    source::Sources,
    store::{DuePoll, Store, StoreError},
    vault::Vault,
};

/// How often to ask the store what is due; what people ask for waits no longer.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Sources that are read at once, and most of one host that are looked at before others are read again.
const AT_ONCE: u32 = 200;
const MOST_OF_HOST: usize = 20;

/// Hosts that are asked at the same time, each one question after the other.
const HOSTS_AT_ONCE: usize = 4;

/// Over how long the looks after a start are spread.
const SPREAD: TimeDelta = TimeDelta::minutes(3);

/// Sources that were looked at so lately are left alone at a start, so that one start after another is no burden.
const RECENT: TimeDelta = TimeDelta::seconds(10);

/// What looking at sources needs.
#[derive(Clone)]
pub struct PollerParts {
    pub store: Store,
    pub intake: Intake,
    pub sources: Sources,
    pub vault: Arc<Vault>,
    pub clock: Clock,
    pub settings: PollerSettings,
}

/// What an administrator sets.
#[derive(Debug, Clone, Copy)]
pub struct PollerSettings {
    pub pace: PollPace,
    pub source_policy: SourcePolicy,
}

/// Works until `shutdown`.
pub async fn run(parts: PollerParts, shutdown: CancellationToken) {
    if !parts.settings.pace.is_on() {
        return;
    }
    let poller = Poller::new(parts);
    let mut has_begun = false;
    while !shutdown.is_cancelled() {
        let done = match has_begun {
            true => poller.look_at_due(&shutdown).await,
            false => poller.begin().await,
        };
        match done {
            Ok(()) => has_begun = true,
            Err(error) => tracing::error!(%error, "failed to look for sources that are to be looked at"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Looks at what is due, whenever it is told to.
pub struct Poller {
    parts: PollerParts,
    hosts: Hosts,
}

impl Poller {
    pub fn new(parts: PollerParts) -> Self {
        Self {
            parts,
            hosts: Hosts::new(rand::random::<f64>),
        }
    }

    /// Has everything looked at soon: nobody listened until now.
    pub async fn begin(&self) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        self.parts.store.bring_polls_forward(now, SPREAD, now - RECENT).await
    }

    /// Looks at every source that is due and whose host is not left alone now.
    pub async fn look_at_due(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        while !shutdown.is_cancelled() {
            let due = self.parts.store.due_polls(self.parts.clock.now(), AT_ONCE).await?;
            let is_all = due.len() < AT_ONCE as usize;
            let mut by_host: BTreeMap<String, Vec<DuePoll>> = BTreeMap::new();
            let mut is_bounded = false;
            let has_failed = AtomicBool::new(false);
            for due in due {
                let of_host = by_host.entry(host_of(&due.source_url)).or_default();
                match of_host.len() < MOST_OF_HOST {
                    true => of_host.push(due),
                    false => is_bounded = true,
                }
            }
            stream::iter(by_host)
                .for_each_concurrent(HOSTS_AT_ONCE, async |(host, due)| {
                    for due in due {
                        if shutdown.is_cancelled() {
                            return;
                        }
                        if let Err(error) = self.one(&host, &due, shutdown).await {
                            tracing::error!(%error, repository = %due.repository, "failed to keep what became of a look");
                            has_failed.store(true, Ordering::Relaxed);
                            return;
                        }
                    }
                })
                .await;
            if (is_all && !is_bounded) || has_failed.into_inner() {
                break;
            }
        }
        Ok(())
    }

    async fn one(&self, host: &str, due: &DuePoll, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        match self.hosts.left_alone_until(host, now) {
            Some(until) => self.parts.store.postpone_poll(&due.repository, now, until).await,
            None => look::at(&self.parts, &self.hosts, host, due, shutdown).await,
        }
    }
}

/// A moment some seconds after another.
fn after(moment: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(wait)
        .ok()
        .and_then(|wait| moment.checked_add_signed(wait))
        .unwrap_or(moment + TimeDelta::days(1))
}

/// Where a source is; all that is on this machine is one place.
fn host_of(source_url: &str) -> String {
    let url = Url::parse(source_url).ok();
    let host = url
        .as_ref()
        .and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    host.map_or_else(String::new, |(host, port)| format!("{host}:{port}"))
}

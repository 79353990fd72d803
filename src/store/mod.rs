//! The database: SQLite by default, PostgreSQL for several machines, with the same SQL. `sqlx` appears here alone.
//!
//! No transaction and no pooled connection is ever held across I/O to anything but the database.

mod activity;
mod administration;
mod attempts;
mod audit;
mod base_graph;
mod build_history;
mod builds;
mod clean_ups;
mod contributions;
mod deliveries;
mod identities;
mod instance_settings;
mod intake;
mod invitations;
mod lease;
mod logs;
mod members;
mod organisations;
mod outbox;
mod path_filters;
mod polls;
mod profiles;
mod queue;
mod registries;
mod repositories;
mod repository_bases;
mod repository_changes;
mod repository_documents;
mod repository_lists;
mod schedules;
mod sessions;
mod set_up;
mod sight;
mod stars;
mod tags;
mod tokens;
mod users;
mod watched_images;
mod wave_planning;
mod waves;
mod waves_seen;
mod workers;

#[cfg(test)]
mod tests;

use std::{path::Path, time::Duration};

use sqlx::{
    PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction,
    pool::PoolConnection,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use self::{
    activity::{Activity, ActivityOf},
    administration::{Person, PersonChange},
    attempts::Requeue,
    audit::{Actor, AuditEntry, AuditEvent, AuditFilter},
    build_history::{PastBuild, RecentBuild, StatusOf},
    builds::{Build, BuildFilter, BuildNumber},
    clean_ups::RequestedCleanUp,
    deliveries::{Delivery, DeliveryBody, DeliveryFilter},
    identities::{Linked, SignedUp, StoredIdentity, Subject, Unlinked},
    instance_settings::OrganisationMakers,
    intake::{Accepted, BuildRequest, NewDelivery, QueuedBuild},
    invitations::{Invitation, InvitationAccepted, InvitationAdded, MOST_INVITATIONS, NewInvitation},
    lease::{Lease, LeaseLost},
    logs::LogPiece,
    members::{MOST_MEMBERSHIPS, Member, MemberChange},
    organisations::{Organisation, OrganisationAdded, OrganisationCounts, OrganisationDeleted},
    outbox::WaitingMail,
    path_filters::{BuiltCommit, Earlier},
    polls::{DuePoll, EndedPoll, Known, LastSeen, PollClaim, PollState},
    profiles::Profile,
    queue::{Leased, PoisonLimit},
    registries::{NewRegistry, RegistryRow},
    repositories::{DeclaredImages, HookTarget},
    repository_bases::{BuiltTarget, RepositoryBases},
    repository_changes::{NewRepository, RepositoryChange, SavedRepository, SourceSecret},
    repository_documents::RepositoryDocuments,
    repository_lists::{LastBuild, ListedRepository, RankCursor, RepositoryFilter},
    schedules::{DueRule, LiveRef, ScheduledRule, TakenTime},
    sessions::{Alive, NewSession, SessionOwner, StoredSession},
    set_up::SetUp,
    sight::Sight,
    tags::{PushedTag, RepositoryTag, TagClaim, TagCursor},
    tokens::StoredToken,
    users::{NewToken, User},
    watched_images::{ImageVersion, Sighting, WatchKey, WatchedImage},
    wave_planning::{BegunWave, Outdated},
    waves::{ItemCount, Wave, WaveItem, WaveMove},
    workers::Worker,
};

/// How long a statement waits for SQLite's write lock while another process (the command line) holds it.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections for reading; writing has one, since SQLite has one writer.
const SQLITE_READERS: u32 = 4;

/// How long to wait for a pooled connection before the caller is told that the database is not usable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

const POSTGRES_CONNECTIONS: u32 = 12;

/// Why a call on the database failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is full, or failed: try again later.
    #[error("the database is not usable: {0}")]
    Unavailable(#[from] sqlx::Error),
    /// A migration failed: the data was left as it was.
    #[error("the database could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A stored value is none that this program writes.
    #[error("the database holds a value that makes no sense: {0}")]
    Corrupt(String),
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pools: Pools,
}

#[derive(Clone)]
enum Pools {
    Sqlite { read: SqlitePool, write: SqlitePool },
    Postgres(PgPool),
}

/// A connection of either kind, for one statement.
enum Handle<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl Handle<'_> {
    /// The same connection for one statement of several.
    fn reborrow(&mut self) -> Handle<'_> {
        match self {
            Self::Sqlite(connection) => Handle::Sqlite(connection),
            Self::Postgres(connection) => Handle::Postgres(connection),
        }
    }
}

/// Runs one statement on whichever database is behind a [`Handle`].
macro_rules! on {
    ($handle:expr, $connection:ident => $statement:expr) => {
        match $handle {
            $crate::store::Handle::Sqlite($connection) => $statement,
            $crate::store::Handle::Postgres($connection) => $statement,
        }
    };
}
use on;

/// A pooled connection for reading.
enum Reader {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Reader {
    fn handle(&mut self) -> Handle<'_> {
        match self {
            Self::Sqlite(connection) => Handle::Sqlite(connection),
            Self::Postgres(connection) => Handle::Postgres(connection),
        }
    }
}

/// A transaction for writing; rolled back when dropped.
enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    fn handle(&mut self) -> Handle<'_> {
        match self {
            Self::Sqlite(transaction) => Handle::Sqlite(transaction),
            Self::Postgres(transaction) => Handle::Postgres(transaction),
        }
    }

    async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await?,
            Self::Postgres(transaction) => transaction.commit().await?,
        }
        Ok(())
    }
}

impl Store {
    /// Opens, or makes, the SQLite database at `path`, and brings its tables up to date.
    ///
    /// Every commit is synced to the disk before it returns (`synchronous=FULL`): with less, a power cut loses
    /// acknowledged pushes.
    pub async fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(SQLITE_BUSY_TIMEOUT)
            .foreign_keys(true)
            .optimize_on_close(true, None);
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone())
            .await?;
        sqlx::migrate!().run(&write).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .min_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await?;
        Ok(Self {
            pools: Pools::Sqlite { read, write },
        })
    }

    /// Connects to PostgreSQL (`postgres://...`) and brings its tables up to date.
    pub async fn open_postgres(url: &str) -> Result<Self, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect(url)
            .await?;
        sqlx::migrate!().run(&pool).await?;
        Ok(Self {
            pools: Pools::Postgres(pool),
        })
    }

    /// Whether a statement can be answered now.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut reader = self.reader().await?;
        on!(reader.handle(), c => sqlx::query("select 1").execute(c).await.map(drop))?;
        Ok(())
    }

    /// Waits until every connection is back and closes them.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    /// Writes a consistent copy of a SQLite database to a new file, while it is in use.
    ///
    /// `false` on PostgreSQL, which has its own tools for it.
    pub async fn copy_sqlite_to(&self, path: &str) -> Result<bool, StoreError> {
        match &self.pools {
            Pools::Sqlite { read, .. } => {
                sqlx::query("vacuum into $1").bind(path).execute(read).await?;
                Ok(true)
            }
            Pools::Postgres(_) => Ok(false),
        }
    }

    /// A fact about this installation.
    pub async fn installation_fact(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(on!(reader.handle(), c => {
            sqlx::query_scalar("select value from installation where name = $1").bind(name).fetch_optional(c).await
        })?)
    }

    /// Records a fact about this installation, unless it is recorded already.
    pub async fn record_installation_fact(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("insert into installation (name, value) values ($1, $2) on conflict do nothing")
                .bind(name)
                .bind(value)
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }

    async fn reader(&self) -> Result<Reader, StoreError> {
        Ok(match &self.pools {
            Pools::Sqlite { read, .. } => Reader::Sqlite(read.acquire().await?),
            Pools::Postgres(pool) => Reader::Postgres(pool.acquire().await?),
        })
    }

    /// Begins a transaction that may write from its first statement on: on SQLite a transaction that only later
    /// wants to write fails when another process wrote in between.
    async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match &self.pools {
            Pools::Sqlite { write, .. } => Tx::Sqlite(write.begin_with("begin immediate").await?),
            Pools::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }
}

/// Sorts after every id, which are hexadecimal: where a list begins that names no place to go on from.
const AFTER_EVERY_ID: &str = "g";

fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn from_json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}

fn known<T>(what: &str, text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, StoreError> {
    parse(text).ok_or_else(|| StoreError::Corrupt(format!("{what} `{text}`")))
}

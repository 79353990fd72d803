//! Writing repositories: each is replaced as a whole, as its document says.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, Tx, on, polls, repositories, schedules, to_json};
use crate::domain::{
    ids::{HookId, RepositoryId, RuleId},
    limits::Limits,
    repository::{Provider, Repository, RepositoryName, Visibility},
    rule::Rule,
};

/// Everything about a repository that a person writes.
pub struct RepositoryChange {
    pub name: RepositoryName,
    pub visibility: Visibility,
    pub description: String,
    pub image: Option<String>,
    pub provider: Provider,
    pub source_url: String,
    pub source_account: Option<String>,
    pub submodules: bool,
    /// A rule that says the same as a stored one keeps that one's id.
    pub rules: Vec<Rule>,
    pub links: Vec<String>,
    pub detect_base_images: bool,
    /// Images whose moves it does not follow, fully named.
    pub ignored_base_images: Vec<String>,
    pub limits: Limits,
    /// Names that stay or are set; all others are removed. The value is sealed; `None` keeps what is stored.
    pub build_secrets: Option<Vec<(String, Option<Vec<u8>>)>>,
    /// Sealed; `Keep` leaves what is stored.
    pub credentials: SourceSecret,
    /// Sealed; `None` keeps what is stored.
    pub webhook_secret: Option<Vec<u8>>,
    /// Only a repository that was last changed then is changed; `None`: whenever it was.
    pub last_changed: Option<DateTime<Utc>>,
}

/// What a change does to the stored credentials of a source.
pub enum SourceSecret {
    Keep,
    Remove,
    Set(Vec<u8>),
}

/// What a repository needs when it is new.
pub struct NewRepository {
    pub id: RepositoryId,
    pub hook_id: HookId,
    /// Sealed; used where the change brings none: a hook without a secret cannot exist.
    pub webhook_secret: Vec<u8>,
    pub now: DateTime<Utc>,
}

/// What saving did.
pub struct SavedRepository {
    pub repository: Repository,
    pub created: bool,
}

impl Store {
    /// Creates (`existing` is `None`) or replaces a repository.
    ///
    /// `None`: meanwhile somebody else created, deleted or changed one of that name; look again.
    pub async fn put_repository(
        &self,
        existing: Option<&RepositoryId>,
        new: &NewRepository,
        change: &RepositoryChange,
    ) -> Result<Option<SavedRepository>, StoreError> {
        let mut tx = self.begin().await?;
        let id = existing.unwrap_or(&new.id);
        let done = match existing {
            Some(id) => update(&mut tx, id, change, new.now).await?,
            None => insert(&mut tx, new, change).await?,
        };
        if !done {
            return Ok(None);
        }
        write_search_text(&mut tx, id, change).await?;
        write_rules(&mut tx, id, &change.rules, new.now).await?;
        write_links(&mut tx, id, &change.links).await?;
        write_ignored_bases(&mut tx, id, &change.ignored_base_images).await?;
        polls::make_due(&mut tx, id, new.now).await?;
        if let Some(secrets) = &change.build_secrets {
            write_build_secrets(&mut tx, id, secrets).await?;
        }
        let Some(saved) = repositories::by_id(tx.handle(), id).await? else {
            return Ok(None);
        };
        tx.commit().await?;
        Ok(Some(SavedRepository {
            repository: saved.repository,
            created: existing.is_none(),
        }))
    }

    /// Deletes a repository with its builds, logs and ledger; answers the ids of its builds.
    pub async fn delete_repository(&self, id: &RepositoryId) -> Result<Vec<String>, StoreError> {
        let mut tx = self.begin().await?;
        let builds: Vec<String> = on!(tx.handle(), c => {
            sqlx::query_scalar("select id from builds where repository_id = $1").bind(id.as_str()).fetch_all(c).await
        })?;
        on!(tx.handle(), c => {
            sqlx::query("delete from repositories where id = $1").bind(id.as_str()).execute(c).await.map(drop)
        })?;
        tx.commit().await?;
        Ok(builds)
    }
}

async fn insert(tx: &mut Tx, new: &NewRepository, change: &RepositoryChange) -> Result<bool, StoreError> {
    let credentials = match &change.credentials {
        SourceSecret::Set(sealed) => Some(sealed),
        SourceSecret::Keep | SourceSecret::Remove => None,
    };
    let inserted = on!(tx.handle(), c => {
        sqlx::query(
            "insert into repositories (id, namespace, name, visibility, description, image, provider, source_url, \
             source_account, submodules, source_credentials, hook_id, webhook_secret, detect_base_images, next_number, \
             created_at, updated_at, timeout_seconds, memory_bytes, cpu_thousandths) values \
             ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1, $15, $15, $16, $17, $18) \
             on conflict (namespace, name) do nothing",
        )
        .bind(new.id.as_str())
        .bind(change.name.namespace())
        .bind(change.name.name())
        .bind(change.visibility.as_str())
        .bind(&change.description)
        .bind(change.image.as_deref())
        .bind(change.provider.as_str())
        .bind(&change.source_url)
        .bind(change.source_account.as_deref())
        .bind(change.submodules)
        .bind(credentials)
        .bind(new.hook_id.as_str())
        .bind(change.webhook_secret.as_ref().unwrap_or(&new.webhook_secret))
        .bind(change.detect_base_images)
        .bind(new.now)
        .bind(bound(change.limits.timeout_seconds))
        .bind(bound(change.limits.memory_bytes))
        .bind(bound(change.limits.cpu_thousandths))
        .execute(c)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(inserted == 1)
}

async fn update(
    tx: &mut Tx,
    id: &RepositoryId,
    change: &RepositoryChange,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let (replaces_credentials, credentials) = match &change.credentials {
        SourceSecret::Keep => (false, None),
        SourceSecret::Remove => (true, None),
        SourceSecret::Set(sealed) => (true, Some(sealed)),
    };
    let updated = on!(tx.handle(), c => {
        sqlx::query(
            "update repositories set visibility = $2, description = $3, image = $4, provider = $5, source_url = $6, \
             source_account = $7, submodules = $8, \
             source_credentials = case when $9 then $10 else source_credentials end, \
             webhook_secret = coalesce($11, webhook_secret), detect_base_images = $12, updated_at = $13, \
             timeout_seconds = $15, memory_bytes = $16, cpu_thousandths = $17 \
             where id = $1 and updated_at = coalesce($14, updated_at)",
        )
        .bind(id.as_str())
        .bind(change.visibility.as_str())
        .bind(&change.description)
        .bind(change.image.as_deref())
        .bind(change.provider.as_str())
        .bind(&change.source_url)
        .bind(change.source_account.as_deref())
        .bind(change.submodules)
        .bind(replaces_credentials)
        .bind(credentials)
        .bind(change.webhook_secret.as_ref())
        .bind(change.detect_base_images)
        .bind(now)
        .bind(change.last_changed)
        .bind(bound(change.limits.timeout_seconds))
        .bind(bound(change.limits.memory_bytes))
        .bind(bound(change.limits.cpu_thousandths))
        .execute(c)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(updated == 1)
}

/// How much of name and description is looked into, in characters: what PostgreSQL keeps in an index is bounded.
const SEARCHED: usize = 500;

/// What filters look into: lower-cased here, as the databases differ in what they take for a letter.
async fn write_search_text(tx: &mut Tx, id: &RepositoryId, change: &RepositoryChange) -> Result<(), StoreError> {
    let text = format!("{} {}", change.name, change.description).to_lowercase();
    let text: String = text.chars().take(SEARCHED).collect();
    on!(tx.handle(), c => {
        sqlx::query("update repositories set search_text = $2 where id = $1").bind(id.as_str()).bind(&text).execute(c).await.map(drop)
    })?;
    Ok(())
}

/// A limit as the databases count; what is checked fits.
fn bound(limit: Option<u64>) -> Option<i64> {
    limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// Replaces the rules. A rule that says the same as a stored one keeps its id, so that builds and their order stay
/// with it.
async fn write_rules(
    tx: &mut Tx,
    repository: &RepositoryId,
    rules: &[Rule],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut stored = repositories::rules(tx.handle(), repository.as_str()).await?;
    let due = schedules::due_times(tx, repository).await?;
    on!(tx.handle(), c => {
        sqlx::query("delete from rules where repository_id = $1").bind(repository.as_str()).execute(c).await.map(drop)
    })?;
    for (position, rule) in rules.iter().enumerate() {
        let old = stored.iter().position(|old| old.is_same_as(rule));
        let old = old.map(|index| stored.remove(index));
        let next_at = schedules::next_at(rule, old.as_ref(), &due, now);
        let id = old.map_or_else(RuleId::new, |old| old.id);
        let schedule = rule.schedule.as_ref().map(to_json).transpose()?;
        let platforms = to_json(&rule.platforms)?;
        let build_args = to_json(&rule.build_args)?;
        let paths = to_json(&rule.paths)?;
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into rules (id, repository_id, position, source_type, source, docker_tag, dockerfile, context, \
                 autobuild, cache, target, platforms, build_args, paths, schedule, schedule_next_at) \
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            )
            .bind(id.as_str())
            .bind(repository.as_str())
            .bind(position as i64)
            .bind(rule.source_type.as_str())
            .bind(&rule.source)
            .bind(&rule.docker_tag)
            .bind(&rule.dockerfile)
            .bind(&rule.context)
            .bind(rule.autobuild)
            .bind(rule.cache)
            .bind(&rule.target)
            .bind(&platforms)
            .bind(&build_args)
            .bind(&paths)
            .bind(&schedule)
            .bind(next_at)
            .execute(c)
            .await
            .map(drop)
        })?;
    }
    Ok(())
}

async fn write_links(tx: &mut Tx, repository: &RepositoryId, links: &[String]) -> Result<(), StoreError> {
    on!(tx.handle(), c => {
        sqlx::query("delete from links where repository_id = $1").bind(repository.as_str()).execute(c).await.map(drop)
    })?;
    for link in links {
        on!(tx.handle(), c => {
            sqlx::query("insert into links (repository_id, image) values ($1, $2) on conflict do nothing")
                .bind(repository.as_str())
                .bind(link)
                .execute(c)
                .await
                .map(drop)
        })?;
    }
    Ok(())
}

async fn write_ignored_bases(tx: &mut Tx, repository: &RepositoryId, images: &[String]) -> Result<(), StoreError> {
    on!(tx.handle(), c => {
        sqlx::query("delete from ignored_bases where repository_id = $1")
            .bind(repository.as_str())
            .execute(c)
            .await
            .map(drop)
    })?;
    for image in images {
        on!(tx.handle(), c => {
            sqlx::query("insert into ignored_bases (repository_id, image) values ($1, $2) on conflict do nothing")
                .bind(repository.as_str())
                .bind(image)
                .execute(c)
                .await
                .map(drop)
        })?;
    }
    Ok(())
}

async fn write_build_secrets(
    tx: &mut Tx,
    repository: &RepositoryId,
    secrets: &[(String, Option<Vec<u8>>)],
) -> Result<(), StoreError> {
    let stored: Vec<String> = on!(tx.handle(), c => {
        sqlx::query_scalar("select name from build_secrets where repository_id = $1")
            .bind(repository.as_str())
            .fetch_all(c)
            .await
    })?;
    for name in stored
        .iter()
        .filter(|name| !secrets.iter().any(|(kept, _)| kept == *name))
    {
        on!(tx.handle(), c => {
            sqlx::query("delete from build_secrets where repository_id = $1 and name = $2")
                .bind(repository.as_str())
                .bind(name)
                .execute(c)
                .await
                .map(drop)
        })?;
    }
    for (name, value) in secrets
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| (name, value)))
    {
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into build_secrets (repository_id, name, value) values ($1, $2, $3) \
                 on conflict (repository_id, name) do update set value = $3",
            )
            .bind(repository.as_str())
            .bind(name)
            .bind(value)
            .execute(c)
            .await
            .map(drop)
        })?;
    }
    Ok(())
}

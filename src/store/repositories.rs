//! Reading repositories with their rules, links and secrets.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{AFTER_EVERY_ID, Handle, Sight, Store, StoreError, from_json, known, on};
use crate::domain::{
    ids::{HookId, RepositoryId},
    limits::Limits,
    repository::{Provider, Repository, RepositoryName, Source, Visibility},
    rule::{Rule, SourceType},
};

/// A repository as its webhook needs it.
pub struct HookTarget {
    pub repository: Repository,
    pub sealed_webhook_secret: Vec<u8>,
}

/// What a repository says of the images that it makes and stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredImages {
    pub id: RepositoryId,
    pub name: RepositoryName,
    /// Its image as configured, without a tag; `None`: by default.
    pub image: Option<String>,
    /// Images linked by hand that it follows.
    pub links: Vec<String>,
    pub rules: Vec<Rule>,
}

#[derive(sqlx::FromRow)]
struct OwnedRuleRow {
    repository_id: String,
    #[sqlx(flatten)]
    rule: RuleRow,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    namespace: String,
    name: String,
    visibility: String,
    description: String,
    image: Option<String>,
    provider: String,
    source_url: String,
    source_account: Option<String>,
    submodules: bool,
    source_credentials: Option<Vec<u8>>,
    hook_id: String,
    webhook_secret: Vec<u8>,
    detect_base_images: bool,
    timeout_seconds: Option<i64>,
    memory_bytes: Option<i64>,
    cpu_thousandths: Option<i64>,
    stars: i64,
    pulls: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct RuleRow {
    id: String,
    source_type: String,
    source: String,
    docker_tag: String,
    dockerfile: String,
    context: String,
    autobuild: bool,
    cache: bool,
    target: String,
    platforms: String,
    build_args: String,
    paths: String,
    schedule: Option<String>,
}

impl TryFrom<RuleRow> for Rule {
    type Error = StoreError;

    fn try_from(row: RuleRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            source_type: known("source type", &row.source_type, SourceType::parse)?,
            source: row.source,
            docker_tag: row.docker_tag,
            dockerfile: row.dockerfile,
            context: row.context,
            autobuild: row.autobuild,
            cache: row.cache,
            target: row.target,
            platforms: from_json("platforms", &row.platforms)?,
            build_args: from_json("build arguments", &row.build_args)?,
            paths: from_json("paths", &row.paths)?,
            schedule: row.schedule.map(|text| from_json("schedule", &text)).transpose()?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        sqlx::query_as::<_, Row>(concat!(
            "select id, namespace, name, visibility, description, image, provider, source_url, source_account, \
             submodules, source_credentials, hook_id, webhook_secret, detect_base_images, timeout_seconds, memory_bytes, \
             cpu_thousandths, stars, pulls, created_at, updated_at \
             from repositories ",
            $rest
        ))
    };
}

macro_rules! select_rules {
    ($rest:literal) => {
        concat!(
            "select repository_id, id, source_type, source, docker_tag, dockerfile, context, autobuild, cache, target, \
             platforms, build_args, paths, schedule from rules ",
            $rest
        )
    };
}

impl Store {
    pub async fn repository_named(&self, name: &RepositoryName) -> Result<Option<Repository>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            select!("where namespace = $1 and name = $2").bind(name.namespace()).bind(name.name()).fetch_optional(c).await
        })?;
        match row {
            Some(row) => Ok(Some(complete(reader.handle(), row).await?.repository)),
            None => Ok(None),
        }
    }

    pub async fn repository(&self, id: &RepositoryId) -> Result<Option<HookTarget>, StoreError> {
        let mut reader = self.reader().await?;
        by_id(reader.handle(), id).await
    }

    /// The ids of all repositories.
    pub async fn repository_ids(&self) -> Result<Vec<RepositoryId>, StoreError> {
        let mut reader = self.reader().await?;
        let ids: Vec<String> =
            on!(reader.handle(), c => sqlx::query_scalar("select id from repositories").fetch_all(c).await)?;
        Ok(ids.into_iter().map(RepositoryId::from).collect())
    }

    /// The repository whose webhook this is.
    pub async fn repository_of_hook(&self, hook: &HookId) -> Result<Option<HookTarget>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => select!("where hook_id = $1").bind(hook.as_str()).fetch_optional(c).await)?;
        match row {
            Some(row) => Ok(Some(complete(reader.handle(), row).await?)),
            None => Ok(None),
        }
    }

    /// Repositories that a caller may see, newest first. `before`: only those older than this one.
    pub async fn repositories(
        &self,
        sight: &Sight,
        before: Option<&RepositoryId>,
        limit: u32,
    ) -> Result<Vec<Repository>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            select!(
                "where ($1 or visibility = 'public' \
                 or namespace in (select namespace from readable_namespaces where user_id = $2)) \
                 and id < $3 order by id desc limit $4"
            )
            .bind(sight.is_everything())
            .bind(sight.user())
            .bind(before.map_or(AFTER_EVERY_ID, RepositoryId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let mut repositories = Vec::with_capacity(rows.len());
        for row in rows {
            repositories.push(complete(reader.handle(), row).await?.repository);
        }
        Ok(repositories)
    }

    /// What the repositories that a list may show say of the images that they make and stand on.
    pub async fn declared_images(&self, sight: &Sight) -> Result<Vec<DeclaredImages>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, String, Option<String>)> = on!(reader.handle(), c => {
            sqlx::query_as(
                "select id, namespace, name, image from repositories where $1 or visibility = 'public' \
                 or namespace in (select namespace from readable_namespaces where user_id = $2) order by id",
            )
            .bind(sight.is_everything())
            .bind(sight.user())
            .fetch_all(c)
            .await
        })?;
        let links: Vec<(String, String)> = on!(reader.handle(), c => {
            sqlx::query_as(
                "select l.repository_id, l.image from links l where not exists (select 1 from ignored_bases i \
                 where i.repository_id = l.repository_id and i.image = l.image) order by l.repository_id, l.image",
            )
            .fetch_all(c)
            .await
        })?;
        let rules: Vec<OwnedRuleRow> = on!(reader.handle(), c => {
            sqlx::query_as(select_rules!("order by repository_id, position")).fetch_all(c).await
        })?;
        let mut links_of: HashMap<String, Vec<String>> = HashMap::new();
        for (id, image) in links {
            links_of.entry(id).or_default().push(image);
        }
        let mut rules_of: HashMap<String, Vec<Rule>> = HashMap::new();
        for row in rules {
            rules_of
                .entry(row.repository_id)
                .or_default()
                .push(row.rule.try_into()?);
        }
        rows.into_iter()
            .map(|(id, namespace, name, image)| {
                Ok(DeclaredImages {
                    name: repository_name(&namespace, &name)?,
                    image,
                    links: links_of.remove(&id).unwrap_or_default(),
                    rules: rules_of.remove(&id).unwrap_or_default(),
                    id: id.into(),
                })
            })
            .collect()
    }

    /// The sealed credentials of a repository's source.
    pub async fn source_credentials(&self, id: &RepositoryId) -> Result<Option<Vec<u8>>, StoreError> {
        let mut reader = self.reader().await?;
        let sealed: Option<Option<Vec<u8>>> = on!(reader.handle(), c => {
            sqlx::query_scalar("select source_credentials from repositories where id = $1")
                .bind(id.as_str())
                .fetch_optional(c)
                .await
        })?;
        Ok(sealed.flatten())
    }

    /// The sealed build secrets of a repository, by name.
    pub async fn build_secrets(&self, id: &RepositoryId) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(on!(reader.handle(), c => {
            sqlx::query_as("select name, value from build_secrets where repository_id = $1 order by name")
                .bind(id.as_str())
                .fetch_all(c)
                .await
        })?)
    }
}

/// A column that counts something.
pub(super) fn counter(count: i64) -> Result<u64, StoreError> {
    u64::try_from(count).map_err(|_| StoreError::Corrupt("a negative count".to_owned()))
}

pub(super) fn repository_name(namespace: &str, name: &str) -> Result<RepositoryName, StoreError> {
    RepositoryName::new(namespace, name).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// A repository's rules, in their order.
pub(super) async fn rules(handle: Handle<'_>, repository: &str) -> Result<Vec<Rule>, StoreError> {
    let rows = on!(handle, c => {
        sqlx::query_as::<_, RuleRow>(select_rules!("where repository_id = $1 order by position"))
        .bind(repository)
        .fetch_all(c)
        .await
    })?;
    rows.into_iter().map(Rule::try_from).collect()
}

/// The repository with this id, if there is one.
pub(super) async fn by_id(mut handle: Handle<'_>, id: &RepositoryId) -> Result<Option<HookTarget>, StoreError> {
    let row = on!(handle.reborrow(), c => select!("where id = $1").bind(id.as_str()).fetch_optional(c).await)?;
    match row {
        Some(row) => Ok(Some(complete(handle, row).await?)),
        None => Ok(None),
    }
}

/// Adds to a row what is kept in other tables.
async fn complete(mut handle: Handle<'_>, row: Row) -> Result<HookTarget, StoreError> {
    let rules = rules(handle.reborrow(), &row.id).await?;
    let links: Vec<String> = on!(handle.reborrow(), c => {
        sqlx::query_scalar("select image from links where repository_id = $1 order by image").bind(&row.id).fetch_all(c).await
    })?;
    let ignored_base_images: Vec<String> = on!(handle.reborrow(), c => {
        sqlx::query_scalar("select image from ignored_bases where repository_id = $1 order by image")
            .bind(&row.id)
            .fetch_all(c)
            .await
    })?;
    let build_secrets: Vec<String> = on!(handle, c => {
        sqlx::query_scalar("select name from build_secrets where repository_id = $1 order by name")
            .bind(&row.id)
            .fetch_all(c)
            .await
    })?;
    let repository = Repository {
        name: repository_name(&row.namespace, &row.name)?,
        visibility: known("visibility", &row.visibility, Visibility::parse)?,
        source: Source {
            provider: known("provider", &row.provider, Provider::parse)?,
            url: row.source_url,
            account: row.source_account,
            submodules: row.submodules,
            credentials_set: row.source_credentials.is_some(),
        },
        rules,
        id: row.id.into(),
        description: row.description,
        image: row.image,
        hook_id: row.hook_id.into(),
        links,
        detect_base_images: row.detect_base_images,
        ignored_base_images,
        limits: Limits {
            timeout_seconds: row.timeout_seconds.map(i64::unsigned_abs),
            memory_bytes: row.memory_bytes.map(i64::unsigned_abs),
            cpu_thousandths: row.cpu_thousandths.map(i64::unsigned_abs),
        },
        build_secrets,
        stars: counter(row.stars)?,
        pulls: counter(row.pulls)?,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok(HookTarget {
        repository,
        sealed_webhook_secret: row.webhook_secret,
    })
}

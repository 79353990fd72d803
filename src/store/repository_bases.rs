//! What one repository stands on, without the whole graph, and whose eyes may see which part of the graph.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{
    Handle, Sight, Store, StoreError, WatchKey, WatchedImage, base_graph, from_json,
    intake::{pieces, placeholders},
    known, on, watched_images,
};
use crate::domain::{
    build::{BaseImage, Plan},
    ids::{BuildId, RepositoryId, RuleId},
    rule::SourceType,
};

/// What a repository stands on: per ref of a rule, and as it is watched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepositoryBases {
    /// By their builds, the oldest first.
    pub targets: Vec<BuiltTarget>,
    /// What its builds stand on and what is linked to it, each as far as it is watched for it.
    pub watched: Vec<WatchedImage>,
}

/// A ref of a rule, as the build made it that holds its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltTarget {
    pub build: BuildId,
    pub rule: RuleId,
    pub source_type: SourceType,
    pub source_name: String,
    /// The images that it holds, fully named with their tags.
    pub makes: Vec<String>,
    pub started_at: DateTime<Utc>,
    /// The images that its build stood on.
    pub detected: Vec<BaseImage>,
}

#[derive(sqlx::FromRow)]
struct TagRow {
    image: String,
    tag: String,
    build_id: String,
    rule_id: String,
    source_type: String,
    source_name: String,
    started_at: DateTime<Utc>,
}

impl Store {
    /// What a repository stands on.
    pub async fn repository_bases(&self, id: &RepositoryId) -> Result<RepositoryBases, StoreError> {
        let mut reader = self.reader().await?;
        let mut targets = targets(reader.handle(), id).await?;
        let mut detected = detected(reader.handle(), &targets).await?;
        for target in &mut targets {
            target.detected = detected.remove(target.build.as_str()).unwrap_or_default();
        }
        let linked: Vec<String> = on!(reader.handle(), c => {
            sqlx::query_scalar("select image from links where repository_id = $1").bind(id.as_str()).fetch_all(c).await
        })?;
        let namespace: Option<String> = on!(reader.handle(), c => {
            sqlx::query_scalar("select namespace from repositories where id = $1")
                .bind(id.as_str())
                .fetch_optional(c)
                .await
        })?;
        let namespace = namespace.unwrap_or_default();
        let own = base_graph::own_accesses(reader.handle()).await?;
        let bases = targets.iter().flat_map(|target| &target.detected);
        let mut images: Vec<String> = bases.map(|base| base.name.clone()).chain(linked).collect();
        images.sort();
        images.dedup();
        let mut watched = Vec::new();
        for image in images {
            let access = base_graph::access(&image, &namespace, &own);
            watched.extend(watched_images::one(reader.handle(), &WatchKey { image, access }).await?);
        }
        Ok(RepositoryBases { targets, watched })
    }

    /// The repositories that a list may show.
    pub async fn readable_repositories(&self, sight: &Sight) -> Result<Vec<RepositoryId>, StoreError> {
        let mut reader = self.reader().await?;
        let ids: Vec<String> = on!(reader.handle(), c => {
            sqlx::query_scalar(
                "select id from repositories where $1 or visibility = 'public' \
                 or namespace in (select namespace from readable_namespaces where user_id = $2)",
            )
            .bind(sight.is_everything())
            .bind(sight.user())
            .fetch_all(c)
            .await
        })?;
        Ok(ids.into_iter().map(RepositoryId::from).collect())
    }

    /// The platform that a build was for, as its rule named it; `None`: the engine's own.
    pub async fn platform_of_build(&self, build: &BuildId) -> Result<Option<String>, StoreError> {
        let mut reader = self.reader().await?;
        platform_of(reader.handle(), build).await
    }
}

async fn targets(handle: Handle<'_>, id: &RepositoryId) -> Result<Vec<BuiltTarget>, StoreError> {
    let rows: Vec<TagRow> = on!(handle, c => {
        sqlx::query_as(
            "select t.image, t.tag, b.id as build_id, b.rule_id, b.source_type, b.source_name, \
             coalesce(b.started_at, b.queued_at) as started_at from builds b \
             join published_tags t on t.newest_build = b.id join rules u on u.id = b.rule_id \
             where b.repository_id = $1 order by b.id, t.image, t.tag",
        )
        .bind(id.as_str())
        .fetch_all(c)
        .await
    })?;
    let mut targets: Vec<BuiltTarget> = Vec::new();
    for row in rows {
        let image = format!("{}:{}", row.image, row.tag);
        if let Some(last) = targets.last_mut().filter(|last| last.build.as_str() == row.build_id) {
            last.makes.push(image);
            continue;
        }
        targets.push(BuiltTarget {
            build: row.build_id.into(),
            rule: row.rule_id.into(),
            source_type: known("source type", &row.source_type, SourceType::parse)?,
            source_name: row.source_name,
            makes: vec![image],
            started_at: row.started_at,
            detected: vec![],
        });
    }
    Ok(targets)
}

async fn detected(
    mut handle: Handle<'_>,
    targets: &[BuiltTarget],
) -> Result<HashMap<String, Vec<BaseImage>>, StoreError> {
    let mut found: HashMap<String, Vec<BaseImage>> = HashMap::new();
    for piece in pieces(targets) {
        let sql = format!(
            "select build_id, image, digest, pinned from build_bases where build_id in ({}) order by build_id, image",
            placeholders(piece.len(), 1, "")
        );
        let rows: Vec<(String, String, Option<String>, bool)> = on!(handle.reborrow(), c => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql));
            for target in piece {
                query = query.bind(target.build.as_str());
            }
            query.fetch_all(c).await
        })?;
        for (build, name, digest, pinned) in rows {
            found.entry(build).or_default().push(BaseImage { name, digest, pinned });
        }
    }
    Ok(found)
}

pub(super) async fn platform_of(handle: Handle<'_>, build: &BuildId) -> Result<Option<String>, StoreError> {
    let plan: Option<String> = on!(handle, c => {
        sqlx::query_scalar("select plan from builds where id = $1").bind(build.as_str()).fetch_optional(c).await
    })?;
    let plan: Option<Plan> = plan.map(|json| from_json("plan", &json)).transpose()?;
    Ok(plan.and_then(|plan| plan.platforms.into_iter().next()))
}

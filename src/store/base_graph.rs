//! Who stands on whom: the builds that hold tags, and the images that they were built on.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{
    Handle, Store, StoreError, Tx,
    intake::{pieces, placeholders},
    known, on,
};
use crate::domain::{
    base_graph::{Base, Graph, Target},
    build::BaseImage,
    ids::BuildId,
    image::ImageReference,
    repository::RepositoryName,
    rule::SourceType,
};

#[derive(sqlx::FromRow)]
struct TagRow {
    image: String,
    tag: String,
    build_id: String,
    repository_id: String,
    namespace: String,
    name: String,
    rule_id: String,
    source_type: String,
    source_name: String,
    detect_base_images: bool,
    started_at: DateTime<Utc>,
}

impl TagRow {
    fn full_name(&self) -> String {
        format!("{}:{}", self.image, self.tag)
    }

    fn order(&self) -> (&str, &str, &str) {
        (&self.build_id, &self.image, &self.tag)
    }
}

impl Store {
    /// Everything that holds a tag by a rule that there still is, with what it stands on.
    pub async fn base_graph(&self) -> Result<Graph, StoreError> {
        let mut reader = self.reader().await?;
        graph(reader.handle()).await
    }
}

/// Records what a build stood on, if it holds a tag.
pub(super) async fn record(tx: &mut Tx, build: &BuildId, bases: &[BaseImage]) -> Result<(), StoreError> {
    for base in bases {
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into build_bases (build_id, image, digest, pinned) \
                 select $1, $2, $3, $4 where exists (select 1 from published_tags where newest_build = $1) \
                 on conflict (build_id, image) do update set digest = excluded.digest, pinned = excluded.pinned",
            )
            .bind(build.as_str())
            .bind(&base.name)
            .bind(base.digest.as_deref())
            .bind(base.pinned)
            .execute(c)
            .await
            .map(drop)
        })?;
    }
    Ok(())
}

/// Forgets what a build stood on that has lost its last tag.
pub(super) async fn forget_if_untagged(tx: &mut Tx, build: &str) -> Result<(), StoreError> {
    on!(tx.handle(), c => {
        sqlx::query(
            "delete from build_bases where build_id = $1 \
             and not exists (select 1 from published_tags where newest_build = $1)",
        )
        .bind(build)
        .execute(c)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// The namespaces that have credentials of their own for a registry.
pub(super) async fn own_accesses(mut handle: Handle<'_>) -> Result<HashSet<(String, String)>, StoreError> {
    let rows: Vec<(String, String)> = on!(handle.reborrow(), c => {
        sqlx::query_as("select namespace, host from registries where namespace <> ''").fetch_all(c).await
    })?;
    Ok(rows.into_iter().collect())
}

/// Everything that holds a tag by a rule that there still is, with what it stands on.
pub(super) async fn graph(mut handle: Handle<'_>) -> Result<Graph, StoreError> {
    let mut rows = Rows::default();
    rows.read(handle.reborrow(), None).await?;
    rows.assemble(&own_accesses(handle).await?)
}

/// The part of it that a move of these images can reach, which is all that their consequences depend on.
pub(super) async fn graph_above(mut handle: Handle<'_>, images: &[&str]) -> Result<Graph, StoreError> {
    let mut rows = Rows::default();
    let mut next: Vec<String> = images.iter().map(|&image| image.to_owned()).collect();
    let mut images: HashSet<String> = next.iter().cloned().collect();
    let mut builds: HashSet<String> = HashSet::new();
    while !next.is_empty() {
        let mut found = Vec::new();
        for piece in pieces(&next) {
            found.extend(builds_on(handle.reborrow(), piece).await?);
        }
        found.retain(|build| builds.insert(build.clone()));
        let read_before = rows.tags.len();
        for piece in pieces(&found) {
            rows.read(handle.reborrow(), Some(piece)).await?;
        }
        let made = rows.tags[read_before..].iter().map(TagRow::full_name);
        next = made.filter(|image| images.insert(image.clone())).collect();
    }
    rows.tags.sort_by(|one, other| one.order().cmp(&other.order()));
    rows.assemble(&own_accesses(handle).await?)
}

/// The builds that hold tags and were built on one of these images, or whose repository is linked to one.
async fn builds_on(handle: Handle<'_>, images: &[String]) -> Result<Vec<String>, StoreError> {
    let wanted = placeholders(images.len(), 1, "");
    let sql = format!(
        "select build_id from build_bases where not pinned and image in ({wanted}) \
         union select t.newest_build from links l join published_tags t on t.repository_id = l.repository_id \
         where t.newest_build is not null and l.image in ({wanted})"
    );
    Ok(on!(handle, c => {
        let mut query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
        for image in images {
            query = query.bind(image);
        }
        query.fetch_all(c).await
    })?)
}

/// What a graph is made of.
#[derive(Default)]
struct Rows {
    /// In the order of their builds.
    tags: Vec<TagRow>,
    /// Build, image, digest.
    detected: Vec<(String, String, Option<String>)>,
    /// Repository, image.
    linked: Vec<(String, String)>,
    ignored: Vec<(String, String)>,
}

impl Rows {
    /// Reads those of these builds; `None`: all.
    async fn read(&mut self, mut handle: Handle<'_>, builds: Option<&[String]>) -> Result<(), StoreError> {
        let wanted = builds.map(|builds| placeholders(builds.len(), 1, ""));
        let only = |condition: &str, end: &str| match &wanted {
            None => String::new(),
            Some(wanted) => format!(" where {condition} in ({wanted}){end}"),
        };
        let of_repositories = only("repository_id in (select repository_id from builds where id", ")");
        let tags = format!(
            "select t.image, t.tag, b.id as build_id, b.repository_id, r.namespace, r.name, b.rule_id, b.source_type, \
             b.source_name, r.detect_base_images, coalesce(b.started_at, b.queued_at) as started_at \
             from published_tags t join builds b on b.id = t.newest_build \
             join repositories r on r.id = b.repository_id join rules u on u.id = b.rule_id{} \
             order by b.id, t.image, t.tag",
            only("t.newest_build", "")
        );
        let detected = format!(
            "select build_id, image, digest from (select * from build_bases{}) b where not pinned order by build_id, image",
            only("build_id", "")
        );
        let linked = format!("select repository_id, image from links{of_repositories} order by repository_id, image");
        let ignored = format!("select repository_id, image from ignored_bases{of_repositories}");
        let builds = builds.unwrap_or_default();
        self.tags
            .extend(select::<TagRow>(handle.reborrow(), tags, builds).await?);
        self.detected.extend(select(handle.reborrow(), detected, builds).await?);
        self.linked.extend(select(handle.reborrow(), linked, builds).await?);
        self.ignored.extend(select(handle, ignored, builds).await?);
        Ok(())
    }

    fn assemble(self, own: &HashSet<(String, String)>) -> Result<Graph, StoreError> {
        let detected = self.detected.into_iter();
        assemble(
            self.tags,
            &by_first(detected.map(|(build, image, digest)| (build, (image, digest)))),
            &by_first(self.linked),
            &self.ignored.into_iter().collect(),
            own,
        )
    }
}

/// Runs a statement whose parameters are these texts.
async fn select<T>(handle: Handle<'_>, sql: String, texts: &[String]) -> Result<Vec<T>, StoreError>
where
    T: Send
        + Unpin
        + for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>
        + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
{
    Ok(on!(handle, c => {
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql));
        for text in texts {
            query = query.bind(text);
        }
        query.fetch_all(c).await
    })?)
}

fn by_first<T>(pairs: impl IntoIterator<Item = (String, T)>) -> HashMap<String, Vec<T>> {
    let mut map: HashMap<String, Vec<T>> = HashMap::new();
    for (first, second) in pairs {
        map.entry(first).or_default().push(second);
    }
    map
}

fn assemble(
    tags: Vec<TagRow>,
    detected: &HashMap<String, Vec<(String, Option<String>)>>,
    linked: &HashMap<String, Vec<String>>,
    ignored: &HashSet<(String, String)>,
    own: &HashSet<(String, String)>,
) -> Result<Graph, StoreError> {
    let mut targets: Vec<Target> = Vec::new();
    for row in tags {
        let image = row.full_name();
        if let Some(last) = targets.last_mut().filter(|last| last.build.as_str() == row.build_id) {
            last.makes.push(image);
            continue;
        }
        let used = detected.get(&row.build_id).map_or(&[][..], Vec::as_slice);
        let links = linked.get(&row.repository_id).map_or(&[][..], Vec::as_slice);
        let mut stands_on: Vec<Base> = Vec::new();
        let digest_of = |image: &str| {
            used.iter()
                .find(|(used, _)| used == image)
                .and_then(|(_, digest)| digest.clone())
        };
        let found = used
            .iter()
            .map(|(image, _)| (image, false))
            .filter(|_| row.detect_base_images);
        for (image, by_hand) in links.iter().map(|image| (image, true)).chain(found) {
            let is_known = stands_on.iter().any(|base| base.image == *image);
            // What is named by digest never moves.
            if is_known || image.contains('@') || ignored.contains(&(row.repository_id.clone(), image.clone())) {
                continue;
            }
            stands_on.push(Base {
                image: image.clone(),
                digest: digest_of(image),
                by_hand,
                access: access(image, &row.namespace, own),
            });
        }
        let name = RepositoryName::new(&row.namespace, &row.name)
            .map_err(|invalid| StoreError::Corrupt(invalid.to_string()))?;
        targets.push(Target {
            build: row.build_id.into(),
            repository: row.repository_id.into(),
            name,
            rule: row.rule_id.into(),
            source_type: known("source type", &row.source_type, SourceType::parse)?,
            source_name: row.source_name,
            makes: vec![image],
            started_at: row.started_at,
            stands_on,
        });
    }
    Ok(Graph::new(targets))
}

/// Whose credentials an image is looked at with for a namespace: its own where it has some for the registry.
pub(super) fn access(image: &str, namespace: &str, own: &HashSet<(String, String)>) -> String {
    let registry = ImageReference::parse(image)
        .map(|image| image.registry)
        .unwrap_or_default();
    match own.contains(&(namespace.to_owned(), registry)) {
        true => namespace.to_owned(),
        false => String::new(),
    }
}

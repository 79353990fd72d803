//! Lists of repositories as people look through them: the most starred first, with how their last builds went.
//!
//! One statement for a page, however many repositories there are: it walks along the index of the rank, and asks for last
//! builds and tags only of what is on the page.

use std::fmt::{self, Write};

use chrono::{DateTime, Utc};

use super::{
    Sight, Store, StoreError, known, on,
    repositories::{counter, repository_name},
};
use crate::domain::{
    build::Status,
    ids::{BuildId, RepositoryId, UserId},
    repository::{RepositoryName, Visibility},
};

/// Words of a filter that are looked for; more are ignored.
const MOST_WORDS: usize = 6;

/// Which repositories to list. What is left out selects all that may be seen.
#[derive(Debug, Clone)]
pub struct RepositoryFilter {
    pub sight: Sight,
    /// Only those of these namespaces.
    pub within: Option<Vec<String>>,
    pub starred_by: Option<UserId>,
    /// Only those in which this user did something.
    pub contributed_by: Option<UserId>,
    /// Not those of this namespace.
    pub outside: Option<String>,
    /// Only those of which name or description hold each of these words.
    pub text: String,
    pub after: Option<RankCursor>,
    pub limit: u32,
}

impl RepositoryFilter {
    pub fn new(sight: Sight, limit: u32) -> Self {
        Self {
            sight,
            within: None,
            starred_by: None,
            contributed_by: None,
            outside: None,
            text: String::new(),
            after: None,
            limit,
        }
    }
}

/// A repository as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRepository {
    pub id: RepositoryId,
    pub name: RepositoryName,
    pub visibility: Visibility,
    pub description: String,
    pub stars: u64,
    pub pulls: u64,
    pub updated_at: DateTime<Utc>,
    pub tags: u64,
    /// The last pushed.
    pub last_tag: Option<String>,
    pub last_build: Option<LastBuild>,
}

impl ListedRepository {
    /// Its place in the list.
    pub fn cursor(&self) -> RankCursor {
        RankCursor {
            stars: self.stars,
            pulls: self.pulls,
            name: self.name.clone(),
        }
    }
}

/// The newest build of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastBuild {
    pub id: BuildId,
    pub number: i64,
    pub status: Status,
    pub queued_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The place of a repository in the list, after which the next page begins: `stars.pulls.namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankCursor {
    stars: u64,
    pulls: u64,
    name: RepositoryName,
}

impl RankCursor {
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let mut number = || parts.next()?.parse::<u64>().ok().filter(|n| i64::try_from(*n).is_ok());
        Some(Self {
            stars: number()?,
            pulls: number()?,
            name: RepositoryName::parse(parts.next()?).ok()?,
        })
    }
}

impl fmt::Display for RankCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.stars, self.pulls, self.name)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    namespace: String,
    name: String,
    visibility: String,
    description: String,
    stars: i64,
    pulls: i64,
    updated_at: DateTime<Utc>,
    tags: i64,
    last_tag: Option<String>,
    build_id: Option<String>,
    number: Option<i64>,
    status: Option<String>,
    queued_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for ListedRepository {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let last_build = match (row.build_id, row.number, row.status, row.queued_at) {
            (Some(id), Some(number), Some(status), Some(queued_at)) => Some(LastBuild {
                id: id.into(),
                number,
                status: known("status", &status, Status::parse)?,
                queued_at,
                finished_at: row.finished_at,
            }),
            _ => None,
        };
        Ok(Self {
            id: row.id.into(),
            name: repository_name(&row.namespace, &row.name)?,
            visibility: known("visibility", &row.visibility, Visibility::parse)?,
            description: row.description,
            stars: counter(row.stars)?,
            pulls: counter(row.pulls)?,
            updated_at: row.updated_at,
            tags: counter(row.tags)?,
            last_tag: row.last_tag,
            last_build,
        })
    }
}

/// A parameter of the statement.
pub(super) enum Value {
    Text(String),
    Number(i64),
}

/// The conditions of a statement with their parameters.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a parameter; answers how the statement names it.
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn text(&mut self, text: &str) -> String {
        self.value(Value::Text(text.to_owned()))
    }

    fn one_of(&mut self, column: &str, texts: &[String]) -> String {
        let names: Vec<String> = texts.iter().map(|text| self.text(text)).collect();
        match names.is_empty() {
            // An empty list is an error on PostgreSQL.
            true => "1 = 0".to_owned(),
            false => format!("{column} in ({})", names.join(", ")),
        }
    }

    fn add(&mut self, sql: String) {
        self.sql.push(sql);
    }
}

/// The statement of a filter, with its parameters.
pub(super) fn statement(filter: &RepositoryFilter) -> (String, Vec<Value>) {
    let mut conditions = Conditions::default();
    match &filter.sight {
        Sight::Everything => {}
        Sight::Public => conditions.add("visibility = 'public'".to_owned()),
        Sight::Of(user) => {
            let user = conditions.text(user.as_str());
            conditions.add(format!(
                "(visibility = 'public' or namespace in (select namespace from readable_namespaces where user_id = {user}))"
            ));
        }
    }
    if let Some(namespaces) = &filter.within {
        let within = conditions.one_of("namespace", namespaces);
        conditions.add(within);
    }
    if let Some(user) = &filter.starred_by {
        let user = conditions.text(user.as_str());
        conditions.add(format!(
            "id in (select repository_id from stars where user_id = {user})"
        ));
    }
    if let Some(user) = &filter.contributed_by {
        let user = conditions.text(user.as_str());
        conditions.add(format!(
            "id in (select repository_id from contributions where user_id = {user})"
        ));
    }
    if let Some(namespace) = &filter.outside {
        let namespace = conditions.text(namespace);
        conditions.add(format!("namespace <> {namespace}"));
    }
    for word in filter.text.to_lowercase().split_whitespace().take(MOST_WORDS) {
        let pattern = conditions.text(&format!("%{}%", escape_pattern(word)));
        conditions.add(format!("search_text like {pattern} escape '!'"));
    }
    if let Some(RankCursor { stars, pulls, name }) = &filter.after {
        let number = |count: &u64| Value::Number(i64::try_from(*count).unwrap_or(i64::MAX));
        let stars = conditions.value(number(stars));
        let pulls = conditions.value(number(pulls));
        let (namespace, name) = (conditions.text(name.namespace()), conditions.text(name.name()));
        // The first half bounds the walk along the index.
        conditions.add(format!(
            "stars <= {stars} and (stars < {stars} or pulls < {pulls} or \
             (pulls = {pulls} and (namespace, name) > ({namespace}, {name})))"
        ));
    }
    let limit = conditions.value(Value::Number(i64::from(filter.limit)));
    let mut condition = String::new();
    for (index, sql) in conditions.sql.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(condition, " {} {sql}", if index == 0 { "where" } else { "and" });
    }
    let sql = format!(
        "select r.id, r.namespace, r.name, r.visibility, r.description, r.stars, r.pulls, r.updated_at, \
         (select count(*) from published_tags where repository_id = r.id) as tags, \
         (select tag from published_tags where repository_id = r.id order by pushed_at desc, image desc, tag desc limit 1) \
         as last_tag, b.id as build_id, b.number, b.status, b.queued_at, b.finished_at \
         from (select id, namespace, name, visibility, description, stars, pulls, updated_at from repositories{condition} \
         order by stars desc, pulls desc, namespace, name limit {limit}) r \
         left join builds b on b.id = (select max(id) from builds where repository_id = r.id) \
         order by r.stars desc, r.pulls desc, r.namespace, r.name"
    );
    (sql, conditions.values)
}

/// A word in which nothing stands for anything else.
pub(super) fn escape_pattern(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for c in word.chars() {
        if matches!(c, '%' | '_' | '!') {
            escaped.push('!');
        }
        escaped.push(c);
    }
    escaped
}

impl Store {
    /// One page of repositories: the most starred first, then the most pulled, then by name.
    pub async fn listed_repositories(&self, filter: &RepositoryFilter) -> Result<Vec<ListedRepository>, StoreError> {
        let (sql, values) = statement(filter);
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            let mut query = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql));
            for value in values {
                query = match value {
                    Value::Text(text) => query.bind(text),
                    Value::Number(number) => query.bind(number),
                };
            }
            query.fetch_all(c).await
        })?;
        rows.into_iter().map(ListedRepository::try_from).collect()
    }
}

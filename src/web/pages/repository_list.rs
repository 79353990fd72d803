//! Lists of repositories: the rows, the filter above them and the way to the next page, shared by all pages that have one.

use chrono::{DateTime, Utc};

use super::words::{When, counted};
use crate::{
    domain::repository::{Visibility, check_name},
    store::{LastBuild, ListedRepository, RankCursor, RepositoryFilter},
    web::{
        Web,
        parameters::{FromParameters, Parameters},
        problem::{FieldError, Problem},
    },
};

/// Repositories of one page.
pub const PAGE: u32 = 50;

/// Longest text that is looked for, in bytes.
const LONGEST_TEXT: usize = 200;

/// What the address says of a list.
#[derive(Debug, Default)]
pub struct ListParameters {
    pub text: String,
    pub namespace: Option<String>,
    after: Option<RankCursor>,
}

impl FromParameters for ListParameters {
    const NAMES: &'static [&'static str] = &["q", "namespace", "after"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let text = parameters.take("q")?.unwrap_or_default();
        if text.len() > LONGEST_TEXT || text.contains('\0') {
            let message = format!("it is a text of at most {LONGEST_TEXT} bytes");
            return Err(FieldError::new("q", message));
        }
        let namespace = parameters.take("namespace")?.filter(|namespace| !namespace.is_empty());
        if let Some(Err(error)) = namespace.as_deref().map(check_name) {
            return Err(FieldError::new("namespace", error.to_string()));
        }
        let after = match parameters.take("after")? {
            None => None,
            Some(text) => Some(
                RankCursor::parse(&text)
                    .ok_or_else(|| FieldError::new("after", "it is where an earlier page ended"))?,
            ),
        };
        Ok(Self { text, namespace, after })
    }
}

/// The fields of `repository_list.html`; templates hold it as `list`.
pub struct RepositoryList {
    /// The page's own path.
    pub path: &'static str,
    pub text: String,
    pub namespace: Option<String>,
    pub rows: Vec<RepositoryRow>,
    /// The next page, where there is one.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
}

/// One repository.
pub struct RepositoryRow {
    pub namespace: String,
    pub name: String,
    pub path: String,
    pub description: String,
    pub is_private: bool,
    pub stars: u64,
    pub pulls: u64,
    /// `12 tags`; empty where there are none.
    pub tags: String,
    pub last_tag: Option<String>,
    pub last_build: Option<LastBuildRow>,
}

/// How the newest build of a repository is.
pub struct LastBuildRow {
    pub path: String,
    pub number: i64,
    pub status: &'static str,
    pub when: When,
}

impl RepositoryList {
    /// Reads one page. `filter` says which repositories the page is about; what the address says is added to it.
    pub async fn load(
        web: &Web,
        now: DateTime<Utc>,
        path: &'static str,
        filter: RepositoryFilter,
        parameters: ListParameters,
    ) -> Result<Self, Problem> {
        let ListParameters { text, namespace, after } = parameters;
        let is_later = after.is_some();
        let within = match &namespace {
            Some(namespace) => Some(vec![namespace.clone()]),
            None => filter.within,
        };
        let filter = RepositoryFilter {
            within,
            text: text.clone(),
            after,
            limit: PAGE + 1,
            ..filter
        };
        let mut found = web.store.listed_repositories(&filter).await?;
        let has_more = found.len() > PAGE as usize;
        found.truncate(PAGE as usize);
        let cursor = found.last().filter(|_| has_more).map(ListedRepository::cursor);
        let mut list = Self {
            path,
            text,
            namespace,
            rows: found.into_iter().map(|found| RepositoryRow::new(found, now)).collect(),
            next: None,
            is_later,
        };
        list.next = cursor.map(|cursor| list.address(Some(&cursor)));
        Ok(list)
    }

    /// Whether nothing narrows the list: then an empty one means that there is nothing at all.
    pub fn is_whole(&self) -> bool {
        self.text.is_empty() && self.namespace.is_none() && !self.is_later
    }

    /// The same list from its beginning.
    pub fn first(&self) -> String {
        self.address(None)
    }

    fn address(&self, after: Option<&RankCursor>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if !self.text.is_empty() {
            query.append_pair("q", &self.text);
        }
        if let Some(namespace) = &self.namespace {
            query.append_pair("namespace", namespace);
        }
        if let Some(after) = after {
            query.append_pair("after", &after.to_string());
        }
        match query.finish() {
            query if query.is_empty() => self.path.to_owned(),
            query => format!("{}?{query}", self.path),
        }
    }
}

impl RepositoryRow {
    fn new(listed: ListedRepository, now: DateTime<Utc>) -> Self {
        let tags = i64::try_from(listed.tags).unwrap_or(i64::MAX);
        Self {
            path: format!("/r/{}", listed.name),
            namespace: listed.name.namespace().to_owned(),
            name: listed.name.name().to_owned(),
            description: listed.description,
            is_private: listed.visibility == Visibility::Private,
            stars: listed.stars,
            pulls: listed.pulls,
            tags: if tags == 0 { String::new() } else { counted(tags, "tag") },
            last_tag: listed.last_tag,
            last_build: listed.last_build.map(|build| LastBuildRow::new(build, now)),
        }
    }
}

impl LastBuildRow {
    fn new(build: LastBuild, now: DateTime<Utc>) -> Self {
        Self {
            path: format!("/builds/{}", build.id),
            number: build.number,
            status: build.status.as_str(),
            when: When::new(build.finished_at.unwrap_or(build.queued_at), now),
        }
    }
}

//! Lists, a page at a time: newest first, or sorted by a text.

use serde::Serialize;

use crate::web::{
    parameters::{FromParameters, Parameters},
    problem::FieldError,
};

const DEFAULT_LIMIT: u32 = 50;
const LARGEST_LIMIT: u32 = 200;
const NO_CURSOR: &str = "it is the `next_cursor` of an earlier page";

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub limit: u32,
    /// The id after which the page begins.
    pub cursor: Option<String>,
}

impl Page {
    /// One more than the page holds: whether there is it tells whether there is a next page.
    pub fn fetch(&self) -> u32 {
        self.limit + 1
    }

    /// Cuts what was fetched to the page.
    pub fn cut<T, U>(&self, mut fetched: Vec<T>, id: impl Fn(&T) -> &str, show: impl FnMut(T) -> U) -> List<U> {
        let limit = self.limit as usize;
        let has_more = fetched.len() > limit;
        fetched.truncate(limit);
        let next_cursor = fetched.last().filter(|_| has_more).map(|last| id(last).to_owned());
        List {
            items: fetched.into_iter().map(show).collect(),
            next_cursor,
        }
    }
}

impl FromParameters for Page {
    const NAMES: &'static [&'static str] = &["limit", "cursor"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let limit = take_limit(parameters)?;
        let cursor = parameters.take_id("cursor", NO_CURSOR)?;
        Ok(Self { limit, cursor })
    }
}

/// Which part of a list is wanted that is sorted by a text, such as a name, and not kept in pages by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortedPage {
    limit: u32,
    /// The text after which the page begins.
    after: Option<String>,
}

impl SortedPage {
    /// Cuts a sorted list to the page. `key`: what it is sorted by, different for each.
    pub fn cut<T, U>(&self, rows: Vec<T>, key: impl Fn(&T) -> String, show: impl FnMut(T) -> U) -> List<U> {
        let mut rows = rows;
        rows.retain(|row| self.after.as_ref().is_none_or(|after| key(row) > *after));
        let limit = self.limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| has_more).map(|last| hex::encode(key(last)));
        List {
            items: rows.into_iter().map(show).collect(),
            next_cursor,
        }
    }
}

impl FromParameters for SortedPage {
    const NAMES: &'static [&'static str] = &["limit", "cursor"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let limit = take_limit(parameters)?;
        let text = |cursor: &String| hex::decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let after = match parameters.take("cursor")? {
            None => None,
            Some(cursor) => Some(text(&cursor).ok_or_else(|| FieldError::new("cursor", NO_CURSOR))?),
        };
        Ok(Self { limit, after })
    }
}

fn take_limit(parameters: &mut Parameters) -> Result<u32, FieldError> {
    match parameters.take("limit")? {
        None => Ok(DEFAULT_LIMIT),
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LARGEST_LIMIT).contains(limit))
            .ok_or_else(|| FieldError::new("limit", format!("it is a number from 1 to {LARGEST_LIMIT}"))),
    }
}

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct List<T> {
    pub items: Vec<T>,
    /// Give it as `cursor` to get the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// The parameters of every list, for the description of the API.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it only describes")]
pub struct PageParameters {
    /// How many, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

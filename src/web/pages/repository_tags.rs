//! All tags of a repository, the last pushed first.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use chrono::{DateTime, Utc};

use super::{
    page::{PageResult, render},
    repository::image_for_pull,
    repository_head::{RepositoryHead, Tab},
    viewer::Viewer,
    words::{When, short, size},
};
use crate::{
    domain::image::is_valid_tag,
    store::{RepositoryTag, TagCursor},
    web::{
        Web,
        auth::visible_repository,
        parameters::{FromParameters, Parameters, Query, Segments},
        problem::FieldError,
    },
};

/// Tags of one page.
const PAGE: usize = 50;

/// Longest name of an image in an address, in bytes.
const LONGEST_IMAGE: usize = 512;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/r/{namespace}/{name}/tags", get(tags))
}

#[derive(Template)]
#[template(path = "repository_tags.html")]
struct Tags {
    viewer: Viewer,
    head: RepositoryHead,
    tags: Vec<TagRow>,
    next: Option<String>,
    is_later: bool,
}

/// One tag.
pub struct TagRow {
    pub tag: String,
    pub digest: Option<String>,
    /// The first characters of the digest.
    pub short: String,
    /// Empty where it is not known.
    pub size: String,
    pub pushed: When,
    pub build_path: String,
    /// `None` where the build is gone.
    pub build_number: Option<i64>,
    pub pull: String,
}

impl TagRow {
    /// `configured`: the image's name as the repository has it now.
    pub fn new(tag: RepositoryTag, configured: &str, now: DateTime<Utc>) -> Self {
        Self {
            pull: format!("docker pull {}:{}", image_for_pull(configured, &tag.image), tag.tag),
            short: tag
                .digest
                .as_deref()
                .map(|digest| short(digest).to_owned())
                .unwrap_or_default(),
            tag: tag.tag,
            digest: tag.digest,
            size: tag.image_bytes.map(size).unwrap_or_default(),
            pushed: When::new(tag.pushed_at, now),
            build_path: format!("/builds/{}", tag.build),
            build_number: tag.build_number,
        }
    }
}

/// `after`: `IMAGE:TAG`, the last of the page before.
struct TagParameters {
    after: Option<TagCursor>,
}

impl FromParameters for TagParameters {
    const NAMES: &'static [&'static str] = &["after"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let Some(text) = parameters.take("after")? else {
            return Ok(Self { after: None });
        };
        let cursor = text
            .rsplit_once(':')
            .filter(|(image, tag)| image.len() <= LONGEST_IMAGE && !image.contains('\0') && is_valid_tag(tag));
        match cursor {
            Some((image, tag)) => Ok(Self {
                after: Some(TagCursor {
                    image: image.to_owned(),
                    tag: tag.to_owned(),
                }),
            }),
            None => Err(FieldError::new("after", "it is where an earlier page ended")),
        }
    }
}

async fn tags(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<(String, String)>,
    Query(TagParameters { after }): Query<TagParameters>,
) -> PageResult {
    let repository = visible_repository(&web, &viewer.caller, &name).await?;
    let head = RepositoryHead::new(&web, &viewer, &repository, Tab::Tags).await?;
    let mut found = web
        .store
        .repository_tags(&repository.id, after.as_ref(), PAGE as u32 + 1)
        .await?;
    let has_more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = found.last().filter(|_| has_more).map(|last| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("after", &format!("{}:{}", last.image, last.tag))
            .finish();
        format!("{}/tags?{query}", head.path)
    });
    let (image, now) = (web.image_of(&repository), viewer.now);
    render(&Tags {
        viewer,
        head,
        tags: found.into_iter().map(|tag| TagRow::new(tag, &image, now)).collect(),
        next,
        is_later: after.is_some(),
    })
}

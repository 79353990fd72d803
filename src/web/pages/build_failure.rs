//! What is said of a build that failed: what it was, what to do now, and the last words of the step.

use super::build_log::runs_of;
use crate::{
    domain::build::{ErrorKind, Failure},
    logs::{
        chunks::ReadError,
        lines::{LogLine, Outline},
    },
    store::Build,
    web::Web,
};

/// Lines that are looked through for the last ones of the step: others of parallel steps may stand between them.
const LOOKED_AT: u64 = 200;

/// Lines of the step that are shown.
const SHOWN: usize = 20;

/// The notice above everything else.
pub struct FailureView {
    pub title: &'static str,
    pub message: String,
    pub advice: &'static str,
    /// The step that failed.
    pub step: Option<String>,
    pub lines: Vec<LineView>,
    /// The line that most likely tells the cause.
    pub first_error: Option<u64>,
}

/// A line of a log, as templates show it.
pub struct LineView {
    /// Counted from 1.
    pub number: u64,
    /// Classes and text.
    pub runs: Vec<(String, String)>,
}

impl From<LogLine> for LineView {
    fn from(line: LogLine) -> Self {
        Self {
            number: line.number + 1,
            runs: runs_of(line.line),
        }
    }
}

impl FailureView {
    /// `None`: the build did not fail.
    pub async fn of(web: &Web, build: &Build, outline: &Outline) -> Result<Option<Self>, ReadError> {
        let Some(failure) = build.failure.as_ref().filter(|_| build.status.is_final()) else {
            return Ok(None);
        };
        let failed = outline.failed_step.as_ref();
        let lines = match failed.and_then(|section| Some((section.step?, section.failed_at?))) {
            Some((step, at)) => last_words(web, build, step, at).await?,
            None => Vec::new(),
        };
        let (title, advice) = words_for(failure);
        Ok(Some(Self {
            title,
            message: failure.message.clone(),
            advice,
            step: failed.map(|section| section.title.clone()),
            lines,
            first_error: outline.first_error.map(|line| line + 1),
        }))
    }
}

/// The last lines of a step up to the one by which it failed.
async fn last_words(web: &Web, build: &Build, step: u32, failed_at: u64) -> Result<Vec<LineView>, ReadError> {
    let from = (failed_at + 1).saturating_sub(LOOKED_AT);
    let window = web.logs.window(&build.id, from, failed_at + 1 - from).await?;
    let mut lines: Vec<LineView> = window
        .numbered()
        .filter(|line| line.line.step.is_none_or(|of| of == step))
        .map(LineView::from)
        .collect();
    lines.drain(..lines.len().saturating_sub(SHOWN));
    Ok(lines)
}

/// A heading, and what to do next.
fn words_for(failure: &Failure) -> (&'static str, &'static str) {
    match failure.kind {
        ErrorKind::Source => (
            "The source could not be fetched",
            "Check that the repository’s address is right, that the commit is still there and that its credentials still \
             work. Then retry.",
        ),
        ErrorKind::Dockerfile => (
            "The Dockerfile or its context is at fault",
            "Correct it and push: the push builds again. If the file is elsewhere, change its path in the build settings.",
        ),
        ErrorKind::Build => (
            "A step of the Dockerfile failed",
            "Its last lines are below. Correct the cause and push; retry with the same inputs if it may have been a \
             passing one.",
        ),
        ErrorKind::Test => (
            "The tests failed",
            "No image was pushed. Correct what they found and push again.",
        ),
        ErrorKind::Registry => (
            "The registry did not take the image",
            "Check that the credentials for the registry still work and may push to this image. Then retry.",
        ),
        ErrorKind::Engine => (
            "The Docker Engine failed",
            "Nothing in the repository is at fault. Once the engine runs again, retry.",
        ),
        ErrorKind::Timeout => (
            "The build took too long",
            "Make it faster, with fewer steps or more from the cache, or have the administrator raise the limit.",
        ),
        ErrorKind::Internal => (
            "Something failed in Hullworks itself",
            "Nothing in the repository is at fault. Retry; if it fails again, the server’s own log has the cause.",
        ),
    }
}

//! After the fetch: whether a push changed anything that the rule's path filter is about, and, where no webhook told what the
//! commit's message says, whether that asks for no build. In doubt it is built.
//!
//! What is compared with is what was built last, since a delivery may have been lost and a build may have failed; else what
//! the branch pointed to before; else where it left the default branch.

use std::sync::Arc;

use super::{attempt::Attempt, fault::Fault};
use crate::{
    domain::{
        build::{Before, Cause, Plan},
        event::asks_to_skip,
        path_filter::PathFilter,
        progress::Progress,
        source_url::SourceUrl,
    },
    source::{Changes, Checkout, Comparison, Since, SourceError},
    store::Earlier,
};

/// Longest part of a path that is shown, in characters.
const LONGEST_SHOWN: usize = 200;

/// Why nothing is to be built, if that is so. Says in the log, and records, what made it decide otherwise.
pub(super) async fn needless(attempt: &Attempt<'_>, checkout: &Checkout) -> Result<Option<String>, Fault> {
    let Attempt {
        parts,
        lease,
        build,
        progress,
        ..
    } = attempt;
    if build.cause == Cause::Poll
        && let Some(marker) = asks_to_skip(checkout.message())
    {
        return Ok(Some(format!("the commit message says {marker}")));
    }
    let Some(before) = build.before.as_ref().filter(|_| !build.plan.paths.is_empty()) else {
        return Ok(None);
    };
    match decide(attempt, checkout, before).await? {
        Decision::Skip(reason) => {
            progress.line(&format!("paths: {reason}"));
            Ok(Some(reason))
        }
        Decision::Build(reason) => {
            progress.line(&format!("paths: {reason}; it is built"));
            parts.store.set_status_reason(lease, &reason).await?;
            Ok(None)
        }
    }
}

/// Each with its reason.
enum Decision {
    Build(String),
    Skip(String),
}

async fn decide(attempt: &Attempt<'_>, checkout: &Checkout, before: &Before) -> Result<Decision, Fault> {
    let build = attempt.build;
    // Saved rules were checked.
    let filter = match PathFilter::new(&build.plan.paths) {
        Ok(filter) => Arc::new(filter),
        Err(invalid) => return Ok(Decision::Build(format!("the path filter cannot be used: {invalid}"))),
    };
    let (since, words) = match (attempt.parts.store.built_before(build).await?, before) {
        (Earlier::Open(number), _) => {
            let reason = format!("build #{number}, which came before, has not succeeded");
            return Ok(Decision::Build(reason));
        }
        (Earlier::Built(last), _) if !is_same_work(&last.plan, &build.plan) => {
            let reason = format!("the rule was changed since build #{}", last.number);
            return Ok(Decision::Build(reason));
        }
        (Earlier::Built(last), _) => (Since::Commit(last.commit), format!("since build #{}", last.number)),
        (Earlier::Nothing, Before::Commit(commit)) => {
            let words = format!("since {}", commit.get(..7).unwrap_or(commit));
            (Since::Commit(commit.clone()), words)
        }
        (Earlier::Nothing, Before::Nothing) => (Since::DefaultBranch, "since it left the default branch".to_owned()),
    };
    Ok(match compare(attempt, checkout, &since, &filter).await {
        Ok(Changes::Match(path)) => Decision::Build(format!("`{}` was changed {words}", shown(&path))),
        Ok(Changes::NoMatch(0)) => Decision::Skip(format!("no file was changed {words}")),
        Ok(Changes::NoMatch(1)) => {
            Decision::Skip(format!("the one file changed {words} does not match the path filter"))
        }
        Ok(Changes::NoMatch(changed)) => Decision::Skip(format!(
            "none of the {changed} files changed {words} matches the path filter"
        )),
        Err(SourceError::Canceled) => return Err(Fault::Stopped),
        Err(error) => Decision::Build(format!("what was changed {words} cannot be told: {error}")),
    })
}

async fn compare(
    attempt: &Attempt<'_>,
    checkout: &Checkout,
    since: &Since,
    filter: &Arc<PathFilter>,
) -> Result<Changes, SourceError> {
    let Attempt {
        parts,
        build,
        repository,
        credentials,
        progress,
        stop,
        ..
    } = attempt;
    let url = SourceUrl::parse(&repository.source.url, parts.settings.source_policy)
        .map_err(|refused| SourceError::Invalid(refused.to_string()))?;
    let shared: Arc<dyn Progress> = (*progress).clone();
    parts
        .sources
        .changes(
            repository.id.as_str(),
            &url,
            credentials.git(),
            Comparison {
                checkout,
                branch: &build.source_name,
                since,
                filter,
            },
            shared,
            stop.token(),
        )
        .await
}

/// Whether two plans make the same image of the same files, under the same names.
fn is_same_work(one: &Plan, other: &Plan) -> bool {
    one.dockerfile == other.dockerfile
        && one.context == other.context
        && one.image == other.image
        && one.tags == other.tags
        && one.build_args == other.build_args
        && one.target == other.target
        && one.platforms == other.platforms
}

/// A path for a line of text: whoever pushed it chose its every character.
fn shown(path: &str) -> String {
    let mut text = String::new();
    for character in path.chars().take(LONGEST_SHOWN) {
        match character.is_control() {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    if path.chars().count() > LONGEST_SHOWN {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_on_one_line_and_cut() {
        assert_eq!(shown("api/main.rs"), "api/main.rs");
        assert_eq!(shown("a\nb\u{1b}"), "a\\nb\\u{1b}");
        let long = shown(&"ä".repeat(300));
        assert_eq!(long.chars().count(), LONGEST_SHOWN + 1);
    }
}

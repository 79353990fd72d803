//! Which builds a list shows: the parameters that the API's lists and the pages' have in common.

use super::{
    parameters::{FromParameters, Parameters},
    problem::FieldError,
};
use crate::{
    domain::{
        build::{CauseKind, Status},
        ids::RuleId,
    },
    store::BuildFilter,
};

/// Longest name of a branch or tag that is looked for, in bytes.
const LONGEST_NAME: usize = 1024;

/// Everything left out selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildSelection {
    pub status: Option<Status>,
    pub source_name: Option<String>,
    pub rule: Option<RuleId>,
    pub cause: Option<CauseKind>,
}

impl FromParameters for BuildSelection {
    const NAMES: &'static [&'static str] = &["status", "source_name", "rule", "cause"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let status = parameters.take_word("status", "status", Status::parse, Status::ALL.map(Status::as_str))?;
        let cause = parameters.take_word(
            "cause",
            "cause",
            CauseKind::parse,
            CauseKind::ALL.map(CauseKind::as_str),
        )?;
        let source_name = parameters.take("source_name")?;
        let is_name = |name: &String| name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
        if source_name.as_ref().is_some_and(|name| !is_name(name)) {
            let message = format!("it is the name of a branch or tag, of at most {LONGEST_NAME} bytes");
            return Err(FieldError::new("source_name", message));
        }
        let rule = parameters.take_id("rule", "it is the id of a rule")?;
        Ok(Self {
            status,
            source_name,
            rule: rule.map(RuleId::from),
            cause,
        })
    }
}

impl BuildSelection {
    /// The filter for what was selected.
    pub fn filter(&self) -> BuildFilter {
        BuildFilter {
            status: self.status,
            source_name: self.source_name.clone(),
            rule: self.rule.clone(),
            cause: self.cause,
            ..BuildFilter::default()
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The parameters that select the same, as they are written.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("status", self.status.map(Status::as_str)),
            ("source_name", self.source_name.as_deref()),
            ("rule", self.rule.as_ref().map(RuleId::as_str)),
            ("cause", self.cause.map(CauseKind::as_str)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// The same, for the description of the API.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it only describes")]
pub struct BuildSelectionParameters {
    /// Only those in this state.
    status: Option<Status>,
    /// Only those of the branch or tag of this name.
    source_name: Option<String>,
    /// Only those of the rule of this id, which may be gone.
    rule: Option<RuleId>,
    /// Only those that were started by this kind of cause.
    #[param(inline)]
    cause: Option<CauseKind>,
}

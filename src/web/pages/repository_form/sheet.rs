//! The form as templates show it: fields with what is wrong with them, and under each rule what it would build, and when.

use chrono::{DateTime, Utc};

use super::fields::{RepositoryForm, RuleFields, ScheduleFields};
use crate::{
    domain::{
        ids::RuleId,
        location,
        path_filter::PathFilter,
        repository::{Provider, RepositoryName, default_image},
        rule::{Rule, SourceType, is_valid_ref_name},
    },
    intake::preview_rule,
    web::pages::form::FormErrors,
};

/// What the form needs to know beyond itself.
pub struct SheetContext {
    /// Where a new repository may be made; empty where it is not new.
    pub namespaces: Vec<String>,
    /// Whether any other namespace may be typed.
    pub any_namespace: bool,
    pub default_registry: Option<String>,
    pub credentials_set: bool,
    /// Names of the secrets that have a value.
    pub stored_secrets: Vec<String>,
    pub now: DateTime<Utc>,
}

/// The form, ready to be shown.
pub struct Sheet {
    pub form: RepositoryForm,
    pub errors: FormErrors,
    pub context: SheetContext,
}

/// One choice of a list.
pub struct Choice {
    pub value: &'static str,
    pub label: &'static str,
    pub is_chosen: bool,
}

/// One rule with all that stands beside it.
pub struct RuleRow<'a> {
    pub index: usize,
    /// As people count.
    pub number: usize,
    /// What the names of its fields begin with.
    pub path: String,
    pub fields: &'a RuleFields,
    pub preview: Preview,
    pub times: Times,
    /// Whether there is something under "More".
    pub has_more: bool,
}

/// What one rule makes of the ref that is tried.
pub enum Preview {
    Builds {
        kind: &'static str,
        name: String,
        images: Vec<String>,
        dockerfile: String,
        context: String,
        /// One of these must match a changed file; empty: whatever was changed.
        paths: Vec<String>,
    },
    /// It does not build, and why.
    No(String),
    /// It cannot be saved like this, and why.
    Invalid(String),
    /// There is nothing to try it with.
    Unasked,
}

/// When a rule would build without a push.
pub enum Times {
    /// There is no schedule.
    Never,
    /// The next times, as clocks of the schedule's time zone show them.
    Next { times: Vec<String>, no_cache: bool },
    /// It cannot be saved like this, and why.
    Invalid(String),
}

/// Next times of a schedule that are shown.
const NEXT_TIMES: usize = 3;

/// One line of the summary above a form that was refused.
pub struct Fault<'a> {
    pub field: &'a str,
    pub label: String,
    pub message: &'a str,
}

const PROVIDERS: [(Provider, &str); 5] = [
    (Provider::Github, "GitHub, or a git server with our post-receive hook"),
    (Provider::Bitbucket, "Bitbucket Cloud"),
    (Provider::BitbucketServer, "Bitbucket Data Center"),
    (Provider::Gitlab, "GitLab"),
    (Provider::Gitea, "Gitea or Forgejo"),
];

impl Sheet {
    pub fn new(form: RepositoryForm, errors: FormErrors, context: SheetContext) -> Self {
        Self { form, errors, context }
    }

    pub fn providers(&self) -> Vec<Choice> {
        let choices = PROVIDERS.into_iter().map(|(provider, label)| Choice {
            value: provider.as_str(),
            label,
            is_chosen: provider.as_str() == self.form.provider,
        });
        choices.collect()
    }

    /// The image that is meant where none is typed, as far as it is known.
    pub fn default_image(&self) -> String {
        let registry = self.context.default_registry.as_deref();
        let or = |text: &str, other: &str| {
            if text.trim().is_empty() {
                other.to_owned()
            } else {
                text.trim().to_owned()
            }
        };
        let (namespace, name) = (or(&self.form.namespace, "namespace"), or(&self.form.name, "name"));
        match (RepositoryName::new(&namespace, &name), registry) {
            (Ok(name), registry) => default_image(&name, registry),
            (Err(_), Some(registry)) => format!("{registry}/{namespace}/{name}"),
            (Err(_), None) => format!("{namespace}/{name}"),
        }
    }

    pub fn registry(&self) -> &str {
        self.context.default_registry.as_deref().unwrap_or_default()
    }

    pub fn rules(&self) -> Vec<RuleRow<'_>> {
        let image = match self.form.image.trim() {
            "" => self.default_image(),
            image => image.to_owned(),
        };
        let rows = self.form.rules.iter().enumerate().map(|(index, fields)| {
            let path = format!("rules[{index}].");
            let has_faults = ["target", "platforms", "build_args", "paths", "schedule"]
                .iter()
                .any(|field| self.errors.under(&format!("{path}{field}")));
            RuleRow {
                index,
                number: index + 1,
                fields,
                preview: preview(fields, &self.form.try_name, &image),
                times: times(&fields.schedule, self.context.now),
                has_more: has_faults
                    || !fields.target.is_empty()
                    || !fields.platform.is_empty()
                    || !fields.build_args.is_empty()
                    || !fields.paths.is_empty()
                    || fields.schedule.is_used(),
                path,
            }
        });
        rows.collect()
    }

    /// What is wrong with a part of an entry: `links[3]`, `build_secrets[0].name`.
    pub fn entry_fault(&self, list: impl std::fmt::Display, index: impl std::fmt::Display, part: &str) -> Option<&str> {
        self.errors.of(&format!("{list}[{index}]{part}"))
    }

    pub fn is_stored_secret(&self, name: &str) -> bool {
        self.context.stored_secrets.iter().any(|stored| stored == name)
    }

    pub fn faults(&self) -> Vec<Fault<'_>> {
        let faults = self.errors.all().map(|(field, message)| Fault {
            field,
            label: label_of(field),
            message,
        });
        faults.collect()
    }
}

/// A field's name for people: `Docker tag of rule 2`.
fn label_of(field: &str) -> String {
    let number = |rest: &str| {
        rest.split(']')
            .next()
            .and_then(|index| index.parse::<usize>().ok())
            .map_or(0, |index| index + 1)
    };
    if let Some(rest) = field.strip_prefix("rules[") {
        let part = rest.split_once("].").map_or("", |(_, part)| part);
        let label = match part {
            "source_type" => "Push type",
            "source" => "Branch or tag",
            "docker_tag" => "Docker tag",
            "dockerfile" => "Dockerfile location",
            "context" => "Build context",
            "target" => "Target stage",
            "platforms" => "Platform",
            "paths" => "Path filter",
            "schedule.cron" | "schedule" => "Schedule",
            "schedule.time_zone" => "Time zone of the schedule",
            _ => "Build argument",
        };
        return format!("{label} of rule {}", number(rest));
    }
    if let Some(rest) = field.strip_prefix("links[") {
        return format!("Base image {}", number(rest));
    }
    if let Some(rest) = field.strip_prefix("build_secrets[") {
        return format!("Build secret {}", number(rest));
    }
    let label = match field {
        "namespace" => "Namespace",
        "name" => "Name",
        "visibility" => "Visibility",
        "description" => "Short description",
        "image" => "Image",
        "source.provider" => "Kind of server",
        "source.url" => "Address of the repository",
        "source.credentials.username" => "User name",
        "source.credentials.password" => "Password or access token",
        "links" => "Base images",
        "rules" => "Build rules",
        "build_secrets" => "Build secrets",
        "limits.timeout_seconds" => "Time limit",
        "limits.memory_bytes" => "Memory limit",
        "limits.cpus" => "Processor limit",
        other => other,
    };
    label.to_owned()
}

fn preview(fields: &RuleFields, try_name: &str, image: &str) -> Preview {
    let Some(source_type) = SourceType::parse(&fields.source_type) else {
        return Preview::Invalid("choose branch or tag".to_owned());
    };
    let rule = Rule {
        id: RuleId::from(""),
        source_type,
        source: fields.source.trim().to_owned(),
        docker_tag: fields.docker_tag.trim().to_owned(),
        dockerfile: fields.dockerfile.trim().to_owned(),
        context: fields.context.trim().to_owned(),
        autobuild: fields.autobuild,
        cache: fields.cache,
        target: String::new(),
        platforms: vec![],
        build_args: Default::default(),
        paths: fields.patterns(),
        schedule: None,
    };
    if rule.source.is_empty() {
        return Preview::Unasked;
    }
    if let Err(invalid) = rule.check() {
        return Preview::Invalid(invalid.message);
    }
    if let Err(invalid) = PathFilter::new(&rule.paths) {
        return Preview::Invalid(format!("path filter: {invalid}"));
    }
    let name = match (try_name.trim(), rule.literal_source()) {
        ("", Some(literal)) => literal,
        ("", None) => return Preview::Unasked,
        (name, _) if !is_valid_ref_name(name) => {
            return Preview::No(format!("`{name}` is not the name of a branch or tag that git accepts"));
        }
        (name, _) => name,
    };
    let found = match preview_rule(&rule, source_type, name) {
        Ok(found) => found,
        Err(reason) => return Preview::No(reason),
    };
    match location::resolve(&found.dockerfile, &found.context, |_| false) {
        Ok(place) => Preview::Builds {
            kind: source_type.as_str(),
            name: name.to_owned(),
            images: found.tags.iter().map(|tag| format!("{image}:{tag}")).collect(),
            dockerfile: format!("/{}", place.dockerfile),
            context: format!("/{}", place.context),
            paths: found.paths,
        },
        Err(error) => Preview::Invalid(error.to_string()),
    }
}

fn times(fields: &ScheduleFields, now: DateTime<Utc>) -> Times {
    let Some(schedule) = fields.read() else {
        return Times::Never;
    };
    match schedule.check() {
        Ok(()) => Times::Next {
            times: schedule
                .upcoming(now)
                .take(NEXT_TIMES)
                .map(|at| schedule.in_its_zone(at))
                .collect(),
            no_cache: schedule.no_cache,
        },
        Err(invalid) => Times::Invalid(invalid.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(source: &str, docker_tag: &str) -> RuleFields {
        RuleFields {
            source_type: "branch".to_owned(),
            source: source.to_owned(),
            docker_tag: docker_tag.to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            context: "/app".to_owned(),
            autobuild: true,
            ..RuleFields::default()
        }
    }

    #[test]
    fn a_rule_shows_what_it_would_build_or_why_not() {
        let Preview::Builds {
            images,
            dockerfile,
            context,
            ..
        } = preview(&fields(" main ", "latest,{sourceref}"), "", "r/a")
        else {
            panic!("a literal ref builds");
        };
        assert_eq!(images, ["r/a:latest", "r/a:main"]);
        assert_eq!((dockerfile.as_str(), context.as_str()), ("/app/Dockerfile", "/app"));
        assert!(matches!(preview(&fields("/^v/", "x"), "", "r/a"), Preview::Unasked));
        assert!(matches!(preview(&fields("", "x"), "", "r/a"), Preview::Unasked));
        assert!(
            matches!(preview(&fields("/^v/", "x"), "main", "r/a"), Preview::No(reason) if reason.contains("does not match"))
        );
        assert!(
            matches!(preview(&fields("/^v/", "x"), "a b", "r/a"), Preview::No(reason) if reason.contains("git accepts"))
        );
        assert!(matches!(
            preview(&fields("/(/", "x"), "main", "r/a"),
            Preview::Invalid(_)
        ));
        let outside = RuleFields {
            dockerfile: "../../x".to_owned(),
            ..fields("main", "x")
        };
        assert!(matches!(preview(&outside, "", "r/a"), Preview::Invalid(reason) if reason.contains("leaves")));
        let by_hand = RuleFields {
            autobuild: false,
            ..fields("main", "x")
        };
        assert!(matches!(preview(&by_hand, "", "r/a"), Preview::No(reason) if reason.contains("autobuild")));
    }

    #[test]
    fn a_schedule_shows_its_next_times_or_what_is_wrong_with_it() {
        let now = "2026-11-24T15:00:00Z".parse().unwrap();
        let mut fields = ScheduleFields::default();
        assert!(matches!(times(&fields, now), Times::Never));
        fields.cron = " 0 4 * * 1 ".to_owned();
        fields.time_zone = "Europe/Berlin".to_owned();
        let Times::Next { times: next, .. } = times(&fields, now) else {
            panic!("it is a valid schedule");
        };
        assert_eq!(
            next,
            [
                "Mon 2026-11-30 04:00 CET",
                "Mon 2026-12-07 04:00 CET",
                "Mon 2026-12-14 04:00 CET"
            ]
        );
        fields.cron = "every week".to_owned();
        assert!(matches!(times(&fields, now), Times::Invalid(reason) if reason.contains("five fields")));
    }

    #[test]
    fn every_field_has_a_name_for_people() {
        assert_eq!(label_of("rules[1].docker_tag"), "Docker tag of rule 2");
        assert_eq!(label_of("rules[0].build_args[3].name"), "Build argument of rule 1");
        assert_eq!(label_of("links[0]"), "Base image 1");
        assert_eq!(label_of("source.url"), "Address of the repository");
    }
}

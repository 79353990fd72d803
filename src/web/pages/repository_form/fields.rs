//! What is typed into the form, by the names of its fields: the paths that the API gives in its problems.

use secrecy::SecretString;

use crate::domain::{
    repository::{Provider, Repository, Visibility},
    schedule::Schedule,
};

/// Most rows of each kind; the document's own bound is the same.
const MOST_ROWS: usize = 200;

/// A repository as somebody types it. A box that is not ticked is not sent, so `false` is the default of all.
#[derive(Debug, Default)]
pub struct RepositoryForm {
    pub namespace: String,
    /// One that is not in the list, which goes before what is chosen there.
    pub other_namespace: String,
    pub name: String,
    pub visibility: String,
    pub description: String,
    pub image: String,
    pub provider: String,
    pub url: String,
    pub submodules: bool,
    pub username: String,
    pub password: SecretString,
    pub remove_credentials: bool,
    pub rules: Vec<RuleFields>,
    pub links: Vec<String>,
    pub detect_base_images: bool,
    pub build_secrets: Vec<SecretFields>,
    pub limits: LimitFields,
    /// A branch or tag to try the rules with.
    pub try_name: String,
    /// When the repository was last changed, as the form was made.
    pub version: String,
}

/// One rule.
#[derive(Debug, Default, Clone)]
pub struct RuleFields {
    pub source_type: String,
    pub source: String,
    pub docker_tag: String,
    pub dockerfile: String,
    pub context: String,
    pub target: String,
    pub platform: String,
    pub autobuild: bool,
    pub cache: bool,
    pub build_args: Vec<ArgumentFields>,
    /// Patterns, one a line.
    pub paths: String,
    pub schedule: ScheduleFields,
}

/// When a rule builds without a push; an empty expression: never.
#[derive(Debug, Default, Clone)]
pub struct ScheduleFields {
    pub cron: String,
    /// Empty: UTC.
    pub time_zone: String,
    pub no_cache: bool,
}

impl ScheduleFields {
    fn of(schedule: &Schedule) -> Self {
        Self {
            cron: schedule.cron.clone(),
            time_zone: schedule.time_zone.clone(),
            no_cache: schedule.no_cache,
        }
    }

    /// Whether something was typed.
    pub fn is_used(&self) -> bool {
        !self.cron.trim().is_empty()
    }

    /// The schedule as it was typed, right or wrong.
    pub fn read(&self) -> Option<Schedule> {
        self.is_used().then(|| Schedule {
            cron: self.cron.trim().to_owned(),
            time_zone: match self.time_zone.trim() {
                "" => "UTC".to_owned(),
                zone => zone.to_owned(),
            },
            no_cache: self.no_cache,
        })
    }
}

#[derive(Debug, Default, Clone)]
pub struct ArgumentFields {
    pub name: String,
    pub value: String,
}

/// Limits as they are typed; empty: the server's.
#[derive(Debug, Default)]
pub struct LimitFields {
    /// Seconds.
    pub timeout: String,
    /// `512 MiB`, or bytes.
    pub memory: String,
    pub cpus: String,
}

/// One build secret; its value is empty where a stored one is to stay.
#[derive(Debug, Default)]
pub struct SecretFields {
    pub name: String,
    pub value: SecretString,
}

impl RuleFields {
    /// Docker Hub's first rule.
    fn first() -> Self {
        Self {
            source: "main".to_owned(),
            docker_tag: "latest".to_owned(),
            ..Self::further()
        }
    }

    /// A rule that is added: without a tag of its own it would take another's.
    fn further() -> Self {
        Self {
            source_type: "branch".to_owned(),
            docker_tag: "{sourceref}".to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            context: "/".to_owned(),
            autobuild: true,
            cache: true,
            ..Self::default()
        }
    }

    /// The patterns of the path filter; a line in which nothing is typed is none.
    pub fn patterns(&self) -> Vec<String> {
        let lines = self.paths.lines().filter(|line| !line.trim().is_empty());
        lines.map(str::to_owned).collect()
    }

    fn set(&mut self, field: &str, value: String) -> bool {
        match field {
            "source_type" => self.source_type = value,
            "source" => self.source = value,
            "docker_tag" => self.docker_tag = value,
            "dockerfile" => self.dockerfile = value,
            "context" => self.context = value,
            "target" => self.target = value,
            "platforms" => self.platform = value,
            "autobuild" => self.autobuild = true,
            "cache" => self.cache = true,
            "paths" => self.paths = value,
            "schedule.cron" => self.schedule.cron = value,
            "schedule.time_zone" => self.schedule.time_zone = value,
            "schedule.no_cache" => self.schedule.no_cache = true,
            _ => {
                let Some((argument, field)) = row(&mut self.build_args, "build_args", field) else {
                    return false;
                };
                match field {
                    ".name" => argument.name = value,
                    ".value" => argument.value = value,
                    _ => return false,
                }
            }
        }
        true
    }
}

impl RepositoryForm {
    /// What a new repository begins with: Docker Hub's defaults.
    pub fn new(namespace: String, visibility: Visibility) -> Self {
        Self {
            namespace,
            visibility: visibility.as_str().to_owned(),
            provider: Provider::Github.as_str().to_owned(),
            submodules: true,
            rules: vec![RuleFields::first()],
            detect_base_images: true,
            ..Self::default()
        }
    }

    /// A stored repository. What is write-only stays empty.
    pub fn of(repository: &Repository) -> Self {
        let source = &repository.source;
        let mut form = Self {
            namespace: repository.name.namespace().to_owned(),
            name: repository.name.name().to_owned(),
            visibility: repository.visibility.as_str().to_owned(),
            description: repository.description.clone(),
            image: repository.image.clone().unwrap_or_default(),
            provider: source.provider.as_str().to_owned(),
            url: source.url.clone(),
            submodules: source.submodules,
            links: repository.links.clone(),
            detect_base_images: repository.detect_base_images,
            limits: LimitFields::of(&repository.limits),
            version: repository.updated_at.to_rfc3339(),
            ..Self::default()
        };
        form.rules = repository
            .rules
            .iter()
            .map(|rule| RuleFields {
                source_type: rule.source_type.as_str().to_owned(),
                source: rule.source.clone(),
                docker_tag: rule.docker_tag.clone(),
                dockerfile: rule.dockerfile.clone(),
                context: rule.context.clone(),
                target: rule.target.clone(),
                platform: rule.platforms.join(", "),
                autobuild: rule.autobuild,
                cache: rule.cache,
                build_args: rule
                    .build_args
                    .iter()
                    .map(|(name, value)| ArgumentFields {
                        name: name.clone(),
                        value: value.clone(),
                    })
                    .collect(),
                paths: rule.paths.join("\n"),
                schedule: rule.schedule.as_ref().map(ScheduleFields::of).unwrap_or_default(),
            })
            .collect();
        form.build_secrets = repository
            .build_secrets
            .iter()
            .map(|name| SecretFields {
                name: name.clone(),
                ..SecretFields::default()
            })
            .collect();
        form
    }

    /// Takes one field; `false` where there is none of this name.
    pub(super) fn set(&mut self, name: &str, value: String) -> bool {
        match name {
            "namespace" => self.namespace = value,
            "other_namespace" => self.other_namespace = value,
            "name" => self.name = value,
            "visibility" => self.visibility = value,
            "description" => self.description = value,
            "image" => self.image = value,
            "source.provider" => self.provider = value,
            "source.url" => self.url = value,
            "source.submodules" => self.submodules = true,
            "source.credentials.username" => self.username = value,
            "source.credentials.password" => self.password = value.into(),
            "source.credentials.remove" => self.remove_credentials = true,
            "detect_base_images" => self.detect_base_images = true,
            "limits.timeout_seconds" => self.limits.timeout = value,
            "limits.memory_bytes" => self.limits.memory = value,
            "limits.cpus" => self.limits.cpus = value,
            "try_name" => self.try_name = value,
            "version" => self.version = value,
            _ => return self.set_in_row(name, value),
        }
        true
    }

    fn set_in_row(&mut self, name: &str, value: String) -> bool {
        if let Some((rule, field)) = row(&mut self.rules, "rules", name) {
            return field.strip_prefix('.').is_some_and(|field| rule.set(field, value));
        }
        if let Some((link, "")) = row(&mut self.links, "links", name) {
            *link = value;
            return true;
        }
        match row(&mut self.build_secrets, "build_secrets", name) {
            Some((secret, ".name")) => secret.name = value,
            Some((secret, ".value")) => secret.value = value.into(),
            _ => return false,
        }
        true
    }

    /// Adds a row: `rules`, `links`, `build_secrets` or `rules[2].build_args`.
    pub(super) fn add(&mut self, rows: &str) -> bool {
        let count = match rows {
            "rules" => self.rules.len(),
            "links" => self.links.len(),
            "build_secrets" => self.build_secrets.len(),
            _ => self.arguments(rows).map_or(0, |arguments| arguments.len()),
        };
        if count >= MOST_ROWS {
            return false;
        }
        match rows {
            "rules" => self.rules.push(RuleFields::further()),
            "links" => self.links.push(String::new()),
            "build_secrets" => self.build_secrets.push(SecretFields::default()),
            _ => match self.arguments(rows) {
                Some(arguments) => arguments.push(ArgumentFields::default()),
                None => return false,
            },
        }
        true
    }

    /// Removes a row: `rules[1]`, `links[0]`, `build_secrets[3]` or `rules[2].build_args[0]`.
    pub(super) fn remove(&mut self, row: &str) -> bool {
        let Some((rows, index)) = row.rsplit_once('[') else {
            return false;
        };
        let Some(index) = index.strip_suffix(']').and_then(|index| index.parse::<usize>().ok()) else {
            return false;
        };
        match rows {
            "rules" if index < self.rules.len() => drop(self.rules.remove(index)),
            "links" if index < self.links.len() => drop(self.links.remove(index)),
            "build_secrets" if index < self.build_secrets.len() => drop(self.build_secrets.remove(index)),
            _ => match self.arguments(rows) {
                Some(arguments) if index < arguments.len() => drop(arguments.remove(index)),
                _ => return false,
            },
        }
        true
    }

    fn arguments(&mut self, rows: &str) -> Option<&mut Vec<ArgumentFields>> {
        let index = rows.strip_prefix("rules[")?.strip_suffix("].build_args")?;
        let rule = self.rules.get_mut(index.parse::<usize>().ok()?)?;
        Some(&mut rule.build_args)
    }
}

/// The row that `rows[3].rest` is about, and `.rest`. Our pages number rows from 0 and without gaps: the next one is made.
fn row<'r, 'n, T: Default>(rows: &'r mut Vec<T>, list: &str, name: &'n str) -> Option<(&'r mut T, &'n str)> {
    let (index, rest) = name.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
    let index: usize = index.parse().ok()?;
    if index == rows.len() && index < MOST_ROWS {
        rows.push(T::default());
    }
    Some((rows.get_mut(index)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_in_their_order_and_without_gaps() {
        let mut form = RepositoryForm::default();
        assert!(form.set("rules[0].source", "main".to_owned()));
        assert!(form.set("rules[0].build_args[0].name", "A".to_owned()));
        assert!(form.set("rules[1].cache", "true".to_owned()));
        for bad in [
            "rules[3].source",
            "rules[0].build_args[2].name",
            "rules[0].role",
            "rules[x].source",
            "rules[-1].source",
            "rules[0]source",
            "links[0].x",
            "role",
            "",
        ] {
            assert!(!form.set(bad, "x".to_owned()), "{bad}");
        }
        assert!(form.set("links[0]", "alpine:3.20".to_owned()));
        assert_eq!((form.rules.len(), form.links.len()), (2, 1));
        assert!(!form.rules[0].cache && form.rules[1].cache);
    }

    #[test]
    fn a_row_beyond_the_bound_is_refused_however_it_comes() {
        let mut form = RepositoryForm::default();
        for index in 0..MOST_ROWS {
            assert!(form.set(&format!("links[{index}]"), String::new()));
        }
        assert!(!form.set(&format!("links[{MOST_ROWS}]"), String::new()));
        assert!(!form.add("links"));
    }

    #[test]
    fn rows_are_added_and_removed_by_name() {
        let mut form = RepositoryForm::new("ann".to_owned(), Visibility::Public);
        assert!(form.add("rules") && form.add("links") && form.add("rules[1].build_args"));
        form.rules[1].source = "second".to_owned();
        assert_eq!(form.rules[1].build_args.len(), 1);
        assert!(form.remove("rules[1].build_args[0]") && form.rules[1].build_args.is_empty());
        assert!(form.remove("rules[0]") && form.rules[0].source == "second");
        for bad in [
            "rules[1]",
            "rules",
            "rules[0].build_args[0]",
            "secrets[0]",
            "rules[0",
            "",
        ] {
            assert!(!form.remove(bad), "{bad}");
        }
        assert!(!form.add("rules[7].build_args") && !form.add("users"));
    }
}

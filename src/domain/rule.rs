//! Build rules: which refs build, and under which tags. The dry run and the intake call the same functions.
//!
//! The meanings are those of Docker Hub's automated builds.

use std::collections::BTreeMap;

use regex::{Captures, Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::{ids::RuleId, image::is_valid_tag, schedule::Schedule};

/// Largest compiled regular expression, in bytes: a bound on memory, as the `regex` crate already bounds time.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// Which kind of ref a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceType {
    Branch,
    Tag,
}

impl SourceType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Branch, Self::Tag].into_iter().find(|t| t.as_str() == text)
    }

    /// The full name of a ref of this kind: `refs/heads/main`, `refs/tags/v1`.
    pub fn full_ref(self, name: &str) -> String {
        match self {
            Self::Branch => format!("refs/heads/{name}"),
            Self::Tag => format!("refs/tags/{name}"),
        }
    }

    /// The kind and the short name of a full ref; `None` for refs that are neither branch nor tag.
    pub fn of_full_ref(full: &str) -> Option<(Self, &str)> {
        full.strip_prefix("refs/heads/")
            .map(|name| (Self::Branch, name))
            .or_else(|| full.strip_prefix("refs/tags/").map(|name| (Self::Tag, name)))
    }
}

/// One build rule, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub id: RuleId,
    pub source_type: SourceType,
    /// A literal ref name, or `/regex/`, searched, not anchored.
    pub source: String,
    /// Tags and templates, comma separated.
    pub docker_tag: String,
    /// The Dockerfile's location; see [`super::location`].
    pub dockerfile: String,
    /// The build context's directory; see [`super::location`].
    pub context: String,
    /// Off: a push does not build, a manual trigger does.
    pub autobuild: bool,
    /// Off: no cache at all.
    pub cache: bool,
    /// The stage to build; empty: the last one.
    pub target: String,
    /// At most one platform, such as `linux/arm64`; empty: the engine's own.
    pub platforms: Vec<String>,
    /// Values for the Dockerfile's `ARG`s.
    pub build_args: BTreeMap<String, String>,
    /// Which changed files make a push build; empty: all. See [`super::path_filter`].
    pub paths: Vec<String>,
    /// When it builds without a push.
    pub schedule: Option<Schedule>,
}

/// Why a rule cannot be saved: the field at fault and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidRule {
    pub field: &'static str,
    pub message: String,
}

/// What one rule makes of one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The ref builds under these tags, in the rule's order, without repetition.
    Tags(Vec<String>),
    /// The ref is not the rule's; the text says why.
    No(String),
    /// The ref is the rule's, but what its template resolves to cannot be a tag.
    Refused(String),
}

impl Rule {
    /// What this rule makes of a ref.
    pub fn matches(&self, source_type: SourceType, name: &str) -> Match {
        if source_type != self.source_type {
            return Match::No(format!(
                "it builds {}, this is a {}",
                plural(self.source_type),
                source_type.as_str()
            ));
        }
        self.matcher().matches(name)
    }

    /// This rule, ready to be held against many refs of its own type.
    pub fn matcher(&self) -> Matcher<'_> {
        Matcher(CompiledRule::new(self))
    }

    /// The ref name, where the rule has a literal one.
    pub fn literal_source(&self) -> Option<&str> {
        pattern_of(&self.source).is_none().then_some(self.source.as_str())
    }

    /// The tags that it makes, where it has one ref and so they are known before it builds.
    pub fn literal_tags(&self) -> Option<Vec<String>> {
        match self.matches(self.source_type, self.literal_source()?) {
            Match::Tags(tags) => Some(tags),
            Match::No(_) | Match::Refused(_) => Some(vec![]),
        }
    }

    /// Whether another rule is this one still: what is different is how it builds.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.source_type == other.source_type
            && self.source == other.source
            && self.docker_tag == other.docker_tag
            && self.dockerfile == other.dockerfile
            && self.context == other.context
    }

    /// Checks everything that can be known when the rule is saved.
    pub fn check(&self) -> Result<(), InvalidRule> {
        CompiledRule::new(self)?;
        let printable = |field, text: &str| match text.contains('\0') {
            true => Err(InvalidRule {
                field,
                message: "a NUL character cannot be part of it".to_owned(),
            }),
            false => Ok(()),
        };
        printable("dockerfile", &self.dockerfile)?;
        printable("context", &self.context)?;
        printable("target", &self.target)?;
        for (name, value) in &self.build_args {
            printable("build_args", name)?;
            printable("build_args", value)?;
            if !is_argument_name(name) {
                let message =
                    format!("`{name}` is not the name of an ARG: letters, digits and `_`, not beginning with a digit");
                return Err(InvalidRule {
                    field: "build_args",
                    message,
                });
            }
        }
        if self.platforms.len() > 1 {
            let message = "the engine builds for one platform at a time; name at most one".to_owned();
            return Err(InvalidRule {
                field: "platforms",
                message,
            });
        }
        for platform in &self.platforms {
            let parts: Vec<&str> = platform.split('/').collect();
            let word = |part: &&str| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'.')
            };
            if !(2..=3).contains(&parts.len()) || !parts.iter().all(word) {
                let message = format!("`{platform}` is not a platform; write it like `linux/amd64`");
                return Err(InvalidRule {
                    field: "platforms",
                    message,
                });
            }
        }
        if let Some(schedule) = &self.schedule {
            schedule.check().map_err(|invalid| InvalidRule {
                field: match invalid.field {
                    "time_zone" => "schedule.time_zone",
                    _ => "schedule.cron",
                },
                message: invalid.message,
            })?;
        }
        Ok(())
    }
}

fn plural(source_type: SourceType) -> &'static str {
    match source_type {
        SourceType::Branch => "branches",
        SourceType::Tag => "tags",
    }
}

fn is_argument_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

/// The text between the slashes, where a source is a regular expression.
fn pattern_of(source: &str) -> Option<&str> {
    source.strip_prefix('/')?.strip_suffix('/')
}

/// A rule that is held against many refs; made by [`Rule::matcher`].
pub struct Matcher<'a>(Result<CompiledRule<'a>, InvalidRule>);

impl Matcher<'_> {
    /// What the rule makes of a ref of its type.
    pub fn matches(&self, name: &str) -> Match {
        match &self.0 {
            Ok(compiled) => compiled.matches(name),
            // Saved rules were checked; one that was not builds nothing and says so.
            Err(invalid) => Match::Refused(invalid.to_string()),
        }
    }
}

/// A rule's source and templates, checked.
struct CompiledRule<'a> {
    source: Source<'a>,
    templates: Vec<Template<'a>>,
}

enum Source<'a> {
    Literal(&'a str),
    Pattern(Regex),
}

impl<'a> CompiledRule<'a> {
    fn new(rule: &'a Rule) -> Result<Self, InvalidRule> {
        let source = match pattern_of(&rule.source) {
            Some(pattern) => Source::Pattern(compile(pattern)?),
            None => Source::Literal(check_literal_source(&rule.source)?),
        };
        let groups = match &source {
            Source::Pattern(regex) => regex.captures_len() - 1,
            Source::Literal(_) => 0,
        };
        let templates = rule
            .docker_tag
            .split(',')
            .map(|text| Template::parse(text.trim(), groups))
            .collect::<Result<_, _>>()
            .map_err(|message| InvalidRule {
                field: "docker_tag",
                message,
            })?;
        Ok(Self { source, templates })
    }

    fn matches(&self, name: &str) -> Match {
        let captures = match &self.source {
            Source::Literal(literal) if *literal == name => None,
            Source::Literal(literal) => return Match::No(format!("`{name}` is not `{literal}`")),
            Source::Pattern(regex) => match regex.captures(name) {
                Some(captures) => Some(captures),
                None => return Match::No(format!("`{name}` does not match /{regex}/")),
            },
        };
        let mut tags = Vec::new();
        for template in &self.templates {
            let tag = template.resolve(name, captures.as_ref());
            if !is_valid_tag(&tag) {
                return Match::Refused(format!(
                    "`{}` gives `{tag}` for `{name}`, which cannot be a tag: it takes 1 to 128 of A-Z a-z 0-9 _ . -, not beginning with . or -",
                    template.text
                ));
            }
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Match::Tags(tags)
    }
}

fn compile(pattern: &str) -> Result<Regex, InvalidRule> {
    let invalid = |message| InvalidRule {
        field: "source",
        message,
    };
    if pattern.is_empty() {
        return Err(invalid(
            "the regular expression between the slashes is empty; `/.*/` matches every ref".to_owned(),
        ));
    }
    RegexBuilder::new(pattern)
        .size_limit(REGEX_SIZE_LIMIT)
        .build()
        .map_err(|error| {
            invalid(format!(
                "`/{pattern}/` is not a regular expression: {}",
                last_line(&error.to_string())
            ))
        })
}

/// The `regex` crate draws its syntax errors over several lines and says what is wrong on the last.
fn last_line(text: &str) -> &str {
    text.lines()
        .last()
        .unwrap_or_default()
        .trim()
        .trim_start_matches("error: ")
}

fn check_literal_source(source: &str) -> Result<&str, InvalidRule> {
    if is_valid_ref_name(source) {
        return Ok(source);
    }
    let message = format!("`{source}` is neither a ref name that git accepts nor a `/regex/`");
    Err(InvalidRule {
        field: "source",
        message,
    })
}

/// Whether git would accept a branch or tag of this name (`git check-ref-format`).
pub fn is_valid_ref_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 1024
        && name != "@"
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name
            .chars()
            .any(|c| c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\'))
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}

/// One entry of a rule's tag list.
struct Template<'a> {
    text: &'a str,
    parts: Vec<Part<'a>>,
}

enum Part<'a> {
    Literal(&'a str),
    SourceRef,
    Group(usize),
}

impl<'a> Template<'a> {
    fn parse(text: &'a str, groups: usize) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (literal, tail) = rest.split_at(open);
            let close = tail
                .find('}')
                .ok_or_else(|| format!("`{text}` has a `{{` without its `}}`"))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(literal));
            }
            parts.push(placeholder(&tail[1..close], groups)?);
            rest = &tail[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest));
        }
        let template = Self { text, parts };
        template.check_literals()?;
        Ok(template)
    }

    /// What can be known before any ref is: a tag without placeholders whole, others by their characters.
    fn check_literals(&self) -> Result<(), String> {
        let grammar = "a tag takes 1 to 128 of A-Z a-z 0-9 _ . -, not beginning with . or -";
        match self.parts.as_slice() {
            [] => Err(format!("an empty tag; {grammar}")),
            [Part::Literal(tag)] if !is_valid_tag(tag) => Err(format!("`{tag}` cannot be a tag: {grammar}")),
            parts => {
                for part in parts {
                    if let Part::Literal(literal) = part
                        && !literal
                            .bytes()
                            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'))
                    {
                        return Err(format!(
                            "`{literal}` in `{}` cannot be part of a tag: {grammar}",
                            self.text
                        ));
                    }
                }
                Ok(())
            }
        }
    }

    fn resolve(&self, name: &str, captures: Option<&Captures<'_>>) -> String {
        let mut tag = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => tag.push_str(literal),
                Part::SourceRef => tag.push_str(&name.replace('/', "-")),
                Part::Group(group) => {
                    let text = captures.and_then(|c| c.get(*group)).map_or("", |m| m.as_str());
                    tag.push_str(&text.replace('/', "-"));
                }
            }
        }
        tag
    }
}

fn placeholder<'a>(name: &str, groups: usize) -> Result<Part<'a>, String> {
    if name == "sourceref" {
        return Ok(Part::SourceRef);
    }
    let group = name
        .strip_prefix('\\')
        .and_then(|digits| {
            digits
                .parse::<usize>()
                .ok()
                .filter(|n| (1..=9).contains(n) && digits.len() == 1)
        })
        .ok_or_else(|| format!("`{{{name}}}` is not known; there are {{sourceref}} and {{\\1}} to {{\\9}}"))?;
    if group > groups {
        return Err(format!(
            "`{{\\{group}}}` needs at least {group} group(s) in the source's regular expression, which has {groups}"
        ));
    }
    Ok(Part::Group(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(source_type: SourceType, source: &str, docker_tag: &str) -> Rule {
        Rule {
            id: RuleId::from("r"),
            source_type,
            source: source.to_owned(),
            docker_tag: docker_tag.to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            context: "/".to_owned(),
            autobuild: true,
            cache: true,
            target: String::new(),
            platforms: vec![],
            build_args: BTreeMap::new(),
            paths: vec![],
            schedule: None,
        }
    }

    fn tags(list: &[&str]) -> Match {
        Match::Tags(list.iter().map(|t| (*t).to_owned()).collect())
    }

    #[test]
    fn refs_resolve_to_tags_as_on_docker_hub() {
        let check = |source: &str, docker_tag: &str, name: &str, expected: &[&str]| {
            assert_eq!(
                rule(SourceType::Tag, source, docker_tag).matches(SourceType::Tag, name),
                tags(expected),
                "{source} {docker_tag} {name}"
            );
        };
        check("main", "latest", "main", &["latest"]);
        check("feature/x", "{sourceref}", "feature/x", &["feature-x"]);
        check("/[0-9.]+$/", "release-{sourceref}", "v1.2", &["release-v1.2"]);
        check(
            r"/^v([0-9]+)\.([0-9]+)$/",
            r"{\1}.{\2},{\1},latest",
            "v3.14",
            &["3.14", "3", "latest"],
        );
        check("/.*/", " a , b ,a", "x", &["a", "b"]);
        check("/^(a/b)$/", r"{\1}", "a/b", &["a-b"]);
        check("/^v(1)?(2)$/", r"x{\1}{\2}", "v2", &["x2"]);
        check("/v/", "{sourceref}", "my-v-branch", &["my-v-branch"]);
    }

    #[test]
    fn other_refs_do_not_match_and_say_why() {
        let check =
            |source: &str, source_type, name: &str, reason: &str| match rule(SourceType::Branch, source, "latest")
                .matches(source_type, name)
            {
                Match::No(text) => assert!(text.contains(reason), "{text}"),
                other => panic!("{other:?}"),
            };
        check("main", SourceType::Branch, "main2", "`main2` is not `main`");
        check("main", SourceType::Branch, "Main", "is not");
        check("main", SourceType::Tag, "main", "it builds branches, this is a tag");
        check("/^rel-/", SourceType::Branch, "main", "does not match /^rel-/");
    }

    #[test]
    fn a_resolved_tag_that_cannot_be_one_is_refused_with_the_reason() {
        let check = |docker_tag: &str, name: &str| match rule(SourceType::Branch, "/.*/", docker_tag)
            .matches(SourceType::Branch, name)
        {
            Match::Refused(reason) => assert!(reason.contains(name) && reason.contains("cannot be a tag"), "{reason}"),
            other => panic!("{name}: {other:?}"),
        };
        check("{sourceref}", "ünï");
        check("{sourceref}", "a+b");
        check("{sourceref}", ".hidden");
        check("{sourceref}", &"a".repeat(129));
        check("latest,x{sourceref}", "a b");
    }

    #[test]
    fn what_can_never_work_is_refused_when_saved() {
        let check = |source: &str, docker_tag: &str, field: &str, message: &str| {
            let invalid = rule(SourceType::Branch, source, docker_tag).check().unwrap_err();
            assert_eq!(invalid.field, field);
            assert!(invalid.message.contains(message), "{}", invalid.message);
        };
        check("main", "", "docker_tag", "empty tag");
        check("main", "a,,b", "docker_tag", "empty tag");
        check("main", "a/b", "docker_tag", "`a/b` cannot be a tag");
        check("main", "-x", "docker_tag", "cannot be a tag");
        check("main", &"a".repeat(129), "docker_tag", "cannot be a tag");
        check("main", "x y{sourceref}", "docker_tag", "cannot be part of a tag");
        check("main", r"{\1}", "docker_tag", "needs at least 1 group");
        check("/(a)/", r"{\2}", "docker_tag", "needs at least 2 group");
        check("/(a)/", r"{\0}", "docker_tag", "not known");
        check("/(a)/", r"{\10}", "docker_tag", "not known");
        check("main", "{branch}", "docker_tag", "not known");
        check("main", "{sourceref", "docker_tag", "without its");
        check("", "latest", "source", "neither");
        check("a..b", "latest", "source", "neither");
        check("//", "latest", "source", "empty");
        check("/(/", "latest", "source", "unclosed group");
        check("/a{1000}{1000}/", "latest", "source", "size limit");
    }

    #[test]
    fn build_arguments_and_platforms_have_their_forms() {
        let mut bad = rule(SourceType::Branch, "main", "latest");
        bad.build_args = BTreeMap::from([("1X".to_owned(), "v".to_owned())]);
        assert_eq!(bad.check().unwrap_err().field, "build_args");
        bad.build_args.clear();
        bad.platforms = vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()];
        assert_eq!(bad.check().unwrap_err().field, "platforms");
        bad.platforms = vec!["amd64".to_owned()];
        assert_eq!(bad.check().unwrap_err().field, "platforms");
        bad.platforms = vec!["linux/arm/v7".to_owned()];
        assert_eq!(bad.check(), Ok(()));
    }

    #[test]
    fn ref_names_are_those_of_git_check_ref_format() {
        for good in ["main", "feature/x", "v1.0", "ünï", "a@b", "x-y_z"] {
            assert!(is_valid_ref_name(good), "{good}");
        }
        for bad in [
            "", "/a", "a/", "a//b", "a..b", "a.lock", "a/.b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "@",
            "a@{b", "a.", "-x", "a\n",
        ] {
            assert!(!is_valid_ref_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_pathological_expression_takes_linear_time() {
        let rule = rule(SourceType::Branch, "/^(a+)+$/", "latest");
        let name = "a".repeat(1000) + "b";
        assert!(matches!(rule.matches(SourceType::Branch, &name), Match::No(_)));
    }
}

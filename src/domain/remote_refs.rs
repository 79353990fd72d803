//! What a git server says of its branches and tags, and what of it changed since it was asked before. Decides only what is
//! to be looked into: whether a webhook told of it is for others to know.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ids::RuleId,
    rule::{Match, Rule, SourceType, is_valid_ref_name},
};

/// Most branches and tags of one source that are remembered.
pub const MOST_REFS: usize = 10_000;

/// More builds than this out of one look wait behind those that somebody waits for.
pub const MANY: usize = 100;

/// A branch or tag as its server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRef {
    pub source_type: SourceType,
    /// Short name: `main`, `v1.0`.
    pub name: String,
    /// The commit that it leads to, 40 hexadecimal digits.
    pub commit: String,
    /// What it points to itself: for an annotated tag, the tag's own object.
    pub object: String,
}

/// What a look saw: the refs that rules build by themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The address that was asked.
    pub source: String,
    /// What of the rules decides about refs. A rule that was not among them has missed nothing.
    pub rules: BTreeSet<String>,
    /// Commits by the refs' full names.
    pub refs: BTreeMap<String, String>,
}

/// A ref that a rule builds and that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub rule: RuleId,
    /// What the rule makes of it.
    pub tags: Vec<String>,
    pub now: RemoteRef,
    /// Its commit at the last look; `None`: it is new.
    pub before: Option<String>,
}

/// A source whose rules match more refs than are remembered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rules match more than {MOST_REFS} branches and tags, so missed pushes are not looked for; let them match fewer"
)]
pub struct TooManyRefs;

/// What is seen now, and what changed since the last look. The first look at an address, and the first of a rule, only see.
pub fn compare(
    source: &str,
    rules: &[Rule],
    refs: Vec<RemoteRef>,
    last: Option<&Seen>,
) -> Result<(Seen, Vec<Changed>), TooManyRefs> {
    let last = last.filter(|last| last.source == source);
    let rules: Vec<_> = rules
        .iter()
        .filter(|rule| rule.autobuild)
        .map(|rule| {
            let key = key(rule);
            let last = last.filter(|last| last.rules.contains(&key));
            (rule, rule.matcher(), key, last)
        })
        .collect();
    let mut seen = Seen {
        source: source.to_owned(),
        rules: rules.iter().map(|(_, _, key, _)| key.clone()).collect(),
        refs: BTreeMap::new(),
    };
    let mut changed = Vec::new();
    for now in refs {
        if !is_valid_ref_name(&now.name) {
            continue;
        }
        let full = now.source_type.full_ref(&now.name);
        let mut is_built = false;
        for (rule, matcher, _, last) in &rules {
            if rule.source_type != now.source_type {
                continue;
            }
            let Match::Tags(tags) = matcher.matches(&now.name) else {
                continue;
            };
            is_built = true;
            let Some(last) = last else { continue };
            let before = last.refs.get(&full);
            if before != Some(&now.commit) {
                changed.push(Changed {
                    rule: rule.id.clone(),
                    tags,
                    now: now.clone(),
                    before: before.cloned(),
                });
            }
        }
        if is_built {
            seen.refs.insert(full, now.commit);
            if seen.refs.len() > MOST_REFS {
                return Err(TooManyRefs);
            }
        }
    }
    Ok((seen, changed))
}

/// What of a rule decides whether it builds a ref.
fn key(rule: &Rule) -> String {
    // Neither a source nor a tag has a line break in it.
    format!("{}\n{}\n{}", rule.source_type.as_str(), rule.source, rule.docker_tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "https://example.com/app.git";

    fn rule(source_type: SourceType, source: &str, docker_tag: &str) -> Rule {
        Rule {
            id: RuleId::from(source),
            source_type,
            source: source.to_owned(),
            docker_tag: docker_tag.to_owned(),
            dockerfile: String::new(),
            context: String::new(),
            autobuild: true,
            cache: true,
            target: String::new(),
            platforms: vec![],
            build_args: BTreeMap::new(),
            paths: vec![],
            schedule: None,
        }
    }

    fn rules() -> Vec<Rule> {
        vec![
            rule(SourceType::Branch, "main", "latest"),
            rule(SourceType::Tag, "/^v(.+)$/", "{\\1}"),
        ]
    }

    fn remote(full: &str, commit: &str) -> RemoteRef {
        let (source_type, name) = SourceType::of_full_ref(full).unwrap();
        RemoteRef {
            source_type,
            name: name.to_owned(),
            commit: commit.to_owned(),
            object: format!("object of {commit}"),
        }
    }

    fn seen(refs: &[(&str, &str)]) -> Seen {
        look(&rules(), refs, None).0
    }

    fn look(rules: &[Rule], refs: &[(&str, &str)], last: Option<&Seen>) -> (Seen, Vec<Changed>) {
        let refs = refs.iter().map(|(full, commit)| remote(full, commit)).collect();
        compare(SOURCE, rules, refs, last).unwrap()
    }

    /// Ref, commit now, commit before.
    fn told(changed: &[Changed]) -> Vec<(&str, &str, Option<&str>)> {
        changed
            .iter()
            .map(|changed| {
                (
                    changed.now.name.as_str(),
                    changed.now.commit.as_str(),
                    changed.before.as_deref(),
                )
            })
            .collect()
    }

    #[test]
    fn the_first_look_only_sees_and_sees_only_what_rules_build() {
        let (seen, changed) = look(
            &rules(),
            &[
                ("refs/heads/main", "a"),
                ("refs/heads/other", "b"),
                ("refs/tags/v1", "c"),
                ("refs/tags/x", "d"),
            ],
            None,
        );
        assert_eq!(changed, []);
        let refs: Vec<_> = seen
            .refs
            .iter()
            .map(|(name, commit)| (name.as_str(), commit.as_str()))
            .collect();
        assert_eq!(refs, [("refs/heads/main", "a"), ("refs/tags/v1", "c")]);
    }

    #[test]
    fn what_moved_or_is_new_has_changed_and_what_vanished_has_not() {
        let last = seen(&[("refs/heads/main", "a"), ("refs/tags/v1", "c"), ("refs/tags/v2", "e")]);
        for (refs, expected) in [
            (
                &[("refs/heads/main", "a"), ("refs/tags/v1", "c"), ("refs/tags/v2", "e")][..],
                &[][..],
            ),
            (
                &[("refs/heads/main", "b"), ("refs/tags/v1", "c")],
                &[("main", "b", Some("a"))],
            ),
            (&[("refs/heads/main", "a"), ("refs/tags/v3", "f")], &[("v3", "f", None)]),
            (&[("refs/tags/v1", "moved")], &[("v1", "moved", Some("c"))]),
            (&[("refs/heads/other", "b"), ("refs/tags/x", "y")], &[]),
            (&[], &[]),
        ] {
            let (now, changed) = look(&rules(), refs, Some(&last));
            assert_eq!(told(&changed), expected, "{refs:?}");
            assert!(now.refs.len() <= refs.len(), "what vanished is forgotten");
        }
    }

    #[test]
    fn every_rule_of_a_ref_has_a_change_with_its_own_tags() {
        let rules = vec![
            rule(SourceType::Branch, "main", "latest"),
            rule(SourceType::Branch, "/^m/", "edge,{sourceref}"),
        ];
        let last = look(&rules, &[("refs/heads/main", "a")], None).0;
        let (_, changed) = look(&rules, &[("refs/heads/main", "b")], Some(&last));
        let tags: Vec<_> = changed.iter().map(|changed| changed.tags.join(" ")).collect();
        assert_eq!(tags, ["latest", "edge main"]);
    }

    #[test]
    fn a_rule_that_was_not_there_has_missed_nothing_and_the_others_have() {
        let last = seen(&[("refs/heads/main", "a")]);
        let mut rules = rules();
        rules.push(rule(SourceType::Branch, "/^old-/", "{sourceref}"));
        rules[1].docker_tag = "version-{\\1}".to_owned();
        let refs = [
            ("refs/heads/main", "b"),
            ("refs/heads/old-1", "c"),
            ("refs/tags/v1", "d"),
        ];
        let (now, changed) = look(&rules, &refs, Some(&last));
        assert_eq!(told(&changed), [("main", "b", Some("a"))]);
        let next = [
            ("refs/heads/main", "b"),
            ("refs/heads/old-1", "e"),
            ("refs/tags/v1", "f"),
        ];
        let (_, changed) = look(&rules, &next, Some(&now));
        assert_eq!(told(&changed), [("old-1", "e", Some("c")), ("v1", "f", Some("d"))]);
    }

    #[test]
    fn a_rule_that_builds_nothing_by_itself_misses_nothing_and_begins_anew_when_it_does() {
        let mut off = rules();
        off[0].autobuild = false;
        let last = seen(&[("refs/heads/main", "a")]);
        let (now, changed) = look(&off, &[("refs/heads/main", "b")], Some(&last));
        assert_eq!((changed, now.refs.len()), (vec![], 0));
        assert_eq!(look(&rules(), &[("refs/heads/main", "b")], Some(&now)).1, []);
    }

    #[test]
    fn another_address_is_another_source() {
        let last = Seen {
            source: "https://example.com/other.git".to_owned(),
            ..seen(&[("refs/heads/main", "a")])
        };
        assert_eq!(look(&rules(), &[("refs/heads/main", "b")], Some(&last)).1, []);
    }

    #[test]
    fn more_refs_than_are_remembered_are_refused_and_names_that_git_refuses_are_left_out() {
        let rules = [rule(SourceType::Branch, "/./", "{sourceref}")];
        let refs = |count: usize| {
            (0..count)
                .map(|n| remote(&format!("refs/heads/b{n}"), "a"))
                .collect::<Vec<_>>()
        };
        assert!(compare(SOURCE, &rules, refs(MOST_REFS), None).is_ok());
        assert_eq!(compare(SOURCE, &rules, refs(MOST_REFS + 1), None), Err(TooManyRefs));
        assert!(look(&rules, &[("refs/heads/a\u{1b}b", "a")], None).0.refs.is_empty());
    }
}

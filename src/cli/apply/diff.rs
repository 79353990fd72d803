//! What applying a file would change, field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::rules;
use crate::domain::image::ImageReference;

/// Fields that a reader never gets back: whether they would change cannot be said.
const WRITE_ONLY: [&str; 4] = [
    "source.webhook_secret",
    "source.credentials",
    "password",
    "build_secrets",
];

/// Fields that the API only reports.
const READ_ONLY: [&str; 12] = [
    "namespace",
    "name",
    "host",
    "webhook",
    "created_at",
    "updated_at",
    "stars",
    "pulls",
    "last_build",
    "password_set",
    "build_secrets_set",
    "source.credentials_set",
];

/// What becomes of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Create,
    /// Lines such as `visibility: "public" -> "private"`.
    Update(Vec<String>),
    /// Nothing that can be seen, but secrets are given and are set again.
    SecretsOnly(Vec<String>),
    Unchanged,
}

/// Compares an entry as the API has it with the one that is wanted.
pub fn compare(current: Option<&Value>, wanted: &Value) -> Change {
    let Some(current) = current else { return Change::Create };
    let (mut current, mut wanted) = (current.clone(), wanted.clone());
    let in_both = rules_of(&current).min(rules_of(&wanted));
    let gone = take_rules_after(&mut current, in_both);
    let new = take_rules_after(&mut wanted, in_both);
    let (before, after) = (fields(&current), fields(&wanted));
    let mut lines = Vec::new();
    let mut secrets = Vec::new();
    for field in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let is_secret = WRITE_ONLY
            .iter()
            .any(|secret| field == secret || field.starts_with(&format!("{secret}.")));
        if is_secret {
            secrets.extend(
                after
                    .contains_key(field)
                    .then(|| format!("{field}: set again (what is there cannot be read)")),
            );
            continue;
        }
        let default = default_of(field);
        let old = before.get(field).filter(|value| **value != default);
        let new = after.get(field).filter(|value| **value != default);
        let stays = field == "visibility" && new.is_none();
        if old != new && !stays && !is_same_image(field, &current, old, new) {
            let word = |value: Option<&Value>| value.map_or_else(|| "(default)".to_owned(), Value::to_string);
            lines.push(format!("{field}: {} -> {}", word(old), word(new)));
        }
    }
    // Rules are compared by their places; those for which the other side has none come or go as a whole.
    lines.extend(gone.iter().map(|rule| format!("rule goes: {}", rules::describe(rule))));
    lines.extend(new.iter().map(|rule| format!("rule comes: {}", rules::describe(rule))));
    match (lines.is_empty(), secrets.is_empty()) {
        (true, true) => Change::Unchanged,
        (true, false) => Change::SecretsOnly(secrets),
        (false, _) => {
            lines.extend(secrets);
            Change::Update(lines)
        }
    }
}

fn rules_of(document: &Value) -> usize {
    document["rules"].as_array().map_or(0, Vec::len)
}

fn take_rules_after(document: &mut Value, count: usize) -> Vec<Value> {
    match document.get_mut("rules").and_then(Value::as_array_mut) {
        Some(rules) => rules.split_off(count),
        None => vec![],
    }
}

/// The document as `path -> value`, without what is only reported, with images in one spelling.
fn fields(document: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    flatten("", document, &mut found);
    found.retain(|path, _| {
        let is_id = path.starts_with("rules[") && path.ends_with("].id");
        !is_id
            && !READ_ONLY
                .iter()
                .any(|field| path == field || path.starts_with(&format!("{field}.")))
    });
    for field in ["links", "ignored_base_images"] {
        if let Some(Value::Array(images)) = found.get_mut(field) {
            let names = images.iter().filter_map(Value::as_str).map(full_name);
            *images = names.collect::<BTreeSet<_>>().into_iter().map(Value::String).collect();
        }
    }
    found
}

/// Objects and lists of objects by their parts; lists of words stay whole.
fn flatten(path: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(parts) if path != "webhook" => {
            for (key, part) in parts {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                flatten(&below, part, found);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for (index, entry) in entries.iter().enumerate() {
                flatten(&format!("{path}[{index}]"), entry, found);
            }
        }
        value => {
            found.insert(path.to_owned(), value.clone());
        }
    }
}

/// What a field is where it is left out.
fn default_of(field: &str) -> Value {
    match field.rsplit(['.', ']']).next().unwrap_or(field) {
        "visibility" => json!("public"),
        "description" | "target" => json!(""),
        "submodules" | "detect_base_images" | "autobuild" | "cache" => json!(true),
        "links" | "ignored_base_images" | "rules" | "paths" | "platforms" | "trusted_realms" => json!([]),
        "dockerfile" => json!("Dockerfile"),
        "context" => json!("/"),
        "time_zone" => json!("UTC"),
        "no_cache" => json!(false),
        _ => Value::Null,
    }
}

/// An image that is left out is the default registry's, which only the server knows.
fn is_same_image(field: &str, current: &Value, old: Option<&Value>, new: Option<&Value>) -> bool {
    let (Some(old), None, "image") = (old.and_then(Value::as_str), new, field) else {
        return false;
    };
    let part = |key: &str| current[key].as_str().unwrap_or_default();
    let default = format!("{}/{}", part("namespace"), part("name"));
    old == default || old.split_once('/').is_some_and(|(_, path)| path == default)
}

fn full_name(link: &str) -> String {
    ImageReference::parse(link).map_or_else(|_| link.to_owned(), |reference| reference.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current() -> Value {
        json!({
            "namespace": "team", "name": "app", "visibility": "public", "description": "", "image": "r.example.com/team/app",
            "source": {"provider": "github", "url": "https://github.com/acme/app.git", "account": null, "submodules": true,
                "credentials_set": false},
            "rules": [{"id": "1", "source_type": "branch", "source": "main", "docker_tag": "latest", "dockerfile": "Dockerfile",
                "context": "/", "autobuild": true, "cache": true, "target": "", "paths": [], "platforms": [],
                "build_args": {"A": "1"}, "schedule": null}],
            "links": ["docker.io/library/alpine:3.20"], "detect_base_images": true,
            "ignored_base_images": ["docker.io/library/busybox:1"],
            "limits": {"timeout_seconds": null, "memory_bytes": null, "cpus": null}, "stars": 4, "pulls": 9,
            "created_at": "2026-01-01T00:00:00Z", "webhook": {"url": "http://x", "secret_set": true}, "last_build": null,
        })
    }

    fn wanted() -> Value {
        json!({
            "source": {"provider": "github", "url": "https://github.com/acme/app.git"},
            "rules": [{"source_type": "branch", "source": "main", "docker_tag": "latest", "dockerfile": "Dockerfile",
                "context": "/", "autobuild": true, "cache": true, "build_args": {"A": "1"}}],
            "links": ["alpine:3.20"], "ignored_base_images": ["busybox:1"],
        })
    }

    #[test]
    fn what_is_left_out_is_the_default_and_no_change() {
        assert_eq!(compare(Some(&current()), &wanted()), Change::Unchanged);
        assert_eq!(compare(None, &wanted()), Change::Create);
    }

    #[test]
    fn each_field_that_differs_is_named() {
        let mut changed = wanted();
        changed["visibility"] = json!("private");
        changed["rules"][0]["docker_tag"] = json!("{sourceref}");
        changed["rules"][0]["build_args"] = json!({"B": "2"});
        changed["links"] = json!([]);
        let Change::Update(lines) = compare(Some(&current()), &changed) else {
            panic!()
        };
        assert_eq!(
            lines,
            [
                r#"links: ["docker.io/library/alpine:3.20"] -> (default)"#,
                r#"rules[0].build_args.A: "1" -> (default)"#,
                r#"rules[0].build_args.B: (default) -> "2""#,
                r#"rules[0].docker_tag: "latest" -> "{sourceref}""#,
                r#"visibility: (default) -> "private""#,
            ]
        );
    }

    #[test]
    fn a_schedule_is_compared_field_by_field() {
        let mut changed = wanted();
        changed["rules"][0]["schedule"] = json!({"cron": "@daily", "time_zone": "UTC"});
        let lines = vec![r#"rules[0].schedule.cron: (default) -> "@daily""#.to_owned()];
        assert_eq!(compare(Some(&current()), &changed), Change::Update(lines));
        let mut scheduled = current();
        scheduled["rules"][0]["schedule"] = json!({"cron": "@daily", "time_zone": "UTC", "no_cache": false});
        assert_eq!(compare(Some(&scheduled), &changed), Change::Unchanged);
        scheduled["rules"][0]["schedule"]["no_cache"] = json!(true);
        let lines = vec!["rules[0].schedule.no_cache: true -> (default)".to_owned()];
        assert_eq!(compare(Some(&scheduled), &changed), Change::Update(lines));
    }

    #[test]
    fn a_rule_that_goes_is_said_in_one_line() {
        let mut changed = wanted();
        changed["rules"] = json!([]);
        let lines = vec!["rule goes: branch main -> latest".to_owned()];
        assert_eq!(compare(Some(&current()), &changed), Change::Update(lines));
    }

    #[test]
    fn a_rule_that_comes_is_said_in_one_line() {
        let mut changed = wanted();
        let rule = json!({"source_type": "tag", "source": "/.+/", "docker_tag": "{sourceref}", "dockerfile": "Other"});
        changed["rules"].as_array_mut().unwrap().push(rule);
        let lines = vec!["rule comes: tag /.+/ -> {sourceref}".to_owned()];
        assert_eq!(compare(Some(&current()), &changed), Change::Update(lines));
    }

    #[test]
    fn secrets_are_named_and_never_shown() {
        let mut changed = wanted();
        changed["source"]["webhook_secret"] = json!("canary");
        changed["source"]["credentials"] = json!({"username": "u", "password": "canary"});
        let Change::SecretsOnly(lines) = compare(Some(&current()), &changed) else {
            panic!()
        };
        assert_eq!(lines.len(), 3);
        assert!(!lines.concat().contains("canary"), "{lines:?}");
    }

    #[test]
    fn an_image_of_its_own_is_a_change() {
        let mut changed = wanted();
        changed["image"] = json!("other.example.com/x/y");
        assert!(matches!(compare(Some(&current()), &changed), Change::Update(_)));
    }
}

//! `hullworks export`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    apply::document::{self, File, Limits, Registry, Repository, Rule, Source, render},
    client::{Client, ClientError},
    failure::Failure,
    output::{Output, note},
};
use crate::domain::schedule::Schedule;

/// Print repositories, rules, links and registries as the file that `apply` takes
///
/// Secrets are not in it: the server gives none back. Neither are repositories of others, which may be seen but not
/// changed. Applied again it changes nothing.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Print JSON instead of YAML
    #[arg(long)]
    json: bool,
}

impl Export {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        // Only those who may change a repository see all of its document.
        let (repositories, of_others): (Vec<_>, Vec<_>) = client
            .list(&["repositories"], &[], None)
            .await?
            .into_iter()
            .partition(|document| document["webhook"].is_object());
        for document in &of_others {
            note(&format!(
                "left out: {}, which is not yours to change",
                full_name(document)
            ));
        }
        let registries = registries(&client, &repositories).await?;
        let mut unknown = BTreeSet::new();
        let mut repositories: Vec<Value> = repositories
            .into_iter()
            .map(|document| entry_of_repository(document, &mut unknown))
            .collect();
        repositories.sort_by_cached_key(|entry| entry["name"].as_str().map(str::to_owned));
        let registries: Vec<Value> = registries
            .into_iter()
            .map(|document| known_part::<Registry>(document, "registries", &mut unknown))
            .collect();
        for field in unknown {
            note(&format!("left out: {field}, a field that this version does not know"));
        }
        let file: File = serde_json::from_value(json!({ "repositories": repositories, "registries": registries }))
            .map_err(|error| {
                Failure::Failed(format!(
                    "the server has something that this version does not know: {error}"
                ))
            })?;
        match self.json {
            true => out.json(&json!(file))?,
            false => out.foreign(render(&file).map_err(Failure::Failed)?.as_bytes())?,
        }
        Ok(())
    }
}

/// The server's registries, where we may see them, and those of every namespace with a repository.
async fn registries(client: &Client, repositories: &[Value]) -> Result<Vec<Value>, Failure> {
    let namespaces: BTreeSet<&str> = repositories
        .iter()
        .filter_map(|entry| entry["namespace"].as_str())
        .collect();
    let mut entries = Vec::new();
    for namespace in [None].into_iter().chain(namespaces.into_iter().map(Some)) {
        let (owner, path) = match namespace {
            Some(namespace) => (namespace, vec!["namespaces", namespace, "registries"]),
            None => ("the whole server", vec!["registries"]),
        };
        match client.list(&path, &[], None).await {
            Ok(found) => entries.extend(found),
            Err(ClientError::Refused { status, message }) if matches!(status.as_u16(), 401 | 403 | 404) => {
                note(&format!("left out: the registries of {owner}: {message}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(entries)
}

fn full_name(document: &Value) -> String {
    let part = |key: &str| document[key].as_str().unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name"))
}

/// `namespace` and `name` become one.
fn entry_of_repository(mut document: Value, unknown: &mut BTreeSet<String>) -> Value {
    let name = full_name(&document);
    if let Value::Object(fields) = &mut document {
        fields.remove("namespace");
        fields.insert("name".to_owned(), json!(name));
    }
    let mut entry = known_part::<Repository>(document, "repositories", unknown);
    entry["source"] = known_part::<Source>(entry["source"].take(), "repositories.source", unknown);
    if !entry["limits"].is_null() {
        entry["limits"] = known_part::<Limits>(entry["limits"].take(), "repositories.limits", unknown);
    }
    for rule in entry["rules"].as_array_mut().into_iter().flatten() {
        *rule = known_part::<Rule>(rule.take(), "repositories.rules", unknown);
        if rule["schedule"].is_object() {
            rule["schedule"] = known_part::<Schedule>(rule["schedule"].take(), "repositories.rules.schedule", unknown);
        }
    }
    entry
}

/// A document without the fields that the file does not have. A newer server may report more than this version knows.
fn known_part<T: for<'de> Deserialize<'de>>(mut document: Value, at: &str, unknown: &mut BTreeSet<String>) -> Value {
    let known = document::fields_of::<T>();
    if let Value::Object(fields) = &mut document {
        fields.retain(|field, _| {
            let is_known = known.contains(&field.as_str());
            if !is_known {
                unknown.insert(format!("{at}.{field}"));
            }
            is_known
        });
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_reported_is_left_out() {
        let document = json!({
            "namespace": "team", "name": "app", "visibility": "private", "description": "d", "image": null,
            "source": {"provider": "github", "url": "https://x/y.git", "account": null, "submodules": true,
                "credentials_set": true},
            "rules": [{"id": "r", "source_type": "branch", "source": "main", "docker_tag": "1.20"}],
            "links": [], "detect_base_images": true,
            "limits": {"timeout_seconds": null, "memory_bytes": null, "cpus": null}, "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z", "stars": 1, "pulls": 2, "last_build": null,
            "webhook": {"url": "http://x", "secret_set": true}, "build_secrets_set": ["npm"],
        });
        let mut unknown = BTreeSet::new();
        let file: File =
            serde_json::from_value(json!({ "repositories": [entry_of_repository(document, &mut unknown)] })).unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        let text = render(&file).unwrap();
        for absent in [
            "webhook",
            "created_at",
            "credentials",
            "secrets",
            "stars",
            "limits",
            "namespace:",
            "id:",
        ] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
        assert!(text.contains("name: team/app"), "{text}");
    }

    #[test]
    fn what_a_newer_server_reports_is_left_out_by_name() {
        let document = json!({
            "namespace": "team", "name": "app", "colour": "red",
            "source": {"provider": "github", "url": "https://x/y.git", "depth": 1},
            "rules": [{"source_type": "branch", "source": "main", "docker_tag": "latest", "shell": "sh",
                "schedule": {"cron": "@daily", "jitter": 5}}],
        });
        let mut unknown = BTreeSet::new();
        let entry = entry_of_repository(document, &mut unknown);
        let repository: Repository = serde_json::from_value(entry).unwrap();
        assert_eq!((repository.name.as_str(), repository.rules.len()), ("team/app", 1));
        let unknown: Vec<_> = unknown.iter().map(String::as_str).collect();
        assert_eq!(
            unknown,
            [
                "repositories.colour",
                "repositories.rules.schedule.jitter",
                "repositories.rules.shell",
                "repositories.source.depth"
            ]
        );
    }
}

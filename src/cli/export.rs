//! `hullworks export`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    apply::document::{File, render},
    client::{Client, ClientError},
    failure::Failure,
    output::{Output, note},
};

/// Fields of a registry's entry in the file; the API reports more.
const REGISTRY_FIELDS: [&str; 4] = ["namespace", "host", "username", "trusted_realms"];

/// Print repositories, rules, links and registries as the file that `apply` takes
///
/// Secrets are not in it: the server gives none back. Applied again it changes nothing.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Print JSON instead of YAML
    #[arg(long)]
    json: bool,
}

impl Export {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        let repositories = client.list(&["repositories"], &[], None).await?;
        let registries = registries(&client, &repositories).await?;
        let mut repositories: Vec<Value> = repositories.into_iter().map(entry_of_repository).collect();
        repositories.sort_by_cached_key(|entry| entry["name"].as_str().map(str::to_owned));
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
            Ok(found) => entries.extend(found.into_iter().map(|entry| entry_of_registry(entry, namespace))),
            Err(ClientError::Refused { status, .. }) if matches!(status.as_u16(), 401 | 403 | 404) => {
                note(&format!(
                    "left out: the registries of {owner}, which are not yours to see"
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(entries)
}

/// `namespace` and `name` become one.
fn entry_of_repository(mut document: Value) -> Value {
    let part = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let name = format!("{}/{}", part("namespace"), part("name"));
    if let Value::Object(fields) = &mut document {
        fields.remove("namespace");
        fields.insert("name".to_owned(), json!(name));
    }
    document
}

fn entry_of_registry(mut document: Value, namespace: Option<&str>) -> Value {
    if let Value::Object(fields) = &mut document {
        fields.retain(|key, _| REGISTRY_FIELDS.contains(&key.as_str()));
        fields.insert("namespace".to_owned(), json!(namespace));
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
            "links": [], "detect_base_images": true, "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z", "stars": 1, "pulls": 2, "last_build": null,
            "webhook": {"url": "http://x", "secret_set": true}, "build_secrets_set": ["npm"],
        });
        let file: File = serde_json::from_value(json!({ "repositories": [entry_of_repository(document)] })).unwrap();
        let text = render(&file).unwrap();
        for absent in [
            "webhook",
            "created_at",
            "credentials",
            "secrets",
            "stars",
            "namespace:",
            "id:",
        ] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
        assert!(text.contains("name: team/app"), "{text}");
    }

    #[test]
    fn a_registry_keeps_what_the_file_has() {
        let entry = json!({"host": "r.example.com", "username": "u", "password_set": true, "trusted_realms": [], "webhook": {}});
        assert_eq!(
            entry_of_registry(entry, Some("team")),
            json!({"namespace": "team", "host": "r.example.com", "username": "u", "trusted_realms": []})
        );
    }
}

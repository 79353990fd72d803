//! Rules as people know them: by what they build, and as what. Their ids say nothing to anybody.

use std::collections::HashMap;

use serde_json::Value;

use super::client::Client;
use crate::domain::repository::RepositoryName;

/// A repository's rules by their ids.
pub struct RuleNames(HashMap<String, String>);

impl RuleNames {
    /// Asks the server. A name is a courtesy: where the rules cannot be had, ids have to do.
    pub async fn look_up(client: &Client, repository: &RepositoryName) -> Self {
        let path = ["repositories", repository.namespace(), repository.name()];
        Self::of(&client.get(&path, &[]).await.unwrap_or_default())
    }

    fn of(document: &Value) -> Self {
        let rules = document["rules"].as_array().into_iter().flatten();
        let named = rules.filter_map(|rule| Some((rule["id"].as_str()?.to_owned(), describe(rule))));
        Self(named.collect())
    }

    pub fn name(&self, id: &str) -> String {
        self.0.get(id).cloned().unwrap_or_else(|| format!("rule {id}"))
    }
}

/// A rule in a few words: `branch main -> latest`, with the directory where it is not the source's own, and its schedule.
pub fn describe(rule: &Value) -> String {
    let text = |key: &str| rule[key].as_str().unwrap_or_default();
    let mut name = format!("{} {} -> {}", text("source_type"), text("source"), text("docker_tag"));
    if !matches!(text("context"), "" | "/") {
        name.push_str(&format!(" (in {})", text("context")));
    }
    let schedule = |key: &str| rule["schedule"][key].as_str();
    if let Some(cron) = schedule("cron") {
        name.push_str(&format!(" (at {cron}, {})", schedule("time_zone").unwrap_or("UTC")));
    }
    name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_is_named_by_what_it_builds_and_as_what() {
        let document = json!({ "rules": [
            {"id": "1", "source_type": "branch", "source": "main", "docker_tag": "latest", "context": "/"},
            {"id": "2", "source_type": "tag", "source": "/^v(.*)$/", "docker_tag": "{\\1}", "context": "/services/worker"},
            {"id": "4", "source_type": "branch", "source": "main", "docker_tag": "weekly", "context": "/",
                "schedule": {"cron": "0 4 * * 1", "time_zone": "Europe/Berlin", "no_cache": true}},
        ]});
        let names = RuleNames::of(&document);
        assert_eq!(names.name("1"), "branch main -> latest");
        assert_eq!(names.name("2"), r"tag /^v(.*)$/ -> {\1} (in /services/worker)");
        assert_eq!(names.name("4"), "branch main -> weekly (at 0 4 * * 1, Europe/Berlin)");
        assert_eq!(names.name("3"), "rule 3");
        assert_eq!(RuleNames::of(&Value::Null).name("1"), "rule 1");
    }
}

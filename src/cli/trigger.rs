//! `hullworks trigger`.

use serde_json::{Map, Value, json};

use super::{
    client::Client,
    failure::Failure,
    follow::{Show, follow_all, verdict},
    output::{Output, note},
    reference::parse_repository,
    rules::RuleNames,
};
use crate::domain::repository::RepositoryName;

/// Start builds of a repository
///
/// Without --branch, --tag or --docker-tag every rule with a literal branch or tag builds. The ids of the builds are
/// printed, one a line; with --follow their logs, one after the other.
#[derive(Debug, clap::Args)]
pub struct Trigger {
    /// The repository
    #[arg(value_name = "NS/NAME", value_parser = parse_repository)]
    repository: RepositoryName,
    /// Build this branch, by the rules that match it
    #[arg(long, value_name = "BRANCH", conflicts_with = "tag")]
    branch: Option<String>,
    /// Build this git tag, by the rules that match it
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Build this commit of the branch or tag instead of its tip
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
    /// Build only what gets this Docker tag
    #[arg(long, value_name = "TAG")]
    docker_tag: Option<String>,
    /// Use no cache
    #[arg(long)]
    no_cache: bool,
    /// Show logs until the builds end, and exit with their outcome: 0 only if all succeeded
    #[arg(long)]
    follow: bool,
    /// Print the API's JSON; with --follow the builds as they ended, and no logs
    #[arg(long)]
    json: bool,
}

impl Trigger {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        let path = [
            "repositories",
            self.repository.namespace(),
            self.repository.name(),
            "trigger",
        ];
        let mut answer = client.post(&path, &self.body()).await?;
        let ids: Vec<String> = ids_of(&answer);
        if !self.json {
            self.explain(&client, &answer["not_built"]).await;
        }
        if self.follow {
            let show = if self.json { Show::Nothing } else { Show::Log };
            let ended = follow_all(&client, &ids, show, &mut out).await?;
            let outcome = verdict(&ended);
            if self.json {
                answer["builds"] = Value::Array(ended);
                out.json(&answer)?;
            }
            outcome?;
        } else if self.json {
            out.json(&answer)?;
        } else {
            for id in &ids {
                out.line(id)?;
            }
        }
        match ids.is_empty() {
            true => {
                note("no rule matched: nothing is built");
                Err(Failure::EndedBadly)
            }
            false => Ok(()),
        }
    }

    /// Says of each rule that does not build why.
    async fn explain(&self, client: &Client, not_built: &Value) {
        let not_built = not_built.as_array().filter(|rules| !rules.is_empty());
        let Some(not_built) = not_built else { return };
        let names = RuleNames::look_up(client, &self.repository).await;
        for rule in not_built {
            let text = |key: &str| rule[key].as_str().unwrap_or_default();
            note(&format!("not built: {}: {}", names.name(text("rule")), text("reason")));
        }
    }

    fn body(&self) -> Value {
        let mut body = Map::new();
        let named = self.branch.as_ref().map(|name| ("branch", name));
        if let Some((kind, name)) = named.or(self.tag.as_ref().map(|name| ("tag", name))) {
            body.insert("source_type".to_owned(), json!(kind));
            body.insert("source_name".to_owned(), json!(name));
        }
        if let Some(commit) = &self.commit {
            body.insert("commit".to_owned(), json!(commit));
        }
        if let Some(tag) = &self.docker_tag {
            body.insert("docker_tag".to_owned(), json!(tag));
        }
        if self.no_cache {
            body.insert("no_cache".to_owned(), json!(true));
        }
        Value::Object(body)
    }
}

fn ids_of(answer: &Value) -> Vec<String> {
    let builds = answer["builds"].as_array().into_iter().flatten();
    builds
        .filter_map(|build| build["id"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        trigger: Trigger,
    }

    #[test]
    fn the_request_has_what_was_asked_for_and_nothing_else() {
        let check = |flags: &[&str], expected: Value| {
            let probe = Probe::try_parse_from(["probe", "team/app"].iter().chain(flags)).unwrap();
            assert_eq!(probe.trigger.body(), expected);
        };
        check(&[], json!({}));
        check(&["--branch", "x"], json!({"source_type": "branch", "source_name": "x"}));
        check(
            &["--tag", "v1", "--commit", "abc", "--no-cache", "--docker-tag", "1.0"],
            json!({"source_type": "tag", "source_name": "v1", "commit": "abc", "no_cache": true, "docker_tag": "1.0"}),
        );
    }

    #[test]
    fn a_branch_and_a_tag_at_once_are_refused() {
        assert!(Probe::try_parse_from(["probe", "team/app", "--branch", "a", "--tag", "b"]).is_err());
    }
}

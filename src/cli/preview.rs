//! `hullworks preview`.

use serde_json::{Value, json};

use super::{client::Client, failure::Failure, output::Output, reference::parse_repository, rules::RuleNames};
use crate::domain::repository::RepositoryName;

/// Show what a push to a branch or tag would build, and build nothing
///
/// A line for each rule: `builds` with the Docker tags, or `nothing` with the reason.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("ref").required(true).args(["branch", "tag"])))]
pub struct Preview {
    /// The repository
    #[arg(value_name = "NS/NAME", value_parser = parse_repository)]
    repository: RepositoryName,
    /// A push to this branch
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// A push of this git tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

impl Preview {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        let body = match (&self.branch, &self.tag) {
            (Some(branch), _) => json!({ "source_type": "branch", "source_name": branch }),
            (None, tag) => json!({ "source_type": "tag", "source_name": tag }),
        };
        let path = [
            "repositories",
            self.repository.namespace(),
            self.repository.name(),
            "preview",
        ];
        let answer = client.post(&path, &body).await?;
        if self.json {
            out.json(&answer)?;
            return Ok(());
        }
        let names = RuleNames::look_up(&client, &self.repository).await;
        for found in answer["matches"].as_array().into_iter().flatten() {
            let tags = found["tags"].as_array().into_iter().flatten();
            let tags: Vec<_> = tags.filter_map(Value::as_str).collect();
            let text = |key: &str| found[key].as_str().unwrap_or_default();
            let paths = found["paths"].as_array().into_iter().flatten();
            let paths: Vec<_> = paths.filter_map(Value::as_str).collect();
            let condition = match paths.is_empty() {
                true => String::new(),
                false => format!(", if a changed file matches {}", paths.join(" ")),
            };
            out.line(&format!(
                "builds   {}: {} from {} in {}{condition}",
                names.name(text("rule")),
                tags.join(", "),
                text("dockerfile"),
                text("context")
            ))?;
        }
        for other in answer["not_matched"].as_array().into_iter().flatten() {
            let text = |key: &str| other[key].as_str().unwrap_or_default();
            out.line(&format!("nothing  {}: {}", names.name(text("rule")), text("reason")))?;
        }
        Ok(())
    }
}

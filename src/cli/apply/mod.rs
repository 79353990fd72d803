//! `hullworks apply`: makes repositories and registries as a file has them.

mod check;
mod diff;
pub mod document;

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use self::{
    diff::{Change, compare},
    document::{File, Registry, Repository},
};
use super::{
    client::Client,
    failure::Failure,
    output::{Output, note},
    rules,
};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Make repositories, rules, links and registries as a YAML file has them
///
/// The file has two lists. `repositories`: documents as the API has them, with `name: namespace/name`. `registries`:
/// `host`, `username`, `password`, `trusted_realms`, and `namespace` unless they are the whole server's. What is not in
/// the file is left alone; applying a file twice changes nothing the second time.
///
/// `webhook_secret`, `credentials`, `password` and the values of `build_secrets` may be `${NAME}`: the environment
/// variable's value is taken. A created repository's webhook address and secret are printed, once.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// The file, `-` for standard input
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: what became of each entry, with the API's answer
    #[arg(long)]
    json: bool,
}

/// One entry and what is to become of it.
struct Step {
    title: String,
    path: Vec<String>,
    body: Value,
    change: Change,
}

impl Apply {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let text = read(&self.file)?;
        let name = match self.file == Path::new("-") {
            true => "standard input".to_owned(),
            false => self.file.display().to_string(),
        };
        let refused = |message: String| Failure::Failed(format!("{name}: {message}"));
        let mut file = document::parse(&text).map_err(refused)?;
        let variable = |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok());
        check::prepare(&mut file, &variable).map_err(|lines| refused(format!("\n  {}", lines.join("\n  "))))?;
        let client = Client::from_environment()?;
        let steps = plan(&client, file).await?;
        let summary = summary(&steps, self.dry_run);
        let mut results = Vec::new();
        let carry_out_all = async {
            for step in steps {
                let answer = match self.dry_run || step.change == Change::Unchanged {
                    true => Value::Null,
                    false => step.carry_out(&client).await?,
                };
                match self.json {
                    true => results.push(step.result(answer)),
                    false => step.describe(&answer, self.dry_run, &mut out)?,
                }
            }
            Ok::<(), Failure>(())
        };
        let done = carry_out_all.await;
        // Also after a failure: secrets that were made for earlier entries are shown this once.
        if self.json {
            out.json(&json!({ "dry_run": self.dry_run, "entries": results }))?;
        }
        done?;
        if !self.json {
            note(&summary);
        }
        Ok(())
    }
}

/// To how many entries what was done, or would be.
fn summary(steps: &[Step], is_dry_run: bool) -> String {
    let count = |word: &str| steps.iter().filter(|step| step.word() == word).count();
    let counted: Vec<String> = [
        ("create", "created"),
        ("change", "changed"),
        ("secrets", "with secrets set again"),
        ("unchanged", "unchanged"),
    ]
    .into_iter()
    .map(|(word, done)| (count(word), done))
    .filter(|&(count, _)| count > 0)
    .map(|(count, done)| format!("{count} {done}"))
    .collect();
    match (counted.is_empty(), is_dry_run) {
        (true, _) => "the file has no entries".to_owned(),
        (false, true) => format!("nothing was done; without --dry-run: {}", counted.join(", ")),
        (false, false) => counted.join(", "),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let named = |error: io::Error| Failure::Failed(format!("failed to read {}: {error}", path.display()));
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => io::stdin().lock().take(MAX_FILE + 1).read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text)),
    };
    match read.map_err(named)? as u64 > MAX_FILE {
        true => Err(named(io::ErrorKind::FileTooLarge.into())),
        false => Ok(text),
    }
}

/// Asks for everything first: what is refused to a reader fails before anything is written.
async fn plan(client: &Client, file: File) -> Result<Vec<Step>, Failure> {
    let registries = file.registries.into_iter().map(registry_step);
    let mut steps = Vec::new();
    // Registries first: a repository's first build may need them.
    for (title, path, body) in registries.chain(file.repositories.into_iter().map(repository_step)) {
        let segments: Vec<_> = path.iter().map(String::as_str).collect();
        let current = client.find(&segments).await?;
        let change = compare(current.as_ref(), &body);
        steps.push(Step {
            title,
            path,
            body,
            change,
        });
    }
    Ok(steps)
}

fn repository_step(repository: Repository) -> (String, Vec<String>, Value) {
    let path = ["repositories"].into_iter().chain(repository.name.split('/'));
    let path = path.map(str::to_owned).collect();
    (
        format!("repository {}", repository.name),
        path,
        without(json!(repository), &["name"]),
    )
}

fn registry_step(registry: Registry) -> (String, Vec<String>, Value) {
    let host = registry.host.as_str();
    let (title, path) = match registry.namespace.as_deref() {
        Some(namespace) => (
            format!("registry {host} of {namespace}"),
            vec!["namespaces", namespace, "registries", host],
        ),
        None => (format!("registry {host}"), vec!["registries", host]),
    };
    let path = path.into_iter().map(str::to_owned).collect();
    (title, path, without(json!(registry), &["namespace", "host"]))
}

fn without(mut document: Value, keys: &[&str]) -> Value {
    if let Value::Object(fields) = &mut document {
        fields.retain(|key, _| !keys.contains(&key.as_str()));
    }
    document
}

impl Step {
    async fn carry_out(&self, client: &Client) -> Result<Value, Failure> {
        let path: Vec<_> = self.path.iter().map(String::as_str).collect();
        let put = client.put(&path, &self.body).await;
        put.map_err(|error| match Failure::from(error) {
            Failure::Failed(message) => Failure::Failed(format!("{}: {message}", self.title)),
            other => other,
        })
    }

    fn word(&self) -> &'static str {
        match self.change {
            Change::Create => "create",
            Change::Update(_) => "change",
            Change::SecretsOnly(_) => "secrets",
            Change::Unchanged => "unchanged",
        }
    }

    fn lines(&self) -> &[String] {
        match &self.change {
            Change::Update(lines) | Change::SecretsOnly(lines) => lines,
            Change::Create | Change::Unchanged => &[],
        }
    }

    fn result(&self, answer: Value) -> Value {
        json!({ "entry": self.title, "change": self.word(), "fields": self.lines(), "answer": answer })
    }

    fn describe(&self, answer: &Value, is_dry_run: bool, out: &mut Output) -> io::Result<()> {
        out.line(&format!("{:<10}{}", self.word(), self.title))?;
        for line in self.lines() {
            out.line(&format!("          {line}"))?;
        }
        if self.change == Change::Create {
            let told = match is_dry_run {
                true => preview_of_new(&self.body),
                false => webhook_of_new(answer),
            };
            told.iter()
                .try_for_each(|line| out.line(&format!("          {line}")))?;
        }
        Ok(())
    }
}

/// What a repository that is to be created is in short; nothing for a registry.
fn preview_of_new(body: &Value) -> Vec<String> {
    let source = body["source"]["url"].as_str().map(|url| format!("source: {url}"));
    let rules = body["rules"].as_array().into_iter().flatten();
    let rules = rules.map(|rule| format!("rule: {}", rules::describe(rule)));
    source.into_iter().chain(rules).collect()
}

/// Where the forge is to report to, for a repository that was created.
fn webhook_of_new(answer: &Value) -> Vec<String> {
    // A registry's is left to whoever looks for it: it need not report anything.
    let Some(url) = answer["webhook"]["url"].as_str().filter(|_| answer["host"].is_null()) else {
        return vec![];
    };
    // A secret that was made there is in the answer to the request that created it, and never again.
    let secret = match answer["webhook"]["secret"].as_str() {
        Some(secret) => format!("webhook secret, shown this once: {secret}"),
        None => "webhook secret: the one in the file".to_owned(),
    };
    vec![format!("webhook address: {url}"), secret]
}

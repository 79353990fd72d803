//! What can be said about a file before the server is asked, and secrets put in from the environment.

use std::collections::HashSet;

use super::document::{Credentials, File, Registry, Repository, Rule};
use crate::domain::{
    image::{ImageReference, is_registry_host, is_valid_registry_host},
    path_filter::PathFilter,
    repository::{Provider, RepositoryName, Visibility, check_image, check_name},
    rule::{self, SourceType},
};

/// Puts secrets in from the environment and checks every entry. All that is wrong is said at once, a line each, with
/// entry and field.
pub fn prepare(file: &mut File, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), Vec<String>> {
    let mut wrong = Wrong::default();
    let mut names = HashSet::new();
    for (index, repository) in file.repositories.iter_mut().enumerate() {
        wrong.entry = format!("repositories[{index}] ({})", repository.name);
        if !names.insert(repository.name.clone()) {
            wrong.at("name", "it is there twice");
        }
        fill_secrets(repository, variable, &mut wrong);
        check_repository(repository, &mut wrong);
    }
    let mut hosts = HashSet::new();
    for (index, registry) in file.registries.iter_mut().enumerate() {
        wrong.entry = format!("registries[{index}] ({})", registry.host);
        if !hosts.insert((registry.namespace.clone(), registry.host.clone())) {
            wrong.at("host", "it is there twice for the same namespace");
        }
        fill(&mut registry.password, "password", variable, &mut wrong);
        check_registry(registry, &mut wrong);
    }
    if wrong.lines.is_empty() {
        Ok(())
    } else {
        Err(wrong.lines)
    }
}

#[derive(Default)]
struct Wrong {
    entry: String,
    lines: Vec<String>,
}

impl Wrong {
    fn at(&mut self, field: &str, message: impl std::fmt::Display) {
        self.lines.push(format!("{}: {field}: {message}", self.entry));
    }
}

fn fill_secrets(repository: &mut Repository, variable: &dyn Fn(&str) -> Option<String>, wrong: &mut Wrong) {
    fill(
        &mut repository.source.webhook_secret,
        "source.webhook_secret",
        variable,
        wrong,
    );
    if let Some(credentials) = &mut repository.source.credentials {
        let Credentials {
            username,
            password,
            ssh_key,
        } = credentials;
        fill(username, "source.credentials.username", variable, wrong);
        fill(password, "source.credentials.password", variable, wrong);
        fill(ssh_key, "source.credentials.ssh_key", variable, wrong);
    }
    for (name, value) in repository.build_secrets.iter_mut().flatten() {
        fill(value, &format!("build_secrets.{name}"), variable, wrong);
    }
}

/// Replaces `${NAME}` by the variable's value. A reference is the whole value: secrets may hold anything else.
fn fill(value: &mut Option<String>, field: &str, variable: &dyn Fn(&str) -> Option<String>, wrong: &mut Wrong) {
    let Some(text) = value else { return };
    let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return;
    };
    match variable(name) {
        Some(secret) if !secret.is_empty() => *text = secret,
        _ => wrong.at(field, format_args!("the environment variable {name} is not set")),
    }
}

fn check_repository(repository: &Repository, wrong: &mut Wrong) {
    if let Err(error) = RepositoryName::parse(&repository.name) {
        wrong.at("name", format_args!("{error}; it is namespace/name"));
    }
    if let Some(text) = &repository.visibility
        && Visibility::parse(text).is_none()
    {
        wrong.at("visibility", "it is public or private");
    }
    if let Some(Err(error)) = repository.image.as_deref().map(check_image) {
        wrong.at("image", error);
    }
    if Provider::parse(&repository.source.provider).is_none() {
        let known = Provider::ALL.map(Provider::as_str).join(", ");
        wrong.at("source.provider", format_args!("it is one of {known}"));
    }
    if let Some(credentials) = &repository.source.credentials {
        let password = credentials.username.is_some() && credentials.password.is_some();
        if password == credentials.ssh_key.is_some() {
            wrong.at("source.credentials", "they are username and password, or ssh_key");
        }
    }
    for (field, images) in [
        ("links", &repository.links),
        ("ignored_base_images", &repository.ignored_base_images),
    ] {
        for (index, image) in images.iter().enumerate() {
            if let Err(error) = ImageReference::parse(image) {
                wrong.at(&format!("{field}[{index}]"), error);
            }
        }
    }
    for (index, rule) in repository.rules.iter().enumerate() {
        check_rule(rule, index, wrong);
    }
}

fn check_rule(rule: &Rule, index: usize, wrong: &mut Wrong) {
    let Some(source_type) = SourceType::parse(&rule.source_type) else {
        wrong.at(&format!("rules[{index}].source_type"), "it is branch or tag");
        return;
    };
    let domain_rule = rule::Rule {
        id: String::new().into(),
        source_type,
        source: rule.source.clone(),
        docker_tag: rule.docker_tag.clone(),
        dockerfile: rule.dockerfile.clone(),
        context: rule.context.clone(),
        autobuild: rule.autobuild,
        cache: rule.cache,
        target: rule.target.clone(),
        platforms: rule.platforms.clone(),
        build_args: rule.build_args.clone(),
        paths: rule.paths.clone(),
        schedule: rule.schedule.clone(),
    };
    if let Err(error) = domain_rule.check() {
        wrong.at(&format!("rules[{index}].{}", error.field), error.message);
    }
    for invalid in PathFilter::faults(&rule.paths) {
        let place = invalid.index.map_or(String::new(), |at| format!("[{at}]"));
        wrong.at(&format!("rules[{index}].paths{place}"), invalid.message);
    }
}

fn check_registry(registry: &Registry, wrong: &mut Wrong) {
    if let Some(Err(error)) = registry.namespace.as_deref().map(check_name) {
        wrong.at("namespace", error);
    }
    if !(is_valid_registry_host(&registry.host) && is_registry_host(&registry.host)) {
        wrong.at(
            "host",
            "it is a registry's host as images name it, such as registry.example.com:5000",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{super::document::parse, *};

    fn variable(name: &str) -> Option<String> {
        (name == "SECRET").then(|| "the secret: #1".to_owned())
    }

    fn check(text: &str, expected: &[&str]) {
        let lines = prepare(&mut parse(text).unwrap(), &variable).err().unwrap_or_default();
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, start) in lines.iter().zip(expected) {
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn secrets_come_from_the_environment() {
        let mut file = parse(
            "repositories: [{name: a/b, source: {provider: github, url: x, webhook_secret: '${SECRET}', \
             credentials: {username: u, password: '${SECRET}'}}, build_secrets: {npm: '${SECRET}', kept: null}}]",
        )
        .unwrap();
        prepare(&mut file, &variable).unwrap();
        let source = &file.repositories[0].source;
        assert_eq!(source.webhook_secret.as_deref(), Some("the secret: #1"));
        let secrets = file.repositories[0].build_secrets.as_ref().unwrap();
        assert_eq!(
            (secrets["npm"].as_deref(), secrets["kept"].as_deref()),
            (Some("the secret: #1"), None)
        );
        assert_eq!(
            source.credentials.as_ref().unwrap().password.as_deref(),
            Some("the secret: #1")
        );
    }

    #[test]
    fn all_that_is_wrong_is_said_with_entry_and_field() {
        check(
            "
repositories:
  - {name: a/b, visibility: secret, source: {provider: git, url: x, webhook_secret: '${ABSENT}'}, links: ['A B'], ignored_base_images: ['C D']}
  - {name: a/b, source: {provider: github, url: x, credentials: {username: u}}}
  - name: App
    source: {provider: github, url: x}
    rules: [{source_type: head, source: main, docker_tag: latest}, {source_type: branch, source: main, docker_tag: 'no tag', paths: [a, '[']}]
registries:
  - {host: team, username: u, password: p}
  - {namespace: X, host: 'r.example.com', username: u, password: p}
",
            &[
                "repositories[0] (a/b): source.webhook_secret: the environment variable ABSENT",
                "repositories[0] (a/b): visibility",
                "repositories[0] (a/b): source.provider",
                "repositories[0] (a/b): links[0]",
                "repositories[0] (a/b): ignored_base_images[0]",
                "repositories[1] (a/b): name: it is there twice",
                "repositories[1] (a/b): source.credentials",
                "repositories[2] (App): name",
                "repositories[2] (App): rules[0].source_type",
                "repositories[2] (App): rules[1].docker_tag",
                "repositories[2] (App): rules[1].paths[1]",
                "registries[0] (team): host",
                "registries[1] (r.example.com): namespace",
            ],
        );
    }
}

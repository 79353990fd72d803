//! The form as the API's document, and the API's problems as the form's.

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::fields::{RepositoryForm, RuleFields};
use crate::{domain::repository::Repository, web::problem::FieldError};

impl RepositoryForm {
    /// Takes away rows in which nothing was typed.
    pub fn tidy(&mut self) {
        let is_blank = |text: &str| text.trim().is_empty();
        self.links.retain(|link| !is_blank(link));
        self.build_secrets
            .retain(|secret| !is_blank(&secret.name) || !secret.value.expose_secret().is_empty());
        for rule in &mut self.rules {
            rule.build_args
                .retain(|argument| !is_blank(&argument.name) || !argument.value.is_empty());
        }
    }

    /// What was typed, over `base`: the document of the stored repository, whose other fields stay as they are.
    pub fn to_document(&self, base: Value, is_new: bool) -> Value {
        let mut document = match base {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        if is_new {
            document.insert("visibility".to_owned(), json!(self.visibility));
        }
        document.insert("description".to_owned(), json!(self.description.trim()));
        match self.image.trim() {
            "" => drop(document.remove("image")),
            image => drop(document.insert("image".to_owned(), json!(image))),
        }
        let source = document.entry("source").or_insert_with(|| json!({}));
        source["provider"] = json!(self.provider);
        source["url"] = json!(self.url.trim());
        source["submodules"] = json!(self.submodules);
        match (self.remove_credentials, self.has_credentials()) {
            (true, false) => source["credentials"] = Value::Null,
            (_, true) => {
                source["credentials"] = json!({
                    "username": self.username.trim(), "password": self.password.expose_secret(),
                });
            }
            (false, false) => {}
        }
        document.insert("rules".to_owned(), self.rules.iter().map(rule).collect());
        let links = self.links.iter().map(|link| json!(link.trim())).collect();
        document.insert("links".to_owned(), links);
        document.insert("detect_base_images".to_owned(), json!(self.detect_base_images));
        document.insert("build_secrets".to_owned(), self.secrets());
        document.insert("limits".to_owned(), self.limits.read().0);
        Value::Object(document)
    }

    fn has_credentials(&self) -> bool {
        !self.username.trim().is_empty() || !self.password.expose_secret().is_empty()
    }

    /// A value by name; null keeps a stored one.
    fn secrets(&self) -> Value {
        let secrets = self.build_secrets.iter().map(|secret| {
            let value = match secret.value.expose_secret() {
                "" => Value::Null,
                value => json!(value),
            };
            (secret.name.trim().to_owned(), value)
        });
        Value::Object(secrets.collect())
    }

    /// What is wrong with the form that a document made from it cannot show.
    pub fn own_faults(&self, stored: Option<&Repository>) -> Vec<FieldError> {
        let (_, mut faults) = self.limits.read();
        for (index, rule) in self.rules.iter().enumerate() {
            let names: Vec<&str> = rule.build_args.iter().map(|argument| argument.name.trim()).collect();
            for at in repeated(&names) {
                let field = format!("rules[{index}].build_args[{at}].name");
                faults.push(FieldError::new(field, format!("`{}` is here twice", names[at])));
            }
        }
        let names: Vec<&str> = self.build_secrets.iter().map(|secret| secret.name.trim()).collect();
        for at in repeated(&names) {
            let field = format!("build_secrets[{at}].name");
            faults.push(FieldError::new(field, format!("`{}` is here twice", names[at])));
        }
        let is_stored =
            |name: &str| stored.is_some_and(|stored| stored.build_secrets.iter().any(|known| known == name));
        let missing = match (self.username.trim(), self.password.expose_secret()) {
            ("", password) if !password.is_empty() => Some(("username", "a password needs its user name")),
            (user, "") if !user.is_empty() => Some(("password", "a user name needs its password or access token")),
            _ => None,
        };
        if let Some((field, message)) = missing {
            faults.push(FieldError::new(format!("source.credentials.{field}"), message));
        }
        for (index, secret) in self.build_secrets.iter().enumerate() {
            if secret.value.expose_secret().is_empty() && !is_stored(secret.name.trim()) {
                let field = format!("build_secrets[{index}].value");
                faults.push(FieldError::new(field, "a new secret needs a value"));
            }
        }
        faults
    }

    /// The API's problems, by the form's own fields.
    pub fn faults_of(&self, errors: &[FieldError]) -> Vec<FieldError> {
        let faults = errors.iter().filter_map(|error| {
            if error.field == "source.credentials" {
                // One without the other is a fault of the form's own.
                let message = "the stored ones are for another host: type them again, or remove them";
                return (!self.has_credentials()).then(|| FieldError::new("source.credentials.password", message));
            }
            if let Some((rule, pattern)) = error.field.split_once(".paths[") {
                let number = pattern
                    .trim_end_matches(']')
                    .parse::<usize>()
                    .map_or(0, |index| index + 1);
                let message = format!("pattern {number}: {}", error.message);
                return Some(FieldError::new(format!("{rule}.paths"), message));
            }
            let field = self.field_of(&error.field)?;
            Some(FieldError::new(field, error.message.clone()))
        });
        faults.collect()
    }

    /// `None` where the form has said it already, better.
    fn field_of(&self, path: &str) -> Option<String> {
        if let Some(name) = path.strip_prefix("build_secrets.") {
            let index = self
                .build_secrets
                .iter()
                .position(|secret| secret.name.trim() == name)?;
            let is_new_without_value = self.build_secrets[index].value.expose_secret().is_empty();
            return (!is_new_without_value).then(|| format!("build_secrets[{index}].name"));
        }
        if let Some((rule, name)) = path.split_once(".build_args.") {
            let index = rule.strip_prefix("rules[")?.strip_suffix(']')?.parse::<usize>().ok()?;
            let arguments = &self.rules.get(index)?.build_args;
            let argument = arguments.iter().position(|argument| argument.name.trim() == name)?;
            return Some(format!("{rule}.build_args[{argument}].name"));
        }
        Some(path.to_owned())
    }
}

fn rule(rule: &RuleFields) -> Value {
    let platforms: Vec<&str> = rule
        .platform
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    let arguments: Map<String, Value> = rule
        .build_args
        .iter()
        .map(|argument| (argument.name.trim().to_owned(), json!(argument.value)))
        .collect();
    json!({
        "source_type": rule.source_type,
        "source": rule.source.trim(),
        "docker_tag": rule.docker_tag.trim(),
        "dockerfile": rule.dockerfile.trim(),
        "context": rule.context.trim(),
        "target": rule.target.trim(),
        "platforms": platforms,
        "autobuild": rule.autobuild,
        "cache": rule.cache,
        "build_args": arguments,
        "paths": rule.patterns(),
        "schedule": rule.schedule.read(),
    })
}

/// Where a name stands that stands before it too.
fn repeated(names: &[&str]) -> Vec<usize> {
    (0..names.len())
        .filter(|&at| names[..at].contains(&names[at]))
        .collect()
}

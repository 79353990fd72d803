//! Checks a repository document and turns it into a change of the store. Every fault is found before anything is answered,
//! so that a person corrects a document once.

use std::collections::BTreeMap;

use super::document::{CredentialsInput, RepositoryInput, RuleInput, SourceInput};
use crate::{
    domain::{
        ids::{RepositoryId, RuleId},
        image::ImageReference,
        limits::Limits,
        path_filter::PathFilter,
        repository::{Provider, Repository, RepositoryName, check_image, default_image},
        rule::Rule,
        source_url::SourceUrl,
    },
    secrets::{self, SourceCredentials},
    store::{RepositoryChange, Sight, SourceSecret},
    web::{
        Web,
        base_images::check_circle,
        problem::{FieldError, Problem},
    },
};

/// Most rules, links, build arguments and build secrets that a document may have, of each.
const MOST_ENTRIES: usize = 200;

/// Longest description, in bytes: Docker Hub's.
const LONGEST_DESCRIPTION: usize = 25_000;

/// Checks a document against everything that can be known now; 422 with every field at fault.
///
/// `sight`: what whoever saves it may see. `id` is what the secrets are sealed for: the stored repository's, or the one it gets if it is new.
pub async fn checked_change(
    web: &Web,
    sight: &Sight,
    name: &RepositoryName,
    input: &RepositoryInput,
    (id, existing): (&RepositoryId, Option<&Repository>),
) -> Result<RepositoryChange, Problem> {
    let mut errors = Vec::new();
    check_names(name, input, &mut errors);
    check_sizes(input, &mut errors);
    let image = check_own_image(web, name, input, &mut errors);
    let provider = check_source(web, &input.source, &mut errors);
    let credentials = seal_credentials(web, id, &input.source.credentials, &mut errors);
    let rules = input
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| checked_rule(index, rule, &mut errors))
        .collect();
    let links = check_images("links", &input.links, &mut errors);
    let ignored_base_images = check_images("ignored_base_images", &input.ignored_base_images, &mut errors);
    let limits = check_limits(input, &mut errors);
    let build_secrets = seal_build_secrets(web, id, input, existing, &mut errors);
    check_build_args(input, existing, &mut errors);
    check_credentials_stay(input, existing, &mut errors);
    let visibility = match (input.visibility, existing) {
        (Some(visibility), _) => visibility,
        // Whoever does not speak of it does not make public what was private.
        (None, Some(existing)) => existing.visibility,
        (None, None) => web.store.visibility_of_new(name.namespace()).await?,
    };
    // Without a fault there is a provider.
    let (Some(provider), true) = (provider, errors.is_empty()) else {
        return Err(Problem::invalid(errors));
    };
    let seal = |secret: &String| web.vault.seal(&secrets::webhook_secret(id.as_str()), secret);
    let change = RepositoryChange {
        name: name.clone(),
        visibility,
        description: input.description.clone(),
        image,
        provider,
        source_url: input.source.url.clone(),
        source_account: input.source.account.clone(),
        submodules: input.source.submodules,
        rules,
        links,
        detect_base_images: input.detect_base_images,
        ignored_base_images,
        limits,
        build_secrets,
        credentials,
        webhook_secret: input.source.webhook_secret.as_ref().map(seal),
        last_changed: None,
    };
    match check_circle(web, sight, &change, existing).await? {
        None => Ok(change),
        Some(error) => Err(Problem::invalid(vec![error])),
    }
}

/// Stored credentials are for the host that they were given for: whoever moves the source elsewhere must give them again,
/// or they could be had by letting them be sent.
fn check_credentials_stay(input: &RepositoryInput, existing: Option<&Repository>, errors: &mut Vec<FieldError>) {
    let Some(stored) = existing.filter(|stored| stored.source.credentials_set && input.source.credentials.is_none())
    else {
        return;
    };
    let origin = |text: &str| url::Url::parse(text).ok().map(|url| url.origin());
    if origin(&stored.source.url) != origin(&input.source.url) {
        let message = "the stored ones are for another host; give them again, or null to remove them";
        errors.push(FieldError::new("source.credentials", message));
    }
}

fn check_names(name: &RepositoryName, input: &RepositoryInput, errors: &mut Vec<FieldError>) {
    for (field, given, wanted) in [
        ("namespace", &input.namespace, name.namespace()),
        ("name", &input.name, name.name()),
    ] {
        if given.as_ref().is_some_and(|given| given != wanted) {
            errors.push(FieldError::new(
                field,
                format!("the address says `{wanted}`; leave it out or repeat it"),
            ));
        }
    }
}

fn check_sizes(input: &RepositoryInput, errors: &mut Vec<FieldError>) {
    if input.description.len() > LONGEST_DESCRIPTION {
        errors.push(FieldError::new(
            "description",
            format!("it is longer than {LONGEST_DESCRIPTION} bytes"),
        ));
    }
    for (field, count) in [
        ("rules", input.rules.len()),
        ("links", input.links.len()),
        ("ignored_base_images", input.ignored_base_images.len()),
        (
            "build_secrets",
            input.build_secrets.as_ref().map_or(0, |secrets| secrets.0.len()),
        ),
    ] {
        if count > MOST_ENTRIES {
            errors.push(FieldError::new(field, format!("there are more than {MOST_ENTRIES}")));
        }
    }
}

/// The image as it is to be stored: none where it is the default anyway, so that it follows a change of the default.
fn check_own_image(
    web: &Web,
    name: &RepositoryName,
    input: &RepositoryInput,
    errors: &mut Vec<FieldError>,
) -> Option<String> {
    let image = input.image.as_ref()?;
    if let Err(error) = check_image(image) {
        errors.push(FieldError::new("image", error.to_string()));
    }
    (*image != default_image(name, web.settings.default_registry.as_deref())).then(|| image.clone())
}

fn check_source(web: &Web, source: &SourceInput, errors: &mut Vec<FieldError>) -> Option<Provider> {
    if let Err(error) = SourceUrl::parse(&source.url, web.settings.source_policy) {
        errors.push(FieldError::new("source.url", error.to_string()));
    }
    if source
        .webhook_secret
        .as_ref()
        .is_some_and(|secret| secret.trim().is_empty())
    {
        let message = "a webhook without a secret cannot exist; left out, one is made";
        errors.push(FieldError::new("source.webhook_secret", message));
    }
    let provider = Provider::parse(&source.provider);
    if provider.is_none() {
        let known: Vec<&str> = Provider::ALL.iter().map(|provider| provider.as_str()).collect();
        let message = format!("`{}` is not known; there are: {}", source.provider, known.join(", "));
        errors.push(FieldError::new("source.provider", message));
    }
    provider
}

fn seal_credentials(
    web: &Web,
    id: &RepositoryId,
    input: &Option<Option<CredentialsInput>>,
    errors: &mut Vec<FieldError>,
) -> SourceSecret {
    const FIELD: &str = "source.credentials";
    let credentials = match input {
        None => return SourceSecret::Keep,
        Some(None) => return SourceSecret::Remove,
        Some(Some(credentials)) => credentials,
    };
    if credentials.ssh_key.is_some() {
        let message = "SSH is not supported by this version; use https with a user name and an access token";
        errors.push(FieldError::new(format!("{FIELD}.ssh_key"), message));
        return SourceSecret::Keep;
    }
    match (&credentials.username, &credentials.password) {
        (Some(username), Some(password)) if !username.is_empty() && !password.is_empty() => {
            let credentials = SourceCredentials {
                username: username.clone(),
                password: password.clone().into(),
            };
            let purpose = secrets::source_credentials(id.as_str());
            SourceSecret::Set(web.vault.seal(&purpose, &credentials.to_text()))
        }
        _ => {
            errors.push(FieldError::new(
                FIELD,
                "it is {\"username\", \"password\"}, neither empty",
            ));
            SourceSecret::Keep
        }
    }
}

fn checked_rule(index: usize, input: &RuleInput, errors: &mut Vec<FieldError>) -> Rule {
    let rule = Rule {
        // The store gives a rule that is new its id.
        id: RuleId::from(""),
        source_type: input.source_type,
        source: input.source.clone(),
        docker_tag: input.docker_tag.clone(),
        dockerfile: input.dockerfile.clone(),
        context: input.context.clone(),
        autobuild: input.autobuild,
        cache: input.cache,
        target: input.target.clone(),
        platforms: input.platforms.clone(),
        build_args: input.build_args.0.clone(),
        paths: input.paths.clone(),
        schedule: input.schedule.clone(),
    };
    let mut refuse =
        |field: &str, message: String| errors.push(FieldError::new(format!("rules[{index}].{field}"), message));
    if let Err(invalid) = rule.check() {
        refuse(invalid.field, invalid.message);
    }
    for invalid in PathFilter::faults(&rule.paths) {
        let field = invalid
            .index
            .map_or("paths".to_owned(), |index| format!("paths[{index}]"));
        refuse(&field, invalid.message);
    }
    if rule.build_args.len() > MOST_ENTRIES {
        refuse("build_args", format!("there are more than {MOST_ENTRIES}"));
    }
    rule
}

/// Fully named, sorted, each once.
fn check_images(field: &str, images: &[String], errors: &mut Vec<FieldError>) -> Vec<String> {
    let mut named = Vec::with_capacity(images.len());
    for (index, image) in images.iter().enumerate() {
        match ImageReference::parse(image) {
            Ok(image) => named.push(image.to_string()),
            Err(error) => errors.push(FieldError::new(format!("{field}[{index}]"), error.to_string())),
        }
    }
    named.sort();
    named.dedup();
    named
}

fn check_limits(input: &RepositoryInput, errors: &mut Vec<FieldError>) -> Limits {
    let limits = Limits::from(input.limits);
    for invalid in limits.check() {
        errors.push(FieldError::new(format!("limits.{}", invalid.field), invalid.message));
    }
    limits
}

fn seal_build_secrets(
    web: &Web,
    id: &RepositoryId,
    input: &RepositoryInput,
    existing: Option<&Repository>,
    errors: &mut Vec<FieldError>,
) -> Option<Vec<(String, Option<Vec<u8>>)>> {
    let secrets = &input.build_secrets.as_ref()?.0;
    let stored = existing.map_or(&[][..], |repository| &repository.build_secrets);
    let mut sealed = Vec::with_capacity(secrets.len());
    for (name, value) in secrets {
        let mut refuse = |message: &str| errors.push(FieldError::new(format!("build_secrets.{name}"), message));
        if !is_secret_name(name) {
            refuse("a name has letters, digits, `.`, `_` and `-`, at most 100");
        }
        match value {
            Some(value) if value.is_empty() => refuse("it is empty"),
            None if !stored.contains(name) => refuse("null keeps a stored value, and there is none"),
            _ => {}
        }
        let value = value
            .as_ref()
            .map(|value| web.vault.seal(&secrets::build_secret(id.as_str(), name), value));
        sealed.push((name.clone(), value));
    }
    Some(sealed)
}

fn is_secret_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
}

/// Build arguments can be read in an image's history: what is meant as a secret must not be one as well.
fn check_build_args(input: &RepositoryInput, existing: Option<&Repository>, errors: &mut Vec<FieldError>) {
    let stored = existing.map(|repository| &repository.build_secrets);
    let is_secret = |name: &String| match (&input.build_secrets, stored) {
        (Some(secrets), _) => secrets.0.contains_key(name),
        (None, Some(stored)) => stored.contains(name),
        (None, None) => false,
    };
    for (index, rule) in input.rules.iter().enumerate() {
        let arguments: &BTreeMap<String, String> = &rule.build_args.0;
        for name in arguments.keys().filter(|name| is_secret(name)) {
            let message = "this is a build secret's name; an argument's value stays readable in the image";
            errors.push(FieldError::new(format!("rules[{index}].build_args.{name}"), message));
        }
    }
}

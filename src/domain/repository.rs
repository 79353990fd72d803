//! Repositories: what they are called and where their source is.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    ids::{HookId, RepositoryId},
    image::{self, ImageReference, InvalidReference},
    limits::Limits,
    rule::Rule,
};

/// Why a namespace or a repository's name cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a name: names are lower case letters and digits, joined by single `.`, `_` or `-`, at most {MAX_NAME} characters"
)]
pub struct InvalidName(String);

/// Longest namespace or name, in bytes; the registries' own limit for a whole image name is 255.
pub const MAX_NAME: usize = 100;

/// Checks `[a-z0-9]+([._-][a-z0-9]+)*`, the form of a namespace, a repository's name and a user's name.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    let well_formed = !bytes.is_empty()
        && bytes.len() <= MAX_NAME
        && bytes
            .iter()
            .all(|&c| alphanumeric(c) || matches!(c, b'.' | b'_' | b'-'))
        && alphanumeric(bytes[0])
        && alphanumeric(bytes[bytes.len() - 1])
        && bytes.windows(2).all(|pair| pair.iter().any(|&c| alphanumeric(c)));
    if well_formed {
        Ok(())
    } else {
        Err(InvalidName(name.to_owned()))
    }
}

/// `namespace/name`, both in the form that [`check_name`] demands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName {
    namespace: String,
    name: String,
}

impl RepositoryName {
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidName> {
        check_name(namespace)?;
        check_name(name)?;
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Parses `namespace/name`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (namespace, name) = text.split_once('/').ok_or_else(|| InvalidName(text.to_owned()))?;
        Self::new(namespace, name)
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Who may see a repository, its builds and their logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody, without signing in.
    #[default]
    Public,
    /// Those who may write to the namespace.
    Private,
}

impl Visibility {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Public, Self::Private].into_iter().find(|v| v.as_str() == text)
    }
}

/// Whose webhooks a repository takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// GitHub and GitHub Enterprise Server, and the `post-receive` hook for plain git servers.
    Github,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Bitbucket Data Center.
    BitbucketServer,
}

impl Provider {
    pub const ALL: [Self; 3] = [Self::Github, Self::Bitbucket, Self::BitbucketServer];

    /// As it is spelled in documents and in a webhook's address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Bitbucket => "bitbucket",
            Self::BitbucketServer => "bitbucket-server",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// An image repository with its source, rules and links; secrets are only counted, never held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    pub id: RepositoryId,
    pub name: RepositoryName,
    pub visibility: Visibility,
    pub description: String,
    /// The image's name as configured, without a tag; `None`: [`default_image`].
    pub image: Option<String>,
    pub source: Source,
    pub hook_id: HookId,
    pub rules: Vec<Rule>,
    /// Base images linked by hand, fully named, sorted.
    pub links: Vec<String>,
    pub detect_base_images: bool,
    /// Images that it stands on and is not to be built again for, fully named, sorted.
    pub ignored_base_images: Vec<String>,
    pub limits: Limits,
    /// Names of the secrets that builds may mount, sorted.
    pub build_secrets: Vec<String>,
    pub stars: u64,
    pub pulls: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Where a repository's source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub provider: Provider,
    pub url: String,
    pub account: Option<String>,
    pub submodules: bool,
    pub credentials_set: bool,
}

/// The image of a repository that names none: `namespace/name` at the default registry, if there is one.
pub fn default_image(name: &RepositoryName, default_registry: Option<&str>) -> String {
    match default_registry {
        Some(registry) => format!("{registry}/{name}"),
        None => name.to_string(),
    }
}

/// Checks an image name that is to get its tags from rules.
pub fn check_image(text: &str) -> Result<ImageReference, InvalidReference> {
    let reference = ImageReference::parse(text)?;
    let has_own_tag = text.rsplit_once('/').map_or(text, |(_, last)| last).contains(':');
    if has_own_tag || reference.digest.is_some() {
        return Err(InvalidReference {
            name: text.to_owned(),
            reason: "its tags come from the rules; leave tag and digest out",
        });
    }
    Ok(reference)
}

/// Whether an image is to be pushed: it names a registry, or there are credentials for the one meant by default.
pub fn is_pushed(image: &str, has_credentials: bool) -> bool {
    image::names_registry(image) || has_credentials
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_words_joined_by_single_separators() {
        for good in ["a", "0", "app", "my-app", "a.b_c-d", "x1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "App",
            "-a",
            "a-",
            "a--b",
            "a._b",
            "a/b",
            "a b",
            "ä",
            "a\0",
            &"a".repeat(MAX_NAME + 1),
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_repository_is_named_by_exactly_two_names() {
        assert_eq!(
            RepositoryName::parse("team/app").map(|n| n.to_string()),
            Ok("team/app".to_owned())
        );
        for bad in ["team", "team/", "/app", "team/app/x", "Team/app"] {
            assert!(RepositoryName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_provider_and_visibility_is_spelled_one_way() {
        for provider in Provider::ALL {
            assert_eq!(Provider::parse(provider.as_str()), Some(provider));
            assert_eq!(serde_json::to_value(provider).unwrap(), provider.as_str());
        }
        for visibility in [Visibility::Public, Visibility::Private] {
            assert_eq!(Visibility::parse(visibility.as_str()), Some(visibility));
            assert_eq!(serde_json::to_value(visibility).unwrap(), visibility.as_str());
        }
    }

    #[test]
    fn an_image_gets_its_tags_from_the_rules() {
        assert!(check_image("localhost:5000/team/app").is_ok());
        for bad in [
            "app:latest",
            "localhost:5000/app:1",
            &format!("app@sha256:{}", "a".repeat(64)),
            "App",
            "",
        ] {
            assert!(check_image(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_default_image_is_at_the_default_registry() {
        let name = RepositoryName::parse("team/app").unwrap();
        assert_eq!(default_image(&name, Some("r.example.com")), "r.example.com/team/app");
        assert_eq!(default_image(&name, None), "team/app");
    }

    #[test]
    fn an_image_without_a_registry_stays_in_the_engine() {
        assert!(is_pushed("r.example.com/team/app", false));
        assert!(!is_pushed("team/app", false));
        assert!(is_pushed("team/app", true));
    }
}

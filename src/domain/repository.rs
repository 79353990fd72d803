//! Repositories: what they are called and where their source is.

use std::fmt;

use serde::{Deserialize, Serialize};

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
}

//! Whom the provider means, as far as it says. All of it but issuer and subject is a suggestion: people choose names and
//! addresses freely at many providers.

use serde_json::Value;

use super::{OidcError, id_token::Claims};

/// Longest text that is taken over, in characters.
const LONGEST: usize = 200;

/// Groups that are looked at.
const MOST_GROUPS: usize = 1000;

/// Somebody, as the provider knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    /// Never another's at the same issuer, and never changes.
    pub subject: String,
    pub email: Option<String>,
    /// What they like to be called by, such as a login name.
    pub username: Option<String>,
    pub full_name: Option<String>,
    /// `None`: nothing is said of groups.
    pub groups: Option<Vec<String>>,
}

impl Identity {
    /// From claims that were checked.
    pub(super) fn new(issuer: &str, claims: &Claims) -> Result<Self, OidcError> {
        let subject = claims.get("sub").and_then(Value::as_str);
        Ok(Self {
            issuer: issuer.to_owned(),
            subject: subject
                .ok_or_else(|| OidcError::Untrusted("it does not say whom it is about".to_owned()))?
                .to_owned(),
            email: line(claims, "email").filter(|email| email.contains('@')),
            username: line(claims, "preferred_username").or_else(|| line(claims, "nickname")),
            full_name: line(claims, "name"),
            groups: groups(claims),
        })
    }

    /// Whether the provider should be asked for more than the ID token says.
    pub(super) fn lacks_something(&self, wants_groups: bool) -> bool {
        self.email.is_none() || self.username.is_none() || (wants_groups && self.groups.is_none())
    }

    /// Takes over from the answer of the userinfo endpoint what is missing. It must be about the same person.
    pub(super) fn complete_with(&mut self, told: &Claims) -> Result<(), OidcError> {
        let told = Self::new(&self.issuer, told)?;
        if told.subject != self.subject {
            return Err(OidcError::Untrusted("its userinfo is about somebody else".to_owned()));
        }
        self.email = self.email.take().or(told.email);
        self.username = self.username.take().or(told.username);
        self.full_name = self.full_name.take().or(told.full_name);
        self.groups = self.groups.take().or(told.groups);
        Ok(())
    }

    /// Whether they are in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().flatten().any(|known| known == group)
    }
}

fn line(claims: &Claims, name: &str) -> Option<String> {
    let text = one_line(claims.get(name)?.as_str()?, LONGEST);
    (!text.is_empty()).then_some(text)
}

fn groups(claims: &Claims) -> Option<Vec<String>> {
    let groups = claims.get("groups")?.as_array()?.iter().take(MOST_GROUPS);
    Some(groups.filter_map(|group| group.as_str().map(str::to_owned)).collect())
}

/// A text of the provider as one line of at most so many characters.
pub(super) fn one_line(text: &str, longest: usize) -> String {
    let line: String = text.chars().filter(|c| !c.is_control()).take(longest).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identity(claims: Value) -> Identity {
        Identity::new("https://id.example.com", claims.as_object().unwrap()).unwrap()
    }

    #[test]
    fn what_is_not_as_it_should_be_is_left_out() {
        let odd = identity(json!({
            "sub": "1", "email": "not an address", "preferred_username": 7, "name": "A\r\nB\0", "groups": "all",
        }));
        assert_eq!((&odd.email, &odd.username, &odd.groups), (&None, &None, &None));
        assert_eq!(odd.full_name.as_deref(), Some("AB"));
        let long = identity(json!({"sub": "1", "name": "x".repeat(LONGEST + 1), "groups": ["a", 1, "b"]}));
        assert_eq!(long.full_name.unwrap().len(), LONGEST);
        assert_eq!(long.groups, Some(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn userinfo_fills_gaps_and_replaces_nothing() {
        let mut ann = identity(json!({"sub": "1", "email": "ann@example.com"}));
        assert!(ann.lacks_something(false));
        let told = json!({"sub": "1", "email": "x@example.com", "preferred_username": "ann", "groups": ["staff"]});
        ann.complete_with(told.as_object().unwrap()).unwrap();
        assert_eq!(ann.email.as_deref(), Some("ann@example.com"));
        assert_eq!(ann.username.as_deref(), Some("ann"));
        assert!(ann.is_in("staff") && !ann.is_in("root") && !ann.lacks_something(true));
    }

    #[test]
    fn userinfo_about_somebody_else_is_refused() {
        let mut ann = identity(json!({"sub": "1"}));
        for other in [json!({"sub": "2"}), json!({})] {
            let error = ann.complete_with(other.as_object().unwrap()).unwrap_err();
            assert!(matches!(error, OidcError::Untrusted(_)), "{error}");
        }
    }
}

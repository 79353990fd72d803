//! Names for a new user whom a provider knows by another, which follows other rules and may be taken here.

use crate::{
    domain::repository::{MAX_NAME, check_name},
    oidc::Identity,
};

/// Numbers that are tried after a name that is taken.
const NUMBERS: std::ops::RangeInclusive<u32> = 2..=30;

/// Longest name that is suggested, in characters, with room for a number.
const LONGEST: usize = MAX_NAME - 10;

/// Valid names in the order in which they are to be tried: what the provider suggests, then with a number.
pub fn suggested_names(identity: &Identity) -> impl Iterator<Item = String> {
    let local_part = |text: &str| text.split('@').next().unwrap_or_default().to_owned();
    let wishes = [
        identity.username.as_deref().map(local_part),
        identity.email.as_deref().map(local_part),
        identity.full_name.clone(),
    ];
    let names = wishes.into_iter().flatten().map(|wish| valid(&wish));
    let best = names
        .into_iter()
        .find(|name| check_name(name).is_ok())
        .unwrap_or_else(|| "user".to_owned());
    let numbered = best.clone();
    std::iter::once(best).chain(NUMBERS.map(move |number| format!("{numbered}-{number}")))
}

/// A wish in the form that names have; empty where nothing of it is left.
fn valid(wish: &str) -> String {
    let mut name = String::new();
    for c in wish.chars().flat_map(char::to_lowercase).take(LONGEST) {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if name.is_empty() || name.ends_with(['.', '_', '-']) => {}
            '.' | '_' => name.push(c),
            _ => name.push('-'),
        }
    }
    name.truncate(name.trim_end_matches(['.', '_', '-']).len());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(username: Option<&str>, email: Option<&str>, full_name: Option<&str>) -> Vec<String> {
        let identity = Identity {
            issuer: "https://id.example.com".to_owned(),
            subject: "1".to_owned(),
            email: email.map(str::to_owned),
            username: username.map(str::to_owned),
            full_name: full_name.map(str::to_owned),
            groups: None,
        };
        suggested_names(&identity).collect()
    }

    #[test]
    fn every_suggestion_is_a_name_and_the_best_wish_comes_first() {
        let check = |username, email, full_name, expected: &str| {
            let names = names(username, email, full_name);
            assert_eq!(names[0], expected);
            for name in names {
                check_name(&name).unwrap();
            }
        };
        check(Some("ann"), Some("x@example.com"), None, "ann");
        check(Some("Ann.Lee@example.com"), None, None, "ann.lee");
        check(Some("  Ann  --  Lee!! "), None, None, "ann-lee");
        check(Some("Ångström"), None, None, "ngstr-m");
        check(Some("..__--"), Some("bob@example.com"), None, "bob");
        check(None, None, Some("Ann Lee"), "ann-lee");
        check(Some("名前"), None, None, "user");
        check(None, None, None, "user");
        check(Some(&"x".repeat(500)), None, None, &"x".repeat(LONGEST));
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        assert_eq!(names(Some("ann"), None, None)[..3], ["ann", "ann-2", "ann-3"]);
    }
}

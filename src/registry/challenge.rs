//! Reads `WWW-Authenticate` headers: RFC 9110, section 11.6.1.
//!
//! What can be read in two ways is not read at all: the engine could read it in the other.

/// Longest header that is read, in bytes; challenges have a few hundred.
const MAX_HEADER: usize = 8 * 1024;

/// One way to authenticate that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case: `basic`, `bearer`.
    pub(super) scheme: String,
    /// Names in lower case, each at most once.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads the challenges of one header, of which there may be several. `None`: the header is malformed.
pub(super) fn parse(header: &str) -> Option<Vec<Challenge>> {
    if header.len() > MAX_HEADER {
        return None;
    }
    let mut rest = header;
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(challenges);
        }
        let word = take_token(&mut rest)?;
        let after = skip_blanks(rest);
        match after.strip_prefix('=') {
            // A parameter of the challenge that was begun.
            Some(value) => {
                rest = skip_blanks(value);
                let value = take_value(&mut rest)?;
                ends_item(rest)?;
                let name = word.to_ascii_lowercase();
                let parameters = &mut challenges.last_mut()?.parameters;
                if parameters.iter().any(|(known, _)| *known == name) {
                    return None;
                }
                parameters.push((name, value));
            }
            None => {
                challenges.push(Challenge {
                    scheme: word.to_ascii_lowercase(),
                    parameters: Vec::new(),
                });
                rest = skip_token68(after);
            }
        }
    }
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// What a parameter is followed by: a comma, or the end.
fn ends_item(rest: &str) -> Option<()> {
    let rest = skip_blanks(rest);
    (rest.is_empty() || rest.starts_with(',')).then_some(())
}

/// After a scheme there may be one opaque word instead of parameters (`Negotiate YII=`). It is of no use here.
fn skip_token68(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "-._~+/".contains(c)))
        .unwrap_or(text.len());
    let after = text[end..].trim_start_matches('=');
    if end > 0 && ends_item(after).is_some() {
        after
    } else {
        text
    }
}

fn take_token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(rest.len());
    let (token, after) = rest.split_at(end);
    *rest = after;
    (!token.is_empty()).then_some(token)
}

fn take_value(rest: &mut &str) -> Option<String> {
    let Some(quoted) = rest.strip_prefix('"') else {
        return take_token(rest).map(str::to_owned);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                *rest = &quoted[at + 1..];
                return Some(value);
            }
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scheme name=value name=value`, one challenge an entry.
    fn read(header: &str) -> Option<Vec<String>> {
        let show = |challenge: Challenge| {
            let parameters = challenge
                .parameters
                .iter()
                .map(|(name, value)| format!(" {name}={value}"));
            challenge.scheme.clone() + &parameters.collect::<String>()
        };
        Some(parse(header)?.into_iter().map(show).collect())
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        let check = |header: &str, expected: &[&str]| {
            assert_eq!(read(header).unwrap(), expected, "{header}");
        };
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull""#,
            &[
                "bearer realm=https://auth.docker.io/token service=registry.docker.io scope=repository:library/alpine:pull",
            ],
        );
        check(r#"Basic realm="basic-realm""#, &["basic realm=basic-realm"]);
        check(
            r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull,push""#,
            &["bearer realm=https://ghcr.io/token service=ghcr.io scope=repository:user/image:pull,push"],
        );
        check("BASIC REALM = x , Charset=utf-8", &["basic realm=x charset=utf-8"]);
    }

    #[test]
    fn several_challenges_in_one_header_are_told_apart() {
        let check = |header: &str, expected: &[&str]| {
            assert_eq!(read(header).unwrap(), expected, "{header}");
        };
        check("", &[]);
        check(" , ,", &[]);
        check("Negotiate", &["negotiate"]);
        check("Bearer realm=", &["bearer"]);
        check("Negotiate, Basic realm=x", &["negotiate", "basic realm=x"]);
        check(
            r#"Negotiate YII+/a==, Bearer realm="r", a=b"#,
            &["negotiate", "bearer realm=r a=b"],
        );
        check(
            r#"Basic realm="a, Bearer realm=\"x\"", Bearer realm="b""#,
            &[r#"basic realm=a, Bearer realm="x""#, "bearer realm=b"],
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        for bad in [
            r#"Bearer realm="a",realm="b""#,
            r#"Bearer realm="a",Realm="b""#,
            r#"Bearer realm="a"#,
            r#"Bearer realm="a\"#,
            r#"Bearer realm="a" service="b""#,
            r#"Bearer realm="a"b"#,
            "Bearer realm==x",
            "realm=x",
            "Bearer realm=https://x",
            "Bearer (x)",
            "\u{e9}",
            "=",
            "\"",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&format!("Bearer realm=\"{}\"", "x".repeat(MAX_HEADER))), None);
    }

    #[test]
    fn no_header_makes_the_reader_panic() {
        let alphabet = ["Bearer", " ", "realm", "=", "\"", "\\", ",", "x", "é", "\t", "=="];
        for number in 0..alphabet.len().pow(5) {
            let mut number = number;
            let mut header = String::new();
            for _ in 0..5 {
                header.push_str(alphabet[number % alphabet.len()]);
                number /= alphabet.len();
            }
            let _ = parse(&header);
        }
    }
}

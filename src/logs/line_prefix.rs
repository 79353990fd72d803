//! What the builder writes before each line: `#5 ` before its own words on step 5, `#5 0.123 ` before those of the program
//! that the step runs. A program cannot write such a line itself: the builder's prefix goes before its own.

/// Longest number of a step.
const MAX_DIGITS: usize = 5;

/// The beginning of a line that belongs to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Counted from 1.
    pub step: u32,
    /// In bytes, with the space that ends it.
    pub length: usize,
    /// A program says what follows, not the builder.
    pub is_output: bool,
}

/// The prefix of a line, if the builder gave it one.
pub fn prefix_of(line: &[u8]) -> Option<Prefix> {
    let rest = line.strip_prefix(b"#")?;
    let digits = digits(rest);
    if !(1..=MAX_DIGITS).contains(&digits) || rest.get(digits) != Some(&b' ') {
        return None;
    }
    let step = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let length = 1 + digits + 1;
    let time = time(&line[length..]);
    Some(Prefix {
        step,
        length: length + time,
        is_output: time > 0,
    })
}

/// The length of `12.345 `, where it begins the text; seconds since the step began.
fn time(text: &[u8]) -> usize {
    let whole = digits(text);
    if !(1..=9).contains(&whole) || text.get(whole) != Some(&b'.') {
        return 0;
    }
    let after = &text[whole + 1..];
    match digits(after) == 3 && after.get(3) == Some(&b' ') {
        true => whole + 1 + 3 + 1,
        false => 0,
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(u32, &str, bool)>) {
        let found = prefix_of(line.as_bytes()).map(|prefix| (prefix.step, &line[..prefix.length], prefix.is_output));
        assert_eq!(found, expected, "{line:?}");
    }

    #[test]
    fn prefixes_are_told_from_text() {
        check("#1 [internal] load", Some((1, "#1 ", false)));
        check("#12 0.123 text", Some((12, "#12 0.123 ", true)));
        check("#12 0.123 ", Some((12, "#12 0.123 ", true)));
        check("#12 0.12 text", Some((12, "#12 ", false)));
        check("#12 DONE 0.1s", Some((12, "#12 ", false)));
        check("#12", None);
        check("# 12 x", None);
        check("#123456 x", None);
        check("x #1 y", None);
        check("", None);
    }
}

//! Heredocs: which bodies follow an instruction, and where each ends.

use super::{
    lines::{BACKSLASH, keyword},
    words::{is_space, split_instruction},
};

/// Most heredocs of one instruction.
const MAX_BODIES: usize = 1000;

/// One body that follows an instruction's line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    name: Vec<u8>,
    /// `<<-`: tabs before the last line do not count.
    tabs: bool,
}

impl Body {
    /// Whether this line ends the body.
    pub(super) fn ends_at(&self, line: &[u8]) -> bool {
        let tabs = match self.tabs {
            true => line.iter().take_while(|&&c| c == b'\t').count(),
            false => 0,
        };
        line[tabs..] == self.name
    }
}

/// The bodies that follow an instruction, in their order. Only `ADD`, `COPY` and `RUN` have some, also behind `ONBUILD`,
/// and never in the form of a list.
pub(super) fn bodies(text: &[u8]) -> Vec<Body> {
    let instruction = split_instruction(text);
    let instruction = match keyword(text).as_slice() {
        b"ONBUILD" => split_instruction(&text[instruction.rest]),
        _ => instruction,
    };
    let may = [&b"ADD"[..], b"COPY", b"RUN"].contains(&instruction.keyword.to_ascii_uppercase().as_slice());
    if !may || is_list(&instruction.arguments()) {
        return Vec::new();
    }
    shell_words(text)
        .into_iter()
        .filter_map(body)
        .take(MAX_BODIES)
        .collect()
}

fn is_list(arguments: &[u8]) -> bool {
    arguments.trim_ascii_start().starts_with(b"[")
        && serde_json::from_slice::<Vec<String>>(arguments.trim_ascii()).is_ok()
}

/// Reads a word like `<<EOF`, `3<<-"EOF"`.
fn body(word: Vec<u8>) -> Option<Body> {
    let digits = word.iter().take_while(|c| c.is_ascii_digit()).count();
    let rest = word[digits..].strip_prefix(b"<<")?;
    let (tabs, rest) = match rest.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.contains(&b'<') {
        return None;
    }
    let name = unquoted(rest);
    (!name.is_empty()).then_some(Body { name, tabs })
}

/// Splits as a shell does and keeps quotes and escapes as they stand. A quote that does not end makes no words.
fn shell_words(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut quote) = (Vec::new(), Vec::new(), None);
    let mut bytes = text.iter().copied();
    while let Some(c) = bytes.next() {
        match quote {
            None if is_space(c) => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if matches!(c, b'"' | b'\'') => quote = Some(c),
            Some(end) if c == end => quote = None,
            _ => {}
        }
        word.push(c);
        if c == BACKSLASH && quote != Some(b'\'') {
            word.extend(bytes.next());
        }
    }
    if quote.is_some() {
        return Vec::new();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn unquoted(word: &[u8]) -> Vec<u8> {
    let (mut result, mut quote) = (Vec::new(), None);
    let mut bytes = word.iter().copied();
    while let Some(c) = bytes.next() {
        match quote {
            None if matches!(c, b'"' | b'\'') => quote = Some(c),
            Some(end) if c == end => quote = None,
            None if c == BACKSLASH => result.extend(bytes.next()),
            _ => result.push(c),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_named_in_every_way_that_a_shell_knows() {
        let check = |text: &str, expected: &[(&str, bool)]| {
            let found: Vec<_> = bodies(text.as_bytes())
                .into_iter()
                .map(|body| (String::from_utf8(body.name).unwrap(), body.tabs))
                .collect();
            let expected: Vec<_> = expected.iter().map(|&(name, tabs)| (name.to_owned(), tabs)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("RUN <<EOF", &[("EOF", false)]);
        check("run cat <<-EOF 3<<\"B C\" > /x", &[("EOF", true), ("B C", false)]);
        check("COPY <<'A' <<B /dir/", &[("A", false), ("B", false)]);
        check("ONBUILD RUN <<E\\OF", &[("EOF", false)]);
        check("RUN cat <<<word", &[]);
        check("RUN echo '<<EOF'", &[]);
        check("RUN [\"cat\", \"<<EOF\"]", &[]);
        check("RUN [ -f x ] && cat <<EOF", &[("EOF", false)]);
        check("CMD <<EOF", &[]);
        check("RUN <<", &[]);
        check("RUN echo 'open <<EOF", &[]);
    }
}

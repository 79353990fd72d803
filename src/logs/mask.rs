//! Blackens secrets in a stream of bytes, wherever the stream is cut into pieces.
//!
//! Every byte that belongs to an occurrence of some form of a secret is covered, overlapping occurrences too, and each run
//! of covered bytes becomes [`MASK`]. So what comes out depends on the whole text alone, never on how it arrived.
//! Nothing that could still turn out to be part of a secret may leave before that is decided.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use secrecy::{ExposeSecret, SecretString};

use super::secret_forms::add_forms;

/// What stands in place of a secret.
pub const MASK: &[u8] = b"***";
/// Bound on the memory of a masker; all forms of all secrets together, in bytes.
const MAX_FORMS_BYTES: usize = 4 * 1024 * 1024;
/// How much is copied at a time, in bytes, so that one huge write needs no huge copy.
const STEP: usize = 16 * 1024;

/// Knows the secrets of one build.
pub struct Masker {
    /// None without secrets.
    search: Option<Search>,
}

struct Search {
    /// After any text its state stands for the longest end of that text with which some form begins.
    automaton: NFA,
    start: StateID,
    /// The length of that end by state, ordered by state.
    depths: Vec<(StateID, usize)>,
}

/// The secrets are too large to be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secrets of the build are too large to be masked in its log")]
pub struct SecretsTooLarge;

impl Masker {
    /// Masks `secrets` in all their forms. Whitespace around them and those shorter than 4 bytes are ignored.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Result<Self, SecretsTooLarge> {
        let mut forms = BTreeSet::new();
        let mut size = 0;
        for secret in secrets {
            size += secret.expose_secret().len();
            if size > MAX_FORMS_BYTES {
                return Err(SecretsTooLarge);
            }
            add_forms(secret.expose_secret(), &mut forms);
            if forms.iter().map(Vec::len).sum::<usize>() > MAX_FORMS_BYTES {
                return Err(SecretsTooLarge);
            }
        }
        let search = if forms.is_empty() {
            None
        } else {
            Some(Search::new(&forms)?)
        };
        Ok(Self { search })
    }

    /// Masks a text that is whole.
    pub fn mask(self: &Arc<Self>, text: &[u8]) -> Vec<u8> {
        let mut masked = Vec::with_capacity(text.len());
        let mut stream = MaskStream::new(Arc::clone(self));
        stream.push(text, &mut masked);
        stream.finish(&mut masked);
        masked
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").finish_non_exhaustive()
    }
}

impl Search {
    fn new(forms: &BTreeSet<Vec<u8>>) -> Result<Self, SecretsTooLarge> {
        let automaton = NFA::new(forms).map_err(|_| SecretsTooLarge)?;
        let start = automaton.start_state(Anchored::No).map_err(|_| SecretsTooLarge)?;
        let mut depths = vec![(start, 0)];
        for form in forms {
            let mut state = start;
            for (read, byte) in form.iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, *byte);
                depths.push((state, read + 1));
            }
        }
        depths.sort_unstable();
        depths.dedup();
        Ok(Self {
            automaton,
            start,
            depths,
        })
    }

    /// How many of the bytes read last could be the beginning of a form.
    fn depth(&self, state: StateID) -> usize {
        self.depths
            .binary_search_by_key(&state, |(state, _)| *state)
            .map_or(0, |found| self.depths[found].1)
    }

    /// The length of the longest form that ends with the byte read last.
    fn longest_match(&self, state: StateID) -> Option<usize> {
        if !self.automaton.is_match(state) {
            return None;
        }
        (0..self.automaton.match_len(state))
            .map(|index| self.automaton.pattern_len(self.automaton.match_pattern(state, index)))
            .max()
    }
}

/// Masks one stream. Holds back only what could still become a secret, so less than the longest form.
pub struct MaskStream {
    masker: Arc<Masker>,
    state: StateID,
    held: Vec<u8>,
    /// Parts of `held` to be covered; ordered, apart from each other.
    covered: Vec<Range<usize>>,
    /// Whether the byte before `held` was covered: its run then continues without another mask.
    in_run: bool,
}

impl MaskStream {
    pub fn new(masker: Arc<Masker>) -> Self {
        let state = masker
            .search
            .as_ref()
            .map_or_else(StateID::default, |search| search.start);
        Self {
            masker,
            state,
            held: Vec::new(),
            covered: Vec::new(),
            in_run: false,
        }
    }

    /// Takes the next bytes and appends to `out` what has been decided.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let masker = Arc::clone(&self.masker);
        let Some(search) = &masker.search else {
            out.extend_from_slice(bytes);
            return;
        };
        for step in bytes.chunks(STEP) {
            self.read(search, step);
            self.release(self.held.len() - search.depth(self.state), out);
        }
    }

    /// The stream is over: appends the rest to `out`. Afterwards another stream may begin.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(self.held.len(), out);
        self.in_run = false;
        self.state = self
            .masker
            .search
            .as_ref()
            .map_or_else(StateID::default, |search| search.start);
    }

    fn read(&mut self, search: &Search, bytes: &[u8]) {
        let mut end = self.held.len();
        self.held.extend_from_slice(bytes);
        let mut state = self.state;
        for byte in bytes {
            end += 1;
            state = search.automaton.next_state(Anchored::No, state, *byte);
            if search.automaton.is_special(state)
                && let Some(length) = search.longest_match(state)
            {
                self.cover(end - length, end);
            }
        }
        self.state = state;
    }

    /// Matches come ordered by their ends; an earlier one may lie within a later one.
    fn cover(&mut self, mut start: usize, end: usize) {
        while let Some(last) = self.covered.pop_if(|last| last.end >= start) {
            start = start.min(last.start);
        }
        self.covered.push(start..end);
    }

    /// Lets go of the first `until` bytes of `held`.
    fn release(&mut self, until: usize, out: &mut Vec<u8>) {
        let mut at = 0;
        for range in &self.covered {
            if range.start >= until {
                break;
            }
            if range.start > at {
                out.extend_from_slice(&self.held[at..range.start]);
                self.in_run = false;
            }
            if !self.in_run {
                out.extend_from_slice(MASK);
                self.in_run = true;
            }
            at = range.end.min(until);
        }
        if at < until {
            out.extend_from_slice(&self.held[at..until]);
            self.in_run = false;
        }
        self.held.drain(..until);
        self.covered.retain_mut(|range| {
            *range = range.start.saturating_sub(until)..range.end.saturating_sub(until);
            range.start < range.end
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    fn masker(secrets: &[&str]) -> Arc<Masker> {
        Arc::new(Masker::new(secrets.iter().map(|secret| SecretString::from(*secret))).unwrap())
    }

    fn masked(secrets: &[&str], text: &str) -> String {
        String::from_utf8(masker(secrets).mask(text.as_bytes())).unwrap()
    }

    #[test]
    fn secrets_become_stars() {
        assert_eq!(
            masked(&["hunter2"], "a hunter2, a hunter3 and hunter2"),
            "a ***, a hunter3 and ***"
        );
        assert_eq!(masked(&["hunter2"], "password%3Ahunter2%0A"), "password%3A***%0A");
        assert_eq!(masked(&[], "nothing to hide"), "nothing to hide");
        assert_eq!(masked(&["abc", ""], "abc stays"), "abc stays");
    }

    #[test]
    fn overlapping_nested_and_touching_secrets_leave_nothing_of_each_other() {
        assert_eq!(masked(&["abcdef", "defghi"], "<abcdefghi>"), "<***>");
        assert_eq!(masked(&["cdef", "abcdefgh"], "<abcdefgh> <abcdef>"), "<***> <ab***>");
        assert_eq!(masked(&["token"], "tokentoken"), "***");
        assert_eq!(masked(&["aaaa"], "aaaaaaaaab"), "***b");
    }

    #[test]
    fn docker_and_basic_authentication_do_not_show_the_password() {
        for user in ["u", "us", "usr", "user"] {
            let header = STANDARD.encode(format!("{user}:correct-horse"));
            let shown = masked(&["correct-horse"], &header);
            assert!(shown.contains("***"), "{shown}");
            assert!(
                shown.len() <= STANDARD.encode(format!("{user}: ")).len() + 3,
                "{header} {shown}"
            );
        }
    }

    #[test]
    fn a_byte_of_a_secret_is_masked_wherever_the_text_is_cut() {
        let secrets = [
            "hunter2",
            "unterwegs",
            "er2 und",
            "pa ss/wörd",
            "line one!\nl2\nline three",
            "aabaabaab",
            "h%u/n+t=er",
        ];
        let masker = masker(&secrets);
        let mut text =
            String::from("h hu hunter hunter2 hunterwegs hunter2 und\n\npa ss/wör pa ss/wörd pa%20ss%2Fw%C3%B6rd\n");
        text.push_str("line one!\nl2\nline thre line one!\nl2\nline three\naabaabaabaabaabaab aabaab\nline one!\nl2\n");
        text.push_str(&serde_json::to_string("line one!\nl2\nline three").unwrap());
        text.push_str(&STANDARD.encode("user:h%u/n+t=er\n"));
        let bytes = text.as_bytes();
        let whole = masker.mask(bytes);
        for secret in secrets {
            assert!(!String::from_utf8_lossy(&whole).contains(secret), "{secret}");
        }
        for first in 0..=bytes.len() {
            for second in (first..=bytes.len()).step_by(7) {
                let mut stream = MaskStream::new(Arc::clone(&masker));
                let mut out = Vec::new();
                for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    stream.push(piece, &mut out);
                }
                stream.finish(&mut out);
                assert_eq!(out, whole, "{first} {second}");
            }
        }
        let mut stream = MaskStream::new(Arc::clone(&masker));
        let mut out = Vec::new();
        for byte in bytes.chunks(1) {
            stream.push(byte, &mut out);
        }
        stream.finish(&mut out);
        assert_eq!(out, whole);
    }

    #[test]
    fn random_texts_are_masked_as_a_simple_search_would() {
        use rand::{RngExt as _, SeedableRng as _};
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        for _ in 0..300 {
            let mut word = |length: usize| -> String {
                (0..length)
                    .map(|_| if random.random_bool(0.5) { 'a' } else { 'b' })
                    .collect()
            };
            let secrets = [word(4), word(6), word(9)];
            let text = word(80);
            let mut covered = vec![false; text.len()];
            for secret in &secrets {
                for (at, _) in text
                    .as_bytes()
                    .windows(secret.len())
                    .enumerate()
                    .filter(|(_, w)| *w == secret.as_bytes())
                {
                    covered[at..at + secret.len()].fill(true);
                }
            }
            let mut expected = String::new();
            for (at, c) in text.char_indices() {
                match covered[at] {
                    false => expected.push(c),
                    true if at > 0 && covered[at - 1] => {}
                    true => expected.push_str("***"),
                }
            }
            let masker = masker(&secrets.each_ref().map(String::as_str));
            for size in [1, 2, 3, 5, 80] {
                let mut stream = MaskStream::new(Arc::clone(&masker));
                let mut out = Vec::new();
                for piece in text.as_bytes().chunks(size) {
                    stream.push(piece, &mut out);
                }
                stream.finish(&mut out);
                assert_eq!(
                    String::from_utf8_lossy(&out),
                    expected,
                    "{secrets:?} in {text} by {size}"
                );
            }
        }
    }

    #[test]
    fn only_what_could_become_a_secret_is_held_back() {
        let mut stream = MaskStream::new(masker(&["hunter2"]));
        let mut out = Vec::new();
        stream.push(b"Step 1/3\n", &mut out);
        assert_eq!(out, b"Step 1/3\n");
        stream.push(b"oh hunt", &mut out);
        assert_eq!(out, b"Step 1/3\noh ");
        stream.push(b"ing", &mut out);
        assert_eq!(out, b"Step 1/3\noh hunting");
    }

    #[test]
    fn secrets_that_would_take_too_much_memory_are_refused() {
        let huge = SecretString::from("x".repeat(MAX_FORMS_BYTES + 1));
        assert_eq!(Masker::new([huge]).unwrap_err(), SecretsTooLarge);
    }

    #[test]
    fn what_is_shown_of_a_masker_is_no_secret() {
        assert!(!format!("{:?}", masker(&["hunter2"])).contains("hunter2"));
    }
}

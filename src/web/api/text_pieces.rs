//! Bytes of a log as text for events, cut where characters end.

/// Turns bytes that come in pieces into texts, and keeps count of how far they reach.
#[derive(Debug, Default)]
pub struct TextPieces {
    /// The beginning of a character whose end has not come yet: at most three bytes.
    rest: Vec<u8>,
}

impl TextPieces {
    /// The text of what came so far and was not given out, and how many bytes at the end of `bytes` it leaves for the
    /// next piece. What is not UTF-8 is shown as the replacement character, and a carriage return, which an event cannot
    /// carry, as the end of a line.
    pub fn push(&mut self, bytes: &[u8]) -> (String, usize) {
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        self.rest = all.split_off(all.len() - unfinished(&all));
        (text_of(&all), self.rest.len())
    }

    /// What is left when nothing more comes.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| text_of(&rest))
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "\n")
}

/// How many bytes at the end begin a character that is not whole.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            // Goes on: the beginning is further back.
            0x80..=0xBF => continue,
            _ => 1,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_whole_wherever_the_bytes_are_cut() {
        let whole = "aä€😀\n";
        for cut in 0..=whole.len() {
            let mut pieces = TextPieces::default();
            let (mut text, _) = pieces.push(&whole.as_bytes()[..cut]);
            let (rest, left) = pieces.push(&whole.as_bytes()[cut..]);
            text.push_str(&rest);
            assert_eq!((text.as_str(), left, pieces.finish()), (whole, 0, None), "cut at {cut}");
        }
    }

    #[test]
    fn what_never_becomes_a_character_is_replaced() {
        let mut pieces = TextPieces::default();
        assert_eq!(pieces.push(b"a\xff\xf0\x9f"), ("a\u{fffd}".to_owned(), 2));
        assert_eq!(pieces.finish().as_deref(), Some("\u{fffd}"));
        assert_eq!(pieces.push(b"50%\r100%\n"), ("50%\n100%\n".to_owned(), 0));
    }
}

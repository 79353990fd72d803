//! What a webhook brought, for a person to read: a bounded text, laid out where it is JSON. It is a stranger's from the first
//! byte to the last.

use std::io::Read;

use url::form_urlencoded;

use crate::store::DeliveryBody;

/// Longest text that is shown, in bytes.
const LONGEST: usize = 256 << 10;

/// Longest body that is laid out: of more, the beginning is shown as it came.
const LONGEST_LAID_OUT: usize = 1 << 20;

/// The fields of a payload on a page.
pub enum Payload {
    /// It is kept elsewhere: a click has none, a repetition is kept with the first.
    None,
    /// It cannot be unpacked.
    Damaged,
    Text {
        text: String,
        /// Whether there is more of it.
        is_cut: bool,
    },
}

/// Unpacks no more than can be shown.
pub fn payload(body: Option<DeliveryBody>) -> Payload {
    let Some(body) = body else {
        return Payload::None;
    };
    let Some(bytes) = unpack(&body.body) else {
        return Payload::Damaged;
    };
    let is_whole = bytes.len() <= LONGEST_LAID_OUT;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let is_form = body.content_type.is_some_and(|kind| kind.contains("urlencoded"));
    let text = match is_form && is_whole {
        true => of_form(&text).unwrap_or(text),
        false => text,
    };
    let laid_out = is_whole.then(|| laid_out(&text)).flatten();
    let mut text = laid_out.unwrap_or(text);
    let is_cut = !is_whole || text.len() > LONGEST;
    text.truncate(text.floor_char_boundary(LONGEST));
    Payload::Text { text, is_cut }
}

/// One byte more than is laid out tells that there is more.
fn unpack(compressed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let decoder = zstd::Decoder::new(compressed).ok()?;
    decoder.take(LONGEST_LAID_OUT as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The JSON in a form, as GitHub sends it when it was set up so.
fn of_form(text: &str) -> Option<String> {
    form_urlencoded::parse(text.as_bytes())
        .find(|(name, _)| name == "payload")
        .map(|(_, value)| value.into_owned())
}

fn laid_out(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    serde_json::to_string_pretty(&value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &[u8], content_type: &str) -> Option<(String, bool)> {
        let body = DeliveryBody {
            content_type: Some(content_type.to_owned()),
            body: zstd::encode_all(body, 1).unwrap(),
        };
        match payload(Some(body)) {
            Payload::Text { text, is_cut } => Some((text, is_cut)),
            Payload::None | Payload::Damaged => None,
        }
    }

    #[test]
    fn json_is_laid_out_also_from_a_form_and_anything_else_is_shown_as_it_came() {
        let check = |body: &str, content_type: &str, expected: &str| {
            let shown = shown(body.as_bytes(), content_type);
            assert_eq!(shown, Some((expected.to_owned(), false)), "{body}");
        };
        check(r#"{"a":1}"#, "application/json", "{\n  \"a\": 1\n}");
        check(
            "payload=%7B%22a%22%3A1%7D",
            "application/x-www-form-urlencoded",
            "{\n  \"a\": 1\n}",
        );
        check("no json", "application/json", "no json");
        check("", "application/json", "");
        let deep = "[".repeat(10_000);
        check(&deep, "application/json", &deep);
    }

    #[test]
    fn what_is_long_is_cut_and_what_is_damaged_is_said_to_be() {
        let bomb = vec![b'a'; 64 << 20];
        let (text, is_cut) = shown(&bomb, "application/json").unwrap();
        assert_eq!((text.len(), is_cut), (LONGEST, true));
        let wide = format!("[{}1]", "1,".repeat(LONGEST / 2));
        let (text, is_cut) = shown(wide.as_bytes(), "application/json").unwrap();
        assert!(is_cut && text.len() <= LONGEST);
        let damaged = DeliveryBody {
            content_type: None,
            body: b"no zstd".to_vec(),
        };
        assert!(matches!(payload(Some(damaged)), Payload::Damaged));
        assert!(matches!(payload(None), Payload::None));
    }
}

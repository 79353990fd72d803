//! The shapes a secret takes when programs print it: as it is, in Base64, in a URL, in JSON.
//!
//! A secret that was encoded twice, encrypted, hashed or printed letter by letter is not found by this.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Shorter secrets would blacken every log without protecting anything. In bytes.
const MIN_SECRET: usize = 4;
/// Lines of a longer secret that are shorter (a brace, `fi`) are no secret of their own. In bytes.
const MIN_LINE: usize = 8;
/// Line lengths at which tools wrap Base64: PEM (RFC 7468) and OpenSSL; MIME (RFC 2045) and `base64`.
const BASE64_WRAPS: [usize; 2] = [64, 76];

/// Adds every form of `secret` to `forms`. Whitespace around it does not belong to it.
pub(super) fn add_forms(secret: &str, forms: &mut BTreeSet<Vec<u8>>) {
    let secret = secret.trim();
    if secret.len() < MIN_SECRET {
        return;
    }
    add_encodings(secret, forms);
    if secret.contains('\n') {
        // Logs have plain line ends, whatever the secret has.
        add_encodings(&secret.replace("\r\n", "\n"), forms);
        for line in secret.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE) {
            add_encodings(line, forms);
        }
    }
}

fn add_encodings(text: &str, forms: &mut BTreeSet<Vec<u8>>) {
    forms.insert(text.as_bytes().to_vec());
    add_url_forms(text, forms);
    add_json_forms(text, forms);
    add_base64_forms(text.as_bytes(), forms);
}

/// Which characters besides letters and digits stay as they are, by the encoders in use.
const URL_STYLES: [UrlStyle; 5] = [
    // RFC 3986, Go's `url.PathEscape` of most, git's credential helpers.
    UrlStyle {
        safe: b"-_.~",
        space: "%20",
    },
    // Python's `quote`.
    UrlStyle {
        safe: b"-_.~/",
        space: "%20",
    },
    // JavaScript's `encodeURIComponent`.
    UrlStyle {
        safe: b"-_.!~*'()",
        space: "%20",
    },
    // Forms: `application/x-www-form-urlencoded` of the WHATWG.
    UrlStyle {
        safe: b"*-._",
        space: "+",
    },
    // User name and password of a URL as the WHATWG writes them.
    UrlStyle {
        safe: b"-_.~!$%&'()*+,",
        space: "%20",
    },
];

struct UrlStyle {
    safe: &'static [u8],
    space: &'static str,
}

impl UrlStyle {
    fn encode(&self, text: &str, upper: bool) -> String {
        let mut encoded = String::with_capacity(text.len() * 3);
        for byte in text.bytes() {
            match byte {
                b' ' => encoded.push_str(self.space),
                _ if byte.is_ascii_alphanumeric() || self.safe.contains(&byte) => encoded.push(char::from(byte)),
                _ if upper => push(&mut encoded, format_args!("%{byte:02X}")),
                _ => push(&mut encoded, format_args!("%{byte:02x}")),
            }
        }
        encoded
    }
}

fn add_url_forms(text: &str, forms: &mut BTreeSet<Vec<u8>>) {
    for style in URL_STYLES {
        for upper in [true, false] {
            forms.insert(style.encode(text, upper).into_bytes());
        }
    }
    // Go's `url.QueryEscape`: strict, and spaces as in forms.
    let go = UrlStyle {
        safe: b"-_.~",
        space: "+",
    };
    forms.insert(go.encode(text, true).into_bytes());
}

fn add_json_forms(text: &str, forms: &mut BTreeSet<Vec<u8>>) {
    for ascii in [false, true] {
        for slash in [false, true] {
            for html in [false, true] {
                forms.insert(json_escape(text, ascii, slash, html).into_bytes());
            }
        }
    }
}

/// The inside of a JSON string (RFC 8259). `ascii`: nothing beyond ASCII stays (Python); `slash`: `/` is escaped (PHP);
/// `html`: `<`, `>` and `&` are escaped (Go).
fn json_escape(text: &str, ascii: bool, slash: bool, html: bool) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{8}' => escaped.push_str("\\b"),
            '\u{c}' => escaped.push_str("\\f"),
            '/' if slash => escaped.push_str("\\/"),
            _ if c < ' ' || (ascii && !c.is_ascii()) || (html && matches!(c, '<' | '>' | '&')) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    push(&mut escaped, format_args!("\\u{unit:04x}"));
                }
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Base64 (RFC 4648) of any text that holds `bytes`: three bytes make four characters, so what stands before decides
/// between three encodings. Only the characters that depend on `bytes` alone can be looked for; what stays visible of
/// a secret in the middle of something longer is less than one byte at either end.
fn add_base64_forms(bytes: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    for before in 0..3 {
        let mut padded = vec![0; before];
        padded.extend_from_slice(bytes);
        let with_padding = STANDARD.encode(&padded);
        let first = (before * 8).div_ceil(6);
        let determined = padded.len() * 8 / 6;
        // In the middle; at the end without and with padding.
        for end in [determined, STANDARD_NO_PAD.encode(&padded).len(), with_padding.len()] {
            add_both_alphabets(&with_padding[first..end], forms);
        }
    }
    let whole = STANDARD.encode(bytes);
    for wrap in BASE64_WRAPS.into_iter().filter(|wrap| whole.len() > *wrap) {
        for line in whole.as_bytes().chunks(wrap).filter(|line| line.len() >= MIN_LINE) {
            forms.insert(line.to_vec());
        }
    }
}

fn add_both_alphabets(encoded: &str, forms: &mut BTreeSet<Vec<u8>>) {
    forms.insert(encoded.as_bytes().to_vec());
    forms.insert(encoded.replace('+', "-").replace('/', "_").into_bytes());
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

    fn forms(secret: &str) -> BTreeSet<Vec<u8>> {
        let mut forms = BTreeSet::new();
        add_forms(secret, &mut forms);
        forms
    }

    /// Whether some form occurs in `text`.
    fn found(secret: &str, text: &str) -> bool {
        forms(secret)
            .iter()
            .any(|form| text.as_bytes().windows(form.len()).any(|window| window == form))
    }

    #[test]
    fn short_secrets_and_empty_ones_have_no_forms() {
        for secret in ["", "   ", "abc", " \n abc \t"] {
            assert!(forms(secret).is_empty(), "{secret:?}");
        }
        assert!(found("abcd", "abcd"));
    }

    #[test]
    fn whitespace_around_a_secret_is_not_part_of_it() {
        assert!(found("  hunter2\n", "password=hunter2;"));
    }

    #[test]
    fn base64_is_found_at_every_alignment_in_both_alphabets_with_and_without_padding() {
        let secret = "s\u{fb}\u{ff}cr>t??key~~~";
        for before in 0..7 {
            for after in 0..4 {
                let text = format!("{}{secret}{}", "u".repeat(before), "x".repeat(after));
                for encoded in [
                    STANDARD.encode(&text),
                    STANDARD_NO_PAD.encode(&text),
                    URL_SAFE.encode(&text),
                    URL_SAFE_NO_PAD.encode(&text),
                ] {
                    assert!(found(secret, &encoded), "{before} {after} {encoded}");
                }
            }
        }
    }

    #[test]
    fn a_secret_encoded_on_its_own_is_found_with_its_padding() {
        for secret in ["abcd", "abcde", "abcdef"] {
            assert!(forms(secret).contains(STANDARD.encode(secret).as_bytes()), "{secret}");
        }
    }

    #[test]
    fn every_line_of_wrapped_base64_is_found() {
        let secret: String = (0..300).map(|n| char::from(b'!' + (n * 7 % 90) as u8)).collect();
        let encoded = STANDARD.encode(&secret);
        for wrap in BASE64_WRAPS {
            for line in encoded.as_bytes().chunks(wrap) {
                assert!(found(&secret, std::str::from_utf8(line).unwrap()));
            }
        }
    }

    #[test]
    fn url_encodings_of_the_usual_tools_are_found() {
        let secret = "p@ss w/rd!é&";
        for encoded in [
            "p%40ss%20w%2Frd%21%C3%A9%26",
            "p%40ss%20w%2frd%21%c3%a9%26",
            "p%40ss+w%2Frd%21%C3%A9%26",
            "p%40ss%20w/rd%21%C3%A9%26",
            "p%40ss%20w%2Frd!%C3%A9%26",
            "p%40ss%20w%2Frd!%C3%A9&",
        ] {
            assert!(found(secret, encoded), "{encoded}");
        }
        let mut url = url::Url::parse("https://host/").unwrap();
        url.set_password(Some(secret)).unwrap();
        assert!(found(secret, url.as_str()), "{url}");
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        assert!(found(secret, &form), "{form}");
    }

    #[test]
    fn json_escapes_of_the_usual_libraries_are_found() {
        let secret = "q\"uo\\te</é\t😀>";
        for encoded in [
            &*serde_json::to_string(secret).unwrap(),
            r#""q\"uo\\te\u003c/é\t😀\u003e""#,
            r#""q\"uo\\te<\/\u00e9\t\ud83d\ude00>""#,
            r#""q\"uo\\te</\u00e9\t\ud83d\ude00>""#,
        ] {
            assert!(found(secret, encoded), "{encoded}");
        }
    }

    #[test]
    fn a_secret_of_several_lines_is_found_whole_and_line_by_line() {
        let secret = "-----BEGIN KEY-----\r\nMIIEvQIBADANBg\r\nab\r\n-----END KEY-----\r\n";
        let forms = forms(secret);
        assert!(forms.contains(&b"MIIEvQIBADANBg"[..]));
        assert!(forms.contains(&b"-----BEGIN KEY-----\nMIIEvQIBADANBg\nab\n-----END KEY-----"[..]));
        assert!(forms.contains(&b"-----BEGIN KEY-----\\nMIIEvQIBADANBg\\nab\\n-----END KEY-----"[..]));
        assert!(!forms.contains(&b"ab"[..]));
    }
}

//! The form that GitHub, Gitea and Forgejo can be told to send: `application/x-www-form-urlencoded` with the JSON in its field `payload`.

use super::Rejection;

const FIELD: &str = "payload";

/// The text of the form's only field.
///
/// Stricter than a browser's decoder, which replaces what is not UTF-8 and lets broken escapes stand: here both are errors.
pub fn payload(body: &[u8]) -> Result<String, Rejection> {
    let mut found = None;
    for pair in body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        let equals = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let name = decode(&pair[..equals])?;
        if name != FIELD || found.is_some() {
            return Err(Rejection::malformed("the form must have one field, `payload`, once"));
        }
        found = Some(decode(pair.get(equals + 1..).unwrap_or_default())?);
    }
    found.ok_or_else(|| Rejection::malformed("the form has no field `payload`"))
}

fn decode(encoded: &[u8]) -> Result<String, Rejection> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let mut value = [0];
                let tail = tail
                    .split_at_checked(2)
                    .filter(|(digits, _)| hex::decode_to_slice(digits, &mut value).is_ok())
                    .map(|(_, tail)| tail)
                    .ok_or_else(|| Rejection::malformed("the form has a `%` without two hexadecimal digits"))?;
                decoded.push(value[0]);
                rest = tail;
            }
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map_err(|error| Rejection::malformed(format!("the form is not UTF-8: {error}")))
}

//! Bodies of requests. Nothing in them is ignored: an unknown or repeated field, a wrong type, trailing text and NUL
//! characters are refused, by the field's path.

use std::{collections::BTreeMap, fmt, marker::PhantomData, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::Value;

use super::problem::Problem;

/// Largest body of an API request, in bytes.
const LARGEST_BODY: usize = 1 << 20;

/// How long a body may take to arrive: a sender that trickles must not hold a connection for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON body; one that is empty counts as `{}`.
pub struct StrictJson<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for StrictJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = read_body(&parts.headers, body, LARGEST_BODY).await?;
        check_content_type(&parts.headers, body.is_empty())?;
        match body.is_empty() {
            true => parse(b"{}").map(Self),
            false => parse(&body).map(Self),
        }
    }
}

/// Reads a body of at most `limit` bytes: 413 as soon as it is known to be larger, 408 when it takes too long.
pub async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than {} KiB", limit >> 10);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let announced: Option<usize> = content_length(headers);
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let read = async {
        let mut stream = body.into_data_stream();
        let mut read = Vec::with_capacity(announced.unwrap_or(0));
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off"))?;
            if read.len() + piece.len() > limit {
                return Err(too_large());
            }
            read.extend_from_slice(&piece);
        }
        Ok(Bytes::from(read))
    };
    tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or_else(|_| {
        let detail = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
    })
}

/// The length that a body is announced with, in bytes.
pub fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_content_type(headers: &HeaderMap, is_empty: bool) -> Result<(), Problem> {
    let refused = |detail| Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    if headers.contains_key(header::CONTENT_ENCODING) {
        return refused("the body is encoded; send it plain");
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return match is_empty {
            true => Ok(()),
            false => refused("the body must be JSON: Content-Type: application/json"),
        };
    };
    let media_type = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    match media_type.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => refused("the body must be JSON: Content-Type: application/json"),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let message = error.inner().to_string();
        Problem::field(field_at_fault(&error.path().to_string(), &message), message)
    })?;
    json.end().map_err(|error| Problem::field("body", error.to_string()))?;
    // In a text a NUL can only be there as an escape.
    if body.windows(6).any(|six| six == br"\u0000")
        && let Ok(value) = serde_json::from_slice::<Value>(body)
        && let Some(path) = path_of_nul(&value)
    {
        return Err(Problem::field(path, "a NUL character cannot be part of it"));
    }
    Ok(parsed)
}

/// The path of a field at fault. Of one that is missing or comes twice the parser only tells where its object is.
fn field_at_fault(path: &str, message: &str) -> String {
    let named = ["missing field `", "duplicate field `"]
        .into_iter()
        .find_map(|words| message.strip_prefix(words));
    let name = named.and_then(|rest| rest.split_once('`')).map(|(name, _)| name);
    // Where the text breaks off, the last part of the path is not known.
    let path = path.trim_end_matches('?').trim_end_matches('.');
    match (path, name) {
        ("", None) => "body".to_owned(),
        ("", Some(name)) => name.to_owned(),
        (path, Some(name)) if path != name && !path.ends_with(&format!(".{name}")) => format!("{path}.{name}"),
        (path, _) => path.to_owned(),
    }
}

/// Where in a document a text holds a NUL.
fn path_of_nul(value: &Value) -> Option<String> {
    let join = |head: String, tail: String| match tail.is_empty() || tail.starts_with('[') {
        true => head + &tail,
        false => format!("{head}.{tail}"),
    };
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| path_of_nul(item).map(|tail| join(format!("[{index}]"), tail))),
        Value::Object(fields) => fields.iter().find_map(|(key, item)| match key.contains('\0') {
            true => Some(key.replace('\0', "\\u0000")),
            false => path_of_nul(item).map(|tail| join(key.clone(), tail)),
        }),
        _ => None,
    }
}

/// A map in which no key may come twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueMap<V>(pub BTreeMap<String, V>);

impl<V> Default for UniqueMap<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Unique<V> {
            type Value = BTreeMap<String, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((key, value)) = access.next_entry::<String, V>()? {
                    if map.contains_key(&key) {
                        return Err(serde::de::Error::custom(format!("duplicate field `{key}`")));
                    }
                    map.insert(key, value);
                }
                Ok(map)
            }
        }
        deserializer.deserialize_map(Unique(PhantomData)).map(Self)
    }
}

/// For a field whose absence and whose null mean different things: `None` is absent, `Some(None)` is null.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Outer {
        inner: Vec<Inner>,
        map: Option<UniqueMap<String>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Inner {
        number: u8,
        text: Option<String>,
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let check = |body: &str, field: &str| {
            let problem = parse::<Outer>(body.as_bytes()).expect_err(body);
            let answer = serde_json::to_value(problem).unwrap();
            assert_eq!(answer["errors"][0]["field"], field, "{body}: {answer}");
        };
        check(r#"{"inner": [{"number": 1}, {"number": "x"}]}"#, "inner[1].number");
        check(r#"{"inner": [{"number": 256}]}"#, "inner[0].number");
        check(r#"{"inner": [{"number": 1, "other": 2}]}"#, "inner[0].other");
        check(r#"{"inner": [], "role": "admin"}"#, "role");
        check(r#"{"inner": [], "inner": []}"#, "inner");
        check(r#"{"inner": [], "map": {"a": "1", "a": "2"}}"#, "map.a");
        check(r#"{"inner": [{}]}"#, "inner[0].number");
        check("{}", "inner");
        check(r#"{"inner": []} x"#, "body");
        check(r#"{"inner": [{"number": 1, "text": "a\u0000"}]}"#, "inner[0].text");
        check("[]", "body");
        check("{", "body");
        assert!(parse::<Outer>(br#"{"inner": [{"number": 1, "text": "\\u0000"}]}"#).is_ok());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let body = "[".repeat(10_000);
        assert!(parse::<Value>(body.as_bytes()).is_err());
    }
}

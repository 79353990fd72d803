//! Bodies of requests. Nothing in them is ignored: an unknown or repeated field, a wrong type, trailing text and NUL
//! characters are refused, by the field's path. What a refusal says must never hold a value: it may be a secret.

use std::{collections::BTreeMap, convert::Infallible, fmt, marker::PhantomData, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;

use super::problem::Problem;

/// Largest body of an API request, in bytes.
const LARGEST_BODY: usize = 1 << 20;

/// How long a body may take to arrive: a sender that trickles must not hold a connection for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON object as body; an empty body counts as `{}`.
///
/// What is wrong with it comes out when it is asked for: first a handler says whether the caller may do this at all.
pub struct StrictJson<T>(Result<T, Problem>);

impl<T> StrictJson<T> {
    pub fn checked(self) -> Result<T, Problem> {
        self.0
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for StrictJson<T> {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self(read_json(request).await))
    }
}

async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, LARGEST_BODY).await?;
    check_content_type(&parts.headers, body.is_empty())?;
    match body.is_empty() {
        true => parse(b"{}"),
        false => parse(&body),
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
    let is_plain = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
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

/// What a document says that was not sent as one, such as a form's: it passes the same checks.
pub fn parse_value<T: DeserializeOwned>(document: &Value) -> Result<T, Problem> {
    parse(document.to_string().as_bytes())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let Object(parsed) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let message = error.inner().to_string();
        // What is no JSON has no fields. The error's own category does not tell: a null in place of one of several words
        // counts as bad syntax there.
        match serde_json::from_slice::<IgnoredAny>(body) {
            Ok(_) => refusal(&error.path().to_string(), &message),
            Err(_) => Problem::field("body", message),
        }
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
    match (path.trim_start_matches('.'), name) {
        ("", None) => "body".to_owned(),
        ("", Some(name)) => name.to_owned(),
        (path, Some(name)) if path != name && !path.ends_with(&format!(".{name}")) => format!("{path}.{name}"),
        (path, _) => path.to_owned(),
    }
}

/// What the parser says of a body, without the value at fault.
fn refusal(path: &str, message: &str) -> Problem {
    let field = field_at_fault(path, message);
    if message.starts_with("missing field `") {
        return Problem::field(field, "it is missing, and has no default");
    }
    if message.starts_with("duplicate field `") {
        return Problem::field(field, "it is there twice");
    }
    let names_value = message.starts_with("invalid type: ") || message.starts_with("invalid value: ");
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if names_value => Problem::field(field, format!("it must be {expected}")),
        _ => Problem::field(field, message),
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

/// What is written as an object. Left to itself, `serde` takes an array of a struct's fields as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(access))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// A field that is an object.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// A field that is an array of objects.
pub fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let all: Vec<Object<T>> = Vec::deserialize(deserializer)?;
    Ok(all.into_iter().map(|Object(value)| value).collect())
}

/// A field that is an object or null.
pub fn object_or_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let object: Option<Object<T>> = Option::deserialize(deserializer)?;
    Ok(object.map(|Object(value)| value))
}

/// An object whose absence and whose null mean different things: `None` is absent, `Some(None)` is null.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    object_or_null(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Outer {
        #[serde(deserialize_with = "objects")]
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
        check(r#"{"inner": []} x"#, "body");
        check(r#"{"inner": [{"number": 1, "text": "a\u0000"}]}"#, "inner[0].text");
        check(r#"{"inner": [{}]}"#, "inner[0].number");
        check("{}", "inner");
        check(r#"{"inner": [[1, "text"]]}"#, "inner[0]");
        check("[]", "body");
        check("[[], {}]", "body");
        check("{", "body");
        assert!(parse::<Outer>(br#"{"inner": [{"number": 1, "text": "\\u0000"}]}"#).is_ok());
    }

    #[test]
    fn no_value_is_repeated_to_whoever_sent_it() {
        for body in [
            r#"{"inner": "canary"}"#,
            r#"{"inner": ["canary"]}"#,
            r#"{"inner": [{"number": "canary, expected x"}]}"#,
            r#"{"inner": [{"number": 7654321}]}"#,
            r#"{"inner": [{"number": 1, "text": ["canary"]}]}"#,
            r#"{"inner": [], "map": "canary"}"#,
            r#""canary""#,
        ] {
            let answer = serde_json::to_string(&parse::<Outer>(body.as_bytes()).expect_err(body)).unwrap();
            assert!(!answer.contains("canary") && !answer.contains("7654321"), "{answer}");
            assert!(answer.contains("it must be "), "{answer}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let body = "[".repeat(10_000);
        assert!(parse::<Value>(body.as_bytes()).is_err());
    }
}

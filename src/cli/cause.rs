//! Why there is a build, in words.

use serde_json::Value;

use crate::domain::image::ImageReference;

/// Digits of a digest that tell it from others well enough for people.
const SHORT: usize = 12;

/// In a word or two, for a list.
pub fn describe_cause(cause: &Value) -> String {
    let text = |key: &str| cause[key].as_str().unwrap_or_default();
    match text("kind") {
        "manual" => format!("by {}", text("user")),
        "create" => format!("first build, by {}", text("user")),
        "retry" => format!("retry, by {}", text("user")),
        "base_image" => format!("new {}", familiar(text("image"))),
        other => other.to_owned(),
    }
}

/// What a build follows from that nobody asked for: `alpine:3.20 moved from ... to ...`.
pub fn explain_rebuild(cause: &Value) -> Option<String> {
    let text = |key: &str| cause[key].as_str().filter(|text| !text.is_empty());
    let image = text("image").filter(|_| cause["kind"] == "base_image")?;
    let mut words = format!("built again because {} moved", familiar(image));
    if let Some(from) = text("from") {
        words.push_str(&format!(" from {}", short_digest(from)));
    }
    words.push_str(&format!(" to {}", short_digest(text("to")?)));
    if let Some(parent) = text("parent") {
        words.push_str(&format!(", which build {parent} pushed"));
    }
    if let Some(wave) = text("wave") {
        words.push_str(&format!(" (wave {wave})"));
    }
    Some(words)
}

/// An image as short as people write it.
pub fn familiar(image: &str) -> String {
    ImageReference::parse(image).map_or_else(|_| image.to_owned(), |image| image.familiar())
}

/// The beginning of a digest.
pub fn short_digest(digest: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.chars().take(SHORT).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cause_is_told_in_words() {
        let check = |cause: Value, expected: &str| assert_eq!(describe_cause(&cause), expected);
        check(json!({"kind": "push", "delivery": "d"}), "push");
        check(json!({"kind": "manual", "user": "ann"}), "by ann");
        check(json!({"kind": "create", "user": "ann"}), "first build, by ann");
        check(json!({"kind": "retry", "user": "ann", "build": "b"}), "retry, by ann");
        check(
            json!({"kind": "base_image", "image": "docker.io/library/alpine:3.20"}),
            "new alpine:3.20",
        );
        check(Value::Null, "");
    }

    #[test]
    fn what_a_rebuild_follows_is_explained() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let cause = json!({"kind": "base_image", "image": "r.example.com/base:1", "from": digest("a"), "to": digest("b"),
            "parent": "p1", "wave": "w1"});
        assert_eq!(
            explain_rebuild(&cause).unwrap(),
            "built again because r.example.com/base:1 moved from aaaaaaaaaaaa to bbbbbbbbbbbb, which build p1 pushed (wave w1)"
        );
        assert_eq!(explain_rebuild(&json!({"kind": "push"})), None);
    }
}

//! What can go wrong with the engine, split by what the caller does next.
//!
//! The engine reports most faults as text; [`build_fault`] and [`push_fault`] are the only places that read it.

use crate::domain::context::ContextError;

/// Longest message that is kept of what an engine or registry says, in bytes.
const MAX_MESSAGE: usize = 4096;

/// The configured address is none: somebody must correct it before the service can start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("docker_host is `{0}`, which is not an engine's address: write unix:///path/to/socket or tcp://host:port")]
pub struct ConnectError(pub(super) String);

/// Why the engine did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The Dockerfile or the build context is at fault: the user must change them.
    #[error("{0}")]
    Dockerfile(String),
    /// A step of the Dockerfile ran and failed: the user must change what it runs.
    #[error("{0}")]
    Step(String),
    /// The files of the context could not be read; a fault of ours or of the machine, which may pass.
    #[error("{0}")]
    Source(String),
    /// The registry refused the push or the pull of a base image: trying again as we are is of no use.
    #[error("{0}")]
    Refused(String),
    /// The registry failed in a way that may pass.
    #[error("{0}")]
    Registry(String),
    /// The engine is gone, hangs, or failed by its own fault: try again later.
    #[error("{0}")]
    Unavailable(String),
    /// The caller asked for the end.
    #[error("canceled")]
    Canceled,
}

impl EngineError {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Source(_) | Self::Registry(_) | Self::Unavailable(_))
    }
}

impl From<ContextError> for EngineError {
    fn from(error: ContextError) -> Self {
        match error {
            ContextError::Invalid(_) => Self::Dockerfile(error.to_string()),
            ContextError::Unreadable(_) => Self::Source(error.to_string()),
        }
    }
}

/// Sorts the message that ended a build, by either builder. `failed_step` is the step that the builder marked as failed.
pub(super) fn build_fault(message: &str, failed_step: Option<&str>) -> EngineError {
    let message = without_passages(message);
    let text = message.to_ascii_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if let Some(code) = exit_code(&text) {
        let message = match failed_step {
            Some(step) => format!("the step `{step}` failed with exit code {code}"),
            None => clip(message),
        };
        return EngineError::Step(message);
    }
    if has(&["entitlement"]) {
        return EngineError::Dockerfile(format!(
            "the Dockerfile asks for what builds may not have: {}",
            clip(message)
        ));
    }
    // A path of the context may hold any of the words below.
    let is_missing_path = has(&["failed to compute cache key", "failed to calculate checksum"])
        && has(&["not found"])
        && !has(&["failed to copy"]);
    if is_missing_path || has(&["dockerfile parse error", "copy failed:", "add failed:"]) {
        return EngineError::Dockerfile(clip(message));
    }
    // Refusals first: a registry may well answer a pull with both words in one message.
    if has(&[
        "pull access denied",
        "unauthorized",
        "no basic auth credentials",
        "insufficient_scope",
        "403 forbidden",
    ]) {
        return EngineError::Refused(format!("a base image cannot be pulled: {}", clip(message)));
    }
    if has(&[
        "toomanyrequests",
        "429 too many",
        "failed to do request",
        "failed to fetch anonymous token",
        "failed to fetch oauth token",
        "unexpected status code",
        "unexpected status from",
        "received unexpected http status",
        "dial tcp",
        "i/o timeout",
        "tls handshake",
        "connection reset",
        "net/http: ",
        "client.timeout",
    ]) {
        return EngineError::Registry(format!("a base image cannot be pulled: {}", clip(message)));
    }
    if has(&[
        "context canceled",
        "context cancelled",
        "no active session",
        "no active sessions",
        "transport is closing",
        "code = unavailable",
        "no space left on device",
        "code = canceled",
        "operation was canceled",
    ]) {
        return EngineError::Unavailable(format!("the engine gave the build up: {}", clip(message)));
    }
    EngineError::Dockerfile(clip(message))
}

/// Sorts the message that ended a push.
pub(super) fn push_fault(message: &str) -> EngineError {
    let text = message.to_ascii_lowercase();
    let refused = [
        "unauthorized",
        "denied",
        "authentication required",
        "no basic auth credentials",
        "insufficient_scope",
        "forbidden",
        "invalid",
        "unsupported",
        "status: 4",
        "name unknown",
        "not found",
        "x509:",
        "server gave http response to https client",
    ];
    let passing = [
        "status: 5",
        "status: 408",
        "status: 429",
        "toomanyrequests",
        "too many requests",
        "timeout",
        "dial tcp",
        ": eof",
        "unexpected eof",
        "connection reset",
        "broken pipe",
    ];
    if !passing.iter().any(|needle| text.contains(needle)) && refused.iter().any(|needle| text.contains(needle)) {
        EngineError::Refused(format!("the registry refused the push: {}", clip(message)))
    } else {
        EngineError::Registry(format!("the push failed: {}", clip(message)))
    }
}

/// What BuildKit puts before an error as it passes from part to part, which tells users nothing.
const PASSAGES: [&str; 6] = [
    "failed to solve: ",
    "failed to solve with frontend dockerfile.v0: ",
    "failed to create LLB definition: ",
    "failed to build LLB: ",
    "rpc error: code = Unknown desc = ",
    "dockerfile.v0: ",
];

fn without_passages(message: &str) -> &str {
    let mut text = message;
    while let Some(rest) = PASSAGES.iter().find_map(|passage| text.strip_prefix(passage)) {
        text = rest;
    }
    text
}

/// The code that a failed step's process ended with, in the words of either builder.
fn exit_code(text: &str) -> Option<i64> {
    ["returned a non-zero code: ", "exit code: "].iter().find_map(|mark| {
        let rest = &text[text.rfind(mark)? + mark.len()..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '-')
            .unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

/// Bounds a message from outside and takes the control characters out of it.
pub(super) fn clip(message: &str) -> String {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let mut text: String = message[..end]
        .trim()
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect();
    if end < message.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_build_are_sorted_by_who_must_act() {
        let kind = |message: &str| match build_fault(message, None) {
            EngineError::Dockerfile(_) => "dockerfile",
            EngineError::Step(_) => "step",
            EngineError::Refused(_) => "refused",
            EngineError::Registry(_) => "registry",
            EngineError::Unavailable(_) => "unavailable",
            EngineError::Source(_) | EngineError::Canceled => "other",
        };
        for (message, expected) in [
            ("executor failed running [/bin/sh -c exit 7]: exit code: 7", "step"),
            (
                "process \"/bin/sh -c x\" did not complete successfully: exit code: 127",
                "step",
            ),
            ("The command '/bin/sh -c exit 7' returned a non-zero code: 7", "step"),
            ("dockerfile parse error line 1: unknown instruction: FRO", "dockerfile"),
            ("failed to compute cache key: \"/x\" not found: not found", "dockerfile"),
            (
                "failed to compute cache key: \"/unauthorized/net/http\" not found: not found",
                "dockerfile",
            ),
            (
                "failed to compute cache key: failed to copy: httpReadSeeker: failed open: unexpected status code 502",
                "registry",
            ),
            (
                "pull access denied for x, repository does not exist or may require 'docker login'",
                "refused",
            ),
            (
                "failed to do request: Head \"https://r/v2/x\": dial tcp: lookup r: no such host",
                "registry",
            ),
            ("toomanyrequests: You have reached your pull rate limit", "registry"),
            (
                "rpc error: code = Unavailable desc = transport is closing",
                "unavailable",
            ),
            ("failed to copy: write /x: no space left on device", "unavailable"),
            ("granting entitlement network.host is not allowed", "dockerfile"),
        ] {
            assert_eq!(kind(message), expected, "{message}");
        }
    }

    #[test]
    fn a_failed_step_is_named_with_its_exit_code() {
        let fault = build_fault(
            "executor failed running [/bin/sh -c exit 7]: exit code: 7",
            Some("[2/2] RUN exit 7"),
        );
        assert_eq!(fault.to_string(), "the step `[2/2] RUN exit 7` failed with exit code 7");
    }

    #[test]
    fn a_message_is_freed_from_the_words_of_those_who_passed_it_on() {
        let message = "failed to solve with frontend dockerfile.v0: failed to create LLB definition: \
                       dockerfile parse error line 1: unknown instruction: FRO";
        let expected = "dockerfile parse error line 1: unknown instruction: FRO";
        assert_eq!(build_fault(message, None), EngineError::Dockerfile(expected.to_owned()));
    }

    #[test]
    fn messages_of_a_push_are_refusals_or_passing_faults() {
        for refused in [
            "unauthorized: authentication required",
            "denied: requested access to the resource is denied",
            "no basic auth credentials",
            "errors:\ndenied: quota exceeded",
            "http: server gave HTTP response to HTTPS client",
            "manifest invalid: manifest invalid",
            "received unexpected HTTP status: 413 Request Entity Too Large",
        ] {
            assert!(matches!(push_fault(refused), EngineError::Refused(_)), "{refused}");
        }
        for passing in [
            "received unexpected HTTP status: 503 Service Unavailable",
            "toomanyrequests: slow down",
            "Put \"http://r/v2/a/blobs/403401\": dial tcp 127.0.0.1:1: connect: connection refused",
            "unexpected EOF",
            "received unexpected HTTP status: 429 Too Many Requests",
            "Patch \"http://127.0.0.1:40134/v2/a/blobs/uploads/413\": EOF",
            "read tcp 1.1.1.1:1->2.2.2.2:2: read: connection reset by peer",
        ] {
            let fault = push_fault(passing);
            assert!(
                matches!(fault, EngineError::Registry(_)) && fault.retryable(),
                "{passing}"
            );
        }
    }

    #[test]
    fn a_message_from_outside_is_bounded_and_has_no_control_characters() {
        let text = clip(&format!("a\u{1b}[31mb\n{}", "é".repeat(MAX_MESSAGE)));
        assert!(text.starts_with("a [31mb\né") && text.len() <= MAX_MESSAGE + 4);
    }
}

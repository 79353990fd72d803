//! How much a repository's builds may use. A limit narrows what the server allows, and never widens it.

use std::time::Duration;

/// Smallest memory that a step can begin to work with, in bytes.
pub const LEAST_MEMORY: u64 = 16 << 20;

const MOST_MEMORY: u64 = 1 << 42;

const MOST_SECONDS: u64 = 7 * 24 * 60 * 60;

/// One hundredth of a processor: the engine counts no finer.
const LEAST_CPU_THOUSANDTHS: u64 = 10;

const MOST_CPU_THOUSANDTHS: u64 = 1_000_000;

/// What one build may use; `None`: what the server allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub timeout_seconds: Option<u64>,
    /// For each step.
    pub memory_bytes: Option<u64>,
    /// Processors for each step, in thousandths of one.
    pub cpu_thousandths: Option<u64>,
}

/// Why a limit cannot be one: the field at fault and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidLimit {
    pub field: &'static str,
    pub message: String,
}

impl Limits {
    /// Every limit that cannot be one.
    pub fn check(&self) -> Vec<InvalidLimit> {
        let mut invalid = Vec::new();
        let mut refuse = |field, message| invalid.push(InvalidLimit { field, message });
        if self
            .timeout_seconds
            .is_some_and(|seconds| !(1..=MOST_SECONDS).contains(&seconds))
        {
            refuse(
                "timeout_seconds",
                format!("it is between 1 and {MOST_SECONDS} (a week)"),
            );
        }
        if self
            .memory_bytes
            .is_some_and(|bytes| !(LEAST_MEMORY..=MOST_MEMORY).contains(&bytes))
        {
            refuse(
                "memory_bytes",
                format!("it is between {LEAST_MEMORY} (16 MiB) and {MOST_MEMORY} (4 TiB)"),
            );
        }
        let is_possible = |cpus| (LEAST_CPU_THOUSANDTHS..=MOST_CPU_THOUSANDTHS).contains(&cpus);
        if self.cpu_thousandths.is_some_and(|cpus| !is_possible(cpus)) {
            refuse("cpus", "it is between 0.01 and 1000".to_owned());
        }
        invalid
    }

    /// How long a build may take where the server allows `most`.
    pub fn timeout(&self, most: Duration) -> Duration {
        self.timeout_seconds
            .map_or(most, |seconds| most.min(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_its_bounds() {
        assert_eq!(Limits::default().check(), []);
        let fields = |limits: Limits| {
            limits
                .check()
                .into_iter()
                .map(|invalid| invalid.field)
                .collect::<Vec<_>>()
        };
        let limits = |seconds, bytes, cpus| Limits {
            timeout_seconds: Some(seconds),
            memory_bytes: Some(bytes),
            cpu_thousandths: Some(cpus),
        };
        assert_eq!(fields(limits(1, LEAST_MEMORY, 10)), [""; 0]);
        assert_eq!(fields(limits(MOST_SECONDS, MOST_MEMORY, MOST_CPU_THOUSANDTHS)), [""; 0]);
        assert_eq!(
            fields(limits(0, LEAST_MEMORY - 1, 9)),
            ["timeout_seconds", "memory_bytes", "cpus"]
        );
        assert_eq!(fields(limits(u64::MAX, u64::MAX, u64::MAX)).len(), 3);
    }

    #[test]
    fn a_repository_cannot_give_itself_more_time_than_the_server_does() {
        let most = Duration::from_secs(60);
        let timeout = |seconds| {
            Limits {
                timeout_seconds: seconds,
                ..Limits::default()
            }
            .timeout(most)
        };
        assert_eq!(timeout(None), most);
        assert_eq!(timeout(Some(5)), Duration::from_secs(5));
        assert_eq!(timeout(Some(3600)), most);
    }
}

//! How a command fails: with which exit code, and what a person is told.

use std::{error::Error, io, process::ExitCode};

use super::{client::ClientError, output::note};
use crate::config::ConfigError;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub enum Failure {
    /// The command cannot be meant like this: 2.
    Usage(String),
    /// It was refused, or something failed: 1.
    Failed(String),
    /// It did what it was asked to, and that ended badly, as was shown already: 1.
    EndedBadly,
    /// The person pressed Ctrl-C: 130, as for a process that the signal ended.
    Interrupted,
    /// Whoever reads our output has read enough: 0.
    OutputClosed,
}

impl Failure {
    /// An error with all its causes as one line. A cause that the message names already is not said twice.
    pub fn caused_by(error: &dyn Error) -> Self {
        let mut line = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.contains(&text) {
                line = format!("{line}: {text}");
            }
            cause = error.source();
        }
        Self::Failed(line)
    }

    /// Tells the person on stderr and gives the exit code.
    pub fn report(self) -> ExitCode {
        match self {
            Self::Usage(message) => {
                note(&format!("error: {}", message.trim_end()));
                ExitCode::from(2)
            }
            Self::Failed(message) => {
                note(&format!("error: {}", message.trim_end()));
                ExitCode::from(1)
            }
            Self::EndedBadly => ExitCode::from(1),
            Self::Interrupted => ExitCode::from(130),
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::caused_by(&error),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Setup(message) => Self::Usage(message),
            error => Self::caused_by(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the server did not start")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen: {0}")]
    struct Middle(#[source] io::Error);

    #[test]
    fn causes_are_chained_on_one_line_and_not_repeated() {
        let error = Outer(Middle(io::Error::other("address in use")));
        match Failure::caused_by(&error) {
            Failure::Failed(line) => assert_eq!(line, "the server did not start: cannot listen: address in use"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert!(matches!(
            Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)),
            Failure::OutputClosed
        ));
    }
}

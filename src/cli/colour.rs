//! Colours of states. Only for a terminal, and not where the person wants none (<https://no-color.org>).

/// One of the terminal's own colours: they suit whatever background it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Green,
    Red,
    Yellow,
    Cyan,
    Dim,
}

impl Colour {
    /// What the state of a build or a wave, or the outcome of a delivery, is shown in.
    pub fn of_state(state: &str) -> Option<Self> {
        match state {
            "succeeded" | "done" => Some(Self::Green),
            "failed" | "refused" | "held" => Some(Self::Red),
            "queued" | "waiting" | "settling" | "paused" => Some(Self::Yellow),
            "running" | "building" => Some(Self::Cyan),
            "canceled" | "superseded" | "skipped" | "ignored" | "duplicate" | "no_match" => Some(Self::Dim),
            _ => None,
        }
    }

    /// The text in this colour.
    pub fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Green => 32,
            Self::Red => 31,
            Self::Yellow => 33,
            Self::Cyan => 36,
            Self::Dim => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether what goes to a stream may have colours.
pub fn are_wanted(is_terminal: bool) -> bool {
    are_wanted_with(is_terminal, |name| std::env::var_os(name))
}

fn are_wanted_with(is_terminal: bool, variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let cannot = variable("TERM").is_some_and(|value| value == "dumb");
    is_terminal && !refused && !cannot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::build::Status;

    #[test]
    fn every_state_of_a_build_has_a_colour() {
        for status in Status::ALL {
            assert!(Colour::of_state(status.as_str()).is_some(), "{status:?}");
        }
    }

    #[test]
    fn colours_are_for_terminals_where_nobody_refused_them() {
        let check = |is_terminal: bool, name: &str, value: &str, expected: bool| {
            let wanted = are_wanted_with(is_terminal, |asked| (asked == name).then(|| value.into()));
            assert_eq!(wanted, expected, "{is_terminal} {name}={value}");
        };
        check(true, "TERM", "xterm", true);
        check(true, "NO_COLOR", "", true);
        check(true, "NO_COLOR", "1", false);
        check(true, "TERM", "dumb", false);
        check(false, "TERM", "xterm", false);
    }
}

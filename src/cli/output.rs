//! Where commands write. Whoever closes the pipe early has read enough: that is no error.

use std::io::{self, IsTerminal, Write};

use super::{
    colour,
    table::{self, Cell},
    terminal::Sanitiser,
};

/// Standard output, with text from outside made harmless where it is a terminal.
pub struct Output {
    to_terminal: bool,
    sanitiser: Sanitiser,
}

impl Output {
    pub fn stdout() -> Self {
        Self {
            to_terminal: io::stdout().is_terminal(),
            sanitiser: Sanitiser::default(),
        }
    }

    pub fn is_terminal(&self) -> bool {
        self.to_terminal
    }

    /// Rows in columns; a terminal gets them with colours and a head.
    pub fn table(&mut self, head: &[&str], rows: Vec<Vec<Cell>>) -> io::Result<()> {
        let head = head.iter().map(|title| Cell::new(*title)).collect();
        let head: Option<Vec<Cell>> = (self.to_terminal && !rows.is_empty()).then_some(head);
        let rows: Vec<_> = head.into_iter().chain(rows).collect();
        let lines = table::lines(&rows, colour::are_wanted(self.to_terminal));
        lines.iter().try_for_each(|line| self.line(line))
    }

    /// Writes text of our own or from outside, and a line end.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.foreign(format!("{text}\n").as_bytes())
    }

    /// A value as indented JSON.
    pub fn json(&mut self, value: &serde_json::Value) -> io::Result<()> {
        self.line(&format!("{value:#}"))
    }

    /// Writes bytes from outside: as they are to a pipe or a file, without control sequences but colours to a terminal.
    pub fn foreign(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.to_terminal {
            true => {
                let harmless = self.sanitiser.feed(bytes);
                write(&mut io::stdout().lock(), &harmless)
            }
            false => write(&mut io::stdout().lock(), bytes),
        }
    }

    /// After bytes from outside: a colour that they left on would go on into whatever the terminal shows next.
    pub fn end_of_foreign(&mut self) -> io::Result<()> {
        match self.to_terminal {
            true => write(&mut io::stdout().lock(), b"\x1b[0m"),
            false => Ok(()),
        }
    }
}

/// Writes a note for the person at the terminal to stderr. That nobody can be told is not told to anybody.
pub fn note(text: &str) {
    let bytes = match io::stderr().is_terminal() {
        true => Sanitiser::default().feed(format!("{text}\n").as_bytes()),
        false => format!("{text}\n").into_bytes(),
    };
    let _ = io::stderr().lock().write_all(&bytes);
}

/// Whether notes may have colours.
pub fn notes_have_colours() -> bool {
    colour::are_wanted(io::stderr().is_terminal())
}

/// [`io::ErrorKind::BrokenPipe`] is told to the caller, for it to stop producing; at the top it counts as done.
fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

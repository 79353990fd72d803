//! The program as it is called: what it writes, where, and with which exit code.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backup;
mod installation;
mod live;
mod server;
mod terminal;
mod usage;

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the system tests use more of it")]
mod support;

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

/// How a call ended.
struct Called {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A call of the program, in an environment of its own.
struct Call {
    command: Command,
    input: Vec<u8>,
}

fn hullworks(arguments: &[&str]) -> Call {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hullworks"));
    command.env_clear().args(arguments);
    Call {
        command,
        input: Vec::new(),
    }
}

impl Call {
    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    fn in_data_dir(self, path: &Path) -> Self {
        self.env("HULLWORKS_DATA_DIR", path)
    }

    fn input(mut self, input: &str) -> Self {
        self.input = input.as_bytes().to_vec();
        self
    }

    /// Ends before it reads anything: standard output is closed for reading already.
    fn into_closed_pipe(mut self) -> Option<i32> {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = self
            .command
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::null())
            .status();
        status.unwrap().code()
    }

    /// Starts and goes on without waiting.
    fn start(mut self) -> Child {
        let command = self.command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).spawn().unwrap()
    }

    fn run(mut self) -> Called {
        let mut input = tempfile::tempfile().unwrap();
        input.write_all(&self.input).unwrap();
        std::io::Seek::rewind(&mut input).unwrap();
        let output = self.command.stdin(Stdio::from(input)).output().unwrap();
        Called {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Called {
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    #[track_caller]
    fn refused(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
    }
}

/// Makes an installation with one administrator.
fn installed(data_dir: &Path) {
    let add = hullworks(&["user", "add", "anna", "--admin", "--password-stdin"]);
    add.in_data_dir(data_dir).input("correct horse\n").run().done();
}

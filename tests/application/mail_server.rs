//! A real mail server as a child process.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a test waits to be sure that nothing comes.
const NOTHING_COMES: Duration = Duration::from_millis(300);

pub struct MailServer {
    pub url: String,
    said: Lines<BufReader<ChildStdout>>,
    _stdin: ChildStdin,
    _process: Child,
}

impl MailServer {
    pub async fn start() -> Self {
        // Debian's own interpreter: another would not find the library of Debian's package.
        let mut process = Command::new("/usr/bin/python3")
            .args(["-c", include_str!("../support/smtp.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let mut server = Self {
            url: String::new(),
            said: BufReader::new(process.stdout.take().unwrap()).lines(),
            _stdin: stdin,
            _process: process,
        };
        let started = server.next().await;
        server.url = format!("smtp://127.0.0.1:{}", started["port"]);
        server
    }

    /// The next thing that it has to say: a message that it took, or whom it put off.
    pub async fn next(&mut self) -> Value {
        let line = timeout(PATIENCE, self.said.next_line()).await.expect("no mail came");
        serde_json::from_str(&line.unwrap().expect("the mail server ended")).unwrap()
    }

    /// Whether nothing comes for a moment.
    pub async fn is_silent(&mut self) -> bool {
        timeout(NOTHING_COMES, self.said.next_line()).await.is_err()
    }
}

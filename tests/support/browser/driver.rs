//! A chromedriver of one test's own, and the Chromium that it runs: both end with it, a failed test included.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::Engine as _;
use fantoccini::wd::Capabilities;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::parts::{port, wait};

/// How long a driver may take to come up, and to answer while it ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running driver, and a profile for its one browser.
pub struct Driver {
    port: u16,
    process: Child,
    directory: TempDir,
}

impl Driver {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = port::free();
        let log = File::create(directory.path().join("driver.log")).expect("a file in a temporary directory");
        let process = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            // A group of its own, so that a browser that outlives its driver can be found and ended.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("chromium-driver is not installed; run `make setup`");
        let mut driver = Self {
            port,
            process,
            directory,
        };
        wait::until("chromedriver to answer", PATIENCE, async || {
            let ended = driver.process.try_wait().expect("the state of a child process");
            assert!(ended.is_none(), "chromedriver ended: {}", driver.log());
            let answer: Value = reqwest::get(format!("{}/status", driver.url()))
                .await
                .ok()?
                .json()
                .await
                .ok()?;
            (answer["value"]["ready"] == true).then_some(())
        })
        .await;
        driver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("driver.log")).unwrap_or_default()
    }

    /// What to ask of the browser: headless, a fresh profile, a console that can be read, and no host but this one.
    pub fn capabilities(&self) -> Capabilities {
        let profile = self.directory.path().join("profile");
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--window-size=1440,900".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            // A request to another host becomes an error in the console.
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        if is_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        Capabilities::from_iter([
            ("goog:chromeOptions".to_owned(), json!({ "args": arguments })),
            ("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" })),
        ])
    }

    /// What the browser shows now, as PNG, where it still answers. Without a runtime: a failing test is unwinding.
    pub fn screenshot(&self, session: &str) -> Option<Vec<u8>> {
        let answer = self.ask("GET", &format!("/session/{session}/screenshot"))?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        let png = answer["value"].as_str()?;
        base64::engine::general_purpose::STANDARD.decode(png).ok()
    }

    /// Ends a session, and its browser with it.
    pub fn end(&self, session: &str) {
        self.ask("DELETE", &format!("/session/{session}"));
    }

    /// One request; the body of the answer.
    fn ask(&self, method: &str, path: &str) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let host = format!("127.0.0.1:{}", self.port);
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").ok()?;
        // The driver keeps the connection open, whatever it is asked.
        let (mut reader, mut length, mut line) = (BufReader::new(stream), 0, String::new());
        while reader.read_line(&mut line).ok()? > 2 {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok()?;
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(body)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.process.wait();
    }
}

/// Where screenshots of failed tests are kept.
pub fn artefacts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/browser")
}

/// Chromium's sandbox refuses to run as root.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

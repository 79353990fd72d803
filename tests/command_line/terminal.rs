//! The program on a terminal, which `script` (of util-linux) gives it.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
};

use crate::live::{Live, end};

/// Much more than is shown before what is waited for.
const MOST_SHOWN: usize = 256 << 10;

/// Starts a command on a terminal; what the terminal is sent goes to the child's standard output.
fn on_terminal(live: &Live, command: &str, environment: &[(&str, &str)]) -> Child {
    let command = format!("{} {command}", env!("CARGO_BIN_EXE_hullworks"));
    Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm")
        .env("HULLWORKS_URL", live.server.url())
        .env("HULLWORKS_TOKEN", &live.token)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script can be started; it is part of util-linux")
}

/// Reads what the terminal is sent until it has this part.
fn read_until(child: &mut Child, part: &str) -> String {
    let stdout = child.stdout.as_mut().unwrap();
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stdout.read(&mut buffer).unwrap();
        shown.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&shown).into_owned();
        if text.contains(part) {
            return text;
        }
        assert!(read > 0 && shown.len() < MOST_SHOWN, "{part} is not in {text:?}");
    }
}

#[tokio::test]
async fn a_list_has_a_head_and_colours_unless_they_are_refused() {
    let live = Live::with_app().await;
    let id = live.trigger();
    live.call(&["cancel", &id]).run().done();
    let list = |environment: &[(&str, &str)]| end(on_terminal(&live, "builds", environment)).done();
    let shown = list(&[]);
    assert!(
        shown.starts_with("ID  ") && shown.contains("\x1b[2mcanceled\x1b[0m"),
        "{shown:?}"
    );
    let shown = list(&[("NO_COLOR", "1")]);
    assert!(shown.starts_with("ID  ") && !shown.contains('\x1b'), "{shown:?}");
}

#[tokio::test]
async fn following_shows_what_a_queued_build_waits_for_and_how_it_ended() {
    let live = Live::with_app().await;
    let mut child = on_terminal(&live, "trigger team/app --follow", &[]);
    let shown = read_until(&mut child, "  waiting: a worker: none is running");
    assert!(shown.contains("==> team/app #1: branch main"), "{shown:?}");
    let id = live.queued().await;
    live.call(&["cancel", &id]).run().done();
    let called = end(child);
    assert_eq!(called.code, Some(1), "{}", called.stdout);
    // Where the live line was, the outcome stands alone.
    let last = called.stdout.trim_end().rsplit("\x1b[2K").next().unwrap();
    assert_eq!(last, "team/app #1 \x1b[2mcanceled\x1b[0m");
}

//! Running other programs to their end.

use std::{ffi::OsStr, process::Stdio};

use tokio::{io::AsyncWriteExt, process::Command};

/// Runs a program and returns its standard output, without surrounding white space.
///
/// # Panics
/// When it cannot be started or does not succeed; with what it said.
pub async fn run(program: &str, arguments: &[impl AsRef<OsStr>]) -> String {
    output_of(Command::new(program).args(arguments), &[]).await
}

/// As [`run`], for a prepared command and with bytes for its standard input.
pub async fn output_of(command: &mut Command, input: &[u8]) -> String {
    let shown = format!("{:?}", command.as_std());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{shown} cannot be started ({error}); `make setup` installs what is missing"));
    let mut stdin = child.stdin.take().expect("a pipe to standard input");
    let write = async {
        // A program that does not read to the end shows in its exit status, not here.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.expect("the output of a child process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(
        output.status.success(),
        "{shown}: {}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

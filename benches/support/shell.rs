//! What a person would type instead.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::process::Command;

use crate::parts::command;

/// How the classic builder is asked for; the command line needs a plug-in for the other, which is often not installed.
const CLASSIC: (&str, &str) = ("DOCKER_BUILDKIT", "0");

/// Runs a script to its end in a directory and answers how long it took.
///
/// # Panics
/// When it fails; with what it said.
pub async fn run(directory: &Path, script: &str) -> Duration {
    let begun = Instant::now();
    let mut shell = Command::new("sh");
    shell
        .args(["-ec", script])
        .current_dir(directory)
        .env(CLASSIC.0, CLASSIC.1)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stderr(Stdio::piped());
    command::output_of(&mut shell, &[]).await;
    begun.elapsed()
}

/// The whole way by hand: a clone, a build, a push.
pub async fn clone_build_push(url: &str, image: &str) -> Duration {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let script = format!(
        "git clone --quiet --depth 1 {url} source\ndocker build --quiet --tag {image} source\ndocker push --quiet {image}"
    );
    run(directory.path(), &script).await
}

//! A step that says 200,000 lines, followed by ten viewers, next to the same step under `docker build` alone.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    parts::{engine::Engine, git_server::GitServer, registry::Registry, server::ids, webhook::Push},
    support::{process, service::Service, shell, table::Table},
};

const LINES: usize = 200_000;

const VIEWERS: usize = 10;

pub async fn measure(table: &mut Table) {
    let (engine, registry, git) = (
        Engine::connect().await,
        Registry::start().await,
        GitServer::start().await,
    );
    let _images = engine.clean_up(registry.host());
    let base = format!("{}/base/busybox:1", registry.host());
    engine.import_busybox(&base, "base").await;
    engine.push(&base).await;
    let source = git.create("team/app").await;
    let dockerfile = format!("FROM {base}\nRUN seq 1 {LINES} | sed 's/^/this is line /'\n");
    let commit = source.push(&[("Dockerfile", &dockerfile)], "Begin").await;
    // BuildKit clips what a step says beyond 200 KiB a second, so that the other builder is the one to measure with.
    let service = Service::start("builder = \"classic\"").await;
    let document = json!({
        "image": format!("{}/admin/app", registry.host()),
        "source": { "provider": "github", "url": source.url },
        "rules": [{ "source_type": "branch", "source": "main", "docker_tag": "latest", "cache": false }]
    });
    let webhook = service.put_repository("admin/app", document).await;

    let directory = tempfile::tempdir().expect("a temporary directory");
    let image = format!("{}/hand/app", registry.host());
    let script = format!(
        "git clone --quiet --depth 1 {} source\ndocker build --no-cache --tag {image} source >log 2>&1\n\
         test $(grep -c 'this is line' log) -ge {LINES}\ndocker push --quiet {image}",
        source.url
    );
    let alone = shell::run(directory.path(), &script).await;

    let begun = Instant::now();
    let push = Push {
        full_name: "team/app",
        clone_url: &source.url,
        branch: "main",
        commit: &commit,
        message: "A change",
    };
    let (status, answer) = webhook.github(&push).await;
    assert_eq!(status, 202, "{answer:#}");
    let build = ids(&answer["builds"]).remove(0);
    let mut viewers = JoinSet::new();
    for _ in 0..VIEWERS {
        viewers.spawn(view(service.follow_log(&build).await, begun));
    }
    let ended = viewers.join_all().await;
    service.wait_for_success(&build).await;
    let ours = ended.into_iter().max().unwrap_or_default();
    table.durations(
        format!("{LINES} log lines to {VIEWERS} viewers, whole build"),
        ours,
        alone,
        "by hand with docker build (classic), no viewer",
    );
    table.alone(
        "- most memory of the service meanwhile",
        process::mebibytes(process::peak(service.pid())),
    );
}

/// Reads a log to its end and answers when that was.
///
/// # Panics
/// When lines are missing.
async fn view(mut log: reqwest::Response, begun: Instant) -> Duration {
    let (mut lines, mut last) = (0, Vec::new());
    while let Some(piece) = log.chunk().await.expect("a piece of the log") {
        last.extend_from_slice(&piece);
        let whole = last.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = String::from_utf8_lossy(&last[..whole]);
        lines += text.lines().filter(|line| line.contains("this is line")).count();
        last.drain(..whole);
    }
    assert!(lines >= LINES, "a viewer got {lines} lines");
    begun.elapsed()
}

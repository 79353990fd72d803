//! From a push to the start of its build, and to its image at the registry, for a small repository whose cache is warm.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    parts::{
        engine::Engine,
        git_server::{GitServer, Repository},
        registry::Registry,
        server::ids,
        webhook::{Push, Webhook},
    },
    support::{
        service::Service,
        shell,
        table::{Table, seconds},
    },
};

const STARTS: usize = 20;

const IMAGES: usize = 7;

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
    let service = Service::start("").await;
    let image = format!("{}/admin/app", registry.host());
    let webhook = service.put_repository("admin/app", document(&source.url, &image)).await;
    let dockerfile = format!("FROM {base}\nRUN echo dependencies > /dependencies\nCOPY text /text\n");
    source.push(&[("Dockerfile", &dockerfile)], "Begin").await;

    let mut to_image = Vec::new();
    let mut by_hand = Vec::new();
    for n in 0..=IMAGES {
        let commit = source.push(&[("text", &format!("{n}"))], "A change").await;
        let begun = Instant::now();
        let build = tell(&webhook, &source, &commit).await;
        service.wait_for_success(&build).await;
        to_image.push(begun.elapsed());
        by_hand.push(shell::clone_build_push(&source.url, &format!("{}/hand/app", registry.host())).await);
    }
    // The first of each warms the caches.
    let (ours, peer) = (median(to_image.split_off(1)), median(by_hand.split_off(1)));
    table.durations(
        "push to image at the registry, small and cached",
        ours,
        peer,
        "git clone --depth 1 && docker build (classic) && docker push",
    );

    let mut to_start = Vec::new();
    for n in 0..STARTS {
        let commit = source.push(&[("text", &format!("start {n}"))], "A change").await;
        let begun = Instant::now();
        let build = tell(&webhook, &source, &commit).await;
        service.wait_for(&build, |build| build["status"] != "queued").await;
        to_start.push(begun.elapsed());
        service.wait_for_success(&build).await;
    }
    table.alone("push to the start of its build, quiet queue", seconds(median(to_start)));
}

fn document(url: &str, image: &str) -> serde_json::Value {
    json!({
        "image": image,
        "source": { "provider": "github", "url": url },
        "rules": [{ "source_type": "branch", "source": "main", "docker_tag": "latest" }]
    })
}

/// Tells the service about a push to `main` and returns the id of the build.
async fn tell(webhook: &Webhook, source: &Repository, commit: &str) -> String {
    let push = Push {
        full_name: "team/app",
        clone_url: &source.url,
        branch: "main",
        commit,
        message: "A change",
    };
    let (status, answer) = webhook.github(&push).await;
    assert_eq!(status, 202, "{answer:#}");
    ids(&answer["builds"]).remove(0)
}

pub fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}

//! A large repository in which one file changed: 10,000 files, 200 MB, of which the image takes one directory of a hundred.

use std::time::Instant;

use serde_json::json;

use crate::{
    parts::{engine::Engine, git_server::GitServer, registry::Registry, server::ids, webhook::Push},
    push::median,
    support::{process, service::Service, shell, table::Table},
};

const DIRECTORIES: usize = 100;
const FILES: usize = 100;

/// Bytes of one file.
const SIZE: usize = 20_000;

const CHANGES: usize = 3;

pub async fn measure(table: &mut Table) {
    let (engine, registry, git) = (
        Engine::connect().await,
        Registry::start().await,
        GitServer::start().await,
    );
    let _images = engine.clean_up(registry.host());
    let source = git.create("team/large").await;
    source.git(&["config", "core.compression", "0"]).await;
    let mut files = large_tree();
    files.push(("Dockerfile".to_owned(), "FROM scratch\nCOPY d0 /app\n".to_owned()));
    let borrowed: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    source.push(&borrowed, "Begin").await;
    let service = Service::start("").await;
    let document = json!({
        "image": format!("{}/admin/large", registry.host()),
        "source": { "provider": "github", "url": source.url },
        "rules": [{ "source_type": "branch", "source": "main", "docker_tag": "latest" }]
    });
    let webhook = service.put_repository("admin/large", document).await;

    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for n in 0..=CHANGES {
        let commit = source.push(&[("d0/f0", &text(1_000_000 + n))], "A change").await;
        let push = Push {
            full_name: "team/large",
            clone_url: &source.url,
            branch: "main",
            commit: &commit,
            message: "A change",
        };
        let begun = Instant::now();
        let (status, answer) = webhook.github(&push).await;
        assert_eq!(status, 202, "{answer:#}");
        service.wait_for_success(&ids(&answer["builds"])[0]).await;
        ours.push(begun.elapsed());
        peer.push(shell::clone_build_push(&source.url, &format!("{}/hand/large", registry.host())).await);
    }
    // The first of each fetches and sends everything.
    let by_hand = "git clone --depth 1 && docker build (classic) && docker push";
    table.durations(
        "10,000 files, 200 MB: the first image",
        ours.remove(0),
        peer.remove(0),
        by_hand,
    );
    table.durations("- with one file changed", median(ours), median(peer), by_hand);
    table.alone(
        "- most memory of the service meanwhile",
        process::mebibytes(process::peak(service.pid())),
    );
}

fn large_tree() -> Vec<(String, String)> {
    (0..DIRECTORIES * FILES)
        .map(|n| (format!("d{}/f{}", n / FILES, n % FILES), text(n)))
        .collect()
}

/// Text that compresses about as badly as text can, another for each number.
fn text(number: usize) -> String {
    let mut state = number as u64 + 1;
    let mut text = String::with_capacity(SIZE + 16);
    while text.len() < SIZE {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{state:016x}"));
    }
    text.truncate(SIZE);
    text
}

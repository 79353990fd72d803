//! Base images: a cycle of looks at those of ten thousand repositories, the decision what follows from one that moved, and how
//! soon a build starts after a push that its registry reports.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use hullworks::{
    clock::Clock,
    domain::image::ImageReference,
    registry::{Registries, RegistriesConfig},
    store::{Store, WatchKey, WaveMove},
};
use serde_json::json;
use tokio::process::Command;

use crate::{
    parts::{engine::Engine, git_server::GitServer, registry::Registry, server::ids, wait, webhook::Push},
    push::median,
    support::{
        fill, process,
        service::Service,
        table::{Table, seconds},
    },
};

/// Distinct images that the repositories stand on.
const IMAGES: usize = 200;

/// What a decision may take.
const DECISION: Duration = Duration::from_millis(100);

/// From a base's push to the start of the build that follows.
const FOLLOWS: Duration = Duration::from_secs(1);

/// Decisions and pushes that are measured.
const TIMES: usize = 7;

const PATIENCE: Duration = Duration::from_secs(120);

pub async fn measure(table: &mut Table) {
    let engine = Engine::connect().await;
    let registry = Registry::start().await;
    let _images = engine.clean_up(registry.host());
    let first = format!("{}/base/image:tag-0", registry.host());
    engine.import_busybox(&first, "base").await;
    engine.push(&first).await;
    tag_again(&registry).await;
    looks(table, &registry).await;
    cycle(table, &registry).await;
    follow(table, &engine).await;
}

/// Gives the first image the other names too, without an engine.
async fn tag_again(registry: &Registry) {
    const KIND: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let client = reqwest::Client::new();
    let of = |tag: usize| format!("http://{}/v2/base/image/manifests/tag-{tag}", registry.host());
    let found = client
        .get(of(0))
        .header("accept", KIND)
        .send()
        .await
        .expect("an answer of the registry");
    let manifest = found.bytes().await.expect("a manifest");
    for tag in 1..IMAGES {
        let put = client.put(of(tag)).header("content-type", KIND).body(manifest.clone());
        let status = put.send().await.expect("an answer of the registry").status();
        assert!(status.is_success(), "{status}");
    }
}

fn images(registry: &Registry) -> Vec<String> {
    (0..IMAGES)
        .map(|n| format!("{}/base/image:tag-{n}", registry.host()))
        .collect()
}

/// Looks one after the other, next to `skopeo inspect` of the same images.
async fn looks(table: &mut Table, registry: &Registry) {
    let registries = Registries::new(RegistriesConfig::default()).expect("TLS roots");
    let begun = Instant::now();
    for image in images(registry) {
        let image = ImageReference::parse(&image).expect("an image's name");
        registries
            .look(&image, None, None)
            .await
            .expect("an answer of the registry");
    }
    let ours = IMAGES as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    for image in images(registry).iter().take(IMAGES / 10) {
        let inspect = Command::new("skopeo")
            .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
            .arg(format!("docker://{image}"))
            .output();
        let done = inspect.await.expect("skopeo is not installed; run `make setup`");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let peer = (IMAGES / 10) as f64 / begun.elapsed().as_secs_f64();
    table.rates(
        "looks at images, one after the other",
        "looks",
        ours,
        peer,
        "skopeo inspect",
    );
}

/// A service with ten thousand repositories comes up and looks at everything that they stand on.
async fn cycle(table: &mut Table, registry: &Registry) {
    let mut service = Service::start("concurrency = 0\n[base_images]\npoll_seconds = 86400").await;
    let document = json!({
        "source": { "provider": "github", "url": "https://github.com/acme/app.git" },
        "image": "registry.example.com/admin/app",
        "rules": [{ "source_type": "branch", "source": "main", "docker_tag": "latest" }]
    });
    let webhook = service.put_repository("admin/app", document).await;
    let push = Push {
        full_name: "acme/app",
        clone_url: "https://github.com/acme/app.git",
        branch: "main",
        commit: &"a".repeat(40),
        message: "A change",
    };
    let (status, answer) = webhook.github(&push).await;
    assert_eq!(status, 202, "{answer:#}");
    service.stop().await;
    let images = images(registry);
    let digest = registry.digest("base/image", "tag-0").await.expect("a digest");
    fill::fill_on_bases(&service.database(), &images, &digest).await;

    let before = registry.manifest_requests().await;
    let begun = Instant::now();
    service.restart().await;
    let store = Store::open_sqlite(&service.database()).await.expect("the database");
    wait::until("a look at every image", PATIENCE, async || {
        let watched = store.watched_images().await.expect("the database");
        let seen = watched.iter().filter(|image| image.checked_at.is_some()).count();
        (seen == IMAGES).then_some(())
    })
    .await;
    let took = begun.elapsed();
    let requests = registry.manifest_requests().await - before;
    let what = format!(
        "a cycle of looks, {} repositories on {IMAGES} images",
        fill::REPOSITORIES
    );
    table.alone(what, seconds(took));
    table.alone("- requests to the registry", requests);
    table.alone(
        "- memory after it",
        process::mebibytes(process::resident(service.pid())),
    );
    service.stop().await;

    let mut decisions = Vec::new();
    for (n, image) in images.iter().take(TIMES).enumerate() {
        let now = Clock::system().now();
        let key = WatchKey {
            image: image.clone(),
            access: String::new(),
        };
        let to = format!("sha256:{n:064x}");
        let begun = Instant::now();
        let outdated = store.outdated_on(&key, &to).await.expect("the database");
        let moved = WaveMove {
            image: image.clone(),
            access: String::new(),
            from: None,
            to,
            parent: None,
            is_inner: false,
        };
        store
            .add_move(&moved, TimeDelta::zero(), now)
            .await
            .expect("the database");
        let (_, wave) = store
            .begin_settled_wave(now)
            .await
            .expect("the database")
            .expect("a wave");
        decisions.push(begun.elapsed());
        assert_eq!(
            (outdated.len(), wave.items),
            (fill::REPOSITORIES / IMAGES, fill::REPOSITORIES / IMAGES)
        );
    }
    store.close().await;
    let what = format!(
        "deciding a wave, {} repositories, {} follow",
        fill::REPOSITORIES,
        fill::REPOSITORIES / IMAGES
    );
    table.durations(what, median(decisions), DECISION, "aim at the median");
}

/// From the push of a base image to the start of the build that follows, by its registry's report.
async fn follow(table: &mut Table, engine: &Engine) {
    let service = Service::start("[base_images]\npoll_seconds = 86400\ndebounce_seconds = 0").await;
    let host = Registry::free_host();
    let stored = service.put_registry(&host).await;
    let of = |field: &str| stored["webhook"][field].as_str().expect("a text");
    let registry = Registry::start_reporting(host, of("url"), of("secret")).await;
    let _images = engine.clean_up(registry.host());
    let base = format!("{}/base/reported:1", registry.host());
    engine.import_busybox(&base, "first").await;
    engine.push(&base).await;
    let git = GitServer::start().await;
    let source = git.create("team/app").await;
    let document = json!({
        "image": format!("{}/admin/app", registry.host()),
        "source": { "provider": "github", "url": source.url },
        "rules": [{ "source_type": "branch", "source": "main", "docker_tag": "latest" }]
    });
    let webhook = service.put_repository("admin/app", document).await;
    let commit = source
        .push(&[("Dockerfile", &format!("FROM {base}\nCMD [\"true\"]\n"))], "Begin")
        .await;
    let push = Push {
        full_name: "team/app",
        clone_url: &source.url,
        branch: "main",
        commit: &commit,
        message: "Begin",
    };
    let (status, answer) = webhook.github(&push).await;
    assert_eq!(status, 202, "{answer:#}");
    service.wait_for_success(&ids(&answer["builds"])[0]).await;
    let mut times = Vec::new();
    for n in 0..TIMES {
        engine.import_busybox(&base, &format!("version {n}")).await;
        engine.push(&base).await;
        let begun = Instant::now();
        let newest = wait::until("the build that follows", PATIENCE, async || {
            let newest = service.newest_build().await;
            (newest["number"] == json!(n + 2) && newest["status"] != "queued").then_some(newest)
        })
        .await;
        times.push(begun.elapsed());
        service.wait_for_success(newest["id"].as_str().expect("an id")).await;
    }
    table.durations(
        "push of a base to the start of the build on it, reported",
        median(times),
        FOLLOWS,
        "aim at the median",
    );
}

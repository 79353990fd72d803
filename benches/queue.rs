//! A long queue: how fast builds are claimed from it, and what it costs a service to start beside it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use hullworks::{
    clock::Clock,
    domain::{
        build::{Cause, Plan},
        ids::{BuildId, DeliveryId, WorkerId},
        repository::{Repository, RepositoryName},
        rule::SourceType,
    },
    store::{BuildRequest, NewDelivery, Store},
};
use serde_json::json;

use crate::support::{
    disk, process,
    service::Service,
    table::{Table, seconds},
};

const BUILDS: usize = 100_000;

/// Builds that one delivery asks for, and deliveries of one transaction.
const GROUP: (usize, usize) = (50, 20);

const CLAIMS: u32 = 2_000;

/// How long a service is left alone before its memory counts as that at rest.
const REST: Duration = Duration::from_secs(2);

const REPOSITORY: &str = "admin/app";

pub async fn measure(table: &mut Table) {
    let mut service = Service::start("concurrency = 0").await;
    let document = json!({
        "source": { "provider": "github", "url": "https://github.com/acme/app.git" },
        "image": "registry.example.com/admin/app",
        "rules": [{ "source_type": "branch", "source": "/.*/", "docker_tag": "{sourceref}" }]
    });
    service.put_repository(REPOSITORY, document).await;
    let first_start = service.started_in;
    at_rest(&mut service, table, "an empty database").await;
    table.alone("- the very first start, which makes everything", seconds(first_start));
    service.stop().await;

    let store = Store::open_sqlite(&service.database()).await.expect("the database");
    fill(&store).await;
    let claims = claims_per_second(&store).await;
    store.close().await;
    let directory = service.database();
    let syncs = disk::syncs_per_second(directory.parent().unwrap_or(Path::new("/tmp")));
    table.rates(
        format!("claims from a queue of {BUILDS}, SQLite"),
        "claims",
        claims,
        syncs,
        "syncs of the disk",
    );
    service.restart().await;
    at_rest(&mut service, table, "100,000 builds").await;
}

/// Starts anew, and measures how long that takes and how much memory is used when nothing happens.
async fn at_rest(service: &mut Service, table: &mut Table, data: &str) {
    service.stop().await;
    service.restart().await;
    table.alone(format!("start until ready, {data}"), seconds(service.started_in));
    tokio::time::sleep(REST).await;
    let memory = process::mebibytes(process::resident(service.pid()));
    table.alone(format!("memory at rest, {data}"), memory);
}

async fn fill(store: &Store) {
    let name = RepositoryName::parse(REPOSITORY).expect("a name");
    let found = store.repository_named(&name).await.expect("the database");
    let repository = found.expect("the repository");
    let (per_delivery, deliveries) = GROUP;
    for group in 0..BUILDS / (per_delivery * deliveries) {
        let group: Vec<NewDelivery> = (0..deliveries)
            .map(|n| delivery(&repository, (group * deliveries + n) * per_delivery, per_delivery))
            .collect();
        store.accept(&group).await.expect("the database");
    }
}

async fn claims_per_second(store: &Store) -> f64 {
    let (clock, worker) = (Clock::system(), WorkerId::new());
    let begun = Instant::now();
    for _ in 0..CLAIMS {
        let claimed = store.claim(&worker, clock.now(), Duration::from_secs(600)).await;
        assert!(claimed.expect("the database").is_some(), "the queue is long enough");
    }
    f64::from(CLAIMS) / begun.elapsed().as_secs_f64()
}

/// A delivery that asks for one build of each of several branches.
fn delivery(repository: &Repository, first: usize, count: usize) -> NewDelivery {
    NewDelivery {
        id: DeliveryId::new(),
        repository_id: repository.id.clone(),
        provider: "github".to_owned(),
        event: "push".to_owned(),
        delivery_id: Some(format!("{first:032x}")),
        body_hash: None,
        content_type: None,
        body: None,
        received_at: Clock::system().now(),
        source_name: None,
        commit: None,
        decided: vec![],
        requests: (first..first + count).map(|n| request(repository, n)).collect(),
        takes: None,
    }
}

fn request(repository: &Repository, n: usize) -> BuildRequest {
    BuildRequest {
        id: BuildId::new(),
        rule_id: repository.rules[0].id.clone(),
        source_type: SourceType::Branch,
        source_name: format!("branch-{n}"),
        commit: Some(format!("{n:040x}")),
        commit_message: Some("A change".to_owned()),
        cause: Cause::Push {
            delivery: String::new(),
        },
        plan: Plan {
            dockerfile: "Dockerfile".to_owned(),
            context: "/".to_owned(),
            tags: vec![format!("branch-{n}")],
            image: "registry.example.com/admin/app".to_owned(),
            build_args: std::collections::BTreeMap::new(),
            target: String::new(),
            platforms: vec![],
            cache: true,
            paths: vec![],
            base_digests: std::collections::BTreeMap::new(),
        },
        push_order: None,
        unless_under_way: true,
        before: None,
    }
}

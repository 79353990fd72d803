//! Signed pushes accepted per second: each is verified, matched, and on disk with its body and its build before its answer.

use std::{sync::Arc, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::{
    parts::webhook::Webhook,
    support::{
        disk,
        echo::Echo,
        load, process,
        service::Service,
        table::{Table, seconds},
    },
};

/// A real push of GitHub, of 8.8 KB.
const PAYLOAD: &str = include_str!("../tests/payloads/github/octokit/push-6.json");

/// The commit that it is about, which is another one in each request.
const COMMIT: &str = "6113728f27ae82c7b1a177c8d03f9e96e0adf246";

const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];

const TIME: Duration = Duration::from_secs(3);

const WARM_UP: Duration = Duration::from_millis(500);

/// Requests made beforehand for each measurement; more than any machine takes in that time.
const REQUESTS: usize = 40_000;

pub async fn measure(table: &mut Table) {
    let service = Service::start("concurrency = 0").await;
    let webhook = service.put_repository("admin/app", repository()).await;
    let echo = Echo::start();
    let mut made = 0;
    let mut requests = |count: usize| {
        made += count;
        Arc::new((made - count..made).map(|n| request(&webhook, n)).collect::<Vec<_>>())
    };
    let warm_up = requests(REQUESTS / 4);
    load::run(&service.address(), 16, &warm_up, WARM_UP).await;
    load::run(&echo.address, 16, &warm_up, WARM_UP).await;
    for connections in CONNECTIONS {
        let all = requests(REQUESTS);
        let ours = load::run(&service.address(), connections, &all, TIME).await;
        let bare = load::run(&echo.address, connections, &all, TIME).await;
        let what = format!("signed pushes accepted, {connections} connections");
        table.rates(what, "pushes", ours.per_second, bare.per_second, "bare echo");
        table.durations(
            format!("- half of them within ({connections})"),
            ours.p50,
            bare.p50,
            "bare echo",
        );
        table.durations(
            format!("- 99 % of them within ({connections})"),
            ours.p99,
            bare.p99,
            "bare echo",
        );
    }
    let syncs = disk::syncs_per_second(&std::env::temp_dir());
    table.alone("the disk: synced appends of 4 KiB", format!("{syncs:.0}/s"));
    table.alone(
        "- one after the other each takes",
        seconds(Duration::from_secs_f64(1.0 / syncs)),
    );
    table.alone(
        "most memory of the service meanwhile",
        process::mebibytes(process::peak(service.pid())),
    );
}

fn repository() -> serde_json::Value {
    let rule = |source_type: &str, source: &str, docker_tag: &str| json!({ "source_type": source_type, "source": source, "docker_tag": docker_tag });
    json!({
        "image": "registry.example.com/admin/app",
        "source": { "provider": "github", "url": "https://github.com/Codertocat/Hello-World.git" },
        "rules": [
            rule("branch", "master", "latest,{sourceref}"),
            rule("branch", "/^release\\/([0-9]+)\\.([0-9]+)$/", "{\\1}.{\\2}-rc"),
            rule("branch", "/^feature\\/(.+)$/", "feature-{\\1}"),
            rule("tag", "/^v([0-9]+)\\.([0-9]+)\\.([0-9]+)$/", "{\\1}.{\\2}.{\\3},{\\1}.{\\2},{\\1}"),
            rule("tag", "nightly", "nightly"),
        ]
    })
}

/// The whole message of the `n`th push: a commit, a delivery and a signature of its own.
fn request(webhook: &Webhook, n: usize) -> Vec<u8> {
    let body = PAYLOAD.replace(COMMIT, &format!("{n:040x}"));
    let mut mac = Hmac::<Sha256>::new_from_slice(webhook.secret.as_bytes()).expect("HMAC takes any key");
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let url = url::Url::parse(&webhook.url).expect("the webhook's address");
    format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-github-event: push\r\n\
         x-github-delivery: {n:032x}\r\nx-hub-signature-256: sha256={signature}\r\ncontent-length: {}\r\n\r\n{body}",
        url.path(),
        body.len()
    )
    .into_bytes()
}

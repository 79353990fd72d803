//! Pages on a large database: how long the server needs for each, what a first visit weighs, how soon a line that a step
//! wrote is on the screen of a real Chromium, and how long a very long log takes to open there.

use std::{sync::Arc, time::Duration};

use hullworks::{
    clock::Clock,
    domain::{build::Ending, ids::WorkerId},
    store::Store,
};
use serde_json::json;

use crate::{
    browser::Browser,
    parts::{engine::Engine, git_server::GitServer, registry::Registry, server::ids, wait, webhook::Push},
    support::{
        fill, load,
        service::{PASSWORD, Service},
        table::Table,
    },
};

/// What a page may cost the server at the median.
const AIM: Duration = Duration::from_millis(10);

/// What everything that a first visit loads may weigh, as it goes over the wire, in bytes.
const WEIGHT: u64 = 60 << 10;

/// How soon a line may be on the screen after it was written.
const SOON: Duration = Duration::from_millis(200);

/// How long a very long log may take to open.
const OPEN: Duration = Duration::from_secs(1);

const LINES: usize = 1_000_000;

/// Bytes of a log that are stored at a time.
const PIECE: usize = 256 << 10;

/// Requests for one page, one after the other.
const REQUESTS: usize = 400;

/// Lines of a step whose way to the screen is measured, and the pause between them in seconds.
const LIVE: (usize, &str) = (40, "0.3");

const PATIENCE: Duration = Duration::from_secs(120);

pub async fn measure(table: &mut Table) {
    let mut service = Service::start("concurrency = 0").await;
    let document = json!({
        "source": { "provider": "github", "url": "https://github.com/acme/app.git" },
        "image": "registry.example.com/admin/app",
        "rules": [{ "source_type": "branch", "source": "/.*/", "docker_tag": "{sourceref}" }]
    });
    let webhook = service.put_repository("admin/app", document).await;
    let build = push(&webhook, "https://github.com/acme/app.git", &"a".repeat(40)).await;
    service.stop().await;
    let store = Store::open_sqlite(&service.database()).await.expect("the database");
    long_log(&store).await;
    store.close().await;
    fill::fill(&service.database()).await;
    service.restart().await;
    put_away(&service, &build).await;

    let browser = Browser::open(&format!("http://{}", service.address())).await;
    weight(table, &browser, "the start page, signed out", "/").await;
    sign_in(&browser).await;
    weight(table, &browser, "a build page, after that", &format!("/builds/{build}")).await;
    let cookie = cookie(&browser).await;
    for (what, path) in [
        ("dashboard", "/"),
        ("explore", "/explore"),
        ("list of all builds", "/builds"),
        ("failed builds alone", "/builds?status=failed"),
        ("builds of one repository", "/r/admin/app/builds"),
        ("repository page", "/r/admin/app"),
        ("build page", &format!("/builds/{build}")),
    ] {
        server_time(table, &service, what, path, &cookie).await;
    }
    opening(table, &browser, &build).await;
    drop((browser, service));
    first_line(table).await;
}

/// Tells the service of a push, and returns the build.
async fn push(webhook: &crate::parts::webhook::Webhook, clone_url: &str, commit: &str) -> String {
    let full_name = clone_url
        .trim_end_matches(".git")
        .rsplitn(3, '/')
        .take(2)
        .collect::<Vec<_>>();
    let push = Push {
        full_name: &format!("{}/{}", full_name[1], full_name[0]),
        clone_url,
        branch: "main",
        commit,
        message: "A change",
    };
    let (status, answer) = webhook.github(&push).await;
    assert_eq!(status, 202, "{answer:#}");
    ids(&answer["builds"]).remove(0)
}

/// Gives the one build a log of [`LINES`] lines, and ends it.
async fn long_log(store: &Store) {
    let now = Clock::system().now();
    let claimed = store
        .claim(&WorkerId::new(), now, PATIENCE)
        .await
        .expect("the database");
    let lease = claimed.expect("a queued build").lease;
    let (mut piece, mut offset) = (Vec::new(), 0);
    for line in 1..=LINES {
        piece.extend_from_slice(format!("#7 {}.{:03} this is line {line}\n", line / 1000, line % 1000).as_bytes());
        if piece.len() >= PIECE || line == LINES {
            store.append_log(&lease, offset, &piece).await.expect("the database");
            offset += piece.len() as u64;
            piece.clear();
        }
    }
    let ending = Ending::Succeeded {
        digest: Some(format!("sha256:{}", "b".repeat(64))),
    };
    store.finish(&lease, &ending, &[], now).await.expect("the database");
}

/// Waits until the log of a build that has ended is on the disk, where it is read from ever after.
async fn put_away(service: &Service, build: &str) {
    let store = Store::open_sqlite(&service.database()).await.expect("the database");
    wait::until("the log to be sealed", PATIENCE, async || {
        let extent = store.log_extent(&build.into()).await.expect("the database");
        extent.is_none().then_some(())
    })
    .await;
    store.close().await;
}

async fn sign_in(browser: &Browser) {
    browser.go("/sign-in").await;
    browser.fill("Name", "admin").await;
    browser.fill("Password", PASSWORD).await;
    browser.press_in("main", "Sign in").await;
    browser.arrives_at("/").await;
}

/// The `Cookie` header of the browser's session.
async fn cookie(browser: &Browser) -> String {
    let answer = browser.devtools("Network.getCookies", json!({})).await;
    let cookies = answer["cookies"].as_array().cloned().unwrap_or_default();
    let pairs: Vec<String> = cookies
        .iter()
        .filter_map(|cookie| Some(format!("{}={}", cookie["name"].as_str()?, cookie["value"].as_str()?)))
        .collect();
    pairs.join("; ")
}

async fn server_time(table: &mut Table, service: &Service, what: &str, path: &str, cookie: &str) {
    let address = service.address();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n").into_bytes();
    let page = reqwest::Client::new()
        .get(format!("http://{address}{path}"))
        .header("cookie", cookie);
    let page = page.send().await.expect("a page").text().await.expect("a page");
    assert!(
        page.contains("Sign out"),
        "{path} is not the page of somebody who is signed in"
    );
    // The first ones fill caches and are not counted.
    load::run(&address, 1, &Arc::new(vec![request.clone(); 20]), PATIENCE).await;
    let figures = load::run(&address, 1, &Arc::new(vec![request; REQUESTS]), PATIENCE).await;
    let what = format!("{what}, {} repositories, {} builds", fill::REPOSITORIES, fill::BUILDS);
    table.durations(what, figures.p50, AIM, "aim at the median");
    table.alone("- 99th percentile", crate::support::table::seconds(figures.p99));
}

/// Opens a page and adds up what came over the wire for it, its head aside.
async fn weight(table: &mut Table, browser: &Browser, what: &str, path: &str) {
    browser.go(path).await;
    let script = "return performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))
        .filter(entry => entry.transferSize > 0).reduce((sum, entry) => sum + entry.encodedBodySize, 0)";
    let bytes = browser.run(script, vec![]).await.as_u64().expect("a number of bytes");
    table.sizes(format!("weight of {what}"), bytes, WEIGHT, "aim for a first visit");
}

/// From the click on a link to a log of [`LINES`] lines until lines are painted.
async fn opening(table: &mut Table, browser: &Browser, build: &str) {
    let script = "new MutationObserver((_, observer) => {
            const log = document.querySelector('main');
            if (!/this is line \\d/.test(log?.textContent ?? '')) return;
            observer.disconnect();
            requestAnimationFrame(() => { window.opened = performance.now(); });
        }).observe(document, { childList: true, subtree: true, characterData: true });";
    let parameters = json!({ "source": script });
    browser
        .devtools("Page.addScriptToEvaluateOnNewDocument", parameters)
        .await;
    let mut times = Vec::new();
    for _ in 0..5 {
        browser.go(&format!("/builds/{build}")).await;
        let opened = browser.until("lines of the log", async || {
            browser.run("return window.opened", vec![]).await.as_f64()
        });
        times.push(Duration::from_secs_f64(opened.await / 1000.0));
        browser.go("/").await;
    }
    times.sort_unstable();
    table.durations(
        format!("opening a log of {LINES} lines"),
        times[times.len() / 2],
        OPEN,
        "aim",
    );
}

/// From a step's own writing of the time until that line is painted.
async fn first_line(table: &mut Table) {
    let (engine, registry, git) = (
        Engine::connect().await,
        Registry::start().await,
        GitServer::start().await,
    );
    let _images = engine.clean_up(registry.host());
    let base = format!("{}/base/busybox:1", registry.host());
    engine.import_busybox(&base, "base").await;
    engine.push(&base).await;
    let service = Service::start("").await;
    let browser = Browser::open(&format!("http://{}", service.address())).await;
    let (lines, pause) = LIVE;
    let step = format!("RUN for i in $(seq {lines}); do echo here | ts 'written %.s'; sleep {pause}; done");
    let source = git.create("team/app").await;
    let commit = source
        .push(&[("Dockerfile", &format!("FROM {base}\n{step}\n"))], "Begin")
        .await;
    let document = json!({
        "image": format!("{}/admin/app", registry.host()),
        "source": { "provider": "github", "url": source.url },
        "rules": [{ "source_type": "branch", "source": "main", "docker_tag": "latest", "cache": false }]
    });
    let webhook = service.put_repository("admin/app", document).await;
    let script = "window.delays = {};
        new MutationObserver(() => {
            for (const [, written] of (document.querySelector('main')?.textContent ?? '').matchAll(/written (\\d+[.]\\d{6}) here/g)) {
                // What was there before the page was open is late for no fault of ours.
                if (written in window.delays || Number(written) * 1e3 < performance.timeOrigin + 1000) continue;
                window.delays[written] = 0;
                requestAnimationFrame(() => {
                    window.delays[written] = performance.timeOrigin + performance.now() - Number(written) * 1e3;
                });
            }
        }).observe(document, { childList: true, subtree: true, characterData: true });";
    browser
        .devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }))
        .await;
    let build = push(&webhook, &source.url, &commit).await;
    browser.go(&format!("/builds/{build}")).await;
    service.wait_for_success(&build).await;
    let delays = browser.run("return Object.values(window.delays)", vec![]).await;
    let delays: Vec<f64> = delays
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|delay| delay.as_f64())
        .collect();
    let mut delays: Vec<Duration> = delays
        .into_iter()
        .map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1000.0))
        .collect();
    delays.sort_unstable();
    assert!(delays.len() * 2 > lines, "only {} lines were seen live", delays.len());
    let median = delays[delays.len() / 2];
    table.durations("a line from the step to the screen", median, SOON, "aim for the first");
    table.alone(
        "- the slowest of them",
        crate::support::table::seconds(delays[delays.len() - 1]),
    );
}

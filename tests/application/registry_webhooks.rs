//! Reports of registries about what was pushed there.

use chrono::TimeDelta;
use hullworks::{domain::build::Ending, store::PushedTag};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::app::{App, answer, document};

const WATCHED: &str = "r.example.com/library/alpine:3.20";
const OTHER: &str = "r.example.com/team/base:1";

/// A registry whose reports are taken, and a repository that stands on two of its images.
struct Setting {
    app: App,
    url: String,
    secret: String,
}

impl Setting {
    async fn new() -> Self {
        let app = App::start().await;
        let credentials = json!({ "username": "ann", "password": "x" });
        let path = "/api/v1/namespaces/ann/registries/r.example.com";
        let (status, registry) = app.put(path, credentials).await;
        assert_eq!(status, 201, "{registry:#}");
        let mut wanted = document();
        wanted["links"] = json!([WATCHED, OTHER, "alpine:3.20"]);
        let (status, repository) = app.put("/api/v1/repositories/ann/app", wanted).await;
        assert_eq!(status, 201, "{repository:#}");
        let setting = Self {
            url: registry["webhook"]["url"].as_str().unwrap().to_owned(),
            secret: registry["webhook"]["secret"].as_str().unwrap().to_owned(),
            app,
        };
        setting.build().await;
        setting
            .app
            .store
            .watch_what_is_stood_on(setting.app.clock.now())
            .await
            .unwrap();
        setting.look_at_everything().await;
        setting
    }

    /// Builds the repository, so that it holds a tag.
    async fn build(&self) {
        let app = &self.app;
        app.trigger().await;
        let leased = app.claim().await;
        let (lease, order, now) = (&leased.lease, &leased.build.push_order, app.clock.now());
        let image = "r.example.com/ann/app";
        app.store.claim_tag(lease, order, image, "latest", now).await.unwrap();
        let pushed = PushedTag {
            image,
            tag: "latest",
            digest: None,
            image_bytes: None,
            at: now,
        };
        app.store.tag_pushed(lease, order, &pushed).await.unwrap();
        app.finish(lease, Ending::Succeeded { digest: None }).await;
    }

    /// Takes every look that is due, as a watcher would.
    async fn look_at_everything(&self) {
        let (store, now) = (&self.app.store, self.app.clock.now());
        for image in store.images_due(now, 100).await.unwrap() {
            let hour = std::time::Duration::from_secs(3600);
            assert!(store.take_look(&image, now, hour).await.unwrap());
        }
    }

    /// The images that are to be looked at now.
    async fn due(&self) -> Vec<String> {
        let due = self.app.store.images_due(self.app.clock.now(), 100).await.unwrap();
        due.into_iter().map(|image| image.key.image).collect()
    }

    fn report(&self) -> RequestBuilder {
        self.app
            .client
            .post(&self.url)
            .header("content-type", "application/json")
    }

    async fn send(&self, request: RequestBuilder) -> (u16, Value) {
        answer(request.send().await.unwrap()).await
    }

    /// Sends a report; what it led to.
    async fn reported(&self, body: &Value) -> Value {
        let (status, told) = self.send(self.report().body(body.to_string())).await;
        assert_eq!(status, 202, "{told:#}");
        assert_eq!(
            (&told["delivery"], &told["builds"]),
            (&Value::Null, &json!([])),
            "{told:#}"
        );
        told
    }
}

fn distribution(action: &str, repository: &str, tag: &str) -> Value {
    let target = json!({ "repository": repository, "tag": tag, "digest": format!("sha256:{}", "a".repeat(64)) });
    json!({ "events": [{ "action": action, "target": target, "request": { "host": "elsewhere.example" } }] })
}

fn docker_hub(repository: &str, tag: &str) -> Value {
    json!({ "push_data": { "tag": tag }, "repository": { "repo_name": repository } })
}

#[tokio::test]
async fn a_push_that_any_registry_reports_has_the_image_looked_at_now() {
    let setting = Setting::new().await;
    let harbor = json!({ "type": "PUSH_ARTIFACT", "event_data": {
        "resources": [{ "tag": "3.20", "resource_url": "r.example.com/library/alpine:3.20" }],
        "repository": { "repo_full_name": "library/alpine" },
    }});
    let quay = json!({
        "repository": "library/alpine", "docker_url": "r.example.com/library/alpine", "updated_tags": ["3.20", "3"],
    });
    for body in [
        distribution("push", "library/alpine", "3.20"),
        docker_hub("library/alpine", "3.20"),
        harbor,
        quay,
    ] {
        assert_eq!(setting.due().await, [""; 0]);
        let told = setting.reported(&body).await;
        assert_eq!(told["outcome"], "queued", "{body:#}");
        assert_eq!(told["reason"], format!("looking now at {WATCHED}"));
        assert_eq!(
            setting.due().await,
            [WATCHED],
            "of this registry, and no other of that name"
        );
        setting.look_at_everything().await;
    }
    let package = json!({ "action": "published", "package": { "package_version": {
        "container_metadata": {}, "package_url": "ghcr.io/Library/alpine:3.20",
    }}});
    let request = setting.report().header("x-github-event", "package");
    let (status, told) = setting.send(request.body(package.to_string())).await;
    assert_eq!((status, &told["outcome"]), (202, &json!("queued")), "{told:#}");
    assert_eq!(setting.due().await, [WATCHED]);
}

#[tokio::test]
async fn what_moves_no_watched_image_is_acknowledged_with_the_reason() {
    let setting = Setting::new().await;
    for (body, reason) in [
        (
            distribution("pull", "library/alpine", "3.20"),
            "no tag was pushed; 1 other events",
        ),
        (
            distribution("delete", "library/alpine", "3.20"),
            "no tag was pushed; 1 other events",
        ),
        (json!({ "events": [] }), "no tag was pushed; 0 other events"),
        (
            distribution("push", "library/alpine", "3.19"),
            "nothing here stands on what was pushed",
        ),
        (
            docker_hub("library/debian", "3.20"),
            "nothing here stands on what was pushed",
        ),
    ] {
        let told = setting.reported(&body).await;
        assert_eq!((&told["outcome"], &told["reason"]), (&json!("ignored"), &json!(reason)));
    }
    assert_eq!(setting.due().await, [""; 0]);
}

#[tokio::test]
async fn many_pushes_in_one_report_are_looked_at_once_each() {
    let setting = Setting::new().await;
    let mut events = vec![];
    for (repository, tag) in [
        ("library/alpine", "3.20"),
        ("library/alpine", "3.20"),
        ("team/base", "1"),
        ("x", "1"),
    ] {
        events.extend(
            distribution("push", repository, tag)["events"]
                .as_array()
                .unwrap()
                .clone(),
        );
    }
    let told = setting.reported(&json!({ "events": events })).await;
    assert_eq!(told["reason"], format!("looking now at {WATCHED}, {OTHER}"));
}

#[tokio::test]
async fn a_secret_that_is_sent_must_be_the_right_one() {
    let setting = Setting::new().await;
    let body = distribution("push", "library/alpine", "3.20").to_string();
    let right = format!("Bearer {}", setting.secret);
    let request = setting.report().header("authorization", &right);
    assert_eq!(setting.send(request.body(body.clone())).await.0, 202);
    setting.look_at_everything().await;
    for wrong in [
        "Bearer".to_owned(),
        "Bearer wrong".to_owned(),
        format!("Bearer {}x", setting.secret),
        format!("Basic {}", setting.secret),
        setting.secret.clone(),
        format!("Bearer {}", setting.app.ann),
    ] {
        let request = setting.report().header("authorization", &wrong);
        let (status, problem) = setting.send(request.body(body.clone())).await;
        assert_eq!(status, 401, "{wrong}: {problem:#}");
        assert!(!problem.to_string().contains(&setting.secret), "{problem:#}");
    }
    let twice = setting
        .report()
        .header("authorization", &right)
        .header("authorization", &right);
    assert_eq!(setting.send(twice.body(body)).await.0, 401);
    assert_eq!(setting.due().await, [""; 0]);
}

#[tokio::test]
async fn what_is_not_taken_is_refused_in_the_promised_order() {
    let setting = Setting::new().await;
    let good = distribution("push", "library/alpine", "3.20").to_string();
    let large = "x".repeat((1 << 20) + 1);
    let client = &setting.app.client;
    let unknown = client.post(format!("{}/webhooks/registry/none", setting.app.url));
    assert_eq!(setting.send(unknown.body(large.clone())).await.0, 404);
    let wrong = |request: RequestBuilder| request.header("authorization", "Bearer wrong");
    let plain = || client.post(&setting.url).header("content-type", "text/plain");
    assert_eq!(setting.send(wrong(plain()).body(large)).await.0, 413);
    assert_eq!(setting.send(wrong(plain()).body("x")).await.0, 415);
    let compressed = setting.report().header("content-encoding", "gzip");
    assert_eq!(setting.send(compressed.body(good.clone())).await.0, 415);
    assert_eq!(setting.send(wrong(setting.report()).body("x")).await.0, 401);
    for bad in ["x", "{}", "[]", r#"{"events": [], "events": []}"#, &"[".repeat(10_000)] {
        assert_eq!(
            setting.send(setting.report().body(bad.to_owned())).await.0,
            400,
            "{bad}"
        );
    }
    let invalid = distribution("push", "../alpine", "3.20").to_string();
    assert_eq!(setting.send(setting.report().body(invalid)).await.0, 400);
    let parameter = client.post(format!("{}?x=1", setting.url)).body(good);
    assert_eq!(setting.send(parameter).await.0, 422);
    assert_eq!(setting.due().await, [""; 0]);
}

#[tokio::test]
async fn a_forgotten_registry_is_not_listened_to_and_the_whole_servers_is() {
    let setting = Setting::new().await;
    let app = &setting.app;
    let path = "/api/v1/registries/r.example.com";
    let body = Some(json!({ "username": "root", "password": "x" }));
    let (_, everybodys) = app.call(&app.root, reqwest::Method::PUT, path, body).await;
    let path = "/api/v1/namespaces/ann/registries/r.example.com";
    assert_eq!(app.call(&app.ann, reqwest::Method::DELETE, path, None).await.0, 204);
    let report = distribution("push", "library/alpine", "3.20").to_string();
    assert_eq!(setting.send(setting.report().body(report.clone())).await.0, 404);
    let request = app.client.post(everybodys["webhook"]["url"].as_str().unwrap());
    let request = request.header("content-type", "application/vnd.docker.distribution.events.v1+json");
    let (status, told) = setting.send(request.body(report)).await;
    assert_eq!((status, &told["outcome"]), (202, &json!("queued")), "{told:#}");
}

#[tokio::test]
async fn reports_are_counted() {
    let setting = Setting::new().await;
    setting.reported(&docker_hub("library/alpine", "3.20")).await;
    setting.app.pass(TimeDelta::seconds(1));
    setting.reported(&docker_hub("library/alpine", "none")).await;
    let metrics = setting
        .app
        .client
        .get(format!("{}/metrics", setting.app.url))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    for outcome in ["queued", "ignored"] {
        let line = format!("hullworks_webhooks_total{{provider=\"registry\",outcome=\"{outcome}\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

//! Reports in the shapes that the registries document, and as they must not be taken.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::{NotificationError, Notified, Sender, pushed};

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
    pairs
        .iter()
        .map(|(name, text)| (HeaderName::from_static(name), value(text)))
        .collect()
}

fn json_headers() -> HeaderMap {
    headers(&[("content-type", "application/json")])
}

fn read(body: &Value) -> Result<Notified, NotificationError> {
    pushed(&json_headers(), body.to_string().as_bytes())
}

/// `path:tag`s, and how many events were ignored.
fn shown(notified: Notified) -> (Sender, Vec<String>, usize) {
    let names = notified
        .pushed
        .into_iter()
        .map(|image| format!("{}:{}", image.path, image.tag));
    (notified.sender, names.collect(), notified.ignored)
}

#[track_caller]
fn check(body: &Value, sender: Sender, images: &[&str], ignored: usize) {
    let images = images.iter().map(|&image| image.to_owned()).collect();
    assert_eq!(shown(read(body).unwrap()), (sender, images, ignored), "{body:#}");
}

#[track_caller]
fn assert_malformed(result: Result<Notified, NotificationError>, says: &str) {
    match result {
        Err(NotificationError::Malformed(why)) if why.contains(says) => {}
        other => panic!("{other:?}"),
    }
}

fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

fn event(action: &str, target: Value) -> Value {
    json!({
        "id": "asdf-asdf-asdf-asdf-0", "timestamp": "2006-01-02T15:04:05Z", "action": action, "target": target,
        "request": { "id": "asdfasdf", "addr": "client.local", "host": "registrycluster.local", "method": "PUT" },
        "actor": { "name": "test-actor" }, "source": { "addr": "hostname.local:port" },
    })
}

fn manifest(repository: &str, tag: &str) -> Value {
    json!({
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "size": 1, "digest": digest(),
        "repository": repository, "url": "http://evil.example/v2/library/test/manifests/latest", "tag": tag,
    })
}

#[test]
fn distributions_pushes_of_tags_are_taken_and_the_rest_is_ignored() {
    let layer = json!({ "mediaType": "application/octet-stream", "digest": digest(), "repository": "library/test" });
    let body = json!({ "events": [
        event("push", manifest("library/test", "latest")),
        event("push", manifest("library/test", "latest")),
        event("push", manifest("team/app", "v1")),
        event("push", manifest("team/app", "")),
        event("push", layer.clone()),
        event("push", json!(null)),
        event("pull", manifest("library/test", "latest")),
        event("delete", manifest("library/test", "old")),
        event("mount", layer),
    ]});
    let expected = (
        Sender::Distribution,
        vec!["library/test:latest".to_owned(), "team/app:v1".to_owned()],
        6,
    );
    for version in ["v1", "v2"] {
        let kind = format!("application/vnd.docker.distribution.events.{version}+json");
        let notified = pushed(&headers(&[("content-type", &kind)]), body.to_string().as_bytes()).unwrap();
        assert_eq!(shown(notified), expected);
    }
    check(&json!({ "events": [] }), Sender::Distribution, &[], 0);
}

#[test]
fn docker_hubs_push_is_taken() {
    let body = |tag: Value| {
        json!({
            "callback_url": "https://registry.hub.docker.com/u/svendowideit/testhook/hook/2141b5bi5i5b02bec211i4eeih0242eg11000a/",
            "push_data": { "pushed_at": 1.417566161e9, "pusher": "trustedbuilder", "tag": tag },
            "repository": {
                "comment_count": 0, "name": "testhook", "namespace": "svendowideit", "owner": "svendowideit",
                "repo_name": "svendowideit/testhook", "repo_url": "https://registry.hub.docker.com/u/svendowideit/testhook/",
            },
        })
    };
    check(
        &body(json!("latest")),
        Sender::DockerHub,
        &["svendowideit/testhook:latest"],
        0,
    );
    check(&body(json!(null)), Sender::DockerHub, &[], 1);
}

#[test]
fn harbors_pushes_are_taken_in_all_its_formats() {
    let data = |tag: &str| {
        json!({
            "resources": [{ "digest": digest(), "tag": tag, "resource_url": format!("hub.harbor.com/test/debian:{tag}") }],
            "repository": {
                "date_created": 1586922308, "name": "debian", "namespace": "test", "repo_full_name": "test/debian",
                "repo_type": "private",
            },
        })
    };
    let default = |kind: &str, tag: &str| json!({ "type": kind, "occur_at": 1586922308, "operator": "admin", "event_data": data(tag) });
    let cloud = |kind: &str| {
        json!({
            "specversion": "1.0", "id": "718eab63", "source": "/projects/2/webhook/policies/15", "type": kind,
            "datacontenttype": "application/json", "time": "2023-04-03T06:12:52Z", "data": data("latest"),
        })
    };
    check(
        &default("PUSH_ARTIFACT", "latest"),
        Sender::Harbor,
        &["test/debian:latest"],
        0,
    );
    check(&default("pushImage", "1"), Sender::Harbor, &["test/debian:1"], 0);
    check(
        &cloud("harbor.artifact.pushed"),
        Sender::Harbor,
        &["test/debian:latest"],
        0,
    );
    check(&default("PUSH_ARTIFACT", &digest()), Sender::Harbor, &[], 1);
    check(&default("PULL_ARTIFACT", "latest"), Sender::Harbor, &[], 1);
    check(&default("DELETE_ARTIFACT", "latest"), Sender::Harbor, &[], 1);
    check(&cloud("harbor.artifact.pulled"), Sender::Harbor, &[], 1);
    let replication = json!({ "type": "REPLICATION", "event_data": { "replication": {} } });
    check(&replication, Sender::Harbor, &[], 1);
}

#[test]
fn quays_updated_tags_are_taken() {
    let mut body = json!({
        "name": "repository", "repository": "mynamespace/repository", "namespace": "mynamespace",
        "docker_url": "quay.io/mynamespace/repository", "homepage": "https://quay.io/repository/mynamespace/repository",
        "updated_tags": ["latest", "1.0"],
    });
    let expected = ["mynamespace/repository:1.0", "mynamespace/repository:latest"];
    check(&body, Sender::Quay, &expected, 0);
    body.as_object_mut().unwrap().remove("updated_tags");
    body["build_id"] = json!("296ec063-5f86-4706-a469-f0a400bf9df2");
    check(&body, Sender::Quay, &[], 1);
}

fn package(field: &str, action: &str, url: &str, metadata: Value) -> Value {
    json!({
        "action": action,
        field: {
            "id": 10696, "name": "hello-world", "namespace": "Codertocat", "ecosystem": "CONTAINER",
            "package_type": "CONTAINER",
            "package_version": {
                "id": 57755791, "version": digest(), "container_metadata": metadata, "package_url": url,
            },
        },
        "repository": { "full_name": "Codertocat/hello-world" },
    })
}

fn github(event: &str, body: &Value) -> Result<Notified, NotificationError> {
    let headers = headers(&[("content-type", "application/json"), ("x-github-event", event)]);
    pushed(&headers, body.to_string().as_bytes())
}

#[test]
fn images_published_at_github_are_taken_and_other_packages_are_ignored() {
    let check = |event: &str, body: &Value, images: &[&str], ignored: usize| {
        let images = images.iter().map(|&image| image.to_owned()).collect();
        assert_eq!(
            shown(github(event, body).unwrap()),
            (Sender::Github, images, ignored),
            "{event} {body:#}"
        );
    };
    let metadata = json!({ "tag": { "name": "v1", "digest": digest() } });
    let image = "ghcr.io/Codertocat/hello-world:v1";
    for event in ["registry_package", "package"] {
        for action in ["published", "updated"] {
            let body = package(event, action, image, metadata.clone());
            check(event, &body, &["codertocat/hello-world:v1"], 0);
        }
        let untagged = package(event, "published", "ghcr.io/Codertocat/hello-world:", metadata.clone());
        check(event, &untagged, &[], 1);
        check(event, &package(event, "deleted", image, metadata.clone()), &[], 1);
        check(
            event,
            &package(event, "published", "npm.pkg.github.com/x", json!(null)),
            &[],
            1,
        );
        check(
            event,
            &json!({ "action": "published", event: { "package_version": null } }),
            &[],
            1,
        );
    }
    check("ping", &json!({ "zen": "x", "hook_id": 1 }), &[], 1);
    check("push", &json!({ "ref": "refs/heads/main" }), &[], 1);

    let nowhere = package("package", "published", "hello-world", metadata);
    assert_malformed(github("package", &nowhere), "package_url");
}

#[test]
fn what_no_registry_sends_is_refused() {
    assert_malformed(read(&json!({})), "not what distribution");
    assert_malformed(read(&json!({ "events": null })), "not what distribution");
    assert_malformed(read(&json!({ "events": [], "push_data": {} })), "not what distribution");
    assert_malformed(read(&json!([])), "not a JSON object");
    assert_malformed(read(&json!("push")), "not a JSON object");
    assert_malformed(read(&json!({ "events": {} })), "at most 1000 entries");
    assert_malformed(read(&json!({ "events": [{ "target": {} }] })), "action");
    assert_malformed(
        read(&json!({ "push_data": { "tag": 1 }, "repository": { "repo_name": "a" } })),
        "push_data.tag",
    );
    assert_malformed(read(&json!({ "push_data": { "tag": "1" } })), "repository");
    assert_malformed(read(&json!({ "type": "PUSH_ARTIFACT", "event_data": {} })), "resources");
    assert_malformed(read(&json!({ "specversion": "1.0" })), "type");
    assert_malformed(github("package", &json!({ "action": "published" })), "registry_package");
}

#[test]
fn names_and_tags_that_cannot_be_are_refused_and_not_repeated() {
    for (repository, tag) in [
        ("../canary", "1"),
        ("Canary", "1"),
        ("evil.example:5000/canary", "1"),
        ("", "1"),
        ("a", "canary canary"),
        ("a", "-canary"),
        ("a", "canary\u{0}"),
        ("a", &"canary".repeat(30)),
    ] {
        let body = json!({ "events": [event("push", manifest(repository, tag))] });
        let error = read(&body).unwrap_err();
        assert!(matches!(&error, NotificationError::Malformed(_)), "{error:?}");
        assert!(!error.to_string().to_lowercase().contains("canary"), "{error}");
    }
}

#[test]
fn ambiguous_and_absurd_bodies_are_refused() {
    let bytes = |body: &[u8], says: &str| assert_malformed(pushed(&json_headers(), body), says);
    bytes(b"", "not JSON");
    bytes(b"{\"events\": []} x", "not JSON");
    bytes(b"{\"events\": \xff}", "not UTF-8");
    bytes(br#"{"events": [], "events": []}"#, "there twice");
    bytes(br#"{"events": [], "\u0065vents": []}"#, "there twice");
    bytes(
        br#"{"events": [{"action": "pull", "actor": {"name": "a", "name": "b"}}]}"#,
        "there twice",
    );
    bytes(
        format!(r#"{{"events": {}}}"#, "[".repeat(10_000)).as_bytes(),
        "recursion limit",
    );
    bytes(format!(r#"{{"{}": 1, "{0}": 2}}"#, "k".repeat(5000)).as_bytes(), "…");

    let many = |count: usize| json!({ "events": vec![event("pull", manifest("a", "1")); count] });
    check(&many(1000), Sender::Distribution, &[], 1000);
    assert_malformed(read(&many(1001)), "more than 1000 entries");
    let tags: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
    assert_malformed(
        read(&json!({ "docker_url": "quay.io/a/b", "repository": "a/b", "updated_tags": tags })),
        "more than 1000 entries",
    );
}

#[test]
fn only_json_as_it_was_written_is_taken() {
    let body = json!({ "events": [] }).to_string();
    let check = |pairs: &[(&'static str, &str)], taken: bool| match pushed(&headers(pairs), body.as_bytes()) {
        Ok(_) if taken => {}
        Err(NotificationError::Encoding(_)) if !taken => {}
        other => panic!("{pairs:?}: {other:?}"),
    };
    let json = ("content-type", "application/json");
    check(&[json], true);
    check(&[json, ("content-encoding", "identity")], true);
    check(&[("content-type", "Application/JSON; charset=utf-8")], true);
    check(&[("content-type", "application/cloudevents+json")], true);
    check(&[], false);
    check(&[json, ("content-encoding", "gzip")], false);
    check(&[("content-type", "application/x-www-form-urlencoded")], false);
    check(&[("content-type", "text/json")], false);
    check(&[("content-type", "é")], false);
    let mut doubled = json_headers();
    doubled.append("content-type", HeaderValue::from_static("application/json"));
    assert!(matches!(
        pushed(&doubled, body.as_bytes()),
        Err(NotificationError::Encoding(_))
    ));
}

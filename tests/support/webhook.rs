//! Signed webhooks, as the forges send them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

/// A commit as `before` of a new ref.
pub const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// One push to one branch, to be told to the service.
pub struct Push<'a> {
    /// `owner/name` at the forge.
    pub full_name: &'a str,
    pub clone_url: &'a str,
    pub branch: &'a str,
    pub commit: &'a str,
    pub message: &'a str,
}

impl Push<'_> {
    /// As GitHub tells of it.
    pub fn github(&self) -> Value {
        let (owner, name) = self.full_name.split_once('/').expect("owner/name");
        let commit = json!({ "id": self.commit, "message": self.message, "added": [], "modified": [], "removed": [] });
        json!({
            "ref": format!("refs/heads/{}", self.branch),
            "before": NO_COMMIT,
            "after": self.commit,
            "created": true,
            "deleted": false,
            "forced": false,
            "commits": [commit],
            "head_commit": commit,
            "repository": {
                "name": name, "full_name": self.full_name, "clone_url": self.clone_url,
                "owner": { "login": owner, "name": owner }
            },
            "pusher": { "name": "test" }
        })
    }
}

/// One request as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Delivery {
    /// With a header set, or replaced.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a header's value");
        self.headers.insert(name, value);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// With another body, and the signature of the old one.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// The webhook of one repository, as the answer to its creation gave it.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub url: String,
    pub secret: String,
}

impl Webhook {
    /// Sends a push as GitHub does; returns the status and the answer.
    pub async fn github(&self, push: &Push<'_>) -> (u16, Value) {
        self.send(&self.github_event("push", push.github().to_string())).await
    }

    /// An event of GitHub's under a new delivery id, signed.
    pub fn github_event(&self, event: &str, body: impl Into<Vec<u8>>) -> Delivery {
        let id = Uuid::now_v7().to_string();
        let headers = [("x-github-event", event), ("x-github-delivery", &id)];
        let body = body.into();
        self.delivery("x-hub-signature-256", &self.sign(&body), &headers, body)
    }

    /// Sends a push as Bitbucket Cloud does.
    pub async fn bitbucket(&self, push: &Push<'_>) -> (u16, Value) {
        self.bitbucket_refs(push, &[("branch", push.branch, push.commit)]).await
    }

    /// Sends a push of several refs, each given by its type, name and commit, as Bitbucket Cloud does.
    pub async fn bitbucket_refs(&self, push: &Push<'_>, refs: &[(&str, &str, &str)]) -> (u16, Value) {
        let changes: Vec<Value> = refs
            .iter()
            .map(|(kind, name, commit)| {
                let target = json!({ "type": "commit", "hash": commit, "message": push.message });
                json!({
                    "old": null,
                    "new": { "type": kind, "name": name, "target": target },
                    "created": true, "closed": false, "forced": false, "truncated": false, "commits": [target]
                })
            })
            .collect();
        let payload = json!({
            "push": { "changes": changes },
            "repository": {
                "full_name": push.full_name, "uuid": "{00000000-0000-0000-0000-000000000001}", "is_private": false,
                "links": { "html": { "href": push.clone_url } }
            },
            "actor": { "display_name": "test" }
        });
        let id = Uuid::now_v7().to_string();
        let headers = [
            ("x-event-key", "repo:push"),
            ("x-request-uuid", &id),
            ("x-hook-uuid", "00000000-0000-0000-0000-000000000002"),
            ("x-attempt-number", "1"),
        ];
        let body = payload.to_string().into_bytes();
        self.send(&self.delivery("x-hub-signature", &self.sign(&body), &headers, body))
            .await
    }

    /// Sends a push as Bitbucket Data Center does.
    pub async fn bitbucket_server(&self, push: &Push<'_>) -> (u16, Value) {
        let (project, slug) = push.full_name.split_once('/').expect("project/slug");
        let id = format!("refs/heads/{}", push.branch);
        let payload = json!({
            "eventKey": "repo:refs_changed",
            "date": "2026-01-01T00:00:00+0000",
            "actor": { "name": "test" },
            "repository": {
                "slug": slug, "id": 1, "name": slug, "project": { "key": project, "id": 1, "name": project },
                "links": { "clone": [{ "href": push.clone_url, "name": "http" }] }
            },
            "changes": [{
                "ref": { "id": id, "displayId": push.branch, "type": "BRANCH" },
                "refId": id, "fromHash": NO_COMMIT, "toHash": push.commit, "type": "ADD"
            }]
        });
        let id = Uuid::now_v7().to_string();
        let headers = [("x-event-key", "repo:refs_changed"), ("x-request-id", &id)];
        let body = payload.to_string().into_bytes();
        self.send(&self.delivery("x-hub-signature", &self.sign(&body), &headers, body))
            .await
    }

    /// Sends a push as GitLab does, signed as Standard Webhooks says.
    pub async fn gitlab(&self, push: &Push<'_>) -> (u16, Value) {
        let payload = json!({
            "object_kind": "push", "event_name": "push",
            "ref": format!("refs/heads/{}", push.branch),
            "before": NO_COMMIT, "after": push.commit, "checkout_sha": push.commit,
            "project": { "id": 1, "path_with_namespace": push.full_name, "git_http_url": push.clone_url },
            "commits": [{ "id": push.commit, "message": push.message }],
            "total_commits_count": 1
        });
        let (id, body) = (Uuid::now_v7().to_string(), payload.to_string());
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let seconds = since_1970.as_secs().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("HMAC takes any key");
        mac.update(format!("{id}.{seconds}.{body}").as_bytes());
        let signature = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        let headers = [
            ("x-gitlab-event", "Push Hook"),
            ("idempotency-key", &id),
            ("webhook-id", &id),
            ("webhook-timestamp", &seconds),
            ("webhook-signature", &signature),
        ];
        self.send(&self.delivery("x-gitlab-token", &self.secret, &headers, body.into_bytes()))
            .await
    }

    /// Sends a push as Forgejo does, which repeats the headers of Gitea, Gogs and GitHub.
    pub async fn gitea(&self, push: &Push<'_>) -> (u16, Value) {
        let commit = json!({ "id": push.commit, "message": push.message });
        let payload = json!({
            "ref": format!("refs/heads/{}", push.branch),
            "before": NO_COMMIT, "after": push.commit,
            "commits": [commit], "total_commits": 1, "head_commit": commit,
            "repository": { "id": 1, "full_name": push.full_name, "clone_url": push.clone_url },
            "pusher": { "login": "test" }, "sender": { "login": "test" }
        });
        let (id, body) = (Uuid::now_v7().to_string(), payload.to_string().into_bytes());
        let prefixed = self.sign(&body);
        let digits = prefixed.trim_start_matches("sha256=");
        let headers = [
            ("x-forgejo-event", "push"),
            ("x-forgejo-delivery", &id),
            ("x-forgejo-signature", digits),
            ("x-gitea-event", "push"),
            ("x-gitea-delivery", &id),
            ("x-gogs-event", "push"),
            ("x-github-event", "push"),
            ("x-github-delivery", &id),
            ("x-hub-signature-256", &prefixed),
        ];
        self.send(&self.delivery("x-gitea-signature", digits, &headers, body))
            .await
    }

    fn delivery(&self, signature_header: &str, signature: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Delivery {
        let delivery = Delivery {
            headers: HeaderMap::new(),
            body: Vec::new(),
        }
        .with("content-type", "application/json")
        .with(signature_header, signature);
        headers
            .iter()
            .fold(delivery, |delivery, (name, value)| delivery.with(name, value))
            .with_body(body)
    }

    /// The signature that a body has to bear.
    pub fn sign(&self, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("HMAC takes any key");
        mac.update(body);
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    }

    /// Sends a request as it is; returns the status and the answer.
    pub async fn send(&self, delivery: &Delivery) -> (u16, Value) {
        self.try_send(&reqwest::Client::new(), delivery)
            .await
            .expect("an answer to a webhook")
    }

    /// As [`Webhook::send`], where the service may be gone.
    pub async fn try_send(&self, client: &reqwest::Client, delivery: &Delivery) -> reqwest::Result<(u16, Value)> {
        let request = client.post(&self.url).headers(delivery.headers.clone());
        let response = request.body(delivery.body.clone()).send().await?;
        let status = response.status().as_u16();
        Ok((status, response.json().await?))
    }
}

//! Signed webhooks, as the forges send them.

use hmac::{Hmac, KeyInit, Mac};
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

/// The webhook of one repository, as the answer to its creation gave it.
pub struct Webhook {
    pub url: String,
    pub secret: String,
}

impl Webhook {
    /// Sends a push as GitHub does; returns the status and the answer.
    pub async fn github(&self, push: &Push<'_>) -> (u16, Value) {
        let (owner, name) = push.full_name.split_once('/').expect("owner/name");
        let commit = json!({ "id": push.commit, "message": push.message, "added": [], "modified": [], "removed": [] });
        let payload = json!({
            "ref": format!("refs/heads/{}", push.branch),
            "before": NO_COMMIT,
            "after": push.commit,
            "created": true,
            "deleted": false,
            "forced": false,
            "commits": [commit],
            "head_commit": commit,
            "repository": {
                "name": name, "full_name": push.full_name, "clone_url": push.clone_url,
                "owner": { "login": owner, "name": owner }
            },
            "pusher": { "name": "test" }
        });
        let id = Uuid::now_v7().to_string();
        let headers = [("x-github-event", "push"), ("x-github-delivery", &id)];
        self.send("x-hub-signature-256", &headers, &payload).await
    }

    /// Sends a push as Bitbucket Cloud does.
    pub async fn bitbucket(&self, push: &Push<'_>) -> (u16, Value) {
        let target = json!({ "type": "commit", "hash": push.commit, "message": push.message });
        let payload = json!({
            "push": { "changes": [{
                "old": null,
                "new": { "type": "branch", "name": push.branch, "target": target },
                "created": true, "closed": false, "forced": false, "truncated": false, "commits": [target]
            }] },
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
        self.send("x-hub-signature", &headers, &payload).await
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
        self.send("x-hub-signature", &headers, &payload).await
    }

    async fn send(&self, signature_header: &str, headers: &[(&str, &str)], payload: &Value) -> (u16, Value) {
        let body = payload.to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("HMAC takes any key");
        mac.update(body.as_bytes());
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let mut request = reqwest::Client::new()
            .post(&self.url)
            .header("content-type", "application/json")
            .header(signature_header, signature);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body).send().await.expect("an answer to a webhook");
        let status = response.status().as_u16();
        (status, response.json().await.expect("a JSON answer to a webhook"))
    }
}

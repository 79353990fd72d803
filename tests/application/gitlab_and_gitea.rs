//! Webhooks of GitLab, and of Gitea and Forgejo: what holds of GitHub's holds of theirs.

use std::{collections::HashSet, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::app::{App, HOOK_SECRET, answer, commit, document, signature};

const PATH: &str = "/api/v1/repositories/ann/app";
const BOTH: [Forge; 2] = [Forge::Gitlab, Forge::Gitea];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Forge {
    Gitlab,
    Gitea,
}

impl Forge {
    fn provider(self) -> &'static str {
        match self {
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Gitlab => "https://gitlab.example.com/acme/backend/app.git",
            Self::Gitea => "https://git.example.com/acme/app.git",
        }
    }

    fn event_header(self) -> &'static str {
        match self {
            Self::Gitlab => "x-gitlab-event",
            Self::Gitea => "x-gitea-event",
        }
    }

    fn delivery_header(self) -> &'static str {
        match self {
            Self::Gitlab => "idempotency-key",
            Self::Gitea => "x-gitea-delivery",
        }
    }

    fn secret_header(self) -> &'static str {
        match self {
            Self::Gitlab => "x-gitlab-token",
            Self::Gitea => "x-gitea-signature",
        }
    }

    /// What shows that the sender knows the secret.
    fn proof(self, body: &str) -> String {
        match self {
            Self::Gitlab => HOOK_SECRET.to_owned(),
            Self::Gitea => digits(body),
        }
    }

    fn event(self, full_ref: &str) -> &'static str {
        match self {
            Self::Gitlab if full_ref.starts_with("refs/tags/") => "Tag Push Hook",
            Self::Gitlab => "Push Hook",
            Self::Gitea => "push",
        }
    }

    /// A push of one commit to one ref; of no commit: its deletion.
    fn payload(self, full_ref: &str, commit: Option<&str>, message: &str) -> Value {
        let zeros = "0".repeat(40);
        let told = commit.map(|commit| json!({ "id": commit, "message": message }));
        let commits: Vec<&Value> = told.iter().collect();
        let mut push = json!({
            "ref": full_ref, "before": zeros, "after": commit.unwrap_or(&zeros), "commits": commits,
        });
        match self {
            Self::Gitlab => {
                push["checkout_sha"] = json!(commit);
                push["project"] = json!({
                    "path_with_namespace": "acme/backend/app", "git_http_url": self.source(),
                });
            }
            Self::Gitea => {
                push["head_commit"] = json!(told);
                push["repository"] = json!({ "full_name": "acme/app", "clone_url": self.source() });
            }
        }
        push
    }

    /// A repository whose rules build `main`, tags like `v1`, and every branch that begins with `x`.
    async fn repository(self, app: &App) -> Value {
        let mut document = document();
        document["source"]["provider"] = json!(self.provider());
        document["source"]["url"] = json!(self.source());
        document["rules"].as_array_mut().unwrap().push(json!({
            "source_type": "branch", "source": "/^x.*/", "docker_tag": "{sourceref}",
        }));
        let (status, saved) = app.put(PATH, document).await;
        assert!(status == 201 || status == 200, "{saved:#}");
        assert_eq!(saved["source"]["provider"], self.provider());
        saved
    }

    /// A request with the right secret and without its body.
    fn request(self, app: &App, repository: &Value, event: &str, delivery: &str, body: &str) -> RequestBuilder {
        app.client
            .post(repository["webhook"]["url"].as_str().unwrap())
            .header("content-type", "application/json")
            .header(self.event_header(), event)
            .header(self.delivery_header(), delivery)
            .header(self.secret_header(), self.proof(body))
    }

    async fn push(self, app: &App, repository: &Value, delivery: &str, payload: &Value) -> (u16, Value) {
        let event = self.event(payload["ref"].as_str().unwrap());
        self.deliver(app, repository, event, delivery, &payload.to_string())
            .await
    }

    async fn deliver(self, app: &App, repository: &Value, event: &str, delivery: &str, body: &str) -> (u16, Value) {
        let request = self.request(app, repository, event, delivery, body);
        sent(request.body(body.to_owned())).await
    }
}

fn digits(body: &str) -> String {
    signature(body).trim_start_matches("sha256=").to_owned()
}

async fn sent(request: RequestBuilder) -> (u16, Value) {
    answer(request.send().await.unwrap()).await
}

async fn ledger(app: &App) -> Vec<Value> {
    let (_, list) = app.get(&format!("{PATH}/deliveries")).await;
    list["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_outcome_is_answered_and_recorded_with_its_reason() {
    for forge in BOTH {
        let app = App::start().await;
        let repository = forge.repository(&app).await;
        let check = async |delivery: &str, payload: Value, outcome: &str, builds: usize, reason: &str| {
            let (status, answer) = forge.push(&app, &repository, delivery, &payload).await;
            assert_eq!(
                (status, &answer["outcome"]),
                (202, &json!(outcome)),
                "{forge:?} {answer:#}"
            );
            assert_eq!(answer["builds"].as_array().unwrap().len(), builds, "{answer:#}");
            assert!(answer["reason"].as_str().unwrap().contains(reason), "{answer:#}");
            let newest = &ledger(&app).await[0];
            assert_eq!(newest["id"], answer["delivery"]);
            assert_eq!(
                (&newest["delivery_id"], &newest["provider"], &newest["outcome"]),
                (&json!(delivery), &json!(forge.provider()), &answer["outcome"])
            );
        };
        let of = |full_ref: &str, letter: char, message: &str| forge.payload(full_ref, Some(&commit(letter)), message);
        let main = of("refs/heads/main", 'a', "A change");
        check("1", main.clone(), "queued", 1, "build #1 of main").await;
        check("1", main.clone(), "duplicate", 1, "the same delivery came before").await;
        check("2", main.clone(), "duplicate", 1, "the same body came before").await;
        let mut again = main;
        again["user_id"] = json!(1);
        check("3", again, "duplicate", 1, "queued already as build #1").await;
        let other = of("refs/heads/other", 'b', "x");
        check("4", other, "no_match", 0, "`other` is not `main`").await;
        let marked = of("refs/heads/main", 'c', "x [skip ci]");
        check("5", marked, "skipped", 0, "[skip ci]").await;
        check("6", of("refs/tags/v1.2", 'd', "x"), "queued", 1, "of v1.2").await;
        check("7", of("refs/heads/xü", 'd', "x"), "refused", 0, "cannot be a tag").await;
        let gone = forge.payload("refs/heads/main", None, "");
        check("8", gone, "ignored", 0, "`main` was deleted").await;
        let gone = forge.payload("refs/tags/v1.2", None, "");
        check("9", gone, "ignored", 0, "tag `v1.2` was deleted").await;
        check(
            "10",
            of("refs/notes/commits", 'e', "x"),
            "ignored",
            0,
            "neither a branch nor a tag",
        )
        .await;

        let (_, metrics) = app.get("/metrics").await;
        let counted = format!("provider=\"{}\"", forge.provider());
        assert!(metrics.as_str().unwrap().contains(&counted), "{metrics}");
    }
}

#[tokio::test]
async fn what_is_not_taken_is_refused_in_the_promised_order_and_leaves_nothing() {
    for forge in BOTH {
        let app = App::start().await;
        let repository = forge.repository(&app).await;
        let url = repository["webhook"]["url"].as_str().unwrap();
        let good = forge.payload("refs/heads/main", Some(&commit('a')), "x").to_string();
        let event = forge.event("refs/heads/main");
        let large = "x".repeat(26 << 20);
        let check = async |expected: u16, request: RequestBuilder, body: &str| {
            let (status, problem) = sent(request.body(body.to_owned())).await;
            assert_eq!(status, expected, "{forge:?} {problem:#}");
            assert!(!problem.to_string().contains(HOOK_SECRET), "{problem:#}");
        };
        let another = url.replace(forge.provider(), "github");
        check(
            404,
            app.client.post(another).header("content-type", "text/plain"),
            &good,
        )
        .await;
        check(413, app.client.post(url).header("content-type", "text/plain"), &large).await;
        check(415, app.client.post(url).header("content-type", "text/plain"), &good).await;
        let json = || app.client.post(url).header("content-type", "application/json");
        check(415, json().header("content-encoding", "gzip"), &good).await;
        check(401, json(), &good).await;
        check(401, json().header(forge.secret_header(), "wrong"), "{").await;
        let proof = forge.proof(&good);
        check(400, json().header(forge.secret_header(), &proof), &good).await;
        let no_delivery = json().header(forge.secret_header(), &proof);
        check(400, no_delivery.header(forge.event_header(), event), &good).await;
        let doubled = good.replacen("\"ref\"", "\"ref\": \"refs/heads/x\", \"ref\"", 1);
        check(400, forge.request(&app, &repository, event, "d", &doubled), &doubled).await;
        let foreign = good.replace("acme", "evil");
        check(403, forge.request(&app, &repository, event, "d", &foreign), &foreign).await;
        assert_eq!(ledger(&app).await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn what_cannot_be_parsed_is_a_bad_request() {
    for forge in BOTH {
        let app = App::start().await;
        let repository = forge.repository(&app).await;
        let good = forge.payload("refs/heads/main", Some(&commit('a')), "x").to_string();
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
        for body in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            deep.as_str(),
            &format!("{good}x"),
            &good.replace(&commit('a'), "not a commit"),
            &good.replace("refs/heads/main", "refs/heads/a..b"),
            &good.replace("\"refs/heads/main\"", "null"),
        ] {
            let event = forge.event("refs/heads/main");
            let (status, problem) = forge.deliver(&app, &repository, event, "d", body).await;
            assert_eq!(status, 400, "{forge:?} {body}: {problem:#}");
        }
        assert_eq!(ledger(&app).await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn one_delivery_fifty_times_at_once_builds_once() {
    for forge in BOTH {
        let app = App::start().await;
        let repository = forge.repository(&app).await;
        let payload = forge.payload("refs/heads/main", Some(&commit('a')), "x");
        let sent = (0..50).map(|_| forge.push(&app, &repository, "the-one", &payload));
        let answers = futures_util::future::join_all(sent).await;
        assert!(answers.iter().all(|(status, _)| *status == 202));
        let builds: HashSet<String> = answers.iter().map(|(_, answer)| answer["builds"].to_string()).collect();
        assert_eq!(builds.len(), 1, "{builds:?}");
        assert_eq!(app.get("/api/v1/builds").await.1["items"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_replay_takes_the_stored_body_under_the_rules_as_they_are_now() {
    for forge in BOTH {
        let app = App::start().await;
        let repository = forge.repository(&app).await;
        let payload = forge.payload("refs/heads/next", Some(&commit('a')), "x");
        let (_, first) = forge.push(&app, &repository, "d", &payload).await;
        assert_eq!(first["outcome"], "no_match");
        let mut changed = document();
        changed["source"] = json!({ "provider": forge.provider(), "url": forge.source() });
        changed["rules"] = json!([{ "source_type": "branch", "source": "next", "docker_tag": "next" }]);
        app.put(PATH, changed).await;
        let path = format!("{PATH}/deliveries/{}/replay", first["delivery"].as_str().unwrap());
        let (status, replayed) = app.call(&app.ann, Method::POST, &path, None).await;
        assert_eq!((status, &replayed["outcome"]), (202, &json!("queued")), "{replayed:#}");
    }
}

#[tokio::test]
async fn what_the_forges_document_is_taken() {
    for forge in BOTH {
        let app = App::start().await;
        let repository = forge.repository(&app).await;
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/payloads")
            .join(forge.provider());
        let mut read = 0;
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let body = std::fs::read_to_string(&path).unwrap();
            let full_ref = serde_json::from_str::<Value>(&body).unwrap()["ref"]
                .as_str()
                .unwrap()
                .to_owned();
            let event = match name {
                "create" | "delete" => name,
                "system-hook" => "System Hook",
                _ => forge.event(&full_ref),
            };
            let (status, told) = forge.deliver(&app, &repository, event, name, &body).await;
            assert_eq!(status, 202, "{forge:?} {name}: {told:#}");
            let expected: &[&str] = match name {
                "branch-updated" => &["queued"],
                // Both are of the same commit.
                "tag-created" | "annotated-tag" => &["queued", "duplicate"],
                _ if name.contains("deleted") => &["ignored"],
                "create" | "delete" | "system-hook" => &["ignored"],
                _ => &["no_match"],
            };
            assert!(
                expected.contains(&told["outcome"].as_str().unwrap()),
                "{forge:?} {name}: {told:#}"
            );
            read += 1;
        }
        assert!(read >= 9, "{read}");
    }
}

#[tokio::test]
async fn the_page_of_a_new_repository_tells_where_the_forge_takes_the_webhook() {
    for (provider, url, texts) in [
        (
            "gitlab",
            "https://gitlab.com/acme/backend/app.git",
            ["https://gitlab.com/acme/backend/app/-/hooks", "Tag push events"],
        ),
        (
            "gitlab",
            "https://git.example.com/acme/app",
            ["In the project, open", "Signing token"],
        ),
        (
            "gitea",
            "https://codeberg.org/acme/app.git",
            ["https://codeberg.org/acme/app/settings/hooks/forgejo/new", "Target URL"],
        ),
        (
            "gitea",
            "https://gitea.com/acme/app",
            ["https://gitea.com/acme/app/settings/hooks/gitea/new", "push events"],
        ),
        (
            "gitea",
            "https://git.example.com/acme/app",
            ["In the repository, open", "Forgejo"],
        ),
    ] {
        let app = App::start().await;
        let mut document = document();
        document["source"] = json!({ "provider": provider, "url": url });
        let (status, saved) = app.put(PATH, document).await;
        assert_eq!(status, 201, "{saved:#}");
        let made = saved["webhook"]["secret"].as_str().unwrap();
        assert!(
            made.starts_with("whsec_"),
            "GitLab takes nothing else for a signing token"
        );
        let page = app.browser("ann").await.get("/r/ann/app/created").await.text;
        for text in texts {
            assert!(page.contains(text), "{text} is not in {page}");
        }
        assert!(page.contains(&format!("/webhooks/{provider}/")), "{page}");
    }
}

#[tokio::test]
async fn deliveries_and_builds_name_their_forge_and_lead_to_it() {
    for (forge, label, commit_page) in [
        (
            Forge::Gitlab,
            "from GitLab",
            "https://gitlab.example.com/acme/backend/app/-/commit/",
        ),
        (
            Forge::Gitea,
            "from Gitea or Forgejo",
            "https://git.example.com/acme/app/commit/",
        ),
    ] {
        let app = App::start().await;
        let repository = forge.repository(&app).await;
        let payload = forge.payload("refs/heads/main", Some(&commit('a')), "x");
        let (_, told) = forge.push(&app, &repository, "d", &payload).await;
        let browser = app.browser("ann").await;
        let page = browser.get("/r/ann/app/deliveries").await.text;
        assert!(page.contains(label), "{page}");
        let build = format!("/builds/{}", told["builds"][0].as_str().unwrap());
        let page = browser.get(&build).await.text;
        assert!(page.contains(&format!("{commit_page}{}", commit('a'))), "{page}");
    }
}

/// As Standard Webhooks signs it.
fn standard_signature(key: &[u8], id: &str, seconds: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn gitlabs_signed_deliveries_are_taken_while_they_are_fresh() {
    let app = App::start().await;
    let mut document = document();
    let key = [7; 32];
    let secret = format!("whsec_{}", BASE64_STANDARD.encode(key));
    document["source"] = json!({ "provider": "gitlab", "url": Forge::Gitlab.source(), "webhook_secret": secret });
    let (_, repository) = app.put(PATH, document).await;
    let signed_at = app.clock.now().timestamp();
    let send = async |id: &str, letter: char, key: &[u8], token: Option<&str>| {
        let payload = Forge::Gitlab.payload("refs/heads/main", Some(&commit(letter)), "x");
        let body = payload.to_string();
        let mut request = app
            .client
            .post(repository["webhook"]["url"].as_str().unwrap())
            .header("content-type", "application/json")
            .header("x-gitlab-event", "Push Hook")
            .header("webhook-id", id)
            .header("webhook-timestamp", signed_at)
            .header("webhook-signature", standard_signature(key, id, signed_at, &body));
        if let Some(token) = token {
            request = request.header("x-gitlab-token", token);
        }
        sent(request.body(body)).await
    };
    let (status, told) = send("1", 'a', &key, None).await;
    assert_eq!((status, &told["outcome"]), (202, &json!("queued")), "{told:#}");
    assert_eq!(ledger(&app).await[0]["delivery_id"], "1");
    let (_, again) = send("1", 'a', &key, None).await;
    assert_eq!(again["outcome"], "duplicate", "{again:#}");
    assert_eq!(send("2", 'b', &key, Some(&secret)).await.0, 202);
    assert_eq!(send("3", 'c', &key, Some("another")).await.0, 401);
    assert_eq!(send("4", 'c', &[8; 32], Some(&secret)).await.0, 401);
    app.pass(TimeDelta::minutes(4));
    assert_eq!(send("5", 'c', &key, None).await.0, 202);
    app.pass(TimeDelta::minutes(2));
    let (status, problem) = send("6", 'd', &key, None).await;
    assert_eq!(status, 401, "{problem:#}");
    assert!(
        problem["detail"].as_str().unwrap().contains("five minutes"),
        "{problem:#}"
    );
}

#[tokio::test]
async fn gitlabs_other_hooks_are_acknowledged_and_build_nothing() {
    let app = App::start().await;
    let repository = Forge::Gitlab.repository(&app).await;
    let body = Forge::Gitlab
        .payload("refs/heads/main", Some(&commit('a')), "x")
        .to_string();
    for (event, reason) in [
        ("System Hook", "a system hook"),
        ("Merge Request Hook", "is not a push"),
        ("push", "is not a push"),
    ] {
        let (status, told) = Forge::Gitlab.deliver(&app, &repository, event, event, &body).await;
        assert_eq!((status, &told["outcome"]), (202, &json!("ignored")), "{told:#}");
        assert!(told["reason"].as_str().unwrap().contains(reason), "{told:#}");
    }
}

#[tokio::test]
async fn gitea_is_not_taken_by_the_headers_that_it_names_after_github() {
    let app = App::start().await;
    let repository = Forge::Gitea.repository(&app).await;
    let body = Forge::Gitea
        .payload("refs/heads/main", Some(&commit('a')), "x")
        .to_string();
    let named_after_github = || {
        app.client
            .post(repository["webhook"]["url"].as_str().unwrap())
            .header("content-type", "application/json")
            .header("x-github-event", "push")
            .header("x-github-delivery", "d")
            .header("x-hub-signature-256", signature(&body))
    };
    assert_eq!(sent(named_after_github().body(body.clone())).await.0, 401);
    let signed = named_after_github().header("x-gitea-signature", digits(&body));
    assert_eq!(sent(signed.body(body.clone())).await.0, 400);
    let of_forgejo = named_after_github()
        .header("x-forgejo-event", "push")
        .header("x-forgejo-delivery", "d")
        .header("x-forgejo-signature", digits(&body));
    let (status, told) = sent(of_forgejo.body(body.clone())).await;
    assert_eq!((status, &told["outcome"]), (202, &json!("queued")), "{told:#}");
}

#[tokio::test]
async fn giteas_form_is_taken_signed_as_gitea_signs_it() {
    let app = App::start().await;
    let repository = Forge::Gitea.repository(&app).await;
    let json = Forge::Gitea
        .payload("refs/heads/main", Some(&commit('a')), "a & b = c")
        .to_string();
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &json)
        .finish();
    let send = async |signed: &str| {
        let request = app
            .client
            .post(repository["webhook"]["url"].as_str().unwrap())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-gitea-event", "push")
            .header("x-gitea-delivery", "d")
            .header("x-gitea-signature", digits(signed));
        sent(request.body(form.clone())).await
    };
    assert_eq!(send(&form).await.0, 401);
    let (status, told) = send(&json).await;
    assert_eq!((status, &told["outcome"]), (202, &json!("queued")), "{told:#}");
}

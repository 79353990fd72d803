//! Build settings: what is changed and what stays, two people at once, and what only some may do.

use serde_json::{Value, json};

use crate::{
    app::{App, document, payload},
    browser::{Browser, Page},
};

const PATH: &str = "/r/ann/app/settings";

/// The value of an input, as the page has it.
fn value_of(page: &Page, name: &str) -> String {
    let before = format!("name=\"{name}\" value=\"");
    let (_, after) = page
        .text
        .split_once(&before)
        .unwrap_or_else(|| panic!("no {name} in {}", page.text));
    after.split('"').next().unwrap().replace("&#43;", "+")
}

/// The form of a repository with one rule, with changes.
async fn fields(browser: &Browser, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let page = browser.get(PATH).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let mut fields: Vec<(String, String)> = vec![("version".to_owned(), value_of(&page, "version"))];
    for (name, value) in [
        ("source.provider", "github"),
        ("source.url", "https://github.com/acme/app.git"),
        ("source.submodules", "true"),
        ("detect_base_images", "true"),
        ("rules[0].source_type", "branch"),
        ("rules[0].source", "main"),
        ("rules[0].docker_tag", "latest"),
        ("rules[0].dockerfile", "Dockerfile"),
        ("rules[0].context", "/"),
        ("rules[0].autobuild", "true"),
        ("rules[0].cache", "true"),
    ] {
        fields.push((name.to_owned(), value.to_owned()));
    }
    for (name, value) in changes {
        match fields.iter_mut().find(|(known, _)| known == name) {
            Some(field) => field.1 = (*value).to_owned(),
            None => fields.push(((*name).to_owned(), (*value).to_owned())),
        }
    }
    fields
}

async fn post(browser: &Browser, fields: &[(String, String)]) -> Page {
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    browser.post(PATH, &fields).await
}

async fn save(browser: &Browser, changes: &[(&str, &str)]) -> Page {
    let fields = fields(browser, changes).await;
    post(browser, &fields).await
}

async fn stored(app: &App) -> Value {
    app.get("/api/v1/repositories/ann/app").await.1
}

/// A repository with one rule, a secret and credentials.
async fn repository(app: &App) -> Value {
    let mut document = document();
    document["rules"].as_array_mut().unwrap().truncate(1);
    document["build_secrets"] = json!({ "NPM": "canary-npm" });
    document["source"]["credentials"] = json!({ "username": "u", "password": "canary-password" });
    document["source"]["account"] = json!("acme");
    let (status, document) = app.put("/api/v1/repositories/ann/app", document).await;
    assert_eq!(status, 201, "{document:#}");
    document
}

#[tokio::test]
async fn what_is_not_touched_stays_and_no_secret_is_shown() {
    let app = App::start().await;
    let before = repository(&app).await;
    let browser = app.browser("ann").await;
    let page = browser.get(PATH).await;
    assert!(!page.text.contains("canary"), "{}", page.text);
    let saved = save(
        &browser,
        &[("description", "now with words"), ("build_secrets[0].name", "NPM")],
    )
    .await;
    assert_eq!(
        (saved.status, saved.location.as_deref()),
        (303, Some(PATH)),
        "{}",
        saved.text
    );
    let mut after = stored(&app).await;
    assert_eq!(after["description"], "now with words");
    for changed in ["description", "updated_at"] {
        after[changed] = before[changed].clone();
    }
    let mut before = before;
    before["webhook"].as_object_mut().unwrap().remove("secret");
    assert_eq!(after, before);
}

#[tokio::test]
async fn rules_links_and_secrets_are_replaced_by_what_the_form_has() {
    let app = App::start().await;
    repository(&app).await;
    let browser = app.browser("ann").await;
    let saved = save(
        &browser,
        &[
            ("rules[0].source", "dev"),
            ("rules[0].target", "runtime"),
            ("rules[0].platforms", "linux/arm64"),
            ("rules[0].paths", "api/\r\n\r\n!*.md\r\n"),
            ("links[0]", "alpine:3.20"),
            ("build_secrets[0].name", "PIP"),
            ("build_secrets[0].value", "canary-pip"),
            ("source.credentials.remove", "true"),
            ("image", "r.example.com/other/name"),
        ],
    )
    .await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let after = stored(&app).await;
    assert_eq!(after["rules"][0]["source"], "dev");
    assert_eq!(after["rules"][0]["target"], "runtime");
    assert_eq!(after["rules"][0]["platforms"], json!(["linux/arm64"]));
    assert_eq!(after["rules"][0]["paths"], json!(["api/", "!*.md"]));
    let page = browser.get(PATH).await.text;
    assert!(page.contains(">\napi/\n!*.md</textarea>"), "{page}");
    let refused = save(&browser, &[("rules[0].paths", "ok\n\n[a")]).await;
    assert_eq!(refused.status, 422);
    for shown in [
        "Path filter of rule 1</a>: pattern 2: `[a` is no pattern",
        "id=\"rules[0].paths-wrong\"",
    ] {
        assert!(refused.text.contains(shown), "{shown}\n{}", refused.text);
    }
    assert_eq!(after["links"], json!(["docker.io/library/alpine:3.20"]));
    assert_eq!(after["build_secrets_set"], json!(["PIP"]));
    assert_eq!(after["source"]["credentials_set"], false);
    assert_eq!(after["image"], "r.example.com/other/name");
}

#[tokio::test]
async fn a_schedule_is_shown_with_its_next_times_saved_refused_and_taken_away() {
    let app = App::start().await;
    let before = repository(&app).await;
    let browser = app.browser("ann").await;
    let weekly = [
        ("rules[0].schedule.cron", " 0 4 29 2 * "),
        ("rules[0].schedule.time_zone", "Europe/Berlin"),
        ("rules[0].schedule.no_cache", "true"),
    ];
    let tried = save(&browser, &[&weekly[..], &[("do", "preview")]].concat()).await;
    assert_eq!(tried.status, 200, "{}", tried.text);
    assert_eq!(tried.text.matches("-02-29 04:00 CET").count(), 3, "{}", tried.text);
    assert_eq!(stored(&app).await["rules"][0]["schedule"], Value::Null);

    assert_eq!(save(&browser, &weekly).await.status, 303);
    let rule = stored(&app).await["rules"][0].clone();
    assert_eq!(
        rule["schedule"],
        json!({ "cron": "0 4 29 2 *", "time_zone": "Europe/Berlin", "no_cache": true })
    );
    assert_eq!(rule["id"], before["rules"][0]["id"]);
    let page = browser.get(PATH).await;
    assert_eq!(value_of(&page, "rules[0].schedule.cron"), "0 4 29 2 *");
    assert_eq!(value_of(&page, "rules[0].schedule.time_zone"), "Europe/Berlin");
    assert!(page.text.contains("Without a push and without cache:"), "{}", page.text);

    for (field, value, says) in [
        ("rules[0].schedule.cron", "<b>", "Schedule of rule 1"),
        (
            "rules[0].schedule.time_zone",
            "<b>",
            "Time zone of the schedule of rule 1",
        ),
    ] {
        let mut changes = weekly;
        changes.iter_mut().find(|(name, _)| *name == field).unwrap().1 = value;
        let refused = save(&browser, &changes).await;
        assert_eq!(refused.status, 422, "{field}");
        assert!(
            refused.text.contains(says) && !refused.text.contains("<b>"),
            "{}",
            refused.text
        );
        assert!(
            refused.text.contains(&format!("id=\"{field}-wrong\"")),
            "{}",
            refused.text
        );
    }
    assert_eq!(stored(&app).await["rules"][0]["schedule"], rule["schedule"]);

    assert_eq!(save(&browser, &[]).await.status, 303);
    assert_eq!(stored(&app).await["rules"][0]["schedule"], Value::Null);
}

#[tokio::test]
async fn two_people_do_not_overwrite_each_other_silently() {
    let app = App::start().await;
    repository(&app).await;
    let (one, two) = (app.browser("ann").await, app.browser("root").await);
    let first = fields(&one, &[("description", "by the first")]).await;
    let second = fields(&two, &[("description", "by the second")]).await;
    assert_eq!(post(&one, &first).await.status, 303);
    let page = post(&two, &second).await;
    assert_eq!(page.status, 409, "{}", page.text);
    assert!(page.text.contains("Somebody else changed these settings") && page.text.contains("by the second"));
    assert_eq!(stored(&app).await["description"], "by the first");
    // Once told, one may.
    let mut again = second;
    again[0].1 = value_of(&page, "version");
    assert_eq!(post(&two, &again).await.status, 303);
    assert_eq!(stored(&app).await["description"], "by the second");
    again[0].1 = "none".to_owned();
    assert_eq!(post(&two, &again).await.status, 409);
}

#[tokio::test]
async fn a_source_on_another_host_needs_its_credentials_again() {
    let app = App::start().await;
    repository(&app).await;
    let browser = app.browser("ann").await;
    let page = save(&browser, &[("source.url", "https://elsewhere.example.com/app.git")]).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text.contains("the stored ones are for another host"),
        "{}",
        page.text
    );
}

#[tokio::test]
async fn refused_rows_keep_what_was_typed_and_the_next_form_is_still_of_the_old_state() {
    let app = App::start().await;
    let before = repository(&app).await;
    let browser = app.browser("ann").await;
    let page = save(&browser, &[("rules[0].docker_tag", "{\\7}"), ("description", "kept")]).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text.contains("id=\"rules[0].docker_tag-wrong\"") && page.text.contains("kept"),
        "{}",
        page.text
    );
    assert_eq!(stored(&app).await["updated_at"], before["updated_at"]);
}

#[tokio::test]
async fn a_new_webhook_secret_is_shown_once_and_the_old_one_ends() {
    let app = App::start().await;
    let repository = repository(&app).await;
    let browser = app.browser("ann").await;
    let answer = browser
        .post(&format!("{PATH}/webhook-secret"), &[("webhook_secret", "")])
        .await;
    assert_eq!(
        answer.location.as_deref(),
        Some("/r/ann/app/settings#webhook"),
        "{}",
        answer.text
    );
    let body = payload("refs/heads/main", &"a".repeat(40), "one");
    assert_eq!(app.push(&repository, "d1", &body).await.0, 401);
    browser.keep_cookies(&answer);
    let page = browser.get(PATH).await;
    let (_, secret) = page.text.split_once("aria-label=\"the secret\">").unwrap();
    let secret = secret.split('<').next().unwrap();
    let request = app.signed_webhook(&repository, "push", "d2", &body.to_string(), secret);
    assert_eq!(request.send().await.unwrap().status(), 202);
    browser.keep_cookies(&page);
    assert!(!browser.get(PATH).await.text.contains(secret));
    // One's own is never shown.
    let own = browser
        .post(
            &format!("{PATH}/webhook-secret"),
            &[("webhook_secret", "canary-of-my-own")],
        )
        .await;
    browser.keep_cookies(&own);
    assert!(!browser.get(PATH).await.text.contains("canary"));
    let request = app.signed_webhook(&repository, "push", "d3", &body.to_string(), "canary-of-my-own");
    assert!(request.send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn visibility_changes_and_deletion_needs_the_name() {
    let app = App::start().await;
    repository(&app).await;
    let browser = app.browser("ann").await;
    let answer = browser
        .post(&format!("{PATH}/visibility"), &[("visibility", "private")])
        .await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(stored(&app).await["visibility"], "private");
    let answer = browser
        .post(&format!("{PATH}/visibility"), &[("visibility", "secret")])
        .await;
    assert_eq!(answer.status, 422);
    let wrong = browser.post(&format!("{PATH}/delete"), &[("confirm", "app")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("nothing was deleted"), "{}", wrong.text);
    assert_eq!(stored(&app).await["name"], "app");
    let right = browser.post(&format!("{PATH}/delete"), &[("confirm", "ann/app")]).await;
    assert_eq!(right.location.as_deref(), Some("/"));
    assert_eq!(app.get("/api/v1/repositories/ann/app").await.0, 404);
}

#[tokio::test]
async fn others_can_neither_see_nor_change_the_settings() {
    let app = App::start().await;
    let before = repository(&app).await;
    let bob = app.browser("bob").await;
    assert_eq!(app.stranger().get(PATH).await.status, 303);
    assert_eq!(bob.get(PATH).await.status, 403);
    let posts: [(&str, &[(&str, &str)]); 4] = [
        ("", &[("version", "x")]),
        ("/visibility", &[("visibility", "private")]),
        ("/webhook-secret", &[("webhook_secret", "mine")]),
        ("/delete", &[("confirm", "ann/app")]),
    ];
    for (below, form) in posts {
        let path = format!("{PATH}{below}");
        assert_eq!(bob.post(&path, form).await.status, 403, "{path}");
        assert_eq!(app.stranger().post(&path, form).await.status, 401, "{path}");
        assert_eq!(
            app.browser("ann").await.post_as_it_is(&path, form).await.status,
            403,
            "{path}"
        );
    }
    assert_eq!(stored(&app).await["updated_at"], before["updated_at"]);
    app.browser("ann")
        .await
        .post(&format!("{PATH}/visibility"), &[("visibility", "private")])
        .await;
    assert_eq!(bob.get(PATH).await.status, 404);
    for (below, form) in posts {
        assert_eq!(bob.post(&format!("{PATH}{below}"), form).await.status, 404, "{below}");
    }
}

#[tokio::test]
async fn limits_are_typed_as_people_do_and_what_cannot_be_one_is_refused() {
    let app = App::start().await;
    repository(&app).await;
    let browser = app.browser("ann").await;
    let limits = [
        ("limits.timeout_seconds", "600"),
        ("limits.memory_bytes", "512 MiB"),
        ("limits.cpus", "1.5"),
    ];
    let saved = save(&browser, &limits).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let expected = json!({ "timeout_seconds": 600, "memory_bytes": 512 << 20, "cpus": 1.5 });
    assert_eq!(stored(&app).await["limits"], expected);
    let page = browser.get(PATH).await;
    assert!(
        page.text.contains("value=\"512 MiB\"") && page.text.contains("value=\"1.5\""),
        "{}",
        page.text
    );
    let bad = [
        ("limits.timeout_seconds", "0"),
        ("limits.memory_bytes", "a lot"),
        ("limits.cpus", "-1"),
    ];
    let page = save(&browser, &bad).await;
    assert_eq!(page.status, 422);
    for (field, typed) in bad {
        assert!(
            page.text.contains(&format!("id=\"{field}-wrong\"")),
            "{field}: {}",
            page.text
        );
        assert!(
            page.text.contains(&format!("value=\"{typed}\"")),
            "{field}: {}",
            page.text
        );
    }
    assert_eq!(stored(&app).await["limits"], expected);
}

#[tokio::test]
async fn who_changed_what_is_written_down_without_any_secret() {
    let app = App::start().await;
    repository(&app).await;
    let browser = app.browser("ann").await;
    save(
        &browser,
        &[
            ("description", "new"),
            ("build_secrets[0].name", "NPM"),
            ("build_secrets[0].value", "canary-2"),
        ],
    )
    .await;
    browser.post(&format!("{PATH}/delete"), &[("confirm", "ann/app")]).await;
    let filter = hullworks::store::AuditFilter {
        namespace: Some("ann".to_owned()),
        limit: 50,
        ..Default::default()
    };
    let entries = app.store.audit(&filter).await.unwrap();
    let told: Vec<(&str, String)> = entries
        .iter()
        .map(|entry| (entry.event.action.as_str(), entry.event.detail.to_string()))
        .collect();
    let expected = [
        ("repository.deleted", "{}"),
        ("secret.replaced", r#"{"fields":["build_secrets"]}"#),
        ("repository.changed", r#"{"fields":["description"]}"#),
    ];
    for (entry, expected) in told.iter().zip(expected) {
        assert_eq!((entry.0, entry.1.as_str()), expected, "{told:?}");
    }
    assert_eq!(told[3].0, "repository.created");
    assert!(told.iter().all(|(_, detail)| !detail.contains("canary")), "{told:?}");
}

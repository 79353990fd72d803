//! Markup in everything that strangers write stays text: no element of it comes to be, and nothing of it runs.

use serde_json::json;

use crate::{parts::webhook::Push, parts::world::BUILD, stage::Stage};

/// Would show in a dialog, in the console or as an element, whatever let it through.
const CANARY: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>";

#[tokio::test]
async fn markup_in_what_strangers_write_stays_text() {
    let stage = Stage::set().await;
    let app = stage
        .app(json!({
            "description": CANARY,
            "rules": [{ "source_type": "branch", "source": "/.*/", "docker_tag": "latest" }]
        }))
        .await;
    let readme = format!("# Title {CANARY}\n\n[link](javascript:alert(1)) ![x](https://evil.example/x.png) {CANARY}\n");
    let steps = "RUN printf '<script>alert(1)</script><img src=x onerror=alert(1)> \\033[31mred\\033[0m \
                 \\033]8;;javascript:alert(1)\\007link\\033]8;;\\007\\n'";
    let files = [("Dockerfile", stage.dockerfile(steps)), ("README.md", readme)];
    let files = files.each_ref().map(|(path, content)| (*path, content.as_str()));
    let commit = app.source.push(&files, &format!("A change {CANARY}")).await;
    let branch = "x<script>alert(1)</script>";
    app.source
        .git(&["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")])
        .await;
    let message = format!("A change {CANARY}");
    let push = Push {
        message: &message,
        ..app.push_of(branch, &commit)
    };
    let (status, answer) = app.webhook.github(&push).await;
    assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");
    let id = answer["builds"][0].as_str().expect("an id").to_owned();
    stage.server.wait_for_success(&id, BUILD).await;
    let delivery = stage.server.deliveries("admin/app").await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();

    let browser = stage.signed_in("admin").await;
    for page in [
        "/".to_owned(),
        "/explore".to_owned(),
        "/builds".to_owned(),
        "/r/admin/app".to_owned(),
        "/r/admin/app/builds".to_owned(),
        "/r/admin/app/tags".to_owned(),
        "/r/admin/app/deliveries".to_owned(),
        format!("/r/admin/app/deliveries/{delivery}"),
        "/r/admin/app/settings".to_owned(),
        format!("/builds/{id}"),
    ] {
        // A dialog would make every further command fail.
        browser.go(&page).await;
        assert_eq!(browser.status().await, 200, "{page}");
        let foreign =
            "return document.querySelectorAll('body script, img[src=x], [onerror], a[href^=javascript]').length";
        assert_eq!(
            browser.run(foreign, vec![]).await,
            0,
            "{page}: {}",
            browser.shown().await
        );
        assert_eq!(browser.complaints().await, Vec::<String>::new(), "{page}");
    }
    browser.go(&format!("/builds/{id}")).await;
    browser
        .sees_in("main", "<script>alert(1)</script><img src=x onerror=alert(1)> red link")
        .await;
}

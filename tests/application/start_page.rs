use reqwest::Method;
use serde_json::json;

use crate::app::{App, commit, document, payload};

#[tokio::test]
async fn the_start_page_escapes_what_strangers_wrote_and_shows_nothing_private() {
    let app = App::start().await;
    let mut rules = document();
    rules["rules"] = json!([{ "source_type": "branch", "source": "/.*/", "docker_tag": "x" }]);
    let (_, repository) = app.put("/api/v1/repositories/ann/app", rules.clone()).await;
    let (_, answer) = app
        .push(
            &repository,
            "d",
            &payload("refs/heads/<script>x</script>", &commit('a'), "x"),
        )
        .await;
    assert_eq!(answer["outcome"], "queued", "{answer:#}");
    rules["visibility"] = json!("private");
    let (_, hidden) = app.put("/api/v1/repositories/ann/unseen", rules).await;
    app.push(&hidden, "d", &payload("refs/heads/main", &commit('b'), "x"))
        .await;
    let page = app.request("", Method::GET, "/").send().await.unwrap();
    let text = page.text().await.unwrap();
    assert!(text.contains("ann/app") && !text.contains("unseen"), "{text}");
    assert!(!text.contains("<script>"), "{text}");
}

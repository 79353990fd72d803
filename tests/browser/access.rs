//! Who sees what: roles, and what is private.

use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn a_private_log_is_to_a_stranger_as_one_that_is_not_there() {
    let stage = Stage::set().await;
    stage.user("eve").await;
    let app = stage.app(json!({ "visibility": "private" })).await;
    let build = stage
        .build(&app, &[("Dockerfile", &stage.dockerfile("RUN echo a private line"))])
        .await;
    let id = build["id"].as_str().expect("an id");
    for browser in [stage.stranger().await, stage.signed_in("eve").await] {
        for (there, absent) in [
            (
                format!("/builds/{id}"),
                "/builds/019a0000000070008000000000000000".to_owned(),
            ),
            ("/r/admin/app".to_owned(), "/r/admin/none".to_owned()),
            ("/r/admin/app/builds".to_owned(), "/r/admin/none/builds".to_owned()),
        ] {
            browser.go(&there).await;
            assert_eq!(browser.status().await, 404, "{there}");
            let private = browser.read("main").await;
            browser.go(&absent).await;
            assert_eq!(browser.status().await, 404, "{absent}");
            assert_eq!(browser.read("main").await, private);
        }
        for list in ["/explore", "/builds", "/queue"] {
            browser.go(list).await;
            let text = browser.read("main").await;
            assert!(!text.contains("admin/app"), "{list}: {text}");
        }
    }
}

//! The form of an automated build, as its script makes it: nothing is loaded anew, nothing that was typed is lost.

use crate::stage::Stage;

#[tokio::test]
async fn rules_come_and_go_and_tell_what_they_would_build_as_one_types() {
    let stage = Stage::set().await;
    let browser = stage.signed_in("admin").await;
    browser.go("/new").await;
    // Gone as soon as the page is loaded anew.
    browser.run("window.notReloaded = true", vec![]).await;
    browser
        .fill("Address of the repository", "https://git.example.com/acme/shop.git")
        .await;
    assert_eq!(browser.value_of("#name").await, "shop", "the source suggests a name");

    browser
        .press_in(
            "#rules",
            "Path filter, build arguments, stage, platform, schedule of rule 1",
        )
        .await;
    browser.fill("Path filter of rule 1", "[a").await;
    browser.sees_in("#preview-0", "is no pattern").await;
    browser.fill("Path filter of rule 1", "api/\n!*.md").await;
    browser
        .sees_in("#preview-0", "if a push changes a file that matches api/, !*.md")
        .await;

    browser.press_in("main", "Add a rule").await;
    browser.sees_in("#rules", "Rule 2").await;
    browser.choose("Push type of rule 2", "Tag").await;
    browser
        .fill("Name or /regex/ of rule 2", r"/^v([0-9]+)\.([0-9]+)$/")
        .await;
    browser.fill("Docker tag of rule 2", r"{\1}.{\2},{\1}").await;
    browser.fill("Try a branch or tag name", "v4.2").await;
    browser.sees_in("#preview-1", "shop:4.2").await;

    browser
        .press_in(
            "#rules",
            "Path filter, build arguments, stage, platform, schedule of rule 2",
        )
        .await;
    browser.fill("Cron expression of rule 2", "30 4 1 1 *").await;
    browser
        .fill("Time zone of the schedule of rule 2", "Europe/Berlin")
        .await;
    browser.sees_in("#preview-1", "-01-01 04:30 CET").await;
    browser.fill("Cron expression of rule 2", "* * * * *").await;
    browser.sees_in("#preview-1", "more often than every 10 minutes").await;
    browser.fill("Cron expression of rule 2", "30 4 1 1 *").await;
    browser.fill("Path filter of rule 2", "!docs/").await;
    assert!(
        browser.count("#time-zones option[value='Europe/Berlin']").await == 1,
        "time zones are offered"
    );

    browser.fill("Docker tag of rule 2", r"{\3}").await;
    browser.sees_in("#preview-1", "Not valid").await;

    browser.press_in("#rules", "Remove rule 1").await;
    browser
        .until("one rule alone", async || {
            (browser.count("#rules > .rule").await == 1).then_some(())
        })
        .await;
    assert_eq!(
        browser.value_of("#rules [id$=docker_tag]").await,
        r"{\3}",
        "the second one stayed"
    );
    assert_eq!(browser.value_of("#rules [id$=paths]").await, "!docs/");
    assert_eq!(browser.value_of("#rules [id$='schedule.cron']").await, "30 4 1 1 *");
    assert_eq!(browser.value_of("#name").await, "shop");
    assert_eq!(browser.run("return window.notReloaded === true", vec![]).await, true);
    assert!(browser.complaints().await.is_empty());
}

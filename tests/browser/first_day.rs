//! The first day: from the set-up code that the service prints to an image that runs, with nothing but clicks in between.

use serde_json::json;

use crate::{
    parts::{
        webhook::{Push, Webhook},
        world::BUILD,
    },
    stage::{PASSWORD, Stage},
};

#[tokio::test]
async fn from_the_set_up_code_to_an_image_that_runs() {
    let mut stage = Stage::not_set_up().await;
    let browser = stage.stranger().await;

    browser.go("/set-up").await;
    browser.fill("Set-up code", &stage.set_up_code().await).await;
    browser.fill("Your name", "ann").await;
    browser.fill("Password", PASSWORD).await;
    browser.press_in("main", "Make the administrator").await;
    browser.arrives_at("/").await;

    browser.press_in("header", "Create").await;
    browser.follow_in("header", "Organisation").await;
    browser.fill("Namespace", "team").await;
    browser.press_in("main", "Make the organisation").await;
    browser.arrives_at("/o/team/members").await;

    let source = stage.git.create("acme/app").await;
    source
        .push(&[("Dockerfile", &stage.dockerfile("RUN true"))], "Begin")
        .await;
    let gate = stage.gate();
    let steps = format!(
        "RUN echo before the gate\nRUN {}\nRUN echo after the gate\nCMD [\"echo\", \"it runs\"]",
        gate.command()
    );
    let image = format!("{}/team/app", stage.registry.host());
    browser.press_in("header", "Create").await;
    browser.follow_in("header", "Automated build").await;
    browser.fill("Address of the repository", &source.url).await;
    browser.choose("Namespace", "team").await;
    browser.fill("Name", "app").await;
    browser.fill("Image", &image).await;
    browser.press_in("main", "Create").await;
    browser.sees_in("main", "Payload URL").await;
    let webhook = Webhook {
        url: browser.value_of("#webhook-url code").await,
        secret: browser.value_of("#webhook-secret code").await,
    };

    let commit = source
        .push(&[("Dockerfile", &stage.dockerfile(&steps))], "The first change")
        .await;
    let push = Push {
        full_name: "acme/app",
        clone_url: &source.url,
        branch: "main",
        commit: &commit,
        message: "The first change",
    };
    let (status, answer) = webhook.github(&push).await;
    assert_eq!((status, &answer["outcome"]), (202, &json!("queued")), "{answer:#}");
    browser.sees_in("main", "The first delivery arrived").await;

    browser.go("/r/team/app/builds").await;
    browser.sees_in("main", "push of").await;
    browser.follow_in("main", "#2").await;
    gate.reached_by(1).await;
    browser.sees_in("main", "before the gate").await;
    gate.open().await;
    browser.sees_within(BUILD, "main", "after the gate").await;
    browser.sees_within(BUILD, "main", "succeeded").await;
    assert!(browser.complaints().await.is_empty());

    stage.server.act_as("ann").await;
    let image = format!("{image}:latest");
    stage.engine.pull(&image).await;
    assert_eq!(stage.engine.run(&image, &[]).await, "it runs");
}

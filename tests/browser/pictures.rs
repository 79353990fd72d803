//! The pictures in README: four real pages, taken while they show something. scripts/screenshots.sh puts them into docs/.

use std::fs;

use serde_json::json;

use crate::{
    browser::{Browser, View, artefacts},
    parts::world::BUILD,
    stage::Stage,
};

/// A window as wide as a laptop's.
const WINDOW: View = View {
    width: 1280,
    dark: false,
};

#[tokio::test]
async fn the_dashboard_a_build_the_graph_and_the_page_that_makes_a_build_show_what_readme_says_of_them() {
    let stage = Stage::set().await;
    let runtime = stage
        .app_named("runtime", json!({ "description": "What all services are built on" }))
        .await;
    stage
        .build(
            &runtime,
            &[("Dockerfile", &stage.dockerfile("RUN echo tools > /tools"))],
        )
        .await;
    for (name, description) in [
        ("gateway", "The one door to all services"),
        ("accounts", "Who is who, and who may what"),
        ("invoices", "From an order to a letter with a sum"),
        ("search", "Finds what people mean"),
    ] {
        let app = stage.app_named(name, json!({ "description": description })).await;
        let steps = "RUN echo compiling; echo linking\nCMD [\"true\"]";
        let dockerfile = format!("FROM {}:latest\n{steps}\n", runtime.image);
        stage.build(&app, &[("Dockerfile", &dockerfile)]).await;
    }
    let failing = stage
        .app_named("reports", json!({ "description": "What happened last month" }))
        .await;
    let dockerfile = stage.dockerfile("RUN echo 'tests/month.rs: 1 test failed' >&2; false");
    stage.failure(&failing, &[("Dockerfile", &dockerfile)]).await;
    let gate = stage.gate();
    let running = stage
        .app_named("website", json!({ "description": "What everybody sees first" }))
        .await;
    let steps = format!(
        "RUN for i in $(seq 12); do printf '\\033[32m   Compiling\\033[0m part-%d v1.0.%d\\n' $i $i; done\n\
         RUN printf '\\033[33mwarning\\033[0m: unused variable: \\033[1mweather\\033[0m\\n'; {}\nCMD [\"true\"]",
        gate.command()
    );
    let id = stage.push(&running, &[("Dockerfile", &stage.dockerfile(&steps))]).await;
    gate.reached_by(1).await;

    let browser = stage.signed_in("admin").await;
    browser.view(WINDOW).await;
    browser.go("/").await;
    browser.sees_in("main", "What everybody sees first").await;
    keep(&browser, "dashboard").await;
    browser.go(&format!("/builds/{id}")).await;
    browser.sees_in("#log", "unused variable").await;
    keep(&browser, "build").await;
    browser.go("/bases/graph").await;
    browser.sees_in("#graph", "admin/search:latest").await;
    keep(&browser, "graph").await;
    browser.go("/new").await;
    browser
        .fill("Address of the repository", "https://github.com/acme/website.git")
        .await;
    browser.sees_in("main", "Create automated build").await;
    keep(&browser, "create").await;
    gate.open().await;
    stage.server.wait_for_success(&id, BUILD).await;
}

async fn keep(browser: &Browser, name: &str) {
    fs::create_dir_all(artefacts()).expect("a directory in target/");
    fs::write(artefacts().join(format!("{name}.png")), browser.screenshot().await).expect("a file in target/");
}

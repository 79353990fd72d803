//! What holds of every page: it is accessible in both colours, as wide as its window, usable by keyboard, without an
//! error in the console, and asks no other host for anything.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{base_images, browser::Browser, parts::gate::Gate, routes, stage::Stage};

/// Who looks at a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Nobody is signed in.
    Stranger,
    /// A server's administrator, who owns what there is.
    Admin,
}
use Who::{Admin, Stranger};

/// Pages by their routes in the sources, an address of each, and who looks at it.
type Pages = &'static [(&'static str, &'static str, Who)];

const PUBLIC: Pages = &[
    ("/", "/", Stranger),
    ("/", "/", Admin),
    ("", "/nowhere", Stranger),
    ("/sign-in", "/sign-in", Stranger),
    ("/explore", "/explore", Stranger),
    ("/builds", "/builds", Stranger),
    ("/queue", "/queue", Stranger),
    ("/u/{name}", "/u/admin", Stranger),
    ("/stars", "/stars", Admin),
    ("/contributed", "/contributed", Admin),
];

/// Of what is [`furnish`]ed.
const BUILDS: Pages = &[
    ("/", "/", Stranger),
    ("/", "/", Admin),
    ("/builds/{id}", "/builds/{succeeded}", Stranger),
    ("/builds/{id}", "/builds/{failed}", Admin),
    ("/builds/{id}", "/builds/{running}", Admin),
    ("/builds", "/builds", Admin),
    ("/queue", "/queue", Admin),
    ("/explore", "/explore", Admin),
];

/// Of the repository that is [`furnish`]ed.
const REPOSITORIES: Pages = &[
    ("/r/{namespace}/{name}", "/r/admin/app", Stranger),
    ("/r/{namespace}/{name}", "/r/admin/app", Admin),
    ("/r/{namespace}/{name}/tags", "/r/admin/app/tags", Admin),
    ("/r/{namespace}/{name}/builds", "/r/admin/app/builds", Stranger),
    ("/r/{namespace}/{name}/builds", "/r/admin/app/builds", Admin),
    ("/r/{namespace}/{name}/deliveries", "/r/admin/app/deliveries", Admin),
    (
        "/r/{namespace}/{name}/deliveries/{id}",
        "/r/admin/app/deliveries/{delivery}",
        Admin,
    ),
    ("/u/{name}", "/u/admin", Admin),
];

/// What makes and changes a repository.
const FORMS: Pages = &[
    ("/new", "/new", Admin),
    ("/r/{namespace}/{name}/created", "/r/admin/app/created", Admin),
    ("/r/{namespace}/{name}/settings", "/r/admin/app/settings", Admin),
];

const SETTINGS: Pages = &[
    ("/settings/profile", "/settings/profile", Admin),
    ("/settings/password", "/settings/password", Admin),
    ("/settings/sessions", "/settings/sessions", Admin),
    ("/settings/tokens", "/settings/tokens", Admin),
    ("/settings/accounts", "/settings/accounts", Admin),
    ("/settings/applications", "/settings/applications", Admin),
    ("/settings/notifications", "/settings/notifications", Admin),
];

/// Of an organisation `team` with a member and somebody invited.
const ORGANISATIONS: Pages = &[
    ("/organisations/new", "/organisations/new", Admin),
    ("/o/{organisation}", "/o/team", Stranger),
    ("/o/{organisation}", "/o/team", Admin),
    ("/o/{organisation}/members", "/o/team/members", Admin),
    ("/o/{organisation}/settings", "/o/team/settings", Admin),
    ("/o/{organisation}/audit", "/o/team/audit", Admin),
    ("/settings/organisations", "/settings/organisations", Admin),
    ("/invitations/{code}", "{invitation}", Admin),
];

/// Of `admin/app`, which stands on `admin/base`, which has moved once.
const BASE_IMAGES: Pages = &[
    ("/bases", "/bases", Stranger),
    ("/bases", "/bases", Admin),
    ("/bases/graph", "/bases/graph", Stranger),
    ("/bases/outdated", "/bases/outdated", Stranger),
    ("/bases/image", "/bases/image?name={image}", Stranger),
    ("/bases/image", "/bases/image?name={image}", Admin),
    ("/waves", "/waves", Stranger),
    ("/waves/{id}", "/waves/{wave}", Stranger),
    ("/waves/{id}", "/waves/{wave}", Admin),
    ("/builds/{id}", "/builds/{rebuild}", Stranger),
    ("/r/{namespace}/{name}/bases", "/r/admin/app/bases", Stranger),
    ("/r/{namespace}/{name}/bases", "/r/admin/app/bases", Admin),
    ("/r/{namespace}/{name}", "/r/admin/app", Stranger),
];

const ADMINISTRATION: Pages = &[
    ("/admin/users", "/admin/users", Admin),
    ("/admin/organisations", "/admin/organisations", Admin),
    ("/admin/registries", "/admin/registries", Admin),
    ("/admin/workers", "/admin/workers", Admin),
    ("/admin/audit", "/admin/audit", Admin),
    ("/admin/settings", "/admin/settings", Admin),
];

/// What is there but in a test of its own: it is a page for as long as nobody has set the server up.
const ELSEWHERE: &[&str] = &["/set-up"];

/// Routes that answer something else than a page.
const NO_PAGES: &[&str] = &[
    "/badge/{namespace}/{file}",
    "/badge/{namespace}/{name}/bases.svg",
    "/sign-in/oidc",
    "/sign-in/oidc/callback",
    "/builds/{id}/log/lines",
    "/builds/{id}/log/outline",
    "/builds/{id}/log/search",
    "/builds/{id}/log/stream",
];

#[test]
fn every_page_is_looked_at() {
    let pages = [
        PUBLIC,
        BUILDS,
        REPOSITORIES,
        FORMS,
        SETTINGS,
        ORGANISATIONS,
        BASE_IMAGES,
        ADMINISTRATION,
    ]
    .concat();
    let looked_at: BTreeSet<&str> = pages
        .iter()
        .map(|(route, ..)| *route)
        .chain(ELSEWHERE.to_vec())
        .collect();
    let routes = routes::of_pages();
    let missing: Vec<&String> = routes
        .iter()
        .filter(|route| !looked_at.contains(route.as_str()) && !NO_PAGES.contains(&route.as_str()))
        .collect();
    assert!(missing.is_empty(), "no test here looks at {missing:?}");
    let known = looked_at.iter().chain(NO_PAGES).filter(|route| !route.is_empty());
    let gone: Vec<&&str> = known.filter(|route| !routes.contains(**route)).collect();
    assert!(gone.is_empty(), "there is no such page any more: {gone:?}");
}

#[tokio::test]
async fn public_pages_are_sound() {
    look_at(&Stage::set().await, PUBLIC, &[]).await;
}

#[tokio::test]
async fn pages_of_builds_are_sound() {
    let stage = Stage::set().await;
    let gate = stage.gate();
    let names = furnish(&stage, &gate).await;
    look_at(&stage, BUILDS, &names).await;
    gate.open().await;
}

#[tokio::test]
async fn pages_of_repositories_are_sound() {
    let stage = Stage::set().await;
    let gate = stage.gate();
    let names = furnish(&stage, &gate).await;
    look_at(&stage, REPOSITORIES, &names).await;
    gate.open().await;
}

#[tokio::test]
async fn pages_that_make_and_change_a_repository_are_sound() {
    let stage = Stage::set().await;
    stage.app(json!({})).await;
    look_at(&stage, FORMS, &[]).await;
}

#[tokio::test]
async fn pages_of_base_images_are_sound() {
    let stage = base_images::set().await;
    let gate = stage.gate();
    let (base, app) = base_images::furnish(&stage, &gate).await;
    base_images::move_base(&stage, &base, "two").await;
    gate.reached_by(1).await;
    let id = |value: &Value| value["id"].as_str().expect("an id").to_owned();
    let names = [
        ("{image}", format!("{}:latest", base.image)),
        ("{wave}", id(&stage.server.list("/waves").await[0])),
        ("{rebuild}", id(&stage.server.builds(&app.name).await[0])),
    ];
    look_at(&stage, BASE_IMAGES, &names).await;
    gate.open().await;
}

#[tokio::test]
async fn pages_of_administration_are_sound() {
    let stage = Stage::set().await;
    stage.user("ann").await;
    look_at(&stage, ADMINISTRATION, &[]).await;
}

#[tokio::test]
async fn pages_of_settings_are_sound() {
    let stage = Stage::set().await;
    stage
        .server
        .command_line(&["token", "create", "--user", "admin", "--name", "a script"], &[])
        .await;
    look_at(&stage, SETTINGS, &[]).await;
}

#[tokio::test]
async fn pages_of_organisations_are_sound() {
    let stage = Stage::set().await;
    stage.user("ann").await;
    let mut invitation = String::new();
    for (method, path, body) in [
        (
            Method::POST,
            "",
            json!({ "name": "team", "display_name": "The Team", "description": "Who makes it" }),
        ),
        (Method::PUT, "/team/members/ann", json!({ "role": "write" })),
        (
            Method::POST,
            "/team/invitations",
            json!({ "invitee": "bob@example.com", "role": "read" }),
        ),
    ] {
        let (status, answer) = stage
            .server
            .request(method, &format!("/organisations{path}"), Some(body))
            .await;
        assert!(matches!(status, 200 | 201), "{path}: {status} {answer:#}");
        let url = answer["url"].as_str().unwrap_or_default();
        invitation = url.trim_start_matches(&stage.server.url()).to_owned();
    }
    look_at(&stage, ORGANISATIONS, &[("{invitation}", invitation)]).await;
}

#[tokio::test]
async fn the_set_up_page_is_sound() {
    let stage = Stage::not_set_up().await;
    look_at(&stage, &[("/set-up", "/set-up", Stranger)], &[]).await;
}

/// A repository `admin/app` with a README and a build of each kind, by the names that addresses have for their ids; one
/// is still running and held up by the gate.
async fn furnish(stage: &Stage, gate: &Gate) -> Vec<(&'static str, String)> {
    // At a time that does not come while the test runs.
    let schedule = json!({ "cron": "0 4 29 2 *", "time_zone": "Europe/Berlin", "no_cache": true });
    let rule = json!({ "source_type": "branch", "source": "main", "docker_tag": "latest", "schedule": schedule });
    let app = stage
        .app(json!({ "description": "Says hello to whoever asks", "rules": [rule] }))
        .await;
    let id = |build: &Value| build["id"].as_str().expect("an id").to_owned();
    let readme = "# Hello\n\nA [link](https://example.com/), `code`, and\n\n```\na block of code\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n";
    let steps = "RUN for i in $(seq 60); do printf '\\033[3%dmline %d\\033[0m\\n' $((i % 8)) $i; done\nCMD [\"true\"]";
    let succeeded = stage
        .build(&app, &[("Dockerfile", &stage.dockerfile(steps)), ("README.md", readme)])
        .await;
    let (failed, _) = stage
        .failure(
            &app,
            &[("Dockerfile", &stage.dockerfile("RUN echo error: it is broken; false"))],
        )
        .await;
    let running = stage
        .push(&app, &[("Dockerfile", &stage.dockerfile(&gate.step()))])
        .await;
    gate.reached_by(1).await;
    let delivery = id(&stage.server.deliveries(&app.name).await[0]);
    vec![
        ("{delivery}", delivery),
        ("{succeeded}", id(&succeeded)),
        ("{failed}", id(&failed)),
        ("{running}", running),
    ]
}

/// Looks at pages one after the other, and tells all faults at once.
async fn look_at(stage: &Stage, pages: Pages, names: &[(&str, String)]) {
    let mut faults = Vec::new();
    for who in [Stranger, Admin] {
        if !pages.iter().any(|(.., whose)| *whose == who) {
            continue;
        }
        let browser = match who {
            Stranger => stage.stranger().await,
            Admin => stage.signed_in("admin").await,
        };
        for (route, address, _) in pages.iter().filter(|(.., whose)| *whose == who) {
            let address = names
                .iter()
                .fold((*address).to_owned(), |address, (name, id)| address.replace(name, id));
            browser.go(&address).await;
            let expected = if route.is_empty() { 404 } else { 200 };
            let status = browser.status().await;
            if status != expected {
                faults.push(format!("{address}: {status}\n{}", browser.shown().await));
            }
            let found = browser.faults().await.into_iter().chain(keyboard_fault(&browser).await);
            faults.extend(found.map(|fault| format!("{address}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The first Tab reaches the link that leads past the navigation, and following it leads to the content.
async fn keyboard_fault(browser: &Browser) -> Option<String> {
    browser.tab_to("Skip to the content").await;
    browser.key(fantoccini::key::Key::Enter).await;
    let inside = "return document.activeElement === document.querySelector('main')";
    (browser.run(inside, vec![]).await != true)
        .then(|| "the link past the navigation does not lead to the content".to_owned())
}

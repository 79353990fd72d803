//! What holds of every page: it is accessible in both colours, as wide as its window, usable by keyboard, without an
//! error in the console, and asks no other host for anything.

use std::collections::BTreeSet;

use crate::{browser::Browser, routes, stage::Stage};

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

const PUBLIC: Pages = &[("/", "/", Stranger), ("/", "/", Admin), ("", "/nowhere", Stranger)];

/// Routes that answer something else than a page.
const NO_PAGES: &[&str] = &[];

#[test]
fn every_page_is_looked_at() {
    let looked_at: BTreeSet<&str> = [PUBLIC].concat().iter().map(|(route, ..)| *route).collect();
    let routes = routes::of_pages();
    let missing: Vec<&String> = routes
        .iter()
        .filter(|route| !looked_at.contains(route.as_str()) && !NO_PAGES.contains(&route.as_str()))
        .collect();
    assert!(missing.is_empty(), "no test here looks at {missing:?}");
    let gone: Vec<&&str> = looked_at
        .iter()
        .filter(|route| !route.is_empty() && !routes.contains(**route))
        .collect();
    assert!(gone.is_empty(), "there is no such page any more: {gone:?}");
}

#[tokio::test]
async fn public_pages_are_sound() {
    let stage = Stage::set().await;
    look_at(&stage, PUBLIC).await;
}

/// Looks at pages one after the other, and tells all faults at once.
async fn look_at(stage: &Stage, pages: Pages) {
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
            browser.go(address).await;
            let expected = if route.is_empty() { 404 } else { 200 };
            let status = browser.status().await;
            if status != expected {
                faults.push(format!("{address}: {status}\n{}", browser.shown().await));
            }
            faults.extend(
                browser
                    .faults()
                    .await
                    .into_iter()
                    .map(|fault| format!("{address}: {fault}")),
            );
            faults.extend(
                keyboard_faults(&browser)
                    .await
                    .map(|fault| format!("{address}: {fault}")),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The first Tab reaches the link that leads past the navigation, and following it leads to the content.
async fn keyboard_faults(browser: &Browser) -> Option<String> {
    browser.tab_to("Skip to the content").await;
    browser.key(fantoccini::key::Key::Enter).await;
    let inside = "return document.activeElement === document.querySelector('main')";
    (browser.run(inside, vec![]).await != true)
        .then(|| "the link past the navigation does not lead to the content".to_owned())
}

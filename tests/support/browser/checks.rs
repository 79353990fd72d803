//! What every page has to be, whatever it shows: accessible, as wide as its window, quiet, from one host, and usable by
//! keyboard.

use std::{fs, path::PathBuf};

use fantoccini::key::Key;
use serde_json::{Value, json};

use super::{Browser, View};

/// Where scripts/setup.sh puts axe-core; the version is the one that it fetches.
const AXE: &str = "target/axe-core-4.14.1/axe.min.js";

/// The rules that pages are held against: WCAG 2.2 at level AA and below, and what its authors hold for good practice.
const RULES: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/// How often Tab is pressed before a control counts as out of reach.
const TABS: usize = 120;

/// Both widths that pages are made for, each in light and in dark.
pub const VIEWS: [View; 4] = [
    View {
        width: 1440,
        dark: false,
    },
    View {
        width: 1440,
        dark: true,
    },
    View {
        width: 390,
        dark: false,
    },
    View { width: 390, dark: true },
];

const AXE_RUN: &str = "
    const [tags, done] = arguments;
    axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] }).then(
        result => done(result.violations.map(found => ({
            rule: found.id, why: found.help,
            where: found.nodes.slice(0, 5).map(node => `${node.target.join(' ')}: ${node.html.slice(0, 200)}`)
        }))),
        error => done([{ rule: 'axe', why: String(error), where: [] }]));";

/// What sticks out of the window, by the elements that do, where the page as a whole can be scrolled sideways.
const TOO_WIDE: &str = "
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll('body *')]
        .filter(element => element.getBoundingClientRect().right > width + 1)
        .filter(element => {
            for (let up = element.parentElement; up; up = up.parentElement)
                if (up !== document.body && getComputedStyle(up).overflowX !== 'visible') return false;
            return true;
        })
        .slice(0, 8)
        .map(element => `${element.tagName.toLowerCase()}.${element.className}: ${element.textContent.trim().slice(0, 60)}`)
        .concat(`scrollWidth ${document.documentElement.scrollWidth} in ${width}`);";

const OTHER_HOSTS: &str = "
    return performance.getEntriesByType('resource').map(entry => entry.name)
        .filter(name => new URL(name).origin !== location.origin && !name.startsWith('data:'));";

/// The name of what has the focus, and whether one sees that it has.
const FOCUSED: &str = "
    const focused = document.activeElement;
    if (!focused || focused === document.body) return null;
    const style = getComputedStyle(focused);
    const seen = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
    const name = focused.getAttribute('aria-label') || focused.labels?.[0]?.textContent || focused.textContent || '';
    return { name: name.replace(/\\s+/g, ' ').trim(), tag: focused.tagName, seen };";

impl Browser {
    /// The faults of the page that is shown, at each width and in both colours, in words.
    pub async fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        self.run(&axe(), vec![]).await;
        for view in VIEWS {
            self.view(view).await;
            let found = self.run(TOO_WIDE, vec![]).await;
            faults.extend(lines(&found).map(|line| format!("{view:?}: too wide: {line}")));
            let found = self.run_async(AXE_RUN, vec![json!(RULES)]).await;
            for found in found.as_array().into_iter().flatten() {
                faults.push(format!(
                    "{view:?}: {} ({}): {:#}",
                    found["rule"], found["why"], found["where"]
                ));
            }
        }
        self.view(VIEWS[0]).await;
        let others = self.run(OTHER_HOSTS, vec![]).await;
        faults.extend(lines(&others).map(|line| format!("a request to another host: {line}")));
        faults.extend(self.complaints().await);
        faults
    }

    /// Errors and warnings in the console since the last look: scripts that failed, what the content security policy
    /// refused, files that could not be loaded. That the page itself is a 404 is none.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.extension("se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let page = self.client.current_url().await.expect("the page's address").to_string();
        entries
            .iter()
            .filter(|entry| entry["level"] != "INFO" && entry["level"] != "DEBUG")
            .filter_map(|entry| entry["message"].as_str())
            .filter(|message| {
                !(message.starts_with(&page) && message.contains("the server responded with a status of"))
            })
            .map(|message| format!("console: {message}"))
            .collect()
    }

    /// Goes to a control by Tab alone, from the page's beginning.
    ///
    /// # Panics
    /// When it cannot be reached, or something on the way does not show that it has the focus.
    pub async fn tab_to(&self, name: &str) {
        let mut passed = Vec::new();
        for _ in 0..TABS {
            self.key(Key::Tab).await;
            let focused = self.run(FOCUSED, vec![]).await;
            if focused.is_null() {
                continue;
            }
            let found = focused["name"].as_str().unwrap_or_default().to_owned();
            assert_eq!(focused["seen"], true, "nobody sees that {found:?} has the focus");
            if found == name {
                return;
            }
            passed.push(found);
        }
        panic!("Tab never reaches {name:?}, but {passed:#?}; {}", self.shown().await);
    }
}

fn lines(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn axe() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(AXE);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; `make setup` fetches it", path.display()))
}

//! A real Chromium, and a small language to use it as a person does: press what is called so, fill in what is labelled
//! so, see what is visible. Every step waits, within bounds, for what it needs; none sleeps for a fixed time.

mod checks;
mod driver;

use std::{fs, time::Duration};

use fantoccini::{
    Client, ClientBuilder,
    elements::{Element, ElementRef},
    error::CmdError,
    key::Key,
    wd::{WebDriverCompatibleCommand, WindowHandle},
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::Url;

use crate::parts::wait;

use driver::Driver;
pub use driver::artefacts;

/// How long a page may take to be as a step needs it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The key under which WebDriver hands over an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser at one service, with a profile of its own.
pub struct Browser {
    client: Client,
    session: String,
    driver: Driver,
    base: String,
}

/// A width of the window that pages are made for, and the colours that its person prefers.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub width: u32,
    pub dark: bool,
}

impl Browser {
    /// A new browser, signed out; `base` is the service's address without a slash at its end.
    pub async fn open(base: &str) -> Self {
        let driver = Driver::start().await;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(driver.capabilities())
            .connect(&driver.url())
            .await
            .expect("chromedriver starts Chromium; `make setup` installs both");
        let session = client
            .session_id()
            .await
            .expect("a session")
            .expect("a session has an id");
        Self {
            client,
            session,
            driver,
            base: base.to_owned(),
        }
    }

    /// Opens a page; `path` begins with a slash.
    pub async fn go(&self, path: &str) {
        let url = format!("{}{path}", self.base);
        self.client
            .goto(&url)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Path and query of the page that is shown.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.expect("the page's address");
        url[url::Position::BeforePath..].to_owned()
    }

    /// Waits until the page shown is at a path.
    pub async fn arrives_at(&self, path: &str) {
        self.until(&format!("the page {path}"), async || {
            (self.path().await == path).then_some(())
        })
        .await;
    }

    /// The HTTP status that the page shown was answered with.
    pub async fn status(&self) -> u64 {
        let script = "return performance.getEntriesByType('navigation')[0].responseStatus";
        self.run(script, vec![]).await.as_u64().expect("a status")
    }

    /// Presses a button of a region, given by a selector.
    pub async fn press_in(&self, region: &str, name: &str) {
        self.act(region, "button", name, async |button| {
            // As a person scrolls until nothing that sticks to an edge of the window lies over it.
            let centre = "arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })";
            self.client
                .execute(centre, vec![serde_json::to_value(&button)?])
                .await?;
            button.click().await
        })
        .await;
    }

    /// Follows a link of a region, given by a selector.
    pub async fn follow_in(&self, region: &str, name: &str) {
        self.act(region, "link", name, async |link| link.click().await).await;
    }

    /// Types into a field, in place of what is there.
    pub async fn fill(&self, label: &str, text: &str) {
        self.fill_in("body", label, text).await;
    }

    /// As [`Browser::fill`], in a region given by a selector.
    pub async fn fill_in(&self, region: &str, label: &str, text: &str) {
        self.act(region, "field", label, async |field| {
            field.clear().await?;
            field.send_keys(text).await
        })
        .await;
    }

    /// Chooses from a list by what is shown there.
    pub async fn choose(&self, label: &str, option: &str) {
        self.choose_in("body", label, option).await;
    }

    /// As [`Browser::choose`], in a region given by a selector.
    pub async fn choose_in(&self, region: &str, label: &str, option: &str) {
        self.act(region, "field", label, async |field| {
            field.select_by_label(option).await
        })
        .await;
    }

    /// Whether a person sees such a button now.
    pub async fn has_button(&self, name: &str) -> bool {
        self.find("body", "button", name).await.is_some()
    }

    /// Waits until a text is visible in a region, given by a selector.
    pub async fn sees_in(&self, region: &str, text: &str) {
        self.sees_within(PATIENCE, region, text).await;
    }

    /// As [`Browser::sees_in`], for what takes another time.
    pub async fn sees_within(&self, patience: Duration, region: &str, text: &str) {
        let found = wait::until_some(patience, async || {
            self.text_of(region)
                .await
                .is_some_and(|shown| shown.contains(text))
                .then_some(())
        })
        .await;
        if found.is_none() {
            panic!(
                "waited {patience:?} in vain for {text:?} in {region}; {}",
                self.shown().await
            );
        }
    }

    /// The visible text of a region; `None` where there is no such region.
    pub async fn text_of(&self, region: &str) -> Option<String> {
        let script = "return document.querySelector(arguments[0])?.innerText ?? null";
        self.run(script, vec![json!(region)]).await.as_str().map(str::to_owned)
    }

    /// Waits until there is a region, and returns its visible text.
    pub async fn read(&self, region: &str) -> String {
        self.until(region, async || self.text_of(region).await).await
    }

    /// How many elements a selector finds.
    pub async fn count(&self, selector: &str) -> u64 {
        let script = "return document.querySelectorAll(arguments[0]).length";
        self.run(script, vec![json!(selector)]).await.as_u64().expect("a count")
    }

    /// The value of a field that is found by a selector, such as one that is only there to be copied.
    pub async fn value_of(&self, selector: &str) -> String {
        let script =
            "const found = document.querySelector(arguments[0]); return found?.value ?? found?.innerText ?? ''";
        let value = self.run(script, vec![json!(selector)]).await;
        value.as_str().unwrap_or_default().trim().to_owned()
    }

    /// Opens another window of the same person, and goes on there; returns the one before, for [`Browser::back_to`].
    pub async fn other_window(&self, path: &str) -> WindowHandle {
        let before = self.client.window().await.expect("a window");
        let other = self.client.new_window(true).await.expect("another window").handle;
        self.client
            .switch_to_window(other)
            .await
            .expect("a window that is open");
        self.go(path).await;
        before
    }

    /// Goes on in a window that is still open.
    pub async fn back_to(&self, window: WindowHandle) {
        self.client
            .switch_to_window(window)
            .await
            .expect("a window that is open");
    }

    /// Presses a key where the focus is, by WebDriver's own keyboard.
    pub async fn key(&self, key: Key) {
        let element = self.client.active_element().await.expect("a focused element");
        element
            .send_keys(&char::from(key).to_string())
            .await
            .expect("a key can be pressed");
    }

    /// Runs a script in the page and returns what it returns.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.try_run(script, arguments)
            .await
            .unwrap_or_else(|error| panic!("a script in the page: {error}"))
    }

    /// As [`Browser::run`], for a script that calls its last argument when it is done.
    pub async fn run_async(&self, script: &str, arguments: Vec<Value>) -> Value {
        let done = self.client.execute_async(script, arguments).await;
        done.unwrap_or_else(|error| panic!("a script in the page: {error}"))
    }

    async fn try_run(&self, script: &str, arguments: Vec<Value>) -> Result<Value, CmdError> {
        match self.client.execute(script, arguments.clone()).await {
            // The page went away while it ran; the next one can be asked as well.
            Err(CmdError::Standard(error))
                if error.error() == "javascript error" || error.error() == "unknown error" =>
            {
                self.client.execute(script, arguments).await
            }
            answer => answer,
        }
    }

    /// Shows pages at a width and in light or dark colours from now on.
    pub async fn view(&self, view: View) {
        let height = if view.width < 600 { 844 } else { 900 };
        let size = json!({
            "width": view.width, "height": height, "deviceScaleFactor": 1, "mobile": view.width < 600
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if view.dark { "dark" } else { "light" };
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" }
        ] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// A command of Chromium's own protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.extension("goog/cdp/execute", body).await
    }

    /// A command that chromedriver knows beyond the standard.
    async fn extension(&self, path: &'static str, body: Value) -> Value {
        let command = Extension { path, body };
        self.client
            .issue_cmd(command)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// What the page looks like now, as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        self.client.screenshot().await.expect("a screenshot")
    }

    /// Waits for a condition of this page.
    ///
    /// # Panics
    /// When it does not come; with what is shown instead.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        match wait::until_some(PATIENCE, look).await {
            Some(found) => found,
            None => panic!("waited {PATIENCE:?} in vain for {what}; {}", self.shown().await),
        }
    }

    /// The page in words, for a failing test.
    pub async fn shown(&self) -> String {
        let text = self.text_of("body").await.unwrap_or_default();
        format!("the page is {} and shows:\n{text}", self.path().await)
    }

    async fn find(&self, region: &str, kind: &str, name: &str) -> Option<Element> {
        let arguments = vec![json!(region), json!(kind), json!(name)];
        let found = self.try_run(include_str!("find.js"), arguments).await.ok()?;
        let id = found[ELEMENT].as_str()?.to_owned();
        Some(Element::from_element_id(self.client.clone(), ElementRef::from(id)))
    }

    /// Finds a control and does something with it, again where the page changed in between.
    async fn act(&self, region: &str, kind: &str, name: &str, act: impl AsyncFn(Element) -> Result<(), CmdError>) {
        let mut last = None;
        let done = wait::until_some(PATIENCE, async || {
            let element = self.find(region, kind, name).await?;
            match act(element).await {
                Ok(()) => Some(()),
                Err(error) => {
                    last = Some(error);
                    None
                }
            }
        })
        .await;
        if done.is_none() {
            let reason = last.map_or_else(|| "there is none".to_owned(), |error| error.to_string());
            panic!("the {kind} {name:?} in {region}: {reason}; {}", self.shown().await);
        }
    }
}

impl Drop for Browser {
    /// A failed test leaves a picture of what it saw last.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(png) = self.driver.screenshot(&self.session)
        {
            let name = std::thread::current().name().unwrap_or("browser").replace("::", "-");
            let _ = fs::create_dir_all(artefacts());
            let _ = fs::write(artefacts().join(format!("{name}-{}.png", &self.session[..6])), png);
        }
        self.driver.end(&self.session);
    }
}

/// See [`Browser::extension`].
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

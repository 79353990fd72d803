//! A real OpenID Connect provider as a child process, and a browser that goes from the service to it and back.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use reqwest::{Client, Response, header, redirect};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use url::Url;

/// Where `scripts/setup.sh oidc` installs it.
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/oidc-provider");

const PATIENCE: Duration = Duration::from_secs(60);

/// Redirects and forms between a click and the page that it leads to.
const MOST_STEPS: usize = 30;

pub struct IdentityProvider {
    pub issuer: String,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl IdentityProvider {
    /// Starts it; it serves from [`Self::serve`] on.
    pub async fn start() -> Self {
        assert!(
            Path::new(DIRECTORY).join("node_modules").exists(),
            "the provider is not installed: run scripts/setup.sh oidc"
        );
        let mut process = Command::new("node")
            .args([
                "--input-type=module",
                "--eval",
                include_str!("../support/oidc/provider.mjs"),
            ])
            .current_dir(DIRECTORY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        let issuer = line_after(&mut stdout, "issuer ").await;
        Self {
            issuer,
            stdin,
            stdout,
            _process: process,
        }
    }

    /// Begins to serve, for the service at `url`.
    pub async fn serve(&mut self, url: &str) {
        let line = format!("{url}/sign-in/oidc/callback\n");
        self.stdin.write_all(line.as_bytes()).await.unwrap();
        line_after(&mut self.stdout, "ready").await;
    }
}

async fn line_after(lines: &mut Lines<BufReader<ChildStdout>>, prefix: &str) -> String {
    let found = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the provider ended");
            if let Some(rest) = line.strip_prefix(prefix) {
                return rest.to_owned();
            }
        }
    };
    timeout(PATIENCE, found).await.expect("the provider did not answer")
}

/// Goes where it is sent, keeps cookies, and fills in the provider's forms.
pub struct Traveller {
    client: Client,
    /// By origin: ports do not keep cookies apart in browsers, but names do here.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// Where the way ended.
pub struct Arrival {
    pub status: u16,
    pub url: Url,
    pub text: String,
}

impl Traveller {
    pub fn new() -> Self {
        Self {
            client: Client::builder().redirect(redirect::Policy::none()).build().unwrap(),
            cookies: BTreeMap::new(),
        }
    }

    /// Goes to an address of the service and on, as `login` at the provider, until a page comes that is the service's.
    pub async fn go(&mut self, url: &str, login: &str) -> Arrival {
        let home: Url = url.parse().unwrap();
        let (mut at, mut form) = (home.clone(), None);
        for _ in 0..MOST_STEPS {
            let answer = self.step(&at, form.take()).await;
            let status = answer.status();
            if status.is_redirection() {
                let next = answer.headers()[header::LOCATION].to_str().unwrap();
                at = at.join(next).unwrap();
                continue;
            }
            let text = answer.text().await.unwrap();
            if at.origin() == home.origin() {
                return Arrival {
                    status: status.as_u16(),
                    url: at,
                    text,
                };
            }
            assert!(status.is_success(), "{at}: {status} {text}");
            form = Some(match text.contains("name=\"login\"") {
                true => vec![("prompt", "login"), ("login", login), ("password", "any")],
                false => vec![("prompt", "consent")],
            });
            let (_, action) = text.split_once("action=\"").expect("a form of the provider");
            at = at.join(action.split('"').next().unwrap()).unwrap();
        }
        panic!("no page after {MOST_STEPS} steps, at {at}");
    }

    /// Sends a form of the service and follows where it leads.
    pub async fn submit(&mut self, url: &str, fields: &[(&str, &str)]) -> Arrival {
        let url: Url = url.parse().unwrap();
        let answer = self.step(&url, Some(fields.to_vec())).await;
        let location = answer
            .headers()
            .get(header::LOCATION)
            .map(|to| to.to_str().unwrap().to_owned());
        match location {
            Some(to) => {
                let to = url.join(&to).unwrap();
                self.go(to.as_str(), "").await
            }
            None => Arrival {
                status: answer.status().as_u16(),
                url,
                text: answer.text().await.unwrap(),
            },
        }
    }

    async fn step(&mut self, url: &Url, form: Option<Vec<(&str, &str)>>) -> Response {
        let origin = url.origin().ascii_serialization();
        let jar = self.cookies.entry(origin).or_default();
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = match form {
            Some(form) => self.client.post(url.clone()).form(&form),
            None => self.client.get(url.clone()),
        };
        let answer = request
            .header(header::COOKIE, cookies.join("; "))
            .header(header::ACCEPT, "text/html")
            .send()
            .await
            .unwrap();
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match value {
                "" => jar.remove(name),
                value => jar.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    /// Puts a cookie of the service into the jar.
    pub fn keep(&mut self, url: &str, pair: &str) {
        let origin = url.parse::<Url>().unwrap().origin().ascii_serialization();
        let (name, value) = pair.split_once('=').unwrap();
        self.cookies
            .entry(origin)
            .or_default()
            .insert(name.to_owned(), value.to_owned());
    }
}

/// The value of a hidden field of a page.
pub fn hidden(text: &str, name: &str) -> String {
    let (_, after) = text
        .split_once(&format!("name=\"{name}\" value=\""))
        .unwrap_or_else(|| panic!("no field {name} in {text}"));
    after.split('"').next().unwrap().to_owned()
}

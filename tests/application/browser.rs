//! What a browser does with pages, without one: cookies, forms that carry their token, redirects that are seen.

use std::sync::Mutex;

use chrono::TimeDelta;
use hullworks::{
    domain::ids::SessionId,
    store::{Alive, NewSession},
    tokens::{new_session_value, token_hash},
};
use reqwest::{Client, Method, RequestBuilder, header, header::HeaderMap, redirect};
use secrecy::ExposeSecret;

use crate::app::App;

/// As browsers ask for pages.
pub const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// A browser, with somebody signed in or nobody.
pub struct Browser {
    client: Client,
    url: String,
    cookie: Mutex<Option<String>>,
}

/// An answer, as far as pages go.
pub struct Page {
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<String>,
    pub text: String,
    pub headers: HeaderMap,
}

impl Page {
    /// Each `name=value` that the answer sets, without its attributes.
    pub fn cookies(&self) -> Vec<String> {
        let set = self.headers.get_all(header::SET_COOKIE).iter();
        set.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned())
            .collect()
    }
}

impl App {
    /// A browser in which `user` is signed in.
    pub async fn browser(&self, user: &str) -> Browser {
        let value = new_session_value();
        let hash = token_hash(value.expose_secret());
        let user = self.store.user_named(user).await.unwrap().unwrap();
        let now = self.clock.now();
        let session = NewSession {
            id: SessionId::new(),
            user: &user.id,
            hash: hash.as_bytes(),
            created_at: now,
            expires_at: now + TimeDelta::days(1),
            address: "",
            user_agent: "",
        };
        let alive = Alive {
            now,
            idle_since: now - TimeDelta::days(1),
        };
        self.store.add_session(&session, None, alive).await.unwrap();
        Browser {
            cookie: Mutex::new(Some(format!("hullworks_session={}", value.expose_secret()))),
            ..self.stranger()
        }
    }

    /// A browser in which nobody is signed in.
    pub fn stranger(&self) -> Browser {
        Browser {
            client: Client::builder().redirect(redirect::Policy::none()).build().unwrap(),
            url: self.url.clone(),
            cookie: Mutex::default(),
        }
    }
}

impl Browser {
    pub async fn get(&self, path: &str) -> Page {
        self.send(self.client.get(format!("{}{path}", self.url))).await
    }

    /// What it sends to say who it is.
    pub fn cookie(&self) -> Option<String> {
        self.cookie.lock().unwrap().clone()
    }

    /// Another browser that sends what this one sends.
    pub fn copy(&self) -> Self {
        Self {
            client: self.client.clone(),
            url: self.url.clone(),
            cookie: Mutex::new(self.cookie()),
        }
    }

    /// A request to be completed; the cookie is part of it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        match self.cookie() {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        }
    }

    fn take_cookie(&self, headers: &HeaderMap) {
        for set in headers.get_all(header::SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            if let Some(value) = pair.strip_prefix("hullworks_session=") {
                *self.cookie.lock().unwrap() = (!value.is_empty()).then(|| pair.to_owned());
            }
        }
    }

    /// Sends a form that carries the session's token, where there is one.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut form = fields.to_vec();
        let token = self.csrf().await;
        if let Some(token) = &token {
            form.push(("csrf", token));
        }
        self.post_as_it_is(path, &form).await
    }

    /// Sends what an answer set from now on, beside the session's cookie.
    pub fn keep_cookies(&self, page: &Page) {
        let session = self.cookie().unwrap_or_default();
        let session = session.split("; ").next().unwrap().to_owned();
        *self.cookie.lock().unwrap() = Some([vec![session], page.cookies()].concat().join("; "));
    }

    /// Sends a form without adding anything.
    pub async fn post_as_it_is(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send(self.client.post(format!("{}{path}", self.url)).form(fields))
            .await
    }

    /// Sends a form as the pages' own script does, and answers what it is told.
    pub async fn post_by_script(&self, path: &str, fields: &[(&str, &str)]) -> serde_json::Value {
        let token = self.csrf().await.unwrap();
        let mut form = fields.to_vec();
        form.push(("csrf", &token));
        let request = self.client.post(format!("{}{path}", self.url)).form(&form);
        let page = self.send_for(request, "application/json").await;
        assert_eq!(page.status, 200, "{}", page.text);
        serde_json::from_str(&page.text).unwrap()
    }

    /// The token of this session's forms.
    pub async fn csrf(&self) -> Option<String> {
        let page = self.get("/").await;
        let (_, after) = page.text.split_once(r#"name="csrf" value=""#)?;
        Some(after.split('"').next().unwrap().to_owned())
    }

    async fn send(&self, request: RequestBuilder) -> Page {
        self.send_for(request, BROWSER).await
    }

    async fn send_for(&self, request: RequestBuilder, accept: &str) -> Page {
        let mut request = request.header(header::ACCEPT, accept);
        if let Some(cookie) = self.cookie() {
            request = request.header(header::COOKIE, cookie);
        }
        let answer = request.send().await.unwrap();
        let headers = answer.headers().clone();
        self.take_cookie(&headers);
        Page {
            headers,
            status: answer.status().as_u16(),
            location: answer
                .headers()
                .get(header::LOCATION)
                .map(|path| path.to_str().unwrap().to_owned()),
            text: answer.text().await.unwrap(),
        }
    }
}

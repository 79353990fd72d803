//! What a browser does with pages, without one: cookies, forms that carry their token, redirects that are seen.

use chrono::TimeDelta;
use hullworks::{
    domain::ids::SessionId,
    store::{Alive, NewSession},
    tokens::{new_session_value, token_hash},
};
use reqwest::{Client, RequestBuilder, header, redirect};
use secrecy::ExposeSecret;

use crate::app::App;

/// As browsers ask for pages.
pub const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// A browser, with somebody signed in or nobody.
pub struct Browser {
    client: Client,
    url: String,
    cookie: Option<String>,
}

/// An answer, as far as pages go.
pub struct Page {
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<String>,
    pub text: String,
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
            cookie: Some(format!("hullworks_session={}", value.expose_secret())),
            ..self.stranger()
        }
    }

    /// A browser in which nobody is signed in.
    pub fn stranger(&self) -> Browser {
        Browser {
            client: Client::builder().redirect(redirect::Policy::none()).build().unwrap(),
            url: self.url.clone(),
            cookie: None,
        }
    }
}

impl Browser {
    /// The cookie of the session, as a pair.
    pub fn cookie(&self) -> Option<String> {
        self.cookie.clone()
    }

    pub async fn get(&self, path: &str) -> Page {
        self.send(self.client.get(format!("{}{path}", self.url))).await
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

    /// Sends a form without adding anything.
    pub async fn post_as_it_is(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send(self.client.post(format!("{}{path}", self.url)).form(fields))
            .await
    }

    /// The token of this session's forms.
    pub async fn csrf(&self) -> Option<String> {
        let page = self.get("/").await;
        let (_, after) = page.text.split_once(r#"name="csrf" value=""#)?;
        Some(after.split('"').next().unwrap().to_owned())
    }

    async fn send(&self, request: RequestBuilder) -> Page {
        let mut request = request.header(header::ACCEPT, BROWSER);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let answer = request.send().await.unwrap();
        Page {
            status: answer.status().as_u16(),
            location: answer
                .headers()
                .get(header::LOCATION)
                .map(|path| path.to_str().unwrap().to_owned()),
            text: answer.text().await.unwrap(),
        }
    }
}

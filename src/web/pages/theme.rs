//! Light, dark, or as the system has it: kept in a cookie, so that a page comes in its colours from the first byte on.

use axum::{Router, extract::State, response::IntoResponse, routing::post};
use axum_extra::extract::{
    CookieJar, Form,
    cookie::{Cookie, SameSite},
};
use serde::Deserialize;

use super::page::{local_path, see_other};
use crate::web::Web;

const COOKIE: &str = "hullworks_theme";

/// A choice other than the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

impl Theme {
    /// Value, label and meaning of each choice.
    pub const CHOICES: [(&str, &str, Option<Self>); 3] = [
        ("system", "System", None),
        ("light", "Light", Some(Self::Light)),
        ("dark", "Dark", Some(Self::Dark)),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

fn parse(value: &str) -> Option<Theme> {
    Theme::CHOICES
        .into_iter()
        .find(|(known, ..)| *known == value)
        .and_then(|(.., theme)| theme)
}

/// What was chosen before.
pub fn chosen(cookies: &CookieJar) -> Option<Theme> {
    parse(cookies.get(COOKIE)?.value())
}

pub fn routes() -> Router<Web> {
    Router::new().route("/theme", post(choose))
}

#[derive(Deserialize)]
struct Choice {
    theme: String,
    #[serde(default)]
    next: String,
}

/// Needs no proof of who asks: it changes what this browser shows, and nothing else.
async fn choose(State(web): State<Web>, cookies: CookieJar, Form(choice): Form<Choice>) -> impl IntoResponse {
    let mut cookie = Cookie::build((COOKIE, ""))
        .path("/")
        .same_site(SameSite::Lax)
        .http_only(true)
        .secure(web.settings.is_secure())
        .build();
    let cookies = match parse(&choice.theme) {
        Some(theme) => {
            cookie.set_value(theme.as_str());
            cookie.make_permanent();
            cookies.add(cookie)
        }
        None => cookies.remove(cookie),
    };
    (cookies, see_other(local_path(&choice.next)))
}

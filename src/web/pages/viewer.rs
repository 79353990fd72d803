//! Who looks at a page. Templates hold it as `viewer`; the layout is made from it.

use axum::extract::FromRequestParts;
use axum_extra::extract::CookieJar;
use chrono::{DateTime, Utc};
use http::request::Parts;

use super::{
    notice::{self, Notice},
    theme::{self, Theme},
};
use crate::{
    store::User,
    web::{
        Web,
        auth::Caller,
        problem::Problem,
        session::{Session, session_of},
    },
};

/// Whoever asked for a page, with what every page shows of them.
#[derive(Debug, Clone)]
pub struct Viewer {
    pub caller: Caller,
    /// Through which they are signed in.
    pub session: Option<Session>,
    /// Path and query of this page.
    pub path: String,
    pub now: DateTime<Utc>,
    /// What the last action led to.
    pub notice: Option<Notice>,
    pub theme: Option<Theme>,
    /// Whether the layout offers to sign in: not on the pages that do so.
    pub can_sign_in: bool,
}

/// The first of the pages of base images, which are many behind one entry of the main navigation.
const BASES: &str = "/bases";

fn is_of_bases(path: &str) -> bool {
    path == "/waves" || path.starts_with("/bases/") || path.starts_with("/waves/")
}

/// One entry of the main navigation.
pub struct MainLink {
    pub href: &'static str,
    pub label: &'static str,
    pub is_current: bool,
}

/// One choice of the theme.
pub struct ThemeChoice {
    pub value: &'static str,
    pub label: &'static str,
    pub is_current: bool,
}

impl FromRequestParts<Web> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let cookies = CookieJar::from_headers(&parts.headers);
        let path = parts
            .uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string);
        let mut viewer = Self {
            caller: Caller::Anonymous,
            session: None,
            path,
            now: web.clock.now(),
            notice: notice::waiting(&cookies),
            theme: theme::chosen(&cookies),
            can_sign_in: true,
        };
        if let Some(session) = session_of(parts, web).await? {
            viewer.caller = Caller::User(session.user.clone());
            viewer.session = Some(session);
        }
        Ok(viewer)
    }
}

impl Viewer {
    /// Somebody who is not known, for pages that are made where nobody could be asked for.
    pub fn nobody(now: DateTime<Utc>) -> Self {
        Self {
            caller: Caller::Anonymous,
            session: None,
            path: "/".to_owned(),
            now,
            notice: None,
            theme: None,
            can_sign_in: false,
        }
    }

    /// The user, or 401, which leads browsers to the sign-in page and back.
    pub fn user(&self) -> Result<&User, Problem> {
        match &self.caller {
            Caller::User(user) => Ok(user),
            Caller::Anonymous => Err(Problem::unauthorized("this needs you to be signed in")),
        }
    }

    /// What forms must carry; empty where nobody is signed in.
    pub fn csrf(&self) -> &str {
        self.session.as_ref().map_or("", |session| &session.csrf)
    }

    pub fn name(&self) -> Option<&str> {
        match &self.caller {
            Caller::User(user) => Some(&user.name),
            Caller::Anonymous => None,
        }
    }

    /// For the round mark beside the menu.
    pub fn initial(&self) -> &str {
        self.name().and_then(|name| name.get(..1)).unwrap_or_default()
    }

    pub fn is_admin(&self) -> bool {
        self.caller.is_admin()
    }

    /// Names of the organisations to switch to.
    pub fn organisations(&self) -> Vec<&str> {
        let roles = match &self.caller {
            Caller::User(user) => Some(&user.access.roles),
            Caller::Anonymous => None,
        };
        roles.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    pub fn main_links(&self) -> Vec<MainLink> {
        let path = self.path.split('?').next().unwrap_or_default();
        let mut links = vec![
            ("/explore", "Explore"),
            ("/builds", "Builds"),
            ("/queue", "Queue"),
            (BASES, "Base images"),
        ];
        if self.name().is_some() {
            links.insert(0, ("/", "Repositories"));
        }
        links
            .into_iter()
            .map(|(href, label)| MainLink {
                href,
                label,
                is_current: path == href || (href == BASES && is_of_bases(path)),
            })
            .collect()
    }

    pub fn themes(&self) -> Vec<ThemeChoice> {
        Theme::CHOICES
            .into_iter()
            .map(|(value, label, theme)| ThemeChoice {
                value,
                label,
                is_current: theme == self.theme,
            })
            .collect()
    }
}

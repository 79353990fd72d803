//! The service with everything behind it, and people in front of it, each with a browser.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use crate::{
    browser::Browser,
    parts::{server::Options, wait, world::World},
};

/// The password of everybody but `admin`.
pub const PASSWORD: &str = "a long password for a test";

/// The password that `Server::start` gives to `admin`.
const ADMIN_PASSWORD: &str = "a long test password";

/// All parts of one test.
pub struct Stage {
    world: World,
}

impl Deref for Stage {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Stage {
    pub async fn set() -> Self {
        Self {
            world: World::start().await,
        }
    }

    /// With some lines of hullworks.toml.
    pub async fn with_settings(lines: &str) -> Self {
        Self {
            world: World::with_settings(lines).await,
        }
    }

    /// As on a machine's first day: there is no user, and the service has said how to make the first.
    pub async fn not_set_up() -> Self {
        let options = Options {
            without_admin: true,
            ..Options::default()
        };
        Self {
            world: World::with(options).await,
        }
    }

    /// The code that the service printed for whoever sets it up.
    pub async fn set_up_code(&self) -> String {
        wait::until("the set-up code", Duration::from_secs(10), async || {
            let log = self.server.process_log();
            let (_, code) = log.split_once("enter this code: ")?;
            Some(code.split_once('"')?.0.to_owned())
        })
        .await
    }

    /// Makes a user who may do nothing in particular.
    pub async fn user(&self, name: &str) {
        let input = format!("{PASSWORD}\n");
        self.server
            .command_line(&["user", "add", name, "--password-stdin"], input.as_bytes())
            .await;
    }

    /// A browser in which nobody is signed in.
    pub async fn stranger(&self) -> Browser {
        Browser::open(&self.server.url()).await
    }

    /// A browser in which somebody signed in as people do.
    pub async fn signed_in(&self, name: &str) -> Browser {
        let browser = self.stranger().await;
        sign_in(&browser, name).await;
        browser
    }
}

/// Signs in as people do, from whatever page.
pub async fn sign_in(browser: &Browser, name: &str) {
    let password = if name == "admin" { ADMIN_PASSWORD } else { PASSWORD };
    browser.go("/sign-in").await;
    browser.fill("Name", name).await;
    browser.fill("Password", password).await;
    browser.press_in("main", "Sign in").await;
    browser.arrives_at("/").await;
}

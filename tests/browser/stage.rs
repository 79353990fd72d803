//! The service with everything behind it, and people in front of it, each with a browser.

use std::ops::Deref;

use crate::{browser::Browser, parts::world::World};

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

impl Stage {
    pub async fn set() -> Self {
        Self {
            world: World::start().await,
        }
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

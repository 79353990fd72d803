//! What people set for themselves, one file per page. All of it is about the person who is signed in, and nobody else.

mod accounts;
mod applications;
mod notifications;
mod organisations;
mod password;
mod profile;
mod sessions;
mod tokens;

use axum::Router;

pub use self::applications::confirm_link;
use super::side_menu::{self, SideLink};
use crate::web::Web;

/// The pages, in the order of the menu.
const PAGES: [(&str, &str); 8] = [
    ("/settings/profile", "Profile"),
    ("/settings/password", "Password"),
    ("/settings/sessions", "Sessions"),
    ("/settings/tokens", "API tokens"),
    ("/settings/notifications", "Notifications"),
    ("/settings/organisations", "Organisations"),
    ("/settings/accounts", "Linked accounts"),
    ("/settings/applications", "Authorised applications"),
];

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .merge(profile::routes())
        .merge(password::routes())
        .merge(sessions::routes())
        .merge(tokens::routes())
        .merge(notifications::routes())
        .merge(organisations::routes())
        .merge(accounts::routes())
        .merge(applications::routes())
}

/// The menu as it stands beside the page at `path`, for the template `settings.html`.
pub fn links(path: &str) -> Vec<SideLink> {
    side_menu::links(&PAGES, path)
}

/// The first fault of a line of text that people type: too long, or more than a line.
fn check_line(text: &str, most: usize) -> Result<(), String> {
    match text.chars().count() <= most && !text.contains(char::is_control) {
        true => Ok(()),
        false => Err(format!("it is one line of at most {most} characters")),
    }
}

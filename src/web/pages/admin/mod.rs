//! What administrators of the server see and steer, one file per page. Nobody else is let in.

mod audit;
mod organisations;
mod registries;
mod settings;
mod users;
mod workers;

use axum::Router;

use super::side_menu::{self, SideLink};
use crate::web::Web;

/// The pages, in the order of the menu.
const PAGES: [(&str, &str); 6] = [
    ("/admin/users", "Users"),
    ("/admin/organisations", "Organisations"),
    ("/admin/registries", "Registries"),
    ("/admin/workers", "Workers and disk"),
    ("/admin/audit", "Audit log"),
    ("/admin/settings", "Settings"),
];

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .merge(users::routes())
        .merge(organisations::routes())
        .merge(registries::routes())
        .merge(workers::routes())
        .merge(audit::routes())
        .merge(settings::routes())
}

/// The menu as it stands beside the page at `path`, for the template `admin.html`.
pub fn links(path: &str) -> Vec<SideLink> {
    side_menu::links(&PAGES, path)
}

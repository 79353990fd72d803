//! What administrators of the server see and steer, one file per page. Nobody else is let in.

mod audit;
mod organisations;
mod registries;
mod settings;
mod users;
mod workers;

use axum::Router;

use super::viewer::Viewer;
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

/// One entry of the menu beside every page of the administration.
pub struct AdminLink {
    pub href: &'static str,
    pub label: &'static str,
    pub is_current: bool,
}

/// The menu, for the template `admin.html`.
pub fn links(viewer: &Viewer) -> Vec<AdminLink> {
    let path = viewer.path.split('?').next().unwrap_or_default();
    let link = |(href, label): (&'static str, &'static str)| AdminLink {
        href,
        label,
        is_current: path.starts_with(href),
    };
    PAGES.into_iter().map(link).collect()
}

//! What people see in a browser.

mod start_page;

use axum::Router;

use super::Web;

/// All pages.
pub fn routes() -> Router<Web> {
    start_page::routes()
}

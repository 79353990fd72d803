//! What people see in a browser: one file per page, each with its own `routes()`. Pages do what the API does, by the same
//! calls, and show it; every one works without script, except live updates.

pub(super) mod admin;
mod answer;
mod attempt_cookie;
mod audit_row;
mod badge;
mod bases;
mod build;
mod build_actions;
mod build_bases;
mod build_chart;
mod build_failure;
mod build_list;
mod build_log;
mod build_steps;
mod builds;
mod create;
mod created;
mod dashboard;
mod deliveries;
mod explore;
mod form;
mod markdown;
mod notice;
mod organisation;
mod page;
mod payload;
mod person;
mod provider_refusal;
mod provider_sign_in;
mod queue;
mod repository;
mod repository_bases;
mod repository_form;
mod repository_head;
mod repository_list;
mod repository_settings;
mod repository_tags;
mod set_up;
pub(super) mod settings;
mod shown_once;
mod side_menu;
mod sign_in;
mod theme;
mod trigger;
mod viewer;
mod watching;
mod words;

use axum::{Router, extract::Request, middleware, middleware::Next, response::Response};
use tower_http::compression::CompressionLayer;

pub use self::page::problems_become_pages;
use super::{Web, assets};

/// All pages.
pub fn routes() -> Router<Web> {
    Router::new()
        .merge(admin::routes())
        .merge(badge::routes())
        .merge(bases::routes())
        .merge(build::routes())
        .merge(build_actions::routes())
        .merge(build_log::routes())
        .merge(builds::routes())
        .merge(create::routes())
        .merge(created::routes())
        .merge(dashboard::routes())
        .merge(deliveries::routes())
        .merge(explore::routes())
        .merge(organisation::routes())
        .merge(person::routes())
        .merge(provider_sign_in::routes())
        .merge(queue::routes())
        .merge(repository::routes())
        .merge(repository_bases::routes())
        .merge(repository_settings::routes())
        .merge(repository_tags::routes())
        .merge(set_up::routes())
        .merge(settings::routes())
        .merge(sign_in::routes())
        .merge(theme::routes())
        .merge(trigger::routes())
        .merge(watching::routes())
        .layer(middleware::from_fn(forget_shown_notice))
        .merge(assets::routes())
        .layer(CompressionLayer::new())
}

async fn forget_shown_notice(request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    notice::forget_shown(&headers, next.run(request).await)
}

//! The description of the API, generated from the code that serves it.

use axum::{Json, Router, routing::get};
use http::StatusCode;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        RefOr, Response,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use super::{
    Web, builds, deliveries, health, logs, parameters::Query, problem, registries, repositories, triggers, webhooks,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hullworks",
        description = "Push to Git, get an image. Times are RFC 3339 in UTC, ids are opaque, lists are newest first, and errors are \
                       `application/problem+json`. Nothing unknown is ignored: an unknown field or parameter is a 422 that \
                       names it.",
    ),
    security((), ("token" = [])),
    modifiers(&Token),
)]
struct Description;

/// How programs sign in.
struct Token;

impl Modify for Token {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("hwt_...")
            .build();
        description
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// Every route that has a description.
pub fn described_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(health::routes())
        .merge(repositories::routes())
        .merge(triggers::routes())
        .merge(builds::routes())
        .merge(logs::routes())
        .merge(deliveries::routes())
        .merge(registries::routes())
        .merge(webhooks::routes())
}

/// The route that serves the description.
pub fn routes(mut description: utoipa::openapi::OpenApi) -> Router<Web> {
    for item in description.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            for (status, response) in &mut operation.responses.responses {
                if let (Ok(status), RefOr::T(response)) = (status.parse(), response) {
                    complete(status, response);
                }
            }
        }
    }
    Router::new().route(
        "/api/openapi.json",
        get(move |Query(()): Query<()>| std::future::ready(Json(description.clone()))),
    )
}

/// Adds what holds for every response with a status: it has a description, and an error is a problem.
fn complete(status: StatusCode, response: &mut Response) {
    if response.description.is_empty() {
        response.description = status.canonical_reason().unwrap_or_default().to_owned();
    }
    if (status.is_client_error() || status.is_server_error())
        && let Some(content) = response.content.shift_remove("application/json")
    {
        response.content.insert(problem::MEDIA_TYPE.to_owned(), content);
    }
}

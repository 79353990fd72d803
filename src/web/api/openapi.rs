//! The description of the API, generated from the code that serves it.

use axum::{Json, Router, routing::get};
use http::StatusCode;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        Content, Ref, RefOr, Response,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use super::{
    audit, base_images, builds, deliveries, health, logs, members, organisations, polls, registries, repositories,
    stars, triggers, waves,
};
use crate::web::{
    Web,
    parameters::Query,
    problem::{self, Problem},
    registry_webhooks, webhooks,
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
        .merge(polls::routes())
        .merge(stars::routes())
        .merge(triggers::routes())
        .merge(builds::routes())
        .merge(logs::routes())
        .merge(deliveries::routes())
        .merge(registries::routes())
        .merge(organisations::routes())
        .merge(members::routes())
        .merge(audit::routes())
        .merge(base_images::routes())
        .merge(waves::routes())
        .merge(webhooks::routes())
        .merge(registry_webhooks::routes())
}

/// What may be answered to any request to the API: a bad token, a parameter that is not known, no database.
const ALWAYS_POSSIBLE: [StatusCode; 3] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// The route that serves the description.
pub fn routes(mut description: utoipa::openapi::OpenApi) -> Router<Web> {
    for (path, item) in &mut description.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            for status in ALWAYS_POSSIBLE.iter().filter(|_| path.starts_with("/api/")) {
                let response = || RefOr::T(Response::new(""));
                responses.entry(status.as_str().to_owned()).or_insert_with(response);
            }
            for (status, response) in responses {
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
    if status.is_client_error() || status.is_server_error() {
        let problem = Content::new(Some(Ref::from_schema_name(Problem::name())));
        response.content.clear();
        response.content.insert(problem::MEDIA_TYPE.to_owned(), problem.into());
    }
}

//! Waves: the builds that follow when base images move, and what administrators do with them.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    builds::Empty,
    pagination::{List, Page, PageParameters},
};
use crate::{
    domain::{
        build::Status,
        ids::{BuildId, WaveId, WaveItemId},
        rule::SourceType,
        wave::{ItemState, WaveState},
    },
    web::{
        Web,
        audit::Origin,
        auth::Caller,
        base_images::{self, ItemView, MoveView, WaveDetail, WaveView},
        json::StrictJson,
        parameters::{IdPath, Query, Segments},
        problem::Problem,
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, put))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancel))
}

/// The builds that follow from base images that moved together.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Wave)]
struct WaveDocument {
    id: WaveId,
    state: WaveState,
    created_at: DateTime<Utc>,
    /// Until then more moves join it.
    settles_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// How many of its builds may be under way at once; null: as the server is set.
    at_once: Option<i64>,
    /// Who paused, resumed or canceled it last.
    steered_by: Option<String>,
    /// The images that moved.
    moves: Vec<MoveDocument>,
    /// How many items are in which state; one that is not there has none.
    #[schema(value_type = BTreeMap<ItemState, i64>)]
    counts: BTreeMap<&'static str, i64>,
}

impl From<WaveView> for WaveDocument {
    fn from(wave: WaveView) -> Self {
        Self {
            id: wave.id,
            state: wave.state,
            created_at: wave.created_at,
            settles_at: wave.settles_at,
            ended_at: wave.ended_at,
            at_once: wave.at_once,
            steered_by: wave.steered_by,
            moves: wave.moves.into_iter().map(MoveDocument::from).collect(),
            counts: wave
                .counts
                .into_iter()
                .map(|(state, count)| (state.as_str(), count))
                .collect(),
        }
    }
}

/// An image that moved.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WaveMove)]
struct MoveDocument {
    /// Fully named.
    image: String,
    from: Option<String>,
    to: String,
    /// The build that pushed it, where that was one of ours.
    parent: Option<BuildId>,
}

impl From<MoveView> for MoveDocument {
    fn from(moved: MoveView) -> Self {
        Self {
            image: moved.image,
            from: moved.from,
            to: moved.to,
            parent: moved.parent,
        }
    }
}

/// A wave with its items.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WaveDetail)]
struct WaveDetailDocument {
    #[serde(flatten)]
    wave: WaveDocument,
    /// What its own builds pushed.
    pushed: Vec<MoveDocument>,
    /// In the order of building.
    items: Vec<ItemDocument>,
}

impl From<WaveDetail> for WaveDetailDocument {
    fn from(detail: WaveDetail) -> Self {
        Self {
            wave: detail.wave.into(),
            pushed: detail.pushed.into_iter().map(MoveDocument::from).collect(),
            items: detail.items.into_iter().map(ItemDocument::from).collect(),
        }
    }
}

/// What a wave builds again: a ref of a rule.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WaveItem)]
struct ItemDocument {
    id: WaveItemId,
    /// `namespace/name`
    repository: String,
    source_type: SourceType,
    source_name: String,
    /// The images that it holds now, fully named with their tags.
    images: Vec<String>,
    state: ItemState,
    /// Why, where the state needs a word.
    reason: String,
    /// The build that is built again.
    last_build: BuildId,
    /// What it led to.
    build: Option<ItemBuild>,
    /// The items whose images it stands on.
    after: Vec<WaveItemId>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WaveBuild)]
struct ItemBuild {
    id: BuildId,
    number: i64,
    status: Status,
}

impl From<ItemView> for ItemDocument {
    fn from(item: ItemView) -> Self {
        Self {
            id: item.id,
            repository: item.repository.to_string(),
            source_type: item.source_type,
            source_name: item.source_name,
            images: item.makes,
            state: item.state,
            reason: item.reason,
            last_build: item.last_build,
            build: item.build.map(|build| ItemBuild {
                id: build.id,
                number: build.number,
                status: build.status,
            }),
            after: item.after,
        }
    }
}

/// The waves that build something again that the caller may see, newest first.
#[utoipa::path(get, path = "/api/v1/waves", tag = "waves",
    operation_id = "list_waves", params(PageParameters), responses(
    (status = 200, body = List<WaveDocument>), (status = 401, body = Problem), (status = 422, body = Problem),
))]
async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<List<WaveDocument>>, Problem> {
    let before = page.cursor.as_deref().map(WaveId::from);
    let fetched = base_images::waves(&web, &caller, before.as_ref(), page.fetch()).await?;
    Ok(Json(page.cut(fetched, |wave| wave.id.as_str(), WaveDocument::from)))
}

/// A wave, with what it builds again of what the caller may see.
#[utoipa::path(get, path = "/api/v1/waves/{id}", tag = "waves",
    operation_id = "read_wave", params(IdPath), responses(
    (status = 200, body = WaveDetailDocument),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn read(
    State(web): State<Web>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
) -> Result<Json<WaveDetailDocument>, Problem> {
    Ok(Json(base_images::wave(&web, &caller, &id).await?.into()))
}

/// What of a wave can be changed.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct WaveInput {
    /// How many of its builds may be under way at once, 1 to 1000; null: as the server is set.
    #[serde(deserialize_with = "nullable")]
    at_once: Option<i64>,
}

/// A field that may be null, but not be left out.
fn nullable<'de, D: Deserializer<'de>>(field: D) -> Result<Option<i64>, D::Error> {
    Option::deserialize(field)
}

/// Bounds how many builds of a wave may be under way at once; for administrators.
#[utoipa::path(put, path = "/api/v1/waves/{id}", tag = "waves",
    operation_id = "put_wave", params(IdPath), request_body = WaveInput, responses(
    (status = 200, body = WaveDetailDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "It has ended", body = Problem), (status = 415, body = Problem),
    (status = 422, body = Problem),
))]
async fn put(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<WaveInput>,
) -> Result<Json<WaveDetailDocument>, Problem> {
    base_images::steerable(&web, &caller, &id).await?;
    let WaveInput { at_once } = body.checked()?;
    base_images::throttle(&web, (&caller, &origin), &id, at_once).await?;
    Ok(Json(base_images::wave(&web, &caller, &id).await?.into()))
}

/// Starts nothing more of a running wave until it is resumed; for administrators.
#[utoipa::path(post, path = "/api/v1/waves/{id}/pause", tag = "waves",
    operation_id = "pause_wave", params(IdPath),
    request_body(content = Empty, description = "May be left out"), responses(
    (status = 200, body = WaveDetailDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "It is not running", body = Problem), (status = 415, body = Problem),
    (status = 422, body = Problem),
))]
async fn pause(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<Empty>,
) -> Result<Json<WaveDetailDocument>, Problem> {
    base_images::steerable(&web, &caller, &id).await?;
    let Empty {} = body.checked()?;
    base_images::pause(&web, (&caller, &origin), &id, true).await?;
    Ok(Json(base_images::wave(&web, &caller, &id).await?.into()))
}

/// Lets a paused wave go on; for administrators.
#[utoipa::path(post, path = "/api/v1/waves/{id}/resume", tag = "waves",
    operation_id = "resume_wave", params(IdPath),
    request_body(content = Empty, description = "May be left out"), responses(
    (status = 200, body = WaveDetailDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "It is not paused", body = Problem), (status = 415, body = Problem),
    (status = 422, body = Problem),
))]
async fn resume(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<Empty>,
) -> Result<Json<WaveDetailDocument>, Problem> {
    base_images::steerable(&web, &caller, &id).await?;
    let Empty {} = body.checked()?;
    base_images::pause(&web, (&caller, &origin), &id, false).await?;
    Ok(Json(base_images::wave(&web, &caller, &id).await?.into()))
}

/// Cancels a wave with those of its builds that have not ended; for administrators.
#[utoipa::path(post, path = "/api/v1/waves/{id}/cancel", tag = "waves",
    operation_id = "cancel_wave", params(IdPath),
    request_body(content = Empty, description = "May be left out"), responses(
    (status = 202, description = "Its builds are or will be canceled", body = WaveDetailDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "It has ended", body = Problem), (status = 415, body = Problem),
    (status = 422, body = Problem),
))]
async fn cancel(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<Empty>,
) -> Result<(StatusCode, Json<WaveDetailDocument>), Problem> {
    base_images::steerable(&web, &caller, &id).await?;
    let Empty {} = body.checked()?;
    base_images::cancel(&web, (&caller, &origin), &id).await?;
    let detail = base_images::wave(&web, &caller, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(detail.into())))
}

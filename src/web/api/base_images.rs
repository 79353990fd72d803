//! Base images: what a repository stands on, what is watched, who stands on old versions, and what would follow from a move.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    builds::Empty,
    pagination::{List, PageParameters, SortedPage},
};
use crate::{
    domain::{
        ids::{BuildId, RuleId, WaveId},
        rule::SourceType,
        wave::WaveState,
    },
    store::WatchedImage,
    web::{
        Web,
        auth::{Caller, visible_repository},
        base_images::{
            self, BaseUse, DryRun, DryRunItem, GraphEdge, GraphNode, ImageSummary, ImageVersionSeen, ImageView,
            OutdatedBase, Picture, RepositoryBase, StandingOn, VersionWave, Watch,
        },
        json::StrictJson,
        parameters::{FromParameters, ImagePath, Parameters, Query, RepositoryPath, Segments},
        problem::{FieldError, Problem},
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list_of_repository))
        .routes(routes!(list))
        .routes(routes!(graph))
        .routes(routes!(read))
        .routes(routes!(check))
        .routes(routes!(consequences))
        .routes(routes!(outdated))
}

/// How an image was last seen.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = ImageSeen)]
struct SeenDocument {
    /// The digest that its tag stands for; null: nobody has seen it yet.
    current: Option<String>,
    /// When this digest was first seen.
    since: Option<DateTime<Utc>>,
    /// When the registry last answered.
    checked_at: Option<DateTime<Utc>>,
    /// The registry has said since then that there is no such image.
    gone_since: Option<DateTime<Utc>>,
    /// Why the last look failed.
    problem: Option<String>,
}

impl From<&WatchedImage> for SeenDocument {
    fn from(watched: &WatchedImage) -> Self {
        Self {
            current: watched.digest.clone(),
            since: watched.since,
            checked_at: watched.checked_at,
            gone_since: watched.gone_since,
            problem: watched.problem.clone(),
        }
    }
}

/// How an image is watched for a repository.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum WatchWord {
    Watched,
    /// Nothing was built yet that stands on it.
    NotYet,
    /// Its moves are not followed.
    Never,
    /// It is looked at with credentials of the namespace, for its members to see.
    Hidden,
}

/// An image that a repository stands on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RepositoryBase)]
struct RepositoryBaseDocument {
    /// Fully named.
    image: String,
    /// As short as people write it.
    familiar: String,
    /// A build that holds tags used it.
    detected: bool,
    /// Linked by hand.
    linked: bool,
    /// Switched off by hand.
    ignored: bool,
    /// Named by digest wherever it is used: it never moves.
    pinned: bool,
    /// Whether its moves lead to builds.
    followed: bool,
    watch: WatchWord,
    #[serde(flatten)]
    seen: SeenDocument,
    /// Something was built on an older version.
    outdated: bool,
    /// Since when there is a newer version, as far as that was seen.
    behind_since: Option<DateTime<Utc>>,
    /// What was built on it.
    uses: Vec<UseDocument>,
}

/// A ref of a rule that was built on an image.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BaseUse)]
struct UseDocument {
    build: BuildId,
    rule: RuleId,
    source_type: SourceType,
    source_name: String,
    /// The images that it holds, fully named with their tags.
    images: Vec<String>,
    /// The digest that it was built on; null: its build does not tell of it.
    used: Option<String>,
    /// Named by digest.
    pinned: bool,
    outdated: bool,
    behind_since: Option<DateTime<Utc>>,
}

impl From<BaseUse> for UseDocument {
    fn from(of: BaseUse) -> Self {
        Self {
            build: of.build,
            rule: of.rule,
            source_type: of.source_type,
            source_name: of.source_name,
            images: of.makes,
            used: of.used,
            pinned: of.pinned,
            outdated: of.outdated,
            behind_since: of.behind_since,
        }
    }
}

impl From<RepositoryBase> for RepositoryBaseDocument {
    fn from(base: RepositoryBase) -> Self {
        let (outdated, behind_since) = (base.is_outdated(), base.behind_since());
        Self {
            image: base.image,
            familiar: base.familiar,
            detected: base.detected,
            linked: base.linked,
            ignored: base.ignored,
            pinned: base.pinned,
            followed: base.is_followed,
            seen: base.watch.watched().map(SeenDocument::from).unwrap_or_default(),
            watch: match base.watch {
                Watch::Watched(_) => WatchWord::Watched,
                Watch::NotYet => WatchWord::NotYet,
                Watch::Never => WatchWord::Never,
                Watch::Hidden => WatchWord::Hidden,
            },
            outdated,
            behind_since,
            uses: base.uses.into_iter().map(UseDocument::from).collect(),
        }
    }
}

/// A watched image.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WatchedImage)]
struct ImageDocument {
    /// Fully named.
    image: String,
    /// As short as people write it.
    familiar: String,
    /// The namespace whose credentials it is looked at with; null: the server's, or none.
    access: Option<String>,
    /// The repository whose builds push it.
    made_by: Option<String>,
    #[serde(flatten)]
    seen: SeenDocument,
    /// When it is looked at next.
    next_check_at: DateTime<Utc>,
    /// How many repositories stand on it.
    repositories: usize,
    /// How many refs of rules that is.
    targets: usize,
    /// How many of them stand on an older version.
    outdated: usize,
}

impl From<ImageSummary> for ImageDocument {
    fn from(summary: ImageSummary) -> Self {
        let watched = summary.watched;
        Self {
            seen: SeenDocument::from(&watched),
            image: watched.key.image,
            familiar: summary.familiar,
            access: (!watched.key.access.is_empty()).then_some(watched.key.access),
            made_by: summary.made_by.map(|name| name.to_string()),
            next_check_at: watched.check_at,
            repositories: summary.repositories,
            targets: summary.targets,
            outdated: summary.outdated,
        }
    }
}

/// A watched image with its history and what stands on it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WatchedImageDetail)]
struct ImageDetail {
    #[serde(flatten)]
    image: ImageDocument,
    /// By whose other credentials it is watched; the empty one is the server's. Give one as `access` to see that.
    other_accesses: Vec<String>,
    /// The latest first.
    versions: Vec<VersionDocument>,
    standing: Vec<StandingDocument>,
}

/// A digest that an image's tag has stood for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ImageVersion)]
struct VersionDocument {
    digest: String,
    first_seen_at: DateTime<Utc>,
    current: bool,
    /// The waves that it led to, the newest first.
    waves: Vec<VersionWaveDocument>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ImageVersionWave)]
struct VersionWaveDocument {
    id: WaveId,
    state: WaveState,
}

impl From<ImageVersionSeen> for VersionDocument {
    fn from(version: ImageVersionSeen) -> Self {
        Self {
            digest: version.digest,
            first_seen_at: version.first_seen_at,
            current: version.is_current,
            waves: version.waves.into_iter().map(VersionWaveDocument::from).collect(),
        }
    }
}

impl From<VersionWave> for VersionWaveDocument {
    fn from(wave: VersionWave) -> Self {
        Self {
            id: wave.id,
            state: wave.state,
        }
    }
}

impl From<ImageView> for ImageDetail {
    fn from(view: ImageView) -> Self {
        Self {
            image: view.summary.into(),
            other_accesses: view.other_accesses,
            versions: view.versions.into_iter().map(VersionDocument::from).collect(),
            standing: view.standing.into_iter().map(StandingDocument::from).collect(),
        }
    }
}

/// A ref of a rule that stands on an image.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = StandingOn)]
struct StandingDocument {
    /// `namespace/name`
    repository: String,
    build: BuildId,
    source_type: SourceType,
    source_name: String,
    /// The images that it holds, fully named with their tags.
    images: Vec<String>,
    /// Linked by hand.
    linked: bool,
    used: Option<String>,
    outdated: bool,
    behind_since: Option<DateTime<Utc>>,
}

impl From<StandingOn> for StandingDocument {
    fn from(standing: StandingOn) -> Self {
        Self {
            repository: standing.repository.to_string(),
            build: standing.build,
            source_type: standing.source_type,
            source_name: standing.source_name,
            images: standing.makes,
            linked: standing.by_hand,
            used: standing.used,
            outdated: standing.outdated,
            behind_since: standing.behind_since,
        }
    }
}

/// What would be built again if an image moved.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Consequences)]
struct ConsequencesDocument {
    image: String,
    familiar: String,
    /// In the order of building.
    items: Vec<ConsequenceDocument>,
}

/// One ref of a rule that would be built again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Consequence)]
struct ConsequenceDocument {
    /// `namespace/name`
    repository: String,
    /// The build that would be built again.
    build: BuildId,
    source_type: SourceType,
    source_name: String,
    /// The images that it holds, fully named with their tags.
    images: Vec<String>,
    /// How many builds lie between it and the image; 0: it stands on that itself.
    depth: usize,
    /// The items, counted from 0, that would be built before it.
    after: Vec<usize>,
    /// It stands in a circle and would not be built; the image through which that comes back.
    cut: Option<String>,
}

impl From<DryRunItem> for ConsequenceDocument {
    fn from(item: DryRunItem) -> Self {
        Self {
            repository: item.repository.to_string(),
            build: item.build,
            source_type: item.source_type,
            source_name: item.source_name,
            images: item.makes,
            depth: item.depth,
            after: item.after,
            cut: item.cut,
        }
    }
}

impl From<DryRun> for ConsequencesDocument {
    fn from(dry_run: DryRun) -> Self {
        Self {
            image: dry_run.image,
            familiar: dry_run.familiar,
            items: dry_run.items.into_iter().map(ConsequenceDocument::from).collect(),
        }
    }
}

/// Who stands on whom.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BaseImageGraph)]
struct GraphDocument {
    nodes: Vec<NodeDocument>,
    edges: Vec<EdgeDocument>,
}

/// An image, or several that one build made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BaseImageNode)]
struct NodeDocument {
    images: Vec<String>,
    familiar: String,
    /// Whose builds make it; null: it is not ours.
    repository: Option<String>,
    source_type: Option<SourceType>,
    source_name: Option<String>,
    /// It stands on an older version of something.
    outdated: bool,
    /// The registry says that there is no such image any more.
    gone: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BaseImageEdge)]
struct EdgeDocument {
    /// What is stood on, counted from 0.
    base: usize,
    /// What stands on it.
    standing: usize,
    /// Linked by hand alone.
    linked: bool,
    outdated: bool,
}

impl From<GraphNode> for NodeDocument {
    fn from(node: GraphNode) -> Self {
        let (source_type, source_name) = node.source.unzip();
        Self {
            images: node.images,
            familiar: node.familiar,
            repository: node.repository.map(|name| name.to_string()),
            source_type,
            source_name,
            outdated: node.outdated,
            gone: node.gone,
        }
    }
}

impl From<GraphEdge> for EdgeDocument {
    fn from(edge: GraphEdge) -> Self {
        Self {
            base: edge.base,
            standing: edge.standing,
            linked: edge.by_hand,
            outdated: edge.outdated,
        }
    }
}

impl From<Picture> for GraphDocument {
    fn from(picture: Picture) -> Self {
        Self {
            nodes: picture.nodes.into_iter().map(NodeDocument::from).collect(),
            edges: picture.edges.into_iter().map(EdgeDocument::from).collect(),
        }
    }
}

/// An image of ours on an older version of what it was built on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Outdated)]
struct OutdatedDocument {
    /// `namespace/name`
    repository: String,
    build: BuildId,
    source_type: SourceType,
    source_name: String,
    /// The images that it holds, fully named with their tags.
    images: Vec<String>,
    /// What it stands on, fully named.
    base: String,
    /// What it was built on; null: its build does not tell of it.
    used: Option<String>,
    current: Option<String>,
    behind_since: Option<DateTime<Utc>>,
}

impl From<OutdatedBase> for OutdatedDocument {
    fn from(outdated: OutdatedBase) -> Self {
        Self {
            repository: outdated.repository.to_string(),
            build: outdated.build,
            source_type: outdated.source_type,
            source_name: outdated.source_name,
            images: outdated.makes,
            base: outdated.image,
            used: outdated.used,
            current: outdated.current,
            behind_since: outdated.behind_since,
        }
    }
}

/// What a repository stands on, by name.
#[utoipa::path(get, path = "/api/v1/repositories/{namespace}/{name}/base-images", tag = "base images",
    operation_id = "list_base_images_of_repository", params(RepositoryPath, PageParameters), responses(
    (status = 200, body = List<RepositoryBaseDocument>),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn list_of_repository(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(page): Query<SortedPage>,
) -> Result<Json<List<RepositoryBaseDocument>>, Problem> {
    let repository = visible_repository(&web, &caller, &name).await?;
    let bases = base_images::of_repository(&web, &caller, &repository).await?;
    Ok(Json(page.cut(
        bases,
        |base| base.image.clone(),
        RepositoryBaseDocument::from,
    )))
}

/// The parameters of [`list`].
struct ListParameters {
    outdated: bool,
    page: SortedPage,
}

impl FromParameters for ListParameters {
    const NAMES: &'static [&'static str] = &["outdated", "limit", "cursor"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self {
            outdated: parameters.take_flag("outdated")?,
            page: SortedPage::take_from(parameters)?,
        })
    }
}

/// The images that are watched because something stands on them that the caller may see, by name.
#[utoipa::path(get, path = "/api/v1/base-images", tag = "base images",
    operation_id = "list_base_images", params(
        PageParameters,
        ("outdated" = Option<bool>, Query, description = "Only those on whose older versions something stands"),
    ),
    responses(
        (status = 200, body = List<ImageDocument>), (status = 401, body = Problem), (status = 422, body = Problem),
    ))]
async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(ListParameters { outdated, page }): Query<ListParameters>,
) -> Result<Json<List<ImageDocument>>, Problem> {
    let images = base_images::images(&web, &caller, outdated).await?;
    Ok(Json(page.cut(images, ImageSummary::key, ImageDocument::from)))
}

/// The parameters of [`graph`].
struct GraphParameters {
    base: Option<String>,
}

impl FromParameters for GraphParameters {
    const NAMES: &'static [&'static str] = &["base"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self {
            base: parameters.take("base")?,
        })
    }
}

/// Who stands on whom, as nodes and edges. An image of the name `graph` is read as `graph:latest`.
#[utoipa::path(get, path = "/api/v1/base-images/graph", tag = "base images",
    operation_id = "read_base_image_graph", params(
        ("base" = Option<String>, Query, description = "Only this image with what stands on it, however far"),
    ),
    responses((status = 200, body = GraphDocument), (status = 401, body = Problem), (status = 422, body = Problem)))]
async fn graph(
    State(web): State<Web>,
    caller: Caller,
    Query(GraphParameters { base }): Query<GraphParameters>,
) -> Result<Json<GraphDocument>, Problem> {
    let picture = base_images::graph(&web, &caller, base.as_deref()).await?;
    Ok(Json(picture.into()))
}

/// The parameters of [`read`].
struct ReadParameters {
    access: Option<String>,
}

impl FromParameters for ReadParameters {
    const NAMES: &'static [&'static str] = &["access"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self {
            access: parameters.take("access")?,
        })
    }
}

/// A watched image, with its history and what stands on it.
#[utoipa::path(get, path = "/api/v1/base-images/{image}", tag = "base images",
    operation_id = "read_base_image", params(
        ImagePath,
        ("access" = Option<String>, Query, description = "As it is seen with the credentials of this namespace; empty: \
                                                           with the server's"),
    ),
    responses(
        (status = 200, body = ImageDetail),
        (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
    ))]
async fn read(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<String>,
    Query(ReadParameters { access }): Query<ReadParameters>,
) -> Result<Json<ImageDetail>, Problem> {
    let view = base_images::image(&web, &caller, &name, access.as_deref()).await?;
    Ok(Json(view.into()))
}

/// Has an image looked at as soon as that can be.
#[utoipa::path(post, path = "/api/v1/base-images/{image}/check", tag = "base images",
    operation_id = "check_base_image", params(ImagePath),
    request_body(content = Empty, description = "May be left out"), responses(
    (status = 202, description = "It is looked at as soon as that can be", body = ImageDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 415, body = Problem), (status = 422, body = Problem),
))]
async fn check(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<Empty>,
) -> Result<(StatusCode, Json<ImageDocument>), Problem> {
    base_images::may_look_now(&web, &caller, &name).await?;
    let Empty {} = body.checked()?;
    let image = base_images::look_now(&web, &caller, &name).await?;
    let view = base_images::image(&web, &caller, &image, None).await?;
    Ok((StatusCode::ACCEPTED, Json(view.summary.into())))
}

/// What would be built again if an image moved, in which order. Nothing is started.
#[utoipa::path(get, path = "/api/v1/base-images/{image}/consequences", tag = "base images",
    operation_id = "read_consequences", params(ImagePath), responses(
    (status = 200, body = ConsequencesDocument),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn consequences(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
) -> Result<Json<ConsequencesDocument>, Problem> {
    let dry_run = base_images::consequences(&web, &caller, &name).await?;
    Ok(Json(dry_run.into()))
}

/// Images of ours that stand on older versions of what they were built on, the longest first.
#[utoipa::path(get, path = "/api/v1/outdated", tag = "base images",
    operation_id = "list_outdated", params(PageParameters), responses(
    (status = 200, body = List<OutdatedDocument>), (status = 401, body = Problem), (status = 422, body = Problem),
))]
async fn outdated(
    State(web): State<Web>,
    caller: Caller,
    Query(page): Query<SortedPage>,
) -> Result<Json<List<OutdatedDocument>>, Problem> {
    let outdated = base_images::outdated(&web, &caller).await?;
    Ok(Json(page.cut(outdated, OutdatedBase::key, OutdatedDocument::from)))
}

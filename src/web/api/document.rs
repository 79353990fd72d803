//! The repository document: as it is read, and as it is written. What is read can be written back unchanged.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};

use crate::{
    domain::{
        access::Role,
        build::Status,
        ids::{BuildId, RuleId},
        limits::Limits,
        repository::{Provider, Repository, Visibility},
        rule::{Rule, SourceType},
        schedule::Schedule,
    },
    store::Build,
    web::{
        Web,
        auth::Caller,
        json::{UniqueMap, object, object_or_null, objects, present},
        problem::Problem,
    },
};

/// A repository, as it is read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Repository)]
pub struct RepositoryDocument {
    namespace: String,
    name: String,
    visibility: Visibility,
    description: String,
    /// Without a tag.
    image: String,
    source: SourceDocument,
    rules: Vec<RuleDocument>,
    /// Base images linked by hand, fully named.
    links: Vec<String>,
    detect_base_images: bool,
    /// Base images whose moves it does not follow, fully named.
    ignored_base_images: Vec<String>,
    limits: LimitsDocument,
    /// Names of the secrets that builds may mount; only for those who may change the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    build_secrets_set: Option<Vec<String>>,
    /// Only for those who may change the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<WebhookDocument>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    stars: u64,
    pulls: u64,
    last_build: Option<LastBuild>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Source)]
struct SourceDocument {
    provider: Provider,
    url: String,
    account: Option<String>,
    submodules: bool,
    /// Only for those who may change the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_set: Option<bool>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Rule)]
struct RuleDocument {
    id: RuleId,
    source_type: SourceType,
    source: String,
    docker_tag: String,
    dockerfile: String,
    context: String,
    target: String,
    autobuild: bool,
    cache: bool,
    /// Patterns as in `.gitignore`: a push to a branch builds only if it changed a file that they match. Empty: always.
    paths: Vec<String>,
    platforms: Vec<String>,
    /// Only for those who may change the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    build_args: Option<BTreeMap<String, String>>,
    /// When it builds without a push; null: never.
    schedule: Option<Schedule>,
}

/// Where a forge or a registry reports to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookDocument {
    pub url: String,
    pub secret_set: bool,
    /// Shown once, in the answer to the request for which it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LastBuild {
    id: BuildId,
    number: i64,
    status: Status,
    finished_at: Option<DateTime<Utc>>,
}

impl From<Build> for LastBuild {
    fn from(build: Build) -> Self {
        Self {
            id: build.id,
            number: build.number,
            status: build.status,
            finished_at: build.finished_at,
        }
    }
}

/// A repository as the caller may see it. `secret`: the webhook's, if this very request made it.
pub async fn show(
    web: &Web,
    caller: &Caller,
    repository: Repository,
    secret: Option<String>,
) -> Result<RepositoryDocument, Problem> {
    let last_build = web.store.last_build(&repository.id).await?.map(LastBuild::from);
    let is_editor = caller.has_role(repository.name.namespace(), Role::Admin);
    let source = &repository.source;
    let webhook = is_editor.then(|| WebhookDocument {
        url: format!(
            "{}/webhooks/{}/{}",
            web.settings.base_url,
            source.provider.as_str(),
            repository.hook_id
        ),
        secret_set: true,
        secret,
    });
    Ok(RepositoryDocument {
        namespace: repository.name.namespace().to_owned(),
        name: repository.name.name().to_owned(),
        visibility: repository.visibility,
        image: web.image_of(&repository),
        source: SourceDocument {
            provider: source.provider,
            url: source.url.clone(),
            account: source.account.clone(),
            submodules: source.submodules,
            credentials_set: is_editor.then_some(source.credentials_set),
        },
        rules: repository
            .rules
            .into_iter()
            .map(|rule| show_rule(rule, is_editor))
            .collect(),
        description: repository.description,
        links: repository.links,
        detect_base_images: repository.detect_base_images,
        ignored_base_images: repository.ignored_base_images,
        limits: repository.limits.into(),
        build_secrets_set: is_editor.then_some(repository.build_secrets),
        webhook,
        created_at: repository.created_at,
        updated_at: repository.updated_at,
        stars: repository.stars,
        pulls: repository.pulls,
        last_build,
    })
}

fn show_rule(rule: Rule, is_editor: bool) -> RuleDocument {
    RuleDocument {
        id: rule.id,
        source_type: rule.source_type,
        source: rule.source,
        docker_tag: rule.docker_tag,
        dockerfile: rule.dockerfile,
        context: rule.context,
        target: rule.target,
        autobuild: rule.autobuild,
        cache: rule.cache,
        paths: rule.paths,
        platforms: rule.platforms,
        build_args: is_editor.then_some(rule.build_args),
        schedule: rule.schedule,
    }
}

/// What each build of a repository may use; null: what the server allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Limits)]
#[serde(deny_unknown_fields)]
pub struct LimitsDocument {
    /// Seconds that a build may take.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    /// Bytes of memory for each step. With this or `cpus` the engine's classic builder builds, which knows no
    /// `RUN --mount`.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Processors for each step, such as 1.5.
    #[serde(default)]
    pub cpus: Option<f64>,
}

impl From<Limits> for LimitsDocument {
    fn from(limits: Limits) -> Self {
        Self {
            timeout_seconds: limits.timeout_seconds,
            memory_bytes: limits.memory_bytes,
            cpus: limits.cpu_thousandths.map(|thousandths| thousandths as f64 / 1000.0),
        }
    }
}

impl From<LimitsDocument> for Limits {
    fn from(document: LimitsDocument) -> Self {
        Self {
            timeout_seconds: document.timeout_seconds,
            memory_bytes: document.memory_bytes,
            // Negative ones become 0, which is refused like it.
            cpu_thousandths: document.cpus.map(|cpus| (cpus * 1000.0).round() as u64),
        }
    }
}

/// A field that may be left out, but not be null.
fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// A repository, as it is written.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryInput {
    /// The address names it; here it may be repeated.
    pub namespace: Option<String>,
    pub name: Option<String>,
    /// Left out: as it is, and of a new repository the namespace's default.
    #[serde(default, deserialize_with = "not_null")]
    pub visibility: Option<Visibility>,
    #[serde(default)]
    pub description: String,
    /// Without a tag; left out: the default registry and `namespace/name`.
    pub image: Option<String>,
    #[serde(deserialize_with = "object")]
    pub source: SourceInput,
    #[serde(default, deserialize_with = "objects")]
    pub rules: Vec<RuleInput>,
    /// Base images linked by hand.
    #[serde(default)]
    pub links: Vec<String>,
    #[serde(default = "yes")]
    pub detect_base_images: bool,
    /// Base images, detected or linked, that it is not to be built again for.
    #[serde(default)]
    pub ignored_base_images: Vec<String>,
    /// What its builds may use, below what the server allows.
    #[serde(default, deserialize_with = "object")]
    pub limits: LimitsDocument,
    /// Write-only values for `RUN --mount=type=secret`. Left out: all stay; null keeps that one; names not listed go.
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>, write_only)]
    pub build_secrets: Option<UniqueMap<Option<String>>>,
    // What follows is read back and accepted, so that read, edit, write works; it is not acted on.
    #[schema(ignore)]
    #[serde(rename = "build_secrets_set")]
    _build_secrets_set: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "webhook")]
    _webhook: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "created_at")]
    _created_at: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "updated_at")]
    _updated_at: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "stars")]
    _stars: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "pulls")]
    _pulls: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "last_build")]
    _last_build: ReadOnly,
}

/// A field that is accepted whatever it holds.
pub type ReadOnly = Option<IgnoredAny>;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceInput {
    /// `github`, `bitbucket` or `bitbucket-server`.
    #[schema(value_type = Provider)]
    pub provider: String,
    pub url: String,
    /// Write-only, not empty. Left out: the stored one stays, or one is made.
    #[schema(write_only)]
    pub webhook_secret: Option<String>,
    pub account: Option<String>,
    #[serde(default = "yes")]
    pub submodules: bool,
    /// Write-only. Left out: the stored ones stay; null: they go.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<CredentialsInput>, write_only)]
    pub credentials: Option<Option<CredentialsInput>>,
    #[schema(ignore)]
    #[serde(rename = "credentials_set")]
    _credentials_set: ReadOnly,
}

/// How to fetch from a source that is not public.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialsInput {
    pub username: Option<String>,
    /// A password or, better, an access token.
    pub password: Option<String>,
    /// Not supported by this version.
    pub ssh_key: Option<String>,
}

impl std::fmt::Debug for CredentialsInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialsInput(..)")
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleInput {
    #[schema(ignore)]
    #[serde(rename = "id")]
    _id: ReadOnly,
    pub source_type: SourceType,
    /// A ref's name, or `/regular expression/`.
    pub source: String,
    #[serde(default = "default_tag")]
    #[schema(default = "latest")]
    pub docker_tag: String,
    #[serde(default = "default_dockerfile")]
    #[schema(default = "Dockerfile")]
    pub dockerfile: String,
    #[serde(default = "default_context")]
    #[schema(default = "/")]
    pub context: String,
    /// The stage to build; empty: the last one.
    #[serde(default)]
    pub target: String,
    #[serde(default = "yes")]
    pub autobuild: bool,
    #[serde(default = "yes")]
    pub cache: bool,
    /// Patterns as in `.gitignore`, tried in order; the last that matches a changed file decides, and `!` takes files out.
    /// A push to a branch builds only if it changed a file that they match; empty: always. If all begin with `!`, every
    /// other file counts. At most 100, each of at most 1,000 bytes.
    #[serde(default)]
    pub paths: Vec<String>,
    /// At most one.
    #[serde(default)]
    pub platforms: Vec<String>,
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub build_args: UniqueMap<String>,
    /// When it builds without a push; null: never. Not more often than every ten minutes.
    #[serde(default, deserialize_with = "object_or_null")]
    pub schedule: Option<Schedule>,
}

fn yes() -> bool {
    true
}

fn default_tag() -> String {
    "latest".to_owned()
}

fn default_dockerfile() -> String {
    "Dockerfile".to_owned()
}

fn default_context() -> String {
    "/".to_owned()
}

//! Every test of the store runs on SQLite and on PostgreSQL.

mod activity;
mod audit;
mod bases_seen;
mod build_history;
mod builds;
mod database;
mod identities;
mod intake;
mod invitations;
mod logs;
mod members;
mod organisations;
mod outbox;
mod path_filters;
mod people;
mod polls;
mod queue;
mod registries;
mod repositories;
mod repository_documents;
mod repository_lists;
mod schedules;
mod sessions;
mod tags;
mod users;
mod waves;

use std::{collections::BTreeMap, future::Future, path::PathBuf};

use chrono::{DateTime, TimeZone, Utc};

use super::*;
use crate::domain::{
    access::Role,
    audit::By,
    build::{Cause, Plan},
    ids::{BuildId, DeliveryId, HookId, OrganisationId, RepositoryId, RuleId, UserId},
    repository::{Provider, Repository, RepositoryName, Visibility},
    rule::{Rule, SourceType},
};

/// Where the tests find a PostgreSQL server on which they may create databases.
const SERVER: &str = "TEST_DATABASE_URL";

/// Runs a test on a fresh SQLite database and on a fresh PostgreSQL one.
pub(super) async fn on_both<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_sqlite(&sqlite_file(&directory)).await.unwrap();
    test(store.clone()).await;
    store.close().await;
    let database = PostgresDatabase::create().await;
    let store = Store::open_postgres(&database.url).await.unwrap();
    test(store.clone()).await;
    store.close().await;
    database.drop().await;
}

pub(super) fn sqlite_file(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("test.db")
}

pub(super) struct PostgresDatabase {
    server: String,
    name: String,
    pub(super) url: String,
}

impl PostgresDatabase {
    pub(super) async fn create() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the tests' own setting, not the program's configuration"
        )]
        let server = std::env::var(SERVER)
            .unwrap_or_else(|_| panic!("{SERVER} names no PostgreSQL server: `make test` starts one and sets it"));
        let name = format!("hullworks_{}", uuid::Uuid::now_v7().simple());
        let mut url = url::Url::parse(&server).unwrap();
        url.set_path(&name);
        execute(&server, format!("create database {name}")).await;
        Self {
            server,
            name,
            url: url.to_string(),
        }
    }

    pub(super) async fn drop(self) {
        execute(&self.server, format!("drop database {} with (force)", self.name)).await;
    }
}

async fn execute(server: &str, statement: String) {
    use sqlx::{ConnectOptions, Connection, Executor};
    let options: sqlx::postgres::PgConnectOptions = server.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    connection.close().await.unwrap();
}

/// Seconds after a fixed instant.
pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_700_000_000 + seconds, 0).unwrap()
}

pub(super) fn rule(source: &str, docker_tag: &str) -> Rule {
    Rule {
        id: RuleId::new(),
        source_type: SourceType::Branch,
        source: source.to_owned(),
        docker_tag: docker_tag.to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        context: "/".to_owned(),
        autobuild: true,
        cache: true,
        target: String::new(),
        platforms: vec![],
        build_args: BTreeMap::new(),
        paths: vec![],
        schedule: None,
    }
}

pub(super) fn change(name: &str) -> RepositoryChange {
    RepositoryChange {
        name: RepositoryName::parse(name).unwrap(),
        visibility: Visibility::Public,
        description: String::new(),
        image: None,
        provider: Provider::Github,
        source_url: "https://github.com/acme/app.git".to_owned(),
        source_account: None,
        submodules: true,
        rules: vec![rule("main", "latest")],
        links: vec![],
        detect_base_images: true,
        ignored_base_images: vec![],
        limits: Default::default(),
        build_secrets: None,
        credentials: SourceSecret::Keep,
        webhook_secret: None,
        last_changed: None,
    }
}

pub(super) fn new_repository() -> NewRepository {
    NewRepository {
        id: RepositoryId::new(),
        hook_id: HookId::new(),
        webhook_secret: b"sealed".to_vec(),
        now: at(0),
    }
}

pub(super) async fn repository(store: &Store, name: &str) -> Repository {
    store
        .put_repository(None, &new_repository(), &change(name))
        .await
        .unwrap()
        .unwrap()
        .repository
}

pub(super) fn request(repository: &Repository, commit: &str) -> BuildRequest {
    let rule = &repository.rules[0];
    BuildRequest {
        id: BuildId::new(),
        rule_id: rule.id.clone(),
        source_type: SourceType::Branch,
        source_name: "main".to_owned(),
        commit: Some(commit.to_owned()),
        commit_message: Some("message".to_owned()),
        cause: Cause::Manual { user: "ann".to_owned() },
        plan: Plan {
            dockerfile: "Dockerfile".to_owned(),
            context: "/".to_owned(),
            tags: vec!["latest".to_owned()],
            image: "r.example.com/team/app".to_owned(),
            build_args: BTreeMap::new(),
            target: String::new(),
            platforms: vec![],
            cache: true,
            paths: vec![],
            base_digests: BTreeMap::new(),
        },
        push_order: None,
        unless_under_way: true,
        before: None,
    }
}

pub(super) fn delivery(repository: &Repository, requests: Vec<BuildRequest>) -> NewDelivery {
    NewDelivery {
        id: DeliveryId::new(),
        repository_id: repository.id.clone(),
        provider: "github".to_owned(),
        event: "push".to_owned(),
        delivery_id: None,
        body_hash: None,
        content_type: Some("application/json".to_owned()),
        body: Some(b"body".to_vec()),
        received_at: at(1),
        source_name: Some("main".to_owned()),
        commit: None,
        decided: vec![],
        requests,
        takes: None,
    }
}

/// The newest deliveries.
pub(super) fn newest(limit: u32) -> DeliveryFilter {
    DeliveryFilter {
        limit,
        ..DeliveryFilter::default()
    }
}

/// Queues one build of a commit and answers its id.
pub(super) async fn queue(store: &Store, repository: &Repository, commit: &str) -> BuildId {
    let accepted = accept(store, delivery(repository, vec![request(repository, commit)])).await;
    accepted.builds[0].clone()
}

pub(super) async fn accept(store: &Store, delivery: NewDelivery) -> Accepted {
    store.accept(&[delivery]).await.unwrap().pop().unwrap().unwrap()
}

pub(super) async fn added_user(store: &Store, name: &str) -> User {
    let user = User {
        id: UserId::new(),
        name: name.to_owned(),
        is_admin: false,
        created_at: at(0),
        access: Default::default(),
    };
    assert!(store.add_user(&user, "hash").await.unwrap());
    user
}

pub(super) fn actor(name: &str) -> Actor {
    Actor {
        at: at(7),
        name: name.to_owned(),
        by: By::Token,
        address: "192.0.2.7".to_owned(),
    }
}

pub(super) fn new_organisation(name: &str) -> Organisation {
    Organisation {
        id: OrganisationId::new(),
        name: name.to_owned(),
        display_name: String::new(),
        description: String::new(),
        default_visibility: Visibility::Public,
        created_at: at(0),
    }
}

/// An organisation of an owner, who may adopt the namespace.
pub(super) async fn organisation(store: &Store, name: &str, owner: &User) -> Organisation {
    let new = new_organisation(name);
    let added = store
        .add_organisation(&new, &owner.id, true, &actor(&owner.name))
        .await
        .unwrap();
    assert_eq!(added, OrganisationAdded::Added);
    new
}

//! What holds for the database as a whole, whatever is in it.

use std::time::Duration;

use super::*;
use crate::{
    domain::{
        build::{CauseKind, Status},
        ids::WorkerId,
    },
    store::{
        build_history, builds, deliveries, intake, logs, path_filters as path_filter_sql, polls, queue as queue_sql,
        repository_lists, schedules as schedules_sql, tags as tags_sql,
    },
};

const LEASE: Duration = Duration::from_secs(30);

/// One row at least in every table.
async fn sample_rows(store: &Store) -> (Repository, BuildId) {
    let full = RepositoryChange {
        links: vec!["docker.io/library/alpine:3".to_owned()],
        build_secrets: Some(vec![("npm".to_owned(), Some(b"sealed".to_vec()))]),
        ..change("team/app")
    };
    let saved = store.put_repository(None, &new_repository(), &full).await.unwrap();
    let repository = saved.unwrap().repository;
    let user = User {
        id: crate::domain::ids::UserId::new(),
        name: "ann".to_owned(),
        is_admin: true,
        created_at: at(0),
        access: Default::default(),
    };
    store.add_user(&user, "hash").await.unwrap();
    let token = NewToken {
        id: crate::domain::ids::TokenId::new(),
        user: &user.id,
        label: "laptop",
        hash: b"hash",
        scope: crate::domain::access::Scope::Admin,
        created_at: at(0),
        expires_at: None,
    };
    store.add_token(&token).await.unwrap();
    let id = queue(store, &repository, "c1").await;
    let leased = store.claim(&WorkerId::new(), at(2), LEASE).await.unwrap().unwrap();
    store.append_log(&leased.lease, 0, b"line\n").await.unwrap();
    store
        .claim_tag(&leased.lease, &leased.build.push_order, "r/app", "latest", at(3))
        .await
        .unwrap();
    store.record_installation_fact("key", b"fingerprint").await.unwrap();
    (repository, id)
}

async fn check_sample_rows(store: &Store, repository: &Repository, build: &BuildId, before: &Build) {
    let found = store.repository(&repository.id).await.unwrap().unwrap();
    assert_eq!(&found.repository, repository);
    assert_eq!(store.build(build).await.unwrap().as_ref(), Some(before));
    assert_eq!(store.read_log(build, 0, 99).await.unwrap().unwrap().bytes, b"line\n");
    assert!(store.user_with_token(b"hash", at(5)).await.unwrap().is_some());
    assert_eq!(
        store.installation_fact("key").await.unwrap().as_deref(),
        Some(b"fingerprint".as_slice())
    );
}

#[tokio::test]
async fn a_database_that_is_opened_again_is_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let database = PostgresDatabase::create().await;
    let file = sqlite_file(&directory);
    for sqlite in [true, false] {
        let open = async || match sqlite {
            true => Store::open_sqlite(&file).await.unwrap(),
            false => Store::open_postgres(&database.url).await.unwrap(),
        };
        let store = open().await;
        let (repository, build) = sample_rows(&store).await;
        let before = store.build(&build).await.unwrap().unwrap();
        store.close().await;
        for _ in 0..2 {
            let store = open().await;
            check_sample_rows(&store, &repository, &build, &before).await;
            store.close().await;
        }
    }
    database.drop().await;
}

#[tokio::test]
async fn a_copy_of_a_sqlite_database_is_whole_and_made_while_it_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_sqlite(&sqlite_file(&directory)).await.unwrap();
    let (repository, build) = sample_rows(&store).await;
    let before = store.build(&build).await.unwrap().unwrap();
    let copy = directory.path().join("copy.db");
    assert!(store.copy_sqlite_to(copy.to_str().unwrap()).await.unwrap());
    store.close().await;
    let copied = Store::open_sqlite(&copy).await.unwrap();
    check_sample_rows(&copied, &repository, &build, &before).await;
    copied.close().await;
}

#[tokio::test]
async fn a_fact_is_recorded_once_for_all() {
    on_both(|store| async move {
        assert_eq!(store.installation_fact("key").await.unwrap(), None);
        store.record_installation_fact("key", b"first").await.unwrap();
        store.record_installation_fact("key", b"second").await.unwrap();
        let fact = store.installation_fact("key").await.unwrap();
        assert_eq!(fact.as_deref(), Some(b"first".as_slice()));
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_is_given_up_leaves_nothing() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let id = queue(&store, &repository, "c1").await;
        for _ in 0..20 {
            let mut tx = store.begin().await.unwrap();
            on!(tx.handle(), c => sqlx::query("delete from builds").execute(c).await.map(drop)).unwrap();
            drop(tx);
        }
        store.ping().await.unwrap();
        assert!(store.build(&id).await.unwrap().is_some());
        assert!(store.claim(&WorkerId::new(), at(2), LEASE).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn lost_connections_are_made_anew_and_what_was_not_committed_is_gone() {
    let database = PostgresDatabase::create().await;
    let store = Store::open_postgres(&database.url).await.unwrap();
    let repository = repository(&store, "team/app").await;
    for round in 0..3 {
        let id = queue(&store, &repository, &format!("c{round}")).await;
        let mut open = store.begin().await.unwrap();
        on!(open.handle(), c => sqlx::query("delete from builds").execute(c).await.map(drop)).unwrap();
        let terminate =
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname";
        execute(&database.server, format!("{terminate} = '{}'", database.name)).await;
        assert!(open.commit().await.is_err());
        store.ping().await.unwrap();
        let leased = store.claim(&WorkerId::new(), at(2), LEASE).await.unwrap().unwrap();
        assert_eq!(leased.build.id, id);
    }
    store.close().await;
    database.drop().await;
}

#[tokio::test]
async fn what_is_asked_often_is_answered_from_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_sqlite(&sqlite_file(&directory)).await.unwrap();
    let mut reader = store.reader().await.unwrap();
    let Handle::Sqlite(connection) = reader.handle() else {
        panic!("SQLite was opened")
    };
    let page = |narrow: fn(&mut BuildFilter)| {
        let mut filter = BuildFilter::default();
        narrow(&mut filter);
        filter.sql()
    };
    for (sql, index) in [
        (queue_sql::NEXT, "INDEX builds_in_queue (class=?)"),
        (queue_sql::LOCK_EXPIRED, "INDEX builds_by_status (status=?)"),
        (logs::UNSEALED, "INDEX builds_unsealed"),
        (
            &intake::by_delivery_id(2),
            "INDEX deliveries_once (repository_id=? AND delivery_id=?)",
        ),
        (
            &intake::by_body(2),
            "INDEX deliveries_by_body (repository_id=? AND body_hash=?)",
        ),
        (
            intake::UNDER_WAY,
            "INDEX builds_by_ref (repository_id=? AND rule_id=? AND source_name=? AND source_type=?)",
        ),
        (
            intake::UNDER_WAY,
            "INDEX builds_of_polls (repository_id=? AND rule_id=? AND source_name=? AND source_type=?)",
        ),
        (polls::DUE, "INDEX polls_by_next_at (next_at<?)"),
        (polls::LAST_WEBHOOK, "INDEX deliveries_by_repository (repository_id=?)"),
        (
            polls::OF_REF,
            "INDEX builds_by_repository_source (repository_id=? AND source_name=?)",
        ),
        (
            intake::SUPERSEDE,
            "INDEX builds_by_ref (repository_id=? AND rule_id=? AND source_name=? AND source_type=?)",
        ),
        (
            path_filter_sql::LAST_BUILT,
            "INDEX builds_succeeded (rule_id=? AND source_name=? AND source_type=? AND push_order<?)",
        ),
        (
            path_filter_sql::UNDER_WAY_BETWEEN,
            "INDEX builds_by_ref (repository_id=? AND rule_id=? AND source_name=? AND source_type=?)",
        ),
        (
            path_filter_sql::NOT_BUILT,
            "INDEX builds_by_repository_source (repository_id=? AND source_name=?)",
        ),
        (builds::COUNT_BY_STATUS, "COVERING INDEX builds_by_status"),
        (
            builds::COUNT_QUEUED_BETWEEN,
            "COVERING INDEX builds_in_queue (class=? AND id>? AND id<?)",
        ),
        (&page(|_| ()), "SEARCH b USING INDEX sqlite_autoindex_builds_1 (id<?)"),
        (
            &page(|of| of.repository = Some(RepositoryId::new())),
            "INDEX builds_by_repository (repository_id=? AND id<?)",
        ),
        (
            &page(|of| of.status = Some(Status::Failed)),
            "INDEX builds_by_status (status=? AND id<?)",
        ),
        (
            &page(|of| of.source_name = Some("main".to_owned())),
            "INDEX builds_by_source (source_name=? AND id<?)",
        ),
        (
            &page(|of| of.cause = Some(CauseKind::Retry)),
            "INDEX builds_by_cause (cause_kind=? AND id<?)",
        ),
        (
            &page(|of| {
                of.repository = Some(RepositoryId::new());
                of.status = Some(Status::Failed);
            }),
            "INDEX builds_by_repository_status (repository_id=? AND status=? AND id<?)",
        ),
        (
            &page(|of| {
                of.repository = Some(RepositoryId::new());
                of.source_name = Some("main".to_owned());
            }),
            "INDEX builds_by_repository_source (repository_id=? AND source_name=? AND id<?)",
        ),
        (
            &page(|of| {
                of.repository = Some(RepositoryId::new());
                of.cause = Some(CauseKind::Retry);
            }),
            "INDEX builds_by_repository_cause (repository_id=? AND cause_kind=? AND id<?)",
        ),
        (
            &page(|of| of.rule = Some(RuleId::new())),
            "INDEX builds_by_rule (rule_id=? AND id<?)",
        ),
        (
            deliveries::NEWEST,
            "INDEX deliveries_by_repository (repository_id=? AND id<?)",
        ),
        (
            deliveries::NEWEST_OF_OUTCOME,
            "INDEX deliveries_by_outcome (repository_id=? AND outcome=? AND id<?)",
        ),
        (schedules_sql::DUE, "INDEX rules_by_next_at (schedule_next_at<?)"),
        (schedules_sql::NEXT, "COVERING INDEX rules_by_next_at"),
        (build_history::HISTORY, "INDEX builds_by_repository (repository_id=?)"),
        (
            tags_sql::FIRST_TAGS,
            "INDEX published_tags_by_repository (repository_id=?",
        ),
        (
            tags_sql::MORE_TAGS,
            "INDEX published_tags_by_repository (repository_id=? AND",
        ),
    ] {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("explain query plan {sql}")))
                .fetch_all(&mut *connection)
                .await
                .unwrap();
        let plan: Vec<&str> = plan.iter().map(|(.., step)| step.as_str()).collect();
        assert!(plan.iter().any(|step| step.contains(index)), "{sql}\n{plan:#?}");
        assert!(
            !plan.iter().any(|step| step.contains("TEMP B-TREE")),
            "{sql}\n{plan:#?}"
        );
    }
    drop(reader);
    store.close().await;
}

#[tokio::test]
async fn a_page_of_repositories_is_read_along_indexes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_sqlite(&sqlite_file(&directory)).await.unwrap();
    let mut reader = store.reader().await.unwrap();
    let Handle::Sqlite(connection) = reader.handle() else {
        panic!("SQLite was opened")
    };
    let mut public = RepositoryFilter::new(Sight::Of(crate::domain::ids::UserId::new()), 50);
    public.after = RankCursor::parse("3.0.team/app");
    public.text = "x".to_owned();
    let (sql, _) = repository_lists::statement(&public);
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(format!("explain query plan {sql}")))
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let plan: Vec<&str> = plan.iter().map(|(.., step)| step.as_str()).collect();
    for step in [
        "SEARCH repositories USING INDEX repositories_by_rank (stars<?)",
        "SEARCH b USING INDEX sqlite_autoindex_builds_1 (id=?)",
        "SEARCH builds USING COVERING INDEX builds_by_repository (repository_id=?)",
        "SEARCH published_tags USING COVERING INDEX published_tags_by_repository (repository_id=?)",
    ] {
        assert!(plan.iter().any(|found| found.contains(step)), "{step}\n{plan:#?}");
    }
    drop(reader);
    store.close().await;
}

use serde_json::json;

use super::*;
use crate::{domain::audit::Action, store::audit as audit_sql};

#[tokio::test]
async fn the_log_tells_what_was_written_newest_first_and_by_what_is_asked_for() {
    on_both(|store| async move {
        let (ann, bob) = (actor("ann"), actor("bob"));
        let events = [
            ann.did(Action::SignedIn, "ann", "", json!({})),
            bob.did(
                Action::RepositoryChanged,
                "team/app",
                "team",
                json!({ "fields": ["rules"] }),
            ),
            ann.did(Action::BuildTriggered, "team/app", "team", json!({ "builds": 2 })),
        ];
        for event in &events {
            store.record_audit(event).await.unwrap();
        }
        let all = AuditFilter {
            limit: 10,
            ..AuditFilter::default()
        };
        let check = async |filter: AuditFilter, expected: &[usize]| {
            let found: Vec<AuditEvent> = store
                .audit(&filter)
                .await
                .unwrap()
                .into_iter()
                .map(|entry| entry.event)
                .collect();
            let expected: Vec<AuditEvent> = expected.iter().map(|&index| events[index].clone()).collect();
            assert_eq!(found, expected, "{filter:?}");
        };
        let text = |text: &str| Some(text.to_owned());
        check(all.clone(), &[2, 1, 0]).await;
        check(
            AuditFilter {
                limit: 2,
                ..all.clone()
            },
            &[2, 1],
        )
        .await;
        check(
            AuditFilter {
                namespace: text("team"),
                ..all.clone()
            },
            &[2, 1],
        )
        .await;
        check(
            AuditFilter {
                namespace: text(""),
                ..all.clone()
            },
            &[0],
        )
        .await;
        check(
            AuditFilter {
                actor: text("ann"),
                ..all.clone()
            },
            &[2, 0],
        )
        .await;
        check(
            AuditFilter {
                actor: text("ann"),
                namespace: text("team"),
                ..all.clone()
            },
            &[2],
        )
        .await;
        check(
            AuditFilter {
                action: Some(Action::SignedIn),
                ..all.clone()
            },
            &[0],
        )
        .await;
        check(
            AuditFilter {
                subject: text("team/app"),
                ..all.clone()
            },
            &[2, 1],
        )
        .await;
        let last = store.audit(&all).await.unwrap().remove(1).id;
        check(
            AuditFilter {
                before: Some(last),
                ..all
            },
            &[0],
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn what_a_stranger_typed_is_kept_short_and_without_nul() {
    on_both(|store| async move {
        let typed = format!("a\0{}", "b".repeat(10_000));
        let event = actor(&typed).did(Action::SignInFailed, &typed, "", json!({}));
        store.record_audit(&event).await.unwrap();
        let found = store
            .audit(&AuditFilter {
                limit: 1,
                ..AuditFilter::default()
            })
            .await
            .unwrap()
            .remove(0)
            .event;
        assert_eq!(found.actor.name, format!("a{}", "b".repeat(199)));
        assert_eq!(found.subject, found.actor.name);
    })
    .await;
}

#[tokio::test]
async fn a_page_of_the_log_is_read_from_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_sqlite(&sqlite_file(&directory)).await.unwrap();
    let mut reader = store.reader().await.unwrap();
    let Handle::Sqlite(connection) = reader.handle() else {
        panic!("SQLite was opened")
    };
    for (sql, index) in [
        (audit_sql::PAGE, "sqlite_autoindex_audit_log_1 (id<?)"),
        (
            audit_sql::PAGE_OF_NAMESPACE,
            "audit_log_by_namespace (namespace=? AND id<?)",
        ),
        (audit_sql::PAGE_OF_ACTOR, "audit_log_by_actor (actor=? AND id<?)"),
    ] {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("explain query plan {sql}")))
                .fetch_all(&mut *connection)
                .await
                .unwrap();
        assert!(plan.len() == 1 && plan[0].3.contains(index), "{sql}\n{plan:#?}");
    }
}

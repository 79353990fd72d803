use std::time::Duration;

use super::*;
use crate::domain::{
    build::{Before, Ending, Status},
    delivery::Outcome,
    ids::WorkerId,
};

/// A delivery as a forge sends it: with an id and a body of its own.
fn webhook(repository: &Repository, delivery_id: &str, body: u8, requests: Vec<BuildRequest>) -> NewDelivery {
    NewDelivery {
        delivery_id: Some(delivery_id.to_owned()),
        body_hash: Some([body; 32]),
        ..delivery(repository, requests)
    }
}

async fn claim(store: &Store) -> Leased {
    store
        .claim(&WorkerId::new(), at(2), Duration::from_secs(30))
        .await
        .unwrap()
        .unwrap()
}

async fn status(store: &Store, id: &BuildId) -> Status {
    store.build(id).await.unwrap().unwrap().status
}

#[tokio::test]
async fn a_push_is_recorded_with_the_build_that_it_led_to() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let accepted = accept(&store, delivery(&repository, vec![request(&repository, "c1")])).await;
        assert_eq!(
            (accepted.outcome, accepted.reason.as_str()),
            (Outcome::Queued, "build #1 of main")
        );
        let recorded = store.deliveries(&repository.id, &newest(10)).await.unwrap();
        assert_eq!(recorded.len(), 1);
        assert_eq!(
            (&recorded[0].builds, recorded[0].outcome, &recorded[0].reason),
            (&accepted.builds, accepted.outcome, &accepted.reason)
        );
        let build = store.build(&accepted.builds[0]).await.unwrap().unwrap();
        assert_eq!(
            (build.number, build.status, build.queue_position),
            (1, Status::Queued, Some(1))
        );
        let (_, body) = store.delivery(&repository.id, &accepted.id).await.unwrap().unwrap();
        assert_eq!(body.unwrap().body, b"body");
        assert!(
            store
                .delivery(&RepositoryId::new(), &accepted.id)
                .await
                .unwrap()
                .is_none()
        );
    })
    .await;
}

#[tokio::test]
async fn the_same_delivery_in_parallel_gives_one_build() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (store, repository) = (store.clone(), repository.clone());
            tasks.spawn(async move {
                accept(&store, webhook(&repository, "d-1", 1, vec![request(&repository, "c1")])).await
            });
        }
        let answers = tasks.join_all().await;
        let queued = answers.iter().filter(|a| a.outcome == Outcome::Queued).count();
        assert_eq!(queued, 1);
        assert!(answers.iter().all(|a| a.builds == answers[0].builds));
        let all = BuildFilter {
            sight: Sight::Everything,
            limit: 100,
            ..BuildFilter::default()
        };
        assert_eq!(store.builds(&all).await.unwrap().len(), 1);
        assert_eq!(store.deliveries(&repository.id, &newest(100)).await.unwrap().len(), 50);
    })
    .await;
}

#[tokio::test]
async fn what_leads_to_no_build_is_recorded_with_every_reason_once() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        for outcome in [Outcome::NoMatch, Outcome::Skipped, Outcome::Refused, Outcome::Ignored] {
            let new = NewDelivery {
                decided: vec![
                    (outcome, "one".to_owned()),
                    (Outcome::Ignored, "two".to_owned()),
                    (Outcome::Ignored, "one".to_owned()),
                ],
                ..delivery(&repository, vec![])
            };
            let accepted = accept(&store, new).await;
            assert_eq!((accepted.outcome, accepted.reason.as_str()), (outcome, "one; two"));
            assert!(accepted.builds.is_empty() && accepted.queued.is_empty());
            let (recorded, _) = store.delivery(&repository.id, &accepted.id).await.unwrap().unwrap();
            assert_eq!((recorded.outcome, recorded.reason.as_str()), (outcome, "one; two"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_delivery_or_a_body_that_came_before_is_a_duplicate_with_the_same_builds() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let send = async |id: &str, body: u8| {
            accept(&store, webhook(&repository, id, body, vec![request(&repository, "c1")])).await
        };
        let first = send("d-1", 1).await;
        store.request_cancel(&first.builds[0], "ann", at(2)).await.unwrap();
        for (id, body, why) in [
            ("d-1", 1, "the same delivery came before"),
            ("d-1", 2, "the same delivery came before"),
            ("d-2", 1, "the same body came before under another delivery id"),
            ("d-2", 1, "the same body came before under another delivery id"),
        ] {
            let again = send(id, body).await;
            assert_eq!(again.outcome, Outcome::Duplicate, "{id} {body}");
            assert_eq!(again.reason, format!("{why}, as {}", first.id));
            assert_eq!(
                (&again.builds, &again.repeats),
                (&first.builds, &Some(first.id.clone()))
            );
            assert!(again.queued.is_empty());
            let (_, kept) = store.delivery(&repository.id, &again.id).await.unwrap().unwrap();
            assert!(kept.is_none(), "a repeated body is kept once");
        }
        let other = super::repository(&store, "team/other").await;
        let elsewhere = accept(&store, webhook(&other, "d-1", 1, vec![request(&other, "c1")])).await;
        assert_eq!(elsewhere.outcome, Outcome::Queued);
    })
    .await;
}

#[tokio::test]
async fn clicks_have_no_id_or_body_and_are_never_duplicates() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        for _ in 0..2 {
            let click = BuildRequest {
                unless_under_way: false,
                before: None,
                ..request(&repository, "c1")
            };
            let accepted = accept(&store, delivery(&repository, vec![click])).await;
            assert_eq!(accepted.outcome, Outcome::Queued);
        }
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_is_under_way_is_not_built_again_until_it_has_ended() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let send = async |id: &str, body: u8| {
            accept(
                &store,
                webhook(&repository, id, body, vec![request(&repository, "0123456789")]),
            )
            .await
        };
        let first = send("d-1", 1).await;
        let second = send("d-2", 2).await;
        assert_eq!(
            (second.outcome, second.reason.as_str()),
            (Outcome::Duplicate, "0123456 of main is queued already as build #1")
        );
        assert_eq!(
            (&second.builds, &second.repeats, &second.under_way),
            (
                &first.builds,
                &None,
                &vec![(repository.rules[0].id.clone(), first.builds[0].clone())]
            )
        );
        let leased = claim(&store).await;
        let third = send("d-3", 3).await;
        assert_eq!(third.reason, "0123456 of main is running already as build #1");
        store
            .finish(&leased.lease, &Ending::Canceled, &[], at(3))
            .await
            .unwrap();
        let redelivered = send("d-2", 2).await;
        assert_eq!(
            (redelivered.outcome, &redelivered.builds),
            (Outcome::Duplicate, &first.builds)
        );
        assert_eq!(redelivered.repeats, Some(second.id));
        assert_eq!(send("d-4", 4).await.outcome, Outcome::Queued);
    })
    .await;
}

#[tokio::test]
async fn a_running_build_that_is_being_canceled_keeps_no_push_away() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let id = queue(&store, &repository, "c1").await;
        claim(&store).await;
        store.request_cancel(&id, "ann", at(2)).await.unwrap();
        let again = accept(&store, delivery(&repository, vec![request(&repository, "c1")])).await;
        assert_eq!(again.outcome, Outcome::Queued);
    })
    .await;
}

#[tokio::test]
async fn every_ref_of_a_push_gets_its_build() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let of = |name: &str, source_type| BuildRequest {
            source_name: name.to_owned(),
            source_type,
            ..request(&repository, "c1")
        };
        let requests = vec![
            of("main", SourceType::Branch),
            of("dev", SourceType::Branch),
            // A tag of the same name is another ref.
            of("main", SourceType::Tag),
        ];
        let new = NewDelivery {
            decided: vec![(Outcome::NoMatch, "no rule for `x`".to_owned())],
            ..delivery(&repository, requests)
        };
        let accepted = accept(&store, new).await;
        assert_eq!(accepted.outcome, Outcome::Queued);
        assert_eq!(
            accepted.reason,
            "build #1 of main; build #2 of dev; build #3 of main; no rule for `x`"
        );
        let numbers: Vec<i64> = accepted.queued.iter().map(|queued| queued.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        for id in &accepted.builds {
            assert_eq!(status(&store, id).await, Status::Queued);
        }
    })
    .await;
}

#[tokio::test]
async fn a_group_is_answered_in_its_order_and_a_gone_repository_spoils_nothing() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let gone = Repository {
            id: RepositoryId::new(),
            ..repository.clone()
        };
        let group: Vec<NewDelivery> = (0..64)
            .map(|n| {
                let repository = if n == 10 { &gone } else { &repository };
                let request = BuildRequest {
                    source_name: format!("branch-{n}"),
                    ..request(repository, "c1")
                };
                // Number 20 repeats number 19 of the same group.
                webhook(
                    repository,
                    &format!("d-{}", if n == 20 { 19 } else { n }),
                    n,
                    vec![request],
                )
            })
            .collect();
        let answers = store.accept(&group).await.unwrap();
        assert_eq!(answers.len(), 64);
        for (n, (new, answer)) in group.iter().zip(&answers).enumerate() {
            match (n, answer) {
                (10, answer) => assert!(answer.is_none()),
                (20, Some(answer)) => assert_eq!(answer.repeats.as_ref(), Some(&group[19].id)),
                (_, Some(answer)) => assert_eq!(
                    (&answer.id, &answer.builds),
                    (&new.id, &vec![new.requests[0].id.clone()])
                ),
                (_, None) => panic!("{n} has no answer"),
            }
        }
        let mut pages = Vec::new();
        loop {
            let before = pages.last().map(|delivery: &Delivery| delivery.id.clone());
            let filter = DeliveryFilter { before, ..newest(20) };
            let page = store.deliveries(&repository.id, &filter).await.unwrap();
            if page.is_empty() {
                break;
            }
            pages.extend(page);
        }
        assert_eq!(pages.len(), 63);
        assert!(pages.is_sorted_by(|newer, older| newer.id > older.id));
    })
    .await;
}

#[tokio::test]
async fn a_newer_push_supersedes_queued_older_ones_and_names_itself() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let old = queue(&store, &repository, "c1").await;
        let accepted = accept(&store, delivery(&repository, vec![request(&repository, "c2")])).await;
        assert_eq!(accepted.reason, "build #2 of main, in place of 1 older queued");
        let old = store.build(&old).await.unwrap().unwrap();
        assert_eq!(
            (old.status, old.superseded_by, old.finished_at),
            (Status::Superseded, Some(accepted.builds[0].clone()), Some(at(1)))
        );
        assert_eq!(
            store.read_log(&old.id, 0, 99).await.unwrap().unwrap().bytes,
            b"superseded by build #2 before it started\n"
        );
    })
    .await;
}

#[tokio::test]
async fn nothing_but_queued_builds_of_the_same_rule_and_ref_is_superseded() {
    on_both(|store| async move {
        let mut two_rules = change("team/app");
        two_rules.rules.push(rule("main", "edge"));
        let saved = store.put_repository(None, &new_repository(), &two_rules).await.unwrap();
        let repository = saved.unwrap().repository;
        let running = queue(&store, &repository, "c1").await;
        let lease = claim(&store).await.lease;
        let others = [
            BuildRequest {
                rule_id: repository.rules[1].id.clone(),
                ..request(&repository, "c1")
            },
            BuildRequest {
                source_name: "dev".to_owned(),
                ..request(&repository, "c1")
            },
            BuildRequest {
                source_type: SourceType::Tag,
                ..request(&repository, "c1")
            },
        ];
        let others = accept(&store, delivery(&repository, others.to_vec())).await.builds;
        let newest = queue(&store, &repository, "c2").await;
        assert_eq!(status(&store, &running).await, Status::Running);
        store.append_log(&lease, 0, b"goes on\n").await.unwrap();
        for id in others.iter().chain([&newest]) {
            assert_eq!(status(&store, id).await, Status::Queued);
        }
        // A retry of an older push does not set a newer one aside.
        let retry = BuildRequest {
            push_order: Some(running.to_string()),
            unless_under_way: false,
            before: None,
            ..request(&repository, "c1")
        };
        accept(&store, delivery(&repository, vec![retry])).await;
        assert_eq!(status(&store, &newest).await, Status::Queued);
    })
    .await;
}

/// The tables that a delivery writes to, as texts.
async fn written(store: &Store) -> Vec<String> {
    let mut reader = store.reader().await.unwrap();
    let mut all = Vec::new();
    for sql in [
        "select 'r ' || name || ' ' || next_number from repositories order by name",
        "select 'd ' || id || coalesce(delivery_id, '-') || outcome || reason || coalesce(repeats, '-') || builds \
         from deliveries order by id",
        "select 'o ' || delivery_id from delivery_bodies order by delivery_id",
        "select 'b ' || id || ' ' || number || status || push_order || coalesce(superseded_by, '-') || log_size \
         || case when finished_at is null then '' else 'ended' end || coalesce(before_sha, '-') from builds order by id",
        "select 'l ' || build_id || ' ' || position || ' ' || length(bytes) from log_chunks order by build_id, position",
    ] {
        let rows: Vec<String> =
            on!(reader.handle(), c => sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(c).await).unwrap();
        all.extend(rows);
    }
    all
}

/// Deliveries that get in each other's way as often as they can: few ids, bodies, commits, refs and orders.
fn entangled(repositories: &[Repository], seed: u32) -> Vec<NewDelivery> {
    let mut state = seed;
    let mut below = move |limit: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % limit
    };
    let mut ids: Vec<BuildId> = Vec::new();
    let mut deliveries = Vec::new();
    for _ in 0..60 {
        let repository = &repositories[below(2) as usize];
        let requests = (0..below(3)).map(|_| BuildRequest {
            source_name: ["main", "dev"][below(2) as usize].to_owned(),
            commit: (below(8) > 0).then(|| format!("c{}", below(6))),
            push_order: match ids.len() {
                0 => None,
                _ if below(4) > 0 => None,
                many => Some(ids[below(many as u32) as usize].to_string()),
            },
            unless_under_way: below(4) > 0,
            before: (below(4) > 0).then(|| Before::Commit(format!("{:040x}", below(6) + 1))),
            ..request(repository, "")
        });
        let requests: Vec<BuildRequest> = requests.collect();
        ids.extend(requests.iter().map(|request| request.id.clone()));
        deliveries.push(NewDelivery {
            delivery_id: (below(5) > 0).then(|| format!("d-{}", below(40))),
            body_hash: (below(5) > 0).then(|| [below(40) as u8; 32]),
            decided: vec![(Outcome::NoMatch, "no rule for `x`".to_owned())],
            ..delivery(repository, requests)
        });
    }
    deliveries
}

async fn a_group_equals_its_deliveries(alone: &Store, together: &Store) {
    let worker = WorkerId::new();
    let mut repositories = Vec::new();
    for name in ["team/app", "team/other"] {
        let (new, change) = (new_repository(), change(name));
        for store in [alone, together] {
            repositories.push(
                store
                    .put_repository(None, &new, &change)
                    .await
                    .unwrap()
                    .unwrap()
                    .repository,
            );
        }
    }
    let repositories = [repositories[0].clone(), repositories[2].clone()];
    for seed in 0..3 {
        let deliveries = entangled(&repositories, seed);
        let mut one_by_one = Vec::new();
        for new in &deliveries {
            one_by_one.extend(alone.accept(std::slice::from_ref(new)).await.unwrap());
        }
        let mut grouped = Vec::new();
        for group in deliveries.chunks(25) {
            grouped.extend(together.accept(group).await.unwrap());
        }
        assert_eq!(one_by_one, grouped, "seed {seed}");
        assert_eq!(written(alone).await, written(together).await, "seed {seed}");
        // The next round finds running builds, one of them being canceled.
        for store in [alone, together] {
            for _ in 0..2 {
                let leased = store.claim(&worker, at(2), Duration::from_secs(30)).await.unwrap();
                let Some(leased) = leased else { continue };
                if leased.build.number % 2 == 0 {
                    store.request_cancel(&leased.build.id, "ann", at(3)).await.unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn a_group_leads_to_what_its_deliveries_lead_to_one_by_one() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let alone = Store::open_sqlite(&sqlite_file(&directories[0])).await.unwrap();
    let together = Store::open_sqlite(&sqlite_file(&directories[1])).await.unwrap();
    a_group_equals_its_deliveries(&alone, &together).await;
    let databases = [PostgresDatabase::create().await, PostgresDatabase::create().await];
    let alone = Store::open_postgres(&databases[0].url).await.unwrap();
    let together = Store::open_postgres(&databases[1].url).await.unwrap();
    a_group_equals_its_deliveries(&alone, &together).await;
    for store in [alone, together] {
        store.close().await;
    }
    for database in databases {
        database.drop().await;
    }
}

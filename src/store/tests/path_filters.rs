use std::time::Duration;

use super::*;
use crate::{
    domain::{
        build::{Before, Ending, ErrorKind, Failure, Status},
        delivery::Outcome,
        ids::WorkerId,
    },
    store::Earlier,
};

const LEASE: Duration = Duration::from_secs(30);

fn sha(number: u32) -> String {
    format!("{number:040x}")
}

/// A push that moved `main` from one commit to another, to a rule with a path filter.
fn push(repository: &Repository, before: Option<u32>, commit: u32) -> NewDelivery {
    let mut new = delivery(repository, vec![]);
    new.requests = vec![BuildRequest {
        cause: Cause::Push {
            delivery: new.id.to_string(),
        },
        before: Some(before.map_or(Before::Nothing, |before| Before::Commit(sha(before)))),
        ..request(repository, &sha(commit))
    }];
    new
}

/// A click, which builds whatever was changed.
fn click(repository: &Repository) -> NewDelivery {
    let requests = vec![BuildRequest {
        commit: None,
        unless_under_way: false,
        ..request(repository, "")
    }];
    delivery(repository, requests)
}

async fn build(store: &Store, id: &BuildId) -> Build {
    store.build(id).await.unwrap().unwrap()
}

async fn claim(store: &Store, seconds: i64) -> Leased {
    store
        .claim(&WorkerId::new(), at(seconds), LEASE)
        .await
        .unwrap()
        .unwrap()
}

async fn end(store: &Store, lease: &Lease, ending: Ending) {
    store.finish(lease, &ending, &[], at(3)).await.unwrap();
}

fn failed() -> Ending {
    Ending::Failed(Failure::new(ErrorKind::Build, "exit code 1"))
}

fn skipped() -> Ending {
    Ending::Skipped {
        reason: "no file was changed".to_owned(),
    }
}

const SUCCEEDED: Ending = Ending::Succeeded { digest: None };

/// Accepts pushes in one group or one by one, and answers their builds.
async fn accept_all(store: &Store, pushes: &[NewDelivery], in_a_group: bool) -> Vec<BuildId> {
    let mut builds = Vec::new();
    for group in pushes.chunks(if in_a_group { pushes.len() } else { 1 }) {
        for accepted in store.accept(group).await.unwrap() {
            builds.extend(accepted.unwrap().builds);
        }
    }
    builds
}

#[tokio::test]
async fn a_push_in_place_of_others_is_compared_with_what_the_first_of_them_was() {
    for in_a_group in [false, true] {
        on_both(|store| async move {
            let repository = repository(&store, "team/app").await;
            let pushes: Vec<NewDelivery> = (1..5).map(|n| push(&repository, Some(n), n + 1)).collect();
            let builds = accept_all(&store, &pushes, in_a_group).await;
            let last = build(&store, &builds[3]).await;
            assert_eq!(last.before, Some(Before::Commit(sha(1))), "in a group: {in_a_group}");
            assert_eq!(build(&store, &builds[0]).await.status, Status::Superseded);
            // One that runs keeps what it is compared with, and so does what comes after it.
            let running = claim(&store, 2).await;
            assert_eq!(running.build.before, Some(Before::Commit(sha(1))));
            let next = accept_all(&store, &[push(&repository, Some(5), 6)], false).await;
            assert_eq!(build(&store, &next[0]).await.before, Some(Before::Commit(sha(5))));
        })
        .await;
    }
}

#[tokio::test]
async fn a_push_in_place_of_a_new_branch_is_compared_like_it() {
    for in_a_group in [false, true] {
        on_both(|store| async move {
            let repository = repository(&store, "team/app").await;
            let pushes = [push(&repository, None, 1), push(&repository, Some(1), 2)];
            let builds = accept_all(&store, &pushes, in_a_group).await;
            assert_eq!(build(&store, &builds[1]).await.before, Some(Before::Nothing));
        })
        .await;
    }
}

#[tokio::test]
async fn a_push_in_place_of_what_builds_in_any_case_builds_in_any_case() {
    for in_a_group in [false, true] {
        on_both(|store| async move {
            let repository = repository(&store, "team/app").await;
            let pushes = [
                push(&repository, Some(1), 2),
                click(&repository),
                push(&repository, Some(2), 3),
                push(&repository, Some(3), 4),
            ];
            let builds = accept_all(&store, &pushes, in_a_group).await;
            for id in &builds[1..] {
                assert_eq!(build(&store, id).await.before, None);
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_may_be_skipped_makes_nothing_needless_that_may_not() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        accept(&store, push(&repository, Some(1), 2)).await;
        let must_build = accept(&store, delivery(&repository, vec![request(&repository, &sha(2))])).await;
        assert_eq!(must_build.outcome, Outcome::Queued);
        let same_again = accept(&store, push(&repository, Some(1), 2)).await;
        assert_eq!(
            (same_again.outcome, same_again.builds),
            (Outcome::Duplicate, must_build.builds)
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_built_last_is_found_by_its_place_in_the_order_of_pushes() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let mut first = None;
        for n in 1..4 {
            let id = accept_all(&store, &[push(&repository, Some(n), n + 1)], false)
                .await
                .remove(0);
            let leased = claim(&store, 2).await;
            first.get_or_insert(id);
            let expected = match n {
                1 => Earlier::Nothing,
                n => Earlier::Built(Box::new(BuiltCommit {
                    number: i64::from(n) - 1,
                    commit: sha(n),
                    plan: leased.build.plan.clone(),
                })),
            };
            assert_eq!(store.built_before(&leased.build).await.unwrap(), expected);
            end(&store, &leased.lease, SUCCEEDED).await;
        }
        // A retry of the first one is newer, and takes its place all the same.
        let retry = BuildRequest {
            push_order: first.map(|id| id.to_string()),
            unless_under_way: false,
            ..request(&repository, &sha(2))
        };
        accept(&store, delivery(&repository, vec![retry])).await;
        let retried = claim(&store, 2).await;
        end(&store, &retried.lease, SUCCEEDED).await;
        accept(&store, push(&repository, Some(4), 5)).await;
        let build = claim(&store, 2).await.build;
        let Earlier::Built(built) = store.built_before(&build).await.unwrap() else {
            panic!("something was built")
        };
        assert_eq!((built.number, &built.commit), (3, &sha(4)));
    })
    .await;
}

#[tokio::test]
async fn other_branches_rules_and_tags_do_not_count() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let others = [
            BuildRequest {
                source_name: "dev".to_owned(),
                ..request(&repository, &sha(1))
            },
            BuildRequest {
                source_type: SourceType::Tag,
                ..request(&repository, &sha(1))
            },
            BuildRequest {
                rule_id: RuleId::new(),
                ..request(&repository, &sha(1))
            },
        ];
        accept(&store, delivery(&repository, others.to_vec())).await;
        for ending in [SUCCEEDED, failed(), SUCCEEDED] {
            let leased = claim(&store, 2).await;
            end(&store, &leased.lease, ending).await;
        }
        accept(&store, push(&repository, Some(1), 2)).await;
        let build = claim(&store, 2).await.build;
        assert_eq!(store.built_before(&build).await.unwrap(), Earlier::Nothing);
    })
    .await;
}

/// A name, how the builds before ended (nothing: they run), and what is found: the number of what was built, or of what is open.
type Row = (&'static str, Vec<Option<Ending>>, Result<Option<i64>, i64>);

/// What is found before a build that comes after others, which ended like this.
async fn earlier_after(store: &Store, repository: &Repository, endings: Vec<Option<Ending>>) -> Earlier {
    let mut commit = 1;
    for ending in endings {
        accept(store, push(repository, Some(commit), commit + 1)).await;
        commit += 1;
        let leased = claim(store, 2).await;
        if let Some(ending) = ending {
            end(store, &leased.lease, ending).await;
        }
    }
    accept(store, push(repository, Some(commit), commit + 1)).await;
    let build = claim(store, 2).await.build;
    store.built_before(&build).await.unwrap()
}

#[tokio::test]
async fn what_is_not_known_to_be_built_is_open() {
    on_both(|store| async move {
        let table: Vec<Row> = vec![
            ("skipped", vec![Some(skipped())], Ok(None)),
            ("failed", vec![Some(failed())], Err(1)),
            ("failed-skipped", vec![Some(failed()), Some(skipped())], Err(1)),
            ("canceled", vec![Some(Ending::Canceled)], Err(1)),
            ("runs", vec![None], Err(1)),
            (
                "elsewhere",
                vec![Some(Ending::Superseded { by: BuildId::new() })],
                Err(1),
            ),
            ("built-failed", vec![Some(SUCCEEDED), Some(failed())], Ok(Some(1))),
            ("built-skipped", vec![Some(SUCCEEDED), Some(skipped())], Ok(Some(1))),
            (
                "built-canceled",
                vec![Some(SUCCEEDED), Some(Ending::Canceled)],
                Ok(Some(1)),
            ),
            ("built-runs", vec![Some(SUCCEEDED), None], Err(2)),
            ("runs-built", vec![None, Some(SUCCEEDED)], Ok(Some(2))),
        ];
        for (name, endings, expected) in table {
            let repository = repository(&store, &format!("team/{name}")).await;
            let found = match earlier_after(&store, &repository, endings).await {
                Earlier::Built(built) => Ok(Some(built.number)),
                Earlier::Nothing => Ok(None),
                Earlier::Open(number) => Err(number),
            };
            assert_eq!(found, expected, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_decided_is_with_the_build_and_in_the_ledger_once() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let delivery = push(&repository, Some(1), 2);
        let built = accept(&store, delivery.clone()).await.builds.remove(0);
        let leased = claim(&store, 2).await;
        let reason = "`api/main.rs` was changed since 0000000";
        for _ in 0..2 {
            store.set_status_reason(&leased.lease, reason).await.unwrap();
        }
        assert_eq!(build(&store, &built).await.status_reason.as_deref(), Some(reason));
        end(&store, &leased.lease, SUCCEEDED).await;
        let ledger = async |id: &DeliveryId| store.delivery(&repository.id, id).await.unwrap().unwrap().0;
        let entry = ledger(&delivery.id).await;
        assert_eq!(entry.reason, format!("build #1 of main; build #1 built: {reason}"));
        assert_eq!(build(&store, &built).await.status_reason.as_deref(), Some(reason));

        let delivery = push(&repository, Some(2), 3);
        let id = accept(&store, delivery.clone()).await.builds.remove(0);
        let leased = claim(&store, 2).await;
        end(&store, &leased.lease, skipped()).await;
        let ended = build(&store, &id).await;
        assert_eq!(
            (ended.status, ended.status_reason.as_deref(), ended.failure),
            (Status::Skipped, Some("no file was changed"), None)
        );
        let entry = ledger(&delivery.id).await;
        assert_eq!(entry.outcome, Outcome::Queued);
        assert_eq!(entry.reason, "build #2 of main; build #2 skipped: no file was changed");
        // A lease that was lost changes nothing, in the ledger neither.
        assert!(store.set_status_reason(&leased.lease, "late").await.is_err());
        assert_eq!(ledger(&delivery.id).await.reason, entry.reason);
    })
    .await;
}

#[tokio::test]
async fn a_skipped_build_is_no_news_and_says_nothing_of_how_a_repository_is_doing() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        for ending in [SUCCEEDED, skipped()] {
            accept(&store, push(&repository, Some(1), 2)).await;
            let leased = claim(&store, 2).await;
            end(&store, &leased.lease, ending).await;
        }
        let status = store.last_telling_status(&repository.id, &StatusOf::Repository).await;
        assert_eq!(status.unwrap(), Some(Status::Succeeded));
    })
    .await;
}

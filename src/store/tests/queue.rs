use std::{collections::HashSet, time::Duration};

use super::*;
use crate::domain::{
    build::{Ending, ErrorKind, Phase, Status},
    ids::WorkerId,
};

const LEASE: Duration = Duration::from_secs(30);

const LIMIT: PoisonLimit = PoisonLimit(3);

async fn claim(store: &Store, now: i64) -> Option<Leased> {
    store.claim(&WorkerId::new(), at(now), LEASE).await.unwrap()
}

async fn build(store: &Store, id: &BuildId) -> Build {
    store.build(id).await.unwrap().unwrap()
}

async fn log(store: &Store, id: &BuildId) -> String {
    let bytes = store.read_log(id, 0, 10_000).await.unwrap().unwrap().bytes;
    String::from_utf8(bytes).unwrap()
}

/// Queues a build of a branch of its own.
async fn queue_branch(store: &Store, repository: &Repository, branch: &str) -> BuildId {
    let request = BuildRequest {
        source_name: branch.to_owned(),
        ..request(repository, "c1")
    };
    accept(store, delivery(repository, vec![request])).await.builds[0].clone()
}

fn requeue(not_before: Option<i64>, counts: bool) -> Requeue {
    Requeue {
        why: "the engine was away".to_owned(),
        not_before: not_before.map(at),
        counts,
    }
}

#[tokio::test]
async fn no_build_is_claimed_twice() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        for number in 0..40 {
            queue_branch(&store, &repository, &format!("branch-{number}")).await;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            tasks.spawn(async move {
                let worker = WorkerId::new();
                let mut claimed = Vec::new();
                while let Some(leased) = store.claim(&worker, at(2), LEASE).await.unwrap() {
                    claimed.push(leased.build.id);
                }
                claimed
            });
        }
        let claimed: Vec<BuildId> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(claimed.len(), 40);
        assert_eq!(claimed.into_iter().collect::<HashSet<_>>().len(), 40);
    })
    .await;
}

#[tokio::test]
async fn the_oldest_build_that_may_start_comes_first() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        assert!(!store.has_claimable(at(2)).await.unwrap());
        let first = queue_branch(&store, &repository, "a").await;
        let second = queue_branch(&store, &repository, "b").await;
        let leased = claim(&store, 2).await.unwrap();
        assert_eq!(leased.build.id, first);
        store.requeue(&leased.lease, &requeue(Some(10), true)).await.unwrap();
        let waiting = build(&store, &first).await;
        assert_eq!((waiting.status, waiting.not_before), (Status::Queued, Some(at(10))));
        assert_eq!(waiting.failure.unwrap().message, "the engine was away");
        assert_eq!(claim(&store, 9).await.unwrap().build.id, second);
        assert!(!store.has_claimable(at(9)).await.unwrap());
        assert!(claim(&store, 9).await.is_none());
        assert!(store.has_claimable(at(10)).await.unwrap());
        let again = claim(&store, 10).await.unwrap();
        assert_eq!((again.build.id, again.build.failure), (first, None));
    })
    .await;
}

#[tokio::test]
async fn a_heartbeat_keeps_a_build_and_its_absence_loses_it() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let id = queue(&store, &repository, "c1").await;
        let leased = claim(&store, 2).await.unwrap();
        store.heartbeat(&leased.lease, at(60)).await.unwrap();
        assert_eq!(store.reap(at(60), LIMIT).await.unwrap(), (0, 0));
        assert_eq!(store.reap(at(61), LIMIT).await.unwrap(), (1, 0));
        let again = build(&store, &id).await;
        assert_eq!(
            (again.status, again.worker_id, again.started_at, again.phase),
            (Status::Queued, None, None, None)
        );
        assert_eq!(
            log(&store, &id).await,
            "the worker died during attempt 1; back to the queue\n"
        );
    })
    .await;
}

#[tokio::test]
async fn a_build_that_kills_its_workers_is_set_aside() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let id = queue(&store, &repository, "c1").await;
        for round in 1..=3 {
            let leased = claim(&store, round * 100).await.unwrap();
            assert_eq!(leased.lease.attempt(), round);
            let expected = if round < 3 { (1, 0) } else { (0, 1) };
            assert_eq!(store.reap(at(round * 100 + 31), LIMIT).await.unwrap(), expected);
        }
        let failed = build(&store, &id).await;
        let failure = failed.failure.unwrap();
        assert_eq!((failed.status, failure.kind), (Status::Failed, ErrorKind::Internal));
        assert!(failure.message.starts_with("set aside after 3 attempts"));
        assert!(log(&store, &id).await.ends_with(&format!("{}\n", failure.message)));
        assert_eq!(failed.finished_at, Some(at(331)));
    })
    .await;
}

#[tokio::test]
async fn a_build_whose_worker_died_after_a_cancel_is_canceled() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let id = queue(&store, &repository, "c1").await;
        claim(&store, 2).await.unwrap();
        store.request_cancel(&id, "ann", at(3)).await.unwrap();
        assert_eq!(store.reap(at(33), LIMIT).await.unwrap(), (0, 1));
        assert_eq!(build(&store, &id).await.status, Status::Canceled);
        assert_eq!(log(&store, &id).await, "canceled; the worker had died\n");
    })
    .await;
}

#[tokio::test]
async fn a_dead_workers_builds_are_taken_back_before_their_leases_run_out_and_no_others() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        for branch in ["a", "b", "c"] {
            queue_branch(&store, &repository, branch).await;
        }
        let dead = WorkerId::new();
        for _ in 0..2 {
            store.claim(&dead, at(2), LEASE).await.unwrap().unwrap();
        }
        let alive = claim(&store, 2).await.unwrap();
        assert_eq!(store.reap_worker(&dead, at(3), LIMIT).await.unwrap(), (2, 0));
        assert_eq!(store.reap_worker(&dead, at(3), LIMIT).await.unwrap(), (0, 0));
        store.heartbeat(&alive.lease, at(40)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_attempt_that_does_not_count_gives_its_number_back_but_not_its_lease() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        queue(&store, &repository, "c1").await;
        let worker = WorkerId::new();
        let claim = async |now| store.claim(&worker, at(now), LEASE).await.unwrap().unwrap();
        let first = claim(2).await;
        store.requeue(&first.lease, &requeue(None, false)).await.unwrap();
        let second = claim(3).await;
        assert_eq!((first.lease.attempt(), second.lease.attempt()), (1, 1));
        assert!(matches!(
            store.heartbeat(&first.lease, at(99)).await,
            Err(LeaseLost::Lost)
        ));
        store.requeue(&second.lease, &requeue(None, true)).await.unwrap();
        assert_eq!(claim(4).await.lease.attempt(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_build_that_is_taken_over_has_one_log_and_one_end() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let id = queue(&store, &repository, "c1").await;
        let first = claim(&store, 2).await.unwrap();
        store
            .append_log(&first.lease, first.build.log_size, b"one\n")
            .await
            .unwrap();
        assert_eq!(store.reap(at(33), LIMIT).await.unwrap(), (1, 0));
        let second = claim(&store, 34).await.unwrap();
        store
            .append_log(&second.lease, second.build.log_size, b"two\n")
            .await
            .unwrap();
        let ending = Ending::Succeeded {
            digest: Some("sha256:x".to_owned()),
        };
        store.finish(&second.lease, &ending, &[], at(36)).await.unwrap();
        let piece = store.read_log(&id, 0, 1000).await.unwrap().unwrap();
        assert!(piece.ended);
        assert_eq!(
            piece.bytes,
            b"one\nthe worker died during attempt 1; back to the queue\ntwo\n"
        );
        assert_eq!(build(&store, &id).await.digest.as_deref(), Some("sha256:x"));
    })
    .await;
}

#[tokio::test]
async fn no_write_under_a_stale_lease_changes_anything() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let id = queue(&store, &repository, "c1").await;
        let worker = WorkerId::new();
        let stale = store.claim(&worker, at(2), LEASE).await.unwrap().unwrap().lease;
        store.reap(at(33), LIMIT).await.unwrap();
        let nothing_passes = async || {
            let before = build(&store, &id).await;
            let refused = [
                store.heartbeat(&stale, at(99)).await,
                store.cancel_requested(&stale).await.map(drop),
                store.set_phase(&stale, Phase::Push).await,
                store.set_commit(&stale, "c9", "m").await,
                store.set_steps(&stale, &[]).await,
                store.append_log(&stale, before.log_size, b"x").await,
                store.claim_tag(&stale, "o", "r/app", "latest", at(34)).await.map(drop),
                store
                    .tag_pushed(
                        &stale,
                        "o",
                        &PushedTag {
                            image: "r/app",
                            tag: "latest",
                            digest: None,
                            image_bytes: None,
                            at: at(34),
                        },
                    )
                    .await,
                store.record_documents(&stale, "o", &Default::default()).await,
                store.requeue(&stale, &requeue(None, true)).await,
                store.finish(&stale, &Ending::Canceled, &[], at(34)).await,
            ];
            for (number, answer) in refused.into_iter().enumerate() {
                assert!(matches!(answer, Err(LeaseLost::Lost)), "{number}: {answer:?}");
            }
            assert_eq!(build(&store, &id).await, before);
        };
        nothing_passes().await;
        let second = store.claim(&worker, at(34), LEASE).await.unwrap().unwrap();
        nothing_passes().await;
        store
            .finish(&second.lease, &Ending::Canceled, &[], at(36))
            .await
            .unwrap();
        nothing_passes().await;
    })
    .await;
}

#[tokio::test]
async fn canceling_ends_a_queued_build_asks_a_running_one_and_leaves_an_ended_one() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let cancel = async |id: &BuildId| store.request_cancel(id, "ann", at(5)).await.unwrap();
        let queued = queue(&store, &repository, "c1").await;
        assert_eq!(cancel(&queued).await, Some(Status::Canceled));
        assert_eq!(log(&store, &queued).await, "canceled by ann before it started\n");
        assert_eq!(cancel(&queued).await, Some(Status::Canceled));
        assert!(!build(&store, &queued).await.cancel_requested);
        assert_eq!(log(&store, &queued).await, "canceled by ann before it started\n");
        let running = queue(&store, &repository, "c2").await;
        let leased = claim(&store, 2).await.unwrap();
        assert!(!store.cancel_requested(&leased.lease).await.unwrap());
        assert_eq!(cancel(&running).await, Some(Status::Running));
        assert!(store.cancel_requested(&leased.lease).await.unwrap());
        assert_eq!(cancel(&BuildId::new()).await, None);
    })
    .await;
}

/// A build in this state, and the last lease on it.
async fn build_in(store: &Store, repository: &Repository, status: Status) -> (BuildId, Lease) {
    let branch = format!("branch-{}", uuid::Uuid::now_v7());
    let id = queue_branch(store, repository, &branch).await;
    let lease = claim(store, 2).await.unwrap().lease;
    assert_eq!(lease.build(), &id);
    let ending = match status {
        Status::Running => return (id, lease),
        Status::Queued => {
            store.requeue(&lease, &requeue(Some(1000), true)).await.unwrap();
            return (id, lease);
        }
        Status::Succeeded => Ending::Succeeded { digest: None },
        Status::Failed => Ending::Failed(crate::domain::build::Failure::new(ErrorKind::Build, "x")),
        Status::Canceled => Ending::Canceled,
        Status::Superseded => Ending::Superseded { by: BuildId::new() },
        Status::Skipped => Ending::Skipped { reason: "x".to_owned() },
    };
    store.finish(&lease, &ending, &[], at(3)).await.unwrap();
    (id, lease)
}

#[tokio::test]
async fn whatever_is_tried_a_build_makes_only_the_moves_that_there_are() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let mut moves = HashSet::new();
        for from in Status::ALL {
            for attempt in 0..8 {
                let (id, lease) = build_in(&store, &repository, from).await;
                // Errors are among what is expected; what counts is the state afterwards.
                match attempt {
                    0 => drop(
                        store
                            .finish(&lease, &Ending::Succeeded { digest: None }, &[], at(4))
                            .await,
                    ),
                    1 => drop(store.requeue(&lease, &requeue(Some(1000), true)).await),
                    2 => drop(store.request_cancel(&id, "ann", at(4)).await),
                    3 => drop(store.reap(at(500), PoisonLimit(5)).await),
                    4 => drop(store.reap(at(500), PoisonLimit(1)).await),
                    5 => drop(store.claim(&WorkerId::new(), at(1000), LEASE).await),
                    6 => {
                        let newer = BuildRequest {
                            source_name: build(&store, &id).await.source_name,
                            ..request(&repository, "c2")
                        };
                        accept(&store, delivery(&repository, vec![newer])).await;
                    }
                    _ => drop(
                        store
                            .finish(&lease, &Ending::Superseded { by: BuildId::new() }, &[], at(4))
                            .await,
                    ),
                }
                let to = build(&store, &id).await.status;
                if to != from {
                    assert!(from.may_become(to), "{from:?} became {to:?} by {attempt}");
                    moves.insert((from, to));
                }
                // Nothing may be left that the next round would claim instead of its own build.
                let all = BuildFilter {
                    sight: Sight::Everything,
                    limit: 10_000,
                    status: Some(Status::Queued),
                    ..BuildFilter::default()
                };
                for left in store.builds(&all).await.unwrap() {
                    store.request_cancel(&left.id, "ann", at(4)).await.unwrap();
                }
            }
        }
        use Status::*;
        for expected in [
            (Queued, Running),
            (Queued, Canceled),
            (Queued, Superseded),
            (Running, Queued),
            (Running, Succeeded),
            (Running, Superseded),
            (Running, Failed),
        ] {
            assert!(moves.contains(&expected), "{expected:?} was never seen");
        }
    })
    .await;
}

use std::{collections::HashSet, time::Duration};

use super::*;
use crate::domain::{
    build::{Ending, Status},
    ids::WorkerId,
};

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn no_build_is_claimed_twice() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        for number in 0..40 {
            let mut request = request(&repository, &format!("c{number}"));
            request.source_name = format!("branch-{number}");
            accept(&store, delivery(&repository, vec![request])).await;
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
async fn a_build_of_a_dead_worker_is_taken_over_and_its_old_worker_changes_nothing() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let id = queue(&store, &repository, "c1").await;
        let first = store.claim(&WorkerId::new(), at(2), LEASE).await.unwrap().unwrap();
        store
            .append_log(&first.lease, first.build.log_size, b"one\n")
            .await
            .unwrap();
        assert_eq!(store.reap(at(31), PoisonLimit(5)).await.unwrap(), (0, 0));
        assert_eq!(store.reap(at(33), PoisonLimit(5)).await.unwrap(), (1, 0));
        let second = store.claim(&WorkerId::new(), at(34), LEASE).await.unwrap().unwrap();
        assert_eq!((second.build.id.clone(), second.lease.attempt()), (id.clone(), 2));
        let stale = &first.lease;
        assert!(matches!(store.heartbeat(stale, at(99)).await, Err(LeaseLost::Lost)));
        assert!(matches!(
            store.append_log(stale, second.build.log_size, b"x").await,
            Err(LeaseLost::Lost)
        ));
        assert!(matches!(
            store.finish(stale, &Ending::Canceled, &[], at(35)).await,
            Err(LeaseLost::Lost)
        ));
        assert_eq!(store.build(&id).await.unwrap().unwrap().status, Status::Running);
        let ending = Ending::Succeeded {
            digest: Some("sha256:x".to_owned()),
        };
        store.finish(&second.lease, &ending, &[], at(36)).await.unwrap();
        let log = store.read_log(&id, 0, 1000).await.unwrap().unwrap();
        assert!(log.ended);
        assert_eq!(log.bytes, b"one\nthe worker died during attempt 1; back to the queue\n");
    })
    .await;
}

#[tokio::test]
async fn a_newer_push_supersedes_queued_older_ones_and_names_itself() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let old = queue(&store, &repository, "c1").await;
        let new = queue(&store, &repository, "c2").await;
        let old = store.build(&old).await.unwrap().unwrap();
        assert_eq!((old.status, old.superseded_by), (Status::Superseded, Some(new)));
        assert_eq!(
            store.read_log(&old.id, 0, 99).await.unwrap().unwrap().bytes,
            b"superseded by build #2 before it started\n"
        );
    })
    .await;
}

#[tokio::test]
async fn an_older_build_does_not_get_the_tag_of_a_newer_one() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        queue(&store, &repository, "c1").await;
        let older = store.claim(&WorkerId::new(), at(2), LEASE).await.unwrap().unwrap();
        queue(&store, &repository, "c2").await;
        let newer = store.claim(&WorkerId::new(), at(2), LEASE).await.unwrap().unwrap();
        let claim = async |leased: &Leased| {
            store
                .claim_tag(&leased.lease, &leased.build.push_order, "r/app", "latest", at(3))
                .await
                .unwrap()
        };
        assert_eq!(claim(&older).await, TagClaim::Granted);
        assert_eq!(claim(&newer).await, TagClaim::Busy(older.build.id.clone()));
        store.finish(&older.lease, &Ending::Canceled, &[], at(4)).await.unwrap();
        assert_eq!(claim(&newer).await, TagClaim::Granted);
        store
            .tag_pushed(&newer.lease, &newer.build.push_order, "r/app", "latest")
            .await
            .unwrap();
        queue(&store, &repository, "c3").await;
        let mut retried = store.claim(&WorkerId::new(), at(5), LEASE).await.unwrap().unwrap();
        retried.build.push_order = older.build.push_order.clone();
        assert_eq!(claim(&retried).await, TagClaim::Newer(newer.build.id.clone()));
    })
    .await;
}

#[tokio::test]
async fn cancelling_ends_a_queued_build_and_asks_a_running_one() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let id = queue(&store, &repository, "c1").await;
        assert_eq!(
            store.request_cancel(&id, "ann", at(2)).await.unwrap(),
            Some(Status::Canceled)
        );
        let id = queue(&store, &repository, "c2").await;
        let leased = store.claim(&WorkerId::new(), at(2), LEASE).await.unwrap().unwrap();
        assert!(!store.cancel_requested(&leased.lease).await.unwrap());
        assert_eq!(
            store.request_cancel(&id, "ann", at(2)).await.unwrap(),
            Some(Status::Running)
        );
        assert!(store.cancel_requested(&leased.lease).await.unwrap());
        assert_eq!(store.request_cancel(&BuildId::new(), "ann", at(2)).await.unwrap(), None);
    })
    .await;
}

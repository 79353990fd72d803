use std::time::Duration;

use super::*;
use crate::domain::{build::Ending, ids::WorkerId};

const LEASE: Duration = Duration::from_secs(30);

async fn claim(store: &Store, now: i64) -> Leased {
    store.claim(&WorkerId::new(), at(now), LEASE).await.unwrap().unwrap()
}

async fn ask(store: &Store, leased: &Leased, tag: &str, now: i64) -> TagClaim {
    store
        .claim_tag(&leased.lease, &leased.build.push_order, "r/app", tag, at(now))
        .await
        .unwrap()
}

async fn pushed(store: &Store, leased: &Leased, tag: &str) -> Result<(), LeaseLost> {
    store
        .tag_pushed(&leased.lease, &leased.build.push_order, &pushed_tag(tag, 5))
        .await
}

fn pushed_tag(tag: &str, at_second: i64) -> PushedTag<'_> {
    PushedTag {
        image: "r/app",
        tag,
        digest: Some("sha256:abc"),
        image_bytes: Some(1234),
        at: at(at_second),
    }
}

/// Two running builds of the same ref, the older one first.
async fn two_running(store: &Store) -> (Repository, Leased, Leased) {
    let repository = repository(store, "team/app").await;
    queue(store, &repository, "c1").await;
    let older = claim(store, 2).await;
    queue(store, &repository, "c2").await;
    let newer = claim(store, 3).await;
    (repository, older, newer)
}

#[tokio::test]
async fn an_older_build_does_not_get_the_tag_of_a_newer_one() {
    on_both(|store| async move {
        let (repository, older, newer) = two_running(&store).await;
        assert_eq!(ask(&store, &newer, "latest", 4).await, TagClaim::Granted);
        assert_eq!(
            ask(&store, &older, "latest", 4).await,
            TagClaim::Busy(newer.build.id.clone())
        );
        pushed(&store, &newer, "latest").await.unwrap();
        assert_eq!(
            ask(&store, &older, "latest", 4).await,
            TagClaim::Newer(newer.build.id.clone())
        );
        store.finish(&newer.lease, &Ending::Canceled, &[], at(5)).await.unwrap();
        assert_eq!(
            ask(&store, &older, "latest", 6).await,
            TagClaim::Newer(newer.build.id.clone())
        );
        store.finish(&older.lease, &Ending::Canceled, &[], at(6)).await.unwrap();
        // A retry has the place of the build that it repeats, not its own.
        let again = BuildRequest {
            push_order: Some(older.build.push_order.clone()),
            ..request(&repository, "c1")
        };
        accept(&store, delivery(&repository, vec![again])).await;
        let retried = claim(&store, 7).await;
        assert_eq!(
            ask(&store, &retried, "latest", 8).await,
            TagClaim::Newer(newer.build.id)
        );
    })
    .await;
}

#[tokio::test]
async fn a_build_may_push_its_own_tag_again_and_a_newer_one_after_it() {
    on_both(|store| async move {
        let (_, older, newer) = two_running(&store).await;
        for _ in 0..2 {
            assert_eq!(ask(&store, &older, "latest", 4).await, TagClaim::Granted);
            assert_eq!(ask(&store, &older, "latest", 4).await, TagClaim::Granted);
            pushed(&store, &older, "latest").await.unwrap();
        }
        assert_eq!(ask(&store, &newer, "latest", 4).await, TagClaim::Granted);
        pushed(&store, &newer, "latest").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn every_tag_is_claimed_by_itself() {
    on_both(|store| async move {
        let (_, older, newer) = two_running(&store).await;
        assert_eq!(ask(&store, &older, "a", 4).await, TagClaim::Granted);
        assert_eq!(ask(&store, &newer, "b", 4).await, TagClaim::Granted);
        assert_eq!(
            ask(&store, &older, "b", 4).await,
            TagClaim::Busy(newer.build.id.clone())
        );
        assert_eq!(
            ask(&store, &newer, "a", 4).await,
            TagClaim::Busy(older.build.id.clone())
        );
        let elsewhere = store
            .claim_tag(&newer.lease, &newer.build.push_order, "r/other", "a", at(4))
            .await
            .unwrap();
        assert_eq!(elsewhere, TagClaim::Granted);
        assert!(matches!(pushed(&store, &newer, "a").await, Err(LeaseLost::Lost)));
    })
    .await;
}

#[tokio::test]
async fn a_build_that_goes_back_or_dies_lets_go_of_its_tags() {
    on_both(|store| async move {
        let (_, older, newer) = two_running(&store).await;
        assert_eq!(ask(&store, &older, "latest", 4).await, TagClaim::Granted);
        let requeue = Requeue {
            why: "shutdown".to_owned(),
            not_before: None,
            counts: false,
        };
        store.requeue(&older.lease, &requeue).await.unwrap();
        let older = claim(&store, 5).await;
        assert_eq!(ask(&store, &newer, "latest", 6).await, TagClaim::Granted);
        pushed(&store, &newer, "latest").await.unwrap();

        assert_eq!(ask(&store, &newer, "latest", 6).await, TagClaim::Granted);
        // Its lease ran out at 33, though nobody has noticed yet; the other's runs out at 35.
        assert_eq!(ask(&store, &older, "other", 34).await, TagClaim::Granted);
        store.heartbeat(&older.lease, at(90)).await.unwrap();
        assert_eq!(ask(&store, &newer, "third", 32).await, TagClaim::Granted);
        assert_eq!(
            ask(&store, &older, "third", 33).await,
            TagClaim::Busy(newer.build.id.clone())
        );
        assert_eq!(ask(&store, &older, "third", 34).await, TagClaim::Granted);
        assert!(matches!(pushed(&store, &newer, "third").await, Err(LeaseLost::Lost)));
    })
    .await;
}

#[tokio::test]
async fn the_tags_of_a_repository_are_listed_the_last_pushed_first_page_by_page() {
    on_both(|store| async move {
        let (repository, older, newer) = two_running(&store).await;
        for (leased, tag, second) in [
            (&older, "1", 4),
            (&older, "latest", 4),
            (&older, "a", 5),
            (&newer, "latest", 6),
        ] {
            assert_eq!(ask(&store, leased, tag, 4).await, TagClaim::Granted);
            let pushed = pushed_tag(tag, second);
            let order = &leased.build.push_order;
            store.tag_pushed(&leased.lease, order, &pushed).await.unwrap();
        }
        assert_eq!(ask(&store, &newer, "never-pushed", 4).await, TagClaim::Granted);
        let all = store.repository_tags(&repository.id, None, 10).await.unwrap();
        let told: Vec<_> = all.iter().map(|tag| (tag.tag.as_str(), tag.build_number)).collect();
        assert_eq!(told, [("latest", Some(2)), ("a", Some(1)), ("1", Some(1))]);
        assert_eq!(all[0].digest.as_deref(), Some("sha256:abc"));
        assert_eq!((all[0].image_bytes, all[0].pushed_at), (Some(1234), at(6)));
        assert_eq!((&all[0].build, all[0].image.as_str()), (&newer.build.id, "r/app"));
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = store.repository_tags(&repository.id, after.as_ref(), 1).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(TagCursor {
                image: last.image.clone(),
                tag: last.tag.clone(),
            });
            seen.extend(page);
        }
        assert_eq!(seen, all);
        assert!(
            store
                .repository_tags(&RepositoryId::new(), None, 10)
                .await
                .unwrap()
                .is_empty()
        );
    })
    .await;
}

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;

use super::*;
use crate::domain::{
    build::{CauseKind, Ending},
    delivery::Outcome,
    ids::WorkerId,
    remote_refs::{MANY, Seen},
};

const HOUR: i64 = 3600;

fn seen(refs: &[(&str, &str)]) -> Seen {
    Seen {
        source: "https://github.com/acme/app.git".to_owned(),
        rules: ["branch\nmain\nlatest".to_owned()].into(),
        refs: refs
            .iter()
            .map(|(name, commit)| ((*name).to_owned(), (*commit).to_owned()))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn ended(at_second: i64, next: i64, result: Result<Seen, &str>) -> EndedPoll {
    EndedPoll {
        at: Some(at(at_second)),
        next_at: at(next),
        result: Some(result.map_err(str::to_owned)),
    }
}

/// A whole look at a second.
async fn look(store: &Store, repository: &Repository, second: i64, ended: &EndedPoll) -> bool {
    let claim = store
        .claim_poll(&repository.id, at(second), at(second + 600))
        .await
        .unwrap()
        .unwrap();
    store.end_poll(&claim, ended).await.unwrap()
}

async fn due(store: &Store, second: i64) -> Vec<RepositoryId> {
    let due = store.due_polls(at(second), 10).await.unwrap();
    due.into_iter().map(|due| due.repository).collect()
}

fn poll_request(repository: &Repository, commit: &str) -> BuildRequest {
    BuildRequest {
        cause: Cause::Poll,
        ..request(repository, commit)
    }
}

/// A webhook's delivery of a commit, at a second.
fn webhook(repository: &Repository, id: &str, commit: &str, second: i64) -> NewDelivery {
    let request = BuildRequest {
        cause: Cause::Push {
            delivery: id.to_owned(),
        },
        ..request(repository, commit)
    };
    NewDelivery {
        delivery_id: Some(id.to_owned()),
        received_at: at(second),
        ..delivery(repository, vec![request])
    }
}

#[tokio::test]
async fn a_repository_is_due_when_it_is_made_and_one_of_two_looks() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        assert_eq!(due(&store, -1).await, []);
        assert_eq!(due(&store, 0).await, [repository.id.clone()]);
        let claims = tokio::join!(
            store.claim_poll(&repository.id, at(1), at(601)),
            store.claim_poll(&repository.id, at(1), at(602)),
        );
        let claims: Vec<PollClaim> = [claims.0, claims.1]
            .into_iter()
            .filter_map(|claim| claim.unwrap())
            .collect();
        assert_eq!(claims.len(), 1);
        assert_eq!(due(&store, 600).await, [], "somebody is looking");
        assert_eq!(
            due(&store, 602).await,
            [repository.id.clone()],
            "whoever was looking died"
        );
        let second = store
            .claim_poll(&repository.id, at(610), at(1210))
            .await
            .unwrap()
            .unwrap();
        let stale = ended(1, HOUR, Ok(seen(&[("refs/heads/main", "stale")])));
        assert!(!store.end_poll(&claims[0], &stale).await.unwrap());
        assert_eq!(store.last_seen(&repository.id).await.unwrap(), None);
        assert!(store.end_poll(&second, &ended(610, HOUR, Ok(seen(&[])))).await.unwrap());
        assert_eq!(due(&store, HOUR - 1).await, []);
        assert_eq!(due(&store, HOUR).await, [repository.id.clone()]);
        store.delete_repository(&repository.id).await.unwrap();
        assert_eq!(due(&store, HOUR).await, []);
    })
    .await;
}

#[tokio::test]
async fn what_was_seen_is_kept_until_a_look_sees_something_else_and_a_failure_leaves_it() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let many: Vec<(String, String)> = (0..150).map(|n| (format!("refs/tags/v{n}"), format!("c{n}"))).collect();
        let many: Vec<(&str, &str)> = many
            .iter()
            .map(|(name, commit)| (name.as_str(), commit.as_str()))
            .collect();
        look(&store, &repository, 0, &ended(0, 10, Ok(seen(&many)))).await;
        let last = store.last_seen(&repository.id).await.unwrap().unwrap();
        assert_eq!((last.at, &last.seen), (at(0), &seen(&many)));

        let mut moved = many.clone();
        moved[0].1 = "moved";
        moved.truncate(70);
        moved.push(("refs/heads/main", "new"));
        look(&store, &repository, 10, &ended(10, 20, Ok(seen(&moved)))).await;
        look(&store, &repository, 20, &ended(20, 30, Err("it is down"))).await;
        look(&store, &repository, 30, &ended(30, 40, Err("it is down"))).await;
        let last = store.last_seen(&repository.id).await.unwrap().unwrap();
        assert_eq!((last.at, &last.seen), (at(10), &seen(&moved)));
        let state = store.poll_state(&repository.id).await.unwrap().unwrap();
        assert_eq!(
            (state.last_at, state.problem.as_deref(), state.next_at),
            (Some(at(30)), Some("it is down"), at(40))
        );
        assert_eq!(store.due_polls(at(40), 1).await.unwrap()[0].failures, 2);

        let no_end = EndedPoll {
            at: None,
            next_at: at(50),
            result: None,
        };
        look(&store, &repository, 40, &no_end).await;
        assert_eq!(store.due_polls(at(50), 1).await.unwrap()[0].failures, 2);
        look(&store, &repository, 50, &ended(50, 60, Ok(seen(&moved)))).await;
        let state = store.poll_state(&repository.id).await.unwrap().unwrap();
        assert_eq!((state.last_at, state.problem), (Some(at(50)), None));
        assert_eq!(store.due_polls(at(60), 1).await.unwrap()[0].failures, 0);
    })
    .await;
}

#[tokio::test]
async fn a_start_brings_looks_forward_a_save_and_a_click_make_them_due() {
    on_both(|store| async move {
        let first = repository(&store, "team/a").await;
        let failing = repository(&store, "team/b").await;
        look(&store, &first, 0, &ended(0, HOUR, Ok(seen(&[])))).await;
        look(&store, &failing, 0, &ended(0, HOUR, Err("it is down"))).await;
        let spread = TimeDelta::seconds(160);
        store.bring_polls_forward(at(100), spread, at(-1)).await.unwrap();
        assert_eq!(due(&store, 300).await, [], "it was looked at just before");
        store.bring_polls_forward(at(100), spread, at(90)).await.unwrap();
        assert_eq!(due(&store, 99).await, []);
        assert_eq!(
            due(&store, 250).await,
            [first.id.clone()],
            "the one that fails keeps its pause"
        );

        store.postpone_poll(&first.id, at(300), at(HOUR)).await.unwrap();
        assert_eq!(due(&store, 300).await, []);
        store.ask_for_poll(&first.id, at(300)).await.unwrap();
        assert_eq!(due(&store, 300).await, [first.id.clone()]);
        let new = NewRepository {
            now: at(400),
            ..new_repository()
        };
        store
            .put_repository(Some(&failing.id), &new, &change("team/b"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(due(&store, 400).await, [first.id, failing.id]);
    })
    .await;
}

#[tokio::test]
async fn builds_of_a_ref_and_webhooks_are_found_since_a_moment() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        assert_eq!(store.last_webhook(&repository.id).await.unwrap(), None);
        queue(&store, &repository, "c1").await;
        assert_eq!(
            store.last_webhook(&repository.id).await.unwrap(),
            None,
            "a click is none"
        );
        accept(&store, webhook(&repository, "d1", "c2", 50)).await;
        assert_eq!(store.last_webhook(&repository.id).await.unwrap(), Some(at(50)));
        let of = async |name: &str, since: i64| {
            let found = store
                .builds_of_ref(&repository.id, SourceType::Branch, name, at(since))
                .await;
            let found = found.unwrap().into_iter();
            found
                .map(|build| (build.cause, build.commit.unwrap()))
                .collect::<Vec<_>>()
        };
        let both = [(CauseKind::Push, "c2".to_owned()), (CauseKind::Manual, "c1".to_owned())];
        assert_eq!(of("main", 0).await, both);
        assert_eq!(of("main", 2).await, both[..1]);
        assert_eq!(of("other", 0).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_comes_after_a_look_built_its_commit_is_a_duplicate_for_a_day() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let found = accept(
            &store,
            delivery(&repository, vec![poll_request(&repository, "c1c1c1c1")]),
        )
        .await;
        let waiting = accept(&store, webhook(&repository, "d1", "c1c1c1c1", 2)).await;
        assert_eq!(waiting.reason, "c1c1c1c of main is queued already as build #1");
        let claimed = store.claim(&WorkerId::new(), at(3), Duration::from_secs(30)).await;
        let lease = claimed.unwrap().unwrap().lease;
        store.finish(&lease, &Ending::Canceled, &[], at(4)).await.unwrap();

        let late = accept(&store, webhook(&repository, "d2", "c1c1c1c1", HOUR)).await;
        assert_eq!((late.outcome, &late.builds), (Outcome::Duplicate, &found.builds));
        assert_eq!(
            late.reason,
            "c1c1c1c of main was found by a look at the source before, and built as build #1"
        );
        let replayed = NewDelivery {
            delivery_id: None,
            ..webhook(&repository, "d3", "c1c1c1c1", HOUR)
        };
        assert_eq!(
            accept(&store, replayed).await.outcome,
            Outcome::Queued,
            "it was asked for"
        );
    })
    .await;
}

#[tokio::test]
async fn a_branch_that_was_moved_there_and_back_is_built_again_and_so_is_a_webhook_days_later() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        accept(&store, delivery(&repository, vec![poll_request(&repository, "c1")])).await;
        let claimed = store.claim(&WorkerId::new(), at(3), Duration::from_secs(30)).await;
        store
            .finish(&claimed.unwrap().unwrap().lease, &Ending::Canceled, &[], at(4))
            .await
            .unwrap();
        let days_later = accept(&store, webhook(&repository, "d1", "c1", 3 * 24 * HOUR)).await;
        assert_eq!(days_later.outcome, Outcome::Queued);
        // The newest build is no look's now.
        let claimed = store.claim(&WorkerId::new(), at(5), Duration::from_secs(30)).await;
        store
            .finish(&claimed.unwrap().unwrap().lease, &Ending::Canceled, &[], at(6))
            .await
            .unwrap();
        let back = accept(&store, webhook(&repository, "d2", "c1", 10)).await;
        assert_eq!(back.outcome, Outcome::Queued);
    })
    .await;
}

#[tokio::test]
async fn many_builds_of_one_look_wait_behind_those_that_somebody_waits_for() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let requests = (0..=MANY).map(|n| BuildRequest {
            source_name: format!("b{n}"),
            ..poll_request(&repository, "c1")
        });
        accept(&store, delivery(&repository, requests.collect())).await;
        let pushed = queue(&store, &repository, "c2").await;
        let claimed = store.claim(&WorkerId::new(), at(3), Duration::from_secs(30)).await;
        assert_eq!(claimed.unwrap().unwrap().build.id, pushed);
    })
    .await;
}

use std::time::Duration;

use super::*;
use crate::domain::{
    build::{BaseImage, CauseKind, Ending, ErrorKind, Failure, Phase, Status, Step},
    ids::WorkerId,
};

fn everything() -> BuildFilter {
    BuildFilter {
        sight: Sight::Everything,
        limit: 100,
        ..BuildFilter::default()
    }
}

async fn numbers(store: &Store, filter: &BuildFilter) -> Vec<i64> {
    store
        .builds(filter)
        .await
        .unwrap()
        .iter()
        .map(|build| build.number)
        .collect()
}

#[tokio::test]
async fn lists_are_narrowed_by_repository_and_status_and_paged() {
    on_both(|store| async move {
        let a = repository(&store, "team/a").await;
        let b = repository(&store, "team/b").await;
        let mut ids = Vec::new();
        for n in 0..4 {
            ids.push(queue(&store, &a, &format!("c{n}")).await);
        }
        queue(&store, &b, "c").await;
        let of_a = BuildFilter {
            repository: Some(a.id.clone()),
            ..everything()
        };
        let superseded = |filter: &BuildFilter| BuildFilter {
            status: Some(Status::Superseded),
            ..filter.clone()
        };
        assert_eq!(numbers(&store, &everything()).await, [1, 4, 3, 2, 1]);
        assert_eq!(numbers(&store, &of_a).await, [4, 3, 2, 1]);
        assert_eq!(numbers(&store, &superseded(&everything())).await, [3, 2, 1]);
        assert_eq!(numbers(&store, &superseded(&of_a)).await, [3, 2, 1]);
        let of_b = BuildFilter {
            repository: Some(b.id.clone()),
            ..everything()
        };
        assert!(numbers(&store, &superseded(&of_b)).await.is_empty());
        let page = BuildFilter {
            before: Some(ids[3].clone()),
            limit: 2,
            ..superseded(&of_a)
        };
        assert_eq!(numbers(&store, &page).await, [3, 2]);
        assert_eq!(store.last_build(&a.id).await.unwrap().unwrap().number, 4);
        assert_eq!(store.last_build(&RepositoryId::new()).await.unwrap(), None);
        let mut counts = store.count_builds().await.unwrap();
        counts.sort_by_key(|(status, _)| status.as_str());
        assert_eq!(counts, [(Status::Queued, 2), (Status::Superseded, 3)]);
    })
    .await;
}

#[tokio::test]
async fn lists_are_narrowed_by_rule_ref_and_cause() {
    on_both(|store| async move {
        let two_rules = RepositoryChange {
            rules: vec![rule("main", "latest"), rule("dev", "dev")],
            ..change("team/a")
        };
        let saved = store.put_repository(None, &new_repository(), &two_rules).await.unwrap();
        let a = saved.unwrap().repository;
        let b = repository(&store, "team/b").await;
        let of_push = Cause::Push {
            delivery: "d".to_owned(),
        };
        let pushed = BuildRequest {
            rule_id: a.rules[1].id.clone(),
            source_name: "dev".to_owned(),
            cause: of_push,
            ..request(&a, "c2")
        };
        accept(&store, delivery(&a, vec![request(&a, "c1"), pushed])).await;
        queue(&store, &b, "c3").await;
        let of_a = BuildFilter {
            repository: Some(a.id.clone()),
            ..everything()
        };
        let by_rule = BuildFilter {
            rule: Some(a.rules[1].id.clone()),
            ..everything()
        };
        let by_ref = |name: &str, filter: &BuildFilter| BuildFilter {
            source_name: Some(name.to_owned()),
            ..filter.clone()
        };
        let by_cause = |cause: CauseKind| BuildFilter {
            cause: Some(cause),
            ..everything()
        };
        assert_eq!(numbers(&store, &by_rule).await, [2]);
        assert_eq!(numbers(&store, &by_ref("main", &everything())).await, [1, 1]);
        assert_eq!(numbers(&store, &by_ref("main", &of_a)).await, [1]);
        assert_eq!(numbers(&store, &by_ref("mai", &of_a)).await, [0; 0]);
        assert_eq!(numbers(&store, &by_ref("main", &by_rule)).await, [0; 0]);
        assert_eq!(numbers(&store, &by_cause(CauseKind::Push)).await, [2]);
        assert_eq!(numbers(&store, &by_cause(CauseKind::Manual)).await, [1, 1]);
        assert_eq!(numbers(&store, &by_cause(CauseKind::Retry)).await, [0; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_list_is_walked_back_to_what_is_newer() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let mut ids = Vec::new();
        for n in 0..5 {
            ids.push(queue(&store, &repository, &format!("c{n}")).await);
        }
        let after = |index: usize, limit: u32| BuildFilter {
            after: Some(ids[index].clone()),
            limit,
            ..everything()
        };
        assert_eq!(numbers(&store, &after(0, 2)).await, [3, 2]);
        assert_eq!(numbers(&store, &after(2, 9)).await, [5, 4]);
        assert_eq!(numbers(&store, &after(4, 9)).await, [0; 0]);
    })
    .await;
}

#[tokio::test]
async fn builds_are_named_by_their_numbers_and_those_that_are_gone_are_left_out() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let (first, second) = (
            queue(&store, &repository, "c1").await,
            queue(&store, &repository, "c2").await,
        );
        let mut found = store
            .build_numbers(&[&second, &first, &BuildId::new()])
            .await
            .unwrap()
            .into_iter()
            .map(|build| (build.number, build.status))
            .collect::<Vec<_>>();
        found.sort_by_key(|(number, _)| *number);
        assert_eq!(found, [(1, Status::Superseded), (2, Status::Queued)]);
        assert!(store.build_numbers(&[]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn private_builds_are_seen_in_ones_own_namespace_and_organisations_and_by_administrators() {
    on_both(|store| async move {
        let private = RepositoryChange {
            visibility: Visibility::Private,
            ..change("team/secret")
        };
        let saved = store.put_repository(None, &new_repository(), &private).await.unwrap();
        queue(&store, &saved.unwrap().repository, "c1").await;
        let public = repository(&store, "other/open").await;
        queue(&store, &public, "c1").await;
        let (team, other) = (added_user(&store, "team").await, added_user(&store, "other").await);
        let sees = async |sight: Sight| {
            let filter = BuildFilter { sight, ..everything() };
            numbers(&store, &filter).await.len()
        };
        assert_eq!(sees(Sight::Public).await, 1);
        assert_eq!(sees(Sight::Of(other.id.clone())).await, 1);
        assert_eq!(sees(Sight::Of(team.id)).await, 2);
        assert_eq!(sees(Sight::Everything).await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_place_in_the_queue_counts_everybodys_builds() {
    on_both(|store| async move {
        let a = repository(&store, "team/a").await;
        let b = repository(&store, "team/b").await;
        let mut of_a = Vec::new();
        for n in 0..6 {
            let (repository, mine) = if n % 2 == 0 { (&a, true) } else { (&b, false) };
            let request = BuildRequest {
                source_name: format!("branch-{n}"),
                ..request(repository, "c")
            };
            let accepted = accept(&store, delivery(repository, vec![request])).await;
            if mine {
                of_a.push(accepted.builds[0].clone());
            }
        }
        let places = async || -> Vec<Option<i64>> {
            let filter = BuildFilter {
                repository: Some(a.id.clone()),
                ..everything()
            };
            let builds = store.builds(&filter).await.unwrap();
            builds.iter().map(|build| build.queue_position).collect()
        };
        assert_eq!(places().await, [Some(5), Some(3), Some(1)]);
        store
            .claim(&WorkerId::new(), at(2), Duration::from_secs(30))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(places().await, [Some(4), Some(2), None]);
        assert_eq!(store.build(&of_a[2]).await.unwrap().unwrap().queue_position, Some(4));
    })
    .await;
}

#[tokio::test]
async fn what_a_worker_records_is_what_is_read() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let id = queue(&store, &repository, "c1").await;
        let worker = WorkerId::new();
        let lease = store
            .claim(&worker, at(2), Duration::from_secs(30))
            .await
            .unwrap()
            .unwrap()
            .lease;
        let steps = [Step {
            name: "[1/1] FROM x".to_owned(),
            started_at: Some(at(3)),
            finished_at: None,
            cached: false,
            error: None,
        }];
        store.set_phase(&lease, Phase::Build).await.unwrap();
        store.set_commit(&lease, "c2", "what it says").await.unwrap();
        store.set_steps(&lease, &steps).await.unwrap();
        let running = store.build(&id).await.unwrap().unwrap();
        assert_eq!(
            (
                running.phase,
                running.commit.as_deref(),
                running.commit_message.as_deref()
            ),
            (Some(Phase::Build), Some("c2"), Some("what it says"))
        );
        assert_eq!(
            (running.steps.as_slice(), running.worker_id),
            (steps.as_slice(), Some(worker))
        );
        assert_eq!(
            (running.status, running.started_at, running.attempt),
            (Status::Running, Some(at(2)), 1)
        );
        let bases = [BaseImage {
            name: "docker.io/library/alpine:3".to_owned(),
            digest: None,
            pinned: false,
        }];
        let failure = Failure::new(ErrorKind::Build, "exit code 7");
        store
            .finish(&lease, &Ending::Failed(failure.clone()), &bases, at(9))
            .await
            .unwrap();
        let ended = store.build(&id).await.unwrap().unwrap();
        assert_eq!(
            (ended.status, ended.phase, ended.failure),
            (Status::Failed, None, Some(failure))
        );
        assert_eq!(
            (ended.base_images.as_slice(), ended.finished_at),
            (bases.as_slice(), Some(at(9)))
        );
    })
    .await;
}

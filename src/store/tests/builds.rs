use std::time::Duration;

use super::*;
use crate::domain::{
    build::{BaseImage, Ending, ErrorKind, Failure, Phase, Status, Step},
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

use super::*;
use crate::domain::{build::Status, delivery::Outcome};

#[tokio::test]
async fn a_push_is_recorded_with_the_build_that_it_led_to() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let accepted = accept(&store, delivery(&repository, vec![request(&repository, "c1")])).await;
        assert_eq!(accepted.outcome, Outcome::Queued);
        let recorded = store.deliveries(&repository.id, None, 10).await.unwrap();
        assert_eq!(recorded.len(), 1);
        assert_eq!(recorded[0].builds, accepted.builds);
        let build = store.build(&accepted.builds[0]).await.unwrap().unwrap();
        assert_eq!(
            (build.number, build.status, build.queue_position),
            (1, Status::Queued, Some(1))
        );
        let (_, body) = store.delivery(&repository.id, &accepted.id).await.unwrap().unwrap();
        assert_eq!(body.unwrap().body, b"body");
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
                let new = delivery(&repository, vec![request(&repository, "c1")]);
                accept(
                    &store,
                    NewDelivery {
                        delivery_id: Some("d-1".to_owned()),
                        ..new
                    },
                )
                .await
            });
        }
        let answers = tasks.join_all().await;
        let queued = answers.iter().filter(|a| a.outcome == Outcome::Queued).count();
        assert_eq!(queued, 1);
        assert!(answers.iter().all(|a| a.builds == answers[0].builds));
        let builds = store
            .builds(&BuildFilter {
                all: true,
                limit: 100,
                ..BuildFilter::default()
            })
            .await
            .unwrap();
        assert_eq!(builds.len(), 1);
    })
    .await;
}

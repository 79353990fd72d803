use std::time::Duration;

use chrono::TimeDelta;

use super::*;
use crate::domain::{
    build::{Ending, Phase, Step},
    ids::WorkerId,
};

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn every_step_of_a_build_is_told_where_it_shows_and_nowhere_else() {
    on_both(|store| async move {
        let repository_a = repository(&store, "team/a").await;
        let repository_b = repository(&store, "team/b").await;
        let other = queue(&store, &repository_b, "c").await;
        let leased = store.claim(&WorkerId::new(), at(2), LEASE).await.unwrap().unwrap();
        assert_eq!(leased.build.id, other);
        let before_all = [
            ActivityOf::Everything,
            ActivityOf::Repository(repository_a.id.clone()),
            ActivityOf::Repository(repository_b.id.clone()),
        ];
        let look = async |of: &[ActivityOf]| {
            let mut found = Vec::new();
            for of in of {
                found.push(store.activity(of).await.unwrap());
            }
            found
        };
        let mut seen = look(&before_all).await;
        let build = queue(&store, &repository_a, "c1").await;
        let check = async |seen: &mut Vec<Activity>, what: &str| {
            let now = look(&before_all).await;
            assert_ne!(now[0], seen[0], "{what}");
            assert_ne!(now[1], seen[1], "{what}");
            assert_eq!(now[2], seen[2], "{what}");
            assert_eq!(look(&before_all).await, now, "{what}");
            *seen = now;
        };
        check(&mut seen, "queued").await;
        let of_build = ActivityOf::Build(build.clone());
        let mut alone = vec![store.activity(&of_build).await.unwrap()];
        let lease = store
            .claim(&WorkerId::new(), at(3), LEASE)
            .await
            .unwrap()
            .unwrap()
            .lease;
        let step = Step {
            name: "[1/1] RUN make".to_owned(),
            started_at: None,
            finished_at: None,
            cached: false,
            error: None,
        };
        for stage in ["claimed", "commit", "phase", "steps", "cancel", "end"] {
            match stage {
                "commit" => store.set_commit(&lease, "c1f", "message").await.unwrap(),
                "phase" => store.set_phase(&lease, Phase::Push).await.unwrap(),
                "steps" => store.set_steps(&lease, std::slice::from_ref(&step)).await.unwrap(),
                "cancel" => drop(store.request_cancel(&build, "ann", at(4)).await.unwrap()),
                "end" => store.finish(&lease, &Ending::Canceled, &[], at(5)).await.unwrap(),
                _ => {}
            }
            check(&mut seen, stage).await;
            let now = store.activity(&of_build).await.unwrap();
            assert!(!alone.contains(&now), "{stage}");
            assert_eq!(now.is_over(), stage == "end", "{stage}");
            alone.push(now);
        }
    })
    .await;
}

#[tokio::test]
async fn a_build_that_waits_is_told_of_those_before_it_and_one_that_is_gone_is_over() {
    on_both(|store| async move {
        let a = repository(&store, "team/a").await;
        let b = repository(&store, "team/b").await;
        let first = queue(&store, &a, "c").await;
        let second = ActivityOf::Build(queue(&store, &b, "c").await);
        let before = store.activity(&second).await.unwrap();
        store.request_cancel(&first, "ann", at(4)).await.unwrap();
        let after = store.activity(&second).await.unwrap();
        assert_ne!(before, after);
        assert!(!after.is_over());
        assert!(
            store
                .activity(&ActivityOf::Build(BuildId::new()))
                .await
                .unwrap()
                .is_over()
        );
    })
    .await;
}

#[tokio::test]
async fn a_delivery_that_builds_nothing_is_told_on_its_repository_alone() {
    on_both(|store| async move {
        let repository = repository(&store, "team/a").await;
        let (everything, of_it) = (ActivityOf::Everything, ActivityOf::Repository(repository.id.clone()));
        let before = (
            store.activity(&everything).await.unwrap(),
            store.activity(&of_it).await.unwrap(),
        );
        accept(&store, delivery(&repository, vec![])).await;
        assert_eq!(store.activity(&everything).await.unwrap(), before.0);
        assert_ne!(store.activity(&of_it).await.unwrap(), before.1);
    })
    .await;
}

#[tokio::test]
async fn what_moves_among_base_images_and_in_a_wave_is_told() {
    on_both(|store| async move {
        let nothing = store.activity(&ActivityOf::BaseImages).await.unwrap();
        let moved = WaveMove {
            image: "docker.io/library/alpine:3.20".to_owned(),
            access: String::new(),
            from: None,
            to: "sha256:2".to_owned(),
            parent: None,
            is_inner: false,
        };
        let wave = store.add_move(&moved, TimeDelta::zero(), at(1)).await.unwrap();
        let of_wave = ActivityOf::Wave(wave.clone());
        let settling = (
            store.activity(&ActivityOf::BaseImages).await.unwrap(),
            store.activity(&of_wave).await.unwrap(),
        );
        assert_ne!(settling.0, nothing);
        assert_eq!(store.activity(&of_wave).await.unwrap(), settling.1);
        store.throttle_wave(&wave, Some(2)).await.unwrap();
        let throttled = store.activity(&of_wave).await.unwrap();
        assert_ne!(throttled, settling.1);
        // Nobody stands on it, so that nothing is left of the wave.
        store.begin_settled_wave(at(2)).await.unwrap().unwrap();
        assert_ne!(store.activity(&ActivityOf::BaseImages).await.unwrap(), settling.0);
        assert_ne!(store.activity(&of_wave).await.unwrap(), throttled);
    })
    .await;
}

use std::time::Duration;

use chrono::TimeDelta;

use super::*;
use crate::domain::{
    build::{BaseImage, Ending},
    ids::{WaveId, WorkerId},
    wave::ItemState,
};

const ALPINE: &str = "docker.io/library/alpine:3.20";

fn base(name: &str, digest: &str, pinned: bool) -> BaseImage {
    BaseImage {
        name: name.to_owned(),
        digest: Some(digest.to_owned()),
        pinned,
    }
}

/// A build of a repository that pushed `r/NAME:latest` and stood on these.
async fn built(store: &Store, repository: &Repository, bases: &[BaseImage]) -> BuildId {
    let mut request = request(repository, "c");
    request.plan.platforms = vec!["linux/arm64".to_owned()];
    accept(store, delivery(repository, vec![request])).await;
    let claimed = store.claim(&WorkerId::new(), at(2), Duration::from_secs(30)).await;
    let leased = claimed.unwrap().unwrap();
    let image = format!("r/{}", repository.name.name());
    let order = &leased.build.push_order;
    store
        .claim_tag(&leased.lease, order, &image, "latest", at(2))
        .await
        .unwrap();
    let pushed = PushedTag {
        image: &image,
        tag: "latest",
        digest: Some("sha256:1"),
        image_bytes: None,
        at: at(3),
    };
    store.tag_pushed(&leased.lease, order, &pushed).await.unwrap();
    let ending = Ending::Succeeded {
        digest: Some("sha256:1".to_owned()),
    };
    store.finish(&leased.lease, &ending, bases, at(4)).await.unwrap();
    leased.build.id
}

/// A public and a private repository on alpine, and somebody who may see the private one.
async fn two(store: &Store) -> (Repository, Repository, Sight) {
    let user = added_user(store, "ann").await;
    let public = repository(store, "team/app").await;
    let mut hidden = change("ann/unseen");
    hidden.visibility = Visibility::Private;
    let saved = store.put_repository(None, &new_repository(), &hidden).await.unwrap();
    let private = saved.unwrap().repository;
    (public, private, Sight::Of(user.id))
}

#[tokio::test]
async fn the_bases_of_one_repository_are_read_without_the_others() {
    on_both(|store| async move {
        let (public, private, _) = two(&store).await;
        let pinned = base("docker.io/library/golang:1", "sha256:g", true);
        let build = built(&store, &public, &[base(ALPINE, "sha256:a", false), pinned.clone()]).await;
        built(
            &store,
            &private,
            &[base("docker.io/library/other:1", "sha256:o", false)],
        )
        .await;
        store.watch_what_is_stood_on(at(5)).await.unwrap();
        let bases = store.repository_bases(&public.id).await.unwrap();
        assert_eq!(bases.targets.len(), 1);
        let target = &bases.targets[0];
        assert_eq!(
            (
                &target.build,
                &target.rule,
                target.source_name.as_str(),
                target.makes.as_slice()
            ),
            (
                &build,
                &public.rules[0].id,
                "main",
                ["r/app:latest".to_owned()].as_slice()
            )
        );
        assert_eq!(target.detected, [base(ALPINE, "sha256:a", false), pinned]);
        let watched: Vec<&str> = bases.watched.iter().map(|watched| watched.key.image.as_str()).collect();
        assert_eq!(watched, [ALPINE]);
        assert_eq!(
            store.platform_of_build(&build).await.unwrap().as_deref(),
            Some("linux/arm64")
        );
        assert_eq!(
            store.repository_bases(&RepositoryId::new()).await.unwrap(),
            RepositoryBases::default()
        );
    })
    .await;
}

#[tokio::test]
async fn what_lists_may_show_depends_on_who_reads_them() {
    on_both(|store| async move {
        let (public, private, ann) = two(&store).await;
        let shown = built(&store, &public, &[base(ALPINE, "sha256:a", false)]).await;
        let hidden = built(&store, &private, &[base(ALPINE, "sha256:a", false)]).await;
        let counts = [(Sight::Public, 1), (ann.clone(), 2), (Sight::Everything, 2)];
        for (sight, expected) in &counts {
            assert_eq!(
                store.readable_repositories(sight).await.unwrap().len(),
                *expected,
                "{sight:?}"
            );
            assert_eq!(
                store.declared_images(sight).await.unwrap().len(),
                *expected,
                "{sight:?}"
            );
            let builds = store.readable_builds(&[&shown, &hidden], sight).await.unwrap();
            assert_eq!(builds.len(), *expected, "{sight:?}");
        }
        assert_eq!(
            store.readable_repositories(&Sight::Public).await.unwrap(),
            std::slice::from_ref(&public.id)
        );
        assert_eq!(
            store.readable_builds(&[&shown, &hidden], &Sight::Public).await.unwrap(),
            [shown]
        );
    })
    .await;
}

#[tokio::test]
async fn a_wave_is_listed_for_those_who_see_one_of_its_items() {
    on_both(|store| async move {
        let (_, private, ann) = two(&store).await;
        built(&store, &private, &[base(ALPINE, "sha256:a", false)]).await;
        let moved = |to: &str| WaveMove {
            image: ALPINE.to_owned(),
            access: String::new(),
            from: None,
            to: to.to_owned(),
            parent: None,
            is_inner: false,
        };
        let none = TimeDelta::zero();
        let wave = store.add_move(&moved("sha256:b"), none, at(5)).await.unwrap();
        store.begin_settled_wave(at(5)).await.unwrap().unwrap();
        let settling = store.add_move(&moved("sha256:c"), none, at(6)).await.unwrap();
        let listed = async |sight: &Sight, with_settling: bool, before: Option<&WaveId>| {
            let waves = store.waves_seen((sight, with_settling), before, 5).await.unwrap();
            waves.into_iter().map(|wave| wave.id).collect::<Vec<_>>()
        };
        assert!(listed(&Sight::Public, false, None).await.is_empty());
        assert_eq!(listed(&ann, false, None).await, std::slice::from_ref(&wave));
        assert_eq!(listed(&ann, true, None).await, [settling.clone(), wave.clone()]);
        assert_eq!(
            listed(&Sight::Everything, false, Some(&settling)).await,
            std::slice::from_ref(&wave)
        );
        let waves = store.waves_seen((&ann, false), None, 5).await.unwrap();
        for (sight, expected) in [(Sight::Public, 0), (ann, 1), (Sight::Everything, 1)] {
            let items = store.wave_items_seen(&wave, &sight).await.unwrap();
            assert_eq!(items.len(), expected, "{sight:?}");
            let counts = store.count_wave_items_seen(&waves, &sight).await.unwrap();
            let waiting = counts.iter().filter(|count| count.state == ItemState::Waiting);
            assert_eq!(
                waiting.map(|count| count.count).sum::<i64>(),
                expected as i64,
                "{sight:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn images_that_are_switched_off_are_kept_with_the_repository() {
    on_both(|store| async move {
        let mut off = change("team/app");
        off.links = vec![ALPINE.to_owned(), "docker.io/library/busybox:1".to_owned()];
        off.ignored_base_images = vec![ALPINE.to_owned()];
        let saved = store
            .put_repository(None, &new_repository(), &off)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(saved.repository.ignored_base_images, [ALPINE]);
        let declared = store.declared_images(&Sight::Everything).await.unwrap();
        assert_eq!(declared[0].links, ["docker.io/library/busybox:1"]);
        off.ignored_base_images.clear();
        let id = saved.repository.id;
        let saved = store
            .put_repository(Some(&id), &new_repository(), &off)
            .await
            .unwrap()
            .unwrap();
        assert!(saved.repository.ignored_base_images.is_empty());
    })
    .await;
}

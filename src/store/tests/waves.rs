use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;

use super::*;
use crate::domain::{
    build::{BaseImage, Ending},
    ids::{WaveId, WorkerId},
    wave::{ItemState, WaveState},
};

const ALPINE: &str = "docker.io/library/alpine:3.20";

const PAUSE: TimeDelta = TimeDelta::seconds(10);

fn server(image: &str) -> WatchKey {
    WatchKey {
        image: image.to_owned(),
        access: String::new(),
    }
}

/// A repository whose image `r/NAME:latest` was built on these, each an image and its digest.
async fn built(store: &Store, name: &str, bases: &[(&str, &str)], digest: &str, second: i64) -> Repository {
    let known = store
        .repository_named(&RepositoryName::parse(name).unwrap())
        .await
        .unwrap();
    let repository = match known {
        Some(known) => known,
        None => repository(store, name).await,
    };
    build_again(store, &repository, bases, digest, second).await;
    repository
}

async fn build_again(
    store: &Store,
    repository: &Repository,
    bases: &[(&str, &str)],
    digest: &str,
    second: i64,
) -> BuildId {
    let request = BuildRequest {
        unless_under_way: false,
        ..request(repository, "c1")
    };
    accept(store, delivery(repository, vec![request])).await;
    let leased = store
        .claim(&WorkerId::new(), at(second), Duration::from_secs(30))
        .await
        .unwrap()
        .unwrap();
    let image = format!("r.example.com/{}", repository.name);
    let order = &leased.build.push_order;
    store
        .claim_tag(&leased.lease, order, &image, "latest", at(second))
        .await
        .unwrap();
    let pushed = PushedTag {
        image: &image,
        tag: "latest",
        digest: Some(digest),
        image_bytes: None,
        at: at(second),
    };
    store.tag_pushed(&leased.lease, order, &pushed).await.unwrap();
    let bases: Vec<BaseImage> = bases
        .iter()
        .map(|(name, digest)| BaseImage {
            name: (*name).to_owned(),
            digest: Some((*digest).to_owned()),
            pinned: false,
        })
        .collect();
    let ending = Ending::Succeeded {
        digest: Some(digest.to_owned()),
    };
    store.finish(&leased.lease, &ending, &bases, at(second)).await.unwrap();
    leased.build.id
}

async fn see(store: &Store, key: &WatchKey, digest: &str, second: i64) {
    let sighting = Sighting::Digest(digest.to_owned());
    store
        .image_seen(key, &sighting, (at(second), at(second + 900)), at(second))
        .await
        .unwrap();
}

fn move_to(image: &str, to: &str) -> WaveMove {
    WaveMove {
        image: image.to_owned(),
        access: String::new(),
        from: Some("d1".to_owned()),
        to: to.to_owned(),
        parent: None,
        is_inner: false,
    }
}

/// Begins a wave for what moves now, as if it had settled.
async fn wave_of(store: &Store, image: &str, to: &str, second: i64) -> (WaveId, BegunWave) {
    store.add_move(&move_to(image, to), PAUSE, at(second)).await.unwrap();
    store.begin_settled_wave(at(second + 10)).await.unwrap().unwrap()
}

async fn outdated(store: &Store, digest: &str) -> usize {
    store.outdated_on(&server(ALPINE), digest).await.unwrap().len()
}

#[tokio::test]
async fn what_something_stands_on_is_watched_once_and_no_longer_than_that() {
    on_both(|store| async move {
        let one = built(&store, "team/one", &[(ALPINE, "d1")], "one1", 1).await;
        built(&store, "team/two", &[(ALPINE, "d1")], "two1", 2).await;
        store.watch_what_is_stood_on(at(3)).await.unwrap();
        let watched = store.watched_images().await.unwrap();
        assert_eq!(
            watched.iter().map(|image| &image.key).collect::<Vec<_>>(),
            [&server(ALPINE)]
        );
        assert_eq!(watched[0].registry, "docker.io");
        assert_eq!(
            store.images_due(at(3), 10).await.unwrap().len(),
            1,
            "what is new is due at once"
        );
        // One repository moves to another base, the other is deleted.
        built(&store, "team/two", &[("docker.io/library/busybox:1", "b1")], "two2", 4).await;
        store.delete_repository(&one.id).await.unwrap();
        store.watch_what_is_stood_on(at(5)).await.unwrap();
        let watched = store.watched_images().await.unwrap();
        assert_eq!(watched[0].key, server("docker.io/library/busybox:1"));
        assert_eq!(watched.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_namespace_with_credentials_of_its_own_has_looks_of_its_own() {
    on_both(|store| async move {
        built(&store, "team/one", &[(ALPINE, "d1")], "one1", 1).await;
        built(&store, "other/two", &[(ALPINE, "d1")], "two1", 2).await;
        let new = NewRegistry {
            id: "reg".into(),
            namespace: "team",
            host: "docker.io",
            username: "ann",
            trusted_realms: &[],
            hook_id: "hook".into(),
            sealed_hook_secret: b"sealed",
            now: at(3),
        };
        store.put_registry(&new, |_| Some(b"sealed".to_vec())).await.unwrap();
        store.watch_what_is_stood_on(at(4)).await.unwrap();
        let accesses: Vec<String> = store
            .watched_images()
            .await
            .unwrap()
            .into_iter()
            .map(|image| image.key.access)
            .collect();
        assert_eq!(accesses, ["", "team"]);
        // What one saw is nobody else's business.
        let team = WatchKey {
            image: ALPINE.to_owned(),
            access: "team".to_owned(),
        };
        see(&store, &team, "d2", 5).await;
        assert_eq!(
            store.watched_image(&server(ALPINE)).await.unwrap().unwrap().digest,
            None
        );
        let of_team = store.outdated_on(&team, "d2").await.unwrap();
        assert_eq!(of_team.len(), 1, "{of_team:?}");
    })
    .await;
}

#[tokio::test]
async fn one_of_two_processes_looks_and_what_is_asked_for_meanwhile_is_not_lost() {
    on_both(|store| async move {
        built(&store, "team/one", &[(ALPINE, "d1")], "one1", 1).await;
        store.watch_what_is_stood_on(at(2)).await.unwrap();
        let due = store.images_due(at(2), 10).await.unwrap();
        let within = Duration::from_secs(120);
        assert!(store.take_look(&due[0], at(3), within).await.unwrap());
        assert!(
            !store.take_look(&due[0], at(3), within).await.unwrap(),
            "the second comes too late"
        );
        assert!(store.images_due(at(3), 10).await.unwrap().is_empty());
        let sighting = Sighting::Digest("d1".to_owned());
        store
            .image_seen(&due[0].key, &sighting, (at(123), at(903)), at(4))
            .await
            .unwrap();
        assert_eq!(store.next_image_due().await.unwrap(), Some(at(903)));
        // A push is reported while the next look is under way.
        let due = store.images_due(at(903), 10).await.unwrap();
        assert!(store.take_look(&due[0], at(903), within).await.unwrap());
        let pushed = [
            ("library/alpine".to_owned(), "3.20".to_owned()),
            ("library/alpine".to_owned(), "edge".to_owned()),
        ];
        assert_eq!(store.look_now("docker.io", &pushed, at(904)).await.unwrap(), [ALPINE]);
        store
            .image_seen(&due[0].key, &sighting, (at(1023), at(1803)), at(905))
            .await
            .unwrap();
        assert_eq!(store.next_image_due().await.unwrap(), Some(at(904)));
    })
    .await;
}

#[tokio::test]
async fn an_image_tells_since_when_it_is_what_it_is() {
    on_both(|store| async move {
        built(&store, "team/one", &[(ALPINE, "d1")], "one1", 1).await;
        store.watch_what_is_stood_on(at(2)).await.unwrap();
        let key = server(ALPINE);
        let image = async || store.watched_image(&key).await.unwrap().unwrap();
        let seen = async |sighting, second| {
            store
                .image_seen(&key, &sighting, (at(second), at(second + 900)), at(second))
                .await
                .unwrap();
        };
        see(&store, &key, "d1", 10).await;
        see(&store, &key, "d1", 20).await;
        assert_eq!(
            (image().await.since, image().await.checked_at),
            (Some(at(10)), Some(at(20)))
        );
        seen(Sighting::Failed("no answer".to_owned()), 30).await;
        assert_eq!(image().await.problem.as_deref(), Some("no answer"));
        assert_eq!(
            (image().await.digest.as_deref(), image().await.checked_at),
            (Some("d1"), Some(at(20)))
        );
        seen(Sighting::Gone, 40).await;
        seen(Sighting::Gone, 50).await;
        assert_eq!(
            image().await.gone_since,
            Some(at(40)),
            "a tag that vanished is shown, not acted on"
        );
        assert_eq!(
            (image().await.problem, image().await.digest.as_deref()),
            (None, Some("d1"))
        );
        see(&store, &key, "d2", 60).await;
        assert_eq!((image().await.since, image().await.gone_since), (Some(at(60)), None));
        let versions = store.image_versions(&key, 10).await.unwrap();
        let versions: Vec<_> = versions.iter().map(|v| (v.digest.as_str(), v.first_seen_at)).collect();
        assert_eq!(versions, [("d2", at(60)), ("d1", at(10))]);
        let platforms = BTreeMap::from([("linux/amd64".to_owned(), "p1".to_owned())]);
        assert_eq!(store.platforms_of_version(&key, "d2").await.unwrap(), None);
        store.record_platforms(&key, "d2", &platforms).await.unwrap();
        assert_eq!(store.platforms_of_version(&key, "d2").await.unwrap(), Some(platforms));
    })
    .await;
}

#[tokio::test]
async fn who_was_built_on_another_version_is_outdated_until_a_wave_has_dealt_with_it() {
    on_both(|store| async move {
        built(&store, "team/one", &[(ALPINE, "d1")], "one1", 1).await;
        built(&store, "team/two", &[(ALPINE, "d2")], "two1", 2).await;
        assert_eq!((outdated(&store, "d1").await, outdated(&store, "d2").await), (1, 1));
        assert_eq!(outdated(&store, "d3").await, 2);
        let (wave, begun) = wave_of(&store, ALPINE, "d3", 10).await;
        assert_eq!(begun.items, 2);
        assert_eq!(outdated(&store, "d3").await, 0);
        // Whatever became of it there.
        for item in store.wave_items(&wave).await.unwrap() {
            assert!(
                store
                    .move_item(&item, ItemState::Failed, "it failed", None)
                    .await
                    .unwrap()
            );
            assert!(
                !store.move_item(&item, ItemState::Done, "", None).await.unwrap(),
                "it was read before"
            );
        }
        assert!(store.end_wave_if_done(&wave, at(30)).await.unwrap());
        assert_eq!(outdated(&store, "d3").await, 0, "a digest leads to one rebuild at most");
        assert_eq!(outdated(&store, "d4").await, 2);
    })
    .await;
}

#[tokio::test]
async fn only_links_and_what_was_not_switched_off_count() {
    on_both(|store| async move {
        let known = built(&store, "team/one", &[(ALPINE, "d1")], "one1", 1).await;
        let put = async |change: RepositoryChange| {
            store
                .put_repository(Some(&known.id), &new_repository(), &change)
                .await
                .unwrap()
                .unwrap();
        };
        put(RepositoryChange {
            detect_base_images: false,
            ..change("team/one")
        })
        .await;
        assert_eq!(outdated(&store, "d2").await, 0);
        put(RepositoryChange {
            detect_base_images: false,
            links: vec![ALPINE.to_owned()],
            ..change("team/one")
        })
        .await;
        // What the build told of the linked image counts, also where nothing is detected.
        assert_eq!((outdated(&store, "d1").await, outdated(&store, "d2").await), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn a_link_alone_follows_what_moved_after_the_build() {
    on_both(|store| async move {
        let known = built(&store, "team/one", &[], "one1", 1).await;
        let linked = RepositoryChange {
            links: vec![ALPINE.to_owned()],
            ..change("team/one")
        };
        store
            .put_repository(Some(&known.id), &new_repository(), &linked)
            .await
            .unwrap()
            .unwrap();
        let key = server(ALPINE);
        store.watch_what_is_stood_on(at(2)).await.unwrap();
        see(&store, &key, "d1", 3).await;
        assert_eq!(outdated(&store, "d1").await, 0, "the first that is seen is no move");
        see(&store, &key, "d2", 4).await;
        assert_eq!(outdated(&store, "d2").await, 1);
        build_again(&store, &known, &[], "one2", 5).await;
        assert_eq!(outdated(&store, "d2").await, 0, "it was built after the move");
    })
    .await;
}

#[tokio::test]
async fn what_moves_while_a_wave_settles_joins_it_and_puts_it_off_a_while() {
    on_both(|store| async move {
        let wave = store.add_move(&move_to(ALPINE, "d2"), PAUSE, at(0)).await.unwrap();
        assert_eq!(
            store.add_move(&move_to(ALPINE, "d3"), PAUSE, at(8)).await.unwrap(),
            wave
        );
        assert_eq!(
            store.add_move(&move_to("r/other:1", "o2"), PAUSE, at(9)).await.unwrap(),
            wave
        );
        assert_eq!(store.begin_settled_wave(at(18)).await.unwrap(), None);
        let stored = store.wave(&wave).await.unwrap().unwrap();
        assert_eq!((stored.state, stored.settles_at), (WaveState::Settling, at(19)));
        let moves: Vec<_> = stored
            .moves
            .iter()
            .map(|moved| (moved.image.as_str(), moved.to.as_str()))
            .collect();
        assert_eq!(moves, [(ALPINE, "d3"), ("r/other:1", "o2")]);
        // However often it moves, the wave begins within ten pauses.
        for second in (10..200).step_by(5) {
            store
                .add_move(&move_to(ALPINE, &format!("d{second}")), PAUSE, at(second))
                .await
                .unwrap();
        }
        assert_eq!(store.wave(&wave).await.unwrap().unwrap().settles_at, at(100));
        let (begun, _) = store.begin_settled_wave(at(100)).await.unwrap().unwrap();
        assert_eq!(begun, wave);
        assert!(store.begin_settled_wave(at(100)).await.unwrap().is_none(), "once");
        assert_ne!(
            store.add_move(&move_to(ALPINE, "e"), PAUSE, at(101)).await.unwrap(),
            wave
        );
    })
    .await;
}

#[tokio::test]
async fn a_wave_has_everything_that_follows_in_order() {
    on_both(|store| async move {
        let base = "r.example.com/team/base:latest";
        built(&store, "team/app", &[(base, "base1"), (ALPINE, "d1")], "app1", 1).await;
        built(&store, "team/base", &[(ALPINE, "d1")], "base1", 2).await;
        built(&store, "team/apart", &[("r/x:1", "x1")], "apart1", 3).await;
        let (wave, begun) = wave_of(&store, ALPINE, "d2", 10).await;
        assert_eq!(begun.items, 2);
        let items = store.wave_items(&wave).await.unwrap();
        let told: Vec<_> = items
            .iter()
            .map(|item| (item.repository.to_string(), item.state, item.after.clone()))
            .collect();
        assert_eq!(
            told,
            [
                ("team/base".to_owned(), ItemState::Waiting, vec![]),
                ("team/app".to_owned(), ItemState::Waiting, vec![items[0].id.clone()]),
            ]
        );
        // What its build pushes is a move of the wave's own, and nobody makes another wave of it.
        let again = build_again(
            &store,
            &store
                .repository(&items[0].repository_id)
                .await
                .unwrap()
                .unwrap()
                .repository,
            &[(ALPINE, "d2")],
            "base2",
            20,
        )
        .await;
        assert!(
            store
                .move_item(&items[0], ItemState::Building, "", Some(&again))
                .await
                .unwrap()
        );
        assert!(store.outdated_on(&server(base), "base2").await.unwrap().is_empty());
        let building = store.wave_items(&wave).await.unwrap().remove(0);
        let pushed = WaveMove {
            image: base.to_owned(),
            from: Some("base1".to_owned()),
            to: "base2".to_owned(),
            parent: Some(again.clone()),
            is_inner: true,
            ..move_to(base, "")
        };
        store.item_done(&building, &[pushed]).await.unwrap();
        let moves = store.wave(&wave).await.unwrap().unwrap().moves;
        assert_eq!(
            moves.iter().map(|moved| moved.is_inner).collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(store.pusher_of(base, "base2").await.unwrap(), Some(again));
    })
    .await;
}

#[tokio::test]
async fn a_newer_wave_takes_over_what_an_older_one_has_not_done() {
    on_both(|store| async move {
        built(&store, "team/one", &[(ALPINE, "d1")], "one1", 1).await;
        built(&store, "team/two", &[(ALPINE, "d1")], "two1", 2).await;
        let (older, _) = wave_of(&store, ALPINE, "d2", 10).await;
        let items = store.wave_items(&older).await.unwrap();
        let build = BuildId::new();
        store
            .move_item(&items[0], ItemState::Building, "", Some(&build))
            .await
            .unwrap();
        let (newer, begun) = wave_of(&store, ALPINE, "d3", 30).await;
        assert_eq!(begun.items, 2);
        assert_eq!(begun.needless, [build]);
        let states: Vec<_> = store
            .wave_items(&older)
            .await
            .unwrap()
            .into_iter()
            .map(|item| item.state)
            .collect();
        assert_eq!(states, [ItemState::Skipped, ItemState::Skipped]);
        assert!(store.end_wave_if_done(&older, at(50)).await.unwrap());
        assert!(!store.end_wave_if_done(&newer, at(50)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_wave_is_paused_throttled_and_canceled_as_one() {
    on_both(|store| async move {
        let one = built(&store, "team/one", &[(ALPINE, "d1")], "one1", 1).await;
        built(&store, "team/two", &[(ALPINE, "d1")], "two1", 2).await;
        let (wave, _) = wave_of(&store, ALPINE, "d2", 10).await;
        let state = async || store.wave(&wave).await.unwrap().unwrap().state;
        assert!(!store.pause_wave(&wave, false, "root").await.unwrap(), "it runs");
        assert!(store.pause_wave(&wave, true, "root").await.unwrap());
        assert_eq!(state().await, WaveState::Paused);
        assert!(store.pause_wave(&wave, false, "root").await.unwrap());
        assert!(store.throttle_wave(&wave, Some(1)).await.unwrap());
        assert_eq!(store.wave(&wave).await.unwrap().unwrap().at_once, Some(1));
        let mut rebuild = request(&one, "c1");
        rebuild.cause = Cause::BaseImage {
            image: ALPINE.to_owned(),
            from: None,
            to: "d2".to_owned(),
            parent: None,
            wave: wave.to_string(),
        };
        accept(&store, delivery(&one, vec![rebuild.clone()])).await;
        let items = store.wave_items(&wave).await.unwrap();
        store
            .move_item(&items[0], ItemState::Building, "", Some(&rebuild.id))
            .await
            .unwrap();
        assert_eq!(
            store.cancel_wave(&wave, "root", at(40)).await.unwrap(),
            Some(vec![rebuild.id.clone()])
        );
        let states: Vec<_> = store
            .wave_items(&wave)
            .await
            .unwrap()
            .into_iter()
            .map(|item| item.state)
            .collect();
        assert_eq!(
            states,
            [ItemState::Building, ItemState::Canceled],
            "what is under way is followed to its end"
        );
        let building = store.wave_items(&wave).await.unwrap().remove(0);
        store
            .move_item(&building, ItemState::Canceled, "", Some(&rebuild.id))
            .await
            .unwrap();
        assert!(store.end_wave_if_done(&wave, at(50)).await.unwrap());
        assert_eq!(state().await, WaveState::Canceled);
        assert_eq!(
            store.cancel_wave(&wave, "root", at(60)).await.unwrap(),
            None,
            "it has ended"
        );
        let waves = store.waves_seen((&Sight::Everything, false), None, 10).await.unwrap();
        let counts = store.count_wave_items_seen(&waves, &Sight::Everything).await.unwrap();
        assert_eq!(
            counts
                .iter()
                .map(|count| (count.state, count.count))
                .collect::<Vec<_>>(),
            [(ItemState::Canceled, 2)]
        );
    })
    .await;
}

#[tokio::test]
async fn builds_that_follow_by_themselves_stand_back_for_ten_minutes() {
    on_both(|store| async move {
        let one = repository(&store, "team/one").await;
        let two = repository(&store, "team/two").await;
        let automatic = |n: i64| BuildRequest {
            source_name: format!("branch-{n}"),
            cause: Cause::BaseImage {
                image: ALPINE.to_owned(),
                from: None,
                to: "d2".to_owned(),
                parent: None,
                wave: String::new(),
            },
            ..request(&one, "c1")
        };
        let first = accept(&store, delivery(&one, vec![automatic(1), automatic(2)]))
            .await
            .builds;
        let asked_for = accept(&store, delivery(&two, vec![request(&two, "c1")])).await.builds;
        let position = async |id: &BuildId| store.build(id).await.unwrap().unwrap().queue_position;
        assert_eq!(
            (position(&asked_for[0]).await, position(&first[1]).await),
            (Some(1), Some(3))
        );
        let claim = async |second| {
            let claimed = store
                .claim(&WorkerId::new(), at(second), Duration::from_secs(3600))
                .await
                .unwrap();
            claimed.map(|leased| leased.build.id)
        };
        assert_eq!(claim(5).await.as_ref(), Some(&asked_for[0]));
        let more = accept(&store, delivery(&two, vec![request(&two, "c2")])).await.builds;
        // After ten minutes one of them goes before those that people wait for, and no second while it runs.
        assert_eq!(claim(602).await.as_ref(), Some(&first[0]));
        assert_eq!(claim(603).await.as_ref(), Some(&more[0]));
    })
    .await;
}

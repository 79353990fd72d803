use super::*;
use crate::domain::{
    build::Status,
    wave::{ItemState, WaveState},
};

/// Which wave, image and digest a build is for.
fn cause(leased: &Leased) -> (&str, Option<&str>, &str, Option<&str>) {
    match &leased.build.cause {
        Cause::BaseImage {
            image,
            from,
            to,
            parent,
            ..
        } => (image, from.as_deref(), to, parent.as_deref()),
        other => panic!("{other:?}"),
    }
}

/// `base`, `middle` on it, `app` on that, all built.
async fn chain(world: &World) {
    world.built("first", &[&on(BASE, "b1")], "first1").await;
    world.built("middle", &[&on(&ours("first"), "first1")], "middle1").await;
    world.built("last", &[&on(&ours("middle"), "middle1")], "last1").await;
}

#[tokio::test]
async fn a_chain_is_built_link_by_link_each_on_exactly_what_the_one_before_pushed() {
    let world = World::new().await;
    chain(&world).await;
    let wave = world.wave(BASE, "b2").await;
    assert_eq!(world.told(&wave).await, "first building, middle waiting, last waiting");

    let first = world.start("first").await;
    assert!(world.claim().await.is_none(), "the next waits until the push");
    assert_eq!(cause(&first), (BASE, Some("b1"), "b2", None));
    assert_eq!(
        first.build.commit.as_deref(),
        Some("c0ffee"),
        "what is built is the same commit"
    );
    assert_eq!(
        first.build.plan.base_digests,
        BTreeMap::from([(BASE.to_owned(), "b2".to_owned())])
    );
    world.succeed_as_told(&first, "first2").await;
    world.pass().await;

    let middle = world.start("middle").await;
    let parent = first.build.id.to_string();
    assert_eq!(
        cause(&middle),
        (ours("first").as_str(), Some("first1"), "first2", Some(parent.as_str()))
    );
    assert_eq!(middle.build.plan.base_digests[&ours("first")], "first2");
    // The push of the first is no move of its own: this wave carries it on.
    assert_eq!(world.outdated(&ours("first"), "first2").await, 0);
    world.succeed_as_told(&middle, "middle2").await;
    world.pass().await;
    let last = world.start("last").await;
    world.succeed_as_told(&last, "last2").await;
    world.pass().await;
    assert_eq!(world.told(&wave).await, "first done, middle done, last done");
    assert_eq!(world.get(&wave).await.state, WaveState::Done);
    for (image, digest) in [(BASE, "b2"), (&ours("first"), "first2"), (&ours("middle"), "middle2")] {
        assert_eq!(world.outdated(image, digest).await, 0, "{image}");
    }
}

#[tokio::test]
async fn siblings_are_built_side_by_side_and_a_diamonds_last_once_after_both() {
    let world = World::new().await;
    world.built("left", &[&on(BASE, "b1")], "left1").await;
    world.built("right", &[&on(BASE, "b1")], "right1").await;
    let both = [on(&ours("left"), "left1"), on(&ours("right"), "right1"), on(BASE, "b1")];
    world.built("last", &both.each_ref().map(String::as_str), "last1").await;
    let wave = world.wave(BASE, "b2").await;
    let (left, right) = (world.start("left").await, world.start("right").await);
    world.succeed_as_told(&left, "left2").await;
    world.pass().await;
    assert_eq!(world.told(&wave).await, "left done, right building, last waiting");
    world.succeed_as_told(&right, "right2").await;
    world.pass().await;
    let last = world.start("last").await;
    let told: Vec<&str> = last.build.plan.base_digests.values().map(String::as_str).collect();
    assert_eq!(told, ["b2", "left2", "right2"]);
    world.succeed_as_told(&last, "last2").await;
    world.pass().await;
    assert_eq!(world.get(&wave).await.state, WaveState::Done);
    assert!(world.claim().await.is_none());
}

#[tokio::test]
async fn a_failure_holds_what_stands_on_it_and_says_so() {
    let world = World::new().await;
    chain(&world).await;
    world.built("apart", &[&on(BASE, "b1")], "apart1").await;
    let wave = world.wave(BASE, "b2").await;
    let first = world.start("first").await;
    let apart = world.start("apart").await;
    world.fail(&first).await;
    world.succeed_as_told(&apart, "apart2").await;
    world.pass().await;
    assert_eq!(
        world.told(&wave).await,
        "first failed, apart done, middle held, last held"
    );
    let reasons: Vec<String> = world.items(&wave).await.into_iter().map(|item| item.reason).collect();
    assert_eq!(
        reasons,
        [
            "step 2 failed",
            "",
            "it stands on team/first, which failed",
            "it stands on team/middle, which is held itself"
        ]
    );
    assert_eq!(world.get(&wave).await.state, WaveState::Done);
    assert_eq!(
        world.outdated(BASE, "b2").await,
        0,
        "nobody tries it again for the same digest"
    );
    // When a person mends it, what stands on it follows.
    let mended = world
        .store()
        .repository_named(&RepositoryName::new("team", "first").unwrap())
        .await
        .unwrap()
        .unwrap();
    world.push(&mended).await;
    let mended = world.start("first").await;
    world.succeed(&mended, &[&on(BASE, "b2")], "first3").await;
    assert_eq!(world.outdated(&ours("first"), "first3").await, 1);
}

#[tokio::test]
async fn what_comes_out_the_same_moves_nothing() {
    let world = World::new().await;
    chain(&world).await;
    let wave = world.wave(BASE, "b2").await;
    let first = world.start("first").await;
    world.succeed_as_told(&first, "first1").await;
    world.pass().await;
    assert_eq!(world.told(&wave).await, "first done, middle skipped, last skipped");
    let items = world.items(&wave).await;
    assert_eq!(items[1].reason, "its image stands on the new version already");
    assert_eq!(items[2].reason, "what it stands on came out the same");
    assert_eq!(world.get(&wave).await.state, WaveState::Done);
}

#[tokio::test]
async fn a_build_that_ran_after_the_change_is_not_repeated() {
    let world = World::new().await;
    let repository = world.built("app", &[&on(BASE, "b1")], "app1").await;
    let wave = world.moved(BASE, "b2").await;
    world.push(&repository).await;
    let leased = world.start("app").await;
    world.succeed(&leased, &[&on(BASE, "b2")], "app2").await;
    world.let_pass(10);
    world.pass().await;
    assert_eq!(
        world.store().wave(&wave).await.unwrap(),
        None,
        "nobody needs it any more"
    );
    assert!(world.claim().await.is_none());
}

#[tokio::test]
async fn a_move_that_another_server_saw_too_late_makes_no_second_wave() {
    let world = World::new().await;
    world.built("app", &[&on(BASE, "b1")], "app1").await;
    let first = world.wave(BASE, "b2").await;
    let second = world.wave(BASE, "b2").await;
    assert_eq!(first, second);
    assert_eq!(world.told(&first).await, "app building");
    // And none where the first has ended meanwhile.
    let leased = world.start("app").await;
    world.fail(&leased).await;
    world.pass().await;
    let late = world.wave(BASE, "b2").await;
    assert_ne!(first, late);
    assert_eq!(world.store().wave(&late).await.unwrap(), None);
}

#[tokio::test]
async fn a_push_under_way_is_waited_for_and_repeated_only_if_it_began_on_the_old_one() {
    for (used, repeats) in [("b2", false), ("b1", true)] {
        let world = World::new().await;
        let repository = world.built("app", &[&on(BASE, "b1")], "app1").await;
        let pushed = world.push(&repository).await;
        let leased = world.start("app").await;
        let wave = world.wave(BASE, "b2").await;
        let item = world.items(&wave).await.remove(0);
        assert_eq!((item.state, item.build.as_ref()), (ItemState::Building, Some(&pushed)));
        assert_eq!(item.reason, "a build of it was under way already");
        world.succeed(&leased, &[&on(BASE, used)], "app2").await;
        world.pass().await;
        assert_eq!(
            world.told(&wave).await,
            if repeats { "app building" } else { "app done" }
        );
        if repeats {
            let again = world.start("app").await;
            assert_eq!(cause(&again), (BASE, Some("b1"), "b2", None));
            assert_eq!(
                again.build.push_order, leased.build.push_order,
                "of what the push built, at its place"
            );
        }
    }
}

#[tokio::test]
async fn a_push_that_fails_leaves_the_last_good_build_to_be_rebuilt_next_time() {
    let world = World::new().await;
    let repository = world.built("app", &[&on(BASE, "b1")], "app1").await;
    world.push(&repository).await;
    let leased = world.start("app").await;
    let wave = world.wave(BASE, "b2").await;
    world.fail(&leased).await;
    world.pass().await;
    assert_eq!(
        world.told(&wave).await,
        "app building",
        "the last good build is built again"
    );
    assert_eq!(cause(&world.start("app").await), (BASE, Some("b1"), "b2", None));
}

#[tokio::test]
async fn a_newer_push_that_takes_the_place_of_a_rebuild_is_followed() {
    let world = World::new().await;
    let repository = world.built("app", &[&on(BASE, "b1")], "app1").await;
    let wave = world.wave(BASE, "b2").await;
    let rebuild = world.items(&wave).await.remove(0).build.unwrap();
    let pushed = world.push(&repository).await;
    let told = world.store().build(&rebuild).await.unwrap().unwrap();
    assert_eq!(
        (told.status, told.superseded_by.as_ref()),
        (Status::Superseded, Some(&pushed))
    );
    world.pass().await;
    assert_eq!(world.items(&wave).await[0].build.as_ref(), Some(&pushed));
    let leased = world.start("app").await;
    world.succeed(&leased, &[&on(BASE, "b2")], "app2").await;
    world.pass().await;
    assert_eq!(world.told(&wave).await, "app done");
}

#[tokio::test]
async fn a_process_that_ends_between_choosing_and_queueing_loses_and_doubles_nothing() {
    let world = World::new().await;
    world.built("app", &[&on(BASE, "b1")], "app1").await;
    let wave = world.moved(BASE, "b2").await;
    world.let_pass(10);
    world
        .store()
        .begin_settled_wave(world.parts.clock.now())
        .await
        .unwrap()
        .unwrap();
    let item = world.items(&wave).await.remove(0);
    let chosen = BuildId::new();
    assert!(
        world
            .store()
            .move_item(&item, ItemState::Building, "", Some(&chosen))
            .await
            .unwrap()
    );
    // The next process finds the choice without the build.
    world.pass().await;
    world.pass().await;
    let leased = world.start("app").await;
    assert_eq!(leased.build.id, chosen);
    assert!(world.claim().await.is_none());
}

#[tokio::test]
async fn at_most_so_many_builds_of_a_wave_are_under_way() {
    let world = World::new().await;
    for n in 0..6 {
        world
            .built(&format!("app{n}"), &[&on(BASE, "b1")], &format!("app{n}-1"))
            .await;
    }
    let wave = world.wave(BASE, "b2").await;
    let building = async || {
        let items = world.items(&wave).await;
        items.iter().filter(|item| item.state == ItemState::Building).count()
    };
    assert_eq!(building().await, 4);
    world.store().throttle_wave(&wave, Some(1)).await.unwrap();
    for n in 0..5 {
        let leased = world.start(&format!("app{n}")).await;
        world.succeed_as_told(&leased, &format!("app{n}-2")).await;
        world.pass().await;
        assert!(building().await <= 3);
    }
    assert_eq!(building().await, 1);
}

#[tokio::test]
async fn a_paused_wave_starts_nothing_and_goes_on_when_resumed() {
    let world = World::new().await;
    chain(&world).await;
    let wave = world.wave(BASE, "b2").await;
    world.store().pause_wave(&wave, true, "root").await.unwrap();
    let first = world.start("first").await;
    world.succeed_as_told(&first, "first2").await;
    world.pass().await;
    assert_eq!(world.told(&wave).await, "first done, middle waiting, last waiting");
    world.store().pause_wave(&wave, false, "root").await.unwrap();
    world.pass().await;
    world.start("middle").await;
}

#[tokio::test]
async fn a_canceled_wave_follows_what_is_under_way_and_starts_nothing() {
    let world = World::new().await;
    chain(&world).await;
    let wave = world.wave(BASE, "b2").await;
    let building = world
        .store()
        .cancel_wave(&wave, "root", world.parts.clock.now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        world.told(&wave).await,
        "first building, middle canceled, last canceled"
    );
    world
        .store()
        .request_cancel(&building[0], "root", world.parts.clock.now())
        .await
        .unwrap();
    world.pass().await;
    assert_eq!(
        world.told(&wave).await,
        "first canceled, middle canceled, last canceled"
    );
    assert_eq!(world.get(&wave).await.state, WaveState::Canceled);
    assert!(world.get(&wave).await.ended_at.is_some());
}

#[tokio::test]
async fn a_newer_version_cancels_what_was_queued_for_the_older_one() {
    let world = World::new().await;
    world.built("app", &[&on(BASE, "b1")], "app1").await;
    let older = world.wave(BASE, "b2").await;
    let needless = world.items(&older).await.remove(0).build.unwrap();
    let newer = world.wave(BASE, "b3").await;
    assert_eq!(
        world.store().build(&needless).await.unwrap().unwrap().status,
        Status::Canceled
    );
    assert_eq!(
        (world.told(&older).await, world.get(&older).await.state),
        ("app skipped".to_owned(), WaveState::Done)
    );
    let leased = world.start("app").await;
    assert_eq!(cause(&leased), (BASE, Some("b1"), "b3", None));
    world.succeed_as_told(&leased, "app2").await;
    world.pass().await;
    assert_eq!(world.told(&newer).await, "app done");
    assert!(world.claim().await.is_none(), "one build for both");
}

#[tokio::test]
async fn a_digest_that_flaps_leads_to_one_rebuild_for_each() {
    let world = World::new().await;
    world.built("app", &[&on(BASE, "b1")], "app1").await;
    for digest in ["b2", "b3"] {
        assert_eq!(world.outdated(BASE, digest).await, 1);
        world.wave(BASE, digest).await;
        let leased = world.start("app").await;
        world.succeed_as_told(&leased, &format!("on-{digest}")).await;
        world.pass().await;
    }
    assert_eq!(world.outdated(BASE, "b2").await, 0);
    assert_eq!(world.outdated(BASE, "b3").await, 0);
}

#[tokio::test]
async fn a_circle_ends_by_itself() {
    let world = World::new().await;
    world.built("one", &[&on(BASE, "b1")], "one1").await;
    world.built("two", &[&on(&ours("one"), "one1")], "two1").await;
    // Whoever wrote the Dockerfiles made a circle of them.
    world
        .built("one", &[&on(&ours("two"), "two1"), &on(BASE, "b1")], "one2")
        .await;
    assert_eq!(world.outdated(&ours("one"), "one2").await, 1);
    let wave = world.wave(&ours("one"), "one2").await;
    assert_eq!(world.told(&wave).await, "two building, one skipped");
    let circle = "it stands on r.example.com/team/two:latest, which stands on it in turn: the circle is cut here";
    assert_eq!(world.items(&wave).await[1].reason, circle);
    let two = world.start("two").await;
    world.succeed_as_told(&two, "two2").await;
    world.pass().await;
    assert_eq!(world.get(&wave).await.state, WaveState::Done);
    assert_eq!(world.outdated(&ours("two"), "two2").await, 0, "or it would never end");
}

#[tokio::test]
async fn of_a_pattern_the_last_built_ref_of_each_live_tag_is_rebuilt() {
    let world = World::new().await;
    let repository = world
        .save("app", &[("/^v([0-9]+)\\.[0-9]+$/", "{sourceref},{\\1}")])
        .await;
    for (name, digest) in [("v1.0", "x10"), ("v1.1", "x11"), ("v2.0", "x20")] {
        let trigger = Trigger {
            source: Some((SourceType::Branch, name.to_owned())),
            commit: Some(format!("commit-of-{name}")),
            ..Trigger::default()
        };
        world.parts.intake.trigger(&repository, &trigger, "ann").await.unwrap();
        let leased = world.start("app").await;
        world.succeed(&leased, &[&on(BASE, "b1")], digest).await;
    }
    let wave = world.wave(BASE, "b2").await;
    assert_eq!(world.items(&wave).await.len(), 3);
    for expected in ["v1.0", "v1.1", "v2.0"] {
        let leased = world.start("app").await;
        assert_eq!(leased.build.source_name, expected);
        assert_eq!(leased.build.commit, Some(format!("commit-of-{expected}")));
        world.succeed_as_told(&leased, &format!("new-{expected}")).await;
    }
    world.pass().await;
    let tags = world.store().repository_tags(&repository.id, None, 10).await.unwrap();
    let tag = |name: &str| tags.iter().find(|tag| tag.tag == name).unwrap().digest.as_deref();
    assert_eq!(
        (tag("1"), tag("2"), tag("v1.0")),
        (Some("new-v1.1"), Some("new-v2.0"), Some("new-v1.0"))
    );
}

#[tokio::test]
async fn a_rule_that_is_gone_is_not_rebuilt() {
    let world = World::new().await;
    world.built("app", &[&on(BASE, "b1")], "app1").await;
    let wave = world.moved(BASE, "b2").await;
    world.let_pass(10);
    world
        .store()
        .begin_settled_wave(world.parts.clock.now())
        .await
        .unwrap()
        .unwrap();
    world.save("app", &[("other", "other")]).await;
    world.pass().await;
    assert_eq!(
        world.items(&wave).await[0].reason,
        "its rule is gone, or none of its tags is left"
    );
    assert_eq!(world.get(&wave).await.state, WaveState::Done);
}

#[tokio::test]
async fn a_repository_that_is_deleted_leaves_its_wave() {
    let world = World::new().await;
    chain(&world).await;
    let wave = world.wave(BASE, "b2").await;
    let first = world
        .store()
        .repository_named(&RepositoryName::new("team", "first").unwrap())
        .await
        .unwrap()
        .unwrap();
    world.store().delete_repository(&first.id).await.unwrap();
    world.pass().await;
    assert_eq!(world.get(&wave).await.state, WaveState::Done);
    assert_eq!(world.told(&wave).await, "middle skipped, last skipped");
}

#[tokio::test]
async fn a_rebuild_that_is_retried_by_hand_is_an_ordinary_build() {
    let world = World::new().await;
    let repository = world.built("app", &[&on(BASE, "b1")], "app1").await;
    let wave = world.wave(BASE, "b2").await;
    let leased = world.start("app").await;
    world.fail(&leased).await;
    world.pass().await;
    assert_eq!(world.told(&wave).await, "app failed");
    let failed = world.store().build(&leased.build.id).await.unwrap().unwrap();
    world
        .parts
        .intake
        .retry(&repository, &failed, RetryInputs::Same, "ann")
        .await
        .unwrap();
    let retried = world.start("app").await;
    assert_eq!(
        retried.build.plan.base_digests[BASE], "b2",
        "on what the failed one was to stand on"
    );
    world.succeed_as_told(&retried, "app2").await;
    assert_eq!(world.outdated(BASE, "b2").await, 0);
}

use std::time::Duration;

use chrono::TimeDelta;

use super::*;
use crate::{
    domain::{
        build::{Ending, ErrorKind, Failure},
        ids::{UserId, WorkerId},
        notice::{News, Wish},
    },
    store::{Profile, WaitingMail},
};

const LEASE: Duration = Duration::from_secs(30);

async fn person(store: &Store, name: &str, wish: Wish) -> UserId {
    let user = added_user(store, name).await;
    let profile = Profile {
        email: format!("{name}@example.com"),
        ..Profile::default()
    };
    store.set_profile(&user.id, &profile).await.unwrap();
    store.set_notify_wish(&user.id, wish).await.unwrap();
    user.id
}

fn failed() -> Ending {
    Ending::Failed(Failure::new(ErrorKind::Build, "a step failed"))
}

fn succeeded() -> Ending {
    Ending::Succeeded { digest: None }
}

/// Builds a commit of a repository to its end. The requests of these tests are `ann`'s.
async fn build(store: &Store, repository: &Repository, commit: &str, ending: Ending) -> BuildId {
    let id = queue(store, repository, commit).await;
    let leased = store.claim(&WorkerId::new(), at(10), LEASE).await.unwrap().unwrap();
    assert_eq!(leased.build.id, id);
    store.finish(&leased.lease, &ending, &[], at(20)).await.unwrap();
    id
}

/// Takes everything out of the outbox.
async fn taken(store: &Store) -> Vec<WaitingMail> {
    let mut all = Vec::new();
    while let Some(mail) = store.claim_mail(at(30), at(40)).await.unwrap() {
        store.remove_mail(&mail).await.unwrap();
        all.push(mail);
    }
    all
}

async fn told(store: &Store) -> Vec<(UserId, News)> {
    let mut told: Vec<_> = taken(store)
        .await
        .into_iter()
        .map(|mail| (mail.user, mail.news))
        .collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    told
}

#[tokio::test]
async fn a_failure_is_told_to_the_owner_and_to_whoever_started_it_and_so_is_that_it_works_again() {
    on_both(|store| async move {
        let (ann, team) = (
            person(&store, "ann", Wish::Mine).await,
            person(&store, "team", Wish::Mine).await,
        );
        person(&store, "stranger", Wish::All).await;
        let app = repository(&store, "team/app").await;
        build(&store, &app, "a", succeeded()).await;
        assert_eq!(told(&store).await, []);
        build(&store, &app, "b", failed()).await;
        assert_eq!(
            told(&store).await,
            [(ann.clone(), News::Failed), (team.clone(), News::Failed)]
        );
        build(&store, &app, "c", Ending::Canceled).await;
        assert_eq!(told(&store).await, []);
        build(&store, &app, "d", succeeded()).await;
        assert_eq!(told(&store).await, [(ann, News::Recovered), (team, News::Recovered)]);
        build(&store, &app, "e", succeeded()).await;
        assert_eq!(told(&store).await, []);
    })
    .await;
}

#[tokio::test]
async fn everybody_is_told_of_what_they_wish_and_nobody_without_an_address() {
    on_both(|store| async move {
        let owner = person(&store, "team", Wish::All).await;
        let app = repository(&store, "team/app").await;
        build(&store, &app, "a", succeeded()).await;
        assert_eq!(told(&store).await, [(owner.clone(), News::Succeeded)]);
        store.set_notify_wish(&owner, Wish::Namespaces).await.unwrap();
        build(&store, &app, "b", succeeded()).await;
        assert_eq!(told(&store).await, []);
        build(&store, &app, "c", failed()).await;
        assert_eq!(told(&store).await, [(owner.clone(), News::Failed)]);
        store.set_notify_wish(&owner, Wish::None).await.unwrap();
        build(&store, &app, "d", failed()).await;
        assert_eq!(told(&store).await, []);
        store.set_notify_wish(&owner, Wish::All).await.unwrap();
        assert_eq!(store.notify_wish(&owner).await.unwrap(), Some(Wish::All));
        store.set_profile(&owner, &Profile::default()).await.unwrap();
        build(&store, &app, "e", failed()).await;
        assert_eq!(told(&store).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_private_repositorys_failure_is_told_to_those_who_may_see_it() {
    on_both(|store| async move {
        person(&store, "ann", Wish::All).await;
        let owner = person(&store, "team", Wish::Mine).await;
        let private = RepositoryChange {
            visibility: Visibility::Private,
            ..change("team/secret")
        };
        let saved = store
            .put_repository(None, &new_repository(), &private)
            .await
            .unwrap()
            .unwrap();
        build(&store, &saved.repository, "a", failed()).await;
        // `ann` started it, but may not see it any more.
        assert_eq!(told(&store).await, [(owner, News::Failed)]);
    })
    .await;
}

#[tokio::test]
async fn members_of_an_organisation_are_told_if_they_wish_it() {
    use crate::domain::access::Role;
    on_both(|store| async move {
        let one = person(&store, "one", Wish::Namespaces).await;
        person(&store, "other", Wish::Mine).await;
        let owner = store.user_named("one").await.unwrap().unwrap();
        let team = organisation(&store, "team", &owner).await;
        store
            .put_member(&team.id, "other", Role::Read, &actor("one"))
            .await
            .unwrap();
        let app = repository(&store, "team/app").await;
        build(&store, &app, "a", failed()).await;
        assert_eq!(told(&store).await, [(one, News::Failed)]);
    })
    .await;
}

#[tokio::test]
async fn a_build_that_is_set_aside_is_told_of_too_and_one_that_is_tried_again_is_not() {
    on_both(|store| async move {
        let ann = person(&store, "ann", Wish::Mine).await;
        let app = repository(&store, "team/app").await;
        queue(&store, &app, "a").await;
        for (now, expected) in [(10, vec![]), (100, vec![(ann, News::Failed)])] {
            store.claim(&WorkerId::new(), at(now), LEASE).await.unwrap().unwrap();
            store.reap(at(now + 31), PoisonLimit(2)).await.unwrap();
            let all: Vec<_> = match store.claim_mail(at(now + 31), at(1000)).await.unwrap() {
                Some(mail) => vec![(mail.user, mail.news)],
                None => vec![],
            };
            assert_eq!(all, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_letter_is_one_senders_until_its_time_comes_again() {
    on_both(|store| async move {
        let ann = person(&store, "ann", Wish::Mine).await;
        let app = repository(&store, "team/app").await;
        let id = build(&store, &app, "a", failed()).await;
        let mail = store.claim_mail(at(20), at(40)).await.unwrap().unwrap();
        assert_eq!((&mail.build, &mail.user, mail.attempts), (&id, &ann, 1));
        assert_eq!(store.claim_mail(at(39), at(60)).await.unwrap(), None);
        // The one who held it died.
        assert_eq!(store.claim_mail(at(40), at(60)).await.unwrap().unwrap().attempts, 2);
        store.put_mail_off(&mail, at(50)).await.unwrap();
        assert_eq!(store.claim_mail(at(49), at(60)).await.unwrap(), None);
        assert!(store.claim_mail(at(50), at(60)).await.unwrap().is_some());

        assert_eq!(
            store.mail_address(&mail).await.unwrap().as_deref(),
            Some("ann@example.com")
        );
        store.set_notify_wish(&ann, Wish::None).await.unwrap();
        assert_eq!(store.mail_address(&mail).await.unwrap(), None);
        assert_eq!(store.forget_mail().await.unwrap(), 1);
        assert_eq!(
            store.claim_mail(at(60) + TimeDelta::days(1), at(99)).await.unwrap(),
            None
        );
    })
    .await;
}

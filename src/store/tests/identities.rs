use super::*;
use crate::{
    domain::{access::Access, ids::UserId},
    store::{Linked, SignedUp, Subject, Unlinked},
};

fn person(name: &str, is_admin: bool) -> User {
    User {
        id: UserId::new(),
        name: name.to_owned(),
        is_admin,
        created_at: at(0),
        access: Access::default(),
    }
}

fn subject(subject: &str) -> Subject<'_> {
    Subject {
        issuer: "https://id.example.com",
        subject,
        email: "ann@example.com",
    }
}

#[tokio::test]
async fn an_identity_is_one_persons_and_found_by_issuer_and_subject_alone() {
    on_both(|store| async move {
        let (ann, bob) = (added_user(&store, "ann").await, added_user(&store, "bob").await);
        assert_eq!(
            store.link_identity(&ann.id, subject("1"), at(1)).await.unwrap(),
            Linked::Done
        );
        assert_eq!(
            store.link_identity(&ann.id, subject("1"), at(2)).await.unwrap(),
            Linked::Already
        );
        assert_eq!(
            store.link_identity(&bob.id, subject("1"), at(2)).await.unwrap(),
            Linked::Taken
        );
        let later = Subject {
            email: "new@example.com",
            ..subject("1")
        };
        let found = store.use_identity(later, at(9)).await.unwrap().unwrap();
        assert_eq!(found.id, ann.id);
        // The same address, even the same subject elsewhere, is nobody.
        let elsewhere = Subject {
            issuer: "https://other.example.com",
            ..subject("1")
        };
        assert_eq!(store.use_identity(elsewhere, at(9)).await.unwrap(), None);
        assert_eq!(store.use_identity(subject("2"), at(9)).await.unwrap(), None);
        let listed = store.identities_of(&ann.id).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].email.as_str(), listed[0].linked_at, listed[0].last_used_at),
            ("new@example.com", at(1), at(9))
        );
        assert!(store.identities_of(&bob.id).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn nobody_unlinks_the_last_way_in() {
    on_both(|store| async move {
        let ann = person("ann", false);
        assert_eq!(
            store.sign_up(&ann, "Ann A.", subject("1")).await.unwrap(),
            SignedUp::Done
        );
        assert!(!store.has_password(&ann.id).await.unwrap());
        let first = store.identities_of(&ann.id).await.unwrap().remove(0);
        assert_eq!(
            store.unlink_identity(&ann.id, &first.id).await.unwrap(),
            Unlinked::LastWayIn
        );
        assert_eq!(
            store.identities_of(&ann.id).await.unwrap(),
            std::slice::from_ref(&first),
            "it is still there"
        );

        store.link_identity(&ann.id, subject("2"), at(1)).await.unwrap();
        assert_eq!(
            store.unlink_identity(&ann.id, &first.id).await.unwrap(),
            Unlinked::Done(first.clone())
        );
        assert_eq!(
            store.unlink_identity(&ann.id, &first.id).await.unwrap(),
            Unlinked::Missing
        );
        store.set_password("ann", "hash", None).await.unwrap();
        let second = store.identities_of(&ann.id).await.unwrap().remove(0);
        let bob = added_user(&store, "bob").await;
        assert_eq!(
            store.unlink_identity(&bob.id, &second.id).await.unwrap(),
            Unlinked::Missing
        );
        assert_eq!(
            store.unlink_identity(&ann.id, &second.id).await.unwrap(),
            Unlinked::Done(second)
        );
    })
    .await;
}

#[tokio::test]
async fn a_new_person_comes_whole_or_not_at_all() {
    on_both(|store| async move {
        added_user(&store, "ann").await;
        let taken = store.sign_up(&person("ann", false), "", subject("1")).await.unwrap();
        assert_eq!(taken, SignedUp::NameTaken);
        assert_eq!(store.use_identity(subject("1"), at(1)).await.unwrap(), None);

        let bob = person("bob", false);
        assert_eq!(
            store.sign_up(&bob, "Bob B.", subject("1")).await.unwrap(),
            SignedUp::Done
        );
        let profile = store.profile(&bob.id).await.unwrap().unwrap();
        assert_eq!(
            (profile.full_name.as_str(), profile.email.as_str()),
            ("Bob B.", "ann@example.com")
        );
        let twin = store.sign_up(&person("twin", false), "", subject("1")).await.unwrap();
        assert_eq!(twin, SignedUp::IdentityTaken);
        assert_eq!(store.user_named("twin").await.unwrap(), None);
        // No password opens what has none.
        let (_, hash) = store.user_with_password("bob").await.unwrap().unwrap();
        assert_eq!(hash, "");
    })
    .await;
}

#[tokio::test]
async fn a_person_has_a_bounded_number_of_identities() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        for number in 0..20 {
            let linked = store
                .link_identity(&ann.id, subject(&number.to_string()), at(1))
                .await
                .unwrap();
            assert_eq!(linked, Linked::Done);
        }
        let linked = store.link_identity(&ann.id, subject("more"), at(1)).await.unwrap();
        assert_eq!(linked, Linked::TooMany);
    })
    .await;
}

#[tokio::test]
async fn nobody_signs_up_to_what_administrators_keep_in_a_namespace() {
    on_both(|store| async move {
        let kept = repository(&store, "kept/app").await;
        let namespace = kept.name.namespace();
        let signed_up = store
            .sign_up(&person(namespace, false), "", subject("1"))
            .await
            .unwrap();
        assert_eq!(signed_up, SignedUp::NameTaken);
        assert!(store.user_named(namespace).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    on_both(|store| async move {
        let (ann, bob) = (person("ann", true), person("bob", false));
        assert!(store.add_user(&ann, "hash").await.unwrap() && store.add_user(&bob, "hash").await.unwrap());
        let set = async |name, is_admin| store.set_administrator(name, is_admin).await.unwrap();
        assert_eq!(set("ann", false).await, PersonChange::LastAdministrator);
        assert_eq!(set("bob", true).await, PersonChange::Done);
        assert_eq!(set("bob", true).await, PersonChange::Same);
        assert_eq!(set("ann", false).await, PersonChange::Done);
        assert!(!store.user_named("ann").await.unwrap().unwrap().is_admin);
    })
    .await;
}

#[tokio::test]
async fn whoever_is_shut_out_comes_in_by_no_identity_and_counts_as_no_administrator() {
    on_both(|store| async move {
        let (ann, bob) = (person("ann", true), person("bob", true));
        assert!(store.add_user(&ann, "hash").await.unwrap() && store.add_user(&bob, "hash").await.unwrap());
        store.link_identity(&bob.id, subject("1"), at(1)).await.unwrap();
        store.set_disabled("bob", true).await.unwrap();
        assert_eq!(store.use_identity(subject("1"), at(2)).await.unwrap(), None);
        let twin = store.sign_up(&person("bob-2", false), "", subject("1")).await.unwrap();
        assert_eq!(twin, SignedUp::IdentityTaken, "nor as somebody else");
        let left = store.set_administrator("ann", false).await.unwrap();
        assert_eq!(left, PersonChange::LastAdministrator, "nobody else is left");
        store.set_disabled("bob", false).await.unwrap();
        assert_eq!(
            store.use_identity(subject("1"), at(3)).await.unwrap().unwrap().id,
            bob.id
        );
    })
    .await;
}

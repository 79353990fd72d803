use super::*;
use crate::domain::ids::InvitationId;

fn invitation<'a>(team: &'a Organisation, invitee: &'a str, role: Role, hash: &'a [u8]) -> NewInvitation<'a> {
    NewInvitation {
        id: InvitationId::new(),
        organisation: &team.id,
        invitee,
        role,
        hash,
        expires_at: at(100),
    }
}

#[tokio::test]
async fn a_code_makes_its_invitee_a_member_once() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        let (bob, carol) = (added_user(&store, "bob").await, added_user(&store, "carol").await);
        let team = organisation(&store, "team", &ann).await;
        let new = invitation(&team, "bob", Role::Write, b"code");
        assert_eq!(
            store.add_invitation(&new, &actor("ann")).await.unwrap(),
            InvitationAdded::Added
        );
        let accept = async |user: &User| {
            store
                .accept_invitation(b"code", user, &actor(&user.name))
                .await
                .unwrap()
        };
        assert_eq!(accept(&carol).await, InvitationAccepted::Missing);
        let joined = InvitationAccepted::Joined("team".to_owned(), Role::Write);
        assert_eq!(accept(&bob).await, joined);
        assert_eq!(accept(&bob).await, InvitationAccepted::Missing);
        assert_eq!(store.members(&team.id, None, 9).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_code_for_a_mailbox_is_for_whoever_uses_it_first() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        let (bob, carol) = (added_user(&store, "bob").await, added_user(&store, "carol").await);
        let team = organisation(&store, "team", &ann).await;
        let new = invitation(&team, "someone@example.com", Role::Read, b"code");
        store.add_invitation(&new, &actor("ann")).await.unwrap();
        let (actor_bob, actor_carol) = (actor("bob"), actor("carol"));
        let (one, other) = tokio::join!(
            store.accept_invitation(b"code", &bob, &actor_bob),
            store.accept_invitation(b"code", &carol, &actor_carol)
        );
        let joined = [one.unwrap(), other.unwrap()];
        let count = joined
            .iter()
            .filter(|accepted| matches!(accepted, InvitationAccepted::Joined(..)))
            .count();
        assert_eq!(count, 1, "{joined:?}");
    })
    .await;
}

#[tokio::test]
async fn a_code_that_expired_or_was_withdrawn_or_replaced_is_none() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        let bob = added_user(&store, "bob").await;
        let team = organisation(&store, "team", &ann).await;
        let add = async |hash: &[u8]| {
            let new = invitation(&team, "bob", Role::Read, hash);
            store.add_invitation(&new, &actor("ann")).await.unwrap();
            new.id
        };
        let found = async |hash: &[u8], now: i64| store.invitation_with(hash, at(now)).await.unwrap();
        add(b"one").await;
        assert!(found(b"one", 99).await.is_some());
        assert_eq!(found(b"one", 100).await, None);
        let late = Actor {
            at: at(100),
            ..actor("bob")
        };
        assert_eq!(
            store.accept_invitation(b"one", &bob, &late).await.unwrap(),
            InvitationAccepted::Missing
        );
        let second = add(b"two").await;
        assert_eq!(found(b"one", 1).await, None);
        assert_eq!(store.invitations(&team.id, at(1), None, 9).await.unwrap().len(), 1);
        assert!(
            store
                .withdraw_invitation(&team.id, &second, &actor("ann"))
                .await
                .unwrap()
        );
        assert!(
            !store
                .withdraw_invitation(&team.id, &second, &actor("ann"))
                .await
                .unwrap()
        );
        assert_eq!(found(b"two", 1).await, None);
    })
    .await;
}

#[tokio::test]
async fn only_users_who_exist_and_are_no_members_yet_are_invited_by_name() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        let team = organisation(&store, "team", &ann).await;
        for (invitee, expected) in [
            ("nobody", InvitationAdded::NoSuchUser),
            ("ann", InvitationAdded::AlreadyMember),
            ("x@example.com", InvitationAdded::Added),
        ] {
            let new = invitation(&team, invitee, Role::Read, invitee.as_bytes());
            assert_eq!(
                store.add_invitation(&new, &actor("ann")).await.unwrap(),
                expected,
                "{invitee}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_has_the_higher_role_keeps_it() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        let team = organisation(&store, "team", &ann).await;
        let new = invitation(&team, "x@example.com", Role::Read, b"code");
        store.add_invitation(&new, &actor("ann")).await.unwrap();
        let accepted = store.accept_invitation(b"code", &ann, &actor("ann")).await.unwrap();
        assert_eq!(accepted, InvitationAccepted::Joined("team".to_owned(), Role::Owner));
    })
    .await;
}

#[tokio::test]
async fn open_invitations_are_bounded_and_expired_ones_make_room() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        let team = organisation(&store, "team", &ann).await;
        let add = async |n: i64, now: i64| {
            let (invitee, hash) = (format!("{n}@example.com"), n.to_be_bytes());
            let new = invitation(&team, &invitee, Role::Read, &hash);
            let actor = Actor {
                at: at(now),
                ..actor("ann")
            };
            store.add_invitation(&new, &actor).await.unwrap()
        };
        for n in 0..MOST_INVITATIONS {
            assert_eq!(add(n, 0).await, InvitationAdded::Added);
        }
        assert_eq!(add(MOST_INVITATIONS, 0).await, InvitationAdded::TooMany);
        assert_eq!(add(MOST_INVITATIONS, 100).await, InvitationAdded::Added);
    })
    .await;
}

use chrono::TimeDelta;

use super::*;
use crate::domain::ids::{SessionId, UserId};

const IDLE: i64 = 100;

fn alive(now: i64) -> Alive {
    Alive {
        now: at(now),
        idle_since: at(now - IDLE),
    }
}

fn session<'a>(user: &'a User, hash: &'a [u8], created: i64) -> NewSession<'a> {
    NewSession {
        id: SessionId::new(),
        user: &user.id,
        hash,
        created_at: at(created),
        expires_at: at(created) + TimeDelta::seconds(500),
        address: "192.0.2.1",
        user_agent: "a browser",
    }
}

async fn user(store: &Store, name: &str) -> User {
    let user = User {
        id: UserId::new(),
        name: name.to_owned(),
        is_admin: false,
        created_at: at(0),
        access: crate::domain::access::Access::default(),
    };
    assert!(store.add_user(&user, "hash").await.unwrap());
    user
}

async fn add(store: &Store, user: &User, hash: &[u8], created: i64) -> SessionId {
    let new = session(user, hash, created);
    store.add_session(&new, None, alive(created)).await.unwrap();
    new.id
}

async fn is_alive(store: &Store, hash: &[u8], now: i64) -> bool {
    store.session_with(hash, alive(now)).await.unwrap().is_some()
}

#[tokio::test]
async fn a_session_is_its_owners_while_it_is_used_and_at_most_until_it_expires() {
    on_both(|store| async move {
        let ann = user(&store, "ann").await;
        let id = add(&store, &ann, b"one", 0).await;
        let found = store.session_with(b"one", alive(0)).await.unwrap().unwrap();
        assert_eq!((&found.session, &found.user, found.last_seen_at), (&id, &ann, at(0)));
        assert!(!is_alive(&store, b"two", 0).await);
        assert!(is_alive(&store, b"one", IDLE).await);
        assert!(!is_alive(&store, b"one", IDLE + 1).await, "idle for too long");
        for now in [90, 180, 270, 360, 450] {
            store.session_seen(&id, at(now)).await.unwrap();
        }
        // A late report of an earlier use takes nothing back.
        store.session_seen(&id, at(100)).await.unwrap();
        assert!(is_alive(&store, b"one", 499).await);
        assert!(!is_alive(&store, b"one", 500).await, "used, but expired");
    })
    .await;
}

#[tokio::test]
async fn a_person_sees_the_sessions_that_are_alive_newest_first() {
    on_both(|store| async move {
        let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
        let first = add(&store, &ann, b"one", 0).await;
        let second = add(&store, &ann, b"two", 50).await;
        add(&store, &bob, b"three", 0).await;
        let listed = store.sessions_of(&ann.id, alive(60)).await.unwrap();
        let ids: Vec<&SessionId> = listed.iter().map(|session| &session.id).collect();
        assert_eq!(ids, [&second, &first]);
        assert_eq!(
            (
                listed[0].address.as_str(),
                listed[0].user_agent.as_str(),
                listed[0].created_at,
                listed[0].expires_at
            ),
            ("192.0.2.1", "a browser", at(50), at(550))
        );
        let listed = store.sessions_of(&ann.id, alive(IDLE + 1)).await.unwrap();
        assert_eq!(listed.len(), 1, "one is idle for too long");
    })
    .await;
}

#[tokio::test]
async fn a_session_is_ended_by_its_owner_alone() {
    on_both(|store| async move {
        let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
        let id = add(&store, &ann, b"one", 0).await;
        assert!(!store.end_session(&bob.id, &id).await.unwrap());
        assert!(is_alive(&store, b"one", 1).await);
        assert!(store.end_session(&ann.id, &id).await.unwrap());
        assert!(!store.end_session(&ann.id, &id).await.unwrap());
        assert!(!is_alive(&store, b"one", 1).await);
    })
    .await;
}

#[tokio::test]
async fn all_other_sessions_end_at_once_and_so_they_do_with_a_new_password() {
    on_both(|store| async move {
        let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
        let kept = add(&store, &ann, b"one", 0).await;
        add(&store, &ann, b"two", 0).await;
        add(&store, &bob, b"bobs", 0).await;
        assert_eq!(store.end_sessions(&ann.id, Some(&kept)).await.unwrap(), 1);
        assert!(is_alive(&store, b"one", 1).await && !is_alive(&store, b"two", 1).await);
        add(&store, &ann, b"three", 0).await;
        assert!(store.set_password("ann", "new", Some(&kept)).await.unwrap());
        assert!(is_alive(&store, b"one", 1).await && !is_alive(&store, b"three", 1).await);
        assert!(store.set_password("ann", "newer", None).await.unwrap());
        assert!(!is_alive(&store, b"one", 1).await);
        assert!(is_alive(&store, b"bobs", 1).await, "another's");
    })
    .await;
}

#[tokio::test]
async fn a_new_session_takes_the_place_of_the_browsers_old_one_and_of_what_is_over() {
    on_both(|store| async move {
        let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
        let bobs = add(&store, &bob, b"bobs", 0).await;
        add(&store, &ann, b"idle", 0).await;
        // Signing in as somebody else on the same browser.
        let new = session(&ann, b"new", IDLE + 1);
        store.add_session(&new, Some(&bobs), alive(IDLE + 1)).await.unwrap();
        assert!(!is_alive(&store, b"bobs", 1).await && !is_alive(&store, b"idle", 1).await);
        assert!(is_alive(&store, b"new", IDLE + 2).await);
    })
    .await;
}

#[tokio::test]
async fn a_person_has_a_hundred_sessions_at_most_and_the_oldest_goes_first() {
    on_both(|store| async move {
        let ann = user(&store, "ann").await;
        for n in 0..101_u32 {
            add(&store, &ann, &n.to_be_bytes(), 0).await;
        }
        assert_eq!(store.sessions_of(&ann.id, alive(1)).await.unwrap().len(), 100);
        assert!(!is_alive(&store, &0_u32.to_be_bytes(), 1).await);
        assert!(is_alive(&store, &1_u32.to_be_bytes(), 1).await && is_alive(&store, &100_u32.to_be_bytes(), 1).await);
    })
    .await;
}

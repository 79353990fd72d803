use super::*;
use crate::domain::access::Scope;
use crate::domain::{
    access::Access,
    ids::{TokenId, UserId},
};

fn user(name: &str) -> User {
    User {
        id: UserId::new(),
        name: name.to_owned(),
        is_admin: false,
        created_at: at(0),
        access: Access::default(),
    }
}

fn token<'a>(user: &'a User, hash: &'a [u8], expires_at: Option<DateTime<Utc>>) -> NewToken<'a> {
    NewToken {
        id: TokenId::new(),
        user: &user.id,
        label: "laptop",
        hash,
        scope: Scope::Admin,
        created_at: at(0),
        expires_at,
    }
}

#[tokio::test]
async fn a_name_belongs_to_whoever_took_it_first() {
    on_both(|store| async move {
        let (ann, bob) = (user("ann"), user("bob"));
        assert!(store.add_user(&bob, "hash").await.unwrap());
        assert!(store.add_user(&ann, "hash").await.unwrap());
        assert!(!store.add_user(&user("ann"), "hash").await.unwrap());
        assert_eq!(store.users().await.unwrap(), [ann.clone(), bob]);
        assert_eq!(store.user_named("ann").await.unwrap(), Some(ann));
        assert_eq!(store.user_named("carol").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn only_those_who_exist_get_a_new_password() {
    on_both(|store| async move {
        store.add_user(&user("ann"), "old").await.unwrap();
        assert!(store.set_password("ann", "new", None).await.unwrap());
        assert!(!store.set_password("bob", "new", None).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_token_is_its_owners_until_it_expires() {
    on_both(|store| async move {
        let ann = user("ann");
        store.add_user(&ann, "hash").await.unwrap();
        store.add_token(&token(&ann, b"forever", None)).await.unwrap();
        store.add_token(&token(&ann, b"short", Some(at(10)))).await.unwrap();
        for (hash, now, valid) in [
            (b"forever".as_slice(), 1_000_000, true),
            (b"short", 9, true),
            (b"short", 10, false),
            (b"other", 0, false),
        ] {
            let found = store.user_with_token(hash, at(now)).await.unwrap();
            assert_eq!(found, valid.then(|| ann.clone()), "{hash:?} at {now}");
        }
    })
    .await;
}

#[tokio::test]
async fn workers_are_those_that_were_seen_lately() {
    on_both(|store| async move {
        let worker = |name: &str, seen| Worker {
            id: crate::domain::ids::WorkerId::new(),
            name: name.to_owned(),
            concurrency: 2,
            started_at: at(0),
            last_seen_at: at(seen),
            paused: false,
            disk: None,
            platform: String::new(),
        };
        let (old, new) = (worker("a", 1), worker("b", 5));
        store.worker_seen(&old).await.unwrap();
        store.worker_seen(&new).await.unwrap();
        assert_eq!(store.workers_since(at(5)).await.unwrap(), std::slice::from_ref(&new));
        let old = Worker {
            last_seen_at: at(9),
            ..old
        };
        store.worker_seen(&old).await.unwrap();
        assert_eq!(store.workers_since(at(5)).await.unwrap(), [old, new]);
    })
    .await;
}

#[tokio::test]
async fn the_platform_of_a_worker_stays_while_it_does_not_say_it() {
    on_both(|store| async move {
        let mut worker = Worker {
            id: crate::domain::ids::WorkerId::new(),
            name: "a".to_owned(),
            concurrency: 2,
            started_at: at(0),
            last_seen_at: at(1),
            paused: false,
            disk: None,
            platform: String::new(),
        };
        store.worker_seen(&worker).await.unwrap();
        assert_eq!(store.worker_platforms(at(0)).await.unwrap(), [""]);
        for said in ["linux/arm64", ""] {
            worker.platform = said.to_owned();
            store.worker_seen(&worker).await.unwrap();
            assert_eq!(store.worker_platforms(at(0)).await.unwrap(), ["linux/arm64"]);
            assert_eq!(store.workers_since(at(0)).await.unwrap()[0].platform, "linux/arm64");
        }
    })
    .await;
}

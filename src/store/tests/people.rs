//! Set-up, profiles and tokens.

use super::*;
use crate::domain::{
    access::{Access, Scope},
    ids::{TokenId, UserId},
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

#[tokio::test]
async fn the_set_up_code_makes_one_administrator_and_is_over() {
    on_both(|store| async move {
        assert!(store.needs_set_up().await.unwrap());
        assert!(store.offer_set_up(b"first").await.unwrap());
        assert!(store.offer_set_up(b"second").await.unwrap());
        store.add_user(&person("bob", false), "hash").await.unwrap();
        let root = person("root", true);
        let tried = |code: &'static [u8], user: User| {
            let store = store.clone();
            async move { store.set_up(code, &user, "hash").await.unwrap() }
        };
        assert_eq!(
            tried(b"first", root.clone()).await,
            SetUp::WrongCode,
            "a later one took its place"
        );
        assert_eq!(tried(b"none", root.clone()).await, SetUp::WrongCode);
        assert_eq!(tried(b"second", person("bob", true)).await, SetUp::NameTaken);
        assert!(store.needs_set_up().await.unwrap());
        assert_eq!(tried(b"second", root.clone()).await, SetUp::Done);
        assert_eq!(store.user_named("root").await.unwrap(), Some(root));
        assert_eq!(tried(b"second", person("eve", true)).await, SetUp::Over);
        assert!(!store.needs_set_up().await.unwrap());
        assert!(!store.offer_set_up(b"third").await.unwrap());
        assert_eq!(tried(b"third", person("eve", true)).await, SetUp::Over);
    })
    .await;
}

#[tokio::test]
async fn of_many_who_use_the_set_up_code_at_once_one_becomes_administrator() {
    on_both(|store| async move {
        store.offer_set_up(b"code").await.unwrap();
        let tries = (0..8).map(|n| {
            let store = store.clone();
            async move {
                store
                    .set_up(b"code", &person(&format!("admin{n}"), true), "hash")
                    .await
                    .unwrap()
            }
        });
        let outcomes = futures_util::future::join_all(tries).await;
        assert_eq!(
            outcomes.iter().filter(|outcome| **outcome == SetUp::Done).count(),
            1,
            "{outcomes:?}"
        );
        assert_eq!(store.users().await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_administrator_made_otherwise_ends_the_set_up() {
    on_both(|store| async move {
        store.offer_set_up(b"code").await.unwrap();
        store.add_user(&person("root", true), "hash").await.unwrap();
        assert!(!store.needs_set_up().await.unwrap());
        let outcome = store.set_up(b"code", &person("eve", true), "hash").await.unwrap();
        assert_eq!(outcome, SetUp::Over);
        assert_eq!(store.user_named("eve").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_profile_reads_back_as_written() {
    on_both(|store| async move {
        let (ann, bob) = (person("ann", false), person("bob", false));
        store.add_user(&ann, "hash of ann").await.unwrap();
        store.add_user(&bob, "hash of bob").await.unwrap();
        assert_eq!(store.profile(&ann.id).await.unwrap(), Some(Profile::default()));
        let profile = Profile {
            full_name: "Ann Example".to_owned(),
            about: "Two\nlines".to_owned(),
            email: "ann@example.com".to_owned(),
            website: "https://example.com/".to_owned(),
        };
        store.set_profile(&ann.id, &profile).await.unwrap();
        assert_eq!(store.profile(&ann.id).await.unwrap(), Some(profile));
        assert_eq!(store.profile(&bob.id).await.unwrap(), Some(Profile::default()));
        assert_eq!(store.profile(&UserId::new()).await.unwrap(), None);
        assert_eq!(
            store.default_visibility(&ann.id).await.unwrap(),
            Some(Visibility::Public)
        );
        store
            .set_default_visibility(&ann.id, Visibility::Private)
            .await
            .unwrap();
        assert_eq!(
            store.default_visibility(&ann.id).await.unwrap(),
            Some(Visibility::Private)
        );
        assert_eq!(
            store.default_visibility(&bob.id).await.unwrap(),
            Some(Visibility::Public)
        );
        let found = store.user_with_password("ann").await.unwrap();
        assert_eq!(found, Some((ann, "hash of ann".to_owned())));
        assert_eq!(store.user_with_password("carol").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn tokens_are_listed_page_by_page_and_revoked_by_their_owner_alone() {
    on_both(|store| async move {
        let (ann, bob) = (person("ann", false), person("bob", false));
        store.add_user(&ann, "hash").await.unwrap();
        store.add_user(&bob, "hash").await.unwrap();
        let mut ids = vec![];
        for (n, label) in ["one", "two", "three"].into_iter().enumerate() {
            let hash = label.as_bytes();
            let token = NewToken {
                id: TokenId::new(),
                user: &ann.id,
                label,
                hash,
                scope: Scope::Write,
                created_at: at(0),
                expires_at: Some(at(10 + i64::try_from(n).unwrap())),
            };
            store.add_token(&token).await.unwrap();
            ids.push(token.id);
        }
        let labels = |tokens: &[StoredToken]| tokens.iter().map(|token| token.label.clone()).collect::<Vec<_>>();
        let page = store.tokens_of(&ann.id, None, 2).await.unwrap();
        assert_eq!(labels(&page), ["three", "two"]);
        assert_eq!(
            (page[0].scope, page[0].expires_at, page[0].last_used_at),
            (Scope::Write, Some(at(12)), None)
        );
        let page = store.tokens_of(&ann.id, Some(&page[1].id), 2).await.unwrap();
        assert_eq!(labels(&page), ["one"]);
        assert_eq!(store.tokens_of(&bob.id, None, 9).await.unwrap(), []);
        assert_eq!(store.revoke_token(&bob.id, &ids[0]).await.unwrap(), None);
        assert!(store.user_with_token(b"one", at(1)).await.unwrap().is_some());
        assert_eq!(
            store.revoke_token(&ann.id, &ids[0]).await.unwrap().as_deref(),
            Some("one")
        );
        assert_eq!(store.user_with_token(b"one", at(1)).await.unwrap(), None);
        assert_eq!(store.revoke_token(&ann.id, &ids[0]).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn the_use_of_a_token_is_noted_once_a_while() {
    on_both(|store| async move {
        let ann = person("ann", false);
        store.add_user(&ann, "hash").await.unwrap();
        let token = NewToken {
            id: TokenId::new(),
            user: &ann.id,
            label: "",
            hash: b"hash",
            scope: Scope::Read,
            created_at: at(0),
            expires_at: None,
        };
        store.add_token(&token).await.unwrap();
        let used = async || store.tokens_of(&ann.id, None, 1).await.unwrap()[0].last_used_at;
        assert!(store.token_used(b"hash", at(100), at(40)).await.unwrap());
        assert!(!store.token_used(b"hash", at(110), at(50)).await.unwrap());
        assert_eq!(used().await, Some(at(100)));
        assert!(store.token_used(b"hash", at(161), at(101)).await.unwrap());
        assert_eq!(used().await, Some(at(161)));
        assert!(!store.token_used(b"other", at(161), at(101)).await.unwrap());
        let owner = store.user_with_token(b"hash", at(1)).await.unwrap().unwrap();
        assert_eq!(owner.access.scope, Scope::Read);
        assert_eq!(store.revoke_tokens(&ann.id).await.unwrap(), 1);
        assert_eq!(store.user_with_token(b"hash", at(1)).await.unwrap(), None);
    })
    .await;
}

use super::*;
use crate::domain::ids::RegistryId;

fn credentials<'a>(namespace: &'a str, host: &'a str, username: &'a str) -> NewRegistry<'a> {
    NewRegistry {
        id: RegistryId::new(),
        namespace,
        host,
        username,
        trusted_realms: &[],
        hook_id: HookId::new(),
        sealed_hook_secret: b"sealed hook secret",
        now: at(0),
    }
}

/// Seals as the vault does, bound to the id of the row.
fn seal(password: &str) -> impl Fn(&RegistryId) -> Option<Vec<u8>> + Send {
    move |id| Some(format!("{password} of {id}").into_bytes())
}

fn keep(_: &RegistryId) -> Option<Vec<u8>> {
    None
}

#[tokio::test]
async fn a_namespaces_own_credentials_come_before_the_servers() {
    on_both(|store| async move {
        for (namespace, host) in [
            ("", "a.example"),
            ("", "b.example"),
            ("team", "a.example"),
            ("other", "c.example"),
        ] {
            store
                .put_registry(&credentials(namespace, host, "u"), seal("p"))
                .await
                .unwrap();
        }
        let usable = store.registries_for("team").await.unwrap();
        let usable: Vec<_> = usable.iter().map(|r| (r.namespace.as_str(), r.host.as_str())).collect();
        assert_eq!(usable, [("team", "a.example"), ("", "b.example")]);
        let own = store.registries_of("team").await.unwrap();
        assert_eq!(own.len(), 1);
        assert_eq!(store.registries_of("").await.unwrap().len(), 2);
        assert_eq!(store.registry("team", "a.example").await.unwrap().as_ref(), own.first());
        assert_eq!(store.registry("team", "b.example").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn replacing_keeps_id_and_webhook_and_seals_for_that_id() {
    on_both(|store| async move {
        let (first, created) = store
            .put_registry(&credentials("team", "a.example", "ann"), seal("one"))
            .await
            .unwrap()
            .unwrap();
        assert!(created);
        let realms = ["auth.example".to_owned()];
        let new = NewRegistry {
            trusted_realms: &realms,
            now: at(9),
            ..credentials("team", "a.example", "bob")
        };
        let (second, created) = store.put_registry(&new, seal("two")).await.unwrap().unwrap();
        assert!(!created);
        assert_eq!(
            second,
            RegistryRow {
                username: "bob".to_owned(),
                sealed_password: format!("two of {}", first.id).into_bytes(),
                trusted_realms: realms.to_vec(),
                updated_at: at(9),
                ..first.clone()
            }
        );
        let found = store.registry_of_hook(&first.hook_id).await.unwrap();
        assert_eq!(found.as_ref(), Some(&second), "reports still arrive");
        assert_eq!(store.registry_of_hook(&HookId::new()).await.unwrap(), None);
        let (third, _) = store
            .put_registry(&credentials("team", "a.example", "carol"), keep)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (third.username.as_str(), &third.sealed_password),
            ("carol", &second.sealed_password)
        );
    })
    .await;
}

#[tokio::test]
async fn there_is_nothing_to_keep_of_credentials_that_are_new() {
    on_both(|store| async move {
        let new = credentials("team", "a.example", "ann");
        assert_eq!(store.put_registry(&new, keep).await.unwrap(), None);
        assert_eq!(store.registry("team", "a.example").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn first_credentials_stored_twice_at_once_are_sealed_for_the_row_that_there_is() {
    on_both(|store| async move {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let store = store.clone();
            tasks.spawn(async move {
                let new = credentials("team", "a.example", "ann");
                store.put_registry(&new, seal("p")).await.unwrap().unwrap()
            });
        }
        let answers = tasks.join_all().await;
        assert_eq!(answers.iter().filter(|(_, created)| *created).count(), 1);
        for (row, _) in answers {
            assert_eq!(row.sealed_password, format!("p of {}", row.id).into_bytes());
        }
        let row = store.registry("team", "a.example").await.unwrap().unwrap();
        assert_eq!(row.sealed_password, format!("p of {}", row.id).into_bytes());
    })
    .await;
}

#[tokio::test]
async fn credentials_are_forgotten_once() {
    on_both(|store| async move {
        store
            .put_registry(&credentials("team", "a.example", "ann"), seal("p"))
            .await
            .unwrap();
        assert!(!store.delete_registry("", "a.example").await.unwrap());
        assert!(store.delete_registry("team", "a.example").await.unwrap());
        assert!(!store.delete_registry("team", "a.example").await.unwrap());
    })
    .await;
}

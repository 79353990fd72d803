use super::*;
use crate::domain::{ids::WorkerId, limits::Limits};

async fn replace(store: &Store, repository: &Repository, change: &RepositoryChange) -> Repository {
    let saved = store
        .put_repository(Some(&repository.id), &new_repository(), change)
        .await
        .unwrap()
        .unwrap();
    assert!(!saved.created);
    saved.repository
}

#[tokio::test]
async fn what_is_saved_is_what_is_read() {
    on_both(|store| async move {
        let mut full = change("team/app");
        full.visibility = Visibility::Private;
        full.description = "d".to_owned();
        full.image = Some("r.example.com/x/y".to_owned());
        full.provider = Provider::BitbucketServer;
        full.source_account = Some("ann".to_owned());
        full.submodules = false;
        full.links = vec!["docker.io/library/b:1".to_owned(), "docker.io/library/a:1".to_owned()];
        full.detect_base_images = false;
        full.limits = Limits {
            timeout_seconds: Some(600),
            memory_bytes: Some(1 << 30),
            cpu_thousandths: Some(1500),
        };
        full.build_secrets = Some(vec![("npm".to_owned(), Some(b"sealed".to_vec()))]);
        full.credentials = SourceSecret::Set(b"credentials".to_vec());
        full.rules = vec![rule("main", "latest"), rule("dev", "dev")];
        full.rules[1].platforms = vec!["linux/arm64".to_owned()];
        full.rules[1].build_args.insert("A".to_owned(), "1".to_owned());
        full.rules[1].paths = vec!["api/".to_owned(), "!*.md".to_owned()];
        let new = new_repository();
        let saved = store.put_repository(None, &new, &full).await.unwrap().unwrap();
        assert!(saved.created);
        let repository = saved.repository;
        assert_eq!((&repository.id, &repository.hook_id), (&new.id, &new.hook_id));
        assert_eq!(repository.visibility, Visibility::Private);
        assert_eq!(repository.source.provider, Provider::BitbucketServer);
        assert_eq!(repository.source.account.as_deref(), Some("ann"));
        assert!(repository.source.credentials_set && !repository.source.submodules);
        assert_eq!(repository.links, ["docker.io/library/a:1", "docker.io/library/b:1"]);
        assert_eq!(repository.build_secrets, ["npm"]);
        let plain = |rules: &[Rule]| -> Vec<Rule> {
            let same_id = |rule: &Rule| Rule {
                id: "r".into(),
                ..rule.clone()
            };
            rules.iter().map(same_id).collect()
        };
        assert_eq!(plain(&repository.rules), plain(&full.rules));
        assert_eq!(
            store.repository_named(&full.name).await.unwrap().as_ref(),
            Some(&repository)
        );
        for target in [
            store.repository(&repository.id).await.unwrap().unwrap(),
            store.repository_of_hook(&repository.hook_id).await.unwrap().unwrap(),
        ] {
            assert_eq!(target.repository, repository);
            assert_eq!(target.sealed_webhook_secret, b"sealed");
        }
        assert!(store.repository_of_hook(&HookId::new()).await.unwrap().is_none());
        assert!(store.repository(&RepositoryId::new()).await.unwrap().is_none());
        let declared = DeclaredImages {
            id: repository.id,
            name: full.name,
            image: full.image,
            links: repository.links,
            rules: repository.rules,
        };
        assert_eq!(store.declared_images(&Sight::Everything).await.unwrap(), [declared]);
    })
    .await;
}

#[tokio::test]
async fn a_name_is_taken_once_and_a_deleted_repository_is_not_replaced() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let again = store
            .put_repository(None, &new_repository(), &change("team/app"))
            .await
            .unwrap();
        assert!(again.is_none());
        store.delete_repository(&repository.id).await.unwrap();
        let gone = store
            .put_repository(Some(&repository.id), &new_repository(), &change("team/app"))
            .await
            .unwrap();
        assert!(gone.is_none());
        assert!(store.repository_named(&repository.name).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn rules_that_say_the_same_keep_their_ids_wherever_they_move() {
    on_both(|store| async move {
        let mut change = change("team/app");
        change.rules = vec![rule("main", "latest"), rule("dev", "dev"), rule("dev", "dev")];
        let before = store
            .put_repository(None, &new_repository(), &change)
            .await
            .unwrap()
            .unwrap()
            .repository;
        let ids = |repository: &Repository| -> Vec<RuleId> { repository.rules.iter().map(|r| r.id.clone()).collect() };
        let old = ids(&before);
        change.rules = vec![rule("dev", "dev"), rule("new", "new"), rule("main", "latest")];
        change.rules[2].autobuild = false;
        change.rules[2].paths = vec!["api/".to_owned()];
        let after = replace(&store, &before, &change).await;
        let new = ids(&after);
        assert_eq!((&new[0], &new[2]), (&old[1], &old[0]));
        assert!(!old.contains(&new[1]));
        assert!(!after.rules[2].autobuild);
        assert_eq!(after.rules[2].paths, ["api/"]);
        assert_eq!((before.hook_id, before.created_at), (after.hook_id, after.created_at));
    })
    .await;
}

#[tokio::test]
async fn secrets_are_kept_replaced_and_removed_as_the_change_says() {
    on_both(|store| async move {
        let mut first = change("team/app");
        first.credentials = SourceSecret::Set(b"c1".to_vec());
        first.webhook_secret = Some(b"w1".to_vec());
        let secret = |name: &str, value: &[u8]| (name.to_owned(), Some(value.to_vec()));
        first.build_secrets = Some(vec![secret("a", b"a1"), secret("b", b"b1"), secret("c", b"c1")]);
        let repository = store
            .put_repository(None, &new_repository(), &first)
            .await
            .unwrap()
            .unwrap()
            .repository;
        let credentials = async || store.source_credentials(&repository.id).await.unwrap();
        let webhook = async || {
            store
                .repository(&repository.id)
                .await
                .unwrap()
                .unwrap()
                .sealed_webhook_secret
        };
        assert_eq!(
            (credentials().await, webhook().await),
            (Some(b"c1".to_vec()), b"w1".to_vec())
        );

        let untouched = replace(&store, &repository, &change("team/app")).await;
        assert_eq!(untouched.build_secrets, ["a", "b", "c"]);
        assert_eq!(
            (credentials().await, webhook().await),
            (Some(b"c1".to_vec()), b"w1".to_vec())
        );

        let mut second = change("team/app");
        second.credentials = SourceSecret::Set(b"c2".to_vec());
        second.webhook_secret = Some(b"w2".to_vec());
        second.build_secrets = Some(vec![("a".to_owned(), None), secret("b", b"b2"), secret("d", b"d1")]);
        replace(&store, &repository, &second).await;
        assert_eq!(
            (credentials().await, webhook().await),
            (Some(b"c2".to_vec()), b"w2".to_vec())
        );
        assert_eq!(
            store.build_secrets(&repository.id).await.unwrap(),
            [("a", b"a1"), ("b", b"b2"), ("d", b"d1")].map(|(name, value)| (name.to_owned(), value.to_vec()))
        );

        let mut third = change("team/app");
        third.credentials = SourceSecret::Remove;
        third.build_secrets = Some(vec![]);
        let bare = replace(&store, &repository, &third).await;
        assert_eq!(credentials().await, None);
        assert!(!bare.source.credentials_set && bare.build_secrets.is_empty());
    })
    .await;
}

#[tokio::test]
async fn deleting_takes_everything_along_and_its_workers_can_write_no_more() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let other = super::repository(&store, "team/other").await;
        let kept = queue(&store, &other, "c1").await;
        store.request_cancel(&kept, "ann", at(1)).await.unwrap();
        let id = queue(&store, &repository, "c1").await;
        let leased = store
            .claim(&WorkerId::new(), at(2), std::time::Duration::from_secs(30))
            .await
            .unwrap()
            .unwrap();
        store.append_log(&leased.lease, 0, b"line\n").await.unwrap();
        assert_eq!(store.delete_repository(&repository.id).await.unwrap(), [id.to_string()]);
        assert_eq!(store.build(&id).await.unwrap(), None);
        assert_eq!(store.read_log(&id, 0, 10).await.unwrap(), None);
        assert!(store.deliveries(&repository.id, &newest(10)).await.unwrap().is_empty());
        assert!(matches!(
            store.append_log(&leased.lease, 5, b"x").await,
            Err(LeaseLost::Lost)
        ));
        assert!(store.build(&kept).await.unwrap().is_some());
        assert!(store.delete_repository(&repository.id).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn lists_show_what_the_caller_may_see_page_by_page() {
    on_both(|store| async move {
        for (name, visibility) in [
            ("team/a", Visibility::Public),
            ("team/b", Visibility::Private),
            ("other/c", Visibility::Private),
            ("other/d", Visibility::Public),
        ] {
            let change = RepositoryChange {
                visibility,
                ..change(name)
            };
            store.put_repository(None, &new_repository(), &change).await.unwrap();
        }
        let ann = added_user(&store, "ann").await;
        let team = organisation(&store, "team", &ann).await;
        let bob = added_user(&store, "bob").await;
        let reader = added_user(&store, "reader").await;
        store
            .put_member(&team.id, "reader", Role::Read, &actor("ann"))
            .await
            .unwrap();
        for (sight, expected) in [
            (Sight::Public, vec!["other/d", "team/a"]),
            (Sight::Of(bob.id), vec!["other/d", "team/a"]),
            (Sight::Of(ann.id), vec!["other/d", "team/b", "team/a"]),
            (Sight::Of(reader.id), vec!["other/d", "team/b", "team/a"]),
            (Sight::Everything, vec!["other/d", "other/c", "team/b", "team/a"]),
        ] {
            let mut seen = Vec::new();
            let mut before: Option<RepositoryId> = None;
            loop {
                let page = store.repositories(&sight, before.as_ref(), 1).await.unwrap();
                let Some(last) = page.last() else { break };
                before = Some(last.id.clone());
                seen.extend(page.iter().map(|repository| repository.name.to_string()));
            }
            assert_eq!(seen, expected, "{sight:?}");
        }
    })
    .await;
}

use std::borrow::Cow;

use super::*;

#[tokio::test]
async fn users_and_organisations_share_their_names_even_at_the_same_moment() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        let actor = actor("ann");
        let add = async |name: &str| {
            store
                .add_organisation(&new_organisation(name), &ann.id, false, &actor)
                .await
                .unwrap()
        };
        assert_eq!(add("ann").await, OrganisationAdded::NameTaken);
        assert_eq!(add("team").await, OrganisationAdded::Added);
        assert_eq!(add("team").await, OrganisationAdded::NameTaken);
        let user = User {
            id: UserId::new(),
            name: "team".to_owned(),
            ..ann.clone()
        };
        assert!(!store.add_user(&user, "hash").await.unwrap());
        for round in 0..10 {
            let name = format!("both-{round}");
            let user = User {
                id: UserId::new(),
                name: name.clone(),
                ..ann.clone()
            };
            let (user, organisation) = tokio::join!(store.add_user(&user, "hash"), add(&name));
            let both = [user.unwrap(), organisation == OrganisationAdded::Added];
            assert_eq!(both.iter().filter(|got| **got).count(), 1, "{name}: {both:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_holds_things_is_adopted_by_administrators_alone() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        repository(&store, "kept/app").await;
        let add = async |may_adopt: bool| {
            let new = new_organisation("kept");
            store
                .add_organisation(&new, &ann.id, may_adopt, &actor("ann"))
                .await
                .unwrap()
        };
        assert_eq!(add(false).await, OrganisationAdded::NamespaceInUse);
        assert_eq!(add(true).await, OrganisationAdded::Added);
    })
    .await;
}

#[tokio::test]
async fn an_organisation_says_what_it_was_last_told_and_the_log_which_fields_changed() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        let old = organisation(&store, "team", &ann).await;
        let new = Organisation {
            display_name: "The team".to_owned(),
            default_visibility: Visibility::Private,
            ..old
        };
        assert_eq!(store.visibility_of_new("team").await.unwrap(), Visibility::Public);
        for _ in 0..2 {
            assert!(store.change_organisation(&new, &actor("ann")).await.unwrap());
            assert_eq!(store.organisation_named("team").await.unwrap().as_ref(), Some(&new));
        }
        assert_eq!(store.visibility_of_new("team").await.unwrap(), Visibility::Private);
        assert_eq!(store.visibility_of_new("ann").await.unwrap(), Visibility::Public);
        assert_eq!(store.visibility_of_new("nobody").await.unwrap(), Visibility::Public);
        let log = store
            .audit(&AuditFilter {
                limit: 10,
                ..AuditFilter::default()
            })
            .await
            .unwrap();
        let told: Vec<_> = log
            .iter()
            .map(|entry| (entry.event.action.as_str(), entry.event.detail.to_string()))
            .collect();
        let fields = r#"{"fields":["display_name","default_visibility"]}"#;
        assert_eq!(
            told,
            [
                ("organisation.changed", fields.to_owned()),
                ("organisation.created", "{}".to_owned()),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn an_organisation_goes_with_what_it_has_but_not_while_it_has_repositories() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        let team = organisation(&store, "team", &ann).await;
        let repository = repository(&store, "team/app").await;
        let delete = async || store.delete_organisation(&team.id, &actor("ann")).await.unwrap();
        assert_eq!(delete().await, OrganisationDeleted::HasRepositories);
        assert!(store.organisation_named("team").await.unwrap().is_some());
        store.delete_repository(&repository.id).await.unwrap();
        assert_eq!(delete().await, OrganisationDeleted::Deleted);
        assert_eq!(delete().await, OrganisationDeleted::Missing);
        assert!(store.organisations(&ann.id, false, None, 9).await.unwrap().is_empty());
        // The name is free again.
        organisation(&store, "team", &ann).await;
    })
    .await;
}

#[tokio::test]
async fn a_list_holds_ones_own_organisations_with_the_role_and_all_for_administrators() {
    on_both(|store| async move {
        let (ann, bob) = (added_user(&store, "ann").await, added_user(&store, "bob").await);
        let one = organisation(&store, "one", &ann).await;
        organisation(&store, "two", &ann).await;
        organisation(&store, "three", &bob).await;
        store
            .put_member(&one.id, "bob", Role::Write, &actor("ann"))
            .await
            .unwrap();
        let listed = async |user: &User, all: bool| {
            let mut found = Vec::new();
            let mut before = None;
            loop {
                let page = store.organisations(&user.id, all, before.as_ref(), 1).await.unwrap();
                let Some((organisation, role)) = page.into_iter().next() else {
                    break;
                };
                before = Some(organisation.id);
                found.push((organisation.name, role));
            }
            found
        };
        let is = |name: &str, role: Option<Role>| (name.to_owned(), role);
        assert_eq!(
            listed(&ann, false).await,
            [is("two", Some(Role::Owner)), is("one", Some(Role::Owner))]
        );
        assert_eq!(
            listed(&bob, false).await,
            [is("three", Some(Role::Owner)), is("one", Some(Role::Write))]
        );
        let all = [
            is("three", Some(Role::Owner)),
            is("two", None),
            is("one", Some(Role::Write)),
        ];
        assert_eq!(listed(&bob, true).await, all);
    })
    .await;
}

#[tokio::test]
async fn users_of_an_older_version_keep_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let file = sqlite_file(&directory);
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let mut older = sqlx::migrate!();
    let is_older = |migration: &&sqlx::migrate::Migration| migration.version < 3;
    older.migrations = Cow::Owned(older.migrations.iter().filter(is_older).cloned().collect());
    older.run(&pool).await.unwrap();
    sqlx::query(
        "insert into users (id, name, password_hash, is_admin, created_at) values ($1, 'ann', 'hash', true, $2)",
    )
    .bind(UserId::new().as_str())
    .bind(at(0))
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let store = Store::open_sqlite(&file).await.unwrap();
    let ann = store.user_named("ann").await.unwrap().unwrap();
    let new = new_organisation("ann");
    let added = store
        .add_organisation(&new, &ann.id, true, &actor("ann"))
        .await
        .unwrap();
    assert_eq!(added, OrganisationAdded::NameTaken);
    store.close().await;
}

use super::*;
use crate::domain::{access::Scope, ids::TokenId};

async fn names(store: &Store, organisation: &Organisation) -> Vec<(String, Role)> {
    let members = store.members(&organisation.id, None, 100).await.unwrap();
    members.into_iter().map(|member| (member.name, member.role)).collect()
}

#[tokio::test]
async fn a_role_is_given_changed_and_taken_and_the_log_says_so() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        added_user(&store, "bob").await;
        let team = organisation(&store, "team", &ann).await;
        let put = async |name: &str, role: Role| store.put_member(&team.id, name, role, &actor("ann")).await.unwrap();
        let remove = async |name: &str| store.remove_member(&team.id, name, &actor("ann")).await.unwrap();
        assert_eq!(put("bob", Role::Read).await, MemberChange::Added);
        assert_eq!(put("bob", Role::Read).await, MemberChange::Same);
        assert_eq!(put("bob", Role::Admin).await, MemberChange::Changed);
        assert_eq!(put("nobody", Role::Read).await, MemberChange::Missing);
        let both = [("bob".to_owned(), Role::Admin), ("ann".to_owned(), Role::Owner)];
        assert_eq!(names(&store, &team).await, both);
        assert_eq!(remove("bob").await, MemberChange::Removed);
        assert_eq!(remove("bob").await, MemberChange::Missing);
        assert_eq!(remove("nobody").await, MemberChange::Missing);
        let filter = AuditFilter {
            namespace: Some("team".to_owned()),
            subject: Some("bob".to_owned()),
            limit: 9,
            ..AuditFilter::default()
        };
        let told: Vec<_> = store
            .audit(&filter)
            .await
            .unwrap()
            .into_iter()
            .map(|entry| entry.event.action.as_str())
            .collect();
        assert_eq!(told, ["member.removed", "member.changed", "member.added"]);
    })
    .await;
}

#[tokio::test]
async fn an_organisation_never_loses_its_last_owner() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        added_user(&store, "bob").await;
        let team = organisation(&store, "team", &ann).await;
        let put = async |name: &str, role: Role| store.put_member(&team.id, name, role, &actor("ann")).await.unwrap();
        let remove = async |name: &str| store.remove_member(&team.id, name, &actor("ann")).await.unwrap();
        put("bob", Role::Admin).await;
        assert_eq!(put("ann", Role::Admin).await, MemberChange::LastOwner);
        assert_eq!(remove("ann").await, MemberChange::LastOwner);
        for _ in 0..5 {
            put("bob", Role::Owner).await;
            put("ann", Role::Owner).await;
            // Both leave at the same moment: one stays.
            let (one, other) = tokio::join!(remove("ann"), remove("bob"));
            let left = [one, other]
                .iter()
                .filter(|change| **change == MemberChange::Removed)
                .count();
            assert_eq!(left, 1, "{one:?} {other:?}");
            let owner = names(&store, &team).await.remove(0);
            assert_eq!(owner.1, Role::Owner);
            store
                .put_member(&team.id, "ann", Role::Owner, &actor(&owner.0))
                .await
                .unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn roles_come_with_the_token_and_are_capped_by_its_scope() {
    on_both(|store| async move {
        let ann = added_user(&store, "ann").await;
        let token = NewToken {
            id: TokenId::new(),
            user: &ann.id,
            label: "laptop",
            hash: b"hash",
            created_at: at(0),
            expires_at: None,
            scope: Scope::Admin,
        };
        store.add_token(&token).await.unwrap();
        let role = async |namespace: &str| {
            let user = store.user_with_token(b"hash", at(1)).await.unwrap().unwrap();
            user.role_in(namespace)
        };
        assert_eq!(role("ann").await, Some(Role::Owner));
        assert_eq!(role("team").await, None);
        let bob = added_user(&store, "bob").await;
        for name in ["team", "other"] {
            let organisation = organisation(&store, name, &bob).await;
            store
                .put_member(&organisation.id, "ann", Role::Admin, &actor("bob"))
                .await
                .unwrap();
        }
        assert_eq!(
            (role("team").await, role("other").await),
            (Some(Role::Admin), Some(Role::Admin))
        );
        let mut tx = store.begin().await.unwrap();
        on!(tx.handle(), c => {
            sqlx::query("update tokens set scope = $1").bind(Scope::Read.as_str()).execute(c).await.map(drop)
        })
        .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            (role("team").await, role("ann").await),
            (Some(Role::Read), Some(Role::Read))
        );
    })
    .await;
}

#[tokio::test]
async fn nobody_belongs_to_more_organisations_than_can_be_read_with_each_request() {
    on_both(|store| async move {
        let (ann, bob) = (added_user(&store, "ann").await, added_user(&store, "bob").await);
        let mut tx = store.begin().await.unwrap();
        for n in 0..MOST_MEMBERSHIPS {
            let new = new_organisation(&format!("team-{n}"));
            on!(tx.handle(), c => {
                sqlx::query("insert into namespaces (name, kind) values ($1, 'organisation')").bind(&new.name).execute(c).await.map(drop)
            })
            .unwrap();
            on!(tx.handle(), c => {
                sqlx::query("insert into organisations values ($1, $2, '', '', 'public', $3)")
                    .bind(new.id.as_str())
                    .bind(&new.name)
                    .bind(new.created_at)
                    .execute(c)
                    .await
                    .map(drop)
            })
            .unwrap();
            on!(tx.handle(), c => {
                sqlx::query("insert into members values ($1, $2, 'read', $3)")
                    .bind(new.id.as_str())
                    .bind(bob.id.as_str())
                    .bind(new.created_at)
                    .execute(c)
                    .await
                    .map(drop)
            })
            .unwrap();
        }
        tx.commit().await.unwrap();
        let added = store.add_organisation(&new_organisation("more"), &bob.id, false, &actor("bob")).await.unwrap();
        assert_eq!(added, OrganisationAdded::TooManyMemberships);
        let team = organisation(&store, "team", &ann).await;
        let change = store.put_member(&team.id, "bob", Role::Read, &actor("ann")).await.unwrap();
        assert_eq!(change, MemberChange::TooManyMemberships);
        // A role that is there already can still be changed.
        let first = store.organisation_named("team-0").await.unwrap().unwrap();
        let change = store.put_member(&first.id, "bob", Role::Owner, &actor("ann")).await.unwrap();
        assert_eq!(change, MemberChange::Changed);
    })
    .await;
}

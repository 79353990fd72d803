use super::*;
use crate::domain::{
    build::{Cause, Ending, Status},
    ids::{UserId, WorkerId},
};

async fn user(store: &Store, name: &str) -> UserId {
    let user = User {
        id: UserId::new(),
        name: name.to_owned(),
        is_admin: false,
        created_at: at(0),
        access: crate::domain::access::Access::default(),
    };
    store.add_user(&user, "hash").await.unwrap();
    user.id
}

async fn private(store: &Store, name: &str) -> Repository {
    let change = RepositoryChange {
        visibility: Visibility::Private,
        ..change(name)
    };
    let saved = store.put_repository(None, &new_repository(), &change).await.unwrap();
    saved.unwrap().repository
}

async fn names(store: &Store, filter: &RepositoryFilter) -> Vec<String> {
    let listed = store.listed_repositories(filter).await.unwrap();
    listed.iter().map(|repository| repository.name.to_string()).collect()
}

fn everything() -> RepositoryFilter {
    RepositoryFilter::new(Sight::Everything, 50)
}

#[tokio::test]
async fn a_star_is_counted_once_and_can_be_taken_back() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
        let stars = async || store.repository_named(&repository.name).await.unwrap().unwrap().stars;
        for _ in 0..2 {
            store.star(&ann, &repository.id, at(1)).await.unwrap();
        }
        store.star(&bob, &repository.id, at(1)).await.unwrap();
        assert_eq!(stars().await, 2);
        assert!(store.has_starred(&ann, &repository.id).await.unwrap());
        for _ in 0..2 {
            store.unstar(&ann, &repository.id).await.unwrap();
        }
        assert_eq!(stars().await, 1);
        assert!(!store.has_starred(&ann, &repository.id).await.unwrap());
        store.star(&ann, &RepositoryId::new(), at(1)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_most_starred_come_first_page_by_page() {
    on_both(|store| async move {
        let users = [user(&store, "u1").await, user(&store, "u2").await];
        for (name, stars) in [("b/x", 0), ("a/y", 1), ("a/z", 0), ("c/w", 2), ("a/x", 1), ("b/y", 0)] {
            let repository = repository(&store, name).await;
            for user in &users[..stars] {
                store.star(user, &repository.id, at(1)).await.unwrap();
            }
        }
        let expected = ["c/w", "a/x", "a/y", "a/z", "b/x", "b/y"];
        for limit in 1..=6 {
            let mut filter = RepositoryFilter::new(Sight::Everything, limit);
            let mut seen = Vec::new();
            loop {
                let page = store.listed_repositories(&filter).await.unwrap();
                let Some(last) = page.last() else { break };
                let cursor = last.cursor().to_string();
                filter.after = Some(RankCursor::parse(&cursor).unwrap());
                seen.extend(page.iter().map(|repository| repository.name.to_string()));
            }
            assert_eq!(seen, expected, "{limit} at a time");
        }
    })
    .await;
}

#[tokio::test]
async fn only_what_may_be_seen_is_listed() {
    on_both(|store| async move {
        repository(&store, "team/open").await;
        private(&store, "team/hidden").await;
        private(&store, "other/hidden").await;
        let team = user(&store, "team").await;
        let sights = [
            (Sight::Public, vec!["team/open"]),
            (Sight::Of(team), vec!["team/hidden", "team/open"]),
            (Sight::Everything, vec!["other/hidden", "team/hidden", "team/open"]),
        ];
        for (sight, expected) in sights {
            assert_eq!(
                names(&store, &RepositoryFilter::new(sight.clone(), 9)).await,
                expected,
                "{sight:?}"
            );
        }
        let within = |namespaces: &[&str]| RepositoryFilter {
            within: Some(namespaces.iter().map(|name| (*name).to_owned()).collect()),
            ..everything()
        };
        assert_eq!(names(&store, &within(&["other"])).await, ["other/hidden"]);
        assert!(names(&store, &within(&[])).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_filter_looks_for_every_word_in_names_and_descriptions() {
    on_both(|store| async move {
        for (name, description) in [
            ("team/web", "Ärger with 100% Nginx"),
            ("team/cache", "redis_server"),
            ("nginx/base", ""),
            // As much as may be stored, of characters that are long in bytes: the index takes it.
            ("zzz/long", &"\u{1f6a2}".repeat(6000)),
        ] {
            let change = RepositoryChange {
                description: description.to_owned(),
                ..change(name)
            };
            store.put_repository(None, &new_repository(), &change).await.unwrap();
        }
        for (text, expected) in [
            ("NGINX", vec!["nginx/base", "team/web"]),
            ("team nginx", vec!["team/web"]),
            ("ärger", vec!["team/web"]),
            ("am/we", vec!["team/web"]),
            ("0%", vec!["team/web"]),
            ("%", vec!["team/web"]),
            ("s_s", vec!["team/cache"]),
            ("_", vec!["team/cache"]),
            ("!", vec![]),
            ("' or 1=1 --", vec![]),
            ("  ", vec!["nginx/base", "team/cache", "team/web", "zzz/long"]),
            ("\u{1f6a2}", vec!["zzz/long"]),
        ] {
            let filter = RepositoryFilter {
                text: text.to_owned(),
                ..everything()
            };
            assert_eq!(names(&store, &filter).await, expected, "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_shows_the_last_build_and_the_last_tag() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        super::repository(&store, "team/empty").await;
        queue(&store, &repository, "c1").await;
        let leased = store
            .claim(&WorkerId::new(), at(2), std::time::Duration::from_secs(30))
            .await
            .unwrap()
            .unwrap();
        for (second, tag) in [(3, "1"), (4, "latest")] {
            let order = &leased.build.push_order;
            store
                .claim_tag(&leased.lease, order, "r/app", tag, at(3))
                .await
                .unwrap();
            let pushed = PushedTag {
                image: "r/app",
                tag,
                digest: None,
                image_bytes: None,
                at: at(second),
            };
            store.tag_pushed(&leased.lease, order, &pushed).await.unwrap();
        }
        let ending = Ending::Succeeded { digest: None };
        store.finish(&leased.lease, &ending, &[], at(9)).await.unwrap();
        let newest = queue(&store, &repository, "c2").await;
        let listed = store.listed_repositories(&everything()).await.unwrap();
        let last = listed[0].last_build.as_ref().unwrap();
        assert_eq!((&last.id, last.number, last.status), (&newest, 2, Status::Queued));
        assert_eq!((listed[0].tags, listed[0].last_tag.as_deref()), (2, Some("latest")));
        assert_eq!(
            (&listed[1].last_build, listed[1].tags, &listed[1].last_tag),
            (&None, 0, &None)
        );
    })
    .await;
}

#[tokio::test]
async fn stars_and_contributions_select_what_is_theirs() {
    on_both(|store| async move {
        let (ann, bob) = (user(&store, "ann").await, user(&store, "bob").await);
        let starred = repository(&store, "team/starred").await;
        let clicked = repository(&store, "team/clicked").await;
        let own = repository(&store, "ann/own").await;
        store.star(&ann, &starred.id, at(1)).await.unwrap();
        for (repository, cause) in [
            (&clicked, Cause::Manual { user: "ann".to_owned() }),
            (
                &clicked,
                Cause::Manual {
                    user: "nobody".to_owned(),
                },
            ),
            (
                &starred,
                Cause::Push {
                    delivery: "d".to_owned(),
                },
            ),
        ] {
            let request = BuildRequest {
                cause,
                unless_under_way: false,
                before: None,
                ..request(repository, "c1")
            };
            accept(&store, delivery(repository, vec![request])).await;
        }
        store.record_contribution("ann", &own.id, at(2)).await.unwrap();
        let starred_by = |user: &UserId| RepositoryFilter {
            starred_by: Some(user.clone()),
            ..everything()
        };
        let contributed_by = |user: &UserId| RepositoryFilter {
            contributed_by: Some(user.clone()),
            outside: Some("ann".to_owned()),
            ..everything()
        };
        assert_eq!(names(&store, &starred_by(&ann)).await, ["team/starred"]);
        assert!(names(&store, &starred_by(&bob)).await.is_empty());
        assert_eq!(names(&store, &contributed_by(&ann)).await, ["team/clicked"]);
        assert!(names(&store, &contributed_by(&bob)).await.is_empty());
    })
    .await;
}

#[test]
fn a_cursor_that_is_none_is_known_as_such() {
    assert!(RankCursor::parse("3.0.team/app.x").is_some());
    for bad in [
        "",
        "3",
        "3.0",
        "3.0.",
        "3.0.team",
        "-1.0.a/b",
        "99999999999999999999.0.a/b",
        "x.0.a/b",
        "9223372036854775808.0.a/b",
    ] {
        assert!(RankCursor::parse(bad).is_none(), "{bad}");
    }
}

use std::time::Duration;

use super::*;
use crate::domain::{build::Ending, delivery::Outcome, ids::WorkerId, schedule::Schedule};

/// `at(0)` is 22:13:20; this is 23:00.
const FIRST_HOUR: i64 = 2800;
const HOUR: i64 = 3600;

fn schedule(cron: &str) -> Option<Schedule> {
    Some(Schedule {
        cron: cron.to_owned(),
        time_zone: "UTC".to_owned(),
        no_cache: false,
    })
}

async fn scheduled_repository(store: &Store, name: &str) -> Repository {
    let mut change = change(name);
    change.rules[0].schedule = schedule("@hourly");
    let saved = store.put_repository(None, &new_repository(), &change).await;
    saved.unwrap().unwrap().repository
}

/// Saves it with another schedule, at a second.
async fn reschedule(store: &Store, repository: &Repository, schedule: Option<Schedule>, second: i64) -> Repository {
    let mut change = change(&repository.name.to_string());
    change.rules[0].schedule = schedule;
    let new = NewRepository {
        now: at(second),
        ..new_repository()
    };
    let saved = store.put_repository(Some(&repository.id), &new, &change).await;
    saved.unwrap().unwrap().repository
}

async fn next_due(store: &Store) -> Option<DateTime<Utc>> {
    store.next_due().await.unwrap()
}

fn start(repository: &Repository, taken_at: i64, next: i64) -> NewDelivery {
    let request = BuildRequest {
        commit: None,
        ..request(repository, "")
    };
    NewDelivery {
        takes: Some(TakenTime {
            rule: repository.rules[0].id.clone(),
            at: at(taken_at),
            next: Some(at(next)),
        }),
        ..delivery(repository, vec![request])
    }
}

#[tokio::test]
async fn a_rule_is_due_when_its_schedule_says_and_not_before() {
    on_both(|store| async move {
        assert_eq!(next_due(&store).await, None);
        let repository = scheduled_repository(&store, "team/app").await;
        assert_eq!(repository.rules[0].schedule, schedule("@hourly"));
        assert_eq!(next_due(&store).await, Some(at(FIRST_HOUR)));
        assert_eq!(store.due_rules(at(FIRST_HOUR - 1), 10).await.unwrap(), []);
        let due = DueRule {
            repository: repository.id.clone(),
            rule: repository.rules[0].id.clone(),
            at: at(FIRST_HOUR),
        };
        assert_eq!(store.due_rules(at(FIRST_HOUR), 10).await.unwrap(), [due]);
    })
    .await;
}

#[tokio::test]
async fn a_changed_schedule_keeps_the_rule_and_an_unchanged_one_what_was_missed() {
    on_both(|store| async move {
        let repository = scheduled_repository(&store, "team/app").await;
        let rule = &repository.rules[0].id;
        let same = reschedule(&store, &repository, schedule("@hourly"), FIRST_HOUR + 10).await;
        assert_eq!(
            (&same.rules[0].id, next_due(&store).await),
            (rule, Some(at(FIRST_HOUR)))
        );
        let mut without_cache = schedule("@hourly");
        without_cache.as_mut().unwrap().no_cache = true;
        let same = reschedule(&store, &repository, without_cache, FIRST_HOUR + 10).await;
        assert!(same.rules[0].schedule.as_ref().unwrap().no_cache);
        assert_eq!(next_due(&store).await, Some(at(FIRST_HOUR)));

        let changed = reschedule(&store, &repository, schedule("30 * * * *"), FIRST_HOUR + 10).await;
        assert_eq!(&changed.rules[0].id, rule);
        assert_eq!(next_due(&store).await, Some(at(FIRST_HOUR + HOUR / 2)));
        let without = reschedule(&store, &repository, None, FIRST_HOUR + 20).await;
        assert_eq!((&without.rules[0].id, &without.rules[0].schedule), (rule, &None));
        assert_eq!(next_due(&store).await, None);
        let again = reschedule(&store, &repository, schedule("@hourly"), FIRST_HOUR + 30).await;
        assert_eq!(&again.rules[0].id, rule);
        assert_eq!(next_due(&store).await, Some(at(FIRST_HOUR + HOUR)));
        store.delete_repository(&repository.id).await.unwrap();
        assert_eq!(next_due(&store).await, None);
    })
    .await;
}

#[tokio::test]
async fn of_two_that_start_what_is_due_one_does() {
    on_both(|store| async move {
        let repository = scheduled_repository(&store, "team/app").await;
        let [one, other] = [(); 2].map(|()| [start(&repository, FIRST_HOUR, FIRST_HOUR + HOUR)]);
        let (one, other) = tokio::join!(store.accept(&one), store.accept(&other));
        let accepted: Vec<Accepted> = [one, other]
            .into_iter()
            .filter_map(|answer| answer.unwrap().pop()?)
            .collect();
        assert_eq!(accepted.len(), 1, "{accepted:?}");
        assert_eq!(accepted[0].queued.len(), 1);
        assert_eq!(store.deliveries(&repository.id, &newest(10)).await.unwrap().len(), 1);
        assert_eq!(next_due(&store).await, Some(at(FIRST_HOUR + HOUR)));
        // As late as it may be, what was taken is not to be had again.
        let late = store
            .accept(&[start(&repository, FIRST_HOUR, FIRST_HOUR + 2 * HOUR)])
            .await;
        assert_eq!(late.unwrap(), [None]);
        assert_eq!(next_due(&store).await, Some(at(FIRST_HOUR + HOUR)));
    })
    .await;
}

#[tokio::test]
async fn a_ref_that_is_queued_or_running_is_not_queued_again_by_its_tip() {
    on_both(|store| async move {
        let repository = scheduled_repository(&store, "team/app").await;
        let pushed = queue(&store, &repository, "c1").await;
        let accepted = accept(&store, start(&repository, FIRST_HOUR, FIRST_HOUR + HOUR)).await;
        assert_eq!(
            (accepted.outcome, &accepted.builds),
            (Outcome::Duplicate, &vec![pushed.clone()])
        );
        assert_eq!(accepted.reason, "main is queued already as build #1");
        let claimed = store
            .claim(&WorkerId::new(), at(3), Duration::from_secs(30))
            .await
            .unwrap()
            .unwrap();
        let accepted = accept(&store, start(&repository, FIRST_HOUR + HOUR, FIRST_HOUR + 2 * HOUR)).await;
        assert_eq!(accepted.reason, "main is running already as build #1");
        store
            .finish(&claimed.lease, &Ending::Canceled, &[], at(4))
            .await
            .unwrap();
        let accepted = accept(&store, start(&repository, FIRST_HOUR + 2 * HOUR, FIRST_HOUR + 3 * HOUR)).await;
        assert_eq!(accepted.outcome, Outcome::Queued);
    })
    .await;
}

#[tokio::test]
async fn a_time_that_no_schedule_names_is_put_right_unless_it_changed_meanwhile() {
    on_both(|store| async move {
        let mut rules = Vec::new();
        for name in ["team/a", "team/b", "team/c"] {
            rules.push(scheduled_repository(&store, name).await.rules[0].id.clone());
        }
        repository(&store, "team/without").await;
        rules.sort();
        let first = store.scheduled_rules(None, 2).await.unwrap();
        let rest = store.scheduled_rules(Some(&first[1].rule), 2).await.unwrap();
        let found: Vec<_> = first.iter().chain(&rest).map(|rule| rule.rule.clone()).collect();
        assert_eq!(found, rules);
        assert_eq!(first[0].next_at, Some(at(FIRST_HOUR)));

        store.put_right(&first[0], None).await.unwrap();
        store.put_right(&first[0], Some(at(1))).await.unwrap();
        let read = store.scheduled_rules(None, 1).await.unwrap().remove(0);
        assert_eq!(read.next_at, None, "what was read is stale");
        store.put_right(&read, Some(at(7))).await.unwrap();
        assert_eq!(next_due(&store).await, Some(at(7)));
    })
    .await;
}

#[tokio::test]
async fn the_refs_that_still_hold_tags_of_the_image_are_found_with_those_tags() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let rule = &repository.rules[0].id;
        let push = async |name: &str, commit: &str, rule: &RuleId, image: &str, tags: &[&str], second: i64| {
            let request = BuildRequest {
                source_type: SourceType::Tag,
                source_name: name.to_owned(),
                rule_id: rule.clone(),
                ..request(&repository, commit)
            };
            accept(&store, delivery(&repository, vec![request])).await;
            let claimed = store.claim(&WorkerId::new(), at(second), Duration::from_secs(30)).await;
            let Leased { lease, build, .. } = claimed.unwrap().unwrap();
            for tag in tags {
                let claimed = store.claim_tag(&lease, &build.push_order, image, tag, at(second)).await;
                assert_eq!(claimed.unwrap(), TagClaim::Granted);
                let pushed = PushedTag {
                    image,
                    tag,
                    digest: None,
                    image_bytes: None,
                    at: at(second),
                };
                store.tag_pushed(&lease, &build.push_order, &pushed).await.unwrap();
            }
            store
                .finish(&lease, &Ending::Succeeded { digest: None }, &[], at(second))
                .await
                .unwrap();
            build.push_order
        };
        push("v1.0", "a", rule, "r/app", &["1.0", "latest"], 10).await;
        push("v1.1", "b", rule, "r/app", &["1.1", "latest"], 20).await;
        let again = push("v1.0", "c", rule, "r/app", &["1.0"], 30).await;
        push("v2", "d", &RuleId::new(), "r/app", &["2"], 40).await;
        push("v3", "e", rule, "r/other", &["3"], 50).await;

        let live = store.live_refs(&repository.id, rule, "r/app", 10).await.unwrap();
        let told: Vec<_> = live
            .iter()
            .map(|found| {
                (
                    found.source_name.as_str(),
                    found.commit.as_deref(),
                    found.tags.join(","),
                )
            })
            .collect();
        let expected = [
            ("v1.0", Some("c"), "1.0".to_owned()),
            ("v1.1", Some("b"), "latest,1.1".to_owned()),
        ];
        assert_eq!(told, expected);
        assert_eq!((&live[0].push_order, live[0].source_type), (&again, SourceType::Tag));
        assert_eq!(
            store.live_refs(&repository.id, rule, "r/app", 1).await.unwrap().len(),
            1
        );
    })
    .await;
}

use std::time::Duration;

use super::*;
use crate::domain::{
    build::{Ending, ErrorKind, Failure, Status},
    ids::WorkerId,
};

async fn build(store: &Store, repository: &Repository, rule: &Rule, tag: &str, ending: Option<Ending>) {
    let mut request = BuildRequest {
        rule_id: rule.id.clone(),
        source_name: tag.to_owned(),
        unless_under_way: false,
        before: None,
        ..request(repository, "c1")
    };
    request.plan.tags = vec![tag.to_owned()];
    accept(store, delivery(repository, vec![request])).await;
    let claimed = store.claim(&WorkerId::new(), at(2), Duration::from_secs(30)).await;
    let lease = claimed.unwrap().unwrap().lease;
    if let Some(ending) = ending {
        store.finish(&lease, &ending, &[], at(9)).await.unwrap();
    }
}

#[tokio::test]
async fn a_repository_is_as_well_as_its_newest_build_that_ran() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let (one, two) = (rule("main", "latest"), rule("dev", "dev"));
        let status = async |of: StatusOf| store.last_telling_status(&repository.id, &of).await.unwrap();
        assert_eq!(status(StatusOf::Repository).await, None);
        let failure = Failure::new(ErrorKind::Build, "no");
        build(
            &store,
            &repository,
            &one,
            "latest",
            Some(Ending::Succeeded { digest: None }),
        )
        .await;
        build(&store, &repository, &two, "dev", Some(Ending::Failed(failure))).await;
        build(&store, &repository, &one, "latest", Some(Ending::Canceled)).await;
        assert_eq!(status(StatusOf::Repository).await, Some(Status::Failed));
        assert_eq!(status(StatusOf::Rule(one.id.clone())).await, Some(Status::Succeeded));
        assert_eq!(status(StatusOf::Tag("dev".to_owned())).await, Some(Status::Failed));
        assert_eq!(status(StatusOf::Tag("none".to_owned())).await, None);
        build(&store, &repository, &two, "dev", None).await;
        assert_eq!(status(StatusOf::Tag("dev".to_owned())).await, Some(Status::Running));
        let history = store.build_history(&repository.id, 3).await.unwrap();
        let told: Vec<_> = history.iter().map(|past| (past.number, past.status)).collect();
        assert_eq!(told, [(4, Status::Running), (3, Status::Canceled), (2, Status::Failed)]);
    })
    .await;
}

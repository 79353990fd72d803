use std::time::Duration;

use super::*;
use crate::domain::{
    documents::{Document, Documents},
    ids::WorkerId,
};

fn documents(readme: &str) -> Documents {
    Documents {
        readme: Some(Document::new("README.md", readme.as_bytes())),
        dockerfile: None,
    }
}

#[tokio::test]
async fn the_documents_of_the_newest_build_stay_whichever_ends_last() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let claim = async |commit| {
            queue(&store, &repository, commit).await;
            let claimed = store.claim(&WorkerId::new(), at(2), Duration::from_secs(30)).await;
            claimed.unwrap().unwrap()
        };
        assert_eq!(store.repository_documents(&repository.id).await.unwrap(), None);
        let older = claim("c1").await;
        let newer = claim("c2").await;
        for (leased, text) in [
            (&older, "older"),
            (&newer, "newer"),
            (&older, "late"),
            (&newer, "again\u{fffd}"),
        ] {
            let order = &leased.build.push_order;
            store
                .record_documents(&leased.lease, order, &documents(text))
                .await
                .unwrap();
        }
        let found = store.repository_documents(&repository.id).await.unwrap().unwrap();
        assert_eq!(found.build, newer.build.id);
        assert_eq!(found.documents, documents("again\u{fffd}"));
    })
    .await;
}

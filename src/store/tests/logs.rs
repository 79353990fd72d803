use std::time::Duration;

use super::*;
use crate::domain::{build::Ending, ids::WorkerId};

async fn running(store: &Store) -> Leased {
    let repository = repository(store, "team/app").await;
    queue(store, &repository, "c1").await;
    store
        .claim(&WorkerId::new(), at(2), Duration::from_secs(30))
        .await
        .unwrap()
        .unwrap()
}

async fn whole(store: &Store, build: &BuildId) -> Vec<u8> {
    store.read_log(build, 0, 1 << 20).await.unwrap().unwrap().bytes
}

#[tokio::test]
async fn pieces_follow_each_other_and_the_last_one_may_come_twice() {
    on_both(|store| async move {
        let Leased { lease, build } = running(&store).await;
        store.append_log(&lease, 0, b"one").await.unwrap();
        store.append_log(&lease, 0, b"one").await.unwrap();
        store.append_log(&lease, 3, b"").await.unwrap();
        store.append_log(&lease, 3, b"two!").await.unwrap();
        for wrong in [0, 5, 8] {
            assert!(matches!(
                store.append_log(&lease, wrong, b"x").await,
                Err(LeaseLost::Store(StoreError::Corrupt(_)))
            ));
        }
        assert_eq!(whole(&store, &build.id).await, b"onetwo!");
        assert_eq!(store.log_extent(&build.id).await.unwrap(), Some((7, false)));
    })
    .await;
}

#[tokio::test]
async fn a_log_reads_the_same_from_any_offset_in_any_portion() {
    on_both(|store| async move {
        let Leased { lease, build } = running(&store).await;
        let mut model: Vec<u8> = Vec::new();
        for size in [1, 5, 2, 9, 3, 1] {
            let piece: Vec<u8> = (0..size).map(|n| (model.len() + n) as u8).collect();
            store.append_log(&lease, model.len() as u64, &piece).await.unwrap();
            model.extend(piece);
        }
        for offset in 0..model.len() + 2 {
            for max in 0..model.len() + 2 {
                let piece = store.read_log(&build.id, offset as u64, max).await.unwrap().unwrap();
                let from = offset.min(model.len());
                let to = (from + max).min(model.len());
                assert_eq!(piece.bytes, &model[from..to], "{max} from {offset}");
                assert!(!piece.ended);
            }
        }
        let far = store.read_log(&build.id, u64::MAX, 10).await.unwrap().unwrap();
        assert!(far.bytes.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_sealed_log_is_elsewhere_and_only_that_of_an_ended_build_is_sealed() {
    on_both(|store| async move {
        let Leased { lease, build } = running(&store).await;
        store.append_log(&lease, 0, b"one\n").await.unwrap();
        assert!(store.unsealed_logs(10).await.unwrap().is_empty());
        store.mark_log_sealed(&build.id).await.unwrap();
        assert_eq!(whole(&store, &build.id).await, b"one\n");
        store.finish(&lease, &Ending::Canceled, &[], at(3)).await.unwrap();
        assert_eq!(store.log_extent(&build.id).await.unwrap(), Some((4, true)));
        assert!(store.read_log(&build.id, 0, 2).await.unwrap().unwrap().ended);
        assert_eq!(store.unsealed_logs(10).await.unwrap(), std::slice::from_ref(&build.id));
        for _ in 0..2 {
            store.mark_log_sealed(&build.id).await.unwrap();
            assert!(store.unsealed_logs(10).await.unwrap().is_empty());
            assert_eq!(store.read_log(&build.id, 0, 10).await.unwrap(), None);
            assert_eq!(store.log_extent(&build.id).await.unwrap(), None);
        }
        assert_eq!(store.log_extent(&BuildId::new()).await.unwrap(), None);
        assert_eq!(store.read_log(&BuildId::new(), 0, 1).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_line_of_the_programs_own_never_reaches_a_running_or_sealed_log() {
    on_both(|store| async move {
        let Leased { lease, build } = running(&store).await;
        let line = async || {
            let mut tx = store.begin().await.unwrap();
            crate::store::logs::append_line(&mut tx, build.id.as_str(), "line\n")
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };
        line().await;
        store.append_log(&lease, 0, b"one\n").await.unwrap();
        store.finish(&lease, &Ending::Canceled, &[], at(3)).await.unwrap();
        line().await;
        assert_eq!(whole(&store, &build.id).await, b"one\nline\n");
        store.mark_log_sealed(&build.id).await.unwrap();
        line().await;
        assert_eq!(store.build(&build.id).await.unwrap().unwrap().log_size, 9);
    })
    .await;
}

#[tokio::test]
async fn unsealed_logs_come_oldest_first_and_in_portions() {
    on_both(|store| async move {
        let repository = repository(&store, "team/app").await;
        let mut ids = Vec::new();
        for commit in ["c1", "c2", "c3"] {
            let id = queue(&store, &repository, commit).await;
            store.request_cancel(&id, "ann", at(2)).await.unwrap();
            ids.push(id);
        }
        assert_eq!(store.unsealed_logs(2).await.unwrap(), ids[..2]);
    })
    .await;
}

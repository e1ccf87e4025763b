//! The store as the outbox of a log elsewhere.

use super::*;
use crate::changelog::gate::Progress;

fn elsewhere(topic: &str) -> Home {
    Home::Kafka { cluster: Some("cluster".into()), topic: topic.into(), partitions: 1 }
}

impl House {
    fn open_for(&self, home: Home, holds: Option<LogId>) -> Result<Embedded, OpenError> {
        Embedded::open_for(&self.config.store, &self.config.changelog, home, holds, Arc::new(Clock::system()))
    }
}

/// As a relay would, up to so many records.
fn relay(store: &Embedded, records: usize) -> Progress {
    let outbox = store.outbox().unwrap();
    let load = outbox.read(outbox.progress().mark, usize::MAX, records).unwrap();
    let progress = Progress { mark: load.mark, partitions: vec![0, load.mark.commit] };
    outbox.relayed(progress.clone(), 5).unwrap();
    progress
}

#[tokio::test]
async fn only_what_was_relayed_is_trimmed_whatever_age_and_size_say() {
    let mut house = House::new();
    house.config.changelog.age_seconds = 0;
    house.config.changelog.size_bytes = 1;
    // Cut at every occasion.
    house.config.changelog.outbox_bytes = 64 * 1024;
    let store = house.open_for(elsewhere("t"), None).unwrap();
    commit_all(&store, (0..50).map(|n| put(key("B", &n.to_string()), format!(r#""text":"{}""#, "x".repeat(300))))).await;
    let log = store.changelog();
    assert_eq!(log.oldest().commit(), 0);
    let progress = relay(&store, 20);
    assert_eq!(progress.mark.commit, 20);
    eventually(|| log.oldest().commit() == 20).await;
    assert_eq!(store.outbox().unwrap().waiting().1, 30);
    // The others are there, as they were written.
    let rest = store.outbox().unwrap().read(progress.mark, usize::MAX, usize::MAX).unwrap();
    let commits: Vec<u64> = rest.records.iter().map(|outgoing| outgoing.about.commit).collect();
    assert_eq!(commits, (21..=50).collect::<Vec<_>>());
    store.close().await.unwrap();
    drop((store, log, rest));
    let store = house.open_for(elsewhere("t"), None).unwrap();
    assert_eq!(store.outbox().unwrap().progress(), progress);
    assert_eq!(store.changelog().oldest().commit(), 20);
}

#[tokio::test]
async fn past_the_cap_nothing_is_written_until_more_was_relayed() {
    let mut house = House::new();
    house.config.changelog.outbox_bytes = 4_000;
    let store = house.open_for(elsewhere("t"), None).unwrap();
    let refused = loop {
        match store.commit(put(key("B", "1"), String::new())).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code(), "outbox-full");
    assert!(store.commit_schema("app".into(), with_date("B")).await.is_err_and(|error| error.code() == "outbox-full"));
    let waiting = store.outbox().unwrap().waiting().0;
    assert!((4_000..5_000).contains(&waiting), "{waiting}");
    // Secrets leave no record.
    store.put_secret("s", vec![1]).await.unwrap();
    relay(&store, 3);
    commit(&store, put(key("B", "2"), String::new())).await;
    store.outbox().unwrap().end("it is over");
    let error = store.commit(put(key("B", "3"), String::new())).await.unwrap_err();
    assert_eq!(error.code(), "log-lost");
    assert!(error.to_string().contains("it is over"), "{error}");
}

#[tokio::test]
async fn a_record_that_the_log_does_not_take_is_not_written() {
    let mut house = House::new();
    house.config.store.object_bytes = 3 << 20;
    let write = || put(key("B", "1"), format!(r#""text":"{}""#, "x".repeat(3_000_000)));
    {
        let store = house.open_for(elsewhere("t"), None).unwrap();
        // Both images of the largest object fit.
        commit(&store, write()).await;
        commit(&store, write()).await;
        store.close().await.unwrap();
    }
    house.config.store.object_bytes = 100_000;
    let store = house.open_for(elsewhere("t"), None).unwrap();
    let error = store.commit(delete(key("B", "1"))).await.unwrap_err();
    assert_eq!(error.code(), "object-unfit");
    assert!(error.to_string().contains("change record"), "{error}");
    assert_eq!(store.changelog().head().commit(), 2);
}

#[tokio::test]
async fn another_home_is_another_log_that_begins_where_it_is() {
    let house = House::new();
    let store = house.open();
    commit_all(&store, (0..3).map(|n| put(key("B", &n.to_string()), String::new()))).await;
    let first = store.changelog().head();
    store.close().await.unwrap();
    drop(store);
    // The records of others are in it: nothing is noted.
    assert!(matches!(house.open_for(elsewhere("t"), Some(LogId(7))), Err(OpenError::ForeignLog { .. })));
    let store = house.open();
    assert_eq!(store.changelog().head(), first);
    store.close().await.unwrap();
    drop(store);

    let store = house.open_for(elsewhere("t"), None).unwrap();
    let log = store.changelog();
    assert_ne!(log.head().log, first.log);
    assert_eq!((log.head().commit(), log.oldest().commit()), (3, 3));
    assert!(matches!(log.read(first, 1).await, Err(LogError::Gone { .. })));
    assert!(store.outbox().unwrap().read(store.outbox().unwrap().progress().mark, 1, 1).unwrap().records.is_empty());
    commit(&store, put(key("B", "4"), String::new())).await;
    let second = log.head();
    store.close().await.unwrap();
    drop((store, log));
    // The same again is the same log.
    let store = house.open_for(elsewhere("t"), Some(second.log)).unwrap();
    assert_eq!(store.changelog().head(), second);
    store.close().await.unwrap();
    drop(store);
    let store = house.open_for(elsewhere("other"), None).unwrap();
    assert_ne!(store.changelog().head().log, second.log);
    assert_eq!(store.outbox().unwrap().waiting(), (0, 0));
    // Also where that start came to nothing: what was written before is none of this log's.
    let third = store.changelog().head();
    store.close().await.unwrap();
    drop(store);
    let store = house.open_for(elsewhere("other"), None).unwrap();
    assert_eq!((store.changelog().head(), store.changelog().oldest()), (third.clone(), third));
    assert_eq!(store.outbox().unwrap().waiting(), (0, 0));
}

#[tokio::test]
async fn a_batch_goes_out_as_one() {
    let house = House::new();
    let store = house.open_for(elsewhere("t"), None).unwrap();
    commit(&store, put(key("B", "0"), String::new())).await;
    let writes = (1..=5).map(|n| put(key("B", &n.to_string()), String::new())).collect();
    store.commit_batch(crate::store::Batch { writes, ..Default::default() }).await.unwrap();
    commit(&store, put(key("B", "6"), String::new())).await;
    let marks: Vec<u64> = (0..3).map(|_| relay(&store, 1).mark.commit).collect();
    assert_eq!(marks, [1, 6, 7]);
    let store_again = relay(&store, 2);
    assert_eq!(store_again.mark.commit, 7);
}

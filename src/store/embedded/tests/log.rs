//! What stands in the log: order, trimming, positions, schemas.

use super::*;

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_stop_without_a_close() {
    let house = House::new();
    let store = house.open();
    let start = store.changelog().head();
    commit_all(&store, (0..50).map(|n| put(key("b", &format!("{n}")), format!(r#""n":{n}"#)))).await;
    store.put_secret("key", vec![1, 2, 3]).await.unwrap();
    let position = store.snapshot().await.unwrap().position();
    drop(store);
    let store = house.open();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.position(), position);
    assert_eq!(store.secret("key").unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(store.secret("other").unwrap(), None);
    // From the disk now.
    let (changes, end) = read_all(&store.changelog(), start, 500).await.unwrap();
    assert_eq!(end, position);
    assert_eq!(replay(&changes), contents(&snapshot, "b").await);
    assert_eq!(changes.len(), 50);
    assert!(changes.iter().all(|change| change.writer == Who { session: 7, request: 0 }));
    // The directory is ours while we live.
    let second = Embedded::open(&house.config.store, &house.config.changelog).err().unwrap();
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    assert_eq!(commit(&store, put(key("b", "new"), String::new())).await.commit, 51);
}

#[tokio::test]
async fn positions_that_may_be_lost_are_gone_and_no_others() {
    let mut house = House::new();
    house.config.store.durability = Durability::System;
    let store = house.open();
    let start = store.changelog().head();
    for n in 0..3 {
        commit(&store, put(key("b", &format!("{n}")), String::new())).await;
    }
    assert_eq!(store.statistics().syncs, 0);
    let known = store.changelog().head();
    drop(store);
    let store = house.open();
    let log = store.changelog();
    assert!(log.head().commit() > 3 + (1 << 31));
    let lost = Position::single(known.log, known.commit() + 1);
    assert!(matches!(log.read(lost.clone(), 1000).await, Err(LogError::Gone { .. })));
    log.beyond(lost).await;
    // What was there before and after the gap reads on, without end or repeat.
    let (changes, end) = read_all(&log, known.clone(), 1000).await.unwrap();
    assert!(changes.is_empty() && end == log.head());
    let behind = commit(&store, put(key("b", "new"), String::new())).await;
    for (from, count) in [(start, 4), (known, 1), (end, 1)] {
        let (changes, end) = read_all(&log, from, 1).await.unwrap();
        assert_eq!((changes.len(), end.commit()), (count, behind.commit));
    }
    // A second crash without a write, then a close: no further gap after that.
    drop((store, log));
    let store = house.open();
    let (changes, head) = read_all(&store.changelog(), Position::single(store.log.id(), 1), 1).await.unwrap();
    assert_eq!((changes.len(), &head), (3, &store.changelog().head()));
    store.close().await.unwrap();
    drop(store);
    assert_eq!(house.open().changelog().head(), head);
}

#[tokio::test]
async fn the_log_reads_in_order_across_memory_disk_and_trimming() {
    let mut house = House::new();
    house.config.changelog.recent_bytes = 8_000;
    house.config.changelog.size_bytes = 60_000;
    let store = house.open();
    let log = store.changelog();
    let start = log.head();
    let counted = |until| (0..until).map(|n| put(key("b", &format!("{}", n % 9)), format!(r#""n":{n}"#)));
    let expected: Vec<_> = commit_all(&store, counted(60)).await.iter().map(|change| change.commit).collect();
    assert!(store.statistics().recent_bytes <= 8_000);
    let (changes, end) = read_all(&log, start.clone(), 2_000).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.commit).collect::<Vec<_>>(), expected);
    assert_eq!(end, log.head());
    // Now more than the log may hold.
    commit_all(&store, counted(300)).await;
    eventually(|| store.statistics().log_bytes <= 60_000).await;
    let oldest = log.oldest();
    assert!(oldest.commit() > 0);
    match log.read(start, 1_000).await {
        Err(LogError::Gone { oldest: named, .. }) => assert!(named.commit() >= oldest.commit()),
        other => panic!("{other:?}"),
    }
    let (changes, end) = read_all(&log, oldest.clone(), 1_500).await.unwrap();
    let commits: Vec<_> = changes.iter().map(|change| change.commit).collect();
    assert_eq!(commits, (oldest.commit() + 1..=end.commit()).collect::<Vec<_>>());
    // The cut outlives a restart.
    drop((store, log));
    let store = house.open();
    assert!(store.changelog().oldest().commit() >= oldest.commit());
    let (changes, _) = read_all(&store.changelog(), store.changelog().oldest(), 1_500).await.unwrap();
    assert_eq!(changes.last().unwrap().commit, 360);
    assert_eq!(store.statistics().log_records, changes.len() as u64);
}

#[tokio::test]
async fn trimming_gives_the_disk_back() {
    let mut house = House::new();
    house.config.changelog.recent_bytes = 0;
    house.config.changelog.size_bytes = 200_000;
    let store = house.open();
    let log = store.changelog();
    let records = store.keyspaces.log.clone();
    for round in 0..6 {
        let text = format!(r#""round":{round},"text":"{}""#, "x".repeat(2_000));
        commit_all(&store, (0..20).map(|n| put(key("b", &format!("{n}")), text.clone()))).await;
        // What the engine does of itself every 32 MiB.
        records.rotate_memtable_and_wait().unwrap();
    }
    store.trimmer.wake();
    eventually(|| store.statistics().log_bytes <= 200_000).await;
    let kept = store.statistics().log_records as usize;
    // All that was cut but what shares a table with what was kept.
    eventually(|| records.iter().count() <= kept + 40).await;
    assert!(kept + 40 < 120, "too much was kept to see anything");
    let (changes, _) = read_all(&log, log.oldest(), 1_000).await.unwrap();
    assert_eq!((changes.len(), changes.last().unwrap().commit), (kept, 120));
    drop((store, log, records));
    let store = house.open();
    let (changes, _) = read_all(&store.changelog(), store.changelog().oldest(), 1_000).await.unwrap();
    assert_eq!(changes.len(), kept);
}

#[tokio::test]
async fn old_records_are_trimmed_although_nothing_is_written() {
    let mut house = House::new();
    house.config.changelog.age_seconds = 60;
    let wall = Arc::new(AtomicI64::new(1_000_000));
    let store = house.open_with(&wall);
    for n in 0..5 {
        commit(&store, put(key("b", &format!("{n}")), String::new())).await;
    }
    let log = store.changelog();
    assert_eq!(log.oldest().commit(), 0);
    wall.store(1_070_000, Ordering::Relaxed);
    store.trimmer.wake();
    eventually(|| log.oldest().commit() >= 5).await;
    assert_eq!(store.statistics().log_records, 0);
    assert_eq!(contents(&store.snapshot().await.unwrap(), "b").await.len(), 5, "objects are not the log");
    assert_eq!(commit(&store, put(key("b", "x"), String::new())).await.commit, 6);
    assert_eq!(read_all(&log, log.oldest(), 10).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn waiting_readers_wake_at_a_commit_and_at_the_end() {
    let house = House::new();
    let store = house.open();
    let log = store.changelog();
    let head = log.head();
    let waiting = tokio::spawn(log.beyond(head.clone()));
    commit(&store, put(key("b", "1"), String::new())).await;
    waiting.await.unwrap();
    let batch = log.read(head.clone(), 1).await.unwrap();
    assert_eq!((batch.changes.len(), batch.through.commit()), (1, 1));
    let other_log = Position::single(LogId(head.log.0 ^ 1), 0);
    log.beyond(other_log.clone()).await;
    assert!(matches!(log.read(other_log, 1).await, Err(LogError::Gone { .. })));
    let waiting = tokio::spawn(log.beyond(batch.through.clone()));
    store.close().await.unwrap();
    waiting.await.unwrap();
    assert_eq!(log.read(head, 1).await.unwrap().changes.len(), 1, "to the end it can be read");
    assert!(matches!(log.read(batch.through, 1).await, Err(LogError::Closed)));
    assert!(matches!(store.commit(delete(key("b", "1"))).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn a_schema_change_is_a_record_and_decides_how_images_are_read() {
    let house = House::new();
    let store = house.open();
    let log = store.changelog();
    let start = log.head();
    let due = r#""due":"2026-01-02T03:04:05.000Z""#;
    let is_date = |change: &Change| matches!(change.after.as_ref().unwrap().document.root().get("due"), Some(Value::Date(_)));
    let open = commit(&store, put(key("task", "1"), due.into())).await;
    let schema = store.commit_schema("app".into(), with_date("task")).await.unwrap();
    assert_eq!((schema.version, store.schema("app").version, store.schema("other").version), (1, 1, 0));
    let declared = commit(&store, put(key("task", "2"), due.into())).await;
    assert_eq!((is_date(&open), is_date(&declared)), (false, true));
    assert_eq!((declared.schema_version, declared.control), (1, 2));
    let refused = store.commit_schema("app".into(), Arc::new(|_| Err(Refusal::Invalid("no".into())))).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    let stored = store.snapshot().await.unwrap().get(&key("task", "1")).await.unwrap().unwrap();
    assert!(matches!(stored.document.root().get("due"), Some(Value::Date(_))), "what is there is read by the new schema");
    let check = async |log: &Arc<dyn ChangeLog>| {
        let batch = log.read(start.clone(), usize::MAX).await.unwrap();
        assert_eq!(batch.changes.iter().map(|change| is_date(change)).collect::<Vec<_>>(), [false, true], "each by its own schema");
        let [record] = &batch.control[..] else { panic!("{:?}", batch.control) };
        assert_eq!((record.commit, &*record.app), (2, "app"));
        assert!(matches!(&record.payload, Payload::Schema(schema) if schema.version == 1));
        assert_eq!(batch.through.commit(), 3);
    };
    check(&log).await;
    drop((store, log));
    let store = house.open();
    assert_eq!(store.schema("app"), schema);
    check(&store.changelog()).await;
}

#[tokio::test]
async fn a_record_of_a_newer_version_stops_the_reader() {
    let house = House::new();
    let store = house.open();
    let log = store.changelog();
    commit(&store, put(key("b", "1"), String::new())).await;
    let payload = ObjectChange {
        id: "/db/b/1".into(),
        operation: Operation::Delete,
        before: Some(Bytes::from_static(b"{}")),
        after: None,
        session: 0,
    };
    let record = Record {
        app: "app".into(),
        bucket: "b".into(),
        schema_version: 0,
        commit: 2,
        previous: 1,
        control: 0,
        at: 1,
        batch: None,
        payload: Payload::Object(payload),
    };
    let text = String::from_utf8(crate::changelog::record::encode(&record).unwrap()).unwrap();
    commit(&store, put(key("b", "2"), String::new())).await;
    drop((store, log));
    let plant = |value: Option<&str>| {
        let (database, keyspaces) = keyspaces::open_engine(&house.dir.path().join("data/store"), 1 << 20).unwrap();
        match value {
            Some(value) => keyspaces.log.insert(2u64.to_be_bytes(), value).unwrap(),
            None => keyspaces.log.remove(2u64.to_be_bytes()).unwrap(),
        }
        database.persist(fjall::PersistMode::SyncAll).unwrap();
    };
    plant(Some(&text.replace("\"kind\":\"object\"", "\"kind\":\"novelty\"")));
    {
        let store = house.open();
        let start = Position::single(store.log.id(), 0);
        let error = store.changelog().read(start, 10_000).await.unwrap_err();
        assert!(matches!(&error, LogError::Unreadable { commit: 2, .. }), "{error}");
        assert!(error.to_string().contains("novelty"), "{error}");
    }
    plant(None);
    let store = house.open();
    let error = store.changelog().read(Position::single(store.log.id(), 0), 10_000).await.unwrap_err();
    assert!(matches!(&error, LogError::Unreadable { commit: 2, .. }), "a hole stops the reader: {error}");
}

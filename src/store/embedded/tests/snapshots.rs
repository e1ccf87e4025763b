//! What readers see.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_exactly_the_changes_up_to_its_position() {
    let house = House::new();
    let store = Arc::new(house.open());
    let log = store.changelog();
    let start = log.head();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for round in 0..60 {
                    let own = key("things", &format!("{}", (writer * 7 + round * 3) % 20));
                    let write = if round % 4 == 3 { delete(own) } else { put(own, format!(r#""by":{writer},"round":{round}"#)) };
                    store.commit(write).await.unwrap();
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let snapshot = store.snapshot().await.unwrap();
        seen.push((snapshot.position(), contents(&snapshot, "things").await));
    }
    let (changes, _) = read_all(&log, start, 4096).await.unwrap();
    assert!(changes.windows(2).all(|pair| pair[0].commit + 1 == pair[1].commit && pair[0].at <= pair[1].at));
    assert!(seen.len() > 3);
    for (position, objects) in seen {
        let until = changes.iter().take_while(|change| change.commit <= position.commit());
        assert_eq!(replay(until), objects, "at {position}");
    }
}

#[tokio::test]
async fn apps_buckets_and_ids_do_not_mix() {
    let house = House::new();
    let store = house.open();
    let ids = ["/db/b/b", "/db/b/a", "/db/b/ä", "/db/b/a\u{0}", "/db/b/%2F"];
    for app in ["one", "two"] {
        for bucket in ["b", "bb"] {
            for id in ids {
                let key = Key { app: app.into(), bucket: bucket.into(), id: id.into() };
                commit(&store, put(key, format!(r#""app":"{app}","bucket":"{bucket}""#))).await;
            }
        }
    }
    let mut selection = all("b");
    selection.app = "two".into();
    let snapshot = store.snapshot().await.unwrap();
    let found = snapshot.select(selection.clone()).await.unwrap();
    let mut sorted = ids.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(found.iter().map(|image| id_of(image)).collect::<Vec<_>>(), sorted);
    assert!(found.iter().all(|image| matches!(image.document.root().get("app"), Some(Value::String("two")))));
    assert_eq!(snapshot.count(selection.clone()).await.unwrap(), 5);
    selection.limit = 5;
    assert_eq!(snapshot.select(selection.clone()).await.unwrap().len(), 5);
    selection.limit = 4;
    assert!(matches!(snapshot.select(selection).await, Err(StoreError::TooMany { limit: 4 })));
}

#[tokio::test]
async fn nobody_selects_what_he_may_not_read() {
    let house = House::new();
    let store = house.open();
    commit(&store, put(key("b", "1"), r#""acl":{"read":{"/db/User/a":"allow"}}"#.into())).await;
    commit(&store, put(key("b", "2"), r#""acl":{"read":{"/db/User/a":"deny"}}"#.into())).await;
    let snapshot = store.snapshot().await.unwrap();
    for (caller, expected) in [
        (Caller::anonymous(), vec!["/db/b/2"]),
        (Caller::new(["/db/User/a"]), vec!["/db/b/1"]),
        (Caller::admin(), vec!["/db/b/1", "/db/b/2"]),
    ] {
        let selection = Selection { caller: Arc::new(caller), ..all("b") };
        assert_eq!(snapshot.count(selection.clone()).await.unwrap(), expected.len() as u64);
        let found = snapshot.select(selection).await.unwrap();
        assert_eq!(found.iter().map(|image| id_of(image)).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selections_that_come_together_each_get_their_own() {
    let house = House::new();
    let store = house.open();
    for n in 0..50 {
        store.commit(put(key("lots", &format!("{n:02}")), format!(r#""n":{n}"#))).await.unwrap();
    }
    let limits = dataflows::query::QueryLimits::default();
    let snapshot = store.snapshot().await.unwrap();
    let select = |n: usize, limit: usize| {
        let filter = dataflows::query::Filter::parse(&format!(r#"{{"n":{{"$gte":{n}}}}}"#), &limits).unwrap();
        snapshot.select(Selection { predicate: filter.predicate, limit, ..all("lots") })
    };
    // More than one scan serves, some of them too small for what they find, one for a bucket with nothing in it.
    let found = futures_util::future::join_all((0..600).map(|n| select(n % 60, if n < 300 { 1_000 } else { 25 })));
    let (found, nothing) = futures_util::join!(found, snapshot.select(all("nothing")));
    assert!(nothing.unwrap().is_empty());
    for (n, found) in found.into_iter().enumerate() {
        let matching = 50_usize.saturating_sub(n % 60);
        match found {
            Ok(images) => {
                assert_eq!(images.len(), matching);
                assert!(images.iter().zip(n % 60..).all(|(image, n)| number(image, "n") == n as i64));
            }
            Err(error) => assert!(matches!(error, StoreError::TooMany { limit: 25 }) && n >= 300 && matching > 25, "{n}: {error}"),
        }
    }
    store.close().await.unwrap();
    // A scan that has no turn any more says so instead of leaving anybody waiting.
    let late = tokio::time::timeout(std::time::Duration::from_secs(10), snapshot.select(all("lots"))).await;
    assert!(late.is_ok(), "the late one waits for ever");
}

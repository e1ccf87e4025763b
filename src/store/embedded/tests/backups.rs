//! Copies, and what they become.

use super::*;

/// A store with objects, a schema and a secret, and writers that go on until they are told to stop.
async fn backup_under_load(store: &Arc<Embedded>) -> (Position, Vec<u8>) {
    store.put_secret("signing", b"secret".to_vec()).await.unwrap();
    store.commit_schema("app".into(), with_date("task")).await.unwrap();
    commit_all(store, (0..200).map(|n| put(key("b", &format!("{n}")), format!(r#""text":"{}""#, "x".repeat(6_000))))).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let own = key("b", &format!("{}", n % 300));
                store.commit(if n % 5 == 0 { delete(own) } else { put(own, format!(r#""n":{n}"#)) }).await.unwrap();
            }
        })
    };
    let copying = Arc::clone(store);
    let backup = tokio::task::spawn_blocking(move || {
        let (mut bytes, mut shown) = (Vec::new(), Vec::new());
        let head = copying.changelog().head().commit();
        let watch = &mut |progress| {
            // So that there are writes between two parts of the copy, also on a slow disk.
            while shown.is_empty() && copying.changelog().head().commit() < head + 5 {
                std::thread::yield_now();
            }
            shown.push(progress);
        };
        let position = copying.backup(&mut bytes, watch).unwrap();
        assert!(shown.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes) && !shown.is_empty());
        (position, bytes)
    });
    let (position, bytes) = backup.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    (position, bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_restores_exactly_its_position() {
    let house = House::new();
    let store = Arc::new(house.open());
    let start = store.changelog().head();
    let (position, bytes) = backup_under_load(&store).await;
    let (changes, _) = read_all(&store.changelog(), start, 1 << 20).await.unwrap();
    let expected = replay(changes.iter().filter(|change| change.commit <= position.commit()));

    let mut other = House::new();
    let first = backup::restore(&bytes[..], &other.config.store.data, &mut |_| {}).unwrap();
    other.config.store.durability = Durability::System;
    let restored = other.open();
    let snapshot = restored.snapshot().await.unwrap();
    assert_eq!(contents(&snapshot, "b").await, expected);
    assert_eq!((restored.schema("app").version, restored.secret("signing").unwrap()), (1, Some(b"secret".to_vec())));
    // Another log: what a client of the first store knows means nothing here.
    let log = restored.changelog();
    assert_eq!((snapshot.position(), log.head(), log.oldest()), (first.clone(), first.clone(), first.clone()));
    assert_eq!(first.commit(), position.commit());
    assert_ne!(first.log, position.log);
    assert!(matches!(log.read(position.clone(), 1).await, Err(LogError::Gone { .. })));
    let next = commit(&restored, put(key("b", "new"), String::new())).await;
    assert_eq!(next.commit, position.commit() + 1);
    assert_eq!(read_all(&log, first, 1).await.unwrap().0.len(), 1);
    let again = backup::restore(&bytes[..], &other.config.store.data, &mut |_| {}).unwrap_err();
    assert!(matches!(again, backup::BackupError::Directory(OpenError::Locked { .. })), "{again}");
    drop((restored, log, snapshot));
    let again = backup::restore(&bytes[..], &other.config.store.data, &mut |_| {}).unwrap_err();
    assert!(matches!(again, backup::BackupError::Directory(OpenError::NotEmpty { .. })), "{again}");
}

#[tokio::test]
async fn a_damaged_backup_is_found_out_and_never_opened() {
    let house = House::new();
    let store = house.open();
    for n in 0..10 {
        commit(&store, put(key("b", &format!("{n}")), String::new())).await;
    }
    let mut bytes = Vec::new();
    store.backup(&mut bytes, &mut |_| {}).unwrap();
    let restore = |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let result = backup::restore(bytes, dir.path(), &mut |_| {});
        (result, dir)
    };
    assert!(restore(&bytes).0.is_ok());
    for length in [0, 15, 16, 20, bytes.len() / 2, bytes.len() - 1] {
        let (result, dir) = restore(&bytes[..length]);
        assert!(matches!(result, Err(backup::BackupError::Truncated)), "{length}: {result:?}");
        let mut options = house.config.store.clone();
        options.data = dir.path().into();
        if length > 20 {
            let opened = Embedded::open(&options, &house.config.changelog).err().unwrap();
            assert!(matches!(opened, OpenError::Incomplete { .. }), "{opened}");
        }
    }
    for at in (0..bytes.len()).step_by(41) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(restore(&damaged).0.is_err(), "a flipped bit at {at} went unnoticed");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_holds_secrets_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    let store = house.open();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&house.config.store.data.join("store")), 0o700);
    let file = house.dir.path().join("copy");
    store.backup(backup::create_file(&file).unwrap(), &mut |_| {}).unwrap();
    assert_eq!(mode(&file), 0o600);
}

//! Unique indexes never hold a duplicate, whoever writes at the same time and however.

use super::indexes::{change, declare, index};
use super::*;
use crate::store::{Batch, BatchError, IndexChange, IndexState, Intake, IntakeError, Intakes, KeyOrder, Note};
use std::collections::HashMap;

fn named(id: usize, name: usize) -> Write {
    put(key("b", &id.to_string()), format!(r#""name":"n{name}","tags":["t{name}","u{name}"],"empty":null"#))
}

/// No name stands in two objects.
async fn assert_unique(store: &Embedded) -> usize {
    let snapshot = store.snapshot().await.unwrap();
    let mut owners = HashMap::new();
    for image in snapshot.select(all("b")).await.unwrap() {
        let Some(Value::String(name)) = image.document.root().get("name") else { continue };
        if let Some(other) = owners.insert(name.to_owned(), id_of(&image)) {
            panic!("{name} is the name of {other} and {}", id_of(&image));
        }
    }
    for (name, id) in &owners {
        let found = snapshot.find(&"app".into(), &"b".into(), "name", name).await.unwrap();
        assert_eq!(found.as_deref().map(id_of).as_ref(), Some(id));
    }
    owners.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_duplicate_gets_in_under_concurrency_and_after_a_crash() {
    let mut house = House::new();
    house.config.store.durability = Durability::System;
    let mut store = Arc::new(house.open());
    for unique in
        [index(true, &[("name", KeyOrder::Asc)]), index(true, &[("tags", KeyOrder::Desc)]), index(true, &[("empty", KeyOrder::Asc)])]
    {
        change(&store, "b", IndexChange::Create(unique)).await.unwrap();
    }
    for round in 0..3 {
        let clients: Vec<_> = (0..8usize)
            .map(|client| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut random = fastrand_like(round * 100 + client as u64);
                    let (mut refused, mut taken) = (0, 0);
                    for _ in 0..60 {
                        let (id, name) = (random(30), random(20));
                        let outcome = match random(4) {
                            0 => store.commit(delete(key("b", &id.to_string()))).await.map(|_| ()),
                            1 => {
                                let other = (id + 1) % 30;
                                let writes = vec![named(id, name), named(other, random(20))];
                                match store.commit_batch(Batch { writes, ..Batch::default() }).await {
                                    Ok(_) => Ok(()),
                                    Err(BatchError::Write { error, .. }) => Err(error),
                                    Err(error) => panic!("{error}"),
                                }
                            }
                            2 => {
                                let note = Note { key: Bytes::from(format!("client-{client}")), value: None };
                                let intake = Intake {
                                    expect: note,
                                    notes: Vec::new(),
                                    writes: vec![named(id, name), named(random(30), random(20))],
                                };
                                match store.commit_intake(intake).await {
                                    Ok(_) => Ok(()),
                                    Err(IntakeError::Refused(mut refused)) => Err(refused.remove(0).1),
                                    Err(error) => panic!("{error}"),
                                }
                            }
                            _ => store.commit(named(id, name)).await.map(|_| ()),
                        };
                        match outcome {
                            Ok(()) => taken += 1,
                            Err(StoreError::Refused(Refusal::Taken { .. })) => refused += 1,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    (taken, refused)
                })
            })
            .collect();
        let (mut taken, mut refused) = (0, 0);
        for client in clients {
            let (more, fewer) = client.await.unwrap();
            (taken, refused) = (taken + more, refused + fewer);
        }
        assert!(taken > 50 && refused > 50, "{taken} {refused}");
        assert!(assert_unique(&store).await > 3);
        // As after a crash of the process.
        drop(Arc::into_inner(store).unwrap());
        store = Arc::new(house.open());
        assert_unique(&store).await;
    }
}

/// Deterministic, and good enough to mix.
fn fastrand_like(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    }
}

#[tokio::test]
async fn what_is_refused_says_index_and_value_and_null_is_nobodys() {
    let house = House::new();
    let store = house.open();
    change(&store, "b", IndexChange::Create(index(true, &[("name", KeyOrder::Asc), ("n", KeyOrder::Desc)]))).await.unwrap();
    commit(&store, put(key("b", "1"), r#""name":"ann","n":1"#.into())).await;
    let refused = store.commit(put(key("b", "2"), r#""name":"ann","n":1.0"#.into())).await.unwrap_err();
    assert_eq!(refused.code(), "unique-index-violated");
    let text = refused.to_string();
    assert!(text.starts_with("Unique index violation") && text.contains("ann") && text.contains("(name asc, n desc)"), "{text}");
    commit(&store, put(key("b", "2"), r#""name":"ann","n":2"#.into())).await;
    for id in ["3", "4"] {
        commit(&store, put(key("b", id), r#""name":"ann""#.into())).await;
        commit(&store, put(key("b", &format!("{id}x")), r#""name":null,"n":1"#.into())).await;
    }
    // Itself it may stay, and what it leaves is free.
    commit(&store, put(key("b", "1"), r#""name":"ann","n":1,"more":true"#.into())).await;
    commit(&store, put(key("b", "1"), r#""name":"eve","n":1"#.into())).await;
    commit(&store, put(key("b", "5"), r#""name":"ann","n":1"#.into())).await;
    commit(&store, delete(key("b", "5"))).await;
    commit(&store, put(key("b", "6"), r#""name":"ann","n":1"#.into())).await;
}

#[tokio::test]
async fn values_too_long_for_a_key_are_told_apart() {
    let house = House::new();
    let store = house.open();
    change(&store, "b", IndexChange::Create(index(true, &[("text", KeyOrder::Asc)]))).await.unwrap();
    let text = |end: &str| format!(r#""text":"{}{end}""#, "x".repeat(5000));
    commit(&store, put(key("b", "1"), text("a"))).await;
    commit(&store, put(key("b", "2"), text("b"))).await;
    assert!(store.commit(put(key("b", "3"), text("a"))).await.is_err());
}

#[tokio::test]
async fn a_unique_index_over_duplicates_fails_and_leaves_nothing() {
    let house = House::new();
    let store = house.open();
    commit_all(&store, (0..20).map(|n| put(key("b", &n.to_string()), format!(r#""n":{}"#, n % 19)))).await;
    let report = declare(&store, "b", index(true, &[("n", KeyOrder::Asc)])).await;
    let IndexState::Failed { reason } = report.state else { panic!("{report:?}") };
    assert!(reason.contains("more than one object has the value 0"), "{reason}");
    eventually(|| store.keyspaces.indexes.is_empty().unwrap()).await;
    // It judges nothing, and may be declared again once there is one of each.
    commit(&store, put(key("b", "x"), r#""n":5"#.into())).await;
    commit(&store, delete(key("b", "x"))).await;
    commit(&store, delete(key("b", "19"))).await;
    assert_eq!(declare(&store, "b", index(true, &[("n", KeyOrder::Asc)])).await.state, IndexState::Ready);
    assert!(store.commit(put(key("b", "x"), r#""n":5"#.into())).await.is_err());
}

#[tokio::test]
async fn names_of_users_are_unique_in_each_app_without_being_asked() {
    let house = House::new();
    let store = house.open();
    let user = |app: &str, id: &str, name: &str| {
        let key = Key { app: app.into(), ..key("User", id) };
        put(key, format!(r#""username":"{name}""#))
    };
    commit(&store, user("app", "1", "ann")).await;
    commit(&store, user("other", "1", "ann")).await;
    let refused = store.commit(user("app", "2", "ann")).await;
    assert!(matches!(&refused, Err(StoreError::Refused(Refusal::NameTaken(name))) if name == "ann"), "{refused:?}");
    commit(&store, user("app", "2", "eve")).await;
    let before = store.statistics();
    let snapshot = store.snapshot().await.unwrap();
    let found = snapshot.find(&"app".into(), &"User".into(), "username", "eve").await.unwrap().unwrap();
    assert_eq!(id_of(&found), "/db/User/2");
    let after = store.statistics();
    assert_eq!((after.examined - before.examined, after.scans), (1, before.scans));
    change(&store, "User", IndexChange::DropAll).await.unwrap();
    assert!(store.commit(user("app", "3", "ann")).await.is_err());
}

/// As format 1 left it: a secret for each name beside the index, and its own note of that.
fn as_of_format_1(store: &Embedded) {
    for name in ["ann", "eve"] {
        store.keyspaces.secrets.insert(format!("username/app/{name}"), "/db/User/1").unwrap();
    }
    store.keyspaces.meta.remove(meta::USERS_INDEXED).unwrap();
    store.keyspaces.meta.insert("users-indexed", "true").unwrap();
    // And a user whom an even older version did not index.
    let entries: Vec<_> = store.keyspaces.indexes.iter().map(|entry| entry.key().unwrap()).collect();
    store.keyspaces.indexes.remove(entries.into_iter().next().unwrap()).unwrap();
}

#[tokio::test]
async fn names_that_stood_in_secrets_stand_in_the_index_alone_after_the_next_start() {
    let house = House::new();
    let store = house.open();
    for (id, name) in [("1", "ann"), ("2", "eve")] {
        commit(&store, put(key("User", id), format!(r#""username":"{name}""#))).await;
    }
    as_of_format_1(&store);
    let mut copy = Vec::new();
    store.backup(&mut copy, &mut |_| {}).unwrap();
    store.close().await.unwrap();
    drop(store);
    let format = house.config.store.data.join("format");
    std::fs::write(&format, "tidegate data, format 1\n").unwrap();

    let mut restored = House::new();
    restored.config.store.data = restored.dir.path().join("other");
    backup::restore(&copy[..], &restored.config.store.data, &mut |_| {}).unwrap();
    for house in [house, restored] {
        let store = house.open();
        assert_eq!(std::fs::read_to_string(house.config.store.data.join("format")).unwrap(), "tidegate data, format 2\n");
        assert!(store.keyspaces.secrets.prefix("username/").next().is_none());
        let snapshot = store.snapshot().await.unwrap();
        for (id, name) in [("/db/User/1", "ann"), ("/db/User/2", "eve")] {
            let found = snapshot.find(&"app".into(), &"User".into(), "username", name).await.unwrap();
            assert_eq!(found.as_deref().map(id_of).as_deref(), Some(id));
            let namesake = store.commit(put(key("User", "3"), format!(r#""username":"{name}""#))).await;
            assert!(matches!(&namesake, Err(StoreError::Refused(Refusal::NameTaken(taken))) if taken == name), "{namesake:?}");
        }
        commit(&store, put(key("User", "1"), r#""username":"Ann""#.into())).await;
        commit(&store, put(key("User", "3"), r#""username":"ann""#.into())).await;
    }
}

/// Registrations, new names and deletes by many at once: whoever has a name is the one user that is found by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_one_user_s_under_concurrency_and_after_a_crash() {
    let mut house = House::new();
    house.config.store.durability = Durability::System;
    let mut store = Arc::new(house.open());
    let user = |id: usize, name: usize| put(key("User", &id.to_string()), format!(r#""username":"n{name}""#));
    for round in 0..3 {
        let clients: Vec<_> = (0..6u64)
            .map(|client| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut random = fastrand_like(round * 100 + client);
                    let (mut taken, mut refused) = (0, 0);
                    for _ in 0..60 {
                        let (id, name) = (random(20), random(12));
                        let outcome = match random(5) {
                            0 => store.commit(delete(key("User", &id.to_string()))).await.map(drop),
                            // Two who are renamed together.
                            1 => {
                                let writes = vec![user(id, name), user((id + 1) % 20, random(12))];
                                let batch = store.commit_batch(Batch { writes, ..Batch::default() }).await;
                                batch.map(drop).map_err(|error| match error {
                                    BatchError::Write { error, .. } => error,
                                    error => panic!("{error}"),
                                })
                            }
                            _ => store.commit(user(id, name)).await.map(drop),
                        };
                        match outcome {
                            Ok(()) => taken += 1,
                            Err(StoreError::Refused(Refusal::NameTaken(_))) => refused += 1,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    (taken, refused)
                })
            })
            .collect();
        let (mut taken, mut refused) = (0, 0);
        for client in clients {
            let (more, fewer) = client.await.unwrap();
            (taken, refused) = (taken + more, refused + fewer);
        }
        assert!(taken > 30 && refused > 30, "{taken} {refused}");
        drop(Arc::into_inner(store).unwrap());
        store = Arc::new(house.open());
        let snapshot = store.snapshot().await.unwrap();
        let users = snapshot.select(all("User")).await.unwrap();
        for image in &users {
            let Some(Value::String(name)) = image.document.root().get("username") else { panic!("{image:?}") };
            let found = snapshot.find(&"app".into(), &"User".into(), "username", name).await.unwrap();
            assert_eq!(found.as_deref().map(id_of), Some(id_of(image)), "{name}");
        }
        // Names of those who left them are free.
        assert_eq!(store.keyspaces.indexes.len().unwrap(), users.len());
    }
}

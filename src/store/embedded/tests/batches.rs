//! Batches: all or nothing, with secrets and revocations; and who is judged inside the transaction.

use super::*;
use crate::rights::Revocation;
use crate::store::{Batch, BatchError, SecretWrite};

fn secret(name: &str, expect: Option<Option<&str>>, value: Option<&str>) -> SecretWrite {
    let bytes = |text: &str| text.as_bytes().to_vec();
    SecretWrite { name: name.into(), expect: expect.map(|expect| expect.map(bytes)), value: value.map(bytes) }
}

fn revocation(generation: u32, until: i64) -> Revocation {
    Revocation { app: "app".into(), user: "/db/User/a".into(), generation, gone: false, until }
}

fn role(id: &str, users: &[&str]) -> Write {
    let users: Vec<_> = users.iter().map(|user| format!("\"/db/User/{user}\"")).collect();
    put(key("Role", id), format!(r#""users":[{}]"#, users.join(",")))
}

#[tokio::test]
async fn all_of_it_or_nothing() {
    let house = House::new();
    let store = house.open();
    let one = key("Lot", "1");
    let two = key("Lot", "2");
    let before = store.snapshot().await.unwrap().position();
    let refuses = write(two.clone(), |_, _| Err(Refusal::Invalid("no".into())));
    for batch in [
        Batch { writes: vec![put(one.clone(), String::new()), refuses], secrets: vec![secret("s", None, Some("1"))], ..Batch::default() },
        Batch { writes: vec![put(one.clone(), String::new())], secrets: vec![secret("s", Some(Some("0")), Some("1"))], ..Batch::default() },
        Batch { writes: vec![put(one.clone(), String::new()), put(one.clone(), String::new())], ..Batch::default() },
    ] {
        assert!(store.commit_batch(batch).await.is_err());
        assert_eq!(store.snapshot().await.unwrap().position(), before);
        assert!(store.secret("s").unwrap().is_none());
    }
    let batch = Batch {
        writes: vec![put(one.clone(), String::new()), put(two.clone(), String::new())],
        secrets: vec![secret("s", Some(None), Some("1"))],
        revocations: vec![revocation(2, i64::MAX)],
    };
    let committed = store.commit_batch(batch.clone()).await.unwrap();
    assert_eq!(committed.writes.len(), 2);
    assert_eq!(store.secret("s").unwrap().unwrap(), b"1");
    assert!(!store.rights().is_alive("app", "/db/User/a", 1) && store.rights().is_alive("app", "/db/User/a", 2));
    // Who comes second finds the secret of the first.
    assert!(matches!(store.commit_batch(batch).await, Err(BatchError::Conflict)));
    assert_eq!(contents(&store.snapshot().await.unwrap(), "Lot").await.len(), 2);
    let batch = store.changelog().read(before, 1 << 20).await.unwrap();
    assert_eq!((batch.changes.len(), batch.control.len()), (2, 1));
    assert_eq!(batch.through, committed.position);
    store.close().await.unwrap();
    drop(store);
    let store = house.open();
    assert!(!store.rights().is_alive("app", "/db/User/a", 1));
    assert_eq!(store.secret("s").unwrap().unwrap(), b"1");
}

#[tokio::test]
async fn a_revocation_whose_tokens_have_ended_is_forgotten() {
    let house = House::new();
    let store = house.open();
    store.commit_batch(Batch { revocations: vec![revocation(1, 5)], ..Batch::default() }).await.unwrap();
    assert!(!store.rights().is_alive("app", "/db/User/a", 0));
    store.close().await.unwrap();
    drop(store);
    assert!(house.open().rights().is_alive("app", "/db/User/a", 0));
}

#[tokio::test]
async fn a_decision_judges_by_the_roles_of_the_state_before_it() {
    let house = House::new();
    let store = house.open();
    store.commit_schema("app".into(), Arc::new(|schema| Ok(schema.clone()))).await.unwrap();
    let who = |own: Key| {
        let decide: Decide = Arc::new(move |_: Option<&Image>, stamp: &Stamp<'_>| {
            let references: Vec<_> = stamp.caller.references().collect();
            Ok(object(&own, stamp, &format!(r#""who":"{}""#, references.join(" "))))
        });
        decide
    };
    let as_user = |id: &str| {
        let key = key("Lot", id);
        Write { decide: who(key.clone()), key, actor: Actor::User("/db/User/a".into()), writer: Who::default() }
    };
    // All of it waits together, so it is decided in one group: each after the one before.
    let writes = [role("x", &["a", "b"]), as_user("1"), role("x", &["b"]), as_user("2"), role("y", &["a"]), as_user("3")];
    let answers: Vec<_> = writes.into_iter().map(|write| store.commit(write)).collect();
    for answer in answers {
        answer.await.unwrap();
    }
    let found = contents(&store.snapshot().await.unwrap(), "Lot").await;
    for (id, roles) in
        [("1", "/db/Role/3 /db/Role/x /db/User/a"), ("2", "/db/Role/3 /db/User/a"), ("3", "/db/Role/3 /db/Role/y /db/User/a")]
    {
        let text = String::from_utf8(found[&format!("/db/Lot/{id}")].to_vec()).unwrap();
        assert!(text.contains(&format!(r#""who":"{roles}""#)), "{text}");
    }
    assert_eq!(store.rights().roles("app", "/db/User/a"), ["/db/Role/y".into()]);
    store.close().await.unwrap();
    drop(store);
    assert_eq!(house.open().rights().roles("app", "/db/User/a"), ["/db/Role/y".into()]);
}

#[tokio::test]
async fn a_batch_is_read_as_one_and_never_from_within() {
    let house = House::new();
    let store = house.open();
    let before = store.snapshot().await.unwrap().position();
    commit(&store, put(key("Lot", "0"), String::new())).await;
    let fields = || format!(r#""text":"{}""#, "x".repeat(500));
    let writes = (1..=4).map(|n| put(key("Lot", &n.to_string()), fields()));
    // One that changes nothing has no record and no place.
    let writes = writes.chain([delete(key("Lot", "none"))]).collect();
    let batch = Batch { writes, revocations: vec![revocation(1, i64::MAX)], ..Batch::default() };
    let committed = store.commit_batch(batch).await.unwrap();
    assert_eq!(committed.position.commit(), 6);
    commit(&store, put(key("Lot", "9"), String::new())).await;
    let alone = store.commit_batch(Batch { writes: vec![put(key("Lot", "8"), String::new())], ..Batch::default() }).await.unwrap();
    assert_eq!(alone.writes[0].change.as_ref().unwrap().batch, None);
    let at = |commit: u64| Position { offsets: vec![commit].into(), ..before.clone() };
    let check = async |store: &Embedded| {
        let log = store.changelog();
        let mut follower = log.follow(before.clone());
        for (through, changes, control) in [(1, 1, 0), (6, 4, 1), (7, 1, 0), (8, 1, 0)] {
            let batch = follower.next(1).await.unwrap();
            assert_eq!((batch.through.commit(), batch.changes.len(), batch.control.len()), (through, changes, control));
        }
        for commit in 2..=5 {
            let refused = log.read(at(commit), 1 << 20).await;
            assert!(matches!(refused, Err(LogError::Gone { .. })), "{commit}: {refused:?}");
        }
        let span = log.read(at(1), 1).await.unwrap().changes[3].batch.unwrap();
        assert_eq!((span.first, span.last), (2, 6));
        assert!(log.read(at(6), 1).await.is_ok());
    };
    check(&store).await;
    store.close().await.unwrap();
    drop(store);
    // From the disk.
    check(&house.open()).await;
}

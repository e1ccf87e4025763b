//! Intakes: all or nothing, in order, with their notes.

use super::*;
use crate::store::{Intake, IntakeError, Intakes, Note, Piece};

fn note(key: &str, value: Option<&str>) -> Note {
    Note { key: Bytes::copy_from_slice(key.as_bytes()), value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())) }
}

/// From one offset to another.
fn intake(from: Option<&str>, to: &str, writes: Vec<Write>) -> Intake {
    Intake { expect: note("offset", from), writes, notes: vec![note("offset", Some(to))] }
}

pub(super) fn increment(key: &Key) -> Write {
    let own = key.clone();
    write(key.clone(), move |before, stamp| {
        let n = before.map_or(0, |image| number(image, "n"));
        Ok(object(&own, stamp, &format!(r#""n":{}"#, n + 1)))
    })
}

fn offset(store: &Embedded) -> Option<Bytes> {
    store.notes(b"off", None, 10).unwrap().pop().map(|(_, value)| value)
}

#[tokio::test]
async fn its_writes_see_each_other_and_bear_one_time() {
    let house = House::new();
    let store = house.open_with(&Arc::new(AtomicI64::new(1_000)));
    let (one, other) = (key("b", "1"), key("b", "2"));
    let log = store.changelog();
    let start = log.head();
    let writes = vec![increment(&one), increment(&other), increment(&one), delete(other.clone()), increment(&other), increment(&one)];
    let position = store.commit_intake(intake(None, "6", writes)).await.unwrap();
    assert_eq!((position.commit(), offset(&store).unwrap()), (6, Bytes::from("6")));
    let (changes, _) = read_all(&log, start, 1 << 20).await.unwrap();
    assert_eq!(replay(&changes), contents(&store.snapshot().await.unwrap(), "b").await);
    let versions: Vec<_> = changes.iter().map(|change| change.after.as_ref().map(|image| image.version())).collect();
    assert_eq!(versions, [Some(1), Some(1), Some(2), None, Some(1), Some(3)]);
    assert!(changes.iter().all(|change| change.at == changes[0].at));
    // What comes behind it is later, though the clock stands still.
    store.commit_intake(intake(Some("6"), "7", vec![increment(&one)])).await.unwrap();
    let last = commit(&store, increment(&one)).await;
    let (behind, _) = read_all(&log, position, 1 << 20).await.unwrap();
    assert!(behind[0].at > changes[0].at && last.at > behind[0].at);
}

#[tokio::test]
async fn many_small_ones_do_not_carry_the_clock_away() {
    let house = House::new();
    let clock = Arc::new(AtomicI64::new(1_000));
    let store = house.open_with(&clock);
    let (log, mut from) = (store.changelog(), None);
    let start = log.head();
    for number in 0..50 {
        let to = number.to_string();
        // Each object twice, far apart.
        let writes = vec![increment(&key("b", &(number % 25).to_string()))];
        store.commit_intake(intake(from.as_deref(), &to, writes)).await.unwrap();
        from = Some(to);
    }
    let (changes, _) = read_all(&log, start, 1 << 20).await.unwrap();
    let times: Vec<_> = changes.iter().map(|change| change.at).collect();
    assert!(times.is_sorted());
    // No object is written twice at one time, and nothing more is taken from the future than that asks for.
    assert_eq!((times[24], times[25], times[49]), (times[0], times[0] + 1, times[0] + 1));
}

#[tokio::test]
async fn a_refusal_names_its_writes_and_nothing_happens() {
    let house = House::new();
    let store = house.open_with(&Arc::new(AtomicI64::new(1_000)));
    let one = key("b", "1");
    let before = commit(&store, increment(&one)).await;
    let bad = |id: &str| write(key("b", id), |_, _| Err(Refusal::Invalid("no".into())));
    let panics = write(key("b", "3"), |_, _| panic!("on purpose"));
    let refused = store.commit_intake(intake(None, "5", vec![increment(&one), bad("2"), panics, increment(&one), bad("4")]));
    let neighbour = store.commit(increment(&key("b", "5")));
    match refused.await {
        Err(IntakeError::Refused(refused)) => {
            let places: Vec<_> = refused.iter().map(|(place, error)| (*place, error.code())).collect();
            assert_eq!(places, [(1, "object-invalid"), (2, "write-panicked"), (4, "object-invalid")]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(neighbour.await.unwrap().change.unwrap().commit, before.commit + 1, "no commit number was taken");
    assert_eq!(offset(&store), None);
    let now = store.snapshot().await.unwrap().get(&one).await.unwrap().unwrap();
    assert_eq!(now.json(), before.after.as_ref().unwrap().json());
    store.commit_intake(intake(None, "5", vec![increment(&one), increment(&one)])).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().get(&one).await.unwrap().unwrap().version(), 3);
}

#[tokio::test]
async fn only_one_goes_on_from_a_place() {
    let house = House::new();
    let store = house.open();
    let one = key("b", "1");
    // Queued together: they share a group, and the later ones see the notes of the earlier ones.
    let answers: Vec<_> = [(None, "1"), (None, "1"), (Some("1"), "2"), (Some("1"), "9"), (Some("2"), "3")]
        .map(|(from, to)| store.commit_intake(intake(from, to, vec![increment(&one)])))
        .into_iter()
        .collect();
    let mut done = Vec::new();
    for answer in answers {
        done.push(match answer.await {
            Ok(_) => true,
            Err(IntakeError::Overtaken) => false,
            Err(error) => panic!("{error}"),
        });
    }
    assert_eq!(done, [true, false, true, false, true]);
    assert_eq!(offset(&store).unwrap(), Bytes::from("3"));
    drop(store);
    let store = house.open();
    assert_eq!(offset(&store).unwrap(), Bytes::from("3"), "notes are as durable as objects");
    assert_eq!(store.snapshot().await.unwrap().get(&one).await.unwrap().unwrap().version(), 3);
}

#[tokio::test]
async fn notes_come_without_writes_and_go_with_a_backup() {
    let house = House::new();
    let store = house.open();
    let head = store.changelog().head();
    for (from, to) in [(None, "1"), (Some("1"), "2")] {
        store.commit_intake(intake(from, to, Vec::new())).await.unwrap();
    }
    let many = (0..5).map(|n| note(&format!("seen/{n}"), Some(""))).collect();
    store.commit_intake(Intake { expect: note("offset", Some("2")), writes: vec![delete(key("b", "none"))], notes: many }).await.unwrap();
    assert_eq!(store.changelog().head(), head, "nothing changed");
    let mut copy = Vec::new();
    store.backup(&mut copy, &mut |_| ()).unwrap();
    let restored = house.dir.path().join("restored");
    backup::restore(&copy[..], &restored, &mut |_| ()).unwrap();
    let mut options = house.config.store.clone();
    options.data = restored;
    let store = Embedded::open(&options, &house.config.changelog).unwrap();
    assert_eq!(offset(&store).unwrap(), Bytes::from("2"));
    let names = |after: Option<&[u8]>, limit| -> Vec<Bytes> {
        store.notes(b"seen/", after, limit).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(names(None, 2), ["seen/0", "seen/1"]);
    assert_eq!(names(Some(b"seen/1"), 9), ["seen/2", "seen/3", "seen/4"]);
}

#[tokio::test]
async fn the_objects_of_a_bucket_come_piece_by_piece() {
    let house = House::new();
    let store = house.open();
    let others = ["a", "c", "bb"].map(|bucket| put(key(bucket, "x"), String::new()));
    let own = (0..7).map(|n| put(key("b", &n.to_string()), String::new()));
    commit_all(&store, others.into_iter().chain(own)).await;
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let piece = store.objects("app", "b", after.as_deref(), Piece { objects: 3, bytes: usize::MAX }).unwrap();
        let Some((last, _)) = piece.last() else { break };
        after = Some(last.clone());
        ids.extend(piece.into_iter().map(|(id, text)| {
            assert!(std::str::from_utf8(&text).unwrap().contains(&*id));
            id
        }));
    }
    assert_eq!(ids, (0..7).map(|n| format!("/db/b/{n}").into()).collect::<Vec<Arc<str>>>());
}

#[tokio::test]
async fn what_touches_too_much_at_once_is_taken_in_by_pieces() {
    let house = House::new();
    let store = house.open();
    let large = "x".repeat(500_000);
    let keys: Vec<_> = (0..40).map(|n| key("b", &n.to_string())).collect();
    let grown = |key: &Key| put(key.clone(), format!(r#""text":"{large}""#));
    for some in keys.chunks(10) {
        commit_all(&store, some.iter().map(grown)).await;
    }
    // A few bytes each; what they touch is a megabyte each.
    let touch = |key: &Key| {
        let (own, large) = (key.clone(), large.clone());
        write(key.clone(), move |before, stamp| {
            assert!(before.is_some());
            Ok(object(&own, stamp, &format!(r#""n":1,"text":"{large}""#)))
        })
    };
    let head = store.changelog().head();
    let mut left = &keys[..];
    let mut pieces = Vec::new();
    let mut from: Option<String> = None;
    while !left.is_empty() {
        let mut some = left.len();
        let to = pieces.len().to_string();
        loop {
            let writes = left[..some].iter().map(touch).collect();
            match store.commit_intake(intake(from.as_deref(), &to, writes)).await {
                Ok(_) => break,
                Err(IntakeError::Large { fits }) => {
                    assert!(fits > 0 && fits < some, "{fits} of {some}");
                    assert_eq!(offset(&store).as_deref(), from.as_deref().map(str::as_bytes), "nothing happened");
                    some = fits;
                }
                Err(error) => panic!("{error}"),
            }
        }
        pieces.push(some);
        from = Some(to);
        left = &left[some..];
    }
    let most = crate::store::embedded::intake::INTAKE_BYTES / 1_000_000;
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| *piece <= most), "{pieces:?}");
    let (changes, _) = read_all(&store.changelog(), head, 1 << 30).await.unwrap();
    assert_eq!(changes.len(), keys.len(), "each once");
    // A write that is larger than all of it goes alone, and pieces of the bucket are bounded as well.
    let piece = store.objects("app", "b", None, Piece { objects: 100, bytes: 1_200_000 }).unwrap();
    assert_eq!(piece.len(), 3, "the object that exceeds it is the last");
    let refused = write(key("b", "0"), |_, _| Err(Refusal::Invalid("no".into())));
    let writes = std::iter::once(refused).chain(keys[1..].iter().map(touch)).collect();
    match store.commit_intake(intake(from.as_deref(), "end", writes)).await {
        Err(IntakeError::Refused(refused)) => assert_eq!(refused.len(), 1, "refusals are known by their places"),
        other => panic!("{other:?}"),
    }
}

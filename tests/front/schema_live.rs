//! Changes of classes while queries stand on them.

use super::harness::{Rig, change};
use super::socket::{Socket, Terms, Told};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const LOT: &str = r#"[{"class":"/db/Spot","embedded":true,"fields":{"zip":{"name":"zip","type":"/db/Integer"}}},
    {"class":"/db/Lot","fields":{"a":{"name":"a","type":"/db/Integer"},"n":{"name":"n","type":"/db/Integer"},"spot":{"name":"spot","type":"/db/Spot"}}},
    {"class":"/db/Auction","superClass":"/db/Lot","fields":{}},
    {"class":"/db/Other","fields":{"a":{"name":"a","type":"/db/Integer"}}}]"#;

async fn rig() -> Rig {
    let rig = Rig::start().await;
    assert_eq!(rig.post_as(&rig.root, "/schema", LOT).await.status, 200);
    for bucket in ["Lot", "Auction", "Other"] {
        rig.post(&format!("/db/{bucket}"), &format!(r#"{{"id":"/db/{bucket}/1","a":1,"n":1,"spot":{{"zip":1}}}}"#)).await;
    }
    rig
}

async fn rename(rig: &Rig, class: &str, from: &str, to: &str) {
    let operation = json!({"operation": "renameField", "bucket": class, "from": from, "to": to});
    let answer = change(rig, &operation.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn is_error(told: &Told) -> bool {
    matches!(told, Told::Error { .. })
}

fn is_event(told: &Told) -> bool {
    matches!(told, Told::Event { .. })
}

/// The last result: positions may stand behind it.
fn last_result(told: &[Told]) -> &Told {
    told.iter().rfind(|told| matches!(told, Told::Result { .. })).unwrap_or_else(|| panic!("no result: {told:?}"))
}

fn results(told: &[Told]) -> usize {
    told.iter().filter(|told| matches!(told, Told::Result { .. })).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_concerned_gets_a_fresh_result_or_an_error_and_others_nothing() {
    let rig = rig().await;
    let socket = Socket::connect(&rig.server.url()).await;
    let subscribe = |bucket: &str, query: &str| socket.subscribe(bucket, query, &Terms::extended());
    let concerned = [subscribe("Lot", r#"{"n":1}"#), subscribe("Auction", "{}")];
    let asking = [subscribe("Lot", r#"{"a":1}"#), subscribe("Auction", r#"{"$or":[{"n":2},{"a":{"$gt":0}}]}"#)];
    let others = [subscribe("Other", r#"{"a":1}"#), subscribe("Free", "{}")];
    let stream = socket.subscribe("Lot", "{}", &Terms { reconnects: 0, initial: false, ..Terms::default() });
    for one in concerned.iter().chain(&asking).chain(&others).chain([&stream]) {
        one.answered().await;
    }
    rename(&rig, "/db/Lot", "a", "x").await;
    for one in &concerned {
        let told = one.until("a fresh result", |told| results(told) == 2).await;
        let Told::Result { fresh: true, data, .. } = last_result(&told) else { panic!("{told:?}") };
        assert_eq!((&data[0]["x"], data[0].get("a")), (&json!(1), None));
    }
    for one in asking.iter().chain([&stream]) {
        let told = one.until("an error", |told| told.iter().any(is_error)).await;
        let Some(Told::Error { status, code, .. }) = told.iter().find(|told| is_error(told)) else { unreachable!() };
        assert_eq!((*status, code.as_str()), (469, "schema-changed"));
    }
    // Embedded fields belong to whoever embeds them.
    let inside = subscribe("Auction", r#"{"spot.zip":1}"#);
    inside.answered().await;
    rename(&rig, "/db/Spot", "zip", "code").await;
    inside.until("an error", |told| told.iter().any(is_error)).await;
    for one in &concerned {
        let told = one.until("another result", |told| results(told) == 3).await;
        let Told::Result { data, .. } = last_result(&told) else { panic!("{told:?}") };
        assert_eq!(data[0]["spot"], json!({"code": 1}));
    }
    // A field more is nothing to anybody, but for one who asks for it as a time.
    let timed = subscribe("Lot", r#"{"end":{"$gt":{"$date":"2020-01-01T00:00:00Z"}}}"#);
    timed.answered().await;
    let end = r#"{"class":"/db/Lot","fields":{"end":{"name":"end","type":"/db/DateTime"}}}"#;
    assert_eq!(rig.post_as(&rig.root, "/schema", end).await.status, 200);
    timed.until("a result that knows of times", |told| results(told) == 2).await;
    rig.post("/db/Lot", r#"{"id":"/db/Lot/2","n":1,"end":"2021-01-01T00:00:00Z"}"#).await;
    timed.until("the new object", |told| told.iter().any(is_event)).await;
    rig.post("/db/Other", r#"{"id":"/db/Other/2","a":1}"#).await;
    others[0].until("an event", |told| told.iter().any(is_event)).await;
    assert_eq!(results(&concerned[0].told()), 3);
    assert!(others.iter().all(|one| results(&one.told()) == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_across_such_a_change_gets_a_fresh_result() {
    let rig = rig().await;
    let socket = Socket::connect(&rig.server.url()).await;
    let all = socket.subscribe("Lot", "{}", &Terms::extended());
    let other = socket.subscribe("Other", "{}", &Terms::extended());
    for one in [&all, &other] {
        one.answered().await;
    }
    let (position, elsewhere) = (all.last_position(), other.last_position());
    socket.cut().await;
    rename(&rig, "/db/Lot", "a", "x").await;
    let socket = Socket::connect(&rig.server.url()).await;
    let again = socket.subscribe("Lot", "{}", &Terms { position, ..Terms::extended() });
    let told = again.until("a result", |told| results(told) == 1).await;
    assert!(matches!(last_result(&told), Told::Result { fresh: true, data, .. } if data[0]["x"] == 1), "{told:?}");
    let again = socket.subscribe("Other", "{}", &Terms { position: elsewhere, ..Terms::extended() });
    assert!(matches!(again.answered().await.first(), Some(Told::Resumed { .. })));
}

/// What a client that follows the protocol believes to be there.
fn believed(told: &[Told]) -> BTreeMap<String, Value> {
    let id = |object: &Value| object["id"].as_str().unwrap().to_owned();
    let mut kept = BTreeMap::new();
    for told in told {
        match told {
            Told::Result { data, .. } => kept = data.iter().map(|object| (id(object), object.clone())).collect(),
            Told::Event { match_type, data, .. } if match_type == "remove" => drop(kept.remove(&id(data))),
            Told::Event { data, .. } => drop(kept.insert(id(data), data.clone())),
            Told::Error { message, .. } => panic!("{message}"),
            Told::Position { .. } | Told::Resumed { .. } => {}
        }
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_racing_with_renames_and_writes_end_with_the_right_result() {
    let rig = Arc::new(rig().await);
    for n in 0..30 {
        rig.post("/db/Lot", &format!(r#"{{"id":"/db/Lot/{n}","a":{n},"n":{n},"spot":{{"zip":1}}}}"#)).await;
    }
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let rig = rig.clone();
            tokio::spawn(async move {
                for round in 0..60 {
                    let path = format!("/db/Lot/{}", (round * 7 + writer) % 30);
                    // Who shapes his object by a schema that is gone meanwhile must not bring a former name back.
                    let answer = match round % 3 {
                        0 => rig.put(&path, &[], &format!(r#"{{"a":{round},"b":{round},"n":{round}}}"#)).await,
                        1 => rig.post(&path, r#"{"$inc":{"n":-20}}"#).await,
                        _ => rig.post(&path, r#"{"$inc":{"n":50}}"#).await,
                    };
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            })
        })
        .collect();
    let socket = Socket::connect(&rig.server.url()).await;
    let mut subscriptions = vec![socket.subscribe("Lot", "{}", &Terms::default())];
    let mut name = "a";
    for next in ["b", "a", "b", "a", "b"] {
        subscriptions.push(socket.subscribe("Lot", r#"{"n":{"$gte":0}}"#, &Terms::default()));
        rename(&rig, "/db/Lot", name, next).await;
        subscriptions.push(socket.subscribe("Lot", "{}", &Terms::extended()));
        name = next;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for one in &subscriptions {
        let query: String = one.query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let truth = rig.get(&format!("/db/Lot/query?q={query}")).await.json();
        let truth: BTreeMap<_, _> =
            truth.as_array().unwrap().iter().map(|one| (one["id"].as_str().unwrap().to_owned(), one.clone())).collect();
        assert!(truth.len() > 1 && truth.values().all(|one| one.get("b").is_some() && one.get("a").is_none()));
        one.wait("the truth", |told| believed(told) == truth).await;
    }
}

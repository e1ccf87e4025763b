//! Several objects written as one: all or nothing, and seen as one by everybody.

use super::harness::Rig;
use super::support::socket::{Socket, Terms, Told};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

async fn batch(rig: &Rig, writes: Value) -> super::harness::Answer {
    rig.post("/batch", &writes.to_string()).await
}

#[tokio::test]
async fn each_write_is_answered_in_its_place() {
    let rig = Rig::start().await;
    rig.post("/db/Lot", r#"{"id":"/db/Lot/old","n":1}"#).await;
    rig.post("/db/Lot", r#"{"id":"/db/Lot/gone","n":1}"#).await;
    let answer = batch(
        &rig,
        json!([
            {"operation": "insert", "bucket": "Lot", "object": {"n": 2}},
            {"operation": "insert", "id": "/db/Lot/a%2fb", "object": {"n": 3}},
            {"method": "put", "id": "/db/Lot/old", "ifMatch": 1, "object": {"n": 4}},
            {"operation": "put", "id": "/db/Other/x", "ifNoneMatch": "*", "object": {"n": 5, "acl": {"read": {"/db/User/u": "allow"}}}},
            {"operation": "delete", "id": "/db/Lot/gone", "ifMatch": "\"1\""},
            {"operation": "delete", "id": "/db/Lot/never"},
        ]),
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(answer.header("tidegate-position"), body["position"].as_str());
    let results = body["results"].as_array().unwrap();
    let told: Vec<_> = results.iter().map(|result| (result["operation"].as_str().unwrap(), result["status"].as_u64().unwrap())).collect();
    assert_eq!(told, [("insert", 201), ("insert", 201), ("put", 200), ("put", 200), ("delete", 204), ("delete", 204)]);
    assert_eq!(results[1]["id"], "/db/Lot/a%2Fb");
    assert_eq!((&results[2]["object"]["version"], &results[2]["object"]["n"]), (&json!(2), &json!(4)));
    assert!(results[4].get("object").is_none());
    for result in results.iter().take(3) {
        let id = result["id"].as_str().unwrap();
        assert_eq!(rig.get(id).await.json(), result["object"], "{id}");
    }
    assert_eq!(rig.get("/db/Other/x").await.status, 404, "its access list holds");
    // One time for all of it.
    assert_eq!(results[0]["object"]["updatedAt"], results[2]["object"]["updatedAt"]);
    assert_eq!(batch(&rig, json!([])).await.json()["results"], json!([]));
}

#[tokio::test]
async fn parts_of_objects_can_be_updated_in_it() {
    let rig = Rig::start().await;
    rig.post("/db/Account", r#"{"id":"/db/Account/a","sum":10}"#).await;
    rig.post("/db/Account", r#"{"id":"/db/Account/b","sum":10}"#).await;
    let transfer = |by: i64, version: u64| {
        json!([
            {"operation": "partial", "id": "/db/Account/a", "object": {"$inc": {"sum": -by}}, "ifMatch": version},
            {"operation": "partial", "id": "/db/Account/b", "object": {"$inc": {"sum": by}}},
        ])
    };
    let answer = batch(&rig, transfer(3, 1)).await.json();
    assert_eq!((&answer["results"][0]["object"]["sum"], &answer["results"][1]["object"]["sum"]), (&json!(7), &json!(13)));
    assert_eq!(batch(&rig, transfer(3, 1)).await.reason(), "out-of-date");
    assert_eq!(rig.get("/db/Account/b").await.json()["sum"], 13);
    let wrong = json!([{"operation": "partial", "id": "/db/Account/a", "object": {"$nonsense": {"sum": 1}}}]);
    assert_eq!(batch(&rig, wrong).await.status, 400);
}

#[tokio::test]
async fn one_refusal_and_nothing_is_written() {
    let rig = Rig::with(|config| config.server.batch_writes = 5).await;
    rig.post("/db/Lot", r#"{"id":"/db/Lot/old"}"#).await;
    rig.post("/db/Lot", r#"{"id":"/db/Lot/guarded","acl":{"write":{"/db/User/u":"allow"}}}"#).await;
    let class = r#"[{"class":"/db/Typed","fields":{"n":{"name":"n","type":"/db/Integer"}}},
        {"class":"/db/Closed","acl":{"insert":{"/db/Role/1":"allow"}},"fields":{}},
        {"class":"/db/Inner","embedded":true,"fields":{}}]"#;
    assert_eq!(rig.post_as(&rig.root, "/schema", class).await.status, 200);
    let position = rig.get("/db/Lot/query?q=%7B%7D").await.header("tidegate-position").unwrap().to_owned();
    for (write, status, reason) in [
        (json!({"operation": "insert", "id": "/db/Lot/old", "object": {}}), 409, "exists"),
        (json!({"operation": "put", "id": "/db/Lot/old", "ifMatch": 7, "object": {}}), 412, "out-of-date"),
        (json!({"operation": "put", "id": "/db/Lot/none", "ifMatch": "*", "object": {}}), 412, "out-of-date"),
        (json!({"operation": "delete", "id": "/db/Lot/guarded"}), 466, "permission-denied"),
        (json!({"operation": "insert", "id": "/db/Typed/1", "object": {"n": "text"}}), 463, "unfit-value"),
        (json!({"operation": "insert", "bucket": "Closed", "object": {}}), 466, "permission-denied"),
        (json!({"operation": "insert", "bucket": "Inner", "object": {}}), 400, "bad-request"),
        (json!({"operation": "insert", "bucket": "User", "object": {}}), 466, "permission-denied"),
        (json!({"operation": "delete", "id": "/db/User/1"}), 466, "permission-denied"),
        (json!({"operation": "insert", "bucket": "logs.AppLog", "object": {}}), 466, "permission-denied"),
        (json!({"operation": "insert", "object": {}}), 400, "bad-request"),
        (json!({"operation": "put", "id": "/db/Lot/1"}), 400, "bad-request"),
        (json!({"operation": "put", "id": "/db/Lot/1", "object": {"id": "/db/Lot/2"}}), 400, "bad-id"),
        (json!({"operation": "insert", "bucket": "Other", "object": {"id": "/db/Lot/3"}}), 400, "bad-id"),
        // Once each.
        (json!({"operation": "delete", "id": "/db/Lot/first"}), 400, "unfit-object"),
    ] {
        let answer = batch(&rig, json!([{"operation": "insert", "id": "/db/Lot/first", "object": {}}, write])).await;
        assert_eq!((answer.status, &*answer.reason()), (status, reason), "{write}: {answer:?}");
        assert_eq!(answer.json()["data"]["place"], 1, "{answer:?}");
        assert_eq!(rig.get("/db/Lot/first").await.status, 404, "{write}");
    }
    let many: Vec<_> = (0..6).map(|n| json!({"operation": "delete", "id": format!("/db/Lot/{n}")})).collect();
    assert_eq!(batch(&rig, many.into()).await.reason(), "too-large");
    for text in ["{}", "[1]", r#"[{"operation":"explode"}]"#, r#"[{"operation":"delete","id":"/db/Lot/1","nonsense":1}]"#] {
        assert_eq!(rig.post("/batch", text).await.reason(), "bad-json", "{text}");
    }
    assert_eq!(rig.get("/db/Lot/query?q=%7B%7D").await.header("tidegate-position"), Some(&*position));
}

const ACCOUNTS: usize = 6;
const TOTAL: i64 = 600;

fn total<'a>(accounts: impl IntoIterator<Item = &'a Value>) -> i64 {
    accounts.into_iter().map(|account| account["sum"].as_i64().unwrap()).sum()
}

/// Money moves in batches: whoever looks, in whatever way, finds all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_half_a_batch() {
    let rig = Arc::new(Rig::with(|config| config.changelog.recent_bytes = 64 << 10).await);
    let accounts: Vec<_> =
        (0..ACCOUNTS).map(|n| json!({"operation": "insert", "id": format!("/db/Account/{n}"), "object": {"sum": 100}})).collect();
    let first = batch(&rig, accounts.into()).await;
    let socket = Socket::connect(&rig.server.url()).await;
    let live = socket.subscribe("Account", "{}", &Terms::extended());
    live.answered().await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (rig, done) = (rig.clone(), done.clone());
            tokio::spawn(async move {
                let mut looks = 0;
                while !done.load(Relaxed) {
                    let found = rig.get("/db/Account/query?q=%7B%7D").await.json();
                    assert_eq!(total(found.as_array().unwrap()), TOTAL);
                    looks += 1;
                }
                looks
            })
        })
        .collect();
    let mut last = first.header("tidegate-position").unwrap().to_owned();
    let mut ends = BTreeMap::new();
    for round in 0..150usize {
        let (from, to) = (round % ACCOUNTS, (round + 1 + round / 7) % ACCOUNTS);
        if from == to {
            continue;
        }
        let move_by = |by: i64, account: usize| json!({"operation": "partial", "id": format!("/db/Account/{account}"), "object": {"$inc": {"sum": by}}});
        let answer = batch(&rig, json!([move_by(-3, from), move_by(3, to)])).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        last = answer.header("tidegate-position").unwrap().to_owned();
        ends.insert(commit(&last), last.clone());
    }
    live.reached(commit(&last)).await;
    done.store(true, Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 3);
    }
    // The subscriber, wherever a batch ends.
    let mut accounts: BTreeMap<String, Value> = BTreeMap::new();
    let mut within = None;
    let mut seen = 0;
    for told in live.told() {
        match told {
            Told::Result { data, position, .. } => {
                accounts = data.iter().map(|account| (account["id"].as_str().unwrap().to_owned(), account.clone())).collect();
                assert_eq!(total(accounts.values()), TOTAL, "at {position}");
            }
            Told::Event { data, position, .. } => {
                accounts.insert(data["id"].as_str().unwrap().to_owned(), data);
                if ends.contains_key(&position) {
                    assert_eq!(total(accounts.values()), TOTAL, "at {position}");
                    seen += 1;
                } else {
                    within = Some(position);
                }
            }
            _ => {}
        }
    }
    assert!(seen > 50);
    // Whoever was cut off in the middle of a batch comes back to a whole one.
    let log = last.split('-').next().unwrap();
    let within = format!("{log}-{}", within.unwrap());
    for (position, fresh) in [(within, true), (last, false)] {
        let again = Socket::connect(&rig.server.url()).await;
        let terms = Terms { position: Some(position.clone()), ..Terms::extended() };
        let told = again.subscribe("Account", "{}", &terms).answered().await;
        match (&told[0], fresh) {
            (Told::Result { data, .. }, true) => assert_eq!(total(data), TOTAL),
            (Told::Resumed { .. }, false) => {}
            (told, _) => panic!("{position}: {told:?}"),
        }
    }
}

fn commit(position: &str) -> u64 {
    position.rsplit('-').next().unwrap().parse().unwrap()
}

//! Export, import and truncation of buckets.

use super::harness::{Answer, Rig};
use super::support::server::{Process, serve};
use super::support::socket::{Socket, Terms, Told};
use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const JSON: &[(&str, &str)] = &[("accept", "application/json")];

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("content-type").unwrap().starts_with("application/x-ndjson"), "{answer:?}");
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn export(rig: &Rig, path: &str) -> Answer {
    rig.ask(Method::GET, path, Some(&rig.root), &[], None).await
}

async fn import(rig: &Rig, path: &str, body: &str) -> Answer {
    rig.ask(Method::PUT, path, Some(&rig.root), &[], Some(body.into())).await
}

async fn truncate(rig: &Rig, bucket: &str) -> Answer {
    rig.ask(Method::DELETE, &format!("/db/{bucket}"), Some(&rig.root), &[], None).await
}

/// Objects of several kinds of ids, rights and values.
async fn fill(rig: &Rig, count: usize) {
    for n in 0..count {
        let acl = if n % 3 == 0 { json!({"read": {"/db/User/u": "allow"}, "write": {}}) } else { Value::Null };
        let object = json!({"id": format!("/db/Lot/{n:04}%2F%C3%9F"), "n": n, "deep": {"list": [1.50, null, "\"\n"]}, "acl": acl});
        assert_eq!(rig.post("/db/Lot", &object.to_string()).await.status, 201);
    }
}

async fn all(rig: &Rig) -> BTreeMap<String, Value> {
    let found = rig.get_as(&rig.root, "/db/Lot/query?q=%7B%7D").await.json();
    found.as_array().unwrap().iter().map(|object| (object["id"].as_str().unwrap().to_owned(), object.clone())).collect()
}

fn without(object: &Value, names: &[&str]) -> Value {
    let mut object = object.clone();
    names.iter().for_each(|name| drop(object.as_object_mut().unwrap().remove(*name)));
    object
}

#[tokio::test]
async fn what_was_exported_comes_back_as_it_was() {
    let rig = Rig::start().await;
    fill(&rig, 600).await;
    rig.put("/db/Lot/0001%2F%C3%9F", &[], r#"{"n":"twice"}"#).await;
    let before = all(&rig).await;
    let exported = export(&rig, "/db/Lot").await;
    let told = lines(&exported);
    let (head, tail) = (&told[0], told.last().unwrap());
    assert_eq!(
        (&head["tidegate"], &head["bucket"], head["position"].as_str()),
        (&json!("export"), &json!("Lot"), exported.header("tidegate-position"))
    );
    assert_eq!((&tail["tidegate"], &tail["objects"], &tail["last"]), (&json!("end"), &json!(600), &json!("/db/Lot/0599%2F%C3%9F")));
    let objects = &told[1..told.len() - 1];
    assert_eq!(objects.len(), 600);
    assert!(objects.iter().all(|object| before[object["id"].as_str().unwrap()] == *object));
    assert!(objects.is_sorted_by_key(|object| object["id"].as_str().unwrap().to_owned()));
    let deleted = lines(&truncate(&rig, "Lot").await);
    assert_eq!(deleted.last(), Some(&json!({"deleted": 600, "failed": 0, "done": true})));
    assert!(all(&rig).await.is_empty());
    let done = |answer: &Answer| lines(answer).last().unwrap().clone();
    // Also the two lines that are no objects are read.
    let imported = import(&rig, "/db/Lot", &exported.text).await;
    assert_eq!(done(&imported), json!({"read": 602, "written": 600, "unchanged": 0, "failed": 0, "done": true}));
    let after = all(&rig).await;
    for (id, object) in &before {
        let changed = ["version", "updatedAt"];
        assert_eq!(without(object, &changed), without(&after[id], &changed), "acl, fields and creation");
        assert_eq!(after[id]["version"], 1);
    }
    // The same again does nothing, and the state is the same.
    let again = import(&rig, "/db/Lot", &exported.text).await;
    assert_eq!(done(&again), json!({"read": 602, "written": 0, "unchanged": 600, "failed": 0, "done": true}));
    assert_eq!(all(&rig).await, after);
}

#[tokio::test]
async fn the_sdk_gets_json_and_sends_json() {
    let rig = Rig::start().await;
    fill(&rig, 300).await;
    let before = all(&rig).await;
    let exported = rig.ask(Method::GET, "/db/Lot", Some(&rig.root), JSON, None).await;
    assert!(exported.header("content-type").unwrap().starts_with("application/json"));
    assert_eq!(exported.json().as_array().unwrap().iter().collect::<Vec<_>>(), before.values().collect::<Vec<_>>());
    let deleted = rig.ask(Method::DELETE, "/db/Lot", Some(&rig.root), JSON, None).await;
    assert_eq!(deleted.json(), json!({"deleted": 300, "failed": 0, "done": true, "failures": []}));
    let empty = rig.ask(Method::GET, "/db/Lot", Some(&rig.root), JSON, None).await;
    assert_eq!(empty.json(), json!([]));
    let compact = exported.json().to_string();
    let imported = rig.ask(Method::PUT, "/db/Lot", Some(&rig.root), JSON, Some(compact)).await;
    assert_eq!(imported.json(), json!({"read": 300, "written": 300, "unchanged": 0, "failed": 0, "done": true, "failures": []}));
    assert_eq!(all(&rig).await.len(), 300);
    let broken =
        rig.ask(Method::PUT, "/db/Lot", Some(&rig.root), JSON, Some(r#"[{"id":"/db/Lot/1"},7,{"id":"/db/Other/1"}]"#.into())).await;
    assert_eq!((broken.status, &broken.json()["failed"], &broken.json()["written"]), (200, &json!(2), &json!(1)));
    assert_eq!(broken.json()["failures"][1]["failed_at"], 3);
}

#[tokio::test]
async fn modes_and_failures_are_told_by_line() {
    let rig = Rig::start().await;
    let class = r#"[{"class":"/db/Typed","fields":{"n":{"name":"n","type":"/db/Integer"}}}]"#;
    assert_eq!(rig.post_as(&rig.root, "/schema", class).await.status, 200);
    rig.post("/db/Typed", r#"{"id":"/db/Typed/there","n":1}"#).await;
    let body = [
        r#"{"id":"/db/Typed/there","n":2}"#,
        "not json",
        "",
        r#"{"id":"/db/Typed/text","n":"text"}"#,
        r#"{"n":5}"#,
        r#"{"id":"/db/Other/x","n":5}"#,
        r#"{"id":"/db/Typed/new","n":7,"createdAt":"2001-02-03T04:05:06.7Z","unknown":1}"#,
        r#"{"id":"/db/Typed/future","n":7,"createdAt":"9001-02-03T04:05:06Z"}"#,
        r#"{"id":"/db/Typed/when","createdAt":"yesterday"}"#,
    ]
    .join("\n");
    let told = lines(&import(&rig, "/db/Typed?mode=insert", &body).await);
    let failed: Vec<_> = told.iter().filter_map(|step| Some((step["failed_at"].as_u64()?, step["reason"].as_str()?.to_owned()))).collect();
    let expected = [(1, "exists"), (2, "bad-json"), (4, "unfit-value"), (5, "bad-json"), (6, "bad-id"), (9, "unfit-value")]
        .map(|(line, reason)| (line, reason.to_owned()));
    assert_eq!(failed, expected);
    assert_eq!(told.last(), Some(&json!({"read": 9, "written": 2, "unchanged": 0, "failed": 6, "done": true})));
    let new = rig.get("/db/Typed/new").await.json();
    assert_eq!((&new["createdAt"], &new["n"], new.get("unknown")), (&json!("2001-02-03T04:05:06.7Z"), &json!(7), None));
    let future = rig.get("/db/Typed/future").await.json();
    assert_eq!(future["createdAt"], future["updatedAt"], "nothing was made later than it was changed");
    let skipped = lines(&import(&rig, "/db/Typed?mode=skip", r#"{"id":"/db/Typed/there","n":2}"#).await);
    assert_eq!(skipped.last().unwrap()["unchanged"], 1);
    assert_eq!(rig.get("/db/Typed/there").await.json()["n"], 1);
    import(&rig, "/db/Typed", r#"{"id":"/db/Typed/there","n":2}"#).await;
    let there = rig.get("/db/Typed/there").await.json();
    assert_eq!((&there["n"], &there["version"]), (&json!(2), &json!(2)));
    assert_eq!(import(&rig, "/db/Typed?mode=nonsense", "").await.status, 400);
}

#[tokio::test]
async fn broken_off_it_goes_on_from_there() {
    let rig = Rig::start().await;
    fill(&rig, 300).await;
    let whole = lines(&export(&rig, "/db/Lot").await);
    for after in ["/db/Lot/0149%2F%C3%9F", "0149%2F%C3%9F"] {
        let rest = lines(&export(&rig, &format!("/db/Lot?after={}", tidegate::object::id::encode_component(after))).await);
        assert_eq!(rest[1..rest.len() - 1], whole[151..whole.len() - 1]);
        assert_eq!(rest.last().unwrap()["objects"], 150);
    }
    assert_eq!(export(&rig, "/db/Lot?after=/db/Other/1").await.reason(), "bad-id");
    truncate(&rig, "Lot").await;
    // A body that ends in the middle of a line, as of a client that was cut off.
    let texts: Vec<String> = whole.iter().map(Value::to_string).collect();
    let (first, second) = (texts[..100].join("\n"), texts.join("\n"));
    let pieces = [
        Ok::<_, std::io::Error>(Bytes::from(format!("{first}\n"))),
        Ok(Bytes::from_static(b"{\"id\":\"/db/L")),
        Err(std::io::Error::other("cut")),
    ];
    let request = reqwest::Client::new().put(format!("{}/db/Lot", rig.server.url())).header("authorization", format!("BAT {}", rig.root));
    let _ = request.body(reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))).send().await;
    let written = all(&rig).await.len();
    assert!(written <= 99, "{written}");
    let told = lines(&import(&rig, "/db/Lot?from=50", &second).await);
    assert_eq!(told.last().unwrap()["read"], 302);
    lines(&import(&rig, "/db/Lot", &first).await);
    let restored = all(&rig).await;
    assert_eq!(restored.len(), 300);
}

#[tokio::test]
async fn administrators_only_and_not_everything() {
    let rig = Rig::start().await;
    rig.post("/db/Lot", r#"{"id":"/db/Lot/1"}"#).await;
    let user = rig.token("/db/User/u", &[]);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for token in [None, Some(&*user)] {
            let answer = rig.ask(method.clone(), "/db/Lot", token, &[], Some("{}".into())).await;
            assert_eq!((answer.status, &*answer.reason()), (466, "permission-denied"), "{method} {token:?}");
        }
    }
    for bucket in ["User", "Role"] {
        assert_eq!(truncate(&rig, bucket).await.reason(), "permission-denied");
    }
    assert_eq!(rig.get("/db/Lot/1").await.status, 200);
    let users = export(&rig, "/db/User").await;
    assert!(users.text.contains("\"root\"") && !users.text.contains("argon2"), "{users:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_queries_see_it_and_an_export_is_of_one_state() {
    let rig = Arc::new(Rig::start().await);
    let accounts: Vec<_> =
        (0..600).map(|n| json!({"operation": "insert", "id": format!("/db/Account/{n:04}"), "object": {"sum": 10}})).collect();
    assert_eq!(rig.post("/batch", &Value::from(accounts).to_string()).await.status, 200);
    let socket = Socket::connect(&rig.server.url()).await;
    let live = socket.subscribe("Account", "{}", &Terms::extended());
    live.answered().await;
    let (done, moved) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = tokio::spawn({
        let (rig, done, count) = (rig.clone(), done.clone(), moved.clone());
        async move {
            let mut moved = 0u64;
            while !done.load(Relaxed) {
                let part = |account: u64, by: i64| json!({"operation": "partial", "id": format!("/db/Account/{:04}", account % 600), "object": {"$inc": {"sum": by}}});
                let answer = rig.post("/batch", &json!([part(moved, -1), part(moved * 7 + 300, 1)]).to_string()).await;
                assert!(answer.status == 200 || answer.status == 400, "{answer:?}");
                moved += 1;
                count.store(moved, Relaxed);
            }
        }
    });
    let mut exported = String::new();
    let deadline = std::time::Instant::now() + super::support::PATIENCE;
    // Until there was enough of both beside each other.
    let mut exports = 0;
    while exports < 5 || moved.load(Relaxed) <= 5 {
        assert!(std::time::Instant::now() < deadline, "{} writes beside {exports} exports", moved.load(Relaxed));
        exports += 1;
        let answer = export(&rig, "/db/Account").await;
        let told = lines(&answer);
        let sum: i64 = told.iter().filter_map(|line| line["sum"].as_i64()).sum();
        assert_eq!((told.len(), sum), (602, 6_000));
        exported = answer.text;
    }
    done.store(true, Relaxed);
    writer.await.unwrap();
    assert_eq!(lines(&truncate(&rig, "Account").await).last().unwrap()["deleted"], 600);
    let gone =
        |told: &[Told], kind: &str| told.iter().filter(|told| matches!(told, Told::Event { match_type, .. } if match_type == kind)).count();
    live.wait("the removes", |told| gone(told, "remove") == 600).await;
    lines(&import(&rig, "/db/Account", &exported).await);
    live.wait("the adds", |told| gone(told, "add") == 600).await;
}

/// Resident memory does not grow with what goes through. What the engine takes for its tables in memory it takes with the first
/// of it; with a disk that is slow for a while it is allowed four full tables and an open one of 32 MiB for the objects and as many for
/// the log. So half of what goes through is more than that can come to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_what_it_was() {
    const FIRST: usize = 2_000;
    const OBJECTS: usize = 16_000;
    const TEXT: usize = 64 << 10;
    const GROWTH: u64 = ((OBJECTS - FIRST) * TEXT / 2) as u64;
    /// Beside the tables: what is under way, and what the allocator keeps.
    const BESIDE: u64 = 64 << 20;
    const { assert!(GROWTH > 10 * (32 << 20) + BESIDE) };
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve(&directory.path().join("data"));
    for option in ["store.durability=system", "store.cache_bytes=8388608", "changelog.recent_bytes=1048576"] {
        command.args(["--set", option]);
    }
    let server = Process::start(command);
    let root = server.http().login("root", super::support::server::PASSWORD).await;
    // Random enough that nothing is stored as next to nothing.
    let object = |n: usize| {
        let mut state = n as u64 + 1;
        let text: String = (0..TEXT / 16)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                format!("{state:016x}")
            })
            .collect();
        Bytes::from(format!("{{\"id\":\"/db/Big/{n:06}\",\"text\":\"{text}\"}}\n"))
    };
    let send = async |range: std::ops::Range<usize>| {
        let pieces = futures_util::stream::iter(range.map(move |n| Ok::<_, std::io::Error>(object(n))));
        let request = root.request(Method::PUT, "/db/Big").timeout(std::time::Duration::from_secs(900));
        let answer = root.send(request.body(reqwest::Body::wrap_stream(pieces))).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["done"], &last["failed"]), (&json!(true), &json!(0)), "{last}");
    };
    send(0..FIRST).await;
    let before = server.most_memory();
    send(FIRST..OBJECTS).await;
    let imported = server.most_memory();
    // A reader that takes little: the server waits for it.
    let request = root.request(Method::GET, "/db/Big").timeout(std::time::Duration::from_secs(900));
    let mut stream = request.send().await.unwrap().bytes_stream();
    let (mut bytes, mut lines) = (0, 0);
    while let Some(piece) = stream.next().await {
        let piece = piece.unwrap();
        bytes += piece.len();
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(lines, OBJECTS + 2);
    assert!(bytes > OBJECTS * TEXT);
    let most = server.most_memory();
    assert!(most < before + GROWTH, "{before} bytes, then at most {imported} while importing, and {most} with an export of {bytes}");
}

#[tokio::test]
async fn the_command_line_carries_a_bucket_over() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(serve(&directory.path().join("data")));
    let root = server.http().login("root", super::support::server::PASSWORD).await;
    for n in 0..120 {
        assert_eq!(root.insert("Lot", json!({"id": format!("/db/Lot/{n:03}%20"), "n": n}).to_string()).await.status, 201);
    }
    let tidegate = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.env_clear().env("TIDEGATE_ADMIN_PASSWORD", super::support::server::PASSWORD).env("TIDEGATE_SERVER_URL", &server.url);
        let output = command.args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let file = directory.path().join("lots.ndjson");
    let path = file.to_str().unwrap();
    let objects = || -> BTreeMap<String, Value> {
        let lines = std::fs::read_to_string(&file).unwrap();
        let objects = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|line| line["tidegate"].is_null());
        objects.map(|object| (object["id"].as_str().unwrap().to_owned(), object)).collect()
    };
    let (done, said) = tidegate(&["export", "Lot", path]);
    assert!(done && said.contains("120 objects"), "{said}");
    let whole = objects();
    assert_eq!(whole.len(), 120);
    assert!(!tidegate(&["export", "Lot", path]).0, "what is there is not written over");
    assert!(!tidegate(&["export", "Lot", path, "--resume"]).0, "it is whole");
    // Cut off in the middle of a line.
    let bytes = std::fs::metadata(&file).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(bytes / 2).unwrap();
    let (done, said) = tidegate(&["export", "Lot", path, "--resume"]);
    assert!(done, "{said}");
    assert_eq!(objects(), whole);
    assert!(!tidegate(&["truncate", "Lot"]).0, "not without --yes");
    let (done, said) = tidegate(&["truncate", "Lot", "--yes"]);
    assert!(done && said.contains("120 deleted"), "{said}");
    let (done, said) = tidegate(&["import", "Lot", path]);
    assert!(done && said.contains("120 written, 0 unchanged, 0 failed"), "{said}");
    let (done, said) = tidegate(&["import", "Lot", path, "--from", "2"]);
    assert!(done && said.contains("0 written, 120 unchanged, 0 failed"), "{said}");
    assert_eq!(root.load("Lot", "007%20").await.json()["n"], 7);
    std::fs::write(&file, "nonsense\n").unwrap();
    let (done, said) = tidegate(&["import", "Lot", path]);
    assert!(!done && said.contains("line 1"), "{said}");
}

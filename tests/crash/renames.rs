//! A field is renamed again and again while objects are written and queries stand on them, and each time the server is killed before
//! it has rewritten all objects, or before it has said that the field is renamed. Whatever is read afterwards has the one name
//! that the schema says, nothing is lost, and whoever comes back to a query has what it gives now.

use crate::rounds::Follower;
use crate::support::http::Http;
use crate::support::server::{PASSWORD, Process, config, serve};
use crate::support::socket::{Socket, Subscription, Terms, Told};
use crate::support::{PATIENCE, setting};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate::server::APP;
use tidegate::store::Store;
use tidegate::store::embedded::Embedded;
use tokio::sync::RwLock;
use tokio::task::JoinHandle;

const BUCKET: &str = "Moving";
/// So many that they are rewritten in many pieces.
const OBJECTS: u64 = 5000;
/// At the beginning, in the middle and at the end of the bucket, each with objects of its own.
const WRITERS: u64 = 4;
const OWN: u64 = 10;

/// What every object holds for good, under names that change.
fn number(object: &Value) -> u64 {
    object["id"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap()
}

/// The object of a writer.
fn owned(writer: u64, at: u64) -> u64 {
    writer * OBJECTS / WRITERS + at * 37
}

fn object(at: u64, name: &str, count: u64) -> Value {
    json!({"id": format!("/db/{BUCKET}/{at:05}"), name: at, "count": count, "half": at % 2})
}

async fn furnish(root: &Http) {
    let field = |name: &str| (name.to_owned(), json!({"name": name, "type": "/db/Integer"}));
    let fields: serde_json::Map<_, _> = ["f0", "count", "half"].map(field).into_iter().collect();
    let answer = root.post("/schema", json!({"class": format!("/db/{BUCKET}"), "fields": fields}).to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for first in (0..OBJECTS).step_by(500) {
        let writes: Vec<_> = (first..first + 500).map(|at| json!({"operation": "insert", "object": object(at, "f0", 0)})).collect();
        let answer = root.post("/batch", json!(writes).to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// The name that the field has now.
async fn name_of(root: &Http) -> String {
    let class = root.get(&format!("/schema/{BUCKET}")).await.json();
    let fields = class["fields"].as_object().unwrap().values();
    let mut names = fields.filter_map(|field| field["name"].as_str()).filter(|name| name.starts_with('f'));
    let name = names.next().unwrap_or_else(|| panic!("the field is gone: {class}")).to_owned();
    assert!(names.next().is_none(), "two names: {class}");
    name
}

/// Whether objects are there that have not been rewritten for the last change of the schema.
fn is_under_way(data: &Path) -> bool {
    let config = config(data.parent().unwrap());
    let store = Embedded::open(&config.store, &config.changelog).unwrap();
    !store.schema(APP).moves.is_empty()
}

/// What the objects of one writer were counted up to.
type Counts = Vec<u64>;

/// Counts its objects up until there is no answer any more: in part, and as a whole by the name that counts now.
async fn write(http: Http, writer: u64, mut counts: Counts, name: Arc<RwLock<String>>, written: Arc<AtomicU64>) -> Counts {
    for turn in 0_u64.. {
        let own = (turn % OWN) as usize;
        let (at, next) = (owned(writer, turn % OWN), counts[own] + 1);
        let path = format!("/db/{BUCKET}/{at:05}");
        let answer = if turn % 3 == 0 {
            // Who names the field holds the name, so that it is not another one when he is heard.
            let name = name.read().await;
            let request = http.request(reqwest::Method::PUT, &path).header("content-type", "application/json");
            http.try_send(request.body(object(at, &name, next).to_string())).await
        } else {
            let request = http.request(reqwest::Method::POST, &path).header("content-type", "application/json");
            http.try_send(request.body(json!({"$inc": {"count": 1}}).to_string())).await
        };
        let Ok(answer) = answer else { break };
        assert_eq!((answer.status, answer.json()["count"].as_u64()), (200, Some(next)), "{answer:?}");
        counts[own] = next;
        written.fetch_add(1, Ordering::Relaxed);
    }
    counts
}

/// Every object reads with this name and no other, with what was acknowledged or one write more whose answer was lost.
async fn check(http: &Http, name: &str, counts: &mut [Counts]) {
    let found = http.query(BUCKET, "{}").await.json();
    let found = found.as_array().unwrap();
    assert_eq!(found.len() as u64, OBJECTS);
    for object in found {
        let names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).filter(|field| field.starts_with('f')).collect();
        assert_eq!((names, object[name].as_u64()), (vec![name], Some(number(object))), "{object}");
    }
    for (writer, counts) in counts.iter_mut().enumerate() {
        let mut more = 0;
        for (at, count) in counts.iter_mut().enumerate() {
            let at = owned(writer as u64, at as u64);
            let now = http.load(BUCKET, &format!("{at:05}")).await.json()["count"].as_u64().unwrap();
            assert!(now == *count || now == *count + 1, "the object {at} was counted up to {count} and has {now}");
            more += now - *count;
            *count = now;
        }
        assert!(more <= 1, "a writer waits for each answer");
    }
    // By the new name they are found, by any former one they are not.
    assert_eq!(http.count(BUCKET, &json!({name: {"$gte": 0}}).to_string()).await.json()["count"], OBJECTS);
    assert_eq!(http.query(BUCKET, &json!({name: 4711}).to_string()).await.json()[0]["id"], format!("/db/{BUCKET}/04711"));
    assert_eq!(http.count(BUCKET, r#"{"f0":{"$exists":true}}"#).await.json()["count"], if name == "f0" { OBJECTS } else { 0 });
}

async fn rename(root: Http, from: String, to: String) -> Option<u16> {
    let operation = json!({"operation": "renameField", "bucket": BUCKET, "from": from, "to": to}).to_string();
    let request = root.request(reqwest::Method::POST, "/schema").header("content-type", "application/json");
    Some(root.try_send(request.body(operation)).await.ok()?.status)
}

/// A change waits for the one before to be carried out, but not for long: on a slow machine it is asked for again.
async fn until_renamed(root: Http, from: String, to: String) -> bool {
    loop {
        match rename(root.clone(), from.clone(), to.clone()).await {
            Some(200) => return true,
            Some(503) => {}
            Some(status) => panic!("{from} to {to}: {status}"),
            None => return false,
        }
    }
}

pub async fn renames(data: &Path) {
    let process = Process::start(serve(data));
    let mut root = process.http().login("root", PASSWORD).await;
    furnish(&root).await;
    process.kill();
    let mut counts: Vec<Counts> = vec![vec![0; OWN as usize]; WRITERS as usize];
    let mut followers = ["{}", r#"{"half":1,"count":{"$mod":[2,0]}}"#].map(|query| Follower::new(BUCKET, query));
    let (mut interrupted, mut last) = (0, "f0".to_owned());
    let crashes = setting("TIDEGATE_CRASHES", 4);
    for crash in 0_u64.. {
        let process = Process::start(serve(data));
        let token = root.token().map(str::to_owned);
        root = process.http().with_token(token);
        let name = name_of(&root).await;
        check(&process.http(), &name, &mut counts).await;
        let socket = Socket::connect(&process.url).await;
        followers.iter_mut().for_each(|follower| follower.attach(&socket));
        // One who asks by the name itself.
        let asking = socket.subscribe(BUCKET, &json!({&*name: {"$lt": 100}}).to_string(), &Terms::extended());
        let by_former = socket.subscribe(BUCKET, &json!({&*last: {"$lt": 100}}).to_string(), &Terms::extended());
        let told = asking.answered().await;
        assert!(matches!(&told[0], Told::Result { data, .. } if data.len() == 100), "{told:?}");
        let told = by_former.answered().await;
        assert!(matches!(&told[0], Told::Result { data, .. } if data.len() == if last == name { 100 } else { 0 }), "{told:?}");
        // On a busy machine the objects may be rewritten before the kill gets through: then once more.
        if crash >= crashes && (interrupted > 0 || crash >= 5 * crashes) {
            assert!(until_renamed(root, name, "last".to_owned()).await);
            ends_with_an_error(&asking).await;
            let last = process.http().put(BUCKET, "00000", object(0, "last", 1_000_000).to_string(), None).await;
            for follower in &mut followers {
                follower.agrees(&process.http(), last.position().unwrap()).await;
            }
            break;
        }
        let (held, written) = (Arc::new(RwLock::new(name.clone())), Arc::new(AtomicU64::new(0)));
        let writers: Vec<JoinHandle<Counts>> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(process.http(), writer, counts[writer as usize].clone(), held.clone(), written.clone())))
            .collect();
        reached(&written, 40).await;
        let next = format!("f{}", crash + 1);
        let renaming = {
            let (root, from, to) = (root.clone(), name.clone(), next.clone());
            tokio::spawn(async move {
                let mut held = held.write_owned().await;
                let done = until_renamed(root, from, to.clone()).await;
                if done {
                    *held = to;
                }
                done
            })
        };
        if crash % 3 == 2 {
            // Whether it is renamed is found out later.
            reached(&written, 42 + crash).await;
        } else {
            assert!(renaming.await.unwrap());
        }
        if crash % 3 == 1 {
            ends_with_an_error(&asking).await;
        }
        process.kill();
        for (writer, counts) in writers.into_iter().zip(&mut counts) {
            *counts = writer.await.unwrap();
        }
        socket.closed().await;
        followers.iter_mut().for_each(Follower::detach);
        interrupted += u64::from(is_under_way(data));
        last = name;
    }
    println!("{interrupted} of {crashes} crashes came while objects were being rewritten");
    assert!(interrupted > 0, "the objects were rewritten before the server could be killed");
}

async fn reached(written: &AtomicU64, until: u64) {
    let enough = async {
        while written.load(Ordering::Relaxed) < until {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, enough).await.expect("the writers do not go on");
}

async fn ends_with_an_error(asking: &Subscription) {
    let is_error = |told: &Told| matches!(told, Told::Error { .. });
    let told = asking.until("an error", |told| told.iter().any(is_error)).await;
    let Some(Told::Error { status, code, .. }) = told.iter().find(|told| is_error(told)) else { unreachable!() };
    assert_eq!((*status, &**code), (469, "schema-changed"));
}

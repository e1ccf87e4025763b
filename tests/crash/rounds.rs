//! Writers, and clients that come back, over servers that are killed again and again.

use crate::support::http::Http;
use crate::support::live::{LiveResult, by_id};
use crate::support::server::Process;
use crate::support::setting;
use crate::support::socket::{Socket, Subscription, Terms, Told};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub const WRITERS: usize = 4;
pub const KEYS: u64 = 20;
pub const BUCKET: &str = "Crash";

/// What a writer was told is true.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub commit: u64,
    pub key: String,
    /// None for a delete
    pub version: Option<u64>,
    pub value: u64,
}

/// Writes until there is no answer any more. Each writer has objects of its own, and knows what stands there.
async fn write(http: Http, writer: usize, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Vec<Acknowledged> {
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let value = next.fetch_add(1, Ordering::Relaxed);
        let key = format!("w{writer}-{}", value % KEYS);
        let path = format!("/db/{BUCKET}/{key}");
        let request = if value % 7 == 3 {
            http.request(reqwest::Method::DELETE, &path)
        } else {
            let body = json!({"id": path, "value": value, "even": value.is_multiple_of(2)}).to_string();
            http.request(reqwest::Method::PUT, &path).header("content-type", "application/json").body(body)
        };
        // No answer: the server was killed, the write may be there or not.
        let Ok(answer) = http.try_send(request).await else { break };
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
        let version = (answer.status == 200).then(|| answer.json()["version"].as_u64().unwrap());
        all.push(Acknowledged { commit: answer.position().unwrap(), key, version, value });
    }
    all
}

/// A subscription that lives on over many servers, as a client with a position does.
pub struct Follower {
    bucket: &'static str,
    query: &'static str,
    /// Each connection's share
    parts: Vec<Vec<Told>>,
    position: Option<String>,
    now: Option<Subscription>,
}

impl Follower {
    pub fn new(bucket: &'static str, query: &'static str) -> Follower {
        Follower { bucket, query, parts: Vec::new(), position: None, now: None }
    }

    pub fn attach(&mut self, socket: &Socket) {
        let terms = Terms { position: self.position.clone(), ..Terms::extended() };
        self.now = Some(socket.subscribe(self.bucket, self.query, &terms));
    }

    /// The connection is gone.
    pub fn detach(&mut self) {
        let now = self.now.take().unwrap();
        self.position = now.last_position().or(self.position.take());
        self.parts.push(now.told());
    }

    /// As the SDK's rules make it of all that was said.
    fn result(&self) -> LiveResult {
        LiveResult::after(self.parts.iter().flatten()).unwrap_or_else(|fault| panic!("{}: {fault}", self.query))
    }

    /// When it was told of the last commit, it has what its query gives.
    pub async fn agrees(&mut self, http: &Http, end: u64) {
        self.now.as_ref().unwrap().reached(end).await;
        self.detach();
        let live = self.result();
        let answer = http.query(self.bucket, self.query).await;
        // Beyond it there may be what the server itself has noted.
        assert!(live.position >= end && answer.position() >= Some(end), "{} {end} {answer:?}", live.position);
        assert_eq!(live.objects, by_id(answer.json().as_array().unwrap()).unwrap(), "{}", self.query);
    }
}

/// When something else may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The writers are in the middle of it, and the server is about to be killed
    Before,
    /// It was
    After,
}

/// Writers and followers over many servers on one data directory, each killed in the middle of writes. `TIDEGATE_CRASHES` is
/// how often. `disturb` is told before and after each kill.
pub async fn crashes(command: impl Fn() -> Command, mut disturb: impl FnMut(u64, Moment)) {
    let next = Arc::new(AtomicU64::new(1));
    let mut acknowledged: Vec<Acknowledged> = Vec::new();
    let mut followers = ["{}", r#"{"even":true}"#, r#"{"value":{"$mod":[3,0]},"even":false}"#].map(|query| Follower::new(BUCKET, query));
    let crashes = setting("TIDEGATE_CRASHES", 6);
    for crash in 0..=crashes {
        let process = Process::start(command());
        check_objects(&process, &acknowledged).await;
        let socket = Socket::connect(&process.url).await;
        followers.iter_mut().for_each(|follower| follower.attach(&socket));
        if crash == crashes {
            settle(&process, &mut followers, &acknowledged).await;
            break;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(process.http(), writer, next.clone(), stop.clone()))).collect();
        // By the number of writes, not by time: somewhere in the middle of them.
        let until = next.load(Ordering::Relaxed) + 150 + crash * 37;
        while next.load(Ordering::Relaxed) < until {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        disturb(crash, Moment::Before);
        process.kill();
        disturb(crash, Moment::After);
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        socket.closed().await;
        followers.iter_mut().for_each(Follower::detach);
    }
    let told = || followers.iter().flat_map(|follower| follower.parts.iter().flatten());
    let resumed = told().filter(|told| matches!(told, Told::Resumed { .. })).count();
    let results = told().filter(|told| matches!(told, Told::Result { .. })).count();
    println!("{} acknowledged writes over {crashes} crashes; {resumed} subscriptions resumed", acknowledged.len());
    // Where a server was killed before it said that a subscription resumed, the next one says it.
    assert_eq!(results, followers.len(), "positions of durable commits are good after a crash");
    assert!(resumed >= followers.len(), "nobody came back");
}

/// What was acknowledged last of each object is there, or something that came after it: a write whose answer was lost.
pub async fn check_objects(process: &Process, acknowledged: &[Acknowledged]) {
    let mut last: BTreeMap<&str, &Acknowledged> = BTreeMap::new();
    for one in acknowledged {
        let known = last.entry(&one.key).or_insert(one);
        if known.commit < one.commit {
            *known = one;
        }
    }
    let http = process.http();
    for (key, one) in last {
        let found = http.load(BUCKET, key).await;
        match one.version {
            Some(version) if found.status == 200 => {
                let object = found.json();
                let (now, value) = (object["version"].as_u64().unwrap(), object["value"].as_u64().unwrap());
                assert!(now > version || value >= one.value, "{object} is older than {one:?}");
                assert!(now != version || value == one.value || value > one.value, "{object} is not {one:?}");
            }
            // A delete or an insert that followed, whose answer was lost.
            Some(_) => assert_eq!(found.status, 404, "{found:?} for {one:?}"),
            None if found.status == 404 => {}
            None => assert!(found.json()["value"].as_u64().unwrap() > one.value, "{found:?} was deleted by {one:?}"),
        }
    }
}

/// At the end: everybody is told of a last write, and then of every one before it, once.
async fn settle(process: &Process, followers: &mut [Follower], acknowledged: &[Acknowledged]) {
    let http = process.http();
    let answer = http.put(BUCKET, "last", json!({"value": 6, "even": true}).to_string(), None).await;
    let end = answer.position().unwrap();
    for follower in followers.iter_mut() {
        follower.agrees(&http, end).await;
    }
    // The one who hears of everything was told of every commit. Twice is refused by the rules of the live result.
    let events: BTreeSet<u64> =
        followers[0].parts.iter().flatten().filter(|told| matches!(told, Told::Event { .. })).filter_map(Told::position).collect();
    let began = followers[0].parts[0].iter().find_map(Told::position).unwrap();
    let missing: Vec<_> =
        acknowledged.iter().filter(|one| one.version.is_some() && one.commit > began && !events.contains(&one.commit)).collect();
    assert!(missing.is_empty(), "nothing came of {missing:?}");
}

//! Clients that write and read a few objects at random, all at once, and keep what they saw.

use super::object::{Asked, Condition, Operation, State, Told};
use crate::support::PATIENCE;
use crate::support::http::{Answer, Http};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub const BUCKET: &str = "Register";

/// What all clients of a run share.
pub struct Run {
    began: Instant,
    pub next_value: AtomicU64,
    /// Operations answered so far, of all clients
    pub answered: AtomicU64,
    objects: usize,
}

/// What one client did, by object.
pub type Seen = BTreeMap<usize, Vec<Operation>>;

impl Run {
    pub fn new(objects: usize) -> Arc<Run> {
        Arc::new(Run { began: Instant::now(), next_value: AtomicU64::new(1), answered: AtomicU64::new(0), objects })
    }

    pub fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Until so many operations were answered.
    pub async fn until_answered(&self, count: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.answered.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < deadline, "the clients do not go on");
            tokio::task::yield_now().await;
        }
    }

    /// What a client may think of: mostly to write over what it last saw. Of a value the low 20 bits say who saved it, the others
    /// what was added.
    pub fn choose(&self, random: &mut StdRng, last: State) -> Asked {
        let value = self.next_value.fetch_add(1, Ordering::Relaxed);
        let condition = match random.random_range(0..8) {
            0 => Condition::None,
            1 => Condition::Any,
            2 => Condition::Absent,
            _ => last.map_or(Condition::None, |(version, _)| Condition::Version(version)),
        };
        match random.random_range(0..10) {
            0..3 => Asked::Load,
            3 => Asked::Insert(value),
            4 if condition != Condition::Absent => Asked::Delete(condition),
            5 | 6 if condition != Condition::Absent => Asked::Add(value << 20, condition),
            _ => Asked::Save(value, condition),
        }
    }

    /// One client: so many operations, or until no answer comes.
    pub async fn client(self: Arc<Run>, http: Http, seed: u64, operations: u64) -> Seen {
        let mut random = StdRng::seed_from_u64(seed);
        let mut seen = Seen::new();
        let mut last: BTreeMap<usize, State> = BTreeMap::new();
        for _ in 0..operations {
            let object = random.random_range(0..self.objects);
            let asked = self.choose(&mut random, last.get(&object).copied().flatten());
            let by_query = random.random_bool(0.3);
            let operation = self.perform(&http, object, asked, by_query).await;
            if let Some(told) = operation.told {
                self.answered.fetch_add(1, Ordering::Relaxed);
                match told {
                    Told::Is(version, value) => drop(last.insert(object, Some((version, value)))),
                    Told::IsNot => drop(last.insert(object, None)),
                    Told::Exists | Told::OutOfDate => {}
                }
            }
            let is_lost = operation.told.is_none();
            seen.entry(object).or_default().push(operation);
            if is_lost {
                break;
            }
        }
        seen
    }

    /// Loads every object, one after the other.
    pub async fn look(&self, http: &Http, seen: &mut Seen) {
        for object in 0..self.objects {
            let operation = self.perform(http, object, Asked::Load, false).await;
            seen.entry(object).or_default().push(operation);
        }
    }

    async fn perform(&self, http: &Http, object: usize, asked: Asked, by_query: bool) -> Operation {
        let called = self.now();
        let answer = send(http, object, asked, by_query).await;
        let ended = self.now();
        let told = answer.ok().map(|answer| read(asked, &answer));
        Operation { asked, told, called, ended }
    }
}

pub async fn send(http: &Http, object: usize, asked: Asked, by_query: bool) -> Result<Answer, reqwest::Error> {
    let path = format!("/db/{BUCKET}/{object}");
    let with = |method, path: &str, value: u64| {
        let body = json!({"id": format!("/db/{BUCKET}/{object}"), "value": value}).to_string();
        http.request(method, path).header("content-type", "application/json").body(body)
    };
    let (request, condition) = match asked {
        Asked::Load if by_query => {
            let path = format!("/db/{BUCKET}/query");
            (
                http.request(Method::POST, &path)
                    .header("content-type", "text/plain")
                    .body(json!({"id": format!("/db/{BUCKET}/{object}")}).to_string()),
                Condition::None,
            )
        }
        Asked::Load => (http.request(Method::GET, &path), Condition::None),
        Asked::Insert(value) => (with(Method::POST, &format!("/db/{BUCKET}"), value), Condition::None),
        Asked::Save(value, condition) => (with(Method::PUT, &path, value), condition),
        Asked::Add(by, condition) => {
            let body = json!({"$inc": {"value": by}}).to_string();
            (http.request(Method::POST, &path).header("content-type", "application/json").body(body), condition)
        }
        Asked::Delete(condition) => (http.request(Method::DELETE, &path), condition),
    };
    let request = match condition {
        Condition::None => request,
        Condition::Any => request.header("if-match", "*"),
        Condition::Version(version) => request.header("if-match", format!("\"{version}\"")),
        Condition::Absent => request.header("if-none-match", "*"),
    };
    http.try_send(request).await
}

pub fn read(asked: Asked, answer: &Answer) -> Told {
    let is = |object: &Value| Told::Is(object["version"].as_u64().unwrap(), object["value"].as_u64().unwrap());
    match (asked, answer.status) {
        (Asked::Load, 200) => match answer.json() {
            Value::Array(found) => found.first().map_or(Told::IsNot, is),
            object => is(&object),
        },
        (Asked::Load | Asked::Add(..), 404) | (Asked::Delete(_), 204) => Told::IsNot,
        (Asked::Insert(_), 201) | (Asked::Save(..) | Asked::Add(..), 200) => is(&answer.json()),
        (Asked::Insert(_), 409) => Told::Exists,
        (Asked::Save(..) | Asked::Add(..) | Asked::Delete(_), 412) => Told::OutOfDate,
        _ => panic!("{asked:?} was answered by {answer:?}"),
    }
}

/// The histories of all clients as one, by object.
pub fn together(all: impl IntoIterator<Item = Seen>) -> Seen {
    let mut whole = Seen::new();
    for (object, operations) in all.into_iter().flatten() {
        whole.entry(object).or_default().extend(operations);
    }
    whole.values_mut().for_each(|operations| operations.sort_by_key(|operation| operation.called));
    whole
}

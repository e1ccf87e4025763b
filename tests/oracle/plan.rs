//! What happens in a round, made from a seed: queries, who asks them and when, and what the writers do.

use crate::declared;
use crate::generate::Generator;
use dataflows::query::{Filter, QueryLimits};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// (user, roles); the one without a user is anonymous, the last one is an administrator.
pub const PEOPLE: [(Option<&str>, &[&str]); 5] = [
    (None, &[]),
    (Some("/db/User/u1"), &["/db/Role/10"]),
    (Some("/db/User/u2"), &[]),
    (Some("/db/User/u3"), &["/db/Role/10", "/db/Role/11"]),
    (Some("/db/User/u4"), &["/db/Role/1"]),
];
/// Readers and writers in access lists.
const REFERENCES: [&str; 6] = ["/db/User/u1", "/db/User/u2", "/db/User/u3", "/db/Role/10", "/db/Role/11", "/db/Role/3"];
/// Keys as they stand in URLs and ids: any characters, encoded once.
const KEYS: [&str; 10] = ["1", "2", "3", "4", "5", "six", "a%2Fb", "%C3%9F", "x%20y", "q%3F%26"];

pub const QUERIES: usize = 60;
pub const WRITERS: usize = 4;
pub const WRITES: usize = 25;
/// Connections; the last one is cut in the middle of the round, and its subscriptions come back with their positions.
pub const SOCKETS: usize = 4;

/// A round.
#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub bucket: String,
    /// The class, if the bucket has one
    pub class: Option<Value>,
    pub asks: Vec<Ask>,
    /// What each writer does, one after the other
    pub writers: Vec<Vec<Op>>,
}

/// A subscription.
#[derive(Debug, Clone)]
pub struct Ask {
    pub person: usize,
    pub socket: usize,
    pub query: String,
    /// The SDK's messages only: it learns from the marker of the round that it is over
    pub plain: bool,
    pub initial: bool,
    pub match_types: Vec<String>,
    pub operations: Vec<String>,
    /// So many writes were answered when it starts, and when it ends, if it does
    pub starts: usize,
    pub ends: Option<usize>,
}

/// A write.
#[derive(Debug, Clone)]
pub struct Op {
    pub person: usize,
    pub key: &'static str,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    /// By POST: it must not be there
    Insert(String),
    Put(String, Condition),
    Delete(Condition),
}

#[derive(Debug, Clone, Copy)]
pub enum Condition {
    None,
    Any,
    /// The version that some answer told last
    Last,
    /// Some version, perhaps there is none such
    Version(u64),
}

impl Plan {
    pub fn new(seed: u64, bucket: &str, declared: bool) -> Plan {
        let mut generator = Generator::new(seed);
        let mut next = 0;
        // Documents first: queries ask for what stands in them.
        let writers = (0..WRITERS).map(|_| (0..WRITES).map(|_| op(&mut generator, bucket, declared, seed, &mut next)).collect()).collect();
        let mut asks: Vec<Ask> = Vec::new();
        for _ in 0..QUERIES {
            let ask = ask(&mut generator, declared, &asks);
            asks.push(ask);
        }
        Plan { seed, bucket: bucket.to_owned(), class: declared.then(|| declared::class(bucket)), asks, writers }
    }
}

fn op(generator: &mut Generator, bucket: &str, declared: bool, seed: u64, next: &mut u64) -> Op {
    let fields: Map<String, Value> = if declared {
        declared::document(generator.random()).as_object().unwrap().clone()
    } else {
        serde_json::from_str(&generator.document()).unwrap()
    };
    let random = generator.random();
    let key = *KEYS.choose(random).unwrap();
    let mut object = json!({"id": format!("/db/{bucket}/{key}"), "tag": format!("tag-{seed:x}-{next}-")});
    *next += 1;
    if random.random_bool(0.5) {
        object["acl"] = acl(random);
    }
    object.as_object_mut().unwrap().extend(fields);
    let condition = match random.random_range(0..10) {
        0 => Condition::Any,
        1 | 2 => Condition::Last,
        3 => Condition::Version(random.random_range(1..5)),
        _ => Condition::None,
    };
    let what = match random.random_range(0..10) {
        0 | 1 => What::Insert(object.to_string()),
        2..=4 => What::Delete(condition),
        _ => What::Put(object.to_string(), condition),
    };
    Op { person: random.random_range(0..PEOPLE.len()), key, what }
}

fn acl(random: &mut StdRng) -> Value {
    let mut rights = |entries: usize| {
        let list: BTreeMap<&str, &str> =
            (0..entries).map(|_| (*REFERENCES.choose(random).unwrap(), if random.random_bool(0.7) { "allow" } else { "deny" })).collect();
        json!(list)
    };
    let read = rights(2);
    // Writers are mostly let through, so that lists change.
    let write = rights(usize::from(read.as_object().unwrap().len() > 1));
    json!({"read": read, "write": write})
}

fn ask(generator: &mut Generator, declared: bool, earlier: &[Ask]) -> Ask {
    let again = generator.random().random_bool(0.25);
    let known = earlier.choose(generator.random()).filter(|_| again).map(|ask| ask.query.clone());
    let mut query = known.unwrap_or_else(|| if declared { declared::query(generator.random()) } else { generator.query() });
    let random = generator.random();
    if random.random_bool(0.1) {
        // The same, written differently.
        query = format!("{{\"$and\":[{query}]}}");
    }
    let list = |name: &str| vec![name.to_owned()];
    let mut ask = Ask {
        person: random.random_range(0..PEOPLE.len()),
        socket: random.random_range(0..SOCKETS),
        query,
        plain: false,
        initial: true,
        match_types: list("all"),
        operations: list("any"),
        starts: if random.random_bool(0.5) { 0 } else { random.random_range(0..WRITERS * WRITES) },
        ends: None,
    };
    if random.random_bool(0.25) {
        ask.ends = Some(random.random_range(ask.starts..WRITERS * WRITES));
    }
    match random.random_range(0..10) {
        0 => ask.operations = list(["insert", "update", "delete"].choose(random).unwrap()),
        1 => ask.match_types = list(["add", "change", "remove", "match"].choose(random).unwrap()),
        2 => ask.initial = false,
        3..=5 if ask.socket + 1 < SOCKETS => {
            let marked = format!("{{\"$or\":[{},{{\"marker\":true}}]}}", ask.query);
            if Filter::parse(&marked, &QueryLimits::default()).is_ok() {
                (ask.query, ask.plain) = (marked, true);
            }
        }
        _ => {}
    }
    ask
}

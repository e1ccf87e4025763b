//! Documents and queries for a bucket with a declared class: every declared type, times compared as instants.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

/// The class, in the form that is posted to `/schema`.
pub fn class(bucket: &str) -> Value {
    let types = [
        ("tag", "String"),
        ("marker", "Boolean"),
        ("s", "String"),
        ("i", "Integer"),
        ("x", "Double"),
        ("b", "Boolean"),
        ("t", "DateTime"),
        ("d", "Date"),
        ("p", "GeoPoint"),
        ("j", "JsonObject"),
        ("l", "collection.List[/db/String]"),
        ("m", "collection.Map[/db/String,/db/Integer]"),
    ];
    let fields: serde_json::Map<String, Value> = types
        .iter()
        .enumerate()
        .map(|(order, (name, kind))| ((*name).to_owned(), json!({"name": name, "type": format!("/db/{kind}"), "order": order})))
        .collect();
    json!({"class": format!("/db/{bucket}"), "superClass": "/db/Object", "acl": {}, "fields": fields})
}

const STRINGS: &[&str] = &["a", "b", "ab", "Abc", "", "ß"];
const TIMES: &[&str] =
    &["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.5Z", "2024-06-01T12:30:00.123Z", "1969-12-31T23:59:59.999Z", "2030-01-01T00:00:00Z"];
const DATES: &[&str] = &["2024-01-01", "2024-06-01", "1970-01-01"];

/// The fields of an object, each may be null or missing.
pub fn document(random: &mut StdRng) -> Value {
    let mut object = serde_json::Map::new();
    for name in ["s", "i", "x", "b", "t", "d", "p", "j", "l", "m"] {
        match random.random_range(0..10) {
            0 => {}
            1 => drop(object.insert(name.into(), Value::Null)),
            _ => drop(object.insert(name.into(), value(random, name))),
        }
    }
    Value::Object(object)
}

fn value(random: &mut StdRng, name: &str) -> Value {
    let mut pick = |from: &[&str]| json!(from.choose(random).unwrap());
    match name {
        "s" => pick(STRINGS),
        "t" => pick(TIMES),
        "d" => pick(DATES),
        "i" => json!(random.random_range(-3..8)),
        "x" => json!(f64::from(random.random_range(-6..12)) / 2.0),
        "b" => json!(random.random_bool(0.5)),
        "p" => json!({"latitude": f64::from(random.random_range(-4..5)), "longitude": f64::from(random.random_range(-4..5))}),
        "j" => json!({"n": random.random_range(0..4), "l": [random.random_range(0..3), random.random_range(0..3)]}),
        "l" => (0..random.random_range(0..4)).map(|_| json!(STRINGS.choose(random).unwrap())).collect(),
        "m" => json!({"u": random.random_range(0..3)}),
        _ => unreachable!("{name}"),
    }
}

/// A query of one to three conditions.
pub fn query(random: &mut StdRng) -> String {
    conditions(random, 2).to_string()
}

fn conditions(random: &mut StdRng, depth: u32) -> Value {
    let mut all = serde_json::Map::new();
    for _ in 0..random.random_range(1..=3) {
        if depth > 0 && random.random_ratio(1, 5) {
            let name = *["$and", "$or", "$nor"].choose(random).unwrap();
            let parts: Vec<Value> = (0..random.random_range(1..=3)).map(|_| conditions(random, depth - 1)).collect();
            all.insert(name.into(), parts.into());
        } else {
            let (path, condition) = condition(random);
            all.insert(path, condition);
        }
    }
    Value::Object(all)
}

fn condition(random: &mut StdRng) -> (String, Value) {
    let order = *["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"].choose(random).unwrap();
    let instant = |random: &mut StdRng| {
        let all: Vec<&str> = TIMES.iter().chain(DATES).copied().collect();
        json!({"$date": *all.choose(random).unwrap()})
    };
    let path = *["s", "i", "x", "b", "t", "t", "d", "p", "j.n", "j.l", "l", "m.u", "version", "createdAt"].choose(random).unwrap();
    let condition = match path {
        "s" | "l" => match random.random_range(0..6) {
            0 => json!({"$regex": "^a"}),
            1 => json!({"$in": [value(random, "s"), value(random, "s"), null]}),
            2 if path == "l" => json!({"$all": [value(random, "s")]}),
            3 if path == "l" => json!({"$size": random.random_range(0..3)}),
            4 => json!({"$exists": random.random_bool(0.5)}),
            _ => json!({ order: value(random, "s") }),
        },
        "i" | "x" => match random.random_range(0..5) {
            0 => json!({"$mod": [2, random.random_range(0..2)]}),
            1 => json!({"$nin": [value(random, "i"), value(random, "x")]}),
            2 => json!({"$gte": random.random_range(-3..3), "$lt": random.random_range(2..8)}),
            3 => json!({"$not": {order: value(random, path)}}),
            _ => json!({ order: value(random, path) }),
        },
        "b" => value(random, "b"),
        "t" | "d" => match random.random_range(0..4) {
            0 => json!({"$in": [instant(random), instant(random)]}),
            1 => json!({"$type": "date"}),
            _ => json!({ order: instant(random) }),
        },
        "p" => json!({"$geoWithin": {"$centerSphere": [[random.random_range(-3..4), random.random_range(-3..4)], 0.03]}}),
        "j.n" | "m.u" => json!({ order: random.random_range(0..3) }),
        "j.l" => json!({"$elemMatch": {"$gte": 1, "$lte": random.random_range(1..3)}}),
        "version" => json!({"$gt": random.random_range(1..4)}),
        _ => json!({"$gt": {"$date": "2020-01-01T00:00:00Z"}}),
    };
    (path.to_owned(), condition)
}

//! Against evaluating every query on both images, for random queries, documents and comings and goings.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::change::{Image, Operation, Writer};
use crate::document::{DateFields, DocumentLimits};
use crate::query::{Filter, QueryLimits};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn names() -> (Arc<str>, Arc<str>) {
    ("app".into(), "things".into())
}

fn image(json: &Value) -> Arc<Image> {
    let text = bytes::Bytes::from(serde_json::to_vec(json).unwrap());
    Arc::new(Image::parse(text, &DateFields::default(), DocumentLimits::default()).unwrap())
}

fn change(before: Option<&Value>, after: Option<&Value>) -> Change {
    let (app, bucket) = names();
    Change {
        commit: 1,
        at: 0,
        app,
        bucket,
        id: "/db/things/1".into(),
        operation: Operation::Update,
        before: before.map(image),
        after: after.map(image),
        schema_version: 0,
        control: 0,
        writer: Writer::default(),
        batch: None,
    }
}

fn filter(query: &Value) -> Arc<Predicate> {
    Filter::parse(&query.to_string(), &QueryLimits::default()).unwrap_or_else(|error| panic!("{query}: {error}")).predicate
}

fn index(queries: &[Value]) -> QueryIndex {
    let (app, bucket) = names();
    let mut index = QueryIndex::new(IndexOptions::default());
    for (number, query) in queries.iter().enumerate() {
        index.insert(&app, &bucket, QueryId(number as u64), filter(query)).unwrap();
    }
    index
}

fn matching(index: &mut QueryIndex, document: &Value) -> Vec<u64> {
    let mut deltas = Vec::new();
    index.matches(&change(None, Some(document)), &mut deltas);
    let mut numbers: Vec<u64> = deltas.iter().map(|delta| delta.query.0).collect();
    numbers.sort_unstable();
    numbers
}

/// Small numbers from one seed; proptest gives the seeds, so that a failure names what repeats it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % sides
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.roll(choices.len() as u64) as usize]
    }
}

const FIELDS: [&str; 5] = ["a", "b", "c", "0", "1"];
const WORDS: [&str; 9] = ["", "a", "abc", "abcdefghij", "abcdefghik", "Berlin", "berlin west", "x\u{e9}y", "kiosk"];

fn scalar(dice: &mut Dice) -> Value {
    match dice.roll(14) {
        0 => Value::Null,
        1 => json!(dice.roll(2) == 1),
        2..=5 => json!(dice.roll(6)),
        6 => json!(dice.roll(6) as f64 - 2.5),
        7 => json!((1i64 << 53) + dice.roll(4) as i64),
        8 => json!(i64::MIN + dice.roll(2) as i64),
        9 => json!({ "$date": "2020-01-01T00:00:00Z".replace("01T", &format!("0{}T", 1 + dice.roll(4))) }),
        _ => json!(dice.of(&WORDS)),
    }
}

fn value(dice: &mut Dice, depth: u32) -> Value {
    match dice.roll(10) {
        0..=2 if depth > 0 => (0..dice.roll(4)).map(|_| value(dice, depth - 1)).collect(),
        3 | 4 if depth > 0 => object(dice, depth - 1),
        5 => json!({ "type": "Point", "coordinates": [dice.roll(4) as f64, dice.roll(4) as f64 * 0.5] }),
        _ => scalar(dice),
    }
}

fn object(dice: &mut Dice, depth: u32) -> Value {
    let mut fields = serde_json::Map::new();
    for _ in 0..dice.roll(5) {
        let (name, value) = (dice.of(&FIELDS).to_string(), value(dice, depth));
        fields.insert(name, value);
    }
    Value::Object(fields)
}

fn path(dice: &mut Dice) -> String {
    (0..1 + dice.roll(3)).map(|_| *dice.of(&FIELDS)).collect::<Vec<_>>().join(".")
}

fn regex(dice: &mut Dice) -> Value {
    let pattern =
        *dice.of(&["^abc", "^abcdefghi", "bcd", "erl.n", "(?:berlin|abc)$", "^Ber", ".", "^(a|B)", "i(o|a)sk", "[a-c]{2}", "l+i"]);
    if dice.roll(3) == 0 { json!({ "$regex": pattern, "$options": "i" }) } else { json!({ "$regex": pattern }) }
}

fn operators(dice: &mut Dice, depth: u32) -> Value {
    match dice.roll(if depth > 0 { 20 } else { 16 }) {
        0 => json!({ "$eq": value(dice, 2) }),
        1 => json!({ "$ne": scalar(dice) }),
        2 => json!({ "$gt": scalar(dice) }),
        3 => json!({ "$gte": scalar(dice), "$lt": scalar(dice) }),
        4 => json!({ "$lte": scalar(dice), "$gt": scalar(dice) }),
        5 => json!({ "$in": (0..dice.roll(5)).map(|_| value(dice, 1)).collect::<Vec<_>>() }),
        6 => json!({ "$in": (0..dice.roll(5)).map(|_| scalar(dice)).collect::<Vec<_>>() }),
        7 => json!({ "$nin": (0..dice.roll(5)).map(|_| scalar(dice)).collect::<Vec<_>>() }),
        8 => json!({ "$exists": dice.roll(2) == 1 }),
        9 if depth > 0 && dice.roll(2) == 0 => {
            json!({ "$all": (0..1 + dice.roll(2)).map(|_| json!({ "$elemMatch": operators(dice, depth - 1) })).collect::<Vec<_>>() })
        }
        9 => json!({ "$all": (0..1 + dice.roll(2)).map(|_| scalar(dice)).collect::<Vec<_>>() }),
        10 => json!({ "$size": dice.roll(3) }),
        11 => json!({ "$mod": [1 + dice.roll(3), dice.roll(2)] }),
        12 | 13 => regex(dice),
        14 => json!({ "$type": dice.of(&["string", "number", "array", "object", "null", "bool", "date"]) }),
        15 => {
            let (x, y) = (dice.roll(4) as f64, dice.roll(4) as f64 * 0.5);
            match dice.roll(3) {
                0 => json!({ "$geoWithin": { "$box": [[x - 0.2, y - 0.2], [x + 0.2, y + 1.0]] } }),
                1 => json!({ "$geoWithin": { "$centerSphere": [[x, y], 0.02] } }),
                _ => json!({ "$nearSphere": { "$geometry": { "type": "Point", "coordinates": [x, y] }, "$maxDistance": 70000 } }),
            }
        }
        16 => json!({ "$not": operators(dice, depth - 1) }),
        17 if dice.roll(2) == 0 => json!({ "$elemMatch": { "$elemMatch": operators(dice, depth - 1) } }),
        17 => json!({ "$elemMatch": operators(dice, depth - 1) }),
        _ => json!({ "$elemMatch": query(dice, depth - 1) }),
    }
}

fn query(dice: &mut Dice, depth: u32) -> Value {
    let mut all = serde_json::Map::new();
    for _ in 0..1 + dice.roll(3) {
        match dice.roll(if depth > 0 { 10 } else { 7 }) {
            0..=2 => all.insert(path(dice), scalar(dice)),
            3..=6 => all.insert(path(dice), operators(dice, depth)),
            7 => all.insert("$and".into(), (0..1 + dice.roll(2)).map(|_| query(dice, depth - 1)).collect()),
            8 => all.insert("$or".into(), (0..1 + dice.roll(3)).map(|_| query(dice, depth - 1)).collect()),
            _ => all.insert("$nor".into(), (0..1 + dice.roll(2)).map(|_| query(dice, depth - 1)).collect()),
        };
    }
    Value::Object(all)
}

type Standing = BTreeMap<u64, (Value, Arc<Predicate>)>;

fn random_query(dice: &mut Dice) -> (Value, Arc<Predicate>) {
    loop {
        let text = query(dice, 2);
        // Some combinations are not in the language, say `$elemMatch` around `$not` of a shape.
        if let Ok(filter) = Filter::parse(&text.to_string(), &QueryLimits::default()) {
            return (text, filter.predicate);
        }
    }
}

/// All that one change touches, once from the index, once from evaluating every query.
fn compare(index: &mut QueryIndex, standing: &Standing, change: &Change) {
    let mut deltas = Vec::new();
    index.matches(change, &mut deltas);
    let mut found: Vec<_> = deltas.iter().map(|delta| (delta.query.0, delta.before, delta.after)).collect();
    found.sort_unstable();
    let holds = |predicate: &Predicate, image: &Option<Arc<Image>>| image.as_ref().is_some_and(|image| predicate.matches(&image.document));
    let judge = |(id, (_, predicate)): (&u64, &(Value, Arc<Predicate>))| {
        let (before, after) = (holds(predicate, &change.before), holds(predicate, &change.after));
        (before || after).then_some((*id, before, after))
    };
    let expected: Vec<_> = standing.iter().filter_map(judge).collect();
    if found != expected {
        let differs = |list: &[(u64, bool, bool)], id: u64| list.iter().find(|other| other.0 == id).copied();
        for id in standing.keys() {
            let (found, expected) = (differs(&found, *id), differs(&expected, *id));
            if found != expected {
                let explanation = index.explain(QueryId(*id)).unwrap();
                let images = [&change.before, &change.after].map(|image| image.as_ref().map(|image| image.json().clone()));
                panic!("query {}\n{explanation}\non {images:?}\ngave {found:?}, not {expected:?}", standing[id].0);
            }
        }
        panic!("a query twice: {found:?}");
    }
}

fn comings_and_goings(seed: u64, scan: bool) {
    let mut dice = Dice(seed);
    let (app, bucket) = names();
    let mut index = QueryIndex::new(IndexOptions { residual_queries: usize::MAX, scan });
    let mut standing = Standing::new();
    let mut next = 0;
    for _ in 0..3 {
        for _ in 0..20 + dice.roll(60) {
            let (text, predicate) = random_query(&mut dice);
            index.insert(&app, &bucket, QueryId(next), predicate.clone()).unwrap();
            standing.insert(next, (text, predicate));
            next += 1;
        }
        let mut before = None;
        for _ in 0..12 {
            let mut after = Some(object(&mut dice, 3)).filter(|_| dice.roll(6) > 0);
            if let (Some(Value::Object(after)), Some(Value::Object(before)), true) = (&mut after, &before, dice.roll(2) == 0) {
                // Most updates leave most fields as they were.
                after.extend(before.iter().filter(|_| dice.roll(4) > 0).map(|(name, value)| (name.clone(), value.clone())));
            }
            compare(&mut index, &standing, &change(before.as_ref(), after.as_ref()));
            before = after;
        }
        for id in standing.keys().copied().collect::<Vec<_>>() {
            if dice.roll(2) == 0 {
                assert!(index.remove(QueryId(id)));
                standing.remove(&id);
            }
        }
    }
    for id in standing.keys() {
        assert!(index.remove(QueryId(*id)));
    }
    assert_empty(&index);
}

fn assert_empty(index: &QueryIndex) {
    let statistics = index.statistics();
    assert_eq!((statistics.queries, statistics.residual, statistics.entries, statistics.paths), (0, 0, 0, 0));
    assert_eq!((index.entries.nodes.len(), index.strings.len(), index.scopes.len(), index.rest), (0, 0, 0, 0));
    assert_eq!((index.entries.intervals.len(), index.entries.places.len()), (0, 0));
    assert!(statistics.memory < 1 << 20, "{statistics:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn finds_what_evaluating_every_query_finds(seed: u64) {
        comings_and_goings(seed, false);
    }

    #[test]
    fn the_scan_finds_the_same(seed: u64) {
        comings_and_goings(seed, true);
    }

    /// Few paths and values, so that lists grow long and get a second level.
    #[test]
    fn finds_the_same_in_long_lists(seed: u64) {
        let mut dice = Dice(seed);
        let (app, bucket) = names();
        let mut index = QueryIndex::new(IndexOptions { residual_queries: usize::MAX, scan: false });
        let mut standing = Standing::new();
        for id in 0..400 {
            let mut query = json!({ "city": dice.of(&["Rome", "Oslo"]) });
            match dice.roll(5) {
                0 => query["price"] = json!({ "$gte": dice.roll(30), "$lt": dice.roll(30) }),
                1 => query["price"] = json!({ "$gt": dice.roll(30) }),
                2 => query["tags"] = json!(dice.of(&WORDS)),
                3 => query["price"] = json!({ "$not": { "$gt": dice.roll(30) } }),
                _ => query["price"] = json!({ "$in": [dice.roll(30), dice.roll(30)] }),
            }
            if dice.roll(3) == 0 {
                query["kind"] = json!(dice.roll(3));
            }
            let predicate = filter(&query);
            index.insert(&app, &bucket, QueryId(id), predicate.clone()).unwrap();
            standing.insert(id, (query, predicate));
            if dice.roll(3) == 0 {
                let id = *dice.of(&standing.keys().copied().collect::<Vec<_>>());
                assert!(index.remove(QueryId(id)));
                standing.remove(&id);
            }
        }
        for _ in 0..20 {
            let price = match dice.roll(4) {
                0 => json!([dice.roll(30), dice.roll(30)]),
                1 => Value::Null,
                _ => json!(dice.roll(30)),
            };
            let document = json!({ "city": dice.of(&["Rome", "Oslo"]), "price": price, "kind": dice.roll(3), "tags": [dice.of(&WORDS), dice.of(&WORDS)] });
            let mut before = document.clone();
            before["price"] = json!(dice.roll(30));
            compare(&mut index, &standing, &change(Some(&before).filter(|_| dice.roll(2) == 0), Some(&document)));
        }
        for id in standing.keys() {
            assert!(index.remove(QueryId(*id)));
        }
        assert_empty(&index);
    }

    /// One field with arrays within arrays, and `$elemMatch` within `$elemMatch` around all that looks at elements.
    #[test]
    fn finds_the_same_in_arrays_within_arrays(seed: u64) {
        fn nested(dice: &mut Dice, depth: u32) -> Value {
            match dice.roll(4) {
                0..=2 if depth > 0 => (0..1 + dice.roll(2)).map(|_| nested(dice, depth - 1)).collect(),
                3 if depth > 0 => json!({ "b": nested(dice, depth - 1) }),
                _ => json!(dice.roll(4)),
            }
        }
        fn element(dice: &mut Dice, depth: u32) -> Value {
            match dice.roll(if depth > 0 { 12 } else { 5 }) {
                0 => json!({ "$eq": nested(dice, 1) }),
                1 => json!({ "$gte": dice.roll(3), "$lt": 1 + dice.roll(4) }),
                2 => json!({ "$size": 1 + dice.roll(2) }),
                3 => json!({ "$in": [nested(dice, 1), dice.roll(4)] }),
                4 => json!({ "b": dice.roll(4) }),
                5 => json!({ "b": { "$elemMatch": element(dice, depth - 1) } }),
                6 => json!({ "$or": [{ "$elemMatch": element(dice, depth - 1) }, { "$eq": dice.roll(4) }] }),
                7 => json!({ "$elemMatch": element(dice, depth - 1), "$size": 1 + dice.roll(2) }),
                8 => json!({ "$not": { "$elemMatch": element(dice, depth - 1) } }),
                _ => json!({ "$elemMatch": element(dice, depth - 1) }),
            }
        }
        let mut dice = Dice(seed);
        let (app, bucket) = names();
        let mut index = QueryIndex::new(IndexOptions { residual_queries: usize::MAX, scan: false });
        let mut standing = Standing::new();
        while standing.len() < 60 {
            let path = *dice.of(&["a", "a", "a.b", "a.0", "a.0.b"]);
            let test = match dice.roll(4) {
                0 => json!({ "$all": [{ "$elemMatch": element(&mut dice, 2) }, { "$elemMatch": element(&mut dice, 1) }] }),
                _ => json!({ "$elemMatch": element(&mut dice, 2) }),
            };
            let query = json!({ path: test });
            let Ok(filter) = Filter::parse(&query.to_string(), &QueryLimits::default()) else { continue };
            let id = standing.len() as u64;
            index.insert(&app, &bucket, QueryId(id), filter.predicate.clone()).unwrap();
            standing.insert(id, (query, filter.predicate));
        }
        for _ in 0..20 {
            let [before, after] = [(); 2].map(|()| json!({ "a": nested(&mut dice, 4) }));
            compare(&mut index, &standing, &change(Some(&before), Some(&after)));
        }
    }

    #[test]
    fn intervals_are_those_of_a_list(seed: u64) {
        let mut dice = Dice(seed);
        let mut intervals = intervals::Intervals::default();
        let mut list: Vec<(u64, u64, u32)> = Vec::new();
        // So many that there is more than one group of blocks.
        for place in 0..6_000u32 {
            let low = dice.roll(1_000);
            let high = match dice.roll(100) {
                0 => u64::MAX,
                1 => low.saturating_sub(dice.roll(20)),
                _ => low + dice.roll(20),
            };
            intervals.insert(low, high, entries::Entry { place, ..entries::Entry::default() });
            list.push((low, high, place));
            if dice.roll(if place < 5_000 { 5 } else { 1 }) == 0 {
                let (low, high, place) = list.swap_remove(dice.roll(list.len() as u64) as usize);
                assert_eq!(intervals.remove(low, high, place).map(|entry| entry.place), Some(place));
                assert!(intervals.remove(low, high, place).is_none());
            }
            if place % 50 == 0 {
                let low = dice.roll(1_000);
                let high = low + dice.roll(3);
                let mut found = Vec::new();
                let mut blocks = Vec::new();
                intervals.blocks_meeting(low, high, |at| blocks.push(at));
                for at in blocks {
                    intervals.meeting(at, low, high, |entry| found.push(entry.place));
                }
                found.sort_unstable();
                let mut expected: Vec<u32> = list.iter().filter(|span| span.0 <= high && span.1 >= low).map(|span| span.2).collect();
                expected.sort_unstable();
                assert_eq!(found, expected);
            }
        }
        assert_eq!(intervals.len(), list.len());
    }
}

#[test]
fn candidates_stay_few_as_queries_on_other_values_grow() {
    let price = |low: u64| json!({ "$gte": low, "$lt": low + 10 });
    type Kind = (&'static str, fn(u64) -> Value);
    let kinds: [Kind; 8] = [
        ("equality", |n| json!({ "owner": format!("user{n}") })),
        ("in", |n| json!({ "owner": { "$in": [format!("user{n}"), format!("other{n}")] } })),
        ("range", |n| json!({ "price": { "$gte": n * 10, "$lt": n * 10 + 10 } })),
        ("half-open range", |n| json!({ "price": { "$gt": 1_000 + n } })),
        ("membership", |n| json!({ "tags": format!("tag{n}") })),
        ("or", |n| json!({ "$or": [{ "owner": format!("user{n}") }, { "price": { "$gt": n * 10, "$lt": n * 10 + 3 } }] })),
        ("prefix", |n| json!({ "owner": { "$regex": format!("^user{n}x") } })),
        ("literal", |n| json!({ "text": { "$regex": format!("word{n}[.!]") } })),
    ];
    let document = json!({ "owner": "user5", "price": 55, "tags": ["tag5", "tag77"], "text": "a word5! of course", "city": "Rome" });
    for (name, query) in kinds {
        let candidates = |count: u64| {
            let mut index = index(&(0..count).map(query).collect::<Vec<_>>());
            let matches = matching(&mut index, &document).len();
            (index.candidates(), matches)
        };
        let ((few, _), (many, matches)) = (candidates(100), candidates(5_000));
        assert!(many <= few + matches as u64 + 2, "{name}: {many} candidates of 5000 queries, {few} of 100");
    }
    // One value that many share: the second level.
    let shared: Vec<Value> = (0..5_000).map(|n| json!({ "city": "Rome", "price": price(n * 10) })).collect();
    let mut shared = index(&shared);
    assert_eq!(matching(&mut shared, &document), [5]);
    assert!(shared.candidates() < 80, "{}", shared.candidates());
}

#[test]
fn hostile_input_stays_linear() {
    // All of these would be billions of steps if anything were quadratic.
    let operands: Vec<u64> = (0..5_000).collect();
    let mut queries = vec![json!({ "n": { "$in": operands } })];
    queries.extend((0..5_000).map(|n| json!({ "n": 7, "m": n })));
    queries.extend((0..2_000).map(|n| json!({ "t": { "$regex": format!("{}b", "a".repeat(2 + n % 20)) } })));
    let mut index = index(&queries);
    let fields: serde_json::Map<String, Value> = (0..5_000).map(|n| (format!("f{n}"), json!(n))).collect();
    let mut document = Value::Object(fields);
    document["n"] = (0..20_000).map(|n| if n % 2 == 0 { 7 } else { n % 5_000 }).collect();
    document["m"] = json!(3);
    document["t"] = json!("a".repeat(20_000));
    assert_eq!(matching(&mut index, &document), [0, 4]);
    assert!(index.candidates() < 60_000, "{}", index.candidates());
}

#[test]
fn arrays_within_arrays_are_found() {
    let within = |inner: Value| json!({ "a": { "$elemMatch": { "$elemMatch": inner } } });
    let mut index = index(&[
        within(json!({ "$eq": 5 })),
        within(json!({ "b": 5 })),
        within(json!({ "$gte": 5, "$lt": 6 })),
        within(json!({ "$size": 1 })),
        within(json!({ "$elemMatch": { "$in": [5, 6] } })),
        json!({ "a": { "$all": [{ "$elemMatch": { "$elemMatch": { "$eq": 5 } } }, { "$elemMatch": { "$size": 1 } }] } }),
        json!({ "a": { "$elemMatch": { "$or": [{ "$elemMatch": { "$eq": 5 } }, { "$eq": 7 }] } } }),
        json!({ "a": { "$elemMatch": { "$elemMatch": { "$eq": 5 }, "$size": 2 } } }),
        json!({ "a": 5 }),
    ]);
    for (document, expected) in [
        (json!({ "a": [[5]] }), &[0, 2, 5, 6][..]),
        (json!({ "a": [[{ "b": 5 }]] }), &[1]),
        (json!({ "a": [[[5]]] }), &[3, 4]),
        (json!({ "a": [[5, 1]] }), &[0, 2, 6, 7]),
        (json!({ "a": [7] }), &[6]),
        (json!({ "a": [5] }), &[8]),
        (json!({ "a": 5 }), &[8]),
    ] {
        assert_eq!(matching(&mut index, &document), expected, "{document}");
    }
}

#[test]
fn the_quota_is_for_each_app_and_only_for_what_no_entry_fits() {
    let bucket: Arc<str> = "things".into();
    let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
    let mut index = QueryIndex::new(IndexOptions { residual_queries: 2, ..IndexOptions::default() });
    let residual = filter(&json!({ "a": { "$ne": 1 } }));
    index.insert(&one, &bucket, QueryId(1), residual.clone()).unwrap();
    index.insert(&one, &bucket, QueryId(2), residual.clone()).unwrap();
    let error = index.insert(&one, &bucket, QueryId(3), residual.clone()).unwrap_err();
    assert_eq!(error.code(), "query-residual-quota");
    assert!(error.to_string().contains("add a condition"), "{error}");
    assert!(!index.remove(QueryId(3)));
    index.insert(&other, &bucket, QueryId(4), residual.clone()).unwrap();
    index.insert(&one, &bucket, QueryId(5), filter(&json!({ "a": 1 }))).unwrap();
    index.insert(&one, &bucket, QueryId(2), residual.clone()).unwrap();
    assert!(index.remove(QueryId(1)));
    index.insert(&one, &bucket, QueryId(3), residual).unwrap();
    assert_eq!(index.residual(), 3);
    for id in 1..6 {
        index.remove(QueryId(id));
    }
    assert_empty(&index);
}

#[test]
fn apps_and_buckets_do_not_see_each_other() {
    let (app, bucket) = names();
    let mut index = QueryIndex::new(IndexOptions::default());
    let predicate = filter(&json!({ "a": 1 }));
    index.insert(&app, &bucket, QueryId(1), predicate.clone()).unwrap();
    index.insert(&"foreign".into(), &bucket, QueryId(2), predicate.clone()).unwrap();
    index.insert(&app, &"others".into(), QueryId(3), predicate).unwrap();
    assert_eq!(matching(&mut index, &json!({ "a": 1 })), [1]);
}

#[test]
fn explains_what_a_query_hangs_on() {
    let index = index(&[
        json!({ "city": "Rome", "price": { "$gte": 3, "$lt": 5 } }),
        json!({ "$or": [{ "a.b": 1 }, { "name": { "$regex": "^Jo" } }] }),
        json!({ "a": { "$ne": 1 } }),
        json!({ "text": { "$regex": "needle" }, "n": { "$mod": [2, 0] } }),
    ]);
    let explain = |id| index.explain(QueryId(id)).unwrap().to_string();
    assert_eq!(explain(0), "hangs on city = \"Rome\" (beside 0 others)");
    assert_eq!(explain(1), "hangs on a.b = 1 (beside 0 others), or name starts with \"Jo\" (beside 0 others); what is left is evaluated");
    assert_eq!(explain(2), "residual: no index entry fits, every change of things is put to this query");
    assert_eq!(explain(3), "hangs on text contains \"needle\" (beside 0 others); what is left is evaluated");
    assert!(index.explain(QueryId(9)).is_none());
}

#[test]
fn stamps_start_again_before_they_run_out() {
    let mut index = index(&[json!({ "a": 1 }), json!({ "a": { "$ne": 1 } }), json!({ "t": { "$regex": "word" } })]);
    let number = |a: u64| json!({ "a": a, "t": "a word" });
    // As the first change after the stamps start again.
    assert_eq!(matching(&mut index, &number(1)), [0, 2]);
    index.stamp = u32::MAX - 6;
    for _ in 0..4 {
        assert_eq!(matching(&mut index, &number(1)), [0, 2]);
        assert_eq!(matching(&mut index, &number(2)), [1, 2]);
    }
}

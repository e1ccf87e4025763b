//! What must hold of every query: reading never panics, the normal form is one and means the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../tests/oracle/generate.rs"]
mod generate;

use bytes::Bytes;
use dataflows::document::{DateFields, Document, DocumentLimits};
use dataflows::query::{Filter, QueryLimits, compare, normal, parse, text};
use generate::Generator;
use proptest::prelude::*;
use std::cmp::Ordering;

fn document(json: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(json.as_bytes()), &DateFields::default(), DocumentLimits::default())
        .unwrap_or_else(|error| panic!("{json}: {error}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12 * ProptestConfig::default().cases, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_any_text_never_panics(text in ".{0,60}") {
        let _ = Filter::parse(&text, &QueryLimits::default());
    }

    #[test]
    fn reading_damaged_queries_never_panics(seed in any::<u64>(), at in any::<prop::sample::Index>(), put in "[\\[\\]{}\",:$a0-9.-]{0,3}") {
        let query = Generator::new(seed).query();
        let at = at.index(query.len());
        if query.is_char_boundary(at) && query.is_char_boundary(at + 1) {
            let damaged = format!("{}{put}{}", &query[..at], &query[at + 1..]);
            if let Ok(filter) = Filter::parse(&damaged, &QueryLimits::default()) {
                let again = Filter::parse(&filter.text, &QueryLimits::default());
                prop_assert!(again.is_ok_and(|again| again.text == filter.text), "{damaged} gave {}", filter.text);
            }
        }
    }

    #[test]
    fn the_normal_form_reads_back_as_itself(seed in any::<u64>()) {
        let query = Generator::new(seed).query();
        let filter = Filter::parse(&query, &QueryLimits::default()).unwrap_or_else(|error| panic!("{query}: {error}"));
        let again = Filter::parse(&filter.text, &QueryLimits::default()).unwrap_or_else(|error| panic!("{query} gave {}: {error}", filter.text));
        prop_assert_eq!(&again.text, &filter.text, "from {}", query);
        prop_assert_eq!(&again.predicate, &filter.predicate, "from {}", query);
        prop_assert_eq!(&normal((*filter.predicate).clone()), &*filter.predicate, "from {}", query);
    }

    #[test]
    fn the_normal_form_means_the_same(seed in any::<u64>()) {
        let mut generator = Generator::new(seed);
        let documents: Vec<String> = (0..20).map(|_| generator.document()).collect();
        let query = generator.query();
        let raw = parse(&query, &QueryLimits::default()).unwrap();
        let normal = normal(raw.clone());
        for json in documents {
            let document = document(&json);
            prop_assert_eq!(raw.matches(&document), normal.matches(&document), "{} became {} and differs on {}", query, text(&normal), json);
        }
    }

    #[test]
    fn the_order_of_trees_is_total_and_equal_trees_have_equal_texts(seed in any::<u64>()) {
        let mut generator = Generator::new(seed);
        let mut one = || Filter::parse(&generator.query(), &QueryLimits::default()).unwrap();
        let (a, b, c) = (one(), one(), one());
        let order = |l: &Filter, r: &Filter| compare(&l.predicate, &r.predicate);
        prop_assert_eq!(order(&a, &a), Ordering::Equal);
        prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
        if order(&a, &b).is_le() && order(&b, &c).is_le() {
            prop_assert!(order(&a, &c).is_le(), "{} {} {}", a.text, b.text, c.text);
        }
        prop_assert_eq!(order(&a, &b).is_eq(), a.text == b.text);
        prop_assert_eq!(a.predicate == b.predicate, a.text == b.text);
    }
}

#[test]
fn queries_that_mean_the_same_are_one() {
    let text = |query: &str| Filter::parse(query, &QueryLimits::default()).unwrap().text;
    for same in [
        &[r#"{"a":1,"b":2}"#, r#"{"b":2.0,"a":1}"#, r#"{"$and":[{"b":{"$in":[2,2]}},{"$and":[{"a":{"$eq":1}}]},{"a":1}]}"#][..],
        &[
            r#"{"a":{"$in":[2,1]}}"#,
            r#"{"$or":[{"a":1},{"a":2}]}"#,
            r#"{"$or":[{"a":{"$in":[1]}},{"$or":[{"a":2.0},{"a":1}]}]}"#,
            r#"{"$nor":[{"a":{"$nin":[1,2]}}]}"#,
        ],
        &[
            r#"{"a":{"$nin":[1,2]}}"#,
            r#"{"a":{"$ne":1},"$nor":[{"a":2}]}"#,
            r#"{"$nor":[{"a":1},{"a":2}]}"#,
            r#"{"a":{"$not":{"$in":[2,1]}}}"#,
        ],
        &[r#"{"a":{"$exists":false}}"#, r#"{"a":{"$not":{"$exists":true}}}"#, r#"{"a":{"$exists":0}}"#],
        &[r#"{"a":{"$not":{"$not":{"$gt":1}}}}"#, r#"{"a":{"$gt":1}}"#],
        &[r#"{"a":{"$gte":null}}"#, r#"{"a":null}"#, r#"{"a":{"$all":[null]}}"#],
        &[
            r#"{"a":{"$in":[]}}"#,
            r#"{"a":{"$all":[]}}"#,
            r#"{"a":{"$gt":null}}"#,
            r#"{"$and":[{"a":1},{"b":{"$in":[]}}]}"#,
            r#"{"a":{"$elemMatch":{"b":{"$in":[]}}}}"#,
        ],
        &["{}", r#"{"$or":[{"a":1},{}]}"#, r#"{"a":{"$nin":[]}}"#, r#"{"$comment":"x"}"#],
        &[r#"{"a":{"$regex":"x","$options":"mi"}}"#, r#"{"a":{"$options":"imm","$regex":"x"}}"#],
        &[r#"{"a":{"$date":0}}"#, r#"{"a":{"$date":"1970-01-01T00:00:00Z"}}"#],
        &[r#"{"a":{"$type":"number"}}"#, r#"{"a":{"$type":["int","long",1]}}"#],
        &[r#"{"a":{"$mod":[-4,1]}}"#, r#"{"a":{"$mod":[4.5,1]}}"#],
        &[
            r#"{"p":{"$geoWithin":{"$polygon":[[0,0],[1,0],[0,1]]}}}"#,
            r#"{"p":{"$geoWithin":{"$geometry":{"coordinates":[[[0,0],[1,0],[0,1],[0,0]]],"type":"Polygon"}}}}"#,
        ],
    ] {
        for query in same {
            assert_eq!(text(query), text(same[0]), "{query} and {}", same[0]);
        }
    }
    // Not the same where arrays are concerned: each bound may hold for an element of its own.
    assert_ne!(text(r#"{"a":{"$gt":1,"$lt":5}}"#), text(r#"{"a":{"$elemMatch":{"$gt":1,"$lt":5}}}"#));
    assert_ne!(text(r#"{"$and":[{"a":1},{"a":2}]}"#), text(r#"{"a":{"$in":[1,2]}}"#));
    assert_eq!(&*text(r#"{"b":{"$gt":1},"a":"x"}"#), r#"{"$and":[{"a":"x"},{"b":{"$gt":1}}]}"#);
}

fn places() -> impl Strategy<Value = (i32, i32)> {
    (-12..=12i32, -12..=12i32)
}

fn within(shape: &str, (x, y): (i32, i32)) -> bool {
    let filter = Filter::parse(&format!(r#"{{"p":{{"$geoWithin":{shape}}}}}"#), &QueryLimits::default()).unwrap();
    filter.matches(&document(&format!(r#"{{"p":[{x},{y}]}}"#)))
}

fn polygon(rings: &[&[(i32, i32)]]) -> String {
    let ring = |ring: &&[(i32, i32)]| {
        let points: Vec<String> = ring.iter().chain(ring.first()).map(|(x, y)| format!("[{x},{y}]")).collect();
        format!("[{}]", points.join(","))
    };
    let rings: Vec<String> = rings.iter().map(ring).collect();
    format!(r#"{{"$geometry":{{"type":"Polygon","coordinates":[{}]}}}}"#, rings.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12 * ProptestConfig::default().cases, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_triangle_is_what_lies_on_one_side_of_its_edges(a in places(), b in places(), c in places(), p in places()) {
        let turn = |a: (i32, i32), b: (i32, i32)| ((b.0 - a.0) * (p.1 - a.1) - (b.1 - a.1) * (p.0 - a.0)).signum();
        let turns = [turn(a, b), turn(b, c), turn(c, a)];
        let flat = (b.0 - a.0) * (c.1 - a.1) == (b.1 - a.1) * (c.0 - a.0);
        prop_assume!(!flat);
        let inside = !(turns.contains(&1) && turns.contains(&-1));
        prop_assert_eq!(within(&polygon(&[&[a, b, c]]), p), inside);
    }

    #[test]
    fn an_angle_is_two_boxes_and_a_hole_is_missing_but_for_its_edge((x, y) in places(), width in 2..8i32, height in 2..8i32, p in places()) {
        let boxed = |left: i32, lower: i32, right: i32, upper: i32| within(&format!(r#"{{"$box":[[{left},{lower}],[{right},{upper}]]}}"#), p);
        let (right, upper) = (x + 2 * width, y + 2 * height);
        let angle = [(x, y), (right, y), (right, y + height), (x + width, y + height), (x + width, upper), (x, upper)];
        prop_assert_eq!(within(&polygon(&[&angle]), p), boxed(x, y, right, y + height) || boxed(x, y, x + width, upper));

        let outline = [(x, y), (right, y), (right, upper), (x, upper)];
        let hole = [(x + 1, y + 1), (x + 1, upper - 1), (right - 1, upper - 1), (right - 1, y + 1)];
        let in_hole = x + 1 < p.0 && p.0 < right - 1 && y + 1 < p.1 && p.1 < upper - 1;
        prop_assert_eq!(within(&polygon(&[&outline, &hole]), p), boxed(x, y, right, upper) && !in_hole);
    }

    #[test]
    fn distances_are_those_of_the_vectors(a in (-180.0..180.0f64, -90.0..90.0f64), b in (-180.0..180.0f64, -90.0..90.0f64), metres in 1.0..2e7f64) {
        let vector = |(longitude, latitude): (f64, f64)| {
            let (longitude, latitude) = (longitude.to_radians(), latitude.to_radians());
            [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()]
        };
        let (u, v) = (vector(a), vector(b));
        let dot: f64 = u.iter().zip(&v).map(|(u, v)| u * v).sum();
        let cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
        let distance = cross.iter().map(|part| part * part).sum::<f64>().sqrt().atan2(dot) * 6_378_100.0;
        prop_assume!((distance - metres).abs() > 0.01);
        let (here, there) = (format!("[{},{}]", a.0, a.1), document(&format!(r#"{{"p":{{"latitude":{},"longitude":{}}}}}"#, b.1, b.0)));
        let near = format!(r#"{{"p":{{"$nearSphere":{{"$geometry":{{"type":"Point","coordinates":{here}}},"$maxDistance":{metres}}}}}}}"#);
        let sphere = format!(r#"{{"p":{{"$geoWithin":{{"$centerSphere":[{here},{}]}}}}}}"#, metres / 6_378_100.0);
        for query in [near, sphere] {
            prop_assert_eq!(Filter::parse(&query, &QueryLimits::default()).unwrap().matches(&there), distance <= metres, "{}", query);
        }
    }
}

//! What the benches of matching share: lots of an auction and the standing queries of those who watch them.
//!
//! A document has 10 fields and about 300 bytes of JSON. An update changes two of its fields, price and score.
//!
//! The selective queries: 42 % one owner (of 400 000), 32 % one city (of 1 000) and a narrow range of prices (0.3 % of all),
//! 16 % a narrow range of scores (0.0006 % of all), 10 % one tag (of 20 000; a lot has three) and one kind (of 20). Of a million,
//! a change touches between 5 and 6: those that match its image before, after, or both. The mixed queries: the same in the shares 40, 30, 15 and 10 %, and 5 % which
//! no index entry fits: two conditions with `$ne` and `$nin`.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use dataflows::change::{Change, Image, Operation, Writer};
use dataflows::document::{DateFields, DocumentLimits};
use dataflows::engine::QueryId;
use dataflows::index::{IndexOptions, QueryIndex};
use dataflows::query::ast::Predicate;
use dataflows::query::{Filter, QueryLimits};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Reproducible random numbers (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % sides
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Mix {
    Selective,
    Mixed,
}

pub fn query(dice: &mut Dice, mix: Mix) -> String {
    let shares = if mix == Mix::Selective { [42, 74, 90, 100] } else { [40, 70, 85, 95] };
    let kind = dice.roll(100);
    if kind < shares[0] {
        format!(r#"{{"owner":"user-{:06}"}}"#, dice.roll(400_000))
    } else if kind < shares[1] {
        let from = dice.roll(995_000) as f64 / 100.0;
        format!(r#"{{"city":"city-{:03}","price":{{"$gte":{from},"$lt":{}}}}}"#, dice.roll(1_000), from + 30.0)
    } else if kind < shares[2] {
        let from = dice.roll(1_000_000);
        format!(r#"{{"score":{{"$gte":{from},"$lt":{}}}}}"#, from + 6)
    } else if kind < shares[3] {
        format!(r#"{{"tags":"tag-{:05}","kind":{}}}"#, dice.roll(20_000), dice.roll(20))
    } else {
        format!(r#"{{"state":{{"$ne":"open"}},"kind":{{"$nin":[{},{},{}]}}}}"#, dice.roll(20), dice.roll(20), dice.roll(20))
    }
}

pub fn predicate(dice: &mut Dice, mix: Mix) -> Arc<Predicate> {
    Filter::parse(&query(dice, mix), &QueryLimits::default()).expect("a query").predicate
}

/// One lot; the numbers that an update changes come from outside.
pub fn document(lot: u64, version: u64, price: u64, score: u64) -> String {
    let mut own = Dice(lot);
    let tags: Vec<String> = (0..3).map(|_| format!("\"tag-{:05}\"", own.roll(20_000))).collect();
    format!(
        concat!(
            r#"{{"id":"/db/lots/{:08}","version":{},"owner":"user-{:06}","city":"city-{:03}","price":{},"score":{},"tags":[{}],"#,
            r#""kind":{},"state":"{}","title":"A lot of some believable description, the {}th, in good condition and with its papers, signed"}}"#
        ),
        lot,
        version,
        own.roll(400_000),
        own.roll(1_000),
        price as f64 / 100.0,
        score,
        tags.join(","),
        own.roll(20),
        if own.roll(10) == 0 { "sold" } else { "open" },
        lot
    )
}

pub fn image(json: &str) -> Arc<Image> {
    let text = Bytes::copy_from_slice(json.as_bytes());
    Arc::new(Image::parse(text, &DateFields::default(), DocumentLimits::default()).expect("a document"))
}

/// Updates of random lots, both images.
pub fn changes(count: usize) -> Vec<Change> {
    let mut dice = Dice(7);
    let (app, bucket): (Arc<str>, Arc<str>) = scope();
    (0..count)
        .map(|commit| {
            let lot = dice.roll(1_000_000);
            let mut version = |version| {
                let (price, score) = (dice.roll(1_000_000), dice.roll(1_000_000));
                image(&document(lot, version, price, score))
            };
            Change {
                commit: commit as u64 + 1,
                at: 0,
                app: app.clone(),
                bucket: bucket.clone(),
                id: "/db/lots/1".into(),
                operation: Operation::Update,
                before: Some(version(1)),
                after: Some(version(2)),
                schema_version: 0,
                control: 0,
                writer: Writer::default(),
                batch: None,
            }
        })
        .collect()
}

pub fn scope() -> (Arc<str>, Arc<str>) {
    ("auction".into(), "lots".into())
}

/// An index with so many queries; `scan` makes it put every change to every query.
pub fn index(count: u64, mix: Mix, scan: bool) -> QueryIndex {
    let (app, bucket) = scope();
    let mut index = QueryIndex::new(IndexOptions { residual_queries: usize::MAX, scan });
    let mut dice = Dice(1);
    for number in 0..count {
        index.insert(&app, &bucket, QueryId(number), predicate(&mut dice, mix)).expect("within the quota");
    }
    index
}

pub fn brief() -> bool {
    std::env::args().any(|argument| argument == "--brief") || std::env::var_os("TIDEGATE_BENCH_BRIEF").is_some_and(|value| value == "1")
}

/// The sizes behind `--queries`.
pub fn wished_sizes() -> Option<Vec<u64>> {
    let list = std::env::args().skip_while(|argument| argument != "--queries").nth(1)?;
    Some(list.split(',').map(|size| size.parse().expect("a number of queries")).collect())
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Processor time of this thread; neighbours on a shared machine do not count. Where the kernel does not tell, the time that passed.
pub fn processor_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let passed = START.elapsed();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.as_deref().and_then(|text| text.split(' ').next()).and_then(|first| first.parse().ok());
    nanoseconds.map_or(passed, Duration::from_nanos)
}

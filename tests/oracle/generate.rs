//! Random documents and random queries over every operator, from a seed.
//!
//! For any test: `#[path = "oracle/generate.rs"] mod generate;`. The domain is small, so that queries find something: few names, few
//! values of each type, and the values of queries are those of documents. All comes as JSON text, since the order of fields counts in
//! whole-object equality; who needs a `serde_json::Value` parses it.
#![allow(dead_code, unreachable_pub)]

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Makes documents and queries. The same seed makes the same ones.
pub struct Generator {
    random: StdRng,
    geo: bool,
}

const NAMES: &[&str] = &["a", "b", "c", "d"];
const PATHS: &[&str] = &[
    "a", "b", "c", "d", "a", "b", "a.b", "b.a", "a.c", "c.d", "a.b.c", "b.a.d", "a.0", "a.1", "b.0", "a.0.b", "a.1.b", "b.0.a", "a.b.0",
    "a.0.0", "b.1.0.a", "d.d",
];
const NUMBERS: &[&str] =
    &["0", "1", "2", "3", "4", "5", "-1", "-2", "-5", "7", "0.5", "1.5", "-2.5", "2.0", "4294967296", "-3000000000", "1e20"];
const STRINGS: &[&str] = &["", "a", "b", "ab", "abc", "Ab", "B", "a b", "a\\nb", "ä", "1", "2020-01-01T00:00:00Z"];
const DATES: &[&str] = &["0", "1", "5", "1577836800000", "\"2020-01-01T00:00:00Z\"", "\"1970-01-01T00:00:00.005Z\"", "-1000"];
const PATTERNS: &[(&str, &str)] = &[
    ("^a", ""),
    ("^a", "i"),
    ("b", ""),
    ("b$", ""),
    ("^b", "m"),
    ("a.b", ""),
    ("a.b", "s"),
    ("a b", "x"),
    ("^A", "im"),
    ("^$", ""),
    ("[ab]c?$", ""),
    ("\\\\d", ""),
    ("^(a|b)+$", "i"),
];
const TYPES: &[&str] = &[
    "\"double\"",
    "\"int\"",
    "\"long\"",
    "\"number\"",
    "\"string\"",
    "\"object\"",
    "\"array\"",
    "\"bool\"",
    "\"null\"",
    "\"date\"",
    "2",
    "3",
    "4",
    "8",
    "9",
    "10",
    "16",
    "18",
    "1",
];

impl Generator {
    /// Everything, points and shapes as well.
    pub fn new(seed: u64) -> Generator {
        Generator { random: StdRng::seed_from_u64(seed), geo: true }
    }

    /// Without `$geoWithin` and `$nearSphere`, for references that know none.
    pub fn without_geo(seed: u64) -> Generator {
        Generator { geo: false, ..Generator::new(seed) }
    }

    /// The source of chance, for what else a test decides.
    pub fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    /// A document without metadata: an object of the names `a` to `d` (each may be missing) and, with geo, `p`.
    pub fn document(&mut self) -> String {
        let mut fields = Vec::new();
        for name in NAMES {
            if self.random.random_bool(0.75) {
                fields.push(format!("\"{name}\":{}", self.value(3)));
            }
        }
        if self.geo && self.random.random_bool(0.8) {
            fields.push(format!("\"p\":{}", self.place()));
        }
        format!("{{{}}}", fields.join(","))
    }

    /// A query of one to three conditions, some of them nested.
    pub fn query(&mut self) -> String {
        self.conditions(3)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(&mut self.random).unwrap_or_else(|| unreachable!("no choice"))
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    fn times(&mut self, from: usize, to: usize, mut one: impl FnMut(&mut Self) -> String) -> String {
        let count = self.random.random_range(from..=to);
        (0..count).map(|_| one(self)).collect::<Vec<_>>().join(",")
    }

    fn scalar(&mut self) -> String {
        match self.random.random_range(0..12) {
            0..6 => self.pick(NUMBERS).to_owned(),
            6..9 => format!("\"{}\"", self.pick(STRINGS)),
            9 => self.pick(&["true", "false"]).to_owned(),
            10 => "null".to_owned(),
            _ => format!("{{\"$date\":{}}}", self.pick(DATES)),
        }
    }

    fn value(&mut self, depth: usize) -> String {
        match self.random.random_range(0..10) {
            0..3 if depth > 0 => format!("[{}]", self.times(0, 3, |this| this.value(depth - 1))),
            3..6 if depth > 0 => self.object(depth - 1),
            _ => self.scalar(),
        }
    }

    fn object(&mut self, depth: usize) -> String {
        let mut names: Vec<&str> = Vec::new();
        for _ in 0..self.random.random_range(0..=2) {
            let name = if self.chance(8) { self.pick(&["0", "1"]) } else { self.pick(NAMES) };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let fields: Vec<String> = names.into_iter().map(|name| format!("\"{name}\":{}", self.value(depth))).collect();
        format!("{{{}}}", fields.join(","))
    }

    fn coordinates(&mut self) -> (f64, f64) {
        (f64::from(self.random.random_range(-8..=8)) / 2.0, f64::from(self.random.random_range(-8..=8)) / 2.0)
    }

    fn place(&mut self) -> String {
        let (longitude, latitude) = self.coordinates();
        match self.random.random_range(0..6) {
            0..2 => format!("{{\"latitude\":{latitude},\"longitude\":{longitude}}}"),
            2 => format!("[{longitude},{latitude}]"),
            3 => format!("{{\"type\":\"Point\",\"coordinates\":[{longitude},{latitude}]}}"),
            4 => {
                let (x, y) = self.coordinates();
                format!("[[{longitude},{latitude}],[{x},{y}]]")
            }
            _ => self.value(1),
        }
    }

    fn conditions(&mut self, depth: usize) -> String {
        let mut fields: Vec<(String, String)> = Vec::new();
        for _ in 0..self.pick(&[1usize, 1, 1, 2, 2, 3]) {
            let (name, condition) = if depth > 0 && self.chance(22) {
                let name = self.pick(&["$and", "$or", "$or", "$nor"]);
                (name.to_owned(), format!("[{}]", self.times(1, 3, |this| this.conditions(depth - 1))))
            } else if self.geo && self.chance(12) {
                ("p".to_owned(), self.geo_condition())
            } else {
                (self.pick(PATHS).to_owned(), self.condition(depth))
            };
            if fields.iter().all(|(other, _)| *other != name) {
                fields.push((name, condition));
            }
        }
        let fields: Vec<String> = fields.into_iter().map(|(name, condition)| format!("\"{name}\":{condition}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    fn condition(&mut self, depth: usize) -> String {
        if self.chance(20) { self.value(2) } else { self.operators(depth) }
    }

    fn operators(&mut self, depth: usize) -> String {
        let mut operators: Vec<String> = Vec::new();
        for _ in 0..self.pick(&[1usize, 1, 1, 2, 2]) {
            let operator = self.operator(depth);
            let name = |operator: &str| operator.split(':').next().map(str::to_owned);
            if operators.iter().all(|other| name(other) != name(&operator)) {
                operators.push(operator);
            }
        }
        format!("{{{}}}", operators.join(","))
    }

    fn operator(&mut self, depth: usize) -> String {
        match self.random.random_range(0..20) {
            0 => format!("\"$eq\":{}", self.value(2)),
            1 => format!("\"$ne\":{}", self.value(2)),
            2..7 => {
                let name = self.pick(&["$gt", "$gte", "$lt", "$lte"]);
                let operand = if self.chance(85) { self.scalar() } else { self.value(2) };
                format!("\"{name}\":{operand}")
            }
            7 | 8 => {
                let most = if self.chance(20) { 20 } else { 4 };
                format!("\"$in\":[{}]", self.times(0, most, |this| this.value(1)))
            }
            9 => format!("\"$nin\":[{}]", self.times(0, 4, |this| this.value(1))),
            10 => format!("\"$exists\":{}", self.pick(&["true", "false"])),
            11 if depth > 0 && self.chance(30) => {
                format!("\"$all\":[{}]", self.times(1, 2, |this| format!("{{\"$elemMatch\":{}}}", this.elem_match(depth - 1))))
            }
            11 => format!("\"$all\":[{}]", self.times(0, 2, |this| this.value(1))),
            12 => format!("\"$size\":{}", self.random.random_range(0..4)),
            13 => {
                let divisor = self.pick(&["2", "3", "-3", "4", "2.9"]);
                format!("\"$mod\":[{divisor},{}]", self.pick(&["0", "1", "-1", "2", "-2"]))
            }
            14 => {
                let (source, options) = self.pick(PATTERNS);
                if options.is_empty() {
                    format!("\"$regex\":\"{source}\"")
                } else {
                    format!("\"$regex\":\"{source}\",\"$options\":\"{options}\"")
                }
            }
            15 | 16 if depth > 0 => format!("\"$elemMatch\":{}", self.elem_match(depth - 1)),
            17 | 18 if self.chance(30) => format!("\"$type\":[{}]", self.times(1, 3, |this| this.pick(TYPES).to_owned())),
            17 => format!("\"$type\":{}", self.pick(TYPES)),
            18 | 19 if depth > 0 => format!("\"$not\":{}", self.operators(depth - 1)),
            _ => format!("\"$gt\":{}", self.scalar()),
        }
    }

    fn elem_match(&mut self, depth: usize) -> String {
        if self.chance(50) { self.conditions(depth) } else { self.operators(depth) }
    }

    fn geo_condition(&mut self) -> String {
        let (x, y) = self.coordinates();
        let (width, height) = (f64::from(self.random.random_range(1..=8)) / 2.0, f64::from(self.random.random_range(1..=8)) / 2.0);
        let within = |shape: String| format!("{{\"$geoWithin\":{shape}}}");
        match self.random.random_range(0..5) {
            0 => within(format!("{{\"$box\":[[{x},{y}],[{},{}]]}}", x + width, y + height)),
            1 => {
                let (right, top, middle) = (x + width, y + height, x + width / 2.0);
                let outline = format!("[[{x},{y}],[{right},{y}],[{right},{top}],[{middle},{}],[{x},{top}],[{x},{y}]]", y + height / 2.0);
                within(format!("{{\"$geometry\":{{\"type\":\"Polygon\",\"coordinates\":[{outline}]}}}}"))
            }
            2 => within(format!("{{\"$polygon\":[[{x},{y}],[{},{y}],[{x},{}]]}}", x + width, y + height)),
            3 => within(format!("{{\"$centerSphere\":[[{x},{y}],{}]}}", width * 0.02)),
            _ => {
                let centre = format!("\"$geometry\":{{\"type\":\"Point\",\"coordinates\":[{x},{y}]}}");
                match self.random.random_range(0..5) {
                    0 => format!("{{\"$nearSphere\":{{{centre}}}}}"),
                    1 => format!("{{\"$nearSphere\":{{{centre}}},\"$maxDistance\":{}}}", width * 100_000.0),
                    _ => format!("{{\"$nearSphere\":{{{centre},\"$maxDistance\":{}}}}}", width * 100_000.0),
                }
            }
        }
    }
}

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
    /// What stood under which name in the documents so far: operands are taken from here, so that queries find something.
    seen: Vec<(&'static str, String)>,
    /// The name that the operand in the making will be compared with
    about: &'static str,
}

const NAMES: &[&str] = &["a", "b", "c"];
const PATHS: &[&str] = &[
    "a", "b", "c", "a", "b", "c", "a.b", "b.a", "a.c", "c.a", "b.c", "a.a", "a.b.c", "b.a.c", "a.0", "a.1", "b.0", "a.0.b", "a.1.b",
    "b.0.a", "a.b.0", "a.0.0", "b.1.0.a",
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
        Generator { random: StdRng::seed_from_u64(seed), geo: true, seen: Vec::new(), about: "" }
    }

    /// Without `$geoWithin` and `$nearSphere`, for references that know none.
    pub fn without_geo(seed: u64) -> Generator {
        Generator { geo: false, ..Generator::new(seed) }
    }

    /// The source of chance, for what else a test decides.
    pub fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    /// A document without metadata: an object of the names `a` to `c` (each may be missing) and, with geo, `p`.
    /// Queries made afterwards ask for what stands in the documents made before.
    pub fn document(&mut self) -> String {
        let mut fields = Vec::new();
        for name in NAMES {
            if self.random.random_bool(0.85) {
                fields.push(format!("\"{name}\":{}", self.noted(name, 3)));
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

    /// A value of a document, noted under its name; so are the elements of an array.
    fn noted(&mut self, name: &'static str, depth: usize) -> String {
        let value = match self.random.random_range(0..10) {
            0..3 if depth > 0 => {
                let elements = self.times(0, 3, |this| this.noted(name, depth - 1));
                format!("[{elements}]")
            }
            3..6 if depth > 0 => {
                let fields = self.names().into_iter().map(|name| format!("\"{name}\":{}", self.noted(name, depth - 1))).collect::<Vec<_>>();
                format!("{{{}}}", fields.join(","))
            }
            _ => self.scalar(),
        };
        if self.seen.len() > 200 {
            self.seen.clear();
        }
        // An empty object is a rare question, although it is a common answer.
        if value != "{}" || self.chance(20) {
            self.seen.push((name, value.clone()));
        }
        value
    }

    /// A value of a query.
    fn value(&mut self, depth: usize) -> String {
        if self.chance(60) {
            let about = self.about;
            let seen: Vec<usize> = (0..self.seen.len()).filter(|&at| self.seen[at].0 == about).collect();
            if let Some(at) = seen.choose(&mut self.random) {
                return self.seen[*at].1.clone();
            }
        }
        match self.random.random_range(0..10) {
            0..2 if depth > 0 => format!("[{}]", self.times(0, 3, |this| this.value(depth - 1))),
            2..4 if depth > 0 => self.object(depth - 1),
            _ => self.scalar(),
        }
    }

    fn object(&mut self, depth: usize) -> String {
        let fields: Vec<String> = self.names().into_iter().map(|name| format!("\"{name}\":{}", self.value(depth))).collect();
        format!("{{{}}}", fields.join(","))
    }

    fn names(&mut self) -> Vec<&'static str> {
        let mut names: Vec<&str> = Vec::new();
        for _ in 0..self.pick(&[0usize, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]) {
            let name = if self.chance(8) { self.pick(&["0", "1"]) } else { self.pick(NAMES) };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
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
        for _ in 0..self.pick(&[1usize, 1, 1, 1, 2, 2, 3]) {
            let (name, condition) = if depth > 0 && self.chance(22) {
                let name = self.pick(&["$and", "$or", "$or", "$nor"]);
                (name.to_owned(), format!("[{}]", self.times(1, 3, |this| this.conditions(depth - 1))))
            } else if self.geo && self.chance(12) {
                ("p".to_owned(), self.geo_condition())
            } else {
                let path = self.pick(PATHS);
                self.about = path.rsplit('.').find(|part| NAMES.contains(part)).unwrap_or_default();
                (path.to_owned(), self.condition(depth))
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
                let operand = if self.chance(50) { self.scalar() } else { self.value(2) };
                format!("\"{name}\":{operand}")
            }
            7 | 8 => {
                let most = if self.chance(20) { 20 } else { 4 };
                format!("\"$in\":[{}]", self.times(0, most, |this| this.value(1)))
            }
            9 => format!("\"$nin\":[{}]", self.times(0, 4, |this| this.value(1))),
            10 => format!("\"$exists\":{}", self.pick(&["true", "false"])),
            11 if depth > 0 && self.chance(20) => {
                format!("\"$all\":[{}]", self.times(1, 2, |this| format!("{{\"$elemMatch\":{}}}", this.elem_match(depth - 1))))
            }
            11 => {
                let fewest = usize::from(self.chance(95));
                format!("\"$all\":[{}]", self.times(fewest, 2, |this| this.value(1)))
            }
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

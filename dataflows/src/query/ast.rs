//! The query language as a tree. What the parser makes of the text, and what the normal form, the
//! evaluation and the index read.
//!
//! The tree has fewer forms than the language: `$ne` is `Not(Eq)`, `$nin` is `Not(In)`, `$nor` is
//! `Not(Or)`, `$exists: false` is `Not(Exists)`, `$all` is an `And` of its parts. MongoDB defines them so.

use crate::document::{Number, name_hash};
use regex::Regex;

/// A condition on a document (or, inside `$elemMatch`, on an element).
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// Every document
    True,
    /// No document
    False,
    /// All of them
    And(Vec<Predicate>),
    /// At least one of them
    Or(Vec<Predicate>),
    /// Not this one
    Not(Box<Predicate>),
    /// A test on what stands at a path
    Field(Path, Test),
}

/// A dotted path. Empty inside an `$elemMatch` on values: the element itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Path {
    /// The parts between the dots
    pub components: Box<[Component]>,
}

/// One part of a dotted path.
#[derive(Debug, Clone, Eq)]
pub struct Component {
    /// The name as written
    pub name: Box<str>,
    /// [`name_hash`] of the name
    pub hash: u32,
    /// The position in an array, where the name is a canonical decimal number
    pub position: Option<u32>,
}

/// A test on what stands at a path.
///
/// Where an array stands at the end of the path, every test but `Exists`, `Size` and `ElemMatch` holds
/// if it holds for an element or for the array as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Equal, `null` also to a missing field
    Eq(Literal),
    /// Equal to one of these; sorted and without repeats in the normal form
    In(Vec<Literal>),
    /// Compares so, within the operand's type only
    Compare(Comparison, Literal),
    /// Something stands there, be it `null`
    Exists,
    /// The value has one of these types
    Type(TypeSet),
    /// A string matches
    Regex(Pattern),
    /// A number, cut to an integer, leaves this remainder
    Mod {
        /// Never zero
        divisor: i64,
        /// Has the sign of the dividend, as in MongoDB
        remainder: i64,
    },
    /// An array of this length
    Size(u64),
    /// An array with an element for which the predicate holds
    ElemMatch(Elements, Box<Predicate>),
    /// A point within the shape
    GeoWithin(Shape),
    /// A point no further from this one than so many metres
    Near {
        /// Where from
        centre: Point,
        /// In metres
        max_distance: f64,
    },
}

/// Which elements an `$elemMatch` looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elements {
    /// Conditions on fields: only elements that are objects (or arrays, whose positions are the fields)
    Objects,
    /// Operators: the element as it is, arrays not opened once more. The predicate's paths are empty.
    Values,
}

/// The four orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `$lt`
    Less,
    /// `$lte`
    LessOrEqual,
    /// `$gt`
    Greater,
    /// `$gte`
    GreaterOrEqual,
}

/// An operand.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// In canonical form
    Number(Number),
    /// A string
    String(Box<str>),
    /// `{"$date": …}`, milliseconds since 1970
    Date(i64),
    /// An array
    Array(Box<[Literal]>),
    /// A whole object, equal only with the same fields in the same order
    Object(Box<[(Box<str>, Literal)]>),
}

/// The types that `$type` can name, as a set of [`TypeSet`] bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeSet(pub u16);

/// A regular expression with its options.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// As written
    pub source: Box<str>,
    /// The letters of `i m s x` that were given, sorted
    pub options: Box<str>,
    /// Ready to run; linear time, bounded size
    pub regex: Regex,
    /// Bytes that one automaton of it has at most
    pub compiled: usize,
}

/// A position on the earth, degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// -180 to 180
    pub longitude: f64,
    /// -90 to 90
    pub latitude: f64,
}

/// A shape for `$geoWithin`.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Rings of `$geometry: Polygon`: the outline, then holes; points on an edge are inside
    Polygon(Vec<Vec<Point>>),
    /// `$box`: lower left, upper right
    Box(Point, Point),
    /// `$centerSphere`: centre, radius in radians
    CenterSphere(Point, f64),
}

impl Path {
    /// Splits a dotted path.
    pub fn new(dotted: &str) -> Path {
        Path { components: dotted.split('.').map(Component::new).collect() }
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, component) in self.components.iter().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            f.write_str(&component.name)?;
        }
        Ok(())
    }
}

impl Component {
    /// One part of a path.
    pub fn new(name: &str) -> Component {
        let canonical = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
        Component { name: name.into(), hash: name_hash(name), position: if canonical { name.parse().ok() } else { None } }
    }
}

impl PartialEq for Component {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl std::hash::Hash for Component {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl PartialOrd for Component {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Component {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name.cmp(&other.name)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.options == other.options
    }
}

//! Values and operands as (class, 64 bits): what entries are found by and what compiled checks compare.
//!
//! Within a class the order of keys is the order of values, and equal keys mean equal values, except
//! where said otherwise. Numbers are keyed as doubles; integers that no double equals have a class of
//! their own for equality and are compared exactly with ranges.

use crate::document::{Document, Number, Tag};
use crate::query::ast::Literal;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::OnceLock;

/// What a key is about. The first group are classes of values, the second of entries only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub(super) enum Class {
    /// `null`; as an entry also: nothing stands there
    #[default]
    Null,
    Bool,
    /// A number that is a double
    Number,
    /// An integer that is no double: the key has no order, see [`big`]
    BigInt,
    Date,
    /// A string: the key is its number in the table of strings, or [`UNKNOWN`]; no order
    String,
    /// An array or object: the key is its hash, so a match must be verified
    Whole,

    /// Something stands there
    Present,
    /// An array was opened on the way: perhaps it yields nothing, not even a missing field
    Opened,
    /// An array of this length
    Size,
    /// A value that is no number
    OffNumber,
    /// A value that is no instant
    OffDate,
    /// A string that starts so; the key is the prefix's number in the table of strings
    Prefix,
    /// A string that contains this, letters of ASCII in either case
    Literal,
    /// Intervals of numbers
    NumberRange,
    /// Intervals of instants
    DateRange,
    /// Intervals of strings by their first eight bytes, so a match must be verified
    TextRange,
    /// A cell of the globe that a shape touches, see [`super::cells`]; a match must be verified
    Cell,
}

pub(super) const CLASSES: usize = Class::Cell as usize + 1;

/// Key of a string that is not in the table of strings: no query mentions it.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// Key of a string that was not looked up: no query compares it at this path.
pub(super) const UNASKED: u64 = u64::MAX - 1;

const SIGN: u64 = 1 << 63;

/// Integers below this are doubles, and so are their neighbours.
pub(super) const EXACT: f64 = 9_007_199_254_740_992.0;

#[inline]
pub(super) fn float(value: f64) -> u64 {
    // Adding zero makes -0 into 0.
    let bits = (value + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

pub(super) fn float_of(key: u64) -> f64 {
    f64::from_bits(if key & SIGN == 0 { !key } else { key & !SIGN })
}

#[inline]
pub(super) fn instant(milliseconds: i64) -> u64 {
    milliseconds as u64 ^ SIGN
}

pub(super) fn instant_of(key: u64) -> i64 {
    (key ^ SIGN) as i64
}

#[inline]
pub(super) fn number(value: Number) -> (Class, u64) {
    match value {
        Number::Float(value) => (Class::Number, float(value)),
        Number::Int(value) => {
            let magnitude = value.unsigned_abs();
            if magnitude < 1 << 53 || magnitude.leading_zeros() + magnitude.trailing_zeros() >= 11 {
                (Class::Number, float(value as f64))
            } else {
                (Class::BigInt, value as u64)
            }
        }
    }
}

/// The number of a key of class `Number` or `BigInt`, rounded: monotone, so good for looking up candidates.
#[inline]
pub(super) fn rounded(class: Class, key: u64) -> u64 {
    if class == Class::BigInt { float(key as i64 as f64) } else { key }
}

/// First eight bytes, in the order of strings.
pub(super) fn text(value: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = value.len().min(8);
    bytes[..length].copy_from_slice(&value.as_bytes()[..length]);
    u64::from_be_bytes(bytes)
}

/// Key of an operand of class [`Class::Whole`].
pub(super) fn whole_of_literal(literal: &Literal) -> u64 {
    let mut state = hashing().build_hasher();
    hash_literal(literal, &mut state);
    state.finish()
}

/// The same of the array or object at a place of a document.
pub(super) fn whole_of_value(document: &Document, at: u32) -> u64 {
    let mut state = hashing().build_hasher();
    hash_value(document, at, &mut state);
    state.finish()
}

fn hashing() -> &'static Hashing {
    static KEYS: OnceLock<Hashing> = OnceLock::new();
    KEYS.get_or_init(Hashing::default)
}

/// The hash of all tables here: keyed at random, since operands and documents come from outside.
#[derive(Clone)]
pub(super) struct Hashing(ahash::RandomState);

impl Default for Hashing {
    fn default() -> Self {
        let seeds = std::collections::hash_map::RandomState::new();
        let [a, b, c, d] = [1u8, 2, 3, 4].map(|number| seeds.hash_one(number));
        Hashing(ahash::RandomState::with_seeds(a, b, c, d))
    }
}

impl BuildHasher for Hashing {
    type Hasher = ahash::AHasher;

    #[inline]
    fn build_hasher(&self) -> ahash::AHasher {
        self.0.build_hasher()
    }
}

fn hash_literal(literal: &Literal, state: &mut impl Hasher) {
    match literal {
        Literal::Null => 0u8.hash(state),
        Literal::Bool(value) => (1u8, value).hash(state),
        Literal::Number(value) => hash_number(*value, state),
        Literal::String(value) => (3u8, &**value).hash(state),
        Literal::Date(value) => (4u8, value).hash(state),
        Literal::Array(elements) => {
            (5u8, elements.len() as u32).hash(state);
            elements.iter().for_each(|element| hash_literal(element, state));
        }
        Literal::Object(fields) => {
            (6u8, fields.len() as u32).hash(state);
            for (name, value) in fields {
                (**name).hash(state);
                hash_literal(value, state);
            }
        }
    }
}

fn hash_value(document: &Document, at: u32, state: &mut impl Hasher) {
    use crate::document::Value;
    let node = &document.nodes[at as usize];
    match (node.tag, document.value_at(at)) {
        (Tag::Array, _) => {
            (5u8, node.low).hash(state);
            let (mut at, end) = (at + 1, document.skip(at));
            while at < end {
                hash_value(document, at, state);
                at = document.skip(at);
            }
        }
        (Tag::Object, _) => {
            (6u8, node.low).hash(state);
            let (mut at, end) = (at + 1, document.skip(at));
            while at < end {
                document.name_at(at).1.hash(state);
                hash_value(document, at + 1, state);
                at = document.skip(at + 1);
            }
        }
        (_, Value::Bool(value)) => (1u8, value).hash(state),
        (_, Value::Number(value)) => hash_number(value, state),
        (_, Value::String(value)) => (3u8, value).hash(state),
        (_, Value::Date(value)) => (4u8, value).hash(state),
        _ => 0u8.hash(state),
    }
}

fn hash_number(value: Number, state: &mut impl Hasher) {
    match value.canonical() {
        Number::Int(value) => (2u8, value).hash(state),
        Number::Float(value) => (7u8, value.to_bits()).hash(state),
    }
}

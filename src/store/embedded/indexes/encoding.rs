//! Values as bytes whose order is that of the values, over all types, as `dataflows::query::order` defines it.
//!
//! One byte for the type, then: numbers as the nearest double, its bits turned so that they compare as unsigned, and
//! how far the number lies from it (integers beyond 2^53); strings with `00` as `00 FF` and `00 01` as their end; arrays and objects as
//! what is in them, then an end that is smaller than every type. No encoding begins another one, so they can stand one
//! behind the other, and the complement of one has the opposite order.

use dataflows::document::{Number, Value};
use dataflows::query::ast::{Literal, TypeSet};
use sha2::{Digest, Sha256};

/// The path leads nowhere: an array stands on the way whose elements are no objects. Equal to nothing, not even null.
pub(super) const NOTHING: u8 = 0x08;
pub(super) const NULL: u8 = 0x10;
const NUMBER: u8 = 0x20;
pub(super) const STRING: u8 = 0x30;
const OBJECT: u8 = 0x40;
const ARRAY: u8 = 0x50;
const BOOL: u8 = 0x60;
const DATE: u8 = 0x70;
/// A cell of the globe, see `cells`
pub(super) const CELL: u8 = 0x78;
const END: u8 = 0x01;

/// Longer encodings are cut to so many bytes, with a hash behind them: equal ones stay equal, different ones different, and
/// their order is that of the cut parts.
pub(super) const LONGEST: usize = 512;
/// Bytes of that hash.
const HASH: usize = 16;

/// Adds what encodes a value.
pub(super) fn value(to: &mut Vec<u8>, value_: Value<'_>) {
    match value_ {
        Value::Null => to.push(NULL),
        Value::Bool(value) => to.extend_from_slice(&[BOOL, u8::from(value)]),
        Value::Number(value) => number(to, value),
        Value::String(value) => string(to, value),
        Value::Date(at) => date(to, at),
        Value::Array(array) => {
            to.push(ARRAY);
            array.iter().for_each(|element| value(to, element));
            to.push(END);
        }
        Value::Object(object) => {
            to.push(OBJECT);
            for field in object.iter() {
                to.push(tag_of_value(field.value));
                text(to, field.name);
                value(to, field.value);
            }
            to.push(END);
        }
    }
}

/// Adds what encodes an operand: the same bytes as for the value that equals it.
pub(super) fn literal(to: &mut Vec<u8>, operand: &Literal) {
    match operand {
        Literal::Null => to.push(NULL),
        Literal::Bool(value) => to.extend_from_slice(&[BOOL, u8::from(*value)]),
        Literal::Number(value) => number(to, *value),
        Literal::String(value) => string(to, value),
        Literal::Date(at) => date(to, *at),
        Literal::Array(elements) => {
            to.push(ARRAY);
            elements.iter().for_each(|element| literal(to, element));
            to.push(END);
        }
        Literal::Object(fields) => {
            to.push(OBJECT);
            for (name, value) in fields {
                to.push(tag(value));
                text(to, name);
                literal(to, value);
            }
            to.push(END);
        }
    }
}

/// With which byte values of the operand's type begin: types compare by it.
pub(super) fn tag(operand: &Literal) -> u8 {
    match operand {
        Literal::Null => NULL,
        Literal::Bool(_) => BOOL,
        Literal::Number(_) => NUMBER,
        Literal::String(_) => STRING,
        Literal::Date(_) => DATE,
        Literal::Array(_) => ARRAY,
        Literal::Object(_) => OBJECT,
    }
}

/// With which bytes values of these types begin, in order.
pub(super) fn tags(types: TypeSet) -> Vec<u8> {
    let all = [
        (TypeSet::NULL, NULL),
        (TypeSet::NUMBER, NUMBER),
        (TypeSet::STRING, STRING),
        (TypeSet::OBJECT, OBJECT),
        (TypeSet::ARRAY, ARRAY),
        (TypeSet::BOOL, BOOL),
        (TypeSet::DATE, DATE),
    ];
    all.into_iter().filter(|(of, _)| of.0 & types.0 != 0).map(|(_, tag)| tag).collect()
}

fn tag_of_value(value: Value<'_>) -> u8 {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOL,
        Value::Number(_) => NUMBER,
        Value::String(_) => STRING,
        Value::Date(_) => DATE,
        Value::Array(_) => ARRAY,
        Value::Object(_) => OBJECT,
    }
}

fn number(to: &mut Vec<u8>, number: Number) {
    // Rounding keeps the order, so only numbers with the same double need what was rounded away.
    let (float, rest) = match number {
        Number::Int(int) => {
            let float = int as f64;
            (float, (i128::from(int) - float as i128) as i16)
        }
        // Negative zero is zero.
        Number::Float(float) => (float + 0.0, 0),
    };
    let bits = float.to_bits();
    let turned = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    to.push(NUMBER);
    to.extend_from_slice(&turned.to_be_bytes());
    to.extend_from_slice(&(rest as u16 ^ 0x8000).to_be_bytes());
}

fn string(to: &mut Vec<u8>, string: &str) {
    to.push(STRING);
    text(to, string);
}

fn text(to: &mut Vec<u8>, text: &str) {
    escaped(to, text);
    to.extend_from_slice(&[0, 1]);
}

/// What the encodings of all strings with this beginning begin with.
pub(super) fn string_prefix(prefix: &str) -> Vec<u8> {
    let mut bytes = vec![STRING];
    escaped(&mut bytes, prefix);
    bytes
}

fn escaped(to: &mut Vec<u8>, text: &str) {
    to.reserve(text.len() + 2);
    for byte in text.bytes() {
        to.push(byte);
        if byte == 0 {
            to.push(0xff);
        }
    }
}

fn date(to: &mut Vec<u8>, at: i64) {
    to.push(DATE);
    to.extend_from_slice(&(at as u64 ^ 1 << 63).to_be_bytes());
}

/// An encoding within the bound. True: it was cut.
pub(super) fn bounded(plain: &mut Vec<u8>) -> bool {
    if plain.len() <= LONGEST {
        return false;
    }
    let hash = Sha256::digest(&*plain);
    plain.truncate(LONGEST);
    plain.extend(hash.iter().take(HASH));
    true
}

/// The smallest bytes behind all that begin so.
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    // Nothing but FF: no encoding and no key begins so.
    vec![0xff; prefix.len() + 1]
}

/// The complement.
pub(super) fn turn(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use dataflows::document::{DateField, DateFields, Document, DocumentLimits};
    use dataflows::query::order::{compare_value, compare_values};
    use dataflows::query::sort::Direction;
    use dataflows::query::sort::key;
    use proptest::prelude::*;

    fn numbers() -> impl Strategy<Value = String> {
        let near = prop::sample::select(vec![0i64, 1 << 53, -(1 << 53), 1 << 62, i64::MAX - 3, i64::MIN + 3]);
        prop_oneof![
            (near, -3i64..=3).prop_map(|(base, more)| base.saturating_add(more).to_string()),
            any::<i64>().prop_map(|int| int.to_string()),
            any::<f64>().prop_filter("JSON has no others", |float| float.is_finite()).prop_map(|float| format!("{float:e}")),
            prop::sample::select(vec![
                "0.0",
                "-0.0",
                "0.5",
                "-0.5",
                "9007199254740992.0",
                "9223372036854775807",
                "9223372036854775808",
                "1e300",
                "5e-324"
            ])
            .prop_map(str::to_owned),
        ]
    }

    fn texts() -> impl Strategy<Value = String> {
        "[ab\\x00\\x01\u{ff}\u{10ffff}]{0,4}".prop_map(|text| serde_json::to_string(&text).unwrap())
    }

    fn values() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            numbers(),
            texts(),
            (-3i64..3).prop_map(|days| format!("\"1970-01-0{}T00:00:00Z\"", 4 + days)),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(|elements| format!("[{}]", elements.join(","))),
                prop::collection::btree_map("[ab]{1,2}", inner, 0..3).prop_map(|fields| {
                    let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
            ]
        })
    }

    /// `d` holds times, so dates take part.
    fn document(text: &str, dated: bool) -> Document {
        let dates = DateFields::new(vec![("d".into(), if dated { DateField::Date } else { DateField::List(DateField::Date.into()) })]);
        Document::parse(Bytes::from(format!("{{\"d\":{text}}}")), &dates, DocumentLimits::default()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16 * ProptestConfig::default().cases))]
        #[test]
        fn bytes_are_ordered_as_the_values(one in values(), other in values(), dated: (bool, bool)) {
            let (one, other) = (document(&one, dated.0), document(&other, dated.1));
            let (one, other) = (one.root().get("d").unwrap(), other.root().get("d").unwrap());
            let (mut left, mut right) = (Vec::new(), Vec::new());
            value(&mut left, one);
            value(&mut right, other);
            let order = compare_values(one, other);
            prop_assert_eq!(left.cmp(&right), order, "{:?} {:?}", one, other);
            prop_assert!(left == right || !left.starts_with(&right), "none begins another");
            let (mut turned_left, mut turned_right) = (left.clone(), right.clone());
            turn(&mut turned_left);
            turn(&mut turned_right);
            prop_assert_eq!(turned_left.cmp(&turned_right), order.reverse());
            let (mut cut_left, mut cut_right) = (left.clone(), right.clone());
            bounded(&mut cut_left);
            bounded(&mut cut_right);
            prop_assert_eq!(cut_left == cut_right, left == right);
        }

        #[test]
        fn operands_are_encoded_as_what_equals_them(text in values()) {
            let limits = dataflows::query::QueryLimits::default();
            let predicate = dataflows::query::parse(&format!("{{\"d\":{{\"$eq\":{text}}}}}"), &limits);
            let Ok(dataflows::query::ast::Predicate::Field(_, dataflows::query::ast::Test::Eq(operand))) = predicate else { return Ok(()) };
            // Not as a time: an operand is one only where it says so.
            let document = Document::parse(Bytes::from(format!("{{\"d\":{text}}}")), &DateFields::default(), DocumentLimits::default()).unwrap();
            let stored = key(document.root(), "d", Direction::Up);
            let whole = document.root().get("d").unwrap();
            let (mut left, mut right) = (Vec::new(), Vec::new());
            value(&mut left, whole);
            literal(&mut right, &operand);
            prop_assert_eq!(left == right, compare_value(whole, &operand).is_eq(), "{:?} {:?} {:?}", whole, operand, stored);
        }

        #[test]
        fn behind_is_behind_all_that_begin_so(prefix in prop::collection::vec(prop::sample::select(vec![0u8, 1, 0xfe, 0xff]), 1..4), rest in prop::collection::vec(any::<u8>(), 0..4)) {
            prop_assume!(prefix.iter().any(|byte| *byte != 0xff));
            let end = behind(&prefix);
            let longer = [&prefix[..], &rest[..]].concat();
            prop_assert!(longer < end);
            prop_assert!(!end.starts_with(&prefix));
        }
    }
}

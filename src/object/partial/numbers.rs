//! `$inc`, `$dec`, `$mul`, `$min`, `$max` and the bits `$and`, `$or`, `$xor`.
//!
//! Integers stay integers of 64 bits, and what does not fit is refused; with a fraction on either side it is IEEE arithmetic
//! on doubles. Null counts as 0, but for the smallest and the largest, where it does not count.

use super::node::Node;
use super::place::Place;
use super::typing::Typing;
use super::{Operation, Step, UpdateError};
use crate::schema::Kind;
use std::borrow::Cow;
use std::cmp::Ordering;

/// Beyond it doubles skip integers.
const EXACT: i128 = 1 << 53;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Integer(i128),
    Double(f64),
}

/// What the field can hold.
#[derive(Clone, Copy, PartialEq)]
enum Field {
    Integer,
    Double,
    /// Nothing is declared
    Any,
}

pub(super) fn apply<'t>(step: &'t Step, place: &mut Place<'t>) -> Result<(), UpdateError> {
    let field = match place.typing(step, &step.path)? {
        Typing::Declared(Kind::Integer, _) => Field::Integer,
        Typing::Declared(Kind::Double, _) => Field::Double,
        typing if typing.is_free() => Field::Any,
        _ => return Err(step.unsupported()),
    };
    let operand = Number::parse(&step.operand).ok_or_else(|| step.operand_must_be("a number"))?;
    let node = place.make(step)?;
    let current = if node.is_null() { None } else { Some(node.text().and_then(Number::parse).ok_or_else(|| step.unsupported())?) };
    let told = match step.operation {
        Operation::Min | Operation::Max => {
            let wanted = if step.operation == Operation::Min { Ordering::Less } else { Ordering::Greater };
            if current.is_some_and(|current| operand.compare(current) != wanted) {
                return Ok(());
            }
            Cow::Borrowed(&*step.operand)
        }
        Operation::And | Operation::Or | Operation::Xor => Cow::Owned(bits(step, field, current, operand)?),
        _ => Cow::Owned(arithmetic(step, field, current.unwrap_or(Number::Integer(0)), operand)?),
    };
    *node = Node::Text(told);
    Ok(())
}

fn bits(step: &Step, field: Field, current: Option<Number>, operand: Number) -> Result<String, UpdateError> {
    let word = |number: Number| match number.whole() {
        Number::Integer(integer) => i64::try_from(integer).ok(),
        Number::Double(_) => None,
    };
    let current = word(current.unwrap_or(Number::Integer(0))).filter(|_| field != Field::Double).ok_or_else(|| step.unsupported())?;
    let operand = word(operand).ok_or_else(|| step.operand_must_be("an integer of 64 bits"))?;
    let result = match step.operation {
        Operation::And => current & operand,
        Operation::Or => current | operand,
        _ => current ^ operand,
    };
    Ok(result.to_string())
}

fn arithmetic(step: &Step, field: Field, current: Number, operand: Number) -> Result<String, UpdateError> {
    let overflow = || step.overflow();
    let (current, operand) = if field == Field::Integer { (current.whole(), operand.whole()) } else { (current, operand) };
    match (current, operand) {
        (Number::Integer(current), Number::Integer(operand)) if field != Field::Double => {
            let result = match step.operation {
                Operation::Inc => current.checked_add(operand),
                Operation::Dec => current.checked_sub(operand),
                _ => current.checked_mul(operand),
            };
            let result = result.and_then(|result| i64::try_from(result).ok()).ok_or_else(overflow)?;
            Ok(result.to_string())
        }
        (current, operand) => {
            let (left, right) = (current.double(), operand.double());
            let result = match step.operation {
                Operation::Inc => left + right,
                Operation::Dec => left - right,
                _ => left * right,
            };
            let exact = |number: Number| !matches!(number, Number::Integer(integer) if integer.abs() > EXACT);
            let fits = result.is_finite()
                && (field != Field::Integer || (result.fract() == 0.0 && result.abs() <= EXACT as f64 && exact(current) && exact(operand)));
            if fits { Ok(written(result)) } else { Err(overflow()) }
        }
    }
}

/// The shortest text of a double; whole ones without a fraction, as clients write them.
fn written(double: f64) -> String {
    if double.fract() == 0.0 && double.abs() < 1e15 && (double != 0.0 || double.is_sign_positive()) {
        return format!("{double:.0}");
    }
    serde_json::Number::from_f64(double).map_or_else(|| "null".to_owned(), |number| number.to_string())
}

impl Number {
    fn parse(text: &str) -> Option<Number> {
        let first = text.bytes().next()?;
        if first != b'-' && !first.is_ascii_digit() {
            return None;
        }
        // A text that is JSON and begins so is a number.
        match text.parse::<i128>() {
            Ok(integer) if text != "-0" => Some(Number::Integer(integer)),
            _ => text.parse::<f64>().ok().filter(|double| double.is_finite()).map(Number::Double),
        }
    }

    /// A double that is an integer as one.
    fn whole(self) -> Number {
        match self {
            Number::Double(double) if double.fract() == 0.0 && double.abs() <= EXACT as f64 => Number::Integer(double as i128),
            number => number,
        }
    }

    fn double(self) -> f64 {
        match self {
            Number::Integer(integer) => integer as f64,
            Number::Double(double) => double,
        }
    }

    fn compare(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Integer(one), Number::Integer(other)) => one.cmp(&other),
            (Number::Double(one), Number::Double(other)) => one.partial_cmp(&other).unwrap_or(Ordering::Equal),
            (Number::Integer(one), Number::Double(other)) => mixed(one, other),
            (Number::Double(one), Number::Integer(other)) => mixed(other, one).reverse(),
        }
    }
}

/// Exactly: an integer may lie between two doubles. The cast ends at the bounds of the integers.
fn mixed(integer: i128, double: f64) -> Ordering {
    let whole = double.trunc();
    integer.cmp(&(whole as i128)).then_with(|| 0.0_f64.partial_cmp(&(double - whole)).unwrap_or(Ordering::Equal))
}

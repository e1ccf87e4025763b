//! Comparing values with operands: MongoDB's order of all values, and its brackets of types.
//!
//! The order of types is null, numbers, strings, objects, arrays, booleans, dates. Numbers compare by
//! value whatever their representation, strings by their bytes, objects field by field (type, then name,
//! then value), arrays element by element, a prefix before what it begins.

use super::ast::{Comparison, Literal};
use crate::document::{Value, compare_numbers};
use std::cmp::Ordering;

/// What values of documents and operands of queries have in common.
trait Element<'a>: Copy {
    fn view(self) -> View<'a>;
    fn elements(self) -> impl Iterator<Item = Self>;
    fn fields(self) -> impl Iterator<Item = (&'a str, Self)>;
}

enum View<'a> {
    Null,
    Bool(bool),
    Number(crate::document::Number),
    String(&'a str),
    Date(i64),
    Array,
    Object,
}

impl View<'_> {
    #[inline]
    fn rank(&self) -> u8 {
        match self {
            View::Null => 0,
            View::Number(_) => 1,
            View::String(_) => 2,
            View::Object => 3,
            View::Array => 4,
            View::Bool(_) => 5,
            View::Date(_) => 6,
        }
    }
}

impl<'a> Element<'a> for Value<'a> {
    #[inline]
    fn view(self) -> View<'a> {
        match self {
            Value::Null => View::Null,
            Value::Bool(value) => View::Bool(value),
            Value::Number(value) => View::Number(value),
            Value::String(value) => View::String(value),
            Value::Date(value) => View::Date(value),
            Value::Array(_) => View::Array,
            Value::Object(_) => View::Object,
        }
    }

    fn elements(self) -> impl Iterator<Item = Self> {
        let array = if let Value::Array(array) = self { Some(array) } else { None };
        array.into_iter().flat_map(|array| array.iter())
    }

    fn fields(self) -> impl Iterator<Item = (&'a str, Self)> {
        let object = if let Value::Object(object) = self { Some(object) } else { None };
        object.into_iter().flat_map(|object| object.iter().map(|entry| (entry.name, entry.value)))
    }
}

impl<'a> Element<'a> for &'a Literal {
    #[inline]
    fn view(self) -> View<'a> {
        match self {
            Literal::Null => View::Null,
            Literal::Bool(value) => View::Bool(*value),
            Literal::Number(value) => View::Number(*value),
            Literal::String(value) => View::String(value),
            Literal::Date(value) => View::Date(*value),
            Literal::Array(_) => View::Array,
            Literal::Object(_) => View::Object,
        }
    }

    fn elements(self) -> impl Iterator<Item = Self> {
        let elements: &[Literal] = if let Literal::Array(elements) = self { elements } else { &[] };
        elements.iter()
    }

    fn fields(self) -> impl Iterator<Item = (&'a str, Self)> {
        let fields: &[(Box<str>, Literal)] = if let Literal::Object(fields) = self { fields } else { &[] };
        fields.iter().map(|(name, value)| (&**name, value))
    }
}

fn compare<'a, 'b, L: Element<'a>, R: Element<'b>>(left: L, right: R) -> Ordering {
    match (left.view(), right.view()) {
        (View::Bool(l), View::Bool(r)) => l.cmp(&r),
        (View::Number(l), View::Number(r)) => compare_numbers(l, r),
        (View::String(l), View::String(r)) => l.cmp(r),
        (View::Date(l), View::Date(r)) => l.cmp(&r),
        (View::Array, View::Array) => {
            let (mut l, mut r) = (left.elements(), right.elements());
            loop {
                match (l.next(), r.next()) {
                    (None, None) => return Ordering::Equal,
                    (None, Some(_)) => return Ordering::Less,
                    (Some(_), None) => return Ordering::Greater,
                    (Some(l), Some(r)) => match compare(l, r) {
                        Ordering::Equal => {}
                        unequal => return unequal,
                    },
                }
            }
        }
        (View::Object, View::Object) => {
            let (mut l, mut r) = (left.fields(), right.fields());
            loop {
                match (l.next(), r.next()) {
                    (None, None) => return Ordering::Equal,
                    (None, Some(_)) => return Ordering::Less,
                    (Some(_), None) => return Ordering::Greater,
                    (Some((l_name, l)), Some((r_name, r))) => {
                        let types = l.view().rank().cmp(&r.view().rank());
                        match types.then_with(|| l_name.cmp(r_name)).then_with(|| compare(l, r)) {
                            Ordering::Equal => {}
                            unequal => return unequal,
                        }
                    }
                }
            }
        }
        (l, r) => l.rank().cmp(&r.rank()),
    }
}

/// The order of a document's value and an operand, over all types.
#[inline]
pub fn compare_value(value: Value<'_>, operand: &Literal) -> Ordering {
    compare(value, operand)
}

/// The order of two values of documents, over all types.
pub fn compare_values(left: Value<'_>, right: Value<'_>) -> Ordering {
    compare(left, right)
}

/// The order of two operands, over all types. Total: equal operands are the same operand.
pub fn compare_literals(left: &Literal, right: &Literal) -> Ordering {
    compare(left, right)
}

/// Whether a value and an operand are of one type as far as `$lt` and its like are concerned.
#[inline]
pub fn same_bracket(value: Value<'_>, operand: &Literal) -> bool {
    value.view().rank() == operand.view().rank()
}

/// `$eq` for what stands at the end of a path; a missing field equals `null`.
#[inline]
pub fn equals(value: Option<Value<'_>>, operand: &Literal) -> bool {
    match (value, operand) {
        (None | Some(Value::Null), Literal::Null) => true,
        (Some(Value::String(l)), Literal::String(r)) => *l == **r,
        (Some(Value::Number(l)), Literal::Number(r)) => l == *r,
        (Some(Value::Bool(l)), Literal::Bool(r)) => l == *r,
        (Some(Value::Date(l)), Literal::Date(r)) => l == *r,
        (Some(value @ Value::Array(_)), Literal::Array(_)) | (Some(value @ Value::Object(_)), Literal::Object(_)) => {
            compare(value, operand) == Ordering::Equal
        }
        _ => false,
    }
}

/// `$lt`, `$lte`, `$gt`, `$gte` for what stands at the end of a path: only within the operand's type. Of
/// `null` there is nothing less and nothing greater, so those that include equality find it and missing fields.
#[inline]
pub fn compares(value: Option<Value<'_>>, comparison: Comparison, operand: &Literal) -> bool {
    let Some(value) = value else {
        return matches!(operand, Literal::Null) && matches!(comparison, Comparison::LessOrEqual | Comparison::GreaterOrEqual);
    };
    let order = match (value, operand) {
        (Value::Number(l), Literal::Number(r)) => compare_numbers(l, *r),
        (Value::Date(l), Literal::Date(r)) => l.cmp(r),
        (Value::String(l), Literal::String(r)) => l.cmp(r),
        _ if same_bracket(value, operand) => compare(value, operand),
        _ => return false,
    };
    match comparison {
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

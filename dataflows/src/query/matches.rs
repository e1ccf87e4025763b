//! The tree against a document. Live and one-shot answers both come from here.
//!
//! Nothing here allocates (but for what a regular expression's cache needs once): this is the hot path.

use super::ast::{Component, Elements, Literal, Path, Predicate, Test, TypeSet};
use super::{geo, order};
use crate::document::{Array, Document, Number, Object, Value};

/// What a walk along a path does with an array at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// Its elements one by one, then the array as a whole
    Open,
    /// The array as a whole only
    Closed,
}

impl Predicate {
    /// Whether the document satisfies the predicate.
    #[inline]
    pub fn matches(&self, document: &Document) -> bool {
        self.holds(document.root())
    }

    /// The same for an object that is part of a document.
    pub fn matches_object(&self, object: Object<'_>) -> bool {
        self.holds(object)
    }

    fn holds<R: Root>(&self, root: R) -> bool {
        match self {
            Predicate::Field(path, test) => root.satisfies(path, test),
            Predicate::And(parts) => parts.iter().all(|part| part.holds(root)),
            Predicate::Or(parts) => parts.iter().any(|part| part.holds(root)),
            Predicate::Not(part) => !part.holds(root),
            Predicate::True => true,
            Predicate::False => false,
        }
    }
}

/// What a predicate is asked about.
trait Root: Copy {
    fn satisfies(self, path: &Path, test: &Test) -> bool;
}

/// A document or an embedded object.
impl Root for Object<'_> {
    #[inline]
    fn satisfies(self, path: &Path, test: &Test) -> bool {
        match &*path.components {
            // Most conditions are on a field of the object itself, and most fields hold no array.
            [only] => match self.get_hashed(only.hash, &only.name) {
                Some(Value::Array(array)) => in_array(array, &[], test.leaf(), &mut |value| test.matches_value(value)),
                value => test.matches_value(value),
            },
            components => in_object(self, components, test.leaf(), &mut |value| test.matches_value(value)),
        }
    }
}

/// An array within an array, whose positions are its fields: `$elemMatch` on objects.
#[derive(Clone, Copy)]
struct Positions<'d>(Array<'d>);

impl Root for Positions<'_> {
    fn satisfies(self, path: &Path, test: &Test) -> bool {
        as_object(self.0, &path.components, test.leaf(), &mut |value| test.matches_value(value))
    }
}

/// An element as it is: `$elemMatch` on values.
#[derive(Clone, Copy)]
struct Element<'d>(Value<'d>);

impl Root for Element<'_> {
    fn satisfies(self, _: &Path, test: &Test) -> bool {
        test.matches_value(Some(self.0))
    }
}

impl Path {
    /// Walks to everything that stands at this path and asks `found` about it, until it says `true`;
    /// whether it did. `None` is a missing field.
    ///
    /// The walk is MongoDB's. An array before the end of the path is opened: each element that is an object
    /// is walked into (and yields a missing field where it lacks one), elements of other kinds yield nothing,
    /// not even a missing field. A numeric component also selects the element at that position. An array at the end is
    /// given as `leaf` says, but one selected by its position is given as a whole only: `{"a.0": 1}` finds
    /// `{"a": [1]}` and not `{"a": [[1]]}`.
    #[inline]
    pub fn any<'d>(&self, root: Object<'d>, leaf: Leaf, found: &mut impl FnMut(Option<Value<'d>>) -> bool) -> bool {
        in_object(root, &self.components, leaf, found)
    }

    /// Walks to everything that stands at this path; see [`Path::any`].
    #[inline]
    pub fn visit<'d>(&self, root: Object<'d>, leaf: Leaf, mut visit: impl FnMut(Option<Value<'d>>)) {
        in_object(root, &self.components, leaf, &mut |value| {
            visit(value);
            false
        });
    }
}

fn in_object<'d, F: FnMut(Option<Value<'d>>) -> bool>(object: Object<'d>, path: &[Component], leaf: Leaf, found: &mut F) -> bool {
    match path.split_first() {
        Some((first, rest)) => at_value(object.get_hashed(first.hash, &first.name), rest, leaf, found),
        None => found(Some(Value::Object(object))),
    }
}

/// An array whose positions are taken for fields.
fn as_object<'d, F: FnMut(Option<Value<'d>>) -> bool>(array: Array<'d>, path: &[Component], leaf: Leaf, found: &mut F) -> bool {
    match path.split_first() {
        Some((first, rest)) => at_value(first.position.and_then(|position| array.get(position as usize)), rest, leaf, found),
        None => found(Some(Value::Array(array))),
    }
}

#[inline]
fn at_value<'d, F: FnMut(Option<Value<'d>>) -> bool>(value: Option<Value<'d>>, rest: &[Component], leaf: Leaf, found: &mut F) -> bool {
    match value {
        Some(Value::Array(array)) => in_array(array, rest, leaf, found),
        _ if rest.is_empty() => found(value),
        Some(Value::Object(object)) => in_object(object, rest, leaf, found),
        _ => found(None),
    }
}

fn in_array<'d, F: FnMut(Option<Value<'d>>) -> bool>(array: Array<'d>, rest: &[Component], leaf: Leaf, found: &mut F) -> bool {
    let Some((next, behind)) = rest.split_first() else {
        return (leaf == Leaf::Open && array.iter().any(|element| found(Some(element)))) || found(Some(Value::Array(array)));
    };
    for (position, element) in array.iter().enumerate() {
        if let Value::Object(object) = element
            && in_object(object, rest, leaf, found)
        {
            return true;
        }
        if next.position.is_some_and(|wanted| wanted as usize == position) {
            let hit = match element {
                element if behind.is_empty() => found(Some(element)),
                Value::Object(object) => in_object(object, behind, leaf, found),
                Value::Array(array) => in_array(array, behind, leaf, found),
                _ => false,
            };
            if hit {
                return true;
            }
        }
    }
    false
}

impl Test {
    /// Whether an array at the end of the path is opened for this test.
    #[inline]
    pub fn leaf(&self) -> Leaf {
        match self {
            Test::Exists | Test::Size(_) | Test::ElemMatch(..) => Leaf::Closed,
            _ => Leaf::Open,
        }
    }

    /// Whether the test holds for one thing that a walk along the path has found; `None` is a missing field.
    /// Arrays are not opened here, the walk does that.
    #[inline]
    pub fn matches_value(&self, value: Option<Value<'_>>) -> bool {
        match self {
            Test::Eq(operand) => order::equals(value, operand),
            Test::In(operands) => one_of(value, operands),
            Test::Compare(comparison, operand) => order::compares(value, *comparison, operand),
            Test::Exists => value.is_some(),
            Test::Type(types) => value.is_some_and(|value| types.contains(value)),
            Test::Regex(pattern) => matches!(value, Some(Value::String(text)) if pattern.regex.is_match(text)),
            Test::Mod { divisor, remainder } => matches!(value, Some(Value::Number(number)) if leaves(number, *divisor, *remainder)),
            Test::Size(size) => matches!(value, Some(Value::Array(array)) if array.len() as u64 == *size),
            Test::ElemMatch(elements, predicate) => match value {
                Some(Value::Array(array)) => array.iter().any(|element| element_matches(*elements, element, predicate)),
                _ => false,
            },
            Test::GeoWithin(shape) => value.and_then(geo::point).is_some_and(|point| shape.contains(point)),
            Test::Near { centre, max_distance } => {
                value.and_then(geo::point).is_some_and(|point| geo::distance(*centre, point) <= *max_distance)
            }
        }
    }
}

fn element_matches(elements: Elements, element: Value<'_>, predicate: &Predicate) -> bool {
    match (elements, element) {
        (Elements::Values, element) => predicate.holds(Element(element)),
        (Elements::Objects, Value::Object(object)) => predicate.holds(object),
        (Elements::Objects, Value::Array(array)) => predicate.holds(Positions(array)),
        (Elements::Objects, _) => false,
    }
}

/// Operands are sorted in every tree that the parser makes.
#[inline]
fn one_of(value: Option<Value<'_>>, operands: &[Literal]) -> bool {
    // Below this, comparing one by one is faster than a search.
    const FEW: usize = 8;
    match value {
        None => operands.first() == Some(&Literal::Null),
        Some(_) if operands.len() <= FEW => operands.iter().any(|operand| order::equals(value, operand)),
        Some(value) => operands.binary_search_by(|operand| order::compare_value(value, operand).reverse()).is_ok(),
    }
}

/// `$mod`: cut towards zero, remainder with the dividend's sign; doubles beyond 64 bits have none.
#[inline]
fn leaves(number: Number, divisor: i64, remainder: i64) -> bool {
    let dividend = match number {
        Number::Int(dividend) => dividend,
        Number::Float(float) => match Number::Float(float.trunc()).canonical() {
            Number::Int(dividend) => dividend,
            Number::Float(_) => return false,
        },
    };
    dividend.wrapping_rem(divisor) == remainder
}

impl TypeSet {
    /// `$type: "double"`, 1: a number that is no integer of 64 bits
    pub const DOUBLE: TypeSet = TypeSet(1);
    /// `$type: "string"`, 2
    pub const STRING: TypeSet = TypeSet(1 << 1);
    /// `$type: "object"`, 3
    pub const OBJECT: TypeSet = TypeSet(1 << 2);
    /// `$type: "array"`, 4
    pub const ARRAY: TypeSet = TypeSet(1 << 3);
    /// `$type: "bool"`, 8
    pub const BOOL: TypeSet = TypeSet(1 << 4);
    /// `$type: "date"`, 9
    pub const DATE: TypeSet = TypeSet(1 << 5);
    /// `$type: "null"`, 10
    pub const NULL: TypeSet = TypeSet(1 << 6);
    /// `$type: "int"`, 16: an integer of 32 bits
    pub const INT: TypeSet = TypeSet(1 << 7);
    /// `$type: "long"`, 18: an integer of 64 bits and not of 32
    pub const LONG: TypeSet = TypeSet(1 << 8);
    /// `$type: "number"`
    pub const NUMBER: TypeSet = TypeSet(TypeSet::DOUBLE.0 | TypeSet::INT.0 | TypeSet::LONG.0);

    /// All types of both sets.
    pub const fn union(self, other: TypeSet) -> TypeSet {
        TypeSet(self.0 | other.0)
    }

    /// Whether the value has one of these types. JSON has one type of numbers, so theirs is judged by value: `1.0` is an
    /// int, whoever wrote it so.
    #[inline]
    pub fn contains(self, value: Value<'_>) -> bool {
        let own = match value {
            Value::Null => TypeSet::NULL,
            Value::Bool(_) => TypeSet::BOOL,
            Value::String(_) => TypeSet::STRING,
            Value::Date(_) => TypeSet::DATE,
            Value::Array(_) => TypeSet::ARRAY,
            Value::Object(_) => TypeSet::OBJECT,
            Value::Number(number) => match number.canonical() {
                Number::Int(int) if i32::try_from(int).is_ok() => TypeSet::INT,
                Number::Int(_) => TypeSet::LONG,
                Number::Float(_) => TypeSet::DOUBLE,
            },
        };
        self.0 & own.0 != 0
    }
}

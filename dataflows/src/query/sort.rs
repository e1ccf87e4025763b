//! The order of an answer: `{"field": 1, "other.field": -1}`, in the order of the keys, ties by id.
//!
//! As in MongoDB: a missing field sorts as null; an array by its smallest element going up, by its largest going down.

use super::json::Json;
use super::limits::QueryLimits;
use super::order::compare_values;
use crate::change::Image;
use crate::document::{Number, Object, Value};
use std::cmp::Ordering;
use std::sync::Arc;

/// Fields and directions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sort {
    keys: Vec<(Box<str>, Direction)>,
}

/// Which of two unequal values comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The smaller one
    Up,
    /// The larger one
    Down,
}

impl Direction {
    /// An order of values in this direction.
    pub fn of(self, order: Ordering) -> Ordering {
        if self == Direction::Down { order.reverse() } else { order }
    }
}

/// Why a text is no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sort order {0:?} cannot be read: it is an object from at most {most} fields to 1 or -1", most = Sort::MOST)]
pub struct SortError(String);

impl Sort {
    /// Most fields in one order.
    pub const MOST: usize = 32;

    /// Reads an order.
    pub fn parse(text: &str) -> Result<Sort, SortError> {
        let error = || SortError(text.chars().take(200).collect());
        let Ok(Json::Object(entries)) = Json::read(text, &QueryLimits::default()) else { return Err(error()) };
        if entries.len() > Sort::MOST {
            return Err(error());
        }
        let key = |(name, direction): (String, Json)| match direction {
            Json::Number(Number::Int(1)) => Ok((name.into(), Direction::Up)),
            Json::Number(Number::Int(-1)) => Ok((name.into(), Direction::Down)),
            _ => Err(error()),
        };
        Ok(Sort { keys: entries.into_iter().map(key).collect::<Result<_, _>>()? })
    }

    /// Fields and directions, the one that decides first.
    pub fn keys(&self) -> &[(Box<str>, Direction)] {
        &self.keys
    }

    /// Whether it orders nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Sorts images that are in the order of their ids: the sort is stable, so ties stay so.
    pub fn sort(&self, images: &mut [Arc<Image>]) {
        images.sort_by(|left, right| self.compare(left, right));
    }

    /// The order of two images; ties are for the caller, who has their ids.
    pub fn compare(&self, left: &Image, right: &Image) -> Ordering {
        for (path, direction) in &self.keys {
            let (left, right) = (key(left.document.root(), path, *direction), key(right.document.root(), path, *direction));
            let order = direction.of(compare_values(left, right));
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }
}

/// What an object is sorted by: one value for each path.
pub fn key<'d>(object: Object<'d>, path: &str, direction: Direction) -> Value<'d> {
    let value = match object.get(path) {
        Some(value) => value,
        None => match path.split_once('.').map(|(name, rest)| (object.get(name), rest)) {
            Some((Some(Value::Object(inner)), rest)) => return key(inner, rest, direction),
            _ => Value::Null,
        },
    };
    match value {
        Value::Array(array) => {
            let better = |left: &Value<'d>, right: &Value<'d>| compare_values(*left, *right);
            let chosen = if direction == Direction::Up { array.iter().min_by(better) } else { array.iter().max_by(better) };
            chosen.unwrap_or(Value::Null)
        }
        value => value,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::document::{DateFields, DocumentLimits};
    use bytes::Bytes;

    fn sorted(sort: &str, objects: &[&'static str]) -> Vec<String> {
        let parse = |text: &&'static str| {
            Arc::new(Image::parse(Bytes::from_static(text.as_bytes()), &DateFields::default(), DocumentLimits::default()).unwrap())
        };
        let mut images: Vec<_> = objects.iter().map(parse).collect();
        Sort::parse(sort).unwrap().sort(&mut images);
        images.iter().map(|image| String::from_utf8(image.json().to_vec()).unwrap()).collect()
    }

    #[test]
    fn by_key_after_key_with_null_first_and_ties_as_they_were() {
        let objects = [r#"{"a":2,"b":1}"#, r#"{"a":1,"b":1}"#, r#"{"a":1,"b":2}"#, r#"{"b":0}"#, r#"{"a":1,"b":2,"c":0}"#];
        assert_eq!(sorted(r#"{"a":1,"b":-1}"#, &objects), [objects[3], objects[2], objects[4], objects[1], objects[0]]);
        assert_eq!(sorted("{}", &objects), objects);
    }

    #[test]
    fn through_objects_and_arrays() {
        let objects = [r#"{"a":{"b":3}}"#, r#"{"a":{"b":[4,1]}}"#, r#"{"a":{"b":2}}"#];
        assert_eq!(sorted(r#"{"a.b":1}"#, &objects), [objects[1], objects[2], objects[0]]);
        assert_eq!(sorted(r#"{"a.b":-1}"#, &objects), [objects[1], objects[0], objects[2]]);
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "[]", r#"{"a":2}"#, r#"{"a":"1"}"#, r#"{"a":1,"a":1}"#] {
            assert!(Sort::parse(text).is_err(), "{text}");
        }
    }
}

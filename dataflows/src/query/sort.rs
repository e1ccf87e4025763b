//! The order of an answer: `{"field": 1, "other.field": -1}`, in the order of the keys, ties by id.
//!
//! As in MongoDB: a missing field sorts as null; an array by its smallest element going up, by its largest going down; an array on
//! the way of a path by what its elements have there, in the same manner.

use super::json::Json;
use super::limits::QueryLimits;
use super::order::compare_values;
use crate::change::Image;
use crate::document::{Array, Number, Object, Value};
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

/// What an object is sorted by: one value for each path. Of several, at the end of the path or since an array is on the way, it is the
/// smallest going up and the largest going down; where there is none, null.
pub fn key<'d>(object: Object<'d>, path: &str, direction: Direction) -> Value<'d> {
    let mut best = None;
    each(object, path, &mut |value| {
        let better = |best: Value<'d>| direction.of(compare_values(value, best)) == Ordering::Less;
        if best.is_none_or(better) {
            best = Some(value);
        }
    });
    best.unwrap_or(Value::Null)
}

/// Everything at a path, the elements of an array at its end one by one. The way is that of [`super::ast::Path::any`], but that a name
/// with a dot in it is found as well.
fn each<'d, F: FnMut(Value<'d>)>(object: Object<'d>, path: &str, found: &mut F) {
    if let Some(value) = object.get(path) {
        return end(value, found);
    }
    match path.split_once('.').map(|(name, rest)| (object.get(name), rest)) {
        Some((Some(Value::Object(inner)), rest)) => each(inner, rest, found),
        Some((Some(Value::Array(array)), rest)) => in_array(array, rest, found),
        _ => found(Value::Null),
    }
}

fn in_array<'d, F: FnMut(Value<'d>)>(array: Array<'d>, path: &str, found: &mut F) {
    for element in array.iter() {
        if let Value::Object(object) = element {
            each(object, path, found);
        }
    }
    let (name, behind) = path.split_once('.').map_or((path, None), |(name, behind)| (name, Some(behind)));
    let is_position = name == "0" || !name.starts_with('0') && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let element = is_position.then(|| array.get(name.parse().ok()?)).flatten();
    match (element, behind) {
        (Some(value), None) => end(value, found),
        (Some(Value::Object(object)), Some(behind)) => each(object, behind, found),
        (Some(Value::Array(array)), Some(behind)) => in_array(array, behind, found),
        _ => {}
    }
}

fn end<'d, F: FnMut(Value<'d>)>(value: Value<'d>, found: &mut F) {
    match value {
        Value::Array(array) => array.iter().for_each(found),
        value => found(value),
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
    fn arrays_on_the_way_sort_by_their_least_or_greatest() {
        let objects = [
            r#"{"lots":[{"price":3},{"price":7}]}"#,
            r#"{"lots":[{"price":[5,1]},{"bids":[]}]}"#,
            r#"{"lots":[{"price":4}]}"#,
            r#"{"lots":[2,"x"]}"#,
            r#"{"lots":{"price":6}}"#,
        ];
        assert_eq!(sorted(r#"{"lots.price":1}"#, &objects), [objects[1], objects[3], objects[0], objects[2], objects[4]]);
        assert_eq!(sorted(r#"{"lots.price":-1}"#, &objects), [objects[0], objects[4], objects[1], objects[2], objects[3]]);
        // Positions; one that is not there is nothing, as null.
        assert_eq!(sorted(r#"{"lots.1.price":-1}"#, &objects), [objects[0], objects[1], objects[2], objects[3], objects[4]]);
        let nested = [r#"{"a":[[9,8],[{"b":5}]]}"#, r#"{"a":[[6,7],[{"b":4}]]}"#];
        assert_eq!(sorted(r#"{"a.0":1}"#, &nested), [nested[1], nested[0]]);
        assert_eq!(sorted(r#"{"a.1.b":1}"#, &nested), [nested[1], nested[0]]);
        assert_eq!(sorted(r#"{"a.b":1}"#, &nested), nested, "an array within an array is not opened");
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "[]", r#"{"a":2}"#, r#"{"a":"1"}"#, r#"{"a":1,"a":1}"#] {
            assert!(Sort::parse(text).is_err(), "{text}");
        }
    }
}

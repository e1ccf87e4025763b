//! The order that a bucket has anyway: that of its ids. What a predicate says of ids is a piece of it. Pure.

use super::encoding;
use crate::store::Selection;
use crate::store::embedded::keys;
use dataflows::index::literal_prefix;
use dataflows::query::ast::{Comparison, Literal, Path, Predicate, Test};
use dataflows::query::sort::{Direction, Sort};

/// A piece of a bucket, in bytes of ids: every object has one, it is a string, and strings compare by their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Span {
    from: Vec<u8>,
    /// Not included; none: to the end
    until: Option<Vec<u8>>,
}

impl Span {
    /// What all parts together say of the id.
    pub(super) fn of(parts: &[&Predicate]) -> Span {
        let tests = parts.iter().filter_map(|part| match part {
            Predicate::Field(path, test) if is_id(path) => span(test),
            _ => None,
        });
        tests.reduce(Span::both).unwrap_or_default()
    }

    /// Whether it is the whole bucket.
    pub(super) fn is_all(&self) -> bool {
        *self == Span::default()
    }

    fn none() -> Span {
        Span { from: Vec::new(), until: Some(Vec::new()) }
    }

    fn both(self, other: Span) -> Span {
        let until = match (self.until, other.until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Span { from: self.from.max(other.from), until }
    }

    /// The keys of its objects on the disk, the end not included; the first is never behind the end.
    pub(super) fn keys(&self, app: &str, bucket: &str) -> (Vec<u8>, Vec<u8>) {
        let prefix = keys::bucket(app, bucket);
        let from = [&prefix[..], &self.from].concat();
        let until = match &self.until {
            Some(until) => [&prefix[..], until].concat(),
            None => encoding::behind(&prefix),
        };
        (from.clone(), until.max(from))
    }
}

/// Whether a path is that of the id.
pub(super) fn is_id(path: &Path) -> bool {
    matches!(&*path.components, [only] if &*only.name == "id")
}

/// Whether some object may be found by what the predicate says of ids. Cheap.
pub(super) fn speaks_of_ids(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::False => true,
        Predicate::Field(path, test) => is_id(path) && matches!(test, Test::Eq(_) | Test::In(_) | Test::Compare(..) | Test::Regex(_)),
        Predicate::And(parts) => parts.iter().any(speaks_of_ids),
        Predicate::Or(branches) => branches.iter().all(speaks_of_ids),
        _ => false,
    }
}

/// Whether, and which way, the order of ids alone is that of a sort: no two objects have one id.
pub(super) fn direction(sort: &Sort) -> Option<Direction> {
    sort.keys().first().filter(|(path, _)| &**path == "id").map(|(_, direction)| *direction)
}

/// Whether an answer is read from the end of a piece: so many are needed, the largest ids first.
pub(super) fn is_backward(selection: &Selection, needed: Option<usize>) -> bool {
    needed.is_some() && direction(&selection.sort) == Some(Direction::Down)
}

fn span(test: &Test) -> Option<Span> {
    Some(match test {
        Test::Compare(comparison, Literal::String(operand)) => {
            let at = operand.as_bytes().to_vec();
            // The next string of all.
            let behind = [operand.as_bytes(), &[0]].concat();
            match comparison {
                Comparison::Less => Span { from: Vec::new(), until: Some(at) },
                Comparison::LessOrEqual => Span { from: Vec::new(), until: Some(behind) },
                Comparison::Greater => Span { from: behind, until: None },
                Comparison::GreaterOrEqual => Span { from: at, until: None },
            }
        }
        // Values compare within their type.
        Test::Compare(..) => Span::none(),
        Test::Regex(pattern) => {
            let from = literal_prefix(pattern)?.into_bytes();
            let until = encoding::behind(&from);
            Span { from, until: Some(until).filter(|until| !until.is_empty()) }
        }
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use dataflows::query::{Filter, QueryLimits};
    use proptest::prelude::*;

    fn of(query: &str) -> Span {
        let predicate = Filter::parse(query, &QueryLimits::default()).unwrap().predicate;
        let mut parts = Vec::new();
        super::super::ranges::conjuncts(&predicate, &mut parts);
        Span::of(&parts)
    }

    proptest! {
        #[test]
        fn a_span_has_exactly_the_ids_between(low in "[ab\\x00é]{0,3}", high in "[ab\\x00é]{0,3}", id in "[ab\\x00é]{0,3}", open: (bool, bool)) {
            let text = |text: &str| serde_json::to_string(text).unwrap();
            let (above, below) = (if open.0 { "$gt" } else { "$gte" }, if open.1 { "$lt" } else { "$lte" });
            let span = of(&format!(r#"{{"id":{{"{above}":{},"{below}":{}}}}}"#, text(&low), text(&high)));
            let (from, until) = span.keys("app", "b");
            let key = [&keys::bucket("app", "b")[..], id.as_bytes()].concat();
            let between = (if open.0 { id > low } else { id >= low }) && (if open.1 { id < high } else { id <= high });
            prop_assert_eq!((from..until).contains(&key), between);
        }
    }

    #[test]
    fn what_says_nothing_of_ids_is_the_whole_bucket_and_nothing_else() {
        assert!(of(r#"{"n":1}"#).is_all() && of("{}").is_all() && of(r#"{"id":{"$regex":"a"}}"#).is_all());
        let (from, until) = of("{}").keys("app", "b");
        assert_eq!(from, keys::bucket("app", "b"));
        assert!(until <= keys::bucket("app", "c") && until > [&from[..], &[0xff; 4]].concat());
        let (from, until) = of(r#"{"id":{"$gt":5}}"#).keys("app", "b");
        assert_eq!(from, until, "no id is a number");
        let (from, until) = of(r#"{"id":{"$regex":"^/db/b/1"}}"#).keys("app", "b");
        assert!(from.ends_with(b"/1") && until.ends_with(b"/2"));
    }
}

//! `$nearSphere` without a sort: nearest first, as in MongoDB.

use super::ast::{Path, Point, Predicate, Test};
use super::geo;
use super::matches::Leaf;
use crate::document::Object;

/// From where, and where in an object.
#[derive(Debug, Clone, Copy)]
pub struct Nearest<'q> {
    path: &'q Path,
    centre: Point,
}

impl Predicate {
    /// The `$nearSphere` that every object of the result meets; none where it is one of several choices.
    pub fn nearest(&self) -> Option<Nearest<'_>> {
        match self {
            Predicate::Field(path, Test::Near { centre, .. }) => Some(Nearest { path, centre: *centre }),
            Predicate::And(parts) => parts.iter().find_map(Predicate::nearest),
            _ => None,
        }
    }
}

impl Nearest<'_> {
    /// Metres to the nearest of an object's points; infinite where it has none.
    pub fn distance(&self, object: Object<'_>) -> f64 {
        let mut least = f64::INFINITY;
        self.path.visit(object, Leaf::Open, |value| {
            if let Some(point) = value.and_then(geo::point) {
                least = least.min(geo::distance(self.centre, point));
            }
        });
        least
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::document::{DateFields, Document, DocumentLimits};
    use crate::query::{Filter, QueryLimits};

    fn distance(query: &str, object: &str) -> Option<f64> {
        let filter = Filter::parse(query, &QueryLimits::default()).unwrap();
        let document = Document::parse(object.as_bytes().to_vec().into(), &DateFields::default(), DocumentLimits::default()).unwrap();
        filter.predicate.nearest().map(|nearest| nearest.distance(document.root()).round())
    }

    #[test]
    fn measures_to_the_nearest_point_of_an_object() {
        let here = r#"{"at":{"$nearSphere":{"$geometry":{"type":"Point","coordinates":[0,0]}}},"open":true}"#;
        // A degree along the equator, by MongoDB's radius.
        assert_eq!(distance(here, r#"{"at":{"latitude":0,"longitude":1}}"#), Some(111_319.0));
        assert_eq!(distance(here, r#"{"at":[{"latitude":0,"longitude":2},{"latitude":-1,"longitude":0}]}"#), Some(111_319.0));
        assert_eq!(distance(here, r#"{"at":null}"#), Some(f64::INFINITY));
        assert_eq!(distance(r#"{"open":true}"#, "{}"), None);
        let either = r#"{"$or":[{"at":{"$nearSphere":{"$geometry":{"type":"Point","coordinates":[0,0]}}}},{"open":true}]}"#;
        assert_eq!(distance(either, "{}"), None);
    }
}

//! Which queries stand, which objects are written, and which events must come of it.
//!
//! Every query has a key of its own, every object carries one key, and each query fits exactly the objects of
//! its key, each kind of query through other fields. So a write touches one or two standing queries however
//! many there are: an object that keeps its key is a `change` of one, an object that moves is a `remove` of
//! one and an `add` of another. That keeps what is delivered alike and leaves only the number of
//! queries to vary.

use std::fmt::Write as _;

/// Queries and objects of one run.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Distinct standing queries, at least one
    pub queries: usize,
    /// Objects that are there and written over and over
    pub objects: usize,
}

impl Workload {
    /// The query with this key, as JSON text: by turns equality; equality and range; range; membership in
    /// an array and equality.
    pub fn query(&self, key: usize) -> String {
        match key % 4 {
            0 => format!(r#"{{"lot":"lot-{key}"}}"#),
            1 => format!(r#"{{"hall":{key},"bid":{{"$gte":0,"$lt":1000000}}}}"#),
            2 => format!(r#"{{"place":{{"$gte":{},"$lt":{}}}}}"#, key * 10, key * 10 + 10),
            _ => format!(r#"{{"tags":"tag-{key}","open":true}}"#),
        }
    }

    /// An object, as JSON text of about 300 bytes without the server's own fields. `mark` numbers the write.
    pub fn object(&self, bucket: &str, object: usize, key: usize, mark: u64) -> String {
        let mut text = String::with_capacity(320);
        let _ = write!(
            text,
            r#"{{"id":"/db/{bucket}/{object}","title":"An oil painting of lot {key} in a gilded frame","lot":"lot-{key}","hall":{key},"place":{},"bid":{},"bidder":"/db/User/{object}","city":"Hamburg","tags":["art","painting","tag-{key}"],"open":true,"seller":{{"name":"Hansen","since":1987}},"mark":{mark}}}"#,
            key * 10 + object % 10,
            mark % 1_000_000,
        );
        text
    }

    /// Events that a write makes, all queries together.
    pub fn events(&self, moved: bool) -> usize {
        if moved { 2 } else { 1 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use dataflows::document::{DateFields, Document, DocumentLimits};
    use dataflows::query::{Filter, QueryLimits};

    #[test]
    fn every_object_fits_the_query_of_its_key_and_no_other() {
        let workload = Workload { queries: 40, objects: 15 };
        let filters: Vec<Filter> =
            (0..workload.queries).map(|key| Filter::parse(&workload.query(key), &QueryLimits::default()).unwrap()).collect();
        for object in 0..workload.objects {
            for key in 0..workload.queries {
                let text = workload.object("Lots", object, key, 7_000_000 + object as u64);
                let document = Document::parse(text.into(), &DateFields::default(), DocumentLimits::default()).unwrap();
                let fits: Vec<usize> = (0..workload.queries).filter(|key| filters[*key].matches(&document)).collect();
                assert_eq!(fits, [key]);
            }
        }
    }
}

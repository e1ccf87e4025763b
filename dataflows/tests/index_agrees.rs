//! The index over queries finds exactly what evaluating every query finds, over every operator, nested arrays and positions in paths,
//! while queries come and go.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../tests/oracle/generate.rs"]
mod generate;

use bytes::Bytes;
use dataflows::change::{Change, Image, Operation, Writer};
use dataflows::document::{DateFields, DocumentLimits};
use dataflows::engine::QueryId;
use dataflows::index::{IndexOptions, QueryIndex};
use dataflows::query::{Filter, QueryLimits};
use generate::Generator;
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn the_index_finds_what_evaluating_finds() {
    let (mut hits, mut judged) = (0, 0);
    for seed in 0..30 {
        let mut generator = Generator::new(seed);
        let documents: Vec<String> = (0..40).map(|_| generator.document()).collect();
        let images: Vec<Arc<Image>> = documents
            .iter()
            .map(|json| Arc::new(Image::parse(Bytes::from(json.clone()), &DateFields::default(), DocumentLimits::default()).unwrap()))
            .collect();
        let (app, bucket): (Arc<str>, Arc<str>) = ("app".into(), "bucket".into());
        let mut index = QueryIndex::new(IndexOptions::default());
        let mut standing: BTreeMap<u64, Filter> = BTreeMap::new();
        for number in 0..300 {
            let filter = Filter::parse(&generator.query(), &QueryLimits::default()).unwrap();
            index.insert(&app, &bucket, QueryId(number), filter.predicate.clone()).unwrap();
            standing.insert(number, filter);
            if number % 5 == 4 {
                let gone = generator.random().random_range(0..=number);
                assert_eq!(index.remove(QueryId(gone)), standing.remove(&gone).is_some());
            }
        }
        for commit in 0..120 {
            let mut image = || generator.random().random_bool(0.8).then(|| generator.random().random_range(0..images.len()));
            let (before, after) = (image(), image());
            let change = Change {
                commit,
                at: 0,
                app: app.clone(),
                bucket: bucket.clone(),
                id: "/db/bucket/1".into(),
                operation: Operation::Update,
                before: before.map(|at| images[at].clone()),
                after: after.map(|at| images[at].clone()),
                schema_version: 0,
                control: 0,
                writer: Writer::default(),
                batch: None,
            };
            let mut deltas = Vec::new();
            index.matches(&change, &mut deltas);
            let mut found: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
            for delta in deltas {
                let first = found.insert(delta.query.0, (delta.before, delta.after));
                assert!(first.is_none(), "query {} twice", delta.query.0);
            }
            for (number, filter) in &standing {
                let matches = |image: Option<usize>| image.is_some_and(|at| filter.matches(&images[at].document));
                let expected = (matches(before), matches(after));
                let said = found.remove(number).unwrap_or_default();
                let json = |image: Option<usize>| image.map(|at| documents[at].as_str());
                assert_eq!(said, expected, "seed {seed}: {} on {:?} and {:?}", filter.text, json(before), json(after));
                hits += usize::from(expected != (false, false));
                judged += 1;
            }
            assert!(found.is_empty(), "seed {seed}: removed queries found: {found:?}");
        }
    }
    assert!(hits * 10 > judged, "too few queries find anything: {hits} of {judged}");
}

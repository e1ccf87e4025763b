//! What a predicate says about where in an index its objects lie: ranges of keys. Always a superset; whether an object
//! matches is for the evaluator.
//!
//! Several conditions on one path may be met by different elements of an array, so bounds are combined only where the index is
//! regular (no arrays in it) or the conditions are about one element (`$elemMatch`).

use super::catalogue::Index;
use super::{cells, encoding, entries};
use crate::store::KeyOrder;
use dataflows::index::literal_prefix;
use dataflows::query::ast::{Comparison, Elements, Literal, Path, Predicate, Test};
use dataflows::query::geo::{self, EARTH_RADIUS};

/// Ranges that one query is answered with at most.
pub(super) const MOST: usize = 20_000;

/// Keys of entries, the end not included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    pub(super) from: Vec<u8>,
    pub(super) until: Vec<u8>,
}

/// What of an index has to be read.
#[derive(Debug, Clone)]
pub(super) struct Narrowed {
    /// In order and apart
    pub(super) ranges: Vec<Range>,
    /// Leading keys of which one value is wanted
    pub(super) fixed: usize,
    /// Keys of which something is known
    pub(super) bound: usize,
}

/// What is known of one key, as it is encoded going up.
enum Known {
    /// It is one of these
    Points(Vec<Vec<u8>>),
    /// It lies in one of these, the end not included
    Spans(Vec<Span>),
}

/// The parts that must all hold.
pub(super) fn conjuncts<'p>(predicate: &'p Predicate, parts: &mut Vec<&'p Predicate>) {
    match predicate {
        Predicate::And(inner) => inner.iter().for_each(|part| conjuncts(part, parts)),
        Predicate::True => {}
        other => parts.push(other),
    }
}

/// What has to be read of an index for objects that satisfy all parts; all of it where nothing is known.
pub(super) fn narrow(index: &Index, parts: &[&Predicate]) -> Narrowed {
    let (mut prefixes, mut fixed, mut bound) = (vec![index.prefix.to_vec()], 0, 0);
    for (place, (path, key)) in index.paths.iter().zip(&index.definition.keys).enumerate() {
        let known = if key.order == KeyOrder::Geo { near(path, parts) } else { known(path, parts, index.is_regular()) };
        let turned = key.order == KeyOrder::Desc;
        match known {
            Some(Known::Points(mut points)) if prefixes.len().saturating_mul(points.len()) <= MOST => {
                if turned {
                    points.iter_mut().for_each(|point| encoding::turn(point));
                }
                fixed += usize::from(fixed == place && points.len() == 1);
                prefixes = prefixes.iter().flat_map(|prefix| points.iter().map(move |point| [&prefix[..], point].concat())).collect();
                bound += 1;
            }
            Some(Known::Spans(spans)) if prefixes.len().saturating_mul(spans.len()) <= MOST => {
                let spans: Vec<_> = spans.into_iter().map(|span| if turned { turn(span) } else { span }).collect();
                let range = |prefix: &[u8], (from, until): &(Vec<u8>, Vec<u8>)| Range {
                    from: [prefix, from].concat(),
                    until: [prefix, until].concat(),
                };
                let ranges = prefixes.iter().flat_map(|prefix| spans.iter().map(move |span| range(prefix, span)));
                return Narrowed { ranges: ordered(ranges), fixed, bound: bound + 1 };
            }
            _ => break,
        }
    }
    let ranges = prefixes.into_iter().map(|prefix| Range { until: encoding::behind(&prefix), from: prefix });
    Narrowed { ranges: ordered(ranges), fixed, bound }
}

fn ordered(ranges: impl Iterator<Item = Range>) -> Vec<Range> {
    let mut ranges: Vec<_> = ranges.filter(|range| range.from < range.until).collect();
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

/// The same span of values where they are encoded going down.
fn turn((mut from, mut until): (Vec<u8>, Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    encoding::turn(&mut from);
    encoding::turn(&mut until);
    (encoding::behind(&until), encoding::behind(&from))
}

/// What the parts say of points at a path.
fn near(path: &Path, parts: &[&Predicate]) -> Option<Known> {
    let bounds = parts.iter().find_map(|part| match part {
        Predicate::Field(at, Test::GeoWithin(shape)) if at == path => Some(geo::bounds(shape)),
        Predicate::Field(at, Test::Near { centre, max_distance }) if at == path => Some(geo::around(*centre, max_distance / EARTH_RADIUS)),
        _ => None,
    })?;
    let span = |(first, last)| (entries::cell(first), encoding::behind(&entries::cell(last)));
    Some(Known::Spans(cells::covering(bounds).into_iter().map(span).collect()))
}

/// What the parts say of the values at a path.
fn known(path: &Path, parts: &[&Predicate], regular: bool) -> Option<Known> {
    let tests: Vec<&Test> = parts
        .iter()
        .filter_map(|part| match part {
            Predicate::Field(at, test) if at == path => Some(test),
            _ => None,
        })
        .collect();
    let mut best = if regular { all_of(&tests) } else { tests.iter().filter_map(|test| all_of(&[test])).reduce(better) };
    let absences = parts.iter().filter_map(|part| match part {
        Predicate::Not(inner) => match &**inner {
            Predicate::Field(at, test) if at == path => without(test),
            _ => None,
        },
        _ => None,
    });
    best = best.into_iter().chain(absences).reduce(better);
    // A position chooses an array as a whole, whose elements are not in the index.
    if path.components.iter().all(|component| component.position.is_none()) {
        for test in tests {
            let Test::ElemMatch(Elements::Values, inner) = test else { continue };
            let mut inner_parts = Vec::new();
            conjuncts(inner, &mut inner_parts);
            let inner_tests: Vec<&Test> = inner_parts
                .into_iter()
                .filter_map(|part| match part {
                    Predicate::Field(at, test) if at.components.is_empty() => Some(test),
                    _ => None,
                })
                .collect();
            best = match (best, all_of(&inner_tests)) {
                (Some(one), Some(other)) => Some(better(one, other)),
                (one, other) => one.or(other),
            };
        }
    }
    best
}

/// What is known where nothing at the path satisfies a test. An object without a value there has the entry of null, or that of
/// nothing.
fn without(test: &Test) -> Option<Known> {
    match test {
        Test::Exists => Some(Known::Points(vec![vec![encoding::NOTHING], vec![encoding::NULL]])),
        Test::Eq(Literal::Null) => {
            let behind_null = encoding::NULL + 1;
            Some(Known::Spans(vec![(vec![encoding::NOTHING], vec![encoding::NULL]), (vec![behind_null], vec![encoding::CELL])]))
        }
        _ => None,
    }
}

/// Which of two narrows more, without looking at the data.
fn better(one: Known, other: Known) -> Known {
    let rank = |known: &Known| match known {
        Known::Points(points) => (0, points.len()),
        Known::Spans(spans) => (1, spans.len()),
    };
    if rank(&other) < rank(&one) { other } else { one }
}

/// What tests say of one value that satisfies them all.
fn all_of(tests: &[&Test]) -> Option<Known> {
    let points = tests.iter().filter_map(|test| match test {
        Test::Eq(operand) => Some(std::slice::from_ref(operand)),
        Test::In(operands) => Some(&operands[..]),
        _ => None,
    });
    if let Some(operands) = points.min_by_key(|operands| operands.len()) {
        let point = |operand| {
            let mut bytes = Vec::new();
            encoding::literal(&mut bytes, operand);
            encoding::bounded(&mut bytes);
            bytes
        };
        let mut points: Vec<_> = operands.iter().map(point).collect();
        points.sort_unstable();
        points.dedup();
        return Some(Known::Points(points));
    }
    tests.iter().filter_map(|test| spans(test)).reduce(|one, other| both(&one, &other)).map(Known::Spans)
}

/// Values from the first, the second not included.
type Span = (Vec<u8>, Vec<u8>);

/// What lies in one of each. Both are in order and apart, and so is what they have in common.
fn both(one: &[Span], other: &[Span]) -> Vec<Span> {
    let common = |(from, until): &Span, (other_from, other_until): &Span| (from.max(other_from).clone(), until.min(other_until).clone());
    let pairs = one.iter().flat_map(|span| other.iter().map(move |other| common(span, other)));
    pairs.filter(|(from, until)| from < until).collect()
}

/// Where the values lie that satisfy a test; none where that is not known, or anywhere.
fn spans(test: &Test) -> Option<Vec<Span>> {
    let Test::Type(types) = test else { return span(test).map(|span| vec![span]) };
    let spans = encoding::tags(*types).into_iter().map(|tag| (vec![tag], vec![tag + 1]));
    Some(spans.collect())
}

/// Where the values lie that satisfy a test; none where it is not one range.
fn span(test: &Test) -> Option<Span> {
    match test {
        Test::Compare(comparison, operand) => {
            let tag = encoding::tag(operand);
            let (first, last) = (vec![tag], vec![tag + 1]);
            let mut bytes = Vec::new();
            encoding::literal(&mut bytes, operand);
            // What was cut is somewhere among all that begin so.
            let cut = bytes.len() > encoding::LONGEST;
            bytes.truncate(encoding::LONGEST);
            Some(match comparison {
                Comparison::Greater if !cut => (encoding::behind(&bytes), last),
                Comparison::Greater | Comparison::GreaterOrEqual => (bytes, last),
                Comparison::Less if !cut => (first, bytes),
                Comparison::Less | Comparison::LessOrEqual => (first, encoding::behind(&bytes)),
            })
        }
        Test::Regex(pattern) => {
            let mut bytes = encoding::string_prefix(&literal_prefix(pattern)?);
            bytes.truncate(encoding::LONGEST);
            Some((bytes.clone(), encoding::behind(&bytes)))
        }
        _ => None,
    }
}

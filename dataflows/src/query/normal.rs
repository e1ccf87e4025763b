//! The normal form: queries that mean the same for the same reason become one tree, so that they are one standing query.
//!
//! In it `Not` stands at fields only (De Morgan), `And` and `Or` are flat, sorted and without repeats and have at least two
//! parts, `True` and `False` stand alone (`True` also in an `$elemMatch`), `In` has at least two operands, and what is equality with one
//! of several values on the same path is one `In`. Every step is exact for arrays: tests hold if *some* element satisfies them, so
//! alternatives on one path unite, and bounds on one path (`$gt` and `$lt`) do not. Cheap tests sort first, since an evaluation
//! stops at the first part that decides.

use super::ast::{Comparison, Elements, Literal, Path, Point, Predicate, Shape, Test};
use super::order::compare_literals;
use std::cmp::Ordering;

/// Brings a tree to its normal form.
pub fn normal(predicate: Predicate) -> Predicate {
    rewrite(predicate, false)
}

fn rewrite(predicate: Predicate, negated: bool) -> Predicate {
    match predicate {
        Predicate::True | Predicate::False => constant((predicate == Predicate::True) != negated),
        Predicate::Not(part) => rewrite(*part, !negated),
        Predicate::And(parts) => join(parts, negated, negated),
        Predicate::Or(parts) => join(parts, !negated, negated),
        Predicate::Field(path, test) => negate(field(path, test), negated),
    }
}

fn constant(value: bool) -> Predicate {
    if value { Predicate::True } else { Predicate::False }
}

/// Of a constant or a field only.
fn negate(predicate: Predicate, negated: bool) -> Predicate {
    match predicate {
        Predicate::True | Predicate::False => constant((predicate == Predicate::True) != negated),
        other if negated => Predicate::Not(Box::new(other)),
        other => other,
    }
}

/// `Or` (else `And`) of the parts, each negated if asked for.
fn join(parts: Vec<Predicate>, or: bool, negated: bool) -> Predicate {
    let mut flat = Vec::with_capacity(parts.len());
    let mut equalities: Vec<(Path, Vec<Literal>)> = Vec::new();
    for part in parts {
        match rewrite(part, negated) {
            // What decides, and what changes nothing.
            Predicate::True if or => return Predicate::True,
            Predicate::False if !or => return Predicate::False,
            Predicate::True | Predicate::False => {}
            Predicate::Or(inner) if or => inner.into_iter().for_each(|part| sort_out(part, or, &mut flat, &mut equalities)),
            Predicate::And(inner) if !or => inner.into_iter().for_each(|part| sort_out(part, or, &mut flat, &mut equalities)),
            other => sort_out(other, or, &mut flat, &mut equalities),
        }
    }
    equalities.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut equalities = equalities.into_iter().peekable();
    while let Some((path, mut operands)) = equalities.next() {
        while let Some((_, more)) = equalities.next_if(|(next, _)| *next == path) {
            operands.extend(more);
        }
        flat.push(negate(Predicate::Field(path, one_of(operands)), !or));
    }
    flat.sort_by(compare);
    flat.dedup();
    match (flat.len(), flat.pop()) {
        (_, None) => constant(!or),
        (1, Some(part)) => part,
        (_, Some(part)) => {
            flat.push(part);
            if or { Predicate::Or(flat) } else { Predicate::And(flat) }
        }
    }
}

/// Equalities that unite with others on their path: plain ones in an `Or`, negated ones in an `And`.
fn sort_out(part: Predicate, or: bool, flat: &mut Vec<Predicate>, equalities: &mut Vec<(Path, Vec<Literal>)>) {
    let united = match part {
        Predicate::Field(path, Test::Eq(operand)) if or => Ok((path, vec![operand])),
        Predicate::Field(path, Test::In(operands)) if or => Ok((path, operands)),
        Predicate::Not(inner) if !or => match *inner {
            Predicate::Field(path, Test::Eq(operand)) => Ok((path, vec![operand])),
            Predicate::Field(path, Test::In(operands)) => Ok((path, operands)),
            other => Err(Predicate::Not(Box::new(other))),
        },
        other => Err(other),
    };
    match united {
        Ok(equality) => equalities.push(equality),
        Err(part) => flat.push(part),
    }
}

/// Of at least one operand.
fn one_of(mut operands: Vec<Literal>) -> Test {
    operands.sort_by(compare_literals);
    operands.dedup();
    match (operands.len(), operands.pop()) {
        (1, Some(operand)) => Test::Eq(operand),
        (_, last) => {
            operands.extend(last);
            Test::In(operands)
        }
    }
}

/// One field: the tests that say the same as a simpler one, always or never.
fn field(path: Path, test: Test) -> Predicate {
    let test = match test {
        Test::In(operands) if operands.is_empty() => return Predicate::False,
        Test::In(operands) => one_of(operands),
        Test::Compare(comparison, operand) => match (comparison, &operand) {
            // Nothing compares with null but null, and nothing lies outside of false and true.
            (Comparison::Less | Comparison::Greater, Literal::Null)
            | (Comparison::Less, Literal::Bool(false))
            | (Comparison::Greater, Literal::Bool(true)) => return Predicate::False,
            (_, Literal::Null) | (Comparison::LessOrEqual, Literal::Bool(false)) | (Comparison::GreaterOrEqual, Literal::Bool(true)) => {
                Test::Eq(operand)
            }
            (Comparison::Less, Literal::Bool(true)) => Test::Eq(Literal::Bool(false)),
            (Comparison::Greater, Literal::Bool(false)) => Test::Eq(Literal::Bool(true)),
            _ => Test::Compare(comparison, operand),
        },
        // The remainder has the sign of the dividend and is smaller than the divisor, whose sign says nothing.
        Test::Mod { divisor, remainder } if remainder.unsigned_abs() >= divisor.unsigned_abs() => return Predicate::False,
        Test::Mod { divisor, remainder } => Test::Mod { divisor: divisor.checked_abs().unwrap_or(divisor), remainder },
        // An element is there.
        Test::Exists if path.components.is_empty() => return Predicate::True,
        Test::ElemMatch(elements, inner) => match normal(*inner) {
            Predicate::False => return Predicate::False,
            inner => Test::ElemMatch(elements, Box::new(inner)),
        },
        other => other,
    };
    Predicate::Field(path, test)
}

/// A total order over trees: equal only if they are the same tree. Sorts by cost of evaluation first.
pub fn compare(left: &Predicate, right: &Predicate) -> Ordering {
    let order = cost(left).cmp(&cost(right)).then_with(|| kind(left).cmp(&kind(right)));
    order.then_with(|| match (left, right) {
        (Predicate::Field(left_path, left), Predicate::Field(right_path, right)) => {
            left_path.cmp(right_path).then_with(|| compare_tests(left, right))
        }
        (Predicate::Not(left), Predicate::Not(right)) => compare(left, right),
        (Predicate::And(left), Predicate::And(right)) | (Predicate::Or(left), Predicate::Or(right)) => compare_lists(left, right, compare),
        _ => Ordering::Equal,
    })
}

fn kind(predicate: &Predicate) -> u8 {
    match predicate {
        Predicate::True => 0,
        Predicate::False => 1,
        Predicate::Field(..) => 2,
        Predicate::Not(_) => 3,
        Predicate::And(_) => 4,
        Predicate::Or(_) => 5,
    }
}

fn cost(predicate: &Predicate) -> u8 {
    match predicate {
        Predicate::True | Predicate::False => 0,
        Predicate::Field(_, test) => test_cost(test),
        Predicate::Not(part) => cost(part),
        Predicate::And(_) | Predicate::Or(_) => 20,
    }
}

/// Different for each kind of test.
fn test_cost(test: &Test) -> u8 {
    match test {
        Test::Exists => 1,
        Test::Eq(_) => 2,
        Test::Type(_) => 3,
        Test::Size(_) => 4,
        Test::Compare(..) => 5,
        Test::Mod { .. } => 6,
        Test::In(_) => 7,
        Test::GeoWithin(_) => 8,
        Test::Near { .. } => 9,
        Test::Regex(_) => 10,
        Test::ElemMatch(..) => 11,
    }
}

fn compare_tests(left: &Test, right: &Test) -> Ordering {
    match (left, right) {
        (Test::Eq(l), Test::Eq(r)) => compare_literals(l, r),
        (Test::In(l), Test::In(r)) => compare_lists(l, r, compare_literals),
        (Test::Compare(l_comparison, l), Test::Compare(r_comparison, r)) => {
            (*l_comparison as u8).cmp(&(*r_comparison as u8)).then_with(|| compare_literals(l, r))
        }
        (Test::Type(l), Test::Type(r)) => l.cmp(r),
        (Test::Regex(l), Test::Regex(r)) => (&l.source, &l.options).cmp(&(&r.source, &r.options)),
        (Test::Mod { divisor: l, remainder: l_remainder }, Test::Mod { divisor: r, remainder: r_remainder }) => {
            (l, l_remainder).cmp(&(r, r_remainder))
        }
        (Test::Size(l), Test::Size(r)) => l.cmp(r),
        (Test::ElemMatch(l_elements, l), Test::ElemMatch(r_elements, r)) => {
            let values = |elements: &Elements| *elements == Elements::Values;
            values(l_elements).cmp(&values(r_elements)).then_with(|| compare(l, r))
        }
        (Test::GeoWithin(l), Test::GeoWithin(r)) => compare_shapes(l, r),
        (Test::Near { centre: l, max_distance: l_distance }, Test::Near { centre: r, max_distance: r_distance }) => {
            compare_points(l, r).then_with(|| l_distance.total_cmp(r_distance))
        }
        (l, r) => test_cost(l).cmp(&test_cost(r)),
    }
}

fn compare_lists<T>(left: &[T], right: &[T], compare: impl Fn(&T, &T) -> Ordering) -> Ordering {
    let parts = left.iter().zip(right).map(|(left, right)| compare(left, right));
    parts.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| left.len().cmp(&right.len()))
}

fn compare_points(left: &Point, right: &Point) -> Ordering {
    left.longitude.total_cmp(&right.longitude).then_with(|| left.latitude.total_cmp(&right.latitude))
}

fn compare_shapes(left: &Shape, right: &Shape) -> Ordering {
    let kind = |shape: &Shape| match shape {
        Shape::Box(..) => 0,
        Shape::CenterSphere(..) => 1,
        Shape::Polygon(_) => 2,
    };
    match (left, right) {
        (Shape::Polygon(l), Shape::Polygon(r)) => compare_lists(l, r, |l, r| compare_lists(l, r, compare_points)),
        (Shape::Box(l_lower, l_upper), Shape::Box(r_lower, r_upper)) => {
            compare_points(l_lower, r_lower).then_with(|| compare_points(l_upper, r_upper))
        }
        (Shape::CenterSphere(l, l_radius), Shape::CenterSphere(r, r_radius)) => {
            compare_points(l, r).then_with(|| l_radius.total_cmp(r_radius))
        }
        (l, r) => kind(l).cmp(&kind(r)),
    }
}

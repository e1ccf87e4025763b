//! How a query is to hang in the index: a pure function of its predicate and of how full the keys already are.
//!
//! A predicate is one or more conjunctions (the branches of an `$or`). Of each conjunction the most selective part
//! becomes its access; conditions simple enough to be compiled are kept beside it, the rest is left to the general
//! evaluation. A conjunction without any access makes the query residual.

use super::cells;
use super::key::{self, Class};
use super::patterns::{Gate, gate};
use crate::document::Number;
use crate::query::ast::{Comparison, Component, Elements, Literal, Path, Predicate, Test};
use smallvec::SmallVec;

pub(super) type Components<'p> = SmallVec<[&'p Component; 4]>;

/// A condition that can be compiled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition<'p> {
    pub(super) path: Components<'p>,
    pub(super) negated: bool,
    pub(super) ask: Question<'p>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question<'p> {
    Equal(Operand<'p>),
    OneOf(Vec<Operand<'p>>),
    /// Class `Number` or `Date`, both bounds included
    Range(Class, u64, u64),
    Exists,
}

/// A key that may still be a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operand<'p> {
    Key(Class, u64),
    Text(Class, &'p str),
}

/// One key of an access.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hang<'p> {
    pub(super) path: Components<'p>,
    pub(super) key: HangKey<'p>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum HangKey<'p> {
    Operand(Operand<'p>),
    Gate(Class, Box<str>),
    Interval(Class, u64, u64),
}

/// Keys of which at least one is met by every document that satisfies what they stand for.
#[derive(Debug, Clone)]
pub(super) struct Access<'p> {
    cost: u64,
    pub(super) hangs: Vec<Hang<'p>>,
    /// The condition that these keys decide exactly
    pub(super) decides: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Conjunction<'p> {
    pub(super) conditions: Vec<Condition<'p>>,
    /// The conditions are all there is
    pub(super) complete: bool,
    pub(super) access: Option<Access<'p>>,
}

/// How many entries hang on a key already.
pub(super) type Load<'l> = dyn Fn(&Components<'_>, Operand<'_>) -> usize + 'l;

/// The conjunctions of which at least one must hold; none for a predicate that never does.
pub(super) fn plan<'p>(predicate: &'p Predicate, load: &Load<'_>) -> Vec<Conjunction<'p>> {
    let mut parts = Vec::new();
    flatten(predicate, false, &mut parts);
    match &parts[..] {
        [(Predicate::Or(branches), false)] => branches.iter().filter_map(|branch| conjunction(&[(branch, false)], load)).collect(),
        [(Predicate::And(branches), true)] => branches.iter().filter_map(|branch| conjunction(&[(branch, true)], load)).collect(),
        _ => conjunction(&parts, load).into_iter().collect(),
    }
}

/// The parts of a conjunction, each with whether it is negated.
fn flatten<'p>(predicate: &'p Predicate, negated: bool, parts: &mut Vec<(&'p Predicate, bool)>) {
    match (predicate, negated) {
        (Predicate::And(inner), false) | (Predicate::Or(inner), true) => inner.iter().for_each(|part| flatten(part, negated, parts)),
        (Predicate::And(inner), true) | (Predicate::Or(inner), false) if inner.len() == 1 => flatten(&inner[0], negated, parts),
        (Predicate::Not(inner), _) => flatten(inner, !negated, parts),
        (Predicate::True, false) | (Predicate::False, true) => {}
        _ => parts.push((predicate, negated)),
    }
}

fn conjunction<'p>(parts: &[(&'p Predicate, bool)], load: &Load<'_>) -> Option<Conjunction<'p>> {
    let mut flat = Vec::new();
    parts.iter().for_each(|(part, negated)| flatten(part, *negated, &mut flat));
    let mut conditions: Vec<Condition<'p>> = Vec::new();
    let mut access = None;
    let mut complete = true;
    for (part, negated) in flat {
        let condition = match part {
            Predicate::False | Predicate::True => return None,
            Predicate::Field(path, test) => condition(path, test, negated),
            _ => None,
        };
        match condition {
            Some(condition) => add(&mut conditions, condition),
            None => {
                complete = false;
                better(&mut access, access_of(&Components::new(), part, negated, load));
            }
        }
    }
    for (number, condition) in conditions.iter().enumerate() {
        let decided = access_of_condition(condition, load).map(|access| match (&condition.ask, condition.negated) {
            (Question::Range(class, low, high), false) if access.hangs.len() == 1 && exact(&access, *class, *low, *high) => {
                Access { decides: Some(number), ..access }
            }
            (Question::Equal(_) | Question::OneOf(_) | Question::Exists, false) => Access { decides: Some(number), ..access },
            _ => access,
        });
        better(&mut access, decided);
    }
    Some(Conjunction { conditions, complete, access })
}

fn exact(access: &Access<'_>, class: Class, low: u64, high: u64) -> bool {
    let range = if class == Class::Number { Class::NumberRange } else { Class::DateRange };
    access.hangs.first().is_some_and(|hang| hang.key == HangKey::Interval(range, low, high))
}

fn better<'p>(best: &mut Option<Access<'p>>, other: Option<Access<'p>>) {
    if let Some(other) = other
        && best.as_ref().is_none_or(|best| other.cost < best.cost)
    {
        *best = Some(other);
    }
}

/// Two ranges of one path are one condition: each side needs only some value that satisfies it.
fn add<'p>(conditions: &mut Vec<Condition<'p>>, new: Condition<'p>) {
    if let (Question::Range(class, low, high), false) = (&new.ask, new.negated) {
        for old in conditions.iter_mut().filter(|old| !old.negated && old.path == new.path) {
            if let Question::Range(other, from, to) = &mut old.ask
                && other == class
            {
                (*from, *to) = ((*from).max(*low), (*to).min(*high));
                return;
            }
        }
    }
    conditions.push(new);
}

fn condition<'p>(path: &'p Path, test: &'p Test, negated: bool) -> Option<Condition<'p>> {
    question(test).map(|ask| Condition { path: path.components.iter().collect(), negated, ask })
}

fn question(test: &Test) -> Option<Question<'_>> {
    Some(match test {
        Test::Eq(literal) => Question::Equal(operand(literal)?),
        Test::In(literals) => Question::OneOf(literals.iter().map(operand).collect::<Option<_>>()?),
        Test::Compare(comparison, literal) => {
            let (class, low, high, exact) = range(*comparison, literal)?;
            if !exact {
                return None;
            }
            Question::Range(class, low, high)
        }
        Test::Exists => Question::Exists,
        _ => return None,
    })
}

/// The key of a scalar other than `null`.
fn operand(literal: &Literal) -> Option<Operand<'_>> {
    match literal {
        Literal::Bool(value) => Some(Operand::Key(Class::Bool, u64::from(*value))),
        Literal::Number(value) => {
            let (class, key) = key::number(*value);
            Some(Operand::Key(class, key))
        }
        Literal::String(value) => Some(Operand::Text(Class::String, value)),
        Literal::Date(value) => Some(Operand::Key(Class::Date, key::instant(*value))),
        Literal::Null | Literal::Array(_) | Literal::Object(_) => None,
    }
}

/// Class, bounds (both included), and whether they are exact. Within numbers and instants only.
fn range(comparison: Comparison, literal: &Literal) -> Option<(Class, u64, u64, bool)> {
    let (class, least, greatest, below, at, above, exact) = match literal {
        Literal::Number(number) => {
            let value = match number {
                Number::Int(value) => *value as f64,
                Number::Float(value) => *value,
            };
            let exact = value.abs() < key::EXACT;
            // A rounded bound is widened by one step, so that the interval holds all candidates.
            let at = if exact { [value, value] } else { [value.next_down(), value.next_up()] };
            let (least, greatest) = bounds(Class::Number);
            let keys = [value.next_down(), at[0], at[1], value.next_up()].map(key::float);
            let (below, above) = if exact { (keys[0], keys[3]) } else { (keys[2], keys[1]) };
            (Class::Number, least, greatest, below, [keys[1], keys[2]], above, exact)
        }
        Literal::Date(value) => {
            let key = key::instant(*value);
            let exact = *value > i64::MIN && *value < i64::MAX;
            let (below, above) = if exact { (key - 1, key + 1) } else { (key, key) };
            (Class::Date, 0, u64::MAX, below, [key, key], above, exact)
        }
        _ => return None,
    };
    let (low, high) = match comparison {
        Comparison::Less => (least, below),
        Comparison::LessOrEqual => (least, at[1]),
        Comparison::Greater => (above, greatest),
        Comparison::GreaterOrEqual => (at[0], greatest),
    };
    Some((class, low, high, exact))
}

/// What a lookup is expected to cost, in entries looked at. Orders of magnitude are what counts.
mod cost {
    pub(super) const BOOL: u64 = 1_500;
    pub(super) const SEVERAL: u64 = 700;
    pub(super) const BOUNDED: u64 = 1_000;
    pub(super) const PREFIX: u64 = 900;
    pub(super) const CELLS: u64 = 950;
    pub(super) const LITERAL: u64 = 2_000;
    pub(super) const SIZE: u64 = 5_000;
    pub(super) const HALF_OPEN: u64 = 100_000;
    pub(super) const ABSENT: u64 = 400_000;
    pub(super) const OUTSIDE: u64 = 500_000;
    pub(super) const PRESENT: u64 = 1_000_000;
}

fn equal<'p>(path: &Components<'p>, operand: Operand<'p>, load: &Load<'_>) -> Access<'p> {
    let load = load(path, operand) as u64;
    // A long list has a second level, so length soon stops to matter.
    let full = load.min(cost::SEVERAL) + u64::from((load + 1).ilog2());
    let few = if let Operand::Key(Class::Bool, _) = operand { cost::BOOL } else { 1 };
    single(path, few + full, HangKey::Operand(operand))
}

fn single<'p>(path: &Components<'p>, cost: u64, key: HangKey<'p>) -> Access<'p> {
    Access { cost, hangs: vec![Hang { path: path.clone(), key }], decides: None }
}

/// The bounds of a range that is open on both sides.
fn bounds(class: Class) -> (u64, u64) {
    if class == Class::Number { (key::float(f64::NEG_INFINITY), key::float(f64::INFINITY)) } else { (0, u64::MAX) }
}

fn interval<'p>(path: &Components<'p>, class: Class, low: u64, high: u64) -> Access<'p> {
    let (least, greatest) = bounds(class);
    let range = match class {
        Class::Number => Class::NumberRange,
        Class::Date => Class::DateRange,
        other => other,
    };
    let cost = if low > least && high < greatest { cost::BOUNDED } else { cost::HALF_OPEN };
    single(path, cost, HangKey::Interval(range, low, high))
}

fn union<'p>(accesses: impl Iterator<Item = Option<Access<'p>>>) -> Option<Access<'p>> {
    accesses.reduce(|all, one| {
        let (mut all, one) = (all?, one?);
        all.cost = all.cost.saturating_add(one.cost);
        all.hangs.extend(one.hangs);
        Some(all)
    })?
}

fn present<'p>(path: &Components<'p>) -> Access<'p> {
    single(path, cost::PRESENT, HangKey::Operand(Operand::Key(Class::Present, 0)))
}

fn absent<'p>(path: &Components<'p>) -> Access<'p> {
    single(path, cost::ABSENT, HangKey::Operand(Operand::Key(Class::Null, 0)))
}

fn access_of_condition<'p>(condition: &Condition<'p>, load: &Load<'_>) -> Option<Access<'p>> {
    let path = &condition.path;
    match (&condition.ask, condition.negated) {
        (Question::Equal(operand), false) => Some(equal(path, *operand, load)),
        (Question::OneOf(operands), false) => union(operands.iter().map(|operand| Some(equal(path, *operand, load)))),
        (Question::Range(class, low, high), false) => Some(interval(path, *class, *low, *high)),
        (Question::Exists, false) => Some(present(path)),
        (Question::Exists, true) => Some(absent(path)),
        (Question::Range(class, low, high), true) => {
            // All values outside of the range, or of another type, or none.
            let off = if *class == Class::Number { Class::OffNumber } else { Class::OffDate };
            let off = single(path, cost::OUTSIDE, HangKey::Operand(Operand::Key(off, 0)));
            let (least, greatest) = bounds(*class);
            let below = (*low > least).then(|| Some(interval(path, *class, least, low - 1)));
            let above = (*high < greatest).then(|| Some(interval(path, *class, high + 1, greatest)));
            union([Some(off), Some(absent(path))].into_iter().chain(below).chain(above))
        }
        (Question::Equal(_) | Question::OneOf(_), true) => None,
    }
}

/// The keys of a part; below an `$elemMatch` paths continue the one given.
fn access_of<'p>(above: &Components<'p>, part: &'p Predicate, negated: bool, load: &Load<'_>) -> Option<Access<'p>> {
    match (part, negated) {
        (Predicate::Not(inner), _) => access_of(above, inner, !negated, load),
        (Predicate::And(parts), false) | (Predicate::Or(parts), true) => {
            let mut best = None;
            parts.iter().for_each(|part| better(&mut best, access_of(above, part, negated, load)));
            best
        }
        (Predicate::Or(parts), false) | (Predicate::And(parts), true) => {
            union(parts.iter().map(|part| access_of(above, part, negated, load)))
        }
        (Predicate::Field(path, test), _) => {
            // In an array within an array, positions are fields; the walk along documents does not go there.
            if !above.is_empty() && path.components.first().is_some_and(|component| component.position.is_some()) {
                return None;
            }
            let mut whole = above.clone();
            whole.extend(path.components.iter());
            access_of_test(&whole, test, negated, load)
        }
        (Predicate::True | Predicate::False, _) => None,
    }
}

fn access_of_literal<'p>(path: &Components<'p>, literal: &'p Literal, load: &Load<'_>) -> Access<'p> {
    match operand(literal) {
        Some(operand) => equal(path, operand, load),
        None if *literal == Literal::Null => absent(path),
        None => equal(path, Operand::Key(Class::Whole, key::whole_of_literal(literal)), load),
    }
}

fn access_of_test<'p>(path: &Components<'p>, test: &'p Test, negated: bool, load: &Load<'_>) -> Option<Access<'p>> {
    if negated {
        return match test {
            Test::Eq(Literal::Null) => {
                let opened = single(path, 0, HangKey::Operand(Operand::Key(Class::Opened, 0)));
                union([Some(present(path)), Some(opened)].into_iter())
            }
            Test::Exists => Some(absent(path)),
            _ => None,
        };
    }
    let text = |value: &str, comparison: &Comparison| match comparison {
        Comparison::Less | Comparison::LessOrEqual => (0, key::text(value)),
        Comparison::Greater | Comparison::GreaterOrEqual => (key::text(value), u64::MAX),
    };
    Some(match test {
        Test::Eq(literal) => access_of_literal(path, literal, load),
        Test::In(literals) => union(literals.iter().map(|literal| Some(access_of_literal(path, literal, load))))?,
        Test::Compare(comparison, literal) => match (literal, range(*comparison, literal)) {
            (_, Some((class, low, high, _))) => interval(path, class, low, high),
            (Literal::String(value), None) => {
                let (low, high) = text(value, comparison);
                interval(path, Class::TextRange, low, high)
            }
            (Literal::Null, None) => absent(path),
            _ => present(path),
        },
        Test::Size(size) => single(path, cost::SIZE, HangKey::Operand(Operand::Key(Class::Size, *size))),
        Test::Regex(pattern) => match gate(pattern) {
            Gate::Prefix(prefix) => single(path, cost::PREFIX, HangKey::Gate(Class::Prefix, prefix)),
            Gate::Literals(literals) => {
                let hang = |literal| Some(single(path, cost::LITERAL, HangKey::Gate(Class::Literal, literal)));
                union(literals.into_iter().map(hang))?
            }
            Gate::Open => present(path),
        },
        Test::ElemMatch(Elements::Objects, inner) => access_of(path, inner, false, load).unwrap_or_else(|| present(path)),
        // An array that its position selects is not opened by the walk, but it is by this test.
        Test::ElemMatch(Elements::Values, _) if path.last().is_some_and(|component| component.position.is_some()) => present(path),
        Test::ElemMatch(Elements::Values, inner) => access_of_element(path, inner, false, load).unwrap_or_else(|| present(path)),
        Test::GeoWithin(shape) => in_cells(path, cells::bounds(shape)),
        Test::Near { centre, max_distance } => in_cells(path, cells::around(*centre, max_distance / crate::query::geo::EARTH_RADIUS)),
        Test::Exists | Test::Type(_) | Test::Mod { .. } => present(path),
    })
}

/// The keys of a predicate on elements themselves. Both sides of a range are met by one element, so as keys they
/// are an interval.
fn access_of_element<'p>(path: &Components<'p>, part: &'p Predicate, negated: bool, load: &Load<'_>) -> Option<Access<'p>> {
    let mut parts = Vec::new();
    flatten(part, negated, &mut parts);
    let mut best = None;
    let mut conditions: Vec<Condition<'p>> = Vec::new();
    for (part, negated) in parts {
        match part {
            // What stands in an array within an array: the walk gives the elements of one array and does not open them.
            Predicate::Field(_, Test::ElemMatch(..)) if !negated => better(&mut best, Some(present(path))),
            Predicate::Field(_, test) => match condition_at(path, test, negated) {
                Some(condition) => add(&mut conditions, condition),
                None => better(&mut best, access_of_test(path, test, negated, load)),
            },
            Predicate::Or(branches) => better(&mut best, union(branches.iter().map(|branch| access_of_element(path, branch, false, load)))),
            Predicate::And(branches) => better(&mut best, union(branches.iter().map(|branch| access_of_element(path, branch, true, load)))),
            _ => {}
        }
    }
    conditions.iter().for_each(|condition| better(&mut best, access_of_condition(condition, load)));
    best
}

fn condition_at<'p>(path: &Components<'p>, test: &'p Test, negated: bool) -> Option<Condition<'p>> {
    question(test).map(|ask| Condition { path: path.clone(), negated, ask })
}

fn in_cells<'p>(path: &Components<'p>, bounds: cells::Bounds) -> Access<'p> {
    match cells::cells(bounds) {
        Some(keys) => {
            let hang = |key| Hang { path: path.clone(), key: HangKey::Operand(Operand::Key(Class::Cell, key)) };
            Access { cost: cost::CELLS, hangs: keys.into_iter().map(hang).collect(), decides: None }
        }
        None => present(path),
    }
}

//! Putting a planned query into the index, and taking it out.

use super::entries::{Ask, Check, NONE, Names, Then};
use super::key::Class;
use super::paths::Paths;
use super::plan::{self, Components, Condition, Conjunction, Hang, HangKey, Operand, Question};
use super::strings::Strings;
use super::{IndexError, Query, QueryIndex, Rest, Scope, Set};
use crate::delta::QueryId;
use crate::query::ast::Predicate;
use std::hash::BuildHasher;
use std::sync::Arc;

pub(super) fn insert(
    index: &mut QueryIndex,
    app: &Arc<str>,
    bucket: &Arc<str>,
    id: QueryId,
    predicate: Arc<Predicate>,
) -> Result<(), IndexError> {
    let known = index.scope(app, bucket);
    let planned = predicate.clone();
    let conjunctions = {
        let (paths, strings, entries) = (&index.paths, &index.strings, &index.entries);
        let scope = known.map(|scope| (index.scopes[scope].root, index.scopes[scope].slot));
        plan::plan(&planned, &|path: &Components<'_>, operand: Operand<'_>| {
            let (class, key) = match operand {
                Operand::Key(class, key) => (class, Some(key)),
                Operand::Text(class, text) => (class, strings.find(text).map(u64::from)),
            };
            let load = || {
                let (root, slot) = scope?;
                Some(entries.load(root, paths.find(slot, path.iter().copied())?, class, key?))
            };
            load().unwrap_or(0)
        })
    };
    let residual = index.options.scan || conjunctions.iter().any(|conjunction| conjunction.access.is_none());
    if residual && !index.options.scan {
        let replaced = index.number(id).map(|number| &index.queries[number]).filter(|old| old.residual && Some(old.scope) == known);
        let used = index.residual.get(app).copied().unwrap_or(0) - usize::from(replaced.is_some());
        if used >= index.options.residual_queries {
            return Err(IndexError::ResidualQuota { app: app.clone(), bucket: bucket.clone(), limit: index.options.residual_queries });
        }
    }
    remove(index, id);
    let scope = scope(index, app, bucket);
    index.scopes[scope].queries += 1;
    if residual {
        *index.residual.entry(app.clone()).or_default() += 1;
        index.residual_count += 1;
    }
    let number = index.queries.insert(Query { id: id.0, places: NONE, scope, residual, ..Query::default() });
    let (queries, hashing) = (&index.queries, &index.hashing);
    index.numbers.insert_unique(hashing.hash_one(id.0), number, |number| hashing.hash_one(queries[*number].id));

    let alone = conjunctions.len() == 1;
    let mut rest = Rest::default();
    let mut verify_predicate = residual && !alone && !conjunctions.is_empty();
    if residual {
        let check = match &conjunctions[..] {
            [conjunction] => {
                let (check, more) = inline(index, scope, conjunction, None);
                verify_predicate = !conjunction.complete;
                if more {
                    rest = compile(index, scope, conjunction);
                }
                Check { then: if more || verify_predicate { Then::Verify } else { Then::Matches }, ..check }
            }
            _ => Check { then: Then::Verify, ..Check::default() },
        };
        if !conjunctions.is_empty() {
            let root = index.scopes[scope].root;
            index.queries[number].places = index.entries.hang_residual(root, check, number);
        }
    } else {
        for conjunction in &conjunctions {
            let Some(access) = &conjunction.access else { continue };
            let (check, more) = inline(index, scope, conjunction, access.decides);
            let then = if conjunction.complete && !more { Then::Matches } else { Then::Verify };
            if then == Then::Verify {
                if alone && rest.checks.is_empty() {
                    rest = compile(index, scope, conjunction);
                }
                verify_predicate |= !conjunction.complete || !alone;
            }
            for hang in &access.hangs {
                put(index, scope, number, hang, Check { then, ..check });
            }
            let (mut names, _) = index.names();
            names.release_check(&check);
        }
    }
    if verify_predicate {
        rest.predicate = Some(predicate);
    }
    if !rest.checks.is_empty() || rest.predicate.is_some() {
        index.rest += memory(&rest);
        index.queries[number].rest = Some(Box::new(rest));
    }
    Ok(())
}

fn scope(index: &mut QueryIndex, app: &Arc<str>, bucket: &Arc<str>) -> u32 {
    if let Some(scope) = index.scope(app, bucket) {
        return scope;
    }
    let (slot, root) = (index.paths.root(), index.entries.root());
    let scope = Scope { app: app.clone(), bucket: bucket.clone(), slot, root, ..Scope::default() };
    let number = index.scopes.insert(scope);
    let (scopes, hashing) = (&index.scopes, &index.hashing);
    let hash = |scope: &Scope| hashing.hash_one((&*scope.app, &*scope.bucket));
    index.scope_numbers.insert_unique(hash(&scopes[number]), number, |number| hash(&scopes[*number]));
    number
}

/// The most telling condition that the access does not decide, compiled; and whether there are more. The check holds
/// what it names; whoever stores it keeps a hold of its own.
fn inline(index: &mut QueryIndex, scope: u32, conjunction: &Conjunction<'_>, decided: Option<usize>) -> (Check, bool) {
    let rank = |condition: &Condition<'_>| match (&condition.ask, condition.negated) {
        (Question::Equal(_), false) => 0,
        (Question::Range(..), false) => 1,
        (Question::Exists, _) => 3,
        (_, true) => 2,
        (Question::OneOf(_), false) => 9,
    };
    let open = conjunction.conditions.iter().enumerate().filter(|(number, _)| Some(*number) != decided);
    let count = open.clone().count();
    let best = open.map(|(_, condition)| condition).filter(|c| !matches!(c.ask, Question::OneOf(_))).min_by_key(|c| rank(c));
    match best {
        Some(condition) => (check(index, scope, condition, &mut Vec::new()), count > 1),
        None => (Check::default(), count > 0),
    }
}

/// All conditions, cheapest first.
fn compile(index: &mut QueryIndex, scope: u32, conjunction: &Conjunction<'_>) -> Rest {
    let mut sets = Vec::new();
    let mut checks: Vec<Check> = conjunction.conditions.iter().map(|condition| check(index, scope, condition, &mut sets)).collect();
    checks.sort_by_key(|check| check.ask == Ask::OneOf);
    Rest { checks: checks.into(), sets: sets.into(), predicate: None }
}

fn check(index: &mut QueryIndex, scope: u32, condition: &Condition<'_>, sets: &mut Vec<Set>) -> Check {
    let slot = index.paths.acquire(index.scopes[scope].slot, condition.path.iter().copied());
    let (paths, strings) = (&mut index.paths, &mut index.strings);
    let (ask, class, low, high) = match &condition.ask {
        Question::Equal(operand) => {
            let (class, key) = key_of(paths, strings, slot, *operand);
            (Ask::Equal, class, key, key)
        }
        Question::Range(class, low, high) => (Ask::Range, *class, *low, *high),
        Question::Exists => (Ask::Exists, Class::Present, 0, 0),
        Question::OneOf(operands) => {
            let mut set: Vec<_> = operands.iter().map(|operand| key_of(paths, strings, slot, *operand)).collect();
            set.sort_unstable();
            sets.push(set.into());
            (Ask::OneOf, Class::Null, sets.len() as u64 - 1, 0)
        }
    };
    Check { low, high, slot, ask, class, negated: condition.negated, then: Then::Matches }
}

/// The operand's key; holds its string for the slot.
fn key_of(paths: &mut Paths, strings: &mut Strings, slot: u32, operand: Operand<'_>) -> (Class, u64) {
    match operand {
        Operand::Key(class, key) => (class, key),
        Operand::Text(class, text) => {
            paths.count_strings(slot, 1);
            (class, u64::from(strings.acquire(text)))
        }
    }
}

fn put(index: &mut QueryIndex, scope: u32, number: u32, hang: &Hang<'_>, check: Check) {
    let (root, top) = (index.scopes[scope].root, index.scopes[scope].slot);
    let slot = index.paths.acquire(top, hang.path.iter().copied());
    let (class, key, string) = match &hang.key {
        HangKey::Operand(Operand::Key(class, key)) => (*class, *key, None),
        HangKey::Operand(Operand::Text(class, text)) => (*class, 0, Some(index.strings.acquire(text))),
        HangKey::Gate(class, text) => (*class, 0, Some(index.strings.acquire(text))),
        HangKey::Interval(class, _, _) => (*class, 0, None),
    };
    let key = string.map_or(key, u64::from);
    let interval = if let HangKey::Interval(_, low, high) = hang.key { Some((low, high)) } else { None };
    let next = index.queries[number].places;
    let (mut names, entries) = index.names();
    names.retain_check(&check);
    let place = entries.hang(&mut names, root, slot, class, key, interval, check, number, next);
    // The node has holds of its own now.
    names.paths.release(slot);
    if let Some(string) = string {
        names.strings.release(string);
    }
    index.queries[number].places = place;
    if let Class::Null | Class::Opened = class {
        *index.scopes[scope].absent.entry((slot, class)).or_default() += 1;
    }
}

pub(super) fn remove(index: &mut QueryIndex, id: QueryId) -> bool {
    let Some(number) = index.number(id) else { return false };
    if let Ok(entry) = index.numbers.find_entry(index.hashing.hash_one(id.0), |other| *other == number) {
        entry.remove();
    }
    let query = index.queries.remove(number);
    let (queries, hashing) = (&index.queries, &index.hashing);
    super::shrink(&mut index.numbers, |number| hashing.hash_one(queries[*number].id));
    let mut place = query.places;
    while place != NONE {
        let node = &index.entries.nodes[index.entries.places[place].node];
        if let Class::Null | Class::Opened = node.class
            && node.parent == index.scopes[query.scope].root
        {
            let key = (node.slot, node.class);
            let absent = &mut index.scopes[query.scope].absent;
            if let Some(count) = absent.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    absent.remove(&key);
                }
            }
        }
        let (mut names, entries) = index.names();
        place = entries.take(&mut names, place);
    }
    if let Some(rest) = &query.rest {
        index.rest -= memory(rest);
        let (mut names, _) = index.names();
        release(&mut names, rest);
    }
    let scope = &mut index.scopes[query.scope];
    if query.residual {
        index.residual_count -= 1;
        if let Some(count) = index.residual.get_mut(&scope.app) {
            *count -= 1;
            if *count == 0 {
                index.residual.remove(&scope.app);
            }
        }
    }
    scope.queries -= 1;
    if scope.queries == 0 {
        let hash = index.hashing.hash_one((&*scope.app, &*scope.bucket));
        if let Ok(entry) = index.scope_numbers.find_entry(hash, |other| *other == query.scope) {
            entry.remove();
        }
        let scope = index.scopes.remove(query.scope);
        index.entries.release_root(scope.root);
        index.paths.release_root(scope.slot);
    }
    true
}

fn release(names: &mut Names<'_>, rest: &Rest) {
    for check in &rest.checks {
        if let (Ask::OneOf, Some(set)) = (check.ask, rest.sets.get(check.low as usize)) {
            for (_, key) in set.iter().filter(|(class, _)| *class == Class::String) {
                names.paths.count_strings(check.slot, -1);
                names.strings.release(*key as u32);
            }
        }
        names.release_check(check);
    }
}

fn memory(rest: &Rest) -> usize {
    let sets = rest.sets.iter().map(|set| size_of_val(&**set) + 16).sum::<usize>();
    // A predicate that is kept is shared with whoever registered the query.
    size_of::<Rest>() + size_of_val(&*rest.checks) + sets + if rest.predicate.is_some() { 256 } else { 0 }
}

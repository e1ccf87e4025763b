//! Regular expressions: what a text must contain for one to match, and the automata that look for all of it at once.

use super::key::{CLASSES, Hashing};
use super::paths::PREFIX;
use crate::query::ast::Pattern;
use aho_corasick::{AhoCorasick, MatchKind};
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use std::collections::HashMap;

const _: () = assert!(CLASSES <= 32, "classes are bits of a slot");

/// Shorter literals are in too many texts to be worth looking for.
const SHORTEST: usize = 2;
/// Longer ones are cut: so no position of a text has more than this many hits.
const LONGEST: usize = 16;
/// So many alternatives a pattern may be hung on.
const ALTERNATIVES: usize = 16;

/// What every text that a pattern matches has.
#[derive(Debug, PartialEq)]
pub(super) enum Gate {
    /// It starts so
    Prefix(Box<str>),
    /// It contains one of these, in lower or upper case (of ASCII; these are in lower case)
    Literals(Vec<Box<str>>),
    /// Nothing is known
    Open,
}

pub(super) fn gate(pattern: &Pattern) -> Gate {
    let Ok(hir) = regex_syntax::parse(pattern.regex.as_str()) else { return Gate::Open };
    if let Some(prefix) = prefix(&hir) {
        return Gate::Prefix(cut(&prefix, PREFIX).into());
    }
    match literals(&hir) {
        Some(found) => Gate::Literals(found.iter().map(|literal| cut(literal, LONGEST).into()).collect()),
        None => Gate::Open,
    }
}

/// What every text that the expression matches begins with, if it says so at its beginning.
pub fn literal_prefix(pattern: &Pattern) -> Option<String> {
    prefix(&regex_syntax::parse(pattern.regex.as_str()).ok()?)
}

fn cut(text: &str, most: usize) -> &str {
    let mut length = text.len().min(most);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    &text[..length]
}

/// `^` and then a literal.
fn prefix(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Capture(capture) => prefix(&capture.sub),
        HirKind::Concat(parts) => match (parts.first()?.kind(), parts.get(1)?.kind()) {
            (HirKind::Look(Look::Start), HirKind::Literal(literal)) => std::str::from_utf8(&literal.0).ok().map(str::to_owned),
            _ => None,
        },
        _ => None,
    }
}

/// Literals in lower case of which each matching text contains at least one, the more telling the better.
fn literals(hir: &Hir) -> Option<Vec<String>> {
    let long_enough = |literals: &Vec<String>| literals.iter().all(|literal| literal.len() >= SHORTEST) && literals.len() <= ALTERNATIVES;
    match hir.kind() {
        HirKind::Literal(_) | HirKind::Class(_) => Some(vec![letters(hir)?]).filter(long_enough),
        HirKind::Capture(capture) => literals(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => literals(&repetition.sub),
        HirKind::Alternation(branches) => {
            let all: Option<Vec<Vec<String>>> = branches.iter().map(literals).collect();
            Some(all?.into_iter().flatten().collect()).filter(long_enough)
        }
        HirKind::Concat(parts) => {
            let (mut best, mut run): (Option<Vec<String>>, String) = (None, String::new());
            // The shortest alternative decides how telling a set is.
            let telling = |literals: &Vec<String>| literals.iter().map(String::len).min().unwrap_or(0) * 4 - literals.len().min(4);
            let mut offer = |candidate: Vec<String>| {
                if long_enough(&candidate) && best.as_ref().is_none_or(|best| telling(&candidate) > telling(best)) {
                    best = Some(candidate);
                }
            };
            for part in parts {
                match letters(part) {
                    Some(text) => run.push_str(&text),
                    None => {
                        offer(vec![std::mem::take(&mut run)]);
                        if let Some(found) = literals(part) {
                            offer(found);
                        }
                    }
                }
            }
            offer(vec![run]);
            best
        }
        _ => None,
    }
}

/// The text that an expression stands for, in lower case, if it is one but for the case of ASCII letters.
fn letters(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok().map(str::to_ascii_lowercase),
        HirKind::Class(Class::Unicode(class)) => {
            let ranges: Vec<_> = class.ranges().iter().map(|range| (range.start(), range.end())).collect();
            match ranges[..] {
                // `k` and `s` have a third form that is not ASCII, so they are not here.
                [(upper, also_upper), (lower, also_lower)]
                    if upper == also_upper && lower == also_lower && upper.is_ascii_uppercase() && upper.to_ascii_lowercase() == lower =>
                {
                    Some(lower.into())
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The automata of all slots that have literals.
#[derive(Default)]
pub(super) struct Patterns {
    slots: HashMap<u32, Literals, Hashing>,
    /// Slots with new literals
    changed: Vec<u32>,
    bytes: usize,
}

/// The literals of one slot: automata, each at least twice as large as the next, so that a new literal costs
/// a rebuild of small ones mostly.
#[derive(Default)]
struct Literals {
    /// With the numbers of their strings. Some may be gone since, or be the numbers of other strings now: such hits
    /// lead to no entry, or to one whose query is verified anyway.
    tiers: Vec<(AhoCorasick, Vec<u32>)>,
    fresh: Vec<u32>,
    live: HashMap<u32, Box<str>, Hashing>,
    /// Literals that went since the last rebuild of all tiers
    dead: usize,
}

impl Patterns {
    pub(super) fn add(&mut self, slot: u32, number: u32, text: &str) {
        let literals = self.slots.entry(slot).or_default();
        literals.fresh.push(number);
        literals.live.insert(number, text.into());
        self.changed.push(slot);
    }

    pub(super) fn remove(&mut self, slot: u32, number: u32) {
        let Some(literals) = self.slots.get_mut(&slot) else { return };
        literals.live.remove(&number);
        literals.dead += 1;
        if literals.live.is_empty() {
            self.slots.remove(&slot);
        } else if literals.dead > literals.live.len() + 64 {
            self.changed.push(slot);
        }
    }

    /// Builds the automata that changes since the last call ask for.
    pub(super) fn refresh(&mut self) {
        if self.changed.is_empty() {
            return;
        }
        for slot in std::mem::take(&mut self.changed) {
            if let Some(literals) = self.slots.get_mut(&slot) {
                literals.refresh();
            }
        }
        let tiers = self.slots.values().flat_map(|literals| &literals.tiers);
        self.bytes = tiers.map(|(automaton, strings)| automaton.memory_usage() + strings.len() * 48).sum();
    }

    /// Hands out the numbers of the literals that a text contains, perhaps more than once.
    pub(super) fn find(&self, slot: u32, text: &str, mut found: impl FnMut(u32)) {
        let Some(literals) = self.slots.get(&slot) else { return };
        for (automaton, strings) in &literals.tiers {
            for hit in automaton.find_overlapping_iter(text) {
                if let Some(number) = strings.get(hit.pattern().as_usize()) {
                    found(*number);
                }
            }
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<(u32, Literals)>() + self.bytes
    }
}

impl Literals {
    fn refresh(&mut self) {
        let mut strings = std::mem::take(&mut self.fresh);
        let all = self.dead > self.live.len() + 64;
        while self.tiers.last().is_some_and(|(_, last)| all || last.len() <= strings.len() * 2) {
            strings.extend(self.tiers.pop().into_iter().flat_map(|(_, more)| more));
        }
        if all {
            self.dead = 0;
        }
        strings.sort_unstable();
        strings.dedup();
        strings.retain(|number| self.live.contains_key(number));
        if strings.is_empty() {
            return;
        }
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard);
        match builder.build(strings.iter().filter_map(|number| self.live.get(number)).map(|text| &**text)) {
            Ok(automaton) => self.tiers.push((automaton, strings)),
            Err(error) => {
                // Beyond 2^31 states, which limits on memory do not allow before: keep them for a smaller build.
                tracing::error!(%error, "literals of regular expressions do not fit one automaton");
                self.fresh = strings;
            }
        }
    }
}

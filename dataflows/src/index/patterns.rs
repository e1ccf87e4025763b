//! Regular expressions: what a text must contain for one to match, and the automata that look for all of it at once.

use super::key::{CLASSES, Hashing};
use super::paths::PREFIX;
use super::probe::Mask;
use crate::query::ast::Pattern;
use aho_corasick::{AhoCorasick, MatchKind};
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

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
    /// Slots whose automata are to be built
    changed: HashSet<u32, Hashing>,
    bytes: usize,
}

/// The literals of one slot: automata, each at least twice as large as the next, so that a new literal costs
/// a rebuild of small ones mostly.
#[derive(Default)]
struct Literals {
    tiers: Vec<Tier>,
    /// In no automaton yet, and all alive: those that come and go between two changes leave nothing
    fresh: HashSet<u32, Hashing>,
    live: HashMap<u32, Box<str>, Hashing>,
    /// Literals in automata that went since the last rebuild of all tiers
    dead: usize,
}

/// One automaton.
struct Tier {
    automaton: AhoCorasick,
    /// The numbers of its strings. Some may be gone since, or be the numbers of other strings now: such hits
    /// lead to no entry, or to one whose query is verified anyway.
    strings: Vec<u32>,
    /// Of each, the change that has it and in which images
    seen: Vec<Cell<u32>>,
}

impl Patterns {
    pub(super) fn add(&mut self, slot: u32, number: u32, text: &str) {
        let literals = self.slots.entry(slot).or_default();
        literals.fresh.insert(number);
        literals.live.insert(number, text.into());
        self.changed.insert(slot);
    }

    pub(super) fn remove(&mut self, slot: u32, number: u32) {
        let Some(literals) = self.slots.get_mut(&slot) else { return };
        literals.live.remove(&number);
        if !literals.fresh.remove(&number) {
            literals.dead += 1;
        }
        if literals.live.is_empty() {
            self.slots.remove(&slot);
            self.changed.remove(&slot);
        } else if literals.dead > literals.live.len() + 64 {
            self.changed.insert(slot);
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
        self.bytes = tiers.map(|tier| tier.automaton.memory_usage() + tier.strings.len() * 52).sum();
    }

    /// Stamps start from the beginning.
    pub(super) fn reset(&mut self) {
        let tiers = self.slots.values().flat_map(|literals| &literals.tiers);
        tiers.flat_map(|tier| &tier.seen).for_each(|seen| seen.set(0));
    }

    /// Hands out the numbers of the literals that a text of these images has, but for those that another text of them had before:
    /// a text may have each as often as it has bytes.
    pub(super) fn find(&self, slot: u32, text: &str, stamp: u32, mask: Mask, mut found: impl FnMut(u32, Mask)) {
        let Some(literals) = self.slots.get(&slot) else { return };
        for tier in &literals.tiers {
            for hit in tier.automaton.find_overlapping_iter(text) {
                let at = hit.pattern().as_usize();
                let (Some(number), Some(seen)) = (tier.strings.get(at), tier.seen.get(at)) else { continue };
                let before = if seen.get() & !3 == stamp { seen.get() } else { stamp };
                let fresh = mask & !before;
                if fresh != 0 {
                    seen.set(before | fresh);
                    found(*number, fresh);
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
        let mut strings: Vec<u32> = std::mem::take(&mut self.fresh).into_iter().collect();
        let all = self.dead > self.live.len() + 64;
        while self.tiers.last().is_some_and(|last| all || last.strings.len() <= strings.len() * 2) {
            strings.extend(self.tiers.pop().into_iter().flat_map(|last| last.strings));
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
            Ok(automaton) => {
                let seen = vec![Cell::new(0); strings.len()];
                self.tiers.push(Tier { automaton, strings, seen });
            }
            Err(error) => {
                // Beyond 2^31 states, which limits on memory do not allow before: keep them for a smaller build.
                tracing::error!(%error, "literals of regular expressions do not fit one automaton");
                self.fresh = strings.into_iter().collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(texts: &[String]) -> Patterns {
        let mut patterns = Patterns::default();
        for (number, text) in (0..).zip(texts) {
            patterns.add(7, number, text);
        }
        patterns.refresh();
        patterns
    }

    #[test]
    fn a_literal_is_handed_out_once_for_each_image_however_often_it_is_there() {
        let patterns = built(&(2..=LONGEST).map(|length| "a".repeat(length)).collect::<Vec<_>>());
        let find = |text: &str, stamp, mask| {
            let mut found = Vec::new();
            patterns.find(7, text, stamp, mask, |number, mask| found.push((number, mask)));
            found.sort_unstable();
            found
        };
        let all = |mask| (0..LONGEST as u32 - 1).map(|number| (number, mask)).collect::<Vec<_>>();
        assert_eq!(find(&"a".repeat(50_000), 4, 1), all(1));
        assert_eq!(find(&"a".repeat(50_000), 4, 3), all(2), "the first image had them");
        assert_eq!(find("aaaa", 4, 3), []);
        assert_eq!(find("aaa", 8, 3), [(0, 3), (1, 3)], "another change");
        patterns.find(8, "aaa", 12, 3, |_, _| unreachable!("another slot"));
    }

    #[test]
    fn what_comes_and_goes_between_changes_leaves_nothing() {
        let mut patterns = built(&["stays".to_owned()]);
        for round in 0..10_000 {
            patterns.add(7, 1 + round, "comes");
            patterns.add(8, 1 + round, "goes");
            patterns.remove(7, 1 + round);
            patterns.remove(8, 1 + round);
        }
        assert_eq!((patterns.slots.len(), patterns.changed.len()), (1, 1));
        let literals = &patterns.slots[&7];
        assert_eq!((literals.fresh.len(), literals.live.len(), literals.dead), (0, 1, 0));
        assert!(patterns.changed.capacity() < 64 && literals.fresh.capacity() < 64);
    }
}

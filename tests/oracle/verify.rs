//! The judge: all that a subscription was told, message by message, against what was committed.

use crate::support::history::{Expected, History};
use crate::support::live::by_id;
use crate::support::socket::Told;
use dataflows::access::Caller;
use dataflows::query::Filter;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a subscription asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub filter: Filter,
    pub caller: Arc<Caller>,
    pub initial: bool,
    pub match_types: Vec<String>,
    pub operations: Vec<String>,
}

impl Asked {
    /// The event that a commit must be to it, under the name that it must have.
    fn event(&self, expected: Expected) -> Option<(String, Expected)> {
        let (types, operations) = (&self.match_types, &self.operations);
        let has = |list: &[String], name: &str| list.iter().any(|other| other == name);
        if !has(operations, "any") && !has(operations, expected.operation) {
            return None;
        }
        if has(types, "all") || has(types, expected.match_type) {
            return Some((expected.match_type.to_owned(), expected));
        }
        (has(types, "match") && expected.match_type != "remove").then(|| ("match".to_owned(), expected))
    }
}

/// What was judged.
#[derive(Debug, Default, Clone, Copy)]
pub struct Judged {
    pub results: usize,
    pub events: usize,
    pub resumed: usize,
    pub refreshed: usize,
}

/// Where a subscription is, over several connections.
pub struct Walk<'a> {
    asked: &'a Asked,
    history: &'a History,
    /// Everything up to here was told
    at: Option<u64>,
    pub judged: Judged,
}

impl<'a> Walk<'a> {
    pub fn new(asked: &'a Asked, history: &'a History) -> Walk<'a> {
        Walk { asked, history, at: None, judged: Judged::default() }
    }

    /// All that one connection said.
    pub fn follow(&mut self, told: &[Told]) -> Result<(), String> {
        for (number, told) in told.iter().enumerate() {
            self.step(told, number == 0)?;
        }
        Ok(())
    }

    fn step(&mut self, told: &Told, first: bool) -> Result<(), String> {
        match told {
            Told::Result { position, data, .. } => {
                if self.at.is_some_and(|at| *position < at) {
                    return Err(format!("a result at {position} after {:?}", self.at));
                }
                if self.at.is_some() {
                    self.judged.refreshed += 1;
                }
                let found = by_id(data)?;
                let expected = if self.asked.initial {
                    self.history.result(&self.asked.filter, &self.asked.caller, *position)
                } else {
                    BTreeMap::new()
                };
                if found != expected {
                    return Err(format!("the result at {position} is {found:#?}, it must be {expected:#?}"));
                }
                self.at = Some(*position);
                self.judged.results += 1;
            }
            Told::Event { position, match_type, operation, data } => {
                let Some(at) = self.at else { return Err(format!("{told:?} came before the result")) };
                if *position <= at {
                    return Err(format!("{told:?} came after everything up to {at} was told"));
                }
                self.nothing_between(at, *position - 1)?;
                let expected =
                    self.history.commits.get(position).and_then(|commit| commit.expected(&self.asked.filter, &self.asked.caller));
                match expected.clone().and_then(|expected| self.asked.event(expected)) {
                    Some((name, expected)) if name == *match_type && expected.operation == operation && expected.data == *data => {}
                    _ => {
                        return Err(format!(
                            "{told:?} came, it must be {expected:?}; the commit was {:?}",
                            self.history.commits.get(position)
                        ));
                    }
                }
                self.at = Some(*position);
                self.judged.events += 1;
            }
            Told::Position { position } => {
                let Some(at) = self.at else { return Err(format!("{told:?} came before the result")) };
                if *position < at {
                    return Err(format!("{told:?} came after everything up to {at} was told"));
                }
                self.nothing_between(at, *position)?;
                self.at = Some(*position);
            }
            Told::Resumed { position } => {
                if !first || self.at.is_none_or(|at| *position != at) {
                    return Err(format!("{told:?} came at {:?}", self.at));
                }
                self.judged.resumed += 1;
            }
            Told::Error { .. } => return Err(format!("{told:?}")),
        }
        Ok(())
    }

    /// Everything up to the end was told.
    pub fn complete(&self, end: u64) -> Result<(), String> {
        match self.at {
            Some(at) => self.nothing_between(at, end),
            None => Err("there never was a result".to_owned()),
        }
    }

    /// No commit behind `from` up to `to` is an event.
    fn nothing_between(&self, from: u64, to: u64) -> Result<(), String> {
        if from >= to {
            return Ok(());
        }
        for (number, commit) in self.history.commits.range(from + 1..=to) {
            let expected = commit.expected(&self.asked.filter, &self.asked.caller).and_then(|expected| self.asked.event(expected));
            if let Some((name, expected)) = expected {
                return Err(format!(
                    "nothing came of the commit {number}, it must be {name} {expected:?}; everything up to {to} is said to be told"
                ));
            }
        }
        Ok(())
    }
}

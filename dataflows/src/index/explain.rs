//! What a standing query hangs on, for people.

use super::QueryIndex;
use super::entries::NONE;
use super::key::{self, Class};
use std::fmt;

/// Which entries a standing query hangs on, or why it is residual.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The bucket
    pub bucket: String,
    /// No entry fits: each change of the bucket is put to it
    pub residual: bool,
    /// What must be met for it to be looked at; at most the first hundred
    pub entries: Vec<Reached>,
    /// How many entries there are in all
    pub entry_count: usize,
    /// Whether conditions are left to ask once an entry was reached
    pub verified: bool,
    /// Whether some of these conditions need the general evaluation
    pub general: bool,
}

/// A key or two under which a query hangs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reached {
    /// From the first level to the last: path and what is asked there
    pub keys: Vec<String>,
    /// How many entries hang there
    pub beside: usize,
}

const MOST: usize = 100;

pub(super) fn explain(index: &QueryIndex, number: u32) -> Option<Explanation> {
    let query = &index.queries[number];
    let mut explanation = Explanation {
        bucket: index.scopes[query.scope].bucket.to_string(),
        residual: query.residual,
        entries: Vec::new(),
        entry_count: 0,
        verified: query.rest.is_some(),
        general: query.rest.as_ref().is_some_and(|rest| rest.predicate.is_some()),
    };
    let mut place = query.places;
    while place != NONE {
        if explanation.entries.len() < MOST && !query.residual {
            explanation.entries.push(reached(index, place));
        }
        explanation.entry_count += 1;
        place = index.entries.places[place].next;
    }
    explanation.entries.reverse();
    Some(explanation)
}

fn reached(index: &QueryIndex, place: u32) -> Reached {
    let entries = &index.entries;
    let mut number = entries.places[place].node;
    let beside = entries.beside(&entries.nodes[number]);
    let mut keys = Vec::new();
    while number != NONE && entries.nodes[number].parent != NONE {
        let node = &entries.nodes[number];
        let path = index.paths.name(node.slot);
        let text = || index.strings.text(node.key as u32);
        keys.push(match node.class {
            Class::Null => format!("{path} is null or missing"),
            Class::Bool => format!("{path} = {}", node.key == 1),
            Class::Number => format!("{path} = {}", key::float_of(node.key)),
            Class::BigInt => format!("{path} = {}", node.key as i64),
            Class::Date => format!("{path} = {}", instant(node.key)),
            Class::String => format!("{path} = {:?}", text()),
            Class::Whole => format!("{path} = a whole array or object"),
            Class::Present => format!("{path} is there"),
            Class::Opened => format!("{path} leads through an array"),
            Class::Size => format!("{path} is an array of {}", node.key),
            Class::OffNumber => format!("{path} is no number"),
            Class::OffDate => format!("{path} is no date"),
            Class::Prefix => format!("{path} starts with {:?}", text()),
            Class::Literal => format!("{path} contains {:?}", text()),
            Class::Cell => format!("{path} lies in a cell of level {}", super::cells::level(node.key)),
            Class::NumberRange | Class::DateRange | Class::TextRange => {
                // Only the last level has spans of places.
                let (low, high) = entries.span(place);
                range(&path, node.class, low, high)
            }
        });
        number = node.parent;
    }
    keys.reverse();
    Reached { keys, beside }
}

fn range(path: &str, class: Class, low: u64, high: u64) -> String {
    let bound = |key: u64| match class {
        Class::NumberRange => key::float_of(key).to_string(),
        Class::DateRange => instant(key),
        _ => format!("{:?}", String::from_utf8_lossy(&key.to_be_bytes()).trim_end_matches('\0')),
    };
    let open = |key: u64| match class {
        Class::NumberRange => key::float_of(key).is_infinite(),
        _ => key == 0 || key == u64::MAX,
    };
    match (open(low), open(high)) {
        (false, false) => format!("{} <= {path} <= {}", bound(low), bound(high)),
        (false, true) => format!("{path} >= {}", bound(low)),
        (true, false) => format!("{path} <= {}", bound(high)),
        (true, true) => format!("{path} is of the type"),
    }
}

fn instant(key: u64) -> String {
    let milliseconds = key::instant_of(key);
    jiff::Timestamp::from_millisecond(milliseconds).map_or_else(|_| format!("{milliseconds} ms"), |timestamp| timestamp.to_string())
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.residual {
            write!(f, "residual: no index entry fits, every change of {} is put to this query", self.bucket)?;
        } else if self.entry_count == 0 {
            write!(f, "never: no object can match this query")?;
        } else {
            write!(f, "hangs on")?;
            for (number, reached) in self.entries.iter().enumerate() {
                let (before, beside) = (if number == 0 { " " } else { ", or " }, reached.beside.saturating_sub(1));
                write!(f, "{before}{} (beside {beside} others)", reached.keys.join(" and "))?;
            }
            if self.entry_count > self.entries.len() {
                write!(f, ", and {} entries more", self.entry_count - self.entries.len())?;
            }
        }
        match (self.verified, self.general) {
            (true, true) => write!(f, "; what is left is evaluated"),
            (true, false) => write!(f, "; what is left are compiled checks"),
            _ => Ok(()),
        }
    }
}

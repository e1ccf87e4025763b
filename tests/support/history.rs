//! What was committed, put together from the answers to the writers alone: every write has its own commit, and
//! its answer carries the stored object. Nothing of the live side is asked.

use super::http::Answer;
use super::live::id_of;
use bytes::Bytes;
use dataflows::access::Caller;
use dataflows::change::{Change, Image};
use dataflows::document::{DateFields, DocumentLimits};
use dataflows::query::Filter;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An object as it stood.
#[derive(Debug)]
pub struct State {
    pub image: Image,
    pub json: Value,
}

/// One commit: an object's two states.
#[derive(Debug, Clone)]
pub struct Commit {
    pub id: String,
    pub before: Option<Arc<State>>,
    pub after: Option<Arc<State>>,
}

/// What a writer was told.
#[derive(Debug, Clone)]
pub enum Acknowledged {
    /// The object is now this
    Put(Bytes),
    /// There is no such object (any more), as far as the caller may know
    Gone(String, Arc<Caller>),
}

/// The commits of one bucket, in order.
#[derive(Debug, Default)]
pub struct History {
    pub commits: BTreeMap<u64, Commit>,
}

/// What one commit must be to one reader of one query.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    pub match_type: &'static str,
    pub operation: &'static str,
    pub data: Value,
}

/// Reads an answer to a write: the commit and what it did; none where it was refused.
pub fn acknowledged(answer: &Answer, id: &str, caller: &Arc<Caller>) -> Option<(u64, Acknowledged)> {
    let position = || answer.position().unwrap_or_else(|| panic!("no position on {answer:?}"));
    match answer.status {
        200..=202 => Some((position(), Acknowledged::Put(answer.body.clone()))),
        204 => Some((position(), Acknowledged::Gone(id.to_owned(), caller.clone()))),
        // It was there, it was not there, it had another version, it belongs to others.
        404 | 409 | 412 | 466 => None,
        _ => panic!("an unexpected answer to a write of {id}: {answer:?}"),
    }
}

impl History {
    /// In any order of the acknowledgements. A delete of what was not there is told with the position it was
    /// judged at, which another commit may have as well.
    pub fn new(acknowledged: Vec<(u64, Acknowledged)>, dates: &DateFields) -> History {
        let mut by_commit: BTreeMap<u64, Vec<Acknowledged>> = BTreeMap::new();
        for (commit, what) in acknowledged {
            by_commit.entry(commit).or_default().push(what);
        }
        let mut states: BTreeMap<String, Arc<State>> = BTreeMap::new();
        let mut commits = BTreeMap::new();
        for (commit, all) in by_commit {
            let mut puts = all.iter().filter_map(|what| match what {
                Acknowledged::Put(text) => Some(text),
                Acknowledged::Gone(..) => None,
            });
            let put = puts.next();
            assert!(puts.next().is_none(), "two writes have the commit {commit}: {all:?}");
            // Before the put of the same commit nothing was deleted by it.
            let made = match put {
                Some(text) => {
                    let state = Arc::new(State::parse(text, dates));
                    let id = id_of(&state.json);
                    Some(Commit { before: states.insert(id.clone(), state.clone()), id, after: Some(state) })
                }
                None => all.iter().find_map(|what| match what {
                    Acknowledged::Gone(id, caller) if is_visible(&states, id, caller) => {
                        Some(Commit { id: id.clone(), before: states.remove(id), after: None })
                    }
                    _ => None,
                }),
            };
            if let Some(made) = made {
                made.check_metadata(commit);
                commits.insert(commit, made);
            }
            for what in &all {
                if let Acknowledged::Gone(id, caller) = what {
                    assert!(!is_visible(&states, id, caller), "{id} is there although it was deleted at {commit}");
                }
            }
        }
        History { commits }
    }

    /// As the change log tells, where nobody was answered: each change must go on from what the one before left.
    pub fn logged(changes: impl IntoIterator<Item = Arc<Change>>) -> History {
        let mut states: BTreeMap<String, Arc<State>> = BTreeMap::new();
        let mut commits = BTreeMap::new();
        for change in changes {
            let state =
                |image: &Arc<Image>| Arc::new(State { image: Image::clone(image), json: serde_json::from_slice(image.json()).unwrap() });
            let (id, after) = (change.id.to_string(), change.after.as_ref().map(state));
            let before = match &after {
                Some(after) => states.insert(id.clone(), after.clone()),
                None => states.remove(&id),
            };
            let found = change.before.as_ref().map(|image| image.json().clone());
            assert_eq!(found, before.as_ref().map(|state| state.image.json().clone()), "what {id} was before {}", change.commit);
            let version = |state: &Arc<State>| state.image.version();
            assert_eq!(after.as_ref().map(version), after.as_ref().map(|_| before.as_ref().map_or(1, |before| version(before) + 1)));
            commits.insert(change.commit, Commit { id, before, after });
        }
        History { commits }
    }

    /// The first and the last commit.
    pub fn range(&self) -> Option<(u64, u64)> {
        Some((*self.commits.first_key_value()?.0, *self.commits.last_key_value()?.0))
    }

    /// What a query gives at a position, by id.
    pub fn result(&self, filter: &Filter, caller: &Caller, position: u64) -> BTreeMap<String, Value> {
        let mut states: BTreeMap<&str, Option<&Arc<State>>> = BTreeMap::new();
        for commit in self.commits.range(..=position).map(|(_, commit)| commit) {
            states.insert(&commit.id, commit.after.as_ref());
        }
        let visible = states.into_iter().filter_map(|(id, state)| Some((id, state?))).filter(|(_, state)| state.is_in(filter, caller));
        visible.map(|(id, state)| (id.to_owned(), state.json.clone())).collect()
    }
}

/// To a caller who may not read an object it is not there, and his delete of it does nothing.
fn is_visible(states: &BTreeMap<String, Arc<State>>, id: &str, caller: &Caller) -> bool {
    states.get(id).is_some_and(|state| state.image.acl.read.permits(caller))
}

impl Commit {
    /// What it is to somebody who asked for the filter: none where he must not hear of it.
    pub fn expected(&self, filter: &Filter, caller: &Caller) -> Option<Expected> {
        let within = |state: &Option<Arc<State>>| state.as_ref().is_some_and(|state| state.is_in(filter, caller));
        let match_type = match (within(&self.before), within(&self.after)) {
            (false, false) => return None,
            (false, true) => "add",
            (true, true) => "change",
            (true, false) => "remove",
        };
        let operation = match (&self.before, &self.after) {
            (None, _) => "insert",
            (_, None) => "delete",
            _ => "update",
        };
        let data = match &self.after {
            Some(after) if after.image.acl.read.permits(caller) => after.json.clone(),
            _ => json!({"id": self.id}),
        };
        Some(Expected { match_type, operation, data })
    }

    /// Versions count from one, and times of an object grow.
    fn check_metadata(&self, commit: u64) {
        let Some(after) = &self.after else { return };
        let version = |state: &State| state.json["version"].as_u64().unwrap_or_else(|| panic!("no version in {}", state.json));
        let before = self.before.as_deref();
        assert_eq!(version(after), before.map_or(1, |before| version(before) + 1), "version of {} at {commit}", self.id);
        if let Some(before) = before {
            let updated = |state: &State| state.json["updatedAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
            assert!(updated(after) > updated(before), "updatedAt of {} at {commit}", self.id);
            assert_eq!(after.json["createdAt"], before.json["createdAt"], "createdAt of {} at {commit}", self.id);
        }
    }
}

impl State {
    fn parse(text: &Bytes, dates: &DateFields) -> State {
        let image = Image::parse(text.clone(), dates, DocumentLimits::default()).unwrap();
        State { image, json: serde_json::from_slice(text).unwrap() }
    }

    fn is_in(&self, filter: &Filter, caller: &Caller) -> bool {
        self.image.acl.read.permits(caller) && filter.matches(&self.image.document)
    }
}

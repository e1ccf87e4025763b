//! Events: what a change is to one subscription, and how two of them become one.

use super::messages::{date, quoted};
use crate::changelog::{LogId, Position};
use dataflows::change::{Change, CommitNumber, Operation};
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// What happened to an object in a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It came
    Add,
    /// It was there and is there
    Change,
    /// It left
    Remove,
}

/// The table of the one idea: was the object in what this reader sees, and is it now?
pub fn decide(was: bool, is: bool) -> Option<Kind> {
    match (was, is) {
        (false, true) => Some(Kind::Add),
        (true, true) => Some(Kind::Change),
        (true, false) => Some(Kind::Remove),
        (false, false) => None,
    }
}

/// What becomes of two events of one object, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Composition {
    /// They cancel out
    Nothing,
    /// One event, with the later one's data
    One(Kind, Operation),
    /// They do not follow each other in a complete sequence: both stay
    Apart,
}

/// Puts two events of one object together. The operation is the one that, by itself, has such an effect:
/// an object that came by an insert and then changed came by an insert.
pub(crate) fn compose(first: (Kind, Operation), second: (Kind, Operation)) -> Composition {
    match (first.0, second.0) {
        (Kind::Add, Kind::Change) => Composition::One(Kind::Add, first.1),
        (Kind::Add, Kind::Remove) => Composition::Nothing,
        (Kind::Change, Kind::Change) | (Kind::Remove, Kind::Add) => Composition::One(Kind::Change, Operation::Update),
        (Kind::Change, Kind::Remove) => Composition::One(Kind::Remove, second.1),
        (Kind::Add, Kind::Add) | (Kind::Change, Kind::Add) | (Kind::Remove, Kind::Change | Kind::Remove) => Composition::Apart,
    }
}

/// How much of the object the reader is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The image after, as it stands
    Object,
    /// The id alone: the object is deleted, or the reader may not see what it is now
    Id,
}

/// One event, shared by all the subscriptions to which it is the same.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) operation: Operation,
    pub(crate) shown: Shown,
    pub(crate) change: Arc<Change>,
    /// With this event everything at or below has been sent. The change's own commit, but earlier
    /// where later changes were put into an event that stands before others.
    pub(crate) through: CommitNumber,
    pub(crate) log: LogId,
    /// When the dataflow had told of the change; of what was put together the earlier one
    pub(crate) made: Instant,
    /// The text behind the subscription's id: under the event's own name, and as `match`
    texts: [OnceLock<Box<str>>; 2],
}

impl Event {
    pub(crate) fn new(kind: Kind, shown: Shown, change: Arc<Change>, log: LogId) -> Event {
        Event {
            kind,
            operation: change.operation,
            shown,
            through: change.commit,
            change,
            log,
            made: Instant::now(),
            texts: Default::default(),
        }
    }

    /// This event and a later one of the same object as one, in the place of this one.
    pub(crate) fn compose(&self, later: &Event) -> Composed {
        match compose((self.kind, self.operation), (later.kind, later.operation)) {
            Composition::Nothing => Composed::Nothing,
            Composition::Apart => Composed::Apart,
            Composition::One(kind, operation) => {
                let (shown, change) = (later.shown, later.change.clone());
                Composed::One(Event {
                    kind,
                    operation,
                    shown,
                    change,
                    through: self.through,
                    log: self.log,
                    made: self.made,
                    texts: Default::default(),
                })
            }
        }
    }

    /// About how many bytes it is as text; what the budgets count.
    pub(crate) fn size(&self) -> usize {
        let data = match (self.shown, &self.change.after) {
            (Shown::Object, Some(after)) => after.json().len(),
            _ => self.change.id.len(),
        };
        data + 200
    }

    /// The position that is sent with it.
    pub(crate) fn position(&self) -> Position {
        Position::single(self.log, self.through)
    }

    /// The whole message, for the subscription with this (quoted) id.
    pub(crate) fn message(&self, id: &str, as_match: bool) -> String {
        let as_match = as_match && self.kind != Kind::Remove;
        let tail = self.texts[usize::from(as_match)].get_or_init(|| self.tail(as_match));
        let mut text = String::with_capacity(6 + id.len() + tail.len());
        text.push_str("{\"id\":");
        text.push_str(id);
        text.push_str(tail);
        text
    }

    fn tail(&self, as_match: bool) -> Box<str> {
        let mut text = String::with_capacity(self.size());
        let match_type = match self.kind {
            _ if as_match => "match",
            Kind::Add => "add",
            Kind::Change => "change",
            Kind::Remove => "remove",
        };
        let operation = match self.operation {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
        };
        let (date, position) = (date(self.change.at), self.position());
        let _ = write!(
            text,
            r#","type":"match","date":"{date}","position":"{position}","matchType":"{match_type}","operation":"{operation}","data":"#
        );
        let object = match (self.shown, &self.change.after) {
            // The text was parsed as JSON, hence UTF-8.
            (Shown::Object, Some(after)) => std::str::from_utf8(after.json()).ok(),
            _ => None,
        };
        match object {
            Some(object) => text.push_str(object),
            None => {
                let _ = write!(text, r#"{{"id":{}}}"#, quoted(&self.change.id));
            }
        }
        text.push('}');
        text.into()
    }
}

/// What [`Event::compose`] comes to.
#[derive(Debug)]
pub(crate) enum Composed {
    Nothing,
    One(Event),
    Apart,
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use dataflows::change::{Image, Writer};
    use dataflows::document::{DateFields, DocumentLimits};

    /// A change of `/db/T/<id>` whose image after has the commit as its value.
    pub(crate) fn change(commit: u64, id: u32, operation: Operation) -> Arc<Change> {
        let image = |value: u64| {
            let text = format!(r#"{{"id":"/db/T/{id}","version":{value},"value":{value}}}"#);
            Arc::new(Image::parse(text.into(), &DateFields::default(), DocumentLimits::default()).unwrap())
        };
        Arc::new(Change {
            commit,
            at: 1_700_000_000_000 + commit as i64,
            app: "app".into(),
            bucket: "T".into(),
            id: format!("/db/T/{id}").into(),
            operation,
            before: (operation != Operation::Insert).then(|| image(commit - 1)),
            after: (operation != Operation::Delete).then(|| image(commit)),
            schema_version: 0,
            control: 0,
            writer: Writer::default(),
            batch: None,
        })
    }

    #[test]
    fn a_delete_and_a_hidden_image_show_the_id_alone() {
        let deleted = Event::new(Kind::Remove, Shown::Id, change(4, 1, Operation::Delete), LogId(1));
        let value: serde_json::Value = serde_json::from_str(&deleted.message("\"s\"", true)).unwrap();
        assert_eq!(value["data"], serde_json::json!({"id": "/db/T/1"}));
        assert_eq!((&value["matchType"], &value["operation"], &value["id"]), (&"remove".into(), &"delete".into(), &"s".into()));
        let left = Event::new(Kind::Remove, Shown::Object, change(4, 1, Operation::Update), LogId(1));
        let value: serde_json::Value = serde_json::from_str(&left.message("\"s\"", false)).unwrap();
        assert_eq!(value["data"]["version"], 4);
        assert_eq!(value["position"], "0000000000000001-4");
    }

    #[test]
    fn add_and_change_are_told_as_match_to_those_who_ask() {
        let event = Event::new(Kind::Add, Shown::Object, change(1, 1, Operation::Insert), LogId(1));
        assert!(event.message("\"s\"", true).contains(r#""matchType":"match""#));
        assert!(event.message("\"s\"", false).contains(r#""matchType":"add""#));
    }
}

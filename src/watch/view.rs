//! The result of a subscription as far as it was told, and what each message changes in it. Pure.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// An object's fields, in the server's order.
pub type Object = IndexMap<String, Value>;

/// What happened to an object as the subscription sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was there when we came
    Initial,
    /// It came into the result
    Add,
    /// It is in the result and changed
    Change,
    /// It left the result
    Remove,
}

/// A line's worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened
    pub kind: Kind,
    /// By which operation: `insert`, `update`, `delete`; `none` where the server told the outcome only
    pub operation: String,
    /// Commit time as the server wrote it; none for what was told as a whole
    pub date: Option<String>,
    /// Everything at or below has been told
    pub position: Option<String>,
    /// The image that was told before, where there is one
    pub before: Option<Object>,
    /// The image now; of a deleted or hidden object the id alone
    pub data: Object,
}

impl Event {
    /// Whether it happened while we watched.
    pub fn is_news(&self) -> bool {
        self.kind != Kind::Initial
    }

    /// The object's id; empty if the server sent none.
    pub fn id(&self) -> &str {
        id_of(&self.data)
    }
}

/// A `match` message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// `add`, `change`, `remove`
    pub match_type: String,
    /// `insert`, `update`, `delete`
    #[serde(default)]
    pub operation: String,
    /// Commit time
    #[serde(default)]
    pub date: Option<String>,
    /// Everything at or below has been told
    #[serde(default)]
    pub position: Option<String>,
    /// The object
    pub data: Object,
}

/// What is in the result.
#[derive(Debug, Default)]
pub struct View {
    images: HashMap<String, Object>,
    known: bool,
}

impl View {
    /// Whether there was a result already.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// A whole result. The first one is initial; what another one says is told as its difference to what is
    /// known, so that nothing is missed and nothing is told twice.
    pub fn result(&mut self, objects: Vec<Object>) -> Vec<Event> {
        let outcome = |kind, before, data| Event { kind, operation: "none".into(), date: None, position: None, before, data };
        let mut events = Vec::new();
        if std::mem::replace(&mut self.known, true) {
            let there: HashSet<&str> = objects.iter().map(id_of).collect();
            let mut gone: Vec<String> = self.images.keys().filter(|id| !there.contains(id.as_str())).cloned().collect();
            gone.sort_unstable();
            for id in gone {
                let before = self.images.remove(&id);
                events.push(outcome(Kind::Remove, before, Object::from_iter([("id".to_owned(), id.into())])));
            }
            for object in objects {
                let kind = match self.images.get(id_of(&object)) {
                    None => Kind::Add,
                    Some(before) if *before != object => Kind::Change,
                    Some(_) => continue,
                };
                let before = self.images.insert(id_of(&object).to_owned(), object.clone());
                events.push(outcome(kind, before, object));
            }
        } else {
            for object in objects {
                self.images.insert(id_of(&object).to_owned(), object.clone());
                events.push(outcome(Kind::Initial, None, object));
            }
        }
        events
    }

    /// A `match` message.
    pub fn matched(&mut self, message: Match) -> Event {
        let Match { match_type, operation, date, position, data } = message;
        let kind = match match_type.as_str() {
            "add" => Kind::Add,
            "remove" => Kind::Remove,
            _ => Kind::Change,
        };
        let before = match kind {
            Kind::Remove => self.images.remove(id_of(&data)),
            _ => self.images.insert(id_of(&data).to_owned(), data.clone()),
        };
        Event { kind, operation, date, position, before, data }
    }
}

fn id_of(object: &Object) -> &str {
    object.get("id").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(id: u32, price: u32) -> Object {
        serde_json::from_value(json!({"id": format!("/db/Lot/{id}"), "price": price})).unwrap()
    }

    fn told(events: &[Event]) -> Vec<(Kind, &str)> {
        events.iter().map(|event| (event.kind, event.id())).collect()
    }

    #[test]
    fn a_second_result_is_told_as_its_difference() {
        let mut view = View::default();
        assert_eq!(told(&view.result(vec![object(1, 5), object(2, 5), object(3, 5)])).len(), 3);
        let message = json!({"matchType": "add", "operation": "insert", "data": object(4, 5), "index": 0});
        view.matched(serde_json::from_value(message).unwrap());
        let events = view.result(vec![object(2, 5), object(3, 6), object(4, 5), object(5, 1)]);
        assert_eq!(told(&events), [(Kind::Remove, "/db/Lot/1"), (Kind::Change, "/db/Lot/3"), (Kind::Add, "/db/Lot/5")]);
        assert_eq!(events[1].before.as_ref().unwrap()["price"], 5);
        assert!(view.result(vec![object(2, 5), object(3, 6), object(4, 5), object(5, 1)]).is_empty());
    }

    #[test]
    fn a_match_knows_what_was_before() {
        let mut view = View::default();
        view.result(vec![object(1, 5)]);
        let read = |value: Value| serde_json::from_value::<Match>(value).unwrap();
        let change = view.matched(read(json!({"matchType": "change", "operation": "update", "data": object(1, 6)})));
        assert_eq!((change.kind, change.before), (Kind::Change, Some(object(1, 5))));
        let remove = view.matched(read(json!({"matchType": "remove", "operation": "delete", "data": {"id": "/db/Lot/1"}})));
        assert_eq!((remove.kind, remove.before), (Kind::Remove, Some(object(1, 6))));
        assert!(view.images.is_empty());
    }
}

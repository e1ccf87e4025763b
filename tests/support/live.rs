//! A live result kept by the rules of the SDK: what a `result` says replaces, events add, change and remove by
//! id. Whatever contradicts what is there is a fault of the server: it is reported, never mended.

use super::socket::Told;
use serde_json::Value;
use std::collections::BTreeMap;

/// The objects of a result by id, and how far it is.
#[derive(Debug, Clone, Default)]
pub struct LiveResult {
    pub objects: BTreeMap<String, Value>,
    /// The commit up to which everything was told
    pub position: u64,
    /// Whether there was a result at all
    pub begun: bool,
    /// Results that replaced others in place
    pub refreshes: usize,
}

/// The id of an object.
pub fn id_of(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("no id in {object}")).to_owned()
}

/// A list of objects by id; two with the same id are an error.
pub fn by_id(objects: &[Value]) -> Result<BTreeMap<String, Value>, String> {
    let mut map = BTreeMap::new();
    for object in objects {
        if map.insert(id_of(object), object.clone()).is_some() {
            return Err(format!("{} is in the result twice", object["id"]));
        }
    }
    Ok(map)
}

impl LiveResult {
    /// Takes in a message. `Err` says what rule it breaks.
    pub fn apply(&mut self, told: &Told) -> Result<(), String> {
        match told {
            Told::Result { position, data, .. } => {
                self.reach(*position, false)?;
                if self.begun {
                    self.refreshes += 1;
                }
                self.begun = true;
                self.objects = by_id(data)?;
            }
            Told::Event { position, match_type, data, .. } => {
                if !self.begun {
                    return Err(format!("an event came before the result: {told:?}"));
                }
                self.reach(*position, true)?;
                let id = id_of(data);
                let known = self.objects.contains_key(&id);
                match (&**match_type, known) {
                    ("add", false) | ("change", true) => {
                        self.objects.insert(id, data.clone());
                    }
                    ("remove", true) => {
                        self.objects.remove(&id);
                    }
                    _ => {
                        return Err(format!(
                            "{match_type} of an object that is {}in the result: {told:?}",
                            if known { "" } else { "not " }
                        ));
                    }
                }
            }
            Told::Position { position } => self.reach(*position, false)?,
            Told::Resumed { position } => {
                if *position > self.position {
                    return Err(format!("resumed from {position}, which is ahead of {}", self.position));
                }
                self.position = *position;
            }
            Told::Error { code, message, .. } => return Err(format!("the subscription ended: {code}: {message}")),
        }
        Ok(())
    }

    /// Positions only grow; an event's also beyond the last one, as one change is at most one event of a subscription.
    fn reach(&mut self, position: u64, event: bool) -> Result<(), String> {
        if position < self.position || (event && position == self.position) {
            return Err(format!("the position went from {} to {position}", self.position));
        }
        self.position = position;
        Ok(())
    }

    /// As it is after all of these.
    pub fn after<'t>(told: impl IntoIterator<Item = &'t Told>) -> Result<LiveResult, String> {
        let mut result = LiveResult::default();
        for told in told {
            result.apply(told)?;
        }
        Ok(result)
    }
}

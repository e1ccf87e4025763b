//! The fields of a topic's records: what each is called here and how its values are written.

use super::encoding::{Encoding, is_unavailable};
use super::meaning::{BadRecord, Fields, Moments};
use super::names;
use crate::json::push_string;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// Encodings that the mapping gives, by the source's name of the field.
pub(super) type Types = HashMap<Box<str>, Encoding>;

/// One field.
#[derive(Debug, Clone)]
pub(super) struct Column {
    source: Arc<str>,
    name: Arc<str>,
    pub(super) encoding: Encoding,
}

/// Fields in the order in which they came first.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    list: Vec<Column>,
    places: HashMap<Arc<str>, usize>,
    /// Of the source's names
    bytes: usize,
    /// Those that are moments
    pub(super) moments: Arc<Moments>,
}

impl Column {
    pub(super) fn new(source: &str, encoding: Encoding) -> Column {
        Column { source: source.into(), name: names::field(source).into(), encoding }
    }
}

impl Columns {
    /// None yet, but those that are going to be moments are known.
    pub(super) fn with_moments(types: &Types) -> Columns {
        let moments = types.iter().filter_map(|(source, encoding)| Some((names::field(source).into(), encoding.moment()?)));
        Columns { moments: Arc::new(moments.collect()), ..Columns::default() }
    }

    /// Adds a field, unless there is one of this name.
    pub(super) fn add(&mut self, source: &str, encoding: Encoding) {
        if self.places.contains_key(source) {
            return;
        }
        let column = Column::new(source, encoding);
        if let Some(moment) = column.encoding.moment()
            && !self.moments.contains_key(&column.name)
        {
            Arc::make_mut(&mut self.moments).insert(column.name.clone(), moment);
        }
        self.bytes += column.source.len();
        self.places.insert(column.source.clone(), self.list.len());
        self.list.push(column);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many bytes their names have, as the source writes them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A field by the source's name. Records have their fields in one order mostly, so the one at `next` is tried first;
    /// afterwards `next` is what follows the one that was found.
    pub(super) fn find(&self, source: &str, next: &mut usize) -> Option<&Column> {
        let place = match self.list.get(*next) {
            Some(column) if *column.source == *source => *next,
            _ => *self.places.get(source)?,
        };
        *next = place + 1;
        self.list.get(place)
    }
}

/// A field as it stands in a record.
pub(super) type Entry<'r> = (Cow<'r, str>, &'r RawValue);

/// The fields of a JSON object in their order, each name once.
pub(super) fn entries(text: &str) -> Result<Vec<Entry<'_>>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let entries = deserializer.deserialize_map(Entries)?;
    deserializer.end()?;
    match repeated(&entries) {
        Some(name) => Err(serde_json::Error::custom(format_args!("the field {} stands twice in one object", shown(name)))),
        None => Ok(entries),
    }
}

struct Entries;

/// A name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'n>(#[serde(borrow)] Cow<'n, str>);

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<Entry<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(16);
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            entries.push((name, value));
        }
        Ok(entries)
    }
}

/// A name that stands twice. Few names are faster compared than hashed.
fn repeated<'e>(entries: &'e [Entry<'_>]) -> Option<&'e str> {
    if entries.len() > 24 {
        let mut seen = HashSet::with_capacity(entries.len());
        return entries.iter().map(|(name, _)| &**name).find(|name| !seen.insert(*name));
    }
    let before = |place: usize, name: &str| entries[..place].iter().any(|(other, _)| *other == *name);
    entries.iter().enumerate().find_map(|(place, (name, _))| before(place, name).then_some(&**name))
}

/// The fields of an object while they are gathered, within the limits of the store.
pub(super) struct Gathering {
    fields: Fields,
    bytes: usize,
    limit: usize,
}

/// Most fields of one object.
const MOST_FIELDS: usize = 10_000;

impl Gathering {
    /// For an object of so many fields and at most `limit` bytes.
    pub(super) fn new(fields: usize, limit: usize, moments: Arc<Moments>) -> Result<Gathering, BadRecord> {
        if fields > MOST_FIELDS {
            return Err(BadRecord::Large { what: "fields", found: fields, limit: MOST_FIELDS });
        }
        let fields = Fields { values: Vec::with_capacity(fields), unavailable: Vec::new(), moments };
        Ok(Gathering { fields, bytes: 0, limit })
    }

    /// One more field.
    pub(super) fn add(&mut self, column: &Column, value: &RawValue) -> Result<(), BadRecord> {
        if is_unavailable(value.get()) {
            self.fields.unavailable.push(column.name.clone());
            return Ok(());
        }
        // Quotes, a colon and a comma.
        let before = self.bytes + column.name.len() + 4;
        let large = |found| BadRecord::Large { what: "bytes or more", found, limit: self.limit };
        let value = column.encoding.decode(value, self.limit.saturating_sub(before));
        let value = value.map_err(|unreadable| unreadable.of(&column.source, |bytes| large(before + bytes)))?;
        self.bytes = before + value.get().len();
        if self.bytes > self.limit {
            return Err(large(self.bytes));
        }
        self.fields.values.push((column.name.clone(), value));
        Ok(())
    }

    /// All of them.
    pub(super) fn done(self) -> Fields {
        self.fields
    }
}

/// A name as a message shows it.
pub(super) fn shown(name: &str) -> String {
    let mut shown = String::new();
    push_string(&mut shown, &name.chars().take(80).collect::<String>());
    shown
}

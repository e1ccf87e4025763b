//! The fields of a topic's records: what each is called here and how its values are written.

use super::encoding::{Encoding, is_unavailable};
use super::meaning::{BadRecord, Fields, Moments};
use super::names;
use crate::object::text::push_string;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

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
    /// Those that are moments
    pub(super) moments: Arc<Moments>,
}

impl Column {
    pub(super) fn new(source: &str, encoding: Encoding) -> Column {
        Column { source: source.into(), name: names::field(source).into(), encoding }
    }
}

impl Columns {
    /// Adds a field, unless there is one of this name.
    pub(super) fn add(&mut self, source: &str, encoding: Encoding) {
        if self.places.contains_key(source) {
            return;
        }
        let column = Column::new(source, encoding);
        if let Some(moment) = column.encoding.moment() {
            Arc::make_mut(&mut self.moments).insert(column.name.clone(), moment);
        }
        self.places.insert(column.source.clone(), self.list.len());
        self.list.push(column);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// A field by the source's name. Records have their fields in one order mostly: looked up at `place` first.
    pub(super) fn find(&self, source: &str, place: usize) -> Option<&Column> {
        let expected = self.list.get(place).filter(|column| *column.source == *source);
        expected.or_else(|| self.list.get(*self.places.get(source)?))
    }
}

/// A field as it stands in a record.
pub(super) type Entry<'r> = (Cow<'r, str>, &'r RawValue);

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
        let value = column.encoding.decode(value).map_err(|unreadable| BadRecord::Value {
            field: column.source.to_string(),
            expected: unreadable.expected.to_owned(),
            reason: unreadable.reason,
        })?;
        self.bytes += column.name.len() + value.get().len() + 4;
        if self.bytes > self.limit {
            return Err(BadRecord::Large { what: "bytes or more", found: self.bytes, limit: self.limit });
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

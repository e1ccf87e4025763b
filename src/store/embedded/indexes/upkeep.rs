//! What a write does to the indexes of its bucket: in the same batch as the object, judged before anything is added.

use super::catalogue::Index;
use super::entries::{self, Entries};
use crate::store::embedded::group::Images;
use crate::store::embedded::snapshot::broken;
use crate::store::embedded::writer::Writer;
use crate::store::{Key, Refusal, StoreError};
use dataflows::change::Image;
use fjall::OwnedWriteBatch as WriteBatch;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Values in unique indexes, and whose they are as what is under way leaves them; none: nobody's.
pub(in crate::store::embedded) type Claims = HashMap<Vec<u8>, Option<Arc<str>>>;

/// What a write does to the indexes.
#[derive(Default)]
pub(in crate::store::embedded) struct Indexed {
    puts: Vec<(Vec<u8>, Vec<u8>)>,
    removes: Vec<Vec<u8>>,
    /// Those of unique indexes
    pub(in crate::store::embedded) claims: Vec<(Vec<u8>, Option<Arc<str>>)>,
    /// How many entries more each index has, and whether it stays regular
    effects: Vec<(Arc<Index>, i64, bool)>,
}

impl Writer {
    /// What a write does to the indexes, or why it may not. `written` is what is not in the store yet, the newest first.
    pub(in crate::store::embedded) fn indexed(
        &self,
        key: &Key,
        object: &[u8],
        (before, after): (Option<&Image>, Option<&Image>),
        written: &[&Images],
    ) -> Result<Indexed, StoreError> {
        let mut indexed = Indexed::default();
        for index in self.indexes.of(&key.app, &key.bucket) {
            if index.covers(object) {
                self.change(index, key, before, after, written, &mut indexed)?;
            }
        }
        Ok(indexed)
    }

    fn change(
        &self,
        index: Arc<Index>,
        key: &Key,
        before: Option<&Image>,
        after: Option<&Image>,
        written: &[&Images],
        indexed: &mut Indexed,
    ) -> Result<(), StoreError> {
        let of = |image: Option<&Image>| image.map_or(Ok(Entries::default()), |image| entries_of(&index, image));
        let (old, new) = (of(before)?, of(after)?);
        let gone = old.components.iter().filter(|entry| new.components.binary_search(entry).is_err());
        let come: Vec<_> = new.components.iter().filter(|entry| old.components.binary_search(entry).is_err()).collect();
        if index.definition.unique {
            for entry in &come {
                if !entry.open && self.is_taken(&entry.prefix(&index), &key.id, written)? {
                    let image = after.map(|image| described(&index, image)).unwrap_or_default();
                    // What users are called has a refusal of its own, by whichever of its keepers it is found out.
                    let named = index.is_built_in();
                    let taken = Refusal::Taken { index: index.definition.to_string(), value: image.clone() };
                    return Err(if named { Refusal::NameTaken(image.trim_matches('"').to_owned()) } else { taken }.into());
                }
            }
            indexed.claims.extend(gone.clone().filter(|entry| !entry.open).map(|entry| (entry.prefix(&index), None)));
            let claim = |entry: &&&entries::Components| !entry.open;
            indexed.claims.extend(come.iter().filter(claim).map(|entry| (entry.prefix(&index), Some(Arc::clone(&key.id)))));
        }
        let mut more = 0;
        for entry in gone {
            indexed.removes.push(entry.key(&index, &key.id));
            more -= 1;
        }
        for entry in come {
            indexed.puts.push((entry.key(&index, &key.id), entry.value()));
            more += 1;
        }
        let regular = after.is_none() || new.regular;
        indexed.effects.push((index, more, regular));
        Ok(())
    }

    /// Whether a value in a unique index is that of another object.
    fn is_taken(&self, prefix: &[u8], id: &str, written: &[&Images]) -> Result<bool, StoreError> {
        if let Some(owner) = written.iter().find_map(|images| images.claims.get(prefix)) {
            return Ok(owner.as_deref().is_some_and(|owner| owner != id));
        }
        for entry in self.keyspaces.indexes.prefix(prefix) {
            let entry = entry.key().map_err(|error| broken(&error))?;
            if entry.get(prefix.len()..) != Some(id.as_bytes()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds to a batch what a write does to the indexes.
    pub(in crate::store::embedded) fn keep_up(
        &self,
        key: (&Arc<str>, &Arc<str>),
        indexed: Indexed,
        batch: &mut WriteBatch,
    ) -> Result<(), StoreError> {
        for entry in indexed.removes {
            batch.remove(&self.keyspaces.indexes, entry);
        }
        for (entry, value) in indexed.puts {
            batch.insert(&self.keyspaces.indexes, entry, value);
        }
        for (index, more, regular) in indexed.effects {
            if index.is_built_in() {
                continue;
            }
            index.shared.entries.fetch_add(more, Ordering::Relaxed);
            if !regular && index.shared.regular.swap(false, Ordering::AcqRel) {
                self.note(key.0, key.1, &index, batch)?;
            }
        }
        Ok(())
    }

    /// Notes in a batch how an index stands.
    pub(super) fn note(&self, app: &Arc<str>, bucket: &Arc<str>, index: &Index, batch: &mut WriteBatch) -> Result<(), StoreError> {
        let text = super::super::meta::text(&index.noted(app, bucket)).map_err(StoreError::Broken)?;
        batch.insert(&self.keyspaces.index_notes, index.number.to_be_bytes(), text);
        Ok(())
    }
}

/// The entries of an object, or why it has too many.
pub(super) fn entries_of(index: &Index, image: &Image) -> Result<Entries, StoreError> {
    entries::of(index, image).map_err(|entries::TooMany| {
        StoreError::Unfit(format!("it would have more than {} entries in the index {}", entries::MOST, index.definition))
    })
}

/// What an object has at the paths of an index, for messages.
pub(super) fn described(index: &Index, image: &Image) -> String {
    const LONGEST: usize = 200;
    let mut text = String::new();
    for (place, path) in index.paths.iter().enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        let mut found = Vec::new();
        path.visit(image.document.root(), dataflows::query::Leaf::Closed, |value| {
            found.push(value.map_or_else(|| "null".to_owned(), shown))
        });
        text.push_str(&found.join(" "));
    }
    if text.chars().count() > LONGEST {
        text = text.chars().take(LONGEST).chain(['…']).collect();
    }
    text
}

fn shown(value: dataflows::document::Value<'_>) -> String {
    use dataflows::document::{Number, Value};
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(Number::Int(value)) => value.to_string(),
        Value::Number(Number::Float(value)) => value.to_string(),
        Value::String(value) => value.to_owned(),
        Value::Date(at) => jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| at.to_string()),
        Value::Array(array) => array.iter().take(10).map(shown).collect::<Vec<_>>().join(" "),
        Value::Object(_) => "an object".to_owned(),
    }
}

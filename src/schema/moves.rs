//! What has become of fields that objects on the disk still have under their former names.
//!
//! Renaming or removing a field is a change of the schema alone, however many objects there are. Whoever reads a stored
//! object reads it through the moves that are still open ([`crate::schema::lens`]), so the new name counts from the
//! commit on; the store then rewrites the objects piece by piece, and closes the moves with a change of the schema when none
//! needs them any more.

use super::{Schema, SchemaError};
use serde::{Deserialize, Serialize};

/// Moves that may be open at a time.
const OPEN: usize = 2000;

/// A field that was renamed or removed, while objects may still have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Name of the class that declared it, without `/db/`
    pub class: Box<str>,
    /// Its former name
    pub from: Box<str>,
    /// Its name now; none: it was removed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Box<str>>,
    /// The version of the schema that made it
    pub since: u64,
}

impl Schema {
    /// The names of a class and of those that it inherits from, itself first.
    pub fn lineage<'s>(&'s self, bucket: &'s str) -> impl Iterator<Item = &'s str> {
        let parent = |name: &&'s str| self.class(name)?.super_class.as_deref()?.strip_prefix("/db/");
        // The bound ends a circle of classes that inherit each other.
        std::iter::successors(Some(bucket), parent).take(32)
    }

    /// Whether one of two classes is the other or inherits from it.
    pub fn are_related(&self, one: &str, other: &str) -> bool {
        self.lineage(one).any(|class| class == other) || self.lineage(other).any(|class| class == one)
    }

    /// The moves that are open for the objects of a bucket, or values of an embedded class.
    pub fn moves_of<'s>(&'s self, bucket: &'s str) -> impl Iterator<Item = &'s Move> {
        self.moves.iter().filter(move |moved| self.lineage(bucket).any(|class| class == &*moved.class))
    }
}

/// Notes what became of fields between two schemas: `renamed` by name, all others that are not there any more as removed. Refuses to
/// reuse a name as long as a move needs it: nobody could tell an old value from a new one.
pub(super) fn note(old: &Schema, new: &mut Schema, renamed: Option<(&str, &str, &str)>) -> Result<(), SchemaError> {
    let since = old.version + 1;
    let mut made: Vec<Move> = Vec::new();
    let mut touched: Vec<(Box<str>, Box<str>)> = Vec::new();
    for (bucket, class) in &new.classes {
        let former = old.class(bucket);
        for name in class.fields.values().map(|field| &field.name) {
            if former.is_none_or(|former| !former.fields.values().any(|field| field.name == *name)) {
                touched.push((bucket.clone(), name.clone()));
            }
        }
        for name in former.iter().flat_map(|former| former.fields.values()).map(|field| &field.name) {
            if !class.fields.values().any(|field| field.name == *name) {
                let to = renamed.filter(|(in_class, from, _)| *in_class == &**bucket && *from == &**name).map(|(_, _, to)| to.into());
                made.push(Move { class: bucket.clone(), from: name.clone(), to, since });
                touched.push((bucket.clone(), name.clone()));
            }
        }
    }
    for (bucket, name) in &touched {
        let open = old.moves.iter().find(|moved| {
            (moved.from == *name || moved.to.as_ref() == Some(name))
                && (new.are_related(bucket, &moved.class) || old.are_related(bucket, &moved.class))
        });
        if open.is_some() {
            return Err(SchemaError::Busy(format!(
                "objects of /db/{bucket} are still being rewritten for a former change of the field {name}"
            )));
        }
    }
    new.moves.retain(|moved| new.classes.contains_key(&moved.class));
    if new.moves.len() + made.len() > OPEN {
        return Err(SchemaError::Busy(format!("more than {OPEN} fields are being renamed or removed")));
    }
    new.moves.extend(made);
    Ok(())
}

/// The schema when every object has been rewritten for the moves up to a version.
pub fn closed(schema: &Schema, through: u64) -> Schema {
    let mut closed = schema.clone();
    closed.moves.retain(|moved| moved.since > through);
    closed
}

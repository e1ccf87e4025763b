//! Partial updates: `{"$op": {"path": value}}` (docs/schema.md).
//!
//! A pure function (fields before, the class's shape, operations) to the fields after, or a refusal. It runs in the store's
//! transaction, so all operations of a request meet the same image and happen together or not at all. What they make
//! has the class's shape again; what they do not name keeps its text.
//!
//! * [`path`]: dotted paths
//! * `typing`: what a path leads to, by the class or by the value that is there
//! * `node`: an object that is taken apart along paths only
//! * `place`: finding the value at a path, or making room for it
//! * `fields`, `numbers`, `lists`, `collections`: the operations, a group a file

mod collections;
mod fields;
mod lists;
mod node;
mod numbers;
pub mod path;
mod place;
#[cfg(test)]
mod tests;
mod typing;

use crate::json::object_entries;
use crate::object::shape::{self, UnfitValue};
use crate::object::text::{self, AclRequest};
use crate::schema::Schema;
use crate::schema::name::METADATA;
use path::Path;
use place::Place;
use serde_json::value::RawValue;

/// Operations of one request at most.
const OPERATIONS: usize = 1000;

/// Why a partial update is refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The body is not of the form of a partial update
    #[error("the body is not a partial update: {0}; it has the form {{\"$inc\": {{\"count\": 1}}}}")]
    Malformed(String),
    /// There is no such operation, or not on a value of that type. The text is one that the SDK's specs compare.
    #[error("Unsupported update operation {operation} on {path}")]
    Unsupported {
        /// `$…`
        operation: String,
        /// Where
        path: String,
    },
    /// A whole embedded object was set. The text is one that the SDK's specs compare.
    #[error("The body can't be processed")]
    EmbeddedWhole,
    /// More than one request may have
    #[error("the partial update is too large: {0}")]
    Limit(String),
    /// Two operations about one value
    #[error("{one} and {other} are about the same value; update one of them in a request of its own")]
    Conflict {
        /// A path
        one: String,
        /// Another, which is it or leads to it
        other: String,
    },
    /// `id`, `version`, `createdAt`, `updatedAt`, or something else than setting the whole `acl`
    #[error("{0} is written by the server alone; of the metadata only acl can be updated, as a whole, with $set")]
    Metadata(String),
    /// The class does not declare it
    #[error("the class of the object has no field {0}; declare it first")]
    Undeclared(String),
    /// The operand has another type than the operation needs
    #[error("{operation} on {path} needs {expected}")]
    Operand {
        /// `$…`
        operation: &'static str,
        /// Where
        path: String,
        /// What it needs
        expected: &'static str,
    },
    /// No number of the field's type holds the result
    #[error("{operation} on {path} gives no number that the field can hold")]
    Overflow {
        /// `$…`
        operation: &'static str,
        /// Where
        path: String,
    },
    /// A result does not have the type of its field
    #[error(transparent)]
    Unfit(#[from] UnfitValue),
}

impl UpdateError {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        if self.is_of_value() { "unfit-value" } else { "bad-update" }
    }

    /// Whether the operation is possible there, but not with this value.
    pub fn is_of_value(&self) -> bool {
        matches!(self, UpdateError::Operand { .. } | UpdateError::Overflow { .. } | UpdateError::Unfit(_))
    }
}

macro_rules! operations {
    ($($name:ident = $text:literal;)*) => {
        /// What is done to the value at a path.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Operation { $($name),* }

        impl Operation {
            /// Every operation.
            pub const ALL: &[Operation] = &[$(Operation::$name),*];

            /// As it is written.
            pub fn name(self) -> &'static str {
                match self { $(Operation::$name => $text),* }
            }
        }
    };
}

operations! {
    Set = "$set"; Rename = "$rename"; CurrentDate = "$currentDate";
    Inc = "$inc"; Dec = "$dec"; Mul = "$mul"; Min = "$min"; Max = "$max"; And = "$and"; Or = "$or"; Xor = "$xor";
    Push = "$push"; Unshift = "$unshift"; Pop = "$pop"; Shift = "$shift"; Replace = "$replace";
    Add = "$add"; Remove = "$remove"; Put = "$put";
}

/// One operation on one path.
#[derive(Debug, Clone)]
struct Step {
    operation: Operation,
    path: Path,
    /// JSON, as it was sent
    operand: Box<str>,
}

impl Step {
    fn unsupported(&self) -> UpdateError {
        UpdateError::Unsupported { operation: self.operation.name().to_owned(), path: self.path.text.to_string() }
    }

    fn operand_must_be(&self, expected: &'static str) -> UpdateError {
        UpdateError::Operand { operation: self.operation.name(), path: self.path.text.to_string(), expected }
    }

    fn overflow(&self) -> UpdateError {
        UpdateError::Overflow { operation: self.operation.name(), path: self.path.text.to_string() }
    }
}

/// A request's operations, no two of them about one value.
#[derive(Debug, Clone, Default)]
pub struct Update {
    steps: Vec<Step>,
    acl: AclRequest,
}

/// What an update makes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updated {
    /// The access list
    pub acl: AclRequest,
    /// `,"name":value` each, with the class's shape
    pub fields: String,
}

impl Update {
    /// Reads a request's body, `{"$op": {"path": value}}`.
    pub fn parse(body: &[u8]) -> Result<Update, UpdateError> {
        let mut update = Update::default();
        let operations = object_entries(body).map_err(|error| UpdateError::Malformed(error.to_string()))?;
        for (name, paths) in operations {
            let paths = object_entries(paths.get().as_bytes())
                .map_err(|error| UpdateError::Malformed(format!("under {name:?} stands no object of paths: {error}")))?;
            if update.steps.len() + paths.len() > OPERATIONS {
                return Err(UpdateError::Limit(format!("a request has at most {OPERATIONS} operations")));
            }
            for (path, operand) in paths {
                update.add(&name, &path, operand)?;
            }
        }
        update.checked()
    }

    /// Reads the body of an update of a single field, `{"$op": value}`.
    pub fn of_field(field: &str, body: &[u8]) -> Result<Update, UpdateError> {
        let mut update = Update::default();
        for (name, operand) in object_entries(body).map_err(|error| UpdateError::Malformed(error.to_string()))? {
            update.add(&name, field, operand)?;
        }
        update.checked()
    }

    fn add(&mut self, operation: &str, path: &str, operand: &RawValue) -> Result<(), UpdateError> {
        let known = Operation::ALL.iter().copied().find(|known| known.name() == operation);
        let operation = known.ok_or_else(|| UpdateError::Unsupported { operation: operation.to_owned(), path: path.to_owned() })?;
        let path = Path::parse(path)?;
        if METADATA.contains(&path.field()) {
            if operation != Operation::Set || *path.text != *"acl" {
                return Err(UpdateError::Metadata(path.text.to_string()));
            }
            self.acl = text::acl_request(operand).map_err(|error| UpdateError::Malformed(error.to_string()))?;
            return Ok(());
        }
        self.steps.push(Step { operation, path, operand: operand.get().into() });
        Ok(())
    }

    /// Operations are an object's entries, so nothing may depend on their order.
    fn checked(self) -> Result<Update, UpdateError> {
        let mut targets = Vec::new();
        for step in &self.steps {
            if step.operation == Operation::Rename {
                targets.push(fields::rename_target(step)?);
            }
        }
        let mut paths: Vec<&Path> = self.steps.iter().map(|step| &step.path).chain(&targets).collect();
        // In this order whoever leads to another stands right before the first that he leads to.
        paths.sort_by(|one, other| one.components.cmp(&other.components));
        for pair in paths.windows(2) {
            if let [one, other] = pair
                && one.touches(other)
            {
                return Err(UpdateError::Conflict { one: one.text.to_string(), other: other.text.to_string() });
            }
        }
        Ok(self)
    }

    /// Applies it to an object's whole text. `now` in milliseconds since 1970.
    pub fn apply(&self, before: &str, schema: &Schema, bucket: &str, now: i64) -> Result<Updated, UpdateError> {
        let entries = object_entries(before.as_bytes()).map_err(|error| UpdateError::Malformed(error.to_string()))?;
        let mut place = Place::new(schema, bucket, entries);
        for step in &self.steps {
            match step.operation {
                Operation::Set | Operation::Rename | Operation::CurrentDate => fields::apply(step, &mut place, now)?,
                Operation::Inc | Operation::Dec | Operation::Mul | Operation::Min | Operation::Max => numbers::apply(step, &mut place)?,
                Operation::And | Operation::Or | Operation::Xor => numbers::apply(step, &mut place)?,
                Operation::Push | Operation::Unshift | Operation::Pop | Operation::Shift | Operation::Replace => {
                    lists::apply(step, &mut place)?;
                }
                Operation::Add | Operation::Remove | Operation::Put => collections::apply(step, &mut place)?,
            }
        }
        let text = place.into_text();
        let entries = object_entries(text.as_bytes()).map_err(|error| UpdateError::Malformed(error.to_string()))?;
        let fields = match schema.class(bucket) {
            Some(_) => shape::fields(schema, bucket, &entries)?,
            None => text::open_fields(&entries),
        };
        Ok(Updated { acl: self.acl.clone(), fields })
    }
}

//! What must hold of a schema as a whole, and how large it may be.

use super::built_in::OBJECT;
use super::expiry::{self, EXPIRES};
use super::merge::{SchemaError, bucket_of};
use super::name::METADATA;
use super::{Class, Kind, Schema};
use std::collections::HashMap;

/// Most fields of a class, and most classes of an app.
const LARGEST: usize = 2000;
/// Most fields of all classes together.
const FIELDS: usize = 20_000;
/// Classes that inherit from each other in a row at most.
const LINEAGE: usize = 24;
/// Bytes of the whole schema as JSON at most: every change of it is a record of the log.
const BYTES: usize = 4 << 20;
/// Bytes of a field's name at most.
const NAME: usize = 256;

/// Refuses a schema that cannot be.
pub(super) fn check(schema: &Schema) -> Result<(), SchemaError> {
    let invalid = |text: String| Err(SchemaError::Invalid(text));
    if schema.classes.len() > LARGEST || schema.classes.values().map(|class| class.fields.len()).sum::<usize>() > FIELDS {
        return invalid(format!("a schema has at most {LARGEST} classes and {FIELDS} fields"));
    }
    for (bucket, class) in &schema.classes {
        if class.fields.len() > LARGEST {
            return invalid(format!("the class {} has more than {LARGEST} fields", class.class));
        }
        for field in class.fields.values() {
            if METADATA.contains(&&*field.name) && &*class.class != OBJECT {
                return invalid(format!("{} declares {}, which every object has already", class.class, field.name));
            }
        }
        lineage(schema, bucket, class)?;
        if let Some(name) = class.metadata.get(EXPIRES).filter(|name| !name.is_empty())
            && schema.field(bucket, name).is_none_or(|field| &*field.kind != expiry::KIND)
        {
            return invalid(format!(
                "the objects of {} are to end by their field {name}, which is not one of type {}",
                class.class,
                expiry::KIND
            ));
        }
        for field in class.fields.values() {
            let Some(kind) = Kind::parse(&field.kind) else {
                return invalid(format!("the field {} of {} has the type {:?}, which there is not", field.name, class.class, field.kind));
            };
            if let Some(unknown) = kind.class().filter(|name| schema.class(name).is_none()) {
                return invalid(format!(
                    "the field {} of {} is of the class /db/{unknown}, which is not declared",
                    field.name, class.class
                ));
            }
            if field.name.is_empty() || field.name.len() > NAME || field.name.contains(['.', '\0']) || field.name.starts_with('$') {
                return invalid(format!(
                    "{:?} of {} cannot be a field's name: no dot, no leading $, {NAME} bytes at most",
                    field.name, class.class
                ));
            }
        }
    }
    if serde_json::to_vec(schema).map_or(0, |text| text.len()) > BYTES {
        return invalid(format!("a schema has at most {BYTES} bytes"));
    }
    Ok(())
}

/// A class inherits from classes that there are, of its own sort, not from itself, and agrees with them on the types of fields.
fn lineage(schema: &Schema, bucket: &str, class: &Class) -> Result<(), SchemaError> {
    let invalid = |text: String| Err(SchemaError::Invalid(text));
    let mut types: HashMap<&str, &str> = HashMap::new();
    let (mut at, mut depth) = (class, 0);
    loop {
        for field in at.fields.values() {
            let known = types.insert(&field.name, &field.kind);
            if known.is_some_and(|known| *known != *field.kind) {
                let name = &field.name;
                return Err(SchemaError::Incompatible(format!("{} and {} declare the field {name} with two types", class.class, at.class)));
            }
        }
        let Some(parent) = at.super_class.as_deref() else { return Ok(()) };
        at = match schema.class(bucket_of(parent)?) {
            Some(parent) => parent,
            None => return invalid(format!("the class {} inherits from {parent}, which is not declared", at.class)),
        };
        if at.embedded != class.embedded && &*at.class != OBJECT {
            return invalid(format!("the class /db/{bucket} inherits from {parent}: either both are embedded or none"));
        }
        if at.class == class.class {
            return invalid(format!("the class {} inherits from itself", class.class));
        }
        depth += 1;
        if depth > LINEAGE {
            return invalid(format!("the class {} inherits from itself, or over more than {LINEAGE} classes", class.class));
        }
    }
}

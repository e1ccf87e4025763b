//! What may be asked of a schema, and what becomes of it: pure functions (schema, request, caller) to the new one.
//!
//! * merging (POST) adds, see [`super::merge`]
//! * replacing (PUT) makes a class what is sent: fields that are not sent are removed
//! * renaming a field keeps its values under the new name
//! * deleting takes a class away of which there are no objects
//!
//! Who may: whoever the class's `schemaAdd` (merge) or `schemaReplace` (all else) names, for a new class the `schemaSubclass` of
//! what it inherits from; an administrator always. A list that names nobody lets nobody but administrators pass: unlike with data,
//! nobody should get to change a class because nobody thought of forbidding it.

use super::built_in::{self, OBJECT};
use super::check::check;
use super::expiry::EXPIRES;
use super::merge::{self, ClassRequest, SchemaError, bucket_of, permit};
use super::{Class, Field, Schema, moves};
use dataflows::access::Caller;
use std::sync::Arc;

/// What is asked of a schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Add what is not there
    Merge(Vec<ClassRequest>),
    /// Make these classes what is sent
    Replace {
        /// Which
        classes: Vec<ClassRequest>,
        /// Whether all others but the built-in ones go
        whole: bool,
    },
    /// Keep the values of a field under another name
    Rename {
        /// `/db/<bucket>`
        class: String,
        /// Its name
        from: String,
        /// What it is to be
        to: String,
    },
    /// Take a class away
    Delete {
        /// `/db/<bucket>`
        class: String,
    },
}

/// The schema after a request. The same one where nothing changes.
pub fn change(schema: &Schema, request: &Request, caller: &Caller) -> Result<Schema, SchemaError> {
    let mut renamed = None;
    let mut changed = match request {
        Request::Merge(classes) => merge::merged(schema, classes, caller)?,
        Request::Replace { classes, whole } => replaced(schema, classes, *whole, caller)?,
        Request::Rename { class, from, to } => {
            let bucket = bucket_of(class)?;
            renamed = Some((bucket, &**from, &**to));
            with_renamed(schema, bucket, from, to, caller)?
        }
        Request::Delete { class } => without(schema, bucket_of(class)?, caller)?,
    };
    if changed.classes == schema.classes {
        return Ok(schema.clone());
    }
    check(&changed)?;
    moves::note(schema, &mut changed, renamed)?;
    Ok(changed)
}

fn known<'s>(schema: &'s Schema, bucket: &str) -> Result<&'s Arc<Class>, SchemaError> {
    schema.class(bucket).ok_or_else(|| SchemaError::Unknown(format!("there is no class /db/{bucket}")))
}

fn replaced(schema: &Schema, requests: &[ClassRequest], whole: bool, caller: &Caller) -> Result<Schema, SchemaError> {
    merge::distinct(requests)?;
    let mut replaced = schema.clone();
    for request in requests {
        let bucket = bucket_of(&request.class)?;
        let class = match schema.class(bucket) {
            Some(class) => replacing(class, request, caller)?,
            None => merge::declared(schema, requests, request, caller)?,
        };
        replaced.classes.insert(bucket.into(), Arc::new(class));
    }
    if whole {
        let listed = |bucket: &str| requests.iter().any(|request| request.class.strip_prefix("/db/") == Some(bucket));
        for (bucket, class) in &schema.classes {
            if !listed(bucket) && built_in::class(bucket).is_none() {
                permit(&class.acl.schema_replace, "schemaReplace", &class.class, caller)?;
                replaced.classes.shift_remove(bucket);
            }
        }
        refuse_dangling(&replaced)?;
    }
    Ok(replaced)
}

fn replacing(class: &Class, request: &ClassRequest, caller: &Caller) -> Result<Class, SchemaError> {
    permit(&class.acl.schema_replace, "schemaReplace", &class.class, caller)?;
    merge::same_place(class, request)?;
    let own = built_in::class(class.class.trim_start_matches("/db/"));
    let mut replaced = class.clone();
    // What is left out is left as it is: rights are never opened by not naming them.
    replaced.metadata = request.metadata.clone().unwrap_or(replaced.metadata);
    replaced.validation_code = request.validation_code.clone().or(replaced.validation_code);
    replaced.acl = request.acl.clone().unwrap_or(replaced.acl);
    let keeps = |name: &str| own.is_some_and(|own| own.fields.contains_key(name));
    replaced.fields.retain(|name, _| keeps(name));
    for field in merge::named(&request.fields) {
        match class.fields.get(&*field.name) {
            Some(former) if keeps(&field.name) => merge::same_type(&class.class, former, &field)?,
            Some(former) if former.kind != field.kind && !widens(former, &field) => {
                return Err(merge::other_type(&class.class, former, &field));
            }
            _ => {
                replaced.fields.insert(field.name.clone(), field);
            }
        }
    }
    Ok(replaced)
}

/// Whether every value of the former type is one of the new type.
fn widens(former: &Field, field: &Field) -> bool {
    (&*former.kind, &*field.kind) == ("/db/Integer", "/db/Double")
}

fn with_renamed(schema: &Schema, bucket: &str, from: &str, to: &str, caller: &Caller) -> Result<Schema, SchemaError> {
    let class = known(schema, bucket)?;
    permit(&class.acl.schema_replace, "schemaReplace", &class.class, caller)?;
    let field = class.fields.get(from).ok_or_else(|| SchemaError::Invalid(format!("the class /db/{bucket} declares no field {from}")))?;
    if built_in::class(bucket).is_some_and(|own| own.fields.contains_key(from)) {
        return Err(SchemaError::Incompatible(format!("the field {from} of /db/{bucket} is built in")));
    }
    if from == to {
        return Ok(schema.clone());
    }
    let taken = schema.classes.iter().find(|(other, class)| schema.are_related(bucket, other) && class.fields.contains_key(to));
    if let Some((other, _)) = taken {
        return Err(SchemaError::Exists(format!("the class /db/{other} has a field {to} already")));
    }
    let mut renamed = (**class).clone();
    renamed.fields = class
        .fields
        .iter()
        .map(
            |(name, known)| {
                if **name == *from { (to.into(), Field { name: to.into(), ..field.clone() }) } else { (name.clone(), known.clone()) }
            },
        )
        .collect();
    let mut changed = schema.clone();
    changed.classes.insert(bucket.into(), Arc::new(renamed));
    // Objects go on ending by the field that they ended by.
    for (heir, class) in &mut changed.classes {
        if class.metadata.get(EXPIRES).is_some_and(|field| **field == *from) && schema.lineage(heir).any(|class| class == bucket) {
            Arc::make_mut(class).metadata.insert(EXPIRES.into(), to.into());
        }
    }
    Ok(changed)
}

fn without(schema: &Schema, bucket: &str, caller: &Caller) -> Result<Schema, SchemaError> {
    let class = known(schema, bucket)?;
    permit(&class.acl.schema_replace, "schemaReplace", &class.class, caller)?;
    if built_in::class(bucket).is_some() {
        return Err(SchemaError::Incompatible(format!("the class /db/{bucket} is built in")));
    }
    let mut changed = schema.clone();
    changed.classes.shift_remove(bucket);
    refuse_dangling(&changed)?;
    Ok(changed)
}

/// Nothing may point to a class that goes.
fn refuse_dangling(schema: &Schema) -> Result<(), SchemaError> {
    for class in schema.classes.values() {
        let parent = class.super_class.as_deref().filter(|parent| **parent != *OBJECT).and_then(|parent| parent.strip_prefix("/db/"));
        let types = class.fields.values().filter_map(|field| super::Kind::parse(&field.kind)?.class());
        if let Some(missing) = parent.into_iter().chain(types).find(|name| schema.class(name).is_none()) {
            return Err(SchemaError::Referenced(format!("the class {} still refers to /db/{missing}", class.class)));
        }
    }
    Ok(())
}

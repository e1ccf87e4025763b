//! Posting to a schema: what is sent is merged into what there is (CONTRACT section 5).
//!
//! A POST adds classes and fields and sets rights; it never removes or retypes anything, since clients leave
//! out of their own model what they do not use. Posting the same again changes nothing.

use super::built_in::OBJECT;
use super::expiry::{self, EXPIRES};
use super::{Class, Field, Kind, Schema};
use crate::object::id;
use dataflows::access::{Caller, ClassRights};
use indexmap::IndexMap;
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::Arc;

/// Most fields of a class, and most classes of an app.
const LARGEST: usize = 2000;

/// A class as a client declares it: what is missing is left as it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassRequest {
    /// `/db/<bucket>`
    pub class: String,
    /// The class it inherits from
    #[serde(default)]
    pub super_class: Option<String>,
    /// Whether its values live inside other objects only
    #[serde(default)]
    pub embedded: Option<bool>,
    /// Free for clients
    #[serde(default)]
    pub metadata: Option<IndexMap<Box<str>, Box<str>>>,
    /// Code that judges objects before they are stored
    #[serde(default)]
    pub validation_code: Option<Box<str>>,
    /// Who may do what
    #[serde(default)]
    pub acl: Option<ClassRights>,
    /// The fields, in order
    #[serde(default)]
    pub fields: IndexMap<Box<str>, Field>,
}

impl ClassRequest {
    /// Declares nothing about a class but that it is there.
    pub fn of(class: impl Into<String>) -> ClassRequest {
        ClassRequest {
            class: class.into(),
            super_class: None,
            embedded: None,
            metadata: None,
            validation_code: None,
            acl: None,
            fields: IndexMap::new(),
        }
    }
}

/// Why a schema does not become what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A name or a type that cannot be
    #[error("{0}")]
    Invalid(String),
    /// Something is declared otherwise already
    #[error("{0}; POST adds to a schema, it changes nothing that is there")]
    Incompatible(String),
    /// A right is missing
    #[error("{right} permissions are required on the class {class}")]
    Denied {
        /// Which
        right: &'static str,
        /// On which class
        class: String,
    },
}

/// The schema after a POST of some classes, in any order.
pub fn merge(schema: &Schema, requests: &[ClassRequest], caller: &Caller) -> Result<Schema, SchemaError> {
    let mut merged = schema.clone();
    for request in requests {
        let bucket = bucket_of(&request.class)?;
        let class = match schema.class(bucket) {
            Some(class) => extended(class, request, caller)?,
            None => declared(schema, requests, request, caller)?,
        };
        merged.classes.insert(bucket.into(), Arc::new(class));
    }
    check(&merged)?;
    Ok(merged)
}

fn bucket_of(class: &str) -> Result<&str, SchemaError> {
    class
        .strip_prefix("/db/")
        .filter(|bucket| id::bucket(bucket).is_ok_and(|canonical| *canonical == **bucket))
        .ok_or_else(|| SchemaError::Invalid(format!("{class:?} is not the name of a class: it has the form /db/<Name>")))
}

fn permit(rights: &dataflows::access::Rights, right: &'static str, class: &str, caller: &Caller) -> Result<(), SchemaError> {
    if rights.permits(caller) { Ok(()) } else { Err(SchemaError::Denied { right, class: class.to_owned() }) }
}

fn extended(class: &Class, request: &ClassRequest, caller: &Caller) -> Result<Class, SchemaError> {
    permit(&class.acl.schema_add, "schemaAdd", &class.class, caller)?;
    let mut merged = class.clone();
    if let Some(parent) = &request.super_class
        && class.super_class.as_deref() != Some(&**parent)
        && !request.embedded.unwrap_or(class.embedded)
    {
        return Err(SchemaError::Incompatible(format!(
            "the class {} has the parent {}, not {parent}",
            class.class,
            class.super_class.as_deref().unwrap_or("none")
        )));
    }
    if request.embedded.is_some_and(|embedded| embedded != class.embedded) {
        return Err(SchemaError::Incompatible(format!(
            "the class {} is {}embedded",
            class.class,
            if class.embedded { "" } else { "not " }
        )));
    }
    if let Some(metadata) = &request.metadata {
        if metadata.get(EXPIRES).is_some_and(|field| class.metadata.get(EXPIRES) != Some(field)) {
            // Whoever may add a field may not by that have objects deleted.
            permit(&class.acl.schema_replace, "schemaReplace", &class.class, caller)?;
        }
        merged.metadata.extend(metadata.clone());
    }
    if let Some(code) = request.validation_code.as_ref().filter(|code| class.validation_code.as_ref() != Some(*code)) {
        permit(&class.acl.schema_replace, "schemaReplace", &class.class, caller)?;
        merged.validation_code = Some(code.clone());
    }
    if let Some(acl) = request.acl.as_ref().filter(|acl| **acl != class.acl) {
        // Whoever may add a field may not by that open the class to himself.
        permit(&class.acl.schema_replace, "schemaReplace", &class.class, caller)?;
        merged.acl = acl.clone();
    }
    for field in named(&request.fields) {
        match merged.fields.get_mut(&*field.name) {
            Some(known) if known.kind != field.kind => {
                return Err(SchemaError::Incompatible(format!(
                    "the field {} of {} has the type {}, not {}",
                    field.name, class.class, known.kind, field.kind
                )));
            }
            Some(known) => known.metadata.extend(field.metadata.clone()),
            None => {
                merged.fields.insert(field.name.clone(), field);
            }
        }
    }
    Ok(merged)
}

fn declared(schema: &Schema, requests: &[ClassRequest], request: &ClassRequest, caller: &Caller) -> Result<Class, SchemaError> {
    let embedded = request.embedded.unwrap_or(false);
    let parent = request.super_class.as_deref().unwrap_or(OBJECT);
    // The right stands with the nearest ancestor that is there already; the others come with this request.
    let mut ancestor = parent;
    for _ in 0..requests.len() {
        if schema.class(bucket_of(ancestor)?).is_some() {
            break;
        }
        let next = requests.iter().find(|other| other.class == ancestor && other.class != request.class);
        ancestor = next.map_or(OBJECT, |next| next.super_class.as_deref().unwrap_or(OBJECT));
    }
    let rights = schema.class(bucket_of(ancestor)?).or_else(|| schema.class("Object")).map(|class| class.acl.schema_subclass.clone());
    permit(&rights.unwrap_or_else(dataflows::access::Rights::admin_only), "schemaSubclass", ancestor, caller)?;
    Ok(Class {
        class: request.class.as_str().into(),
        super_class: (!embedded || request.super_class.is_some()).then(|| parent.into()),
        embedded,
        metadata: request.metadata.clone().unwrap_or_default(),
        validation_code: request.validation_code.clone(),
        acl: request.acl.clone().unwrap_or_default(),
        fields: named(&request.fields).map(|field| (field.name.clone(), field)).collect(),
    })
}

/// The fields by the names that they carry; the keys of the map are only where clients put them.
fn named(fields: &IndexMap<Box<str>, Field>) -> impl Iterator<Item = Field> {
    fields.values().cloned()
}

/// What must hold of a schema as a whole.
fn check(schema: &Schema) -> Result<(), SchemaError> {
    let invalid = |text: String| Err(SchemaError::Invalid(text));
    if schema.classes.len() > LARGEST {
        return invalid(format!("a schema has at most {LARGEST} classes"));
    }
    for class in schema.classes.values() {
        if class.fields.len() > LARGEST {
            return invalid(format!("the class {} has more than {LARGEST} fields", class.class));
        }
        let mut seen = HashSet::new();
        let mut ancestor = Some(class);
        while let Some(at) = ancestor {
            if !seen.insert(&at.class) {
                return invalid(format!("the class {} inherits from itself", class.class));
            }
            ancestor = match at.super_class.as_deref() {
                Some(parent) => match schema.class(bucket_of(parent)?) {
                    Some(parent) => Some(parent),
                    None => return invalid(format!("the class {} inherits from {parent}, which is not declared", at.class)),
                },
                None => None,
            };
        }
        if let Some(name) = class.metadata.get(EXPIRES).filter(|name| !name.is_empty()) {
            let found = schema.fields(bucket_of(&class.class)?).into_iter().find(|field| field.name == *name);
            if found.is_none_or(|field| &*field.kind != expiry::KIND) {
                return invalid(format!(
                    "the objects of {} are to end by their field {name}, which is not one of type {}",
                    class.class,
                    expiry::KIND
                ));
            }
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
            if field.name.is_empty() || field.name.len() > 256 || field.name.contains(['.', '\0']) || field.name.starts_with('$') {
                return invalid(format!(
                    "{:?} of {} cannot be a field's name: no dot, no leading $, 256 bytes at most",
                    field.name, class.class
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use dataflows::access::{Rights, Rule};

    fn requests(text: &str) -> Vec<ClassRequest> {
        serde_json::from_str(text).unwrap()
    }

    const LOT: &str = r#"[{"class":"/db/SubLot","superClass":"/db/Lot","fields":{}},
        {"class":"/db/Lot","superClass":"/db/Object","fields":{"b":{"name":"b","type":"/db/String","order":0},"a":{"name":"a","type":"/db/City","order":1}}},
        {"class":"/db/City","embedded":true,"fields":{"zip":{"name":"zip","type":"/db/Integer","order":0}}}]"#;

    #[test]
    fn any_order_does_and_the_same_again_changes_nothing() {
        let once = merge(&Schema::built_in(), &requests(LOT), &Caller::admin()).unwrap();
        assert_eq!(once.class("Lot").unwrap().fields.keys().map(|name| &**name).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(merge(&once, &requests(LOT), &Caller::admin()).unwrap(), once);
    }

    #[test]
    fn a_partial_model_removes_nothing() {
        let before = merge(&Schema::built_in(), &requests(LOT), &Caller::admin()).unwrap();
        let partial = r#"[{"class":"/db/Object","fields":{}},{"class":"/db/Lot","superClass":"/db/Object","fields":{"c":{"name":"c","type":"/db/Date"}}}]"#;
        let after = merge(&before, &requests(partial), &Caller::admin()).unwrap();
        assert_eq!(after.class("Object"), before.class("Object"));
        assert_eq!(after.class("Lot").unwrap().fields.len(), 3);
    }

    #[test]
    fn another_type_or_parent_is_incompatible() {
        let before = merge(&Schema::built_in(), &requests(LOT), &Caller::admin()).unwrap();
        for text in [
            r#"[{"class":"/db/Lot","fields":{"b":{"name":"b","type":"/db/Double"}}}]"#,
            r#"[{"class":"/db/Lot","superClass":"/db/User"}]"#,
            r#"[{"class":"/db/City","embedded":false}]"#,
        ] {
            assert!(matches!(merge(&before, &requests(text), &Caller::admin()), Err(SchemaError::Incompatible(_))), "{text}");
        }
        for text in [
            r#"[{"class":"/db/A b"}]"#,
            r#"[{"class":"Lot"}]"#,
            r#"[{"class":"/db/X","superClass":"/db/Y"}]"#,
            r#"[{"class":"/db/X","superClass":"/db/Y"},{"class":"/db/Y","superClass":"/db/X"}]"#,
            r#"[{"class":"/db/X","fields":{"a":{"name":"a","type":"/db/Unknown"}}}]"#,
            r#"[{"class":"/db/X","fields":{"a":{"name":"$a","type":"/db/String"}}}]"#,
        ] {
            assert!(matches!(merge(&before, &requests(text), &Caller::admin()), Err(SchemaError::Invalid(_))), "{text}");
        }
    }

    #[test]
    fn rights_decide_who_declares() {
        let anybody = Caller::new(["/db/User/a", "/db/Role/3"]);
        let before = merge(&Schema::built_in(), &requests(LOT), &Caller::admin()).unwrap();
        let may = |text: &str| merge(&before, &requests(text), &anybody).is_ok();
        assert!(!may(r#"[{"class":"/db/Object","fields":{}}]"#), "built-in, also when nothing changes");
        assert!(!may(r#"[{"class":"/db/New","superClass":"/db/Object"}]"#));
        assert!(!may(r#"[{"class":"/db/Two","superClass":"/db/One"},{"class":"/db/One","superClass":"/db/Object"}]"#));
        assert!(may(r#"[{"class":"/db/Child","superClass":"/db/Lot"}]"#), "public schemaSubclass");
        assert!(may(r#"[{"class":"/db/Lot","fields":{"d":{"name":"d","type":"/db/Date"}}}]"#), "public schemaAdd");
        let mut closed = before.clone();
        let mut lot = (**closed.class("Lot").unwrap()).clone();
        lot.acl.schema_replace = Rights([("/db/User/b".into(), Rule::Allow)].into());
        closed.classes.insert("Lot".into(), lot.into());
        let rights = requests(r#"[{"class":"/db/Lot","acl":{"load":{"/db/User/a":"allow"}}}]"#);
        assert!(matches!(merge(&closed, &rights, &anybody), Err(SchemaError::Denied { right: "schemaReplace", .. })));
    }
}

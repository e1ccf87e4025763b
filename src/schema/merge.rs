//! Posting to a schema: what is sent is merged into what there is (docs/schema.md).
//!
//! A POST adds classes and fields and sets rights; it never removes or retypes anything, since clients leave
//! out of their own model what they do not use. Posting the same again changes nothing.

use super::built_in::OBJECT;
use super::expiry::EXPIRES;
use super::name;
use super::{Class, Field, Schema};
use dataflows::access::{Caller, ClassRights};
use indexmap::IndexMap;
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::Arc;

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
    #[error("{0}; a class keeps its parent and its fields their types, remove a field to declare it anew")]
    Incompatible(String),
    /// There is no such class or field
    #[error("{0}")]
    Unknown(String),
    /// The name is taken
    #[error("{0}")]
    Exists(String),
    /// Something still points to what should go
    #[error("{0}; change that first")]
    Referenced(String),
    /// A former change is still being carried out on the objects
    #[error("{0}; try again in a moment")]
    Busy(String),
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
    super::change(schema, &super::Request::Merge(requests.to_vec()), caller)
}

/// As [`merge`], not checked as a whole.
pub(super) fn merged(schema: &Schema, requests: &[ClassRequest], caller: &Caller) -> Result<Schema, SchemaError> {
    distinct(requests)?;
    let mut merged = schema.clone();
    for request in requests {
        let bucket = bucket_of(&request.class)?;
        let class = match schema.class(bucket) {
            Some(class) => extended(class, request, caller)?,
            None => declared(schema, requests, request, caller)?,
        };
        merged.classes.insert(bucket.into(), Arc::new(class));
    }
    Ok(merged)
}

/// A request says one thing of a class, and one of a field.
pub(super) fn distinct(requests: &[ClassRequest]) -> Result<(), SchemaError> {
    let mut classes = HashSet::new();
    for request in requests {
        if !classes.insert(&*request.class) {
            return Err(SchemaError::Invalid(format!("the class {} stands twice in the request", request.class)));
        }
        let mut names = HashSet::new();
        if let Some(field) = request.fields.values().find(|field| !names.insert(&*field.name)) {
            return Err(SchemaError::Invalid(format!("the class {} declares the field {} twice", request.class, field.name)));
        }
    }
    Ok(())
}

pub(super) fn bucket_of(class: &str) -> Result<&str, SchemaError> {
    class
        .strip_prefix("/db/")
        .filter(|bucket| name::bucket(bucket).is_ok_and(|canonical| *canonical == **bucket))
        .ok_or_else(|| SchemaError::Invalid(format!("{class:?} is not the name of a class: it has the form /db/<Name>")))
}

/// Somebody must have been named: a list without anybody lets administrators pass alone.
pub(super) fn permit(rights: &dataflows::access::Rights, right: &'static str, class: &str, caller: &Caller) -> Result<(), SchemaError> {
    let names_somebody = rights.0.values().any(|rule| *rule == dataflows::access::Rule::Allow);
    if caller.is_admin() || (names_somebody && rights.permits(caller)) {
        Ok(())
    } else {
        Err(SchemaError::Denied { right, class: class.to_owned() })
    }
}

/// A class keeps its parent and whether it is embedded.
pub(super) fn same_place(class: &Class, request: &ClassRequest) -> Result<(), SchemaError> {
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
    Ok(())
}

pub(super) fn other_type(class: &str, known: &Field, field: &Field) -> SchemaError {
    SchemaError::Incompatible(format!("the field {} of {class} has the type {}, not {}", field.name, known.kind, field.kind))
}

pub(super) fn same_type(class: &str, known: &Field, field: &Field) -> Result<(), SchemaError> {
    if known.kind == field.kind { Ok(()) } else { Err(other_type(class, known, field)) }
}

fn extended(class: &Class, request: &ClassRequest, caller: &Caller) -> Result<Class, SchemaError> {
    permit(&class.acl.schema_add, "schemaAdd", &class.class, caller)?;
    let mut merged = class.clone();
    same_place(class, request)?;
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
            Some(known) => {
                same_type(&class.class, known, &field)?;
                known.metadata.extend(field.metadata.clone());
            }
            None => {
                merged.fields.insert(field.name.clone(), field);
            }
        }
    }
    Ok(merged)
}

pub(super) fn declared(schema: &Schema, requests: &[ClassRequest], request: &ClassRequest, caller: &Caller) -> Result<Class, SchemaError> {
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
pub(super) fn named(fields: &IndexMap<Box<str>, Field>) -> impl Iterator<Item = Field> {
    fields.values().cloned()
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
            r#"[{"class":"/db/X","fields":{"a":{"name":"b","type":"/db/String"},"b":{"name":"b","type":"/db/Date"}}}]"#,
            r#"[{"class":"/db/X"},{"class":"/db/X"}]"#,
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
        let child = r#"[{"class":"/db/Child","superClass":"/db/Lot"}]"#;
        let field = r#"[{"class":"/db/Lot","fields":{"d":{"name":"d","type":"/db/Date"}}}]"#;
        assert!(!may(child) && !may(field), "nobody was named");
        let mut closed = before.clone();
        let mut lot = (**closed.class("Lot").unwrap()).clone();
        let named = |user: &str| Rights([(user.into(), Rule::Allow)].into());
        (lot.acl.schema_subclass, lot.acl.schema_add, lot.acl.schema_replace) =
            (named("/db/User/a"), named("/db/Role/3"), named("/db/User/b"));
        closed.classes.insert("Lot".into(), lot.into());
        let may = |text: &str| merge(&closed, &requests(text), &anybody).is_ok();
        assert!(may(child) && may(field), "named, or a role of his");
        assert!(!may(r#"[{"class":"/db/New","superClass":"/db/Object"}]"#));
        let rights = requests(r#"[{"class":"/db/Lot","acl":{"load":{"/db/User/a":"allow"}}}]"#);
        assert!(matches!(merge(&closed, &rights, &anybody), Err(SchemaError::Denied { right: "schemaReplace", .. })));
    }
}

//! Declared classes: what fields a bucket has and what their types are.
//!
//! A bucket without a class is open: any fields, no types. Both kinds live side by side.

pub mod alteration;
pub mod built_in;
mod change;
mod check;
mod dates;
mod expiry;
mod kind;
pub mod lens;
mod merge;
pub mod moves;
pub mod name;

pub use alteration::Alteration;
pub use change::{Request, change};
pub(crate) use dates::Dates;
pub use expiry::EXPIRES;
pub use kind::Kind;
pub use merge::{ClassRequest, SchemaError, merge};
pub use moves::Move;

use dataflows::access::ClassRights;
use dataflows::document::DateFields;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

/// An app's classes at one version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Raised with every change
    pub version: u64,
    /// By bucket name (without `/db/`), in the order of declaration
    pub classes: IndexMap<Box<str>, Arc<Class>>,
    /// Fields that objects on the disk may still have under former names
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Move>,
    /// What this version changed for those who read
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub altered: Vec<Alteration>,
}

/// A declared class, in the JSON form of docs/schema.md.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Class {
    /// `/db/<bucket>`
    pub class: Box<str>,
    /// The class it inherits from, `/db/Object` for most
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub super_class: Option<Box<str>>,
    /// Whether its values live inside other objects only
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub embedded: bool,
    /// Free for clients
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub metadata: IndexMap<Box<str>, Box<str>>,
    /// Code that judges objects before they are stored
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_code: Option<Box<str>>,
    /// Who may do what
    #[serde(default)]
    pub acl: ClassRights,
    /// The fields, in order
    #[serde(default)]
    pub fields: IndexMap<Box<str>, Field>,
}

/// A declared field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its name
    pub name: Box<str>,
    /// `/db/String`, a class, `/db/collection.List[/db/String]`, …
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// Its place among the fields
    #[serde(default)]
    pub order: i64,
    /// Free for clients
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub metadata: IndexMap<Box<str>, Box<str>>,
    /// `METADATA`, `READONLY`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Box<str>>,
}

impl Schema {
    /// What apps that never declared anything have.
    pub fn built_in() -> Schema {
        Schema { classes: built_in::classes(), ..Schema::default() }
    }

    /// The fields of a class that are no metadata: inherited ones first, those of each class in their order.
    pub fn fields(&self, bucket: &str) -> Vec<&Field> {
        let mut lineage = Vec::new();
        let mut next = self.class(bucket);
        // The bound ends a circle of classes that inherit each other.
        while let Some(class) = next.filter(|class| &*class.class != built_in::OBJECT && lineage.len() < 32) {
            lineage.push(class);
            next = class.super_class.as_deref().and_then(|parent| parent.strip_prefix("/db/")).and_then(|parent| self.class(parent));
        }
        let mut fields: Vec<&Field> = Vec::new();
        let mut seen = HashSet::new();
        for class in lineage.into_iter().rev() {
            let mut own: Vec<&Field> = class.fields.values().collect();
            own.sort_by_key(|field| field.order);
            for field in own {
                if seen.insert(&*field.name) {
                    fields.push(field);
                }
            }
        }
        fields
    }

    /// A field of a class that is no metadata, its own or an inherited one.
    pub fn field(&self, bucket: &str, name: &str) -> Option<&Field> {
        let mut found = None;
        let mut next = self.class(bucket);
        // The bound is that of `fields`, and as there the eldest declaration counts.
        for _ in 0..32 {
            let Some(class) = next.filter(|class| &*class.class != built_in::OBJECT) else { break };
            found = class.fields.values().find(|field| *field.name == *name).or(found);
            next = class.super_class.as_deref().and_then(|parent| parent.strip_prefix("/db/")).and_then(|parent| self.class(parent));
        }
        found
    }

    /// The class of a bucket; none where the bucket is open.
    pub fn class(&self, bucket: &str) -> Option<&Arc<Class>> {
        self.classes.get(bucket)
    }

    /// As [`Schema::rights`], for one look at them.
    pub fn rights_of(&self, bucket: &str) -> &ClassRights {
        static PUBLIC: OnceLock<ClassRights> = OnceLock::new();
        match self.class(bucket) {
            Some(class) => &class.acl,
            None => PUBLIC.get_or_init(ClassRights::default),
        }
    }

    /// What a bucket's callers may do; open buckets are public.
    pub fn rights(&self, bucket: &str) -> ClassRights {
        self.class(bucket).map(|class| class.acl.clone()).unwrap_or_default()
    }

    /// Which fields of a bucket hold times. `createdAt` and `updatedAt` always do. For all buckets of a schema: [`Dates`].
    pub fn dates(&self, bucket: &str) -> DateFields {
        Dates::new(self).of(bucket)
    }
}

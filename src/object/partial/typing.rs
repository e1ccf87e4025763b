//! What a path leads to: by the declarations of its class, or by the value that is there.

use crate::schema::{Kind, Schema};

/// What is known of a place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Typing<'s> {
    /// Declared; the values there are of this type, or null
    Declared(Kind<'s>, &'s str),
    /// Of an open bucket, or inside of JSON: the value that is there decides
    Free,
}

impl<'s> Typing<'s> {
    /// A field of an object of the bucket. None: the class does not declare it.
    pub(super) fn of_field(schema: &'s Schema, bucket: &str, name: &str) -> Option<Typing<'s>> {
        if schema.class(bucket).is_none() {
            return Some(Typing::Free);
        }
        let field = schema.field(bucket, name)?;
        Some(Typing::Declared(Kind::parse(&field.kind).unwrap_or(Kind::Json), &field.kind))
    }

    /// What stands under a component. None: nothing can.
    pub(super) fn below(&self, schema: &'s Schema, component: &str) -> Option<Typing<'s>> {
        match self {
            Typing::Free | Typing::Declared(Kind::Json, _) => Some(Typing::Free),
            Typing::Declared(Kind::List(element), text) => {
                super::path::index(component).map(|_| Typing::Declared((**element).clone(), text))
            }
            Typing::Declared(Kind::Map(value), text) => Some(Typing::Declared((**value).clone(), text)),
            Typing::Declared(Kind::Class(class), _) if is_embedded(schema, class) => Typing::of_field(schema, class, component),
            // Members of sets have no place; everything else has no parts of its own.
            Typing::Declared(..) => None,
        }
    }

    /// Whether it is an object of an embedded class, which is changed field by field.
    pub(super) fn is_embedded(&self, schema: &Schema) -> bool {
        matches!(self, Typing::Declared(Kind::Class(class), _) if is_embedded(schema, class))
    }

    /// Whether JSON alone decides what may be done.
    pub(super) fn is_free(&self) -> bool {
        matches!(self, Typing::Free | Typing::Declared(Kind::Json, _))
    }
}

fn is_embedded(schema: &Schema, class: &str) -> bool {
    schema.class(class).is_some_and(|class| class.embedded)
}

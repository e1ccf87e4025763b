//! An object as text: what clients send, and the canonical form that is stored and delivered.
//!
//! Canonical: `{"id","version","acl","createdAt","updatedAt"` and then the fields`}`, no blanks outside of
//! strings. Values of open fields are kept byte for byte otherwise, so that no number loses a digit.

use crate::json::{object_entries, push_compact, push_string};
use crate::object::{id, time};
use crate::schema::name::METADATA;
use dataflows::access::Acl;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Why a body is not an object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not JSON, not an object, or a name twice
    #[error("the body is not an object: {0}")]
    Syntax(#[from] serde_json::Error),
    /// `id` is something else than a text
    #[error("the id in the body is not a text")]
    Id,
    /// `acl` is something else than null or lists of users and roles
    #[error(
        "the acl in the body cannot be read: {0}; it is null or {{\"read\": {{…}}, \"write\": {{…}}}}, each from user or role to \"allow\" or \"deny\""
    )]
    Acl(String),
}

/// An object as a client sends it: metadata apart, the other fields in their order.
#[derive(Debug)]
pub struct Body<'b> {
    /// `id`, as it was written
    pub id: Option<String>,
    /// `acl`
    pub acl: AclRequest,
    /// What is no metadata, each name once
    pub fields: Vec<(Cow<'b, str>, &'b RawValue)>,
}

/// What a request wants of the access list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AclRequest {
    /// Nothing: an update keeps the list, an insert has none
    #[default]
    Keep,
    /// `null`: public
    Public,
    /// This list, canonical
    List(Acl),
}

impl AclRequest {
    /// Whether it names nobody: absent, null, or without an entry, which is what the SDK sends for every object whose list
    /// nobody has touched.
    pub fn names_nobody(&self) -> bool {
        !matches!(self, AclRequest::List(acl) if *acl != Acl::default())
    }
}

impl<'b> Body<'b> {
    /// Reads a request's body.
    pub fn parse(text: &'b [u8]) -> Result<Body<'b>, BodyError> {
        let entries = object_entries(text)?;
        let mut body = Body { id: None, acl: AclRequest::Keep, fields: Vec::with_capacity(entries.len()) };
        for (name, value) in entries {
            match &*name {
                "id" => body.id = serde_json::from_str(value.get()).map_err(|_| BodyError::Id)?,
                "acl" => body.acl = acl_request(value)?,
                name if METADATA.contains(&name) => {}
                _ => body.fields.push((name, value)),
            }
        }
        Ok(body)
    }

    /// The fields of an open bucket as a part of the canonical text: `,"name":value` each.
    pub fn open_fields(&self) -> String {
        open_fields(&self.fields)
    }
}

/// Fields as a part of the canonical text: `,"name":value` each.
pub fn open_fields(fields: &[(Cow<'_, str>, &RawValue)]) -> String {
    let mut text = String::with_capacity(fields.iter().map(|(name, value)| name.len() + value.get().len() + 4).sum());
    for (name, value) in fields {
        text.push(',');
        push_string(&mut text, name);
        text.push(':');
        push_compact(&mut text, value.get());
    }
    text
}

/// What an `acl` asks for; null is public.
pub fn acl_request(value: &RawValue) -> Result<AclRequest, BodyError> {
    let acl: Option<Acl> = serde_json::from_str(value.get()).map_err(|error| BodyError::Acl(error.to_string()))?;
    let Some(mut acl) = acl else { return Ok(AclRequest::Public) };
    for rights in [&mut acl.read, &mut acl.write] {
        // A list that names a user in another spelling than the tokens do would silently not protect.
        rights.0 = std::mem::take(&mut rights.0)
            .into_iter()
            .map(|(reference, rule)| match id::whole(&reference) {
                Ok((reference, _)) => Ok(((*reference).into(), rule)),
                Err(error) => Err(BodyError::Acl(error.to_string())),
            })
            .collect::<Result<_, _>>()?;
    }
    Ok(AclRequest::List(acl))
}

/// The canonical text. `fields` is `,"name":value` each; `id` is canonical, so it needs no escapes.
pub fn canonical(id: &str, version: u64, acl: Option<&Acl>, created: i64, updated: i64, fields: &str) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(id.len() + fields.len() + 160);
    let acl = acl.and_then(|acl| serde_json::to_string(acl).ok());
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        r#"{{"id":"{id}","version":{version},"acl":{},"createdAt":"{}","updatedAt":"{}"{fields}}}"#,
        acl.as_deref().unwrap_or("null"),
        time::instant(created),
        time::instant(updated),
    );
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use dataflows::access::{Rights, Rule};

    #[test]
    fn metadata_is_no_field_and_the_rest_keeps_order_and_digits() {
        let body =
            Body::parse(br#"{ "b": 1.50, "version": 9, "id": "/db/A/1", "a": [1, " x "], "createdAt": 1, "big": 123456789012345678901 }"#)
                .unwrap();
        assert_eq!(body.id.as_deref(), Some("/db/A/1"));
        assert_eq!(body.open_fields(), r#","b":1.50,"a":[1," x "],"big":123456789012345678901"#);
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_also_when_spelled_with_escapes() {
        assert!(Body::parse(br#"{"a":1,"a":2}"#).is_err());
        assert!(Body::parse(br#"{"a":1,"\u0061":2}"#).is_err());
        assert!(Body::parse(b"[]").is_err());
        assert!(Body::parse(b"{} x").is_err());
        assert!(Body::parse(br#"{"id":7}"#).is_err());
    }

    #[test]
    fn access_lists_are_made_canonical_or_refused() {
        let body = Body::parse(br#"{"acl":{"read":{"/db/User/%61":"allow"}}}"#).unwrap();
        let read = Rights([("/db/User/a".into(), Rule::Allow)].into());
        assert_eq!(body.acl, AclRequest::List(Acl { read, write: Rights::default() }));
        assert_eq!(Body::parse(br#"{"acl":null}"#).unwrap().acl, AclRequest::Public);
        assert_eq!(Body::parse(b"{}").unwrap().acl, AclRequest::Keep);
        for acl in [r#"{"reed":{}}"#, r#"{"read":{"joe":"allow"}}"#, r#"{"read":{"/db/User/a":"maybe"}}"#, "7"] {
            assert!(Body::parse(format!(r#"{{"acl":{acl}}}"#).as_bytes()).is_err(), "{acl}");
        }
    }
}

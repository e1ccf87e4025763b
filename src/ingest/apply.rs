//! What a record means for a bucket, as a write of the store: a pure decision on the image that is there.
//!
//! Objects look as if they had been written at the API: our metadata first, then the source's fields in its order.

use super::meaning::Fields;
use crate::json::{self, object_entries};
use crate::object::text;
use crate::object::{id, time};
use crate::schema::name::METADATA;
use crate::store::{Actor, Decide, Decision, Key, Refusal, Stamp, Write};
use dataflows::access::{Acl, Rights, Rule};
use dataflows::change::{Image, Writer};
use dataflows::document::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

/// Ingest is in no session.
const WRITER: Writer = Writer { session: 0, request: 0 };

/// Where objects go, and who may read them.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) app: Arc<str>,
    pub(crate) bucket: Arc<str>,
    /// The field that holds the id of the user who may read the object
    pub(crate) owner: Option<Box<str>>,
}

impl Target {
    /// Where the object lives that the source calls so.
    pub(crate) fn key(&self, source_id: &str) -> Result<Key, id::IdError> {
        let id = id::object(&self.bucket, &id::encode_component(source_id))?;
        Ok(id::key(&self.app, &self.bucket, id))
    }

    /// The object is now this.
    pub(crate) fn put(self: &Arc<Self>, key: Key, fields: Fields) -> Write {
        let put = Put::new(Arc::clone(self), Arc::clone(&key.id), fields);
        let decide: Decide = Arc::new(move |before, stamp| put.decide(before, stamp));
        Write { key, decide, actor: Actor::server(), writer: WRITER }
    }
}

/// The object gets the access list that the mapping says, whatever it has; its fields stay. One that has it is not written.
pub(crate) fn list_anew(target: &Arc<Target>, key: Key) -> Write {
    let (target, id) = (Arc::clone(target), Arc::clone(&key.id));
    let decide: Decide = Arc::new(move |before, stamp| {
        let Some(image) = before else { return Ok(Decision::Nothing) };
        let stored = object_entries(image.json()).map_err(|error| Refusal::Invalid(format!("what is stored of {id}: {error}")))?;
        let own = || stored.iter().filter(|(name, _)| !METADATA.contains(&&**name)).map(|(name, value)| (&**name, *value));
        let acl = acl(target.owner.as_deref(), own());
        if acl.clone().unwrap_or_default() == image.acl {
            return Ok(Decision::Nothing);
        }
        let created = instant(image, "createdAt").unwrap_or(stamp.now);
        let text = text::canonical(&id, stamp.version, acl.as_ref(), created, stamp.now, &fields_text(own()));
        Ok(Decision::Put(text.into()))
    });
    Write { key, decide, actor: Actor::server(), writer: WRITER }
}

fn instant(image: &Image, name: &str) -> Option<i64> {
    match image.document.root().get(name) {
        Some(Value::Date(at)) => Some(at),
        _ => None,
    }
}

/// The object is gone.
pub(crate) fn delete(key: Key) -> Write {
    static DELETE: std::sync::OnceLock<Decide> = std::sync::OnceLock::new();
    Write { key, decide: DELETE.get_or_init(|| Arc::new(|_, _| Ok(Decision::Delete))).clone(), actor: Actor::server(), writer: WRITER }
}

/// The whole state of an object as the source tells it.
struct Put {
    target: Arc<Target>,
    id: Arc<str>,
    /// `,"name":value` each; all of it, unless some are unavailable
    fields: String,
    /// The access list that comes of these fields
    acl: Option<Acl>,
    /// Set where the source did not send every value
    partial: Option<Fields>,
}

impl Put {
    fn new(target: Arc<Target>, id: Arc<str>, fields: Fields) -> Put {
        let entries = fields.values.iter().map(|(name, value)| (&**name, &**value));
        let acl = acl(target.owner.as_deref(), entries.clone());
        let text = fields_text(entries);
        let partial = (!fields.unavailable.is_empty()).then_some(fields);
        Put { target, id, fields: text, acl, partial }
    }

    fn decide(&self, before: Option<&Image>, stamp: &Stamp) -> Result<Decision, Refusal> {
        let (mut acl, mut fields) = (Cow::Borrowed(&self.acl), Cow::Borrowed(&self.fields));
        if let (Some(partial), Some(image)) = (&self.partial, before) {
            let stored =
                object_entries(image.json()).map_err(|error| Refusal::Invalid(format!("what is stored of {}: {error}", self.id)))?;
            let entries = completed(partial, &stored);
            acl = Cow::Owned(self::acl(self.target.owner.as_deref(), entries.iter().map(|(name, value)| (&**name, *value))));
            fields = Cow::Owned(fields_text(entries.iter().map(|(name, value)| (&**name, *value))));
        }
        let acl = acl.as_ref().as_ref();
        let created = before.and_then(|image| instant(image, "createdAt")).unwrap_or(stamp.now);
        if let Some(image) = before.filter(|image| ends_with(image.json(), &fields))
            && let Some(updated) = instant(image, "updatedAt")
            && text::canonical(&self.id, image.version(), acl, created, updated, &fields).as_bytes() == &**image.json()
        {
            // A snapshot that is read again, or a source that repeats itself, is no change of the object.
            return Ok(Decision::Nothing);
        }
        Ok(Decision::Put(text::canonical(&self.id, stamp.version, acl, created, stamp.now, &fields).into()))
    }
}

/// Whether the text of an object ends with these fields: what differs mostly differs here.
fn ends_with(json: &[u8], fields: &str) -> bool {
    json.strip_suffix(b"}").is_some_and(|head| head.ends_with(fields.as_bytes()))
}

/// The fields as a part of the canonical text.
fn fields_text<'f>(entries: impl Iterator<Item = (&'f str, &'f RawValue)> + Clone) -> String {
    let mut text = String::with_capacity(entries.clone().map(|(name, value)| name.len() + value.get().len() + 4).sum());
    for (name, value) in entries {
        text.push(',');
        json::push_string(&mut text, name);
        text.push(':');
        json::push_compact(&mut text, value.get());
    }
    text
}

/// What was sent, with what is stored for what was not. In the stored order, so that an object that did not change is told
/// by its text.
fn completed<'e>(sent: &'e Fields, stored: &'e [(Cow<'e, str>, &'e RawValue)]) -> Vec<(Cow<'e, str>, &'e RawValue)> {
    let stored = || stored.iter().filter(|(name, _)| !METADATA.contains(&&**name));
    let value_of = |name: &str| sent.values.iter().find(|(own, _)| **own == *name).map(|(_, value)| &**value);
    let kept = stored().filter_map(|(name, value)| {
        let unavailable = sent.unavailable.iter().any(|own| **own == **name);
        value_of(name).or_else(|| unavailable.then_some(*value)).map(|value| (name.clone(), value))
    });
    let new = sent.values.iter().filter(|(name, _)| !stored().any(|(known, _)| **known == **name));
    kept.chain(new.map(|(name, value)| (Cow::Borrowed(&**name), &**value))).collect()
}

/// Only the owner may read; without one nobody but administrators. None where everybody may whom the class lets.
fn acl<'f>(owner: Option<&str>, mut entries: impl Iterator<Item = (&'f str, &'f RawValue)>) -> Option<Acl> {
    let owner = owner?;
    let value = entries.find(|(name, _)| *name == owner).map(|(_, value)| value.get());
    let read = value.and_then(user).map_or_else(Rights::admin_only, |user| Rights([(user.into(), Rule::Allow)].into()));
    Some(Acl { read, write: Rights::default() })
}

/// The reference of the user that a value names: a text or a number, or a whole reference.
fn user(value: &str) -> Option<String> {
    let name: Cow<'_, str> = match value.bytes().next()? {
        b'"' => serde_json::from_str::<String>(value).ok()?.into(),
        b'-' | b'0'..=b'9' => value.into(),
        _ => return None,
    };
    let segment = match name.strip_prefix("/db/User/") {
        Some(_) => return id::whole(&name).ok().filter(|(_, bucket)| **bucket == *"User").map(|(id, _)| id.to_string()),
        None => id::encode_component(&name),
    };
    id::object("User", &segment).ok().map(|id| id.to_string())
}

/// A moment as text, for what is told to people.
pub(crate) fn moment(milliseconds: i64) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", time::instant(milliseconds));
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use dataflows::document::{DateField, DateFields, DocumentLimits};

    fn target(owner: Option<&str>) -> Arc<Target> {
        Arc::new(Target { app: "app".into(), bucket: "Order".into(), owner: owner.map(Into::into) })
    }

    fn fields(values: &[(&str, &str)], unavailable: &[&str]) -> Fields {
        Fields {
            values: values.iter().map(|(name, value)| ((*name).into(), RawValue::from_string((*value).to_owned()).unwrap())).collect(),
            unavailable: unavailable.iter().map(|name| (*name).into()).collect(),
            ..Fields::default()
        }
    }

    /// What is there after a write at a time.
    fn after(write: &Write, before: Option<&Image>, now: i64) -> Option<Image> {
        let version = before.map_or(0, Image::version) + 1;
        let dates = DateFields::new(vec![("createdAt".into(), DateField::Date), ("updatedAt".into(), DateField::Date)]);
        match (write.decide)(before, &Stamp::of_server(1, version, now)).unwrap() {
            Decision::Put(text) => Some(Image::parse(text, &dates, DocumentLimits::default()).unwrap()),
            Decision::Delete => panic!("a delete"),
            Decision::Nothing => None,
        }
    }

    fn put(target: &Arc<Target>, fields: Fields) -> Write {
        target.put(target.key("a/1").unwrap(), fields)
    }

    #[test]
    fn an_object_looks_as_if_it_came_through_the_api() {
        let target = target(None);
        let one = after(&put(&target, fields(&[("b", "1.50"), ("a", r#"[1, " x "]"#)], &[])), None, 5_500).unwrap();
        let expected = r#"{"id":"/db/Order/a%2F1","version":1,"acl":null,"createdAt":"1970-01-01T00:00:05.5Z","updatedAt":"1970-01-01T00:00:05.5Z","b":1.50,"a":[1," x "]}"#;
        assert_eq!(one.json(), expected);
        let two = after(&put(&target, fields(&[("a", "2")], &[])), Some(&one), 6_000).unwrap();
        let expected = r#"{"id":"/db/Order/a%2F1","version":2,"acl":null,"createdAt":"1970-01-01T00:00:05.5Z","updatedAt":"1970-01-01T00:00:06Z","a":2}"#;
        assert_eq!(two.json(), expected);
    }

    #[test]
    fn what_changes_nothing_is_nothing() {
        let target = target(Some("a"));
        let write = put(&target, fields(&[("b", "1"), ("a", "2")], &[]));
        let one = after(&write, None, 5_500).unwrap();
        assert!(after(&write, Some(&one), 6_000).is_none());
        // The end of its text alone says nothing.
        assert!(after(&put(&target, fields(&[("a", "2")], &[])), Some(&one), 6_000).is_some());
        assert!(after(&put(&self::target(None), fields(&[("b", "1"), ("a", "2")], &[])), Some(&one), 6_000).is_some(), "another list");
    }

    #[test]
    fn what_was_not_sent_stays() {
        let target = target(Some("who"));
        let one = after(&put(&target, fields(&[("who", "7"), ("text", r#""long""#), ("gone", "1")], &[])), None, 1).unwrap();
        let partial = put(&target, fields(&[("n", "2"), ("who", "8")], &["text", "never"]));
        let two = after(&partial, Some(&one), 2).unwrap();
        let text = std::str::from_utf8(two.json()).unwrap();
        assert!(text.ends_with(r#","who":8,"text":"long","n":2}"#), "{text}");
        assert!(text.contains(r#""acl":{"read":{"/db/User/8":"allow"},"write":{}}"#), "{text}");
        assert!(after(&partial, Some(&two), 3).is_none());
        // Also the owner may be what was not sent.
        let kept = after(&put(&target, fields(&[("n", "3")], &["who"])), Some(&two), 3).unwrap();
        assert!(std::str::from_utf8(kept.json()).unwrap().contains(r#"{"read":{"/db/User/8":"allow"}"#));
    }

    #[test]
    fn without_an_owner_nobody_may_read() {
        let target = target(Some("who"));
        let acl_of = |value: Option<&str>| {
            let values: Vec<_> = value.map(|value| ("who", value)).into_iter().collect();
            after(&put(&target, fields(&values, &[])), None, 1).unwrap().acl.read.clone()
        };
        let only = |user: &str| Rights([(user.into(), Rule::Allow)].into());
        assert_eq!(acl_of(Some(r#""joe b""#)), only("/db/User/joe%20b"));
        assert_eq!(acl_of(Some("17")), only("/db/User/17"));
        assert_eq!(acl_of(Some(r#""/db/User/joe%20b""#)), only("/db/User/joe%20b"));
        for nobody in [None, Some("null"), Some("true"), Some("{}"), Some("[1]"), Some(r#""""#), Some(r#""/db/User/""#), Some(r#""..""#)] {
            assert_eq!(acl_of(nobody), Rights::admin_only(), "{nobody:?}");
        }
    }

    #[test]
    fn a_delete_is_one() {
        let key = target(None).key("1").unwrap();
        let text = Bytes::from_static(br#"{"id":"/db/Order/1","version":1}"#);
        let image = Image::parse(text, &DateFields::default(), DocumentLimits::default()).unwrap();
        let decision = (delete(key).decide)(Some(&image), &Stamp::of_server(1, 2, 1));
        assert!(matches!(decision, Ok(Decision::Delete)));
    }
}

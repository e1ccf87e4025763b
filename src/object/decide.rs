//! The decisions on writes of one object: (image before, stamp, request) to what happens (docs/api.md, "Objects").
//!
//! The store runs them inside of its transaction and perhaps more than once, so they are pure. The class's
//! rights were judged before; here the object's own access list is judged, against what is really there.

use crate::object::partial::{Update, UpdateError};
use crate::object::text::{self, AclRequest};
use crate::rights::ROLES;
use crate::store::{Decision, Refusal, Stamp};
use dataflows::access::{Acl, Rights};
use dataflows::change::Image;
use dataflows::document::Value;
use smallvec::SmallVec;

/// What a conditional request expects to be there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Expected {
    /// No condition: whatever is there, or nothing
    #[default]
    Anything,
    /// `If-Match: *`: the object, at any version
    Something,
    /// `If-Match: "3"`: the object at one of these versions. Empty if no version was named that could ever be.
    Versions(SmallVec<[u64; 1]>),
    /// `If-None-Match: *`: no object
    Nothing,
}

/// What is to be stored.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The canonical id
    pub id: std::sync::Arc<str>,
    /// The access list
    pub acl: AclRequest,
    /// `,"name":value` each
    pub fields: String,
}

/// The class's rights in the state before the commit. They were judged before the object was looked at, too, but a role or
/// a class may have changed since.
fn class_permits(right: &Rights, name: &'static str, id: &str, stamp: &Stamp<'_>) -> Result<(), Refusal> {
    if right.permits(stamp.caller) { Ok(()) } else { Err(Refusal::ClassDenied { right: name, bucket: bucket_of(id).to_owned() }) }
}

/// An insert: nothing may be there, also nothing that the caller cannot see.
pub fn insert(draft: &Draft, before: Option<&Image>, stamp: &Stamp<'_>) -> Result<Decision, Refusal> {
    class_permits(&stamp.class.insert, "insert", &draft.id, stamp)?;
    match before {
        Some(_) => Err(Refusal::Exists(draft.id.to_string())),
        None => Ok(put(draft, None, stamp)),
    }
}

/// Replaces an object, or makes it where nothing was expected and `creates` allows it.
pub fn replace(draft: &Draft, expected: &Expected, creates: bool, before: Option<&Image>, stamp: &Stamp<'_>) -> Result<Decision, Refusal> {
    if *expected != Expected::Nothing {
        class_permits(&stamp.class.update, "update", &draft.id, stamp)?;
    }
    if matches!(expected, Expected::Anything | Expected::Nothing) {
        // Whoever does not say that it must be there may make it.
        class_permits(&stamp.class.insert, "insert", &draft.id, stamp)?;
    }
    let caller = stamp.caller;
    let visible = before.filter(|image| image.acl.read.permits(caller));
    meets(&draft.id, expected, visible)?;
    match (visible, before) {
        (Some(image), _) if image.acl.write.permits(caller) => Ok(put(draft, Some(image), stamp)),
        (Some(_), _) => Err(Refusal::Denied(draft.id.to_string())),
        // Something is there that the caller may not see, so he may not write over it either.
        (None, Some(_)) => Err(Refusal::Denied(draft.id.to_string())),
        (None, None) if creates => Ok(put(draft, None, stamp)),
        (None, None) => Err(Refusal::Denied(draft.id.to_string())),
    }
}

/// Deletes an object; without a condition also where none is, or none that the caller may know of.
pub fn delete(id: &str, expected: &Expected, before: Option<&Image>, stamp: &Stamp<'_>) -> Result<Decision, Refusal> {
    class_permits(&stamp.class.delete, "delete", id, stamp)?;
    let caller = stamp.caller;
    let visible = before.filter(|image| image.acl.read.permits(caller));
    meets(id, expected, visible)?;
    match visible {
        Some(image) if image.acl.write.permits(caller) => Ok(Decision::Delete),
        Some(_) => Err(Refusal::Denied(id.to_owned())),
        None => Ok(Decision::Nothing),
    }
}

/// What an import does where an object is already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Present {
    /// It takes the object's place
    #[default]
    Replace,
    /// It leaves it as it is
    Keep,
    /// It fails
    Refuse,
}

/// An object that is brought in as it was exported: by administrators alone, with its access list and the time of its creation
/// (milliseconds since 1970). What is there already just so is not written again, so that an import can be repeated.
pub fn import(
    draft: &Draft,
    created: Option<i64>,
    present: Present,
    before: Option<&Image>,
    stamp: &Stamp<'_>,
) -> Result<Decision, Refusal> {
    if !stamp.caller.is_admin() {
        return Err(Refusal::Denied(draft.id.to_string()));
    }
    let time = |image: &Image, name: &str| match image.document.root().get(name) {
        Some(Value::Date(time)) => Some(time),
        _ => None,
    };
    let acl = match &draft.acl {
        AclRequest::List(acl) => Some(acl),
        AclRequest::Public | AclRequest::Keep => None,
    };
    let created = created.or_else(|| time(before?, "createdAt")).map_or(stamp.now, |created| created.min(stamp.now));
    if let Some(image) = before {
        match present {
            Present::Refuse => return Err(Refusal::Exists(draft.id.to_string())),
            Present::Keep => return Ok(Decision::Nothing),
            Present::Replace => {}
        }
        let updated = time(image, "updatedAt").unwrap_or(stamp.now);
        if text::canonical(&draft.id, image.version(), acl, created, updated, &draft.fields).as_bytes() == &**image.json() {
            return Ok(Decision::Nothing);
        }
    }
    Ok(Decision::Put(text::canonical(&draft.id, stamp.version, acl, created, stamp.now, &draft.fields).into()))
}

/// Updates what is there by operations. Judged as a replacement of something that is there; where nothing is, it is missing.
pub fn update(id: &str, update: &Update, expected: &Expected, before: Option<&Image>, stamp: &Stamp<'_>) -> Result<Decision, Refusal> {
    class_permits(&stamp.class.update, "update", id, stamp)?;
    let visible = before.filter(|image| image.acl.read.permits(stamp.caller));
    meets(id, expected, visible)?;
    let image = visible.ok_or_else(|| Refusal::Missing(id.to_owned()))?;
    if !image.acl.write.permits(stamp.caller) {
        return Err(Refusal::Denied(id.to_owned()));
    }
    let refused = |error: UpdateError| {
        if error.is_of_value() { Refusal::UnfitValue(error.to_string()) } else { Refusal::Update(error.to_string()) }
    };
    let json = std::str::from_utf8(image.json()).map_err(|_| Refusal::Invalid(format!("what is stored as {id} is not text")))?;
    let updated = update.apply(json, stamp.schema, bucket_of(id), stamp.now).map_err(refused)?;
    Ok(put(&Draft { id: id.into(), acl: updated.acl, fields: updated.fields }, Some(image), stamp))
}

/// Whether an object keeps its list whatever a request without one says: a role's list is replaced by another one, never by
/// none, as whoever may write a role may make himself a member.
fn keeps_list(id: &str, asked: &AclRequest) -> bool {
    bucket_of(id) == ROLES && asked.names_nobody()
}

/// The bucket of a canonical id.
fn bucket_of(id: &str) -> &str {
    id.strip_prefix("/db/").and_then(|rest| rest.split('/').next()).unwrap_or(id)
}

/// A condition that is not met is 412 also where nothing is there: the SDK would take a 404 for success.
fn meets(id: &str, expected: &Expected, visible: Option<&Image>) -> Result<(), Refusal> {
    let asked = match (expected, visible) {
        (Expected::Anything, _) | (Expected::Something, Some(_)) | (Expected::Nothing, None) => return Ok(()),
        (Expected::Versions(versions), Some(image)) if versions.contains(&image.version()) => return Ok(()),
        (Expected::Something, None) => "any".to_owned(),
        (Expected::Nothing, Some(_)) => "none".to_owned(),
        (Expected::Versions(versions), _) => match versions.as_slice() {
            [] => "none that there is".to_owned(),
            versions => versions.iter().map(u64::to_string).collect::<Vec<_>>().join(" or "),
        },
    };
    let found = visible.map_or_else(|| "none".to_owned(), |image| image.version().to_string());
    Err(Refusal::OutOfDate { id: id.to_owned(), asked, found })
}

fn put(draft: &Draft, before: Option<&Image>, stamp: &Stamp<'_>) -> Decision {
    let kept;
    let asked = if keeps_list(&draft.id, &draft.acl) { &AclRequest::Keep } else { &draft.acl };
    let acl = match asked {
        AclRequest::List(acl) => Some(acl),
        AclRequest::Public => None,
        AclRequest::Keep => {
            kept = before.map(|image| image.acl.clone()).filter(|acl| *acl != Acl::default());
            kept.as_ref()
        }
    };
    let created = match before.and_then(|image| image.document.root().get("createdAt")) {
        Some(Value::Date(created)) => created,
        _ => stamp.now,
    };
    Decision::Put(text::canonical(&draft.id, stamp.version, acl, created, stamp.now, &draft.fields).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use dataflows::access::{Caller, ClassRights};
    use dataflows::document::{DateField, DateFields, DocumentLimits};
    use proptest::prelude::*;
    use smallvec::smallvec;

    const ID: &str = "/db/Lot/1";

    fn draft(acl: AclRequest) -> Draft {
        Draft { id: ID.into(), acl, fields: r#","a":1"#.into() }
    }

    fn image(version: u64, acl: &str) -> Image {
        let text = format!(
            r#"{{"id":"{ID}","version":{version},"acl":{acl},"createdAt":"1970-01-01T00:00:01Z","updatedAt":"1970-01-01T00:00:02Z"}}"#
        );
        let dates = DateFields::new(vec![("createdAt".into(), DateField::Date), ("updatedAt".into(), DateField::Date)]);
        Image::parse(Bytes::from(text), &dates, DocumentLimits::default()).unwrap()
    }

    fn stamp(version: u64, caller: &Caller) -> Stamp<'_> {
        static PUBLIC: std::sync::LazyLock<ClassRights> = std::sync::LazyLock::new(ClassRights::default);
        static SCHEMA: std::sync::LazyLock<crate::schema::Schema> = std::sync::LazyLock::new(crate::schema::Schema::built_in);
        Stamp { commit: 9, version, now: 5_500, caller, class: &PUBLIC, schema: &SCHEMA }
    }

    fn text(decision: Result<Decision, Refusal>) -> String {
        match decision {
            Ok(Decision::Put(text)) => String::from_utf8(text.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_insert_has_version_one_and_one_time() {
        let now = "1970-01-01T00:00:05.5Z";
        assert_eq!(
            text(insert(&draft(AclRequest::Keep), None, &stamp(1, &Caller::anonymous()))),
            format!(r#"{{"id":"{ID}","version":1,"acl":null,"createdAt":"{now}","updatedAt":"{now}","a":1}}"#)
        );
        let hidden = image(1, r#"{"read":{"/db/User/x":"allow"}}"#);
        assert_eq!(
            insert(&draft(AclRequest::Keep), Some(&hidden), &stamp(2, &Caller::anonymous())).unwrap_err(),
            Refusal::Exists(ID.into())
        );
    }

    #[test]
    fn an_update_keeps_the_creation_and_a_list_it_does_not_mention() {
        let before = image(3, r#"{"read":{},"write":{"/db/User/x":"allow"}}"#);
        let caller = Caller::new(["/db/User/x"]);
        let replaced = |acl| text(replace(&draft(acl), &Expected::Anything, true, Some(&before), &stamp(4, &caller)));
        let kept = replaced(AclRequest::Keep);
        assert!(kept.contains(r#""createdAt":"1970-01-01T00:00:01Z","updatedAt":"1970-01-01T00:00:05.5Z""#), "{kept}");
        assert!(kept.contains(r#""version":4,"acl":{"read":{},"write":{"/db/User/x":"allow"}}"#), "{kept}");
        assert!(replaced(AclRequest::Public).contains(r#""acl":null"#));
    }

    #[test]
    fn a_role_keeps_its_list_where_a_request_names_nobody() {
        const ROLE: &str = "/db/Role/r";
        let joe = Caller::new(["/db/User/x"]);
        let text_before = image(3, r#"{"read":{},"write":{"/db/User/x":"allow"}}"#);
        let before = Image::parse(
            Bytes::from(std::str::from_utf8(text_before.json()).unwrap().replace(ID, ROLE)),
            &DateFields::default(),
            DocumentLimits::default(),
        )
        .unwrap();
        let role = |acl| Draft { id: ROLE.into(), acl, fields: String::new() };
        let kept = r#""acl":{"read":{},"write":{"/db/User/x":"allow"}}"#;
        for acl in [AclRequest::Keep, AclRequest::Public, AclRequest::List(Acl::default())] {
            let replaced = text(replace(&role(acl.clone()), &Expected::Anything, false, Some(&before), &stamp(4, &joe)));
            assert!(replaced.contains(kept), "{acl:?}: {replaced}");
        }
        for operand in ["null", "{}", r#"{"read":{},"write":{}}"#] {
            let asked = Update::parse(format!(r#"{{"$set":{{"acl":{operand}}}}}"#).as_bytes()).unwrap();
            let updated = text(update(ROLE, &asked, &Expected::Anything, Some(&before), &stamp(4, &joe)));
            assert!(updated.contains(kept), "{operand}: {updated}");
        }
        let other = Acl { read: Rights::default(), write: Rights::admin_only() };
        let replaced = text(replace(&role(AclRequest::List(other)), &Expected::Anything, false, Some(&before), &stamp(4, &joe)));
        assert!(replaced.contains(r#""write":{"/db/Role/1":"allow"}"#), "another one takes its place: {replaced}");
    }

    /// What a request comes to, in one word.
    fn outcome(result: Result<Decision, Refusal>) -> &'static str {
        match result {
            Ok(Decision::Put(_)) => "put",
            Ok(Decision::Delete) => "delete",
            Ok(Decision::Nothing) => "nothing",
            Err(Refusal::OutOfDate { .. }) => "412",
            Err(Refusal::Denied(_)) => "466",
            Err(_) => "other",
        }
    }

    #[test]
    fn the_table_of_conditions_and_rights() {
        let (public, unwritable, invisible) = ("null", r#"{"write":{"/db/User/x":"allow"}}"#, r#"{"read":{"/db/User/x":"allow"}}"#);
        let any = Expected::Anything;
        let some = Expected::Something;
        let third = Expected::Versions(smallvec![3]);
        let none = Expected::Nothing;
        // (acl of what is there at version 3 or 4, condition) to (replace, delete)
        for (there, expected, replaced, deleted) in [
            (None, &any, "put", "nothing"),
            (None, &some, "412", "412"),
            (None, &third, "412", "412"),
            (None, &none, "put", "nothing"),
            (Some((3, public)), &any, "put", "delete"),
            (Some((3, public)), &some, "put", "delete"),
            (Some((3, public)), &third, "put", "delete"),
            (Some((4, public)), &third, "412", "412"),
            (Some((3, public)), &none, "412", "412"),
            (Some((3, unwritable)), &any, "466", "466"),
            (Some((3, unwritable)), &third, "466", "466"),
            (Some((3, invisible)), &any, "466", "nothing"),
            (Some((3, invisible)), &some, "412", "412"),
            (Some((3, invisible)), &third, "412", "412"),
        ] {
            let before = there.map(|(version, acl)| image(version, acl));
            let caller = Caller::anonymous();
            let found = replace(&draft(AclRequest::Keep), expected, true, before.as_ref(), &stamp(5, &caller));
            assert_eq!(outcome(found), replaced, "replace {there:?} {expected:?}");
            assert_eq!(outcome(delete(ID, expected, before.as_ref(), &stamp(5, &caller))), deleted, "delete {there:?} {expected:?}");
        }
        assert_eq!(outcome(replace(&draft(AclRequest::Keep), &any, false, None, &stamp(1, &Caller::admin()))), "466");
    }

    proptest! {
        #[test]
        fn whoever_may_not_read_can_not_tell_a_hidden_object_from_none_by_its_version(version in 1u64..9, asked in 1u64..9) {
            let hidden = image(version, r#"{"read":{"/db/User/x":"allow"}}"#);
            let expected = Expected::Versions(smallvec![asked]);
            let caller = Caller::anonymous();
            let refusal = |before: Option<&Image>| delete(ID, &expected, before, &stamp(9, &caller)).unwrap_err();
            prop_assert_eq!(refusal(Some(&hidden)), refusal(None));
        }
    }
}

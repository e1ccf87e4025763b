//! The change record: what the log holds, as JSON that other readers of the log understand, too.
//!
//! `{"format":1,"kind":"object","app":…,"bucket":…,"schema":…,"commit":…,"previous":…,"control":…,"at":…,"payload":{…}}`
//! and, for a part of a batch, `"batch":{"first":…,"last":…}`: the commits that are one.
//!
//! Images stand in it as they are stored. `previous` is the commit number of the record before it in the same
//! log, so that a reader drops repeats and stops on a hole. Fields may be added within a format; a reader
//! that meets a format or a kind that it does not know must stop, as it cannot tell what it would miss.

use crate::schema::Schema;
use bytes::Bytes;
use dataflows::change::{BatchSpan, Change, CommitNumber, Image, Operation, Writer};
use dataflows::document::{DateFields, DocumentLimits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;

/// The format that is written.
pub const FORMAT: u32 = 1;

/// Limits for what was accepted once: objects stay readable when the limit for new ones is lowered.
pub(crate) const STORED: DocumentLimits = DocumentLimits { bytes: 1 << 30, depth: 64 };

/// A record of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The app
    pub app: Arc<str>,
    /// The bucket, without `/db/`; empty where the record is about the whole app
    pub bucket: Arc<str>,
    /// Version of the app's schema at the commit
    pub schema_version: u64,
    /// Its place in the order of commits
    pub commit: CommitNumber,
    /// The record before it in the same log; 0 for the first
    pub previous: CommitNumber,
    /// The last position of the control stream before the commit
    pub control: u64,
    /// Milliseconds since 1970, never smaller than that of an earlier record
    pub at: i64,
    /// The batch that it is a part of; a reader that shows states shows none between two of its records
    pub batch: Option<BatchSpan>,
    /// What happened
    pub payload: Payload,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// An object changed
    Object(ObjectChange),
    /// All objects of the bucket went at once
    Truncate,
    /// The app's classes are now these
    Schema(Arc<Schema>),
    /// The rights of this user or role (`/db/User/…`, `/db/Role/…`) or class (`/db/<bucket>`) changed
    Rights {
        /// Whose
        subject: Box<str>,
        /// Of a user: tokens of an older generation are dead
        generation: Option<u32>,
    },
}

/// An object's two images, as JSON texts.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectChange {
    /// The canonical id
    pub id: Arc<str>,
    /// What was done
    pub operation: Operation,
    /// Minus
    pub before: Option<Bytes>,
    /// Plus
    pub after: Option<Bytes>,
    /// Hash of the writer's session, 0 for none
    pub session: u64,
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Not a record
    #[error("it is not a change record: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Written by a newer version
    #[error("it has format {0}, this version reads format {FORMAT}; install a newer version")]
    Format(u32),
    /// Written by a newer version, or damaged
    #[error("it is of the unknown kind {0:?}; install a newer version")]
    Kind(String),
    /// An image that is no object
    #[error("its image cannot be read: {0}")]
    Image(#[from] dataflows::document::DocumentError),
    /// Operation and images contradict each other
    #[error("its images do not fit its operation")]
    Operation,
}

/// `P` is the payload as a value when written, as a text when read: it is looked at once format and kind are known.
#[derive(Serialize, Deserialize)]
struct Envelope<'a, P> {
    format: u32,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    app: Cow<'a, str>,
    #[serde(borrow, default)]
    bucket: Cow<'a, str>,
    schema: u64,
    commit: CommitNumber,
    previous: CommitNumber,
    control: u64,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<BatchSpan>,
    payload: P,
}

/// What stands under `payload` of an object's record.
#[derive(Deserialize)]
struct ObjectPayload<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    operation: Operation,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    /// 16 hex digits: 64 bits do not fit the numbers of every JSON reader
    #[serde(borrow)]
    session: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct RightsPayload<'a> {
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
}

/// The JSON text of a record. Images are put in as they are: they were read as JSON before they became images, and reading
/// them again would cost more than all the rest.
pub fn encode(record: &Record) -> Result<Vec<u8>, RecordError> {
    match &record.payload {
        Payload::Object(object) => object_record(record, object),
        Payload::Truncate => envelope(record, "truncate", serde_json::Map::new()),
        Payload::Schema(schema) => envelope(record, "schema", schema),
        Payload::Rights { subject, generation } => {
            envelope(record, "rights", RightsPayload { subject: Cow::Borrowed(subject), generation: *generation })
        }
    }
}

/// As [`ObjectPayload`] reads it, behind the rest of the envelope.
fn object_record(record: &Record, object: &ObjectChange) -> Result<Vec<u8>, RecordError> {
    // A payload of one digit, in the place of which the true one comes.
    let mut text = envelope(record, "object", 0)?;
    text.truncate(text.len().saturating_sub("0}".len()));
    let length = |image: &Option<Bytes>| image.as_ref().map_or(4, Bytes::len);
    text.reserve_exact(length(&object.before) + length(&object.after) + object.id.len() + 100);
    text.extend_from_slice(br#"{"id":"#);
    serde_json::to_writer(&mut text, &*object.id)?;
    text.extend_from_slice(br#","operation":"#);
    serde_json::to_writer(&mut text, &object.operation)?;
    for (name, image) in [(&br#","before":"#[..], &object.before), (&br#","after":"#[..], &object.after)] {
        text.extend_from_slice(name);
        text.extend_from_slice(image.as_deref().unwrap_or(b"null"));
    }
    // 16 hex digits. Writing to memory cannot fail.
    let _ = write!(text, r#","session":"{:016x}"}}}}"#, object.session);
    Ok(text)
}

fn envelope(record: &Record, kind: &str, payload: impl Serialize) -> Result<Vec<u8>, RecordError> {
    let envelope = Envelope {
        format: FORMAT,
        kind: Cow::Borrowed(kind),
        app: Cow::Borrowed(&record.app),
        bucket: Cow::Borrowed(&record.bucket),
        schema: record.schema_version,
        commit: record.commit,
        previous: record.previous,
        control: record.control,
        at: record.at,
        batch: record.batch,
        payload,
    };
    Ok(serde_json::to_vec(&envelope)?)
}

/// Reads a record. Whatever the bytes are, this returns.
pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    // Of a newer format only the number can be relied upon, so it is looked at alone and first.
    #[derive(Deserialize)]
    struct Head<'a> {
        format: u32,
        #[serde(borrow, default)]
        kind: Cow<'a, str>,
    }
    let envelope: Envelope<'_, &RawValue> = match serde_json::from_slice(bytes) {
        Ok(envelope) => envelope,
        Err(error) => {
            return Err(match serde_json::from_slice::<Head<'_>>(bytes) {
                Ok(head) if head.format != FORMAT => RecordError::Format(head.format),
                Ok(head) if !["object", "truncate", "schema", "rights"].contains(&&*head.kind) => RecordError::Kind(short(&head.kind)),
                _ => error.into(),
            });
        }
    };
    if envelope.format != FORMAT {
        return Err(RecordError::Format(envelope.format));
    }
    let payload = envelope.payload.get();
    let payload = match &*envelope.kind {
        "object" => {
            let object: ObjectPayload<'_> = serde_json::from_str(payload)?;
            let fits = match object.operation {
                Operation::Insert => object.before.is_none() && object.after.is_some(),
                Operation::Update => object.before.is_some() && object.after.is_some(),
                Operation::Delete => object.before.is_some() && object.after.is_none(),
            };
            let session = u64::from_str_radix(&object.session, 16).ok().filter(|_| fits).ok_or(RecordError::Operation)?;
            let text = |raw: Option<&RawValue>| raw.map(|raw| Bytes::copy_from_slice(raw.get().as_bytes()));
            Payload::Object(ObjectChange {
                id: (*object.id).into(),
                operation: object.operation,
                before: text(object.before),
                after: text(object.after),
                session,
            })
        }
        "truncate" => Payload::Truncate,
        "schema" => Payload::Schema(Arc::new(serde_json::from_str(payload)?)),
        "rights" => {
            let rights: RightsPayload<'_> = serde_json::from_str(payload)?;
            Payload::Rights { subject: (*rights.subject).into(), generation: rights.generation }
        }
        kind => return Err(RecordError::Kind(short(kind))),
    };
    Ok(Record {
        app: (*envelope.app).into(),
        bucket: (*envelope.bucket).into(),
        schema_version: envelope.schema,
        commit: envelope.commit,
        previous: envelope.previous,
        control: envelope.control,
        at: envelope.at,
        batch: envelope.batch,
        payload,
    })
}

/// What a record is about: enough to send it on as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) app: Box<str>,
    /// Of an object's record; control records have none
    pub(crate) id: Option<Box<str>>,
    pub(crate) commit: CommitNumber,
    pub(crate) at: i64,
    /// The last commit of what it must not be parted from: its own where it stands alone
    pub(crate) last: CommitNumber,
}

/// Reads what a record that this version wrote is about; its images are passed over.
pub(crate) fn about(bytes: &[u8]) -> Result<About, RecordError> {
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    let envelope: Envelope<'_, &RawValue> = serde_json::from_slice(bytes)?;
    let id = match &*envelope.kind {
        "object" => Some((*serde_json::from_str::<Object<'_>>(envelope.payload.get())?.id).into()),
        _ => None,
    };
    let last = envelope.batch.map_or(envelope.commit, |batch| batch.last);
    Ok(About { app: (*envelope.app).into(), id, commit: envelope.commit, at: envelope.at, last })
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

impl Record {
    /// The record of a change.
    pub fn of(change: &Change, previous: CommitNumber) -> Record {
        let text = |image: &Option<Arc<Image>>| image.as_ref().map(|image| image.json().clone());
        Record {
            app: Arc::clone(&change.app),
            bucket: Arc::clone(&change.bucket),
            schema_version: change.schema_version,
            commit: change.commit,
            previous,
            control: change.control,
            at: change.at,
            batch: change.batch,
            payload: Payload::Object(ObjectChange {
                id: Arc::clone(&change.id),
                operation: change.operation,
                before: text(&change.before),
                after: text(&change.after),
                session: change.writer.session,
            }),
        }
    }

    /// The change that the record holds; none for other kinds. `dates` are those of the record's schema version.
    pub fn change(&self, dates: &DateFields) -> Result<Option<Change>, RecordError> {
        let Payload::Object(object) = &self.payload else { return Ok(None) };
        let image = |text: &Option<Bytes>| -> Result<Option<Arc<Image>>, RecordError> {
            Ok(match text {
                Some(text) => Some(Arc::new(Image::parse(text.clone(), dates, STORED)?)),
                None => None,
            })
        };
        Ok(Some(Change {
            commit: self.commit,
            at: self.at,
            app: Arc::clone(&self.app),
            bucket: Arc::clone(&self.bucket),
            id: Arc::clone(&object.id),
            operation: object.operation,
            before: image(&object.before)?,
            after: image(&object.after)?,
            schema_version: self.schema_version,
            control: self.control,
            writer: Writer { session: object.session, request: 0 },
            batch: self.batch,
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object_text() -> impl Strategy<Value = Bytes> {
        proptest::collection::btree_map(".{0,8}", ".{0,12}", 0..5).prop_map(|fields| Bytes::from(serde_json::to_vec(&fields).unwrap()))
    }

    fn payload() -> impl Strategy<Value = Payload> {
        let object = (".{0,20}", 0..3u8, object_text(), object_text(), any::<u64>()).prop_map(|(id, operation, one, other, session)| {
            let (operation, before, after) = match operation {
                0 => (Operation::Insert, None, Some(other)),
                1 => (Operation::Update, Some(one), Some(other)),
                _ => (Operation::Delete, Some(one), None),
            };
            Payload::Object(ObjectChange { id: id.into(), operation, before, after, session })
        });
        let rights = (".{0,20}", prop::option::of(any::<u32>()))
            .prop_map(|(subject, generation): (String, _)| Payload::Rights { subject: subject.into(), generation });
        let schema = any::<u64>().prop_map(|version| Payload::Schema(Arc::new(Schema { version, ..Schema::default() })));
        prop_oneof![4 => object, 1 => Just(Payload::Truncate), 1 => rights, 1 => schema]
    }

    proptest! {
        #[test]
        fn decodes_what_it_encodes(
            payload in payload(), app in ".{0,9}", bucket in ".{0,9}", schema_version: u64, commit: u64, previous: u64, control: u64, at: i64,
            batch in prop::option::of((any::<u64>(), any::<u64>()).prop_map(|(first, last)| BatchSpan { first, last })),
        ) {
            let record = Record {
                app: app.into(), bucket: bucket.into(), schema_version, commit, previous, control, at, batch, payload,
            };
            let bytes = encode(&record).unwrap();
            prop_assert_eq!(decode(&bytes).unwrap(), record.clone());
            let id = match &record.payload {
                Payload::Object(object) => Some((*object.id).into()),
                _ => None,
            };
            prop_assert_eq!(about(&bytes).unwrap(), About { app: (*record.app).into(), id, commit, at, last: batch.map_or(commit, |batch| batch.last) });
            // Every text that was cut short is an error, never something else.
            prop_assert!(decode(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn decode_survives_anything(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }

    fn text(format: u32, kind: &str, payload: &str) -> String {
        format!(
            r#"{{"format":{format},"kind":"{kind}","app":"a","bucket":"b","schema":1,"commit":2,"previous":1,"control":0,"at":3,"payload":{payload}}}"#
        )
    }

    #[test]
    fn stops_at_what_it_does_not_know() {
        assert!(matches!(decode(text(2, "object", "{}").as_bytes()), Err(RecordError::Format(2))));
        assert!(matches!(decode(br#"{"format":9,"other":"shape"}"#), Err(RecordError::Format(9))));
        assert!(matches!(decode(text(1, "explode", "{}").as_bytes()), Err(RecordError::Kind(kind)) if kind == "explode"));
        let contradiction = r#"{"id":"x","operation":"insert","before":{},"after":{},"session":"0"}"#;
        assert!(matches!(decode(text(1, "object", contradiction).as_bytes()), Err(RecordError::Operation)));
    }
}

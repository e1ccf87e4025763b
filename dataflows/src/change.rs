//! The pair of images: minus what the object was, plus what it is now.

use crate::access::{Acl, Rights, Rule};
use crate::document::{DateFields, Document, DocumentError, DocumentLimits, Value};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The place of a change in the order of all commits of a store: 1, 2, 3 …; 0 is before the first.
pub type CommitNumber = u64;

/// What was done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It was not there before
    Insert,
    /// It was there and is there
    Update,
    /// It is there no more
    Delete,
}

/// An object as it stood after some commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    /// The whole object with its metadata, parsed
    pub document: Document,
    /// Its access list, read once from the document
    pub acl: Acl,
}

impl Image {
    /// Parses an object's whole JSON text, metadata included, and reads its access list.
    pub fn parse(json: Bytes, dates: &DateFields, limits: DocumentLimits) -> Result<Image, DocumentError> {
        let document = Document::parse(json, dates, limits)?;
        let acl = match document.root().get("acl") {
            Some(Value::Object(acl)) => {
                let rights = |name: &str| match acl.get(name) {
                    Some(Value::Object(map)) => read_rights(map),
                    _ => Rights::default(),
                };
                Acl { read: rights("read"), write: rights("write") }
            }
            _ => Acl::default(),
        };
        Ok(Image { document, acl })
    }

    /// The object's `version`; 0 where it has none.
    pub fn version(&self) -> u64 {
        match self.document.root().get("version") {
            Some(Value::Number(number)) => number.as_i64().and_then(|version| u64::try_from(version).ok()).unwrap_or(0),
            _ => 0,
        }
    }

    /// The object's JSON text, as clients get it.
    pub fn json(&self) -> &Bytes {
        self.document.text()
    }
}

/// A rule that is not `allow` counts as `deny`: a list that cannot be read closes, it never opens.
fn read_rights(map: crate::document::Object<'_>) -> Rights {
    let rule = |value| if matches!(value, Value::String("allow")) { Rule::Allow } else { Rule::Deny };
    Rights(map.iter().map(|entry| (entry.name.into(), rule(entry.value))).collect())
}

/// Who made a change, as far as the order of his answer and his event is concerned (invariant 10).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Hash of the session (anonymous: of the remote address); 0 for none
    pub session: u64,
    /// The request within this process; 0 where it came from elsewhere. Not part of the log.
    pub request: u64,
}

/// The commits of several changes that are one: nobody sees a state between the first and the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSpan {
    /// The first commit of the batch
    pub first: CommitNumber,
    /// The last commit of the batch
    pub last: CommitNumber,
}

impl BatchSpan {
    /// Whether a position lies within: it has a part of the batch before it and a part behind it.
    pub fn is_split_at(&self, position: CommitNumber) -> bool {
        self.first <= position && position < self.last
    }
}

/// One change of one object: what the matchers read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// Its place in the order of commits
    pub commit: CommitNumber,
    /// Milliseconds since 1970, never smaller than that of an earlier commit
    pub at: i64,
    /// The app
    pub app: Arc<str>,
    /// The bucket, without `/db/`
    pub bucket: Arc<str>,
    /// The object's canonical id, `/db/<bucket>/<percent-encoded>`
    pub id: Arc<str>,
    /// What was done
    pub operation: Operation,
    /// Minus
    pub before: Option<Arc<Image>>,
    /// Plus
    pub after: Option<Arc<Image>>,
    /// Version of the app's schema at the commit
    pub schema_version: u64,
    /// The last position of the control stream before the commit
    pub control: u64,
    /// Who did it
    pub writer: Writer,
    /// The batch that it is a part of; none for a change that stands alone
    pub batch: Option<BatchSpan>,
}

//! `PUT /db/:bucket`: objects as an export gave them, or as anybody wrote them.
//!
//! Each object is an ordinary write: the class shapes it, live queries see it, a refusal is its own. What was written stays
//! when the stream breaks; the same again does no harm, as what is there already just so is not written, and
//! `?from=` passes over what was told to be read.

use super::super::Front;
use super::super::error::{self, ApiError};
use super::super::identity::Identity;
use super::super::objects::{self, Shaped};
use super::super::path::BucketPath;
use super::records::{Record, Records};
use super::report::{self, Report};
use super::{PIECE, PIECE_BYTES, Turn, begin, commit_all, ending, is_of_one, wants_json};
use crate::object::decide::{self, Present};
use crate::object::id;
use crate::object::text::Body as ObjectBody;
use crate::store::Write;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Response};
use dataflows::change::Writer;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
pub(in crate::http) struct Asked {
    #[serde(default)]
    mode: Mode,
    /// The first record that is taken, counted from 1
    #[serde(default)]
    from: u64,
}

/// What happens where an object is already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Upsert,
    Skip,
    Insert,
}

/// How far an import is.
#[derive(Debug, Default)]
struct Count {
    /// The last record that is done with, one way or the other
    read: u64,
    written: u64,
    /// There already just so, or to be left as it is
    unchanged: u64,
    failed: u64,
}

impl Count {
    fn told(&self) -> Value {
        json!({"read": self.read, "written": self.written, "unchanged": self.unchanged, "failed": self.failed})
    }
}

struct Import {
    front: Arc<Front>,
    identity: Identity,
    bucket: Arc<str>,
    asked: Asked,
    count: Count,
    report: Report,
    turn: Turn,
}

pub(in crate::http) async fn import(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    Query(asked): Query<Asked>,
    identity: Identity,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    front.require_own(&identity.app, &bucket)?;
    let turn = begin(&front, &identity, "insert", &bucket)?;
    Ok(report::answer(wants_json(&headers), |report| async move {
        Import { front, identity, bucket, asked, count: Count::default(), report, turn }.run(body).await;
    })
    .await)
}

/// Why an import ends early.
enum End {
    /// Nobody listens any more
    Left,
    Failed(ApiError),
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> End {
        End::Failed(error)
    }
}

impl Import {
    async fn run(mut self, body: Body) {
        match self.read(body).await {
            Ok(()) => {
                let mut done = self.count.told();
                done["done"] = true.into();
                self.report.tell(done).await;
            }
            Err(End::Left) => tracing::info!(bucket = &*self.bucket, "an import was broken off by its client"),
            Err(End::Failed(error)) => self.report.fail(error, self.count.told()).await,
        }
    }

    async fn read(&mut self, body: Body) -> Result<(), End> {
        let mut reader = Records::new(self.front.options.body_bytes);
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut stream = body.into_data_stream();
        loop {
            let piece = tokio::select! {
                piece = stream.next() => piece,
                () = self.turn.ended() => return Err(ending().into()),
            };
            let Some(piece) = piece else { break };
            let piece = piece.map_err(|error| ApiError::new(error::TOO_SLOW, format!("the stream broke off: {error}")))?;
            reader.take(&piece, &mut records);
            bytes += piece.len();
            if bytes >= PIECE_BYTES || records.len() >= PIECE {
                self.write(&mut records).await?;
                bytes = 0;
            }
        }
        reader.finish(&mut records);
        self.write(&mut records).await
    }

    /// Writes the records that are there, at most so many side by side.
    async fn write(&mut self, records: &mut Vec<Record>) -> Result<(), End> {
        let mut rest = std::mem::take(records).into_iter().peekable();
        while rest.peek().is_some() {
            let piece: Vec<Record> = rest.by_ref().take(PIECE).collect();
            self.write_piece(piece).await?;
        }
        Ok(())
    }

    async fn write_piece(&mut self, records: Vec<Record>) -> Result<(), End> {
        if !self.turn.goes_on() {
            return Err(ending().into());
        }
        let last = records.last().map_or(self.count.read, |record| record.number);
        let (mut writes, mut places, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for record in records.into_iter().filter(|record| record.number >= self.asked.from) {
            match self.decide(&record) {
                Ok(Some(write)) => {
                    places.push((record.number, write.key.id.clone()));
                    writes.push(write);
                }
                Ok(None) => {}
                Err(error) => failures.push((record.number, None, error)),
            }
        }
        for ((number, id), done) in places.into_iter().zip(commit_all(&self.front, writes).await) {
            match done {
                Ok(committed) if committed.change.is_some() => self.count.written += 1,
                Ok(_) => self.count.unchanged += 1,
                Err(error) if is_of_one(&error) => failures.push((number, Some(id), error.into())),
                Err(error) => return Err(ApiError::from(error).into()),
            }
        }
        self.count.read = last;
        failures.sort_by_key(|(number, ..)| *number);
        for (number, id, error) in failures {
            self.count.failed += 1;
            let step = json!({"failed_at": number, "id": id, "reason": error.kind.code, "message": error.message});
            if !self.report.tell(step).await {
                return Err(End::Left);
            }
        }
        if self.report.tell(self.count.told()).await { Ok(()) } else { Err(End::Left) }
    }

    /// What becomes of a record; none for a blank line, and for what an export says about itself.
    fn decide(&self, record: &Record) -> Result<Option<Write>, ApiError> {
        let Some(text) = &record.text else {
            let message = format!("the record is longer than {} bytes (server.body_bytes)", self.front.options.body_bytes);
            return Err(ApiError::new(error::TOO_LARGE, message));
        };
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        let bad = |error: String| ApiError::new(error::BAD_JSON, error);
        let Head { id, created_at, tidegate } =
            serde_json::from_slice(text).map_err(|error| bad(format!("the record is not an object: {error}")))?;
        if id.is_none() && tidegate.is_some() {
            return Ok(None);
        }
        let object = ObjectBody::parse(text).map_err(|error| bad(error.to_string()))?;
        let (id, of) = id.as_deref().map(id::whole).transpose()?.ok_or_else(|| bad("the record has no id".to_owned()))?;
        if of != self.bucket {
            return Err(ApiError::new(error::BAD_ID, format!("the id {id} is not one of the bucket {}", self.bucket)));
        }
        let created = created_at.map(|text| text.parse::<jiff::Timestamp>().map(|time| time.as_millisecond()));
        let created = created.transpose().map_err(|error| ApiError::new(error::UNFIT_VALUE, format!("createdAt is no time: {error}")))?;
        let app = &self.identity.app.name;
        let schema = self.front.store.schema(app);
        let draft = objects::draft(&schema, &self.bucket, id.clone(), &object)?;
        let shaped = Shaped::new(&schema, Bytes::copy_from_slice(text));
        let present = match self.asked.mode {
            Mode::Upsert => Present::Replace,
            Mode::Skip => Present::Keep,
            Mode::Insert => Present::Refuse,
        };
        Ok(Some(Write {
            key: id::key(app, &self.bucket, id),
            decide: objects::deciding(&self.bucket, draft, Some(shaped), move |draft, before, stamp| {
                decide::import(draft, created, present, before, stamp)
            }),
            actor: self.identity.actor(),
            writer: Writer { session: self.identity.session.hash, request: 0 },
        }))
    }
}

/// What an import looks at before the fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    id: Option<String>,
    created_at: Option<String>,
    tidegate: Option<serde::de::IgnoredAny>,
}

//! `GET /db/:bucket`: all objects of one snapshot, in the order of their ids.
//!
//! The first line says of which state they are, the last one how many there were: without it the export was broken off. It goes
//! on behind any id (`?after=`), then of the state at that time. Credentials are no objects, so none is in it.

use super::super::body;
use super::super::error::ApiError;
use super::super::identity::Identity;
use super::super::path::BucketPath;
use super::super::{Front, set_position};
use super::{PIECE, PIECE_BYTES, STALLED, begin, report, wants_json};
use crate::object::id;
use crate::store::Page;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Pieces that may wait for a slow reader.
const WAITING: usize = 2;

#[derive(Debug, Deserialize)]
pub(in crate::http) struct Asked {
    /// Go on behind this id
    after: Option<String>,
}

pub(in crate::http) async fn export(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    Query(asked): Query<Asked>,
    identity: Identity,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let turn = begin(&front, &identity, "load", &bucket)?;
    let mut after = asked.after.as_deref().map(|after| of_bucket(&bucket, after)).transpose()?;
    let snapshot = front.store.snapshot().await?;
    let position = snapshot.position();
    let app = identity.app.name.clone();
    let as_array = wants_json(&headers);
    let (pieces, stream) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    let head = json!({
        "tidegate": "export", "format": 1, "app": &*app, "bucket": &*bucket, "position": position.to_string(), "after": after,
        "schema": front.store.schema(&app).version,
    });
    tokio::spawn(async move {
        let send = async |piece: Vec<u8>| tokio::time::timeout(STALLED, pieces.send(Ok(piece.into()))).await.is_ok_and(|sent| sent.is_ok());
        let mut count = 0u64;
        let mut text = if as_array { b"[".to_vec() } else { format!("{head}\n").into_bytes() };
        loop {
            let page = Page { app: app.clone(), bucket: bucket.clone(), after: after.clone(), objects: PIECE, bytes: PIECE_BYTES };
            let objects = match snapshot.page(page).await {
                Ok(objects) => objects,
                Err(error) => {
                    tracing::error!(%error, "an export broke off");
                    // The connection breaks, so that nobody takes what he has for the whole.
                    let _ = pieces.send(Err(io::Error::other(error.to_string()))).await;
                    return;
                }
            };
            let Some((last, _)) = objects.last() else { break };
            after = Some(last.clone());
            for (_, object) in &objects {
                if as_array {
                    text.extend_from_slice(if count == 0 { b"\n" } else { b",\n" });
                }
                text.extend_from_slice(object);
                if !as_array {
                    text.push(b'\n');
                }
                count += 1;
            }
            if !turn.goes_on() || !send(std::mem::take(&mut text)).await {
                return;
            }
        }
        let tail = json!({"tidegate": "end", "objects": count, "last": after});
        text.extend_from_slice(if as_array { b"\n]".to_vec() } else { format!("{tail}\n").into_bytes() }.as_slice());
        send(text).await;
    });
    let stream = ReceiverStream::new(stream);
    let mut response = if as_array { body::json(StatusCode::OK, Body::from_stream(stream)) } else { report::lines(stream) };
    set_position(&mut response, &position);
    Ok(response)
}

/// An id of this bucket, or the key alone.
fn of_bucket(bucket: &str, text: &str) -> Result<Arc<str>, ApiError> {
    if !text.starts_with("/db/") {
        return Ok(id::object(bucket, text)?);
    }
    let (id, of) = id::whole(text)?;
    if *of == *bucket {
        Ok(id)
    } else {
        Err(ApiError::new(super::super::error::BAD_ID, format!("{id} is not an id of the bucket {bucket}")))
    }
}

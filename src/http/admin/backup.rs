//! `POST /backup?app=`: a consistent copy of the store, or of one app, while writes go on, as one stream.

use super::{Admin, require_admin};
use crate::apps::registry::is_note_of;
use crate::http::error::{self, ApiError};
use crate::http::identity::Identity;
use crate::store::embedded::backup::OneApp;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes that are sent at a time, and how many such pieces may wait for a slow reader.
const PIECE: usize = 128 << 10;
const WAITING: usize = 8;

#[derive(serde::Deserialize)]
pub(super) struct Parameters {
    /// By its name; none: all of them
    #[serde(default)]
    app: Option<String>,
}

pub(super) async fn backup(
    State(admin): State<Arc<Admin>>,
    identity: Identity,
    asked: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let Query(asked) = asked.map_err(|_| ApiError::new(error::BAD_REQUEST, "give one app, or none for all: /backup?app=NAME"))?;
    let app = match asked.app {
        Some(word) => Some(admin.registry.find(&word).await?.in_store),
        None => None,
    };
    // Each holds a snapshot, which keeps old data on the disk.
    let turn = admin.backups.clone().try_acquire_owned();
    let turn = turn.map_err(|_| ApiError::new(error::BUSY, "a backup is under way; try again when it has ended"))?;
    let (pieces, stream) = mpsc::channel(WAITING);
    let store = admin.store.clone();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let one = app.as_deref().map(|app| OneApp { app, is_note_of });
        let result = store.backup_of(one, BufWriter::with_capacity(PIECE, Pieces(pieces.clone())), &mut |_| ());
        match result {
            Ok(position) => tracing::info!(%position, "a backup was made"),
            Err(error) => {
                tracing::warn!(%error, "a backup was not finished");
                // The connection breaks, so that nobody takes what he has for the whole.
                let _ = pieces.blocking_send(Err(io::Error::other(error.to_string())));
            }
        }
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(stream)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

/// A writer whose pieces the connection takes; waits while the reader is slow.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader went away");
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! What a URL's path names: a bucket, or an object in it.
//!
//! The path is taken apart as it was sent, and each segment is decoded once after that. A slash in a key must
//! not pass for one of the path, and `%252F` is the key `%2F`, not the key `/`.

use super::error::{self, ApiError};
use crate::object::id;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::sync::Arc;

/// `/db/:bucket…` or `/schema/:bucket`
#[derive(Debug)]
pub struct BucketPath(pub Arc<str>);

/// `/db/:bucket/:oid`
#[derive(Debug)]
pub struct ObjectPath {
    /// Without `/db/`
    pub bucket: Arc<str>,
    /// Canonical
    pub id: Arc<str>,
}

/// `/db/:bucket/:oid/:field`
#[derive(Debug)]
pub struct FieldPath {
    /// Which object
    pub object: ObjectPath,
    /// Dotted, decoded
    pub field: String,
}

/// Segments behind the base: `["db", bucket, oid]`.
fn segment(parts: &Parts, position: usize) -> &str {
    parts.uri.path().split('/').nth(position + 1).unwrap_or_default()
}

impl<S: Send + Sync> FromRequestParts<S> for BucketPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<BucketPath, ApiError> {
        Ok(BucketPath(id::bucket(segment(parts, 1))?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ObjectPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<ObjectPath, ApiError> {
        let bucket = id::bucket(segment(parts, 1))?;
        let id = id::object(&bucket, segment(parts, 2))?;
        Ok(ObjectPath { bucket, id })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FieldPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<FieldPath, ApiError> {
        let object = ObjectPath::from_request_parts(parts, state).await?;
        let field = percent_encoding::percent_decode_str(segment(parts, 3)).decode_utf8();
        let field = field.map_err(|_| ApiError::new(error::BAD_REQUEST, "the field in the URL is not UTF-8 text"))?.into_owned();
        Ok(FieldPath { object, field })
    }
}

//! What goes wrong at the API, as clients see it: one type, one table.
//!
//! The answer is always JSON with that content type, also where the caller asked for something else: the
//! SDK reads nothing else above 400. `docs/errors.md` is made from the table here.

use crate::apps::AppError;
use crate::object::id::IdError;
use crate::store::{BatchError, Refusal, StoreError};
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::fmt;

/// A kind of error: what a client can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Stable and kebab-case; `reason` in the body
    pub code: &'static str,
    /// HTTP status; above 460 those that the SDK knows
    pub status: u16,
    /// What the SDK takes as the error's name
    pub class_name: &'static str,
    /// What it means and what to do
    pub explanation: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:literal, $code:literal, $class:literal, $explanation:literal;)*) => {
        $(#[doc = $explanation] pub const $name: Kind = Kind { code: $code, status: $status, class_name: $class, explanation: $explanation };)*
        /// Every kind, in the order of the table.
        pub const KINDS: &[Kind] = &[$($name),*];
    };
}

kinds! {
    BAD_REQUEST = 400, "bad-request", "BadRequest", "The request is not well formed. The message says which part.";
    BAD_JSON = 400, "bad-json", "BadRequest", "The body is not JSON of the form that is expected here. The message says where it stops being so.";
    BAD_UPDATE = 400, "bad-update", "BadUpdate", "A partial update names an operation, a path or a value that there is not, or too many. The message says which.";
    BAD_ID = 400, "bad-id", "BadRequest", "The id is not of the form /db/<bucket>/<encodeURIComponent(key)>, or the body names another object than the URL.";
    BAD_QUERY = 400, "bad-query", "BadQuery", "The query cannot be read or asks for something that there is not. The message names path and operator.";
    NOT_SUPPORTED = 400, "not-supported", "NotSupported", "This server does not do that (yet).";
    UNFIT_OBJECT = 400, "unfit-object", "BadRequest", "The object cannot be stored: too large, nested too deep, or a name twice in one object.";
    MAIL_DISABLED = 400, "mail-disabled", "BadRequest", "Email verification not enabled: the server has nobody to send mail through (mail.transport).";
    BAD_LINK = 400, "bad-link", "BadRequest", "The link has been used, is too old, or is not whole. Ask for a new one.";
    NO_SUCH_PROVIDER = 400, "no-such-provider", "BadRequest", "The app has no provider of this name ([[oidc]]).";
    BAD_LOGIN = 400, "bad-login", "BadRequest", "The login at a provider was not begun in this browser, or took too long, or is to end at a page that is of no origin of the app. Begin it again.";
    BAD_CODE = 400, "bad-code", "BadRequest", "MFA code invalid";
    BAD_NAME = 400, "bad-username", "BadRequest", "A user cannot be registered by this name. The message says why.";
    BAD_PASSWORD = 400, "bad-password", "BadRequest", "The new password is missing, empty, or longer than 1024 bytes.";
    SECOND_FACTOR_REQUIRED = 403, "second-factor-required", "SecondFactorRequired", "The password is right, a code of the second factor is to come: send it with the token in data to POST /db/User/mfa/token within five minutes.";
    ADMIN_ONLY = 403, "admin-only", "Forbidden", "Only on the listener of administration: the caller is not an administrator, or the request names another host.";
    NO_SUCH_OBJECT = 404, "no-such-object", "ObjectNotFound", "There is no such object, or the caller may not read it.";
    NO_SUCH_USER = 404, "not-logged-in", "ObjectNotFound", "The request carries no token, or one that is not (any more) valid.";
    NO_SUCH_PAGE = 404, "no-such-page", "NotFound", "Nothing answers at this path. Clients connect to <origin>/<base>; the base is v1 unless configured otherwise.";
    WRONG_METHOD = 405, "wrong-method", "MethodNotAllowed", "There is such a path, but not with this method.";
    TOO_SLOW = 408, "too-slow", "RequestTimeout", "The request did not arrive in time. Send it again.";
    EXISTS = 409, "exists", "ObjectExists", "An object with this id exists already.";
    NAME_TAKEN = 409, "name-taken", "ObjectExists", "There is a user with this name already.";
    SECOND_FACTOR_ON = 409, "second-factor-on", "ObjectExists", "The user has a second factor already. Turn it off first (DELETE /db/User/mfa).";
    TOO_MANY_KEYS = 409, "keys-too-many", "Conflict", "Too many former keys still verify. Wait until the first of them has ended, or rotate with an overlap of 0, which ends them all.";
    OUT_OF_DATE = 412, "out-of-date", "ObjectOutOfDate", "The object has another version than the one that If-Match names, or is not there. Load it again.";
    UNIQUE_VIOLATED = 409, "unique-index-violated", "UniqueIndexViolation", "Another object has the same values in a unique index. The message says which index and value.";
    INDEX_FAILED = 409, "index-failed", "IndexFailed", "The index cannot be built over the objects that are there. The message says which value stands in the way; GET /index/:bucket keeps it until the index is declared again or dropped.";
    TOO_LARGE = 413, "too-large", "TooLarge", "The body is larger than server.body_bytes, a log entry than logs.entry_bytes, or a batch has more writes than server.batch_writes.";
    BAD_APP = 400, "bad-app", "BadRequest", "No app can be called so, have such a host, such an origin or such limits. The message says which.";
    NO_SUCH_APP = 404, "no-such-app", "NotFound", "There is no app of this name.";
    APP_CONFLICT = 409, "app-conflict", "Conflict", "The name or host is another app's, or the app is one that stays. The message says which.";
    OVER_QUOTA = 429, "over-quota", "TooManyRequests", "The app has used up what it may have of what all apps share (section limits of the configuration). Come again after the seconds in Retry-After.";
    TOO_MANY_TRIES = 429, "too-many-tries", "TooManyRequests", "Too many wrong passwords of this user or from this address: wait a minute. After too many wrong codes of a second factor: ten minutes. The same where too many links were asked for by mail.";
    BANNED = 429, "banned", "TooManyRequests", "The address is banned by an administrator of the app.";
    TOO_MANY_LOGS = 429, "too-many-logs", "TooManyRequests", "More log entries came from this address than logs.per_minute. Send fewer, or wait.";
    BAD_CREDENTIALS = 460, "bad-credentials", "BadCredentials", "User name or password is incorrect.";
    LOGIN_UNCONFIRMED = 460, "login-unconfirmed", "BadCredentials", "The provider did not confirm who logs in. The message says why.";
    NO_SUCH_BUCKET = 461, "no-such-bucket", "BucketNotFound", "The schema has no class of this name.";
    UNFIT_VALUE = 463, "unfit-value", "InvalidType", "A value does not have the type that its field is declared with. The message names the field.";
    DENIED = 466, "permission-denied", "PermissionDenied", "The rights of the class or the access list of the object do not let the caller do this.";
    NAME_UNCONFIRMED = 466, "name-unconfirmed", "PermissionDenied", "Mail goes to user names here, so a name changes when the new one is confirmed (POST /db/User/changeUsername). Only administrators write it into a user's object.";
    BUCKET_INGESTED = 466, "bucket-ingested", "PermissionDenied", "The bucket is filled from a topic, and by that alone: write to the topic. Nobody writes it here, not even an administrator.";
    BAD_INDEX = 400, "bad-index", "BadIndex", "The index cannot be declared. The message says why.";
    SCHEMA_INCOMPATIBLE = 469, "schema-incompatible", "SchemaIncompatible", "A field or class is there already and is declared otherwise: fields keep their types, classes their parents.";
    TYPE_EXISTS = 473, "type-exists", "TypeExists", "There is a class or a field of that name already.";
    STILL_REFERENCED = 474, "still-referenced", "TypeStillReferenced", "The class cannot go: other classes refer to it, or there are objects of it.";
    RESULT_TOO_LARGE = 400, "result-too-large", "BadQuery", "The query matches more objects than one answer may have (server.result_objects). Ask for fewer.";
    CRASHED = 500, "internal", "InternalError", "The server failed. Its log says more under the same time.";
    STORE_FAILED = 500, "store-failed", "StoreFailed", "The store could not do it; nothing was acknowledged. The server's log says more.";
    PROVIDER_UNUSABLE = 502, "provider-unusable", "Unavailable", "The provider does not answer, or not as its configuration says. Try again later; the server's log says more.";
    OVERLOADED = 503, "overloaded", "Overloaded", "More writes wait for the disk than store.queue allows. Try again in a moment.";
    OUTBOX_FULL = 503, "outbox-full", "Unavailable", "The brokers of the change log have taken nothing for so long that no more changes may wait (changelog.outbox_bytes). Reads go on; writes go on as soon as the brokers do.";
    LOG_LOST = 503, "log-lost", "Unavailable", "Nothing of this server gets into its change log any more, mostly because another process has taken over its store. The message says why; it needs a person.";
    TOO_MANY_BODIES = 503, "too-many-bodies", "Overloaded", "Bodies of requests that arrive or are worked on take all the memory that there is for them (server.bodies_bytes). Try again in a moment.";
    BUSY = 503, "busy", "Unavailable", "The server does that for somebody else just now. Try again later.";
    STORAGE_FULL = 507, "storage-full", "StorageFull", "The app's objects have as many bytes as they may (limits.stored_bytes). Delete some, or let an administrator of the server raise the limit.";
    CLOSING = 503, "closing", "Unavailable", "The server is shutting down. Try again in a moment.";
}

/// An error that is to be an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub struct ApiError {
    /// Its kind
    pub kind: Kind,
    /// For people: what happened and what to do
    pub message: String,
    /// For programs, where there is something to say
    pub data: Option<Box<Value>>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind.code)
    }
}

impl ApiError {
    /// An error of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> ApiError {
        ApiError { kind, message: message.into(), data: None }
    }

    /// The message is the kind's own explanation.
    pub fn plain(kind: Kind) -> ApiError {
        ApiError::new(kind, kind.explanation)
    }

    /// A class's rights refuse; the text is one that the SDK's specs compare.
    pub fn class_right(right: &str, bucket: &str) -> ApiError {
        ApiError::new(DENIED, format!("{right} permissions are required on the bucket {bucket}"))
    }

    /// The answer's body.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "className": self.kind.class_name,
            "message": self.message,
            "reason": self.kind.code,
            "status": self.kind.status,
        });
        if let (Some(data), Some(body)) = (&self.data, body.as_object_mut()) {
            body.insert("data".into(), (**data).clone());
        }
        body
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let status = StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE) {
            // Every write for as long as it lasts: whoever causes it says so once, and it is counted.
            tracing::debug!(code = self.kind.code, message = %self.message, "request refused");
        } else if status.is_server_error() {
            tracing::error!(code = self.kind.code, message = %self.message, "request failed");
        }
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
        response
    }
}

impl From<IdError> for ApiError {
    fn from(error: IdError) -> Self {
        ApiError::new(BAD_ID, error.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let kind = match &refusal {
            Refusal::OutOfDate { .. } => OUT_OF_DATE,
            Refusal::Exists(_) => EXISTS,
            Refusal::Missing(_) => NO_SUCH_OBJECT,
            Refusal::Denied(_) | Refusal::ClassDenied { .. } => DENIED,
            Refusal::NameTaken(_) => NAME_TAKEN,
            Refusal::NameUnconfirmed(_) => NAME_UNCONFIRMED,
            Refusal::Invalid(_) => BAD_REQUEST,
            Refusal::Taken { .. } => UNIQUE_VIOLATED,
            Refusal::Index(_) => BAD_INDEX,
            Refusal::Update(_) => BAD_UPDATE,
            Refusal::Occupied(_) => STILL_REFERENCED,
            Refusal::UnfitValue(_) => UNFIT_VALUE,
        };
        ApiError::new(kind, refusal.to_string())
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        let kind = match error {
            AppError::Store(error) => return error.into(),
            AppError::Missing(_) => NO_SUCH_APP,
            AppError::Exists(_) | AppError::HostTaken { .. } | AppError::TooMany(_) | AppError::Default => APP_CONFLICT,
            AppError::Name { .. } | AppError::Host { .. } | AppError::Origin { .. } | AppError::Limit { .. } | AppError::Password(_) => {
                BAD_APP
            }
            AppError::Hashing(_) => CRASHED,
        };
        ApiError::new(kind, error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Unfit(_) => ApiError::new(UNFIT_OBJECT, error.to_string()),
            StoreError::Overloaded => ApiError::new(OVERLOADED, error.to_string()),
            StoreError::TooMany { .. } => ApiError::new(RESULT_TOO_LARGE, error.to_string()),
            StoreError::Panicked(_) => ApiError::new(CRASHED, error.to_string()),
            StoreError::Closed => ApiError::new(CLOSING, error.to_string()),
            StoreError::Full { .. } => ApiError::new(STORAGE_FULL, error.to_string()),
            StoreError::OutboxFull { .. } => ApiError::new(OUTBOX_FULL, error.to_string()),
            StoreError::LogLost(_) => ApiError::new(LOG_LOST, error.to_string()),
            StoreError::Broken(_) => ApiError::new(STORE_FAILED, error.to_string()),
        }
    }
}

impl From<BatchError> for ApiError {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Store(error) | BatchError::Write { error, .. } => error.into(),
            BatchError::Conflict => ApiError::new(BUSY, error.to_string()),
        }
    }
}

/// The table of `docs/errors.md`.
pub fn table() -> String {
    let mut text = String::from(
        "# Errors of the API\n\n\
         Made from `src/http/error.rs`; a test fails when this file is not current.\n\n\
         Every error is JSON with the content type `application/json`:\n\
         `{\"className\", \"message\", \"reason\", \"status\", \"data\"?}`. `reason` is the code below and stays stable;\n\
         `message` is for people and may change. Only where the request is none that can be answered so is it a bare status:\n\
         a URL or a header that HTTP does not allow (400), and a websocket handshake that is none (400) or finds too many\n\
         connections (503, with `Retry-After`).\n\n\
         | status | code | class name | meaning |\n|---|---|---|---|\n",
    );
    let mut kinds = KINDS.to_vec();
    kinds.sort_by_key(|kind| (kind.status, kind.code));
    for kind in kinds {
        text.push_str(&format!("| {} | `{}` | {} | {} |\n", kind.status, kind.code, kind.class_name, kind.explanation));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_each_stands_once() {
        let mut codes: Vec<_> = KINDS.iter().map(|kind| kind.code).collect();
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), KINDS.len());
    }

    #[test]
    fn the_table_in_the_documents_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, table()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == table(), "docs/errors.md is not current: run the test with UPDATE_DOCS=1");
    }
}

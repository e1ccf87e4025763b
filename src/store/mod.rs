//! The system of record: one trait; the embedded implementation is the default.
//!
//! Every write goes through [`Store::commit`], whoever makes it. A write is a pure decision on the image
//! before; the store runs it inside its transaction, so versions and object access are judged against
//! what is really there, and an implementation may run it again after a conflict.

mod batch;
pub mod embedded;
mod index;
mod intake;

pub use batch::{Batch, BatchCommitted, BatchError, SecretWrite};
pub use index::{
    IndexChange, IndexDefinition, IndexError, IndexKey, IndexReport, IndexState, KeyOrder, LONGEST_PATH, MOST_INDEXES, MOST_KEYS,
    PlanReport, QueryReport,
};
pub use intake::{Intake, IntakeError, Intakes, Note, Piece};

use crate::changelog::Position;
use crate::changelog::gate::Closed;
use crate::rights::Rights;
use crate::schema::Schema;
use bytes::Bytes;
use dataflows::access::{Caller, ClassRights};
use dataflows::change::{Change, CommitNumber, Image, Writer};
use dataflows::query::ast::Predicate;
use dataflows::query::sort::Sort;
use futures_util::future::BoxFuture;
use std::sync::{Arc, LazyLock};

/// Where an object lives. Ids are canonical: decoded and encoded again once, at the edge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The app
    pub app: Arc<str>,
    /// The bucket, without `/db/`
    pub bucket: Arc<str>,
    /// The canonical id, `/db/<bucket>/<percent-encoded>`
    pub id: Arc<str>,
}

/// What the store gives to a decision beside the image before.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The commit that the write will be if it is decided
    pub commit: CommitNumber,
    /// One more than the version before; 1 for an insert
    pub version: u64,
    /// Milliseconds since 1970; not smaller than that of any earlier commit, and larger than that of the object's last one
    /// unless it is written a thousand times a second
    pub now: i64,
    /// Whose rights are judged, with the roles that he has in the state before this commit
    pub caller: &'a Caller,
    /// What the object's class lets whom do in that state
    pub class: &'a ClassRights,
    /// The app's classes in that state
    pub schema: &'a Schema,
}

impl Stamp<'static> {
    /// Of a write of the server itself, in a bucket without a class.
    pub fn of_server(commit: CommitNumber, version: u64, now: i64) -> Stamp<'static> {
        static SERVER: LazyLock<(Caller, ClassRights, Schema)> =
            LazyLock::new(|| (Caller::admin(), ClassRights::default(), Schema::built_in()));
        Stamp { commit, version, now, caller: &SERVER.0, class: &SERVER.1, schema: &SERVER.2 }
    }
}

/// What a decision decided.
#[derive(Debug)]
pub enum Decision {
    /// The object's whole JSON text is now this
    Put(Bytes),
    /// The object is gone
    Delete,
    /// Nothing changes, which is a success (a delete of what is not there)
    Nothing,
}

/// Why a decision refused; the front stage makes a status code of it (docs/errors.md).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The version asked for is not the one that is there, or nothing is there
    #[error("the object {id} is out of date: it has version {found}, the request names {asked}; load it again")]
    OutOfDate {
        /// Whose
        id: String,
        /// What the request names
        asked: String,
        /// What is there, `none` for nothing
        found: String,
    },
    /// An insert met an object
    #[error("an object with the id {0} exists already")]
    Exists(String),
    /// The object is not there, or the caller may not know that it is
    #[error("there is no object {0}")]
    Missing(String),
    /// The rights of the object's class refuse
    #[error("{right} permissions are required on the bucket {bucket}")]
    ClassDenied {
        /// Which
        right: &'static str,
        /// Of which bucket
        bucket: String,
    },
    /// The object's access list refuses
    #[error("write permissions are required on {0}")]
    Denied(String),
    /// Another user has this name
    #[error("there is a user {0:?} already; choose another name")]
    NameTaken(String),
    /// Mail to a user goes to his name, and nobody has shown that it reaches him under the new one
    #[error(
        "the name of {0} is the address that mail to him goes to, so it changes when the new one is confirmed: \
         POST /db/User/changeUsername; only administrators change it otherwise"
    )]
    NameUnconfirmed(String),
    /// The object cannot be stored as it is
    #[error("{0}")]
    Invalid(String),
    /// Another object has the same values in a unique index
    #[error("Unique index violation. Another object already exists with the same value {value} in the index {index}")]
    Taken {
        /// Which index
        index: String,
        /// What the object would have in it
        value: String,
    },
    /// The index cannot be declared
    #[error("{0}")]
    Index(String),
    /// A class is to go, and there are objects of it
    #[error("there are objects of the class /db/{0}; delete them first")]
    Occupied(String),
    /// A partial update names an operation or a path that there is not
    #[error("{0}")]
    Update(String),
    /// A value does not have the type of its field
    #[error("{0}")]
    UnfitValue(String),
}

/// Decides a write: (image before, stamp) to what happens. Pure: it may be run more than once.
pub type Decide = Arc<dyn Fn(Option<&Image>, &Stamp<'_>) -> Result<Decision, Refusal> + Send + Sync>;

/// Whose rights a decision judges.
#[derive(Debug, Clone)]
pub enum Actor {
    /// One whose rights do not change: the server itself, ingest, or nobody in particular
    Fixed(Arc<Caller>),
    /// A user's id: he is judged with the roles that he has inside the transaction
    User(Arc<str>),
    /// A user with the rights of one role alone, if he may assume it inside the transaction
    Assumed {
        /// The user's id
        user: Arc<str>,
        /// The role's id
        role: Arc<str>,
    },
}

impl Actor {
    /// The server itself.
    pub fn server() -> Actor {
        static SERVER: LazyLock<Arc<Caller>> = LazyLock::new(|| Arc::new(Caller::admin()));
        Actor::Fixed(SERVER.clone())
    }
}

/// A write of one object.
#[derive(Clone)]
pub struct Write {
    /// Which object
    pub key: Key,
    /// What happens to it
    pub decide: Decide,
    /// Whose rights are judged
    pub actor: Actor,
    /// Who does it
    pub writer: Writer,
}

/// What a write came to.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The change; none where nothing changed
    pub change: Option<Arc<Change>>,
    /// The position that contains it
    pub position: Position,
}

/// What failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The decision refused; nothing changed
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The object does not fit the limits, or cannot be read
    #[error("the object cannot be stored: {0}")]
    Unfit(String),
    /// More writes wait for the disk than may; nothing changed
    #[error("the server has more writes waiting than it may; try again in a moment")]
    Overloaded,
    /// A decision panicked; nothing changed, and no other write noticed
    #[error("the write failed inside the server: {0}; please report it with the server's log")]
    Panicked(String),
    /// More objects match than were asked for at most
    #[error(
        "more than {limit} objects match, which is the most that one answer may have or look through (server.result_objects); \
         narrow the query or ask for fewer"
    )]
    TooMany {
        /// At most so many
        limit: usize,
    },
    /// The app's objects have as many bytes as they may; nothing changed
    #[error(
        "the app's objects would have more than {limit} bytes, which is the most that they may (limits.stored_bytes); delete some first"
    )]
    Full {
        /// At most so many
        limit: u64,
    },
    /// The log is elsewhere and has not taken what was written before; nothing changed
    #[error("the change log's brokers have not taken changes since {since}, and no more may wait; check them")]
    OutboxFull {
        /// When they took something last
        since: jiff::Timestamp,
    },
    /// The log is elsewhere, and nothing of this process gets there any more; nothing changed
    #[error("no changes get into the change log any more: {0}")]
    LogLost(Arc<str>),
    /// The disk or the engine failed; the write is not acknowledged
    #[error("the store failed: {0}; see the server's log, free disk space or restart")]
    Broken(String),
    /// The store is shutting down
    #[error("the server is shutting down; try again")]
    Closed,
}

impl Refusal {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::OutOfDate { .. } => "object-out-of-date",
            Refusal::Exists(_) => "object-exists",
            Refusal::Missing(_) => "object-missing",
            Refusal::ClassDenied { .. } => "class-denied",
            Refusal::Denied(_) => "object-denied",
            Refusal::NameTaken(_) => "name-taken",
            Refusal::NameUnconfirmed(_) => "name-unconfirmed",
            Refusal::Invalid(_) => "object-invalid",
            Refusal::Taken { .. } => "unique-index-violated",
            Refusal::Index(_) => "index-refused",
            Refusal::Occupied(_) => "still-referenced",
            Refusal::Update(_) => "bad-update",
            Refusal::UnfitValue(_) => "unfit-value",
        }
    }
}

impl StoreError {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Refused(refusal) => refusal.code(),
            StoreError::Unfit(_) => "object-unfit",
            StoreError::Overloaded => "store-overloaded",
            StoreError::Panicked(_) => "write-panicked",
            StoreError::TooMany { .. } => "too-many-objects",
            StoreError::Full { .. } => "storage-full",
            StoreError::OutboxFull { .. } => "outbox-full",
            StoreError::LogLost(_) => "log-lost",
            StoreError::Broken(_) => "store-broken",
            StoreError::Closed => "store-closed",
        }
    }
}

impl From<Closed> for StoreError {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Full { since } => {
                let since = jiff::Timestamp::from_millisecond(since).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
                StoreError::OutboxFull { since: since.round(jiff::Unit::Second).unwrap_or(since) }
            }
            Closed::Ended(reason) => StoreError::LogLost(reason),
        }
    }
}

/// What to select from a bucket.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The app
    pub app: Arc<str>,
    /// The bucket
    pub bucket: Arc<str>,
    /// Which objects; the same code that judges live
    pub predicate: Arc<Predicate>,
    /// Only what he may read
    pub caller: Arc<Caller>,
    /// At most so many; more is an error that says so
    pub limit: usize,
    /// In this order, ties by id; an empty one is by distance where the predicate is about points near another, otherwise by id
    pub sort: Sort,
    /// Without the first ones
    pub skip: usize,
    /// So many of those behind; none: all
    pub count: Option<usize>,
}

impl Selection {
    /// All that match and that the caller may read, in the order of ids; more than `limit` is an error.
    pub fn all(app: Arc<str>, bucket: Arc<str>, predicate: Arc<Predicate>, caller: Arc<Caller>, limit: usize) -> Selection {
        Selection { app, bucket, predicate, caller, limit, sort: Sort::default(), skip: 0, count: None }
    }
}

/// A piece of a bucket.
#[derive(Debug, Clone)]
pub struct Page {
    /// The app
    pub app: Arc<str>,
    /// The bucket
    pub bucket: Arc<str>,
    /// Behind this id; none: from the beginning
    pub after: Option<Arc<str>>,
    /// Objects at most
    pub objects: usize,
    /// Bytes of their texts; the object that exceeds them is the last
    pub bytes: usize,
}

/// The system of record.
pub trait Store: Send + Sync + 'static {
    /// Commits a write; resolves when it is durable at the configured level.
    fn commit(&self, write: Write) -> BoxFuture<'static, Result<Committed, StoreError>>;

    /// Commits several writes as one, with what belongs to them; resolves when it is durable, secrets at either level.
    fn commit_batch(&self, batch: Batch) -> BoxFuture<'static, Result<BatchCommitted, BatchError>>;

    /// Rights as of the last published commit.
    fn rights(&self) -> &Arc<Rights>;

    /// The newest durable state. Whoever was told of a commit finds it here.
    fn snapshot(&self) -> BoxFuture<'static, Result<Arc<dyn Snapshot>, StoreError>>;

    /// An app's schema as it is now; apps that never declared one have the built-in classes.
    fn schema(&self, app: &str) -> Arc<Schema>;

    /// The schemas of all apps that ever declared one.
    fn schemas(&self) -> Vec<(Arc<str>, Arc<Schema>)>;

    /// Replaces an app's schema by what `change` makes of it, for the server itself. The version is raised by the store.
    fn commit_schema(&self, app: Arc<str>, change: SchemaChange) -> BoxFuture<'static, Result<Arc<Schema>, StoreError>> {
        self.commit_schema_by(app, Actor::server(), Arc::new(move |schema, _| change(schema)))
    }

    /// The same for somebody, who is judged with the roles that he has in the state before this commit.
    fn commit_schema_by(
        &self,
        app: Arc<str>,
        actor: Actor,
        change: JudgedSchemaChange,
    ) -> BoxFuture<'static, Result<Arc<Schema>, StoreError>>;

    /// The indexes of a bucket, built-in ones first. That of the ids is not among them.
    fn indexes(&self, app: &str, bucket: &str) -> Vec<IndexReport>;

    /// Declares or drops indexes of a bucket; resolves when that is on the disk. Building goes on behind it.
    fn change_indexes(&self, app: Arc<str>, bucket: Arc<str>, change: IndexChange) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Stops taking writes, finishes those under way and closes.
    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// Small values that no client may ever see: keys that sign tokens, the hash of the administrator's password.
///
/// They are in no image, no change record and no export. Backups contain them: a restored server must accept
/// the tokens and passwords that it accepted before, so keep backups as safe as the data directory.
///
/// Names are `<kind>/<app>` or `<kind>/<app>/…`: with an app goes all that bears its name.
pub trait Secrets: Send + Sync + 'static {
    /// A secret; none if it was never put. Reads memory or a few blocks of the disk: for the start, not for each request.
    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most so many names behind `after`, in their order. Blocks; for rare work that goes through all of them.
    fn secret_names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError>;

    /// Puts a secret; resolves when it is on the disk, at either durability.
    fn put_secret(&self, name: &str, value: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// Whether a secret of this name is an app's, see [`Secrets`].
pub(crate) fn is_secret_of(name: &str, app: &str) -> bool {
    name.split('/').nth(1) == Some(app)
}

/// Makes a new schema of the one that is there, or refuses. Pure: it may be run more than once.
pub type SchemaChange = Arc<dyn Fn(&Schema) -> Result<Schema, Refusal> + Send + Sync>;

/// The same by somebody's rights.
pub type JudgedSchemaChange = Arc<dyn Fn(&Schema, &Caller) -> Result<Schema, Refusal> + Send + Sync>;

/// One consistent state. Can say of any change whether it contains it.
pub trait Snapshot: Send + Sync + 'static {
    /// The position of this state.
    fn position(&self) -> Position;

    /// Whether this state has the change in it.
    fn contains(&self, change: &Change) -> bool;

    /// One object, whoever may read it.
    fn get(&self, key: &Key) -> BoxFuture<'static, Result<Option<Arc<Image>>, StoreError>>;

    /// The one object with this text at a path, whoever may read it; none where there is none, or several. Cheap where the
    /// path has a unique index.
    fn find(&self, app: &Arc<str>, bucket: &Arc<str>, path: &str, text: &str)
    -> BoxFuture<'static, Result<Option<Arc<Image>>, StoreError>>;

    /// The objects that match and that the caller may read.
    fn select(&self, selection: Selection) -> BoxFuture<'static, Result<Vec<Arc<Image>>, StoreError>>;

    /// Ids and texts of a bucket's objects behind an id, in the order of ids, whoever may read them: up to so many, and no more
    /// once that many bytes are exceeded. None left: empty.
    fn page(&self, page: Page) -> BoxFuture<'static, Result<Vec<(Arc<str>, Bytes)>, StoreError>>;

    /// Answers a selection and tells how.
    fn explain(&self, selection: Selection) -> BoxFuture<'static, Result<QueryReport, StoreError>>;

    /// How many objects match that the caller may read, whatever order, window and limit.
    fn count(&self, selection: Selection) -> BoxFuture<'static, Result<u64, StoreError>>;
}

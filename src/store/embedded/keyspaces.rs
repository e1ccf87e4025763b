//! The engine in a data directory, and what it is divided into.

use super::OpenError;
use super::directory::Directory;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use std::path::Path;

/// The engine's keyspaces.
#[derive(Clone)]
pub(super) struct Keyspaces {
    /// Object key to JSON text
    pub(super) objects: Keyspace,
    /// Commit number to change record
    pub(super) log: Keyspace,
    /// Commit number to [`crate::changelog::trim::Mark`]
    pub(super) marks: Keyspace,
    /// App and version to schema
    pub(super) schemas: Keyspace,
    /// Name to value
    pub(super) meta: Keyspace,
    /// Name to value; in no image, record or export
    pub(super) secrets: Keyspace,
    /// What ingest remembers, see [`crate::store::Note`]
    pub(super) notes: Keyspace,
    /// Entries of secondary indexes
    pub(super) indexes: Keyspace,
    /// Number to what is noted of an index
    pub(super) index_notes: Keyspace,
}

impl Keyspaces {
    fn open(database: &Database) -> Result<Keyspaces, OpenError> {
        let small = || KeyspaceCreateOptions::default().max_memtable_size(1 << 20);
        // Records are written once, read in order and dropped as whole tables.
        let log = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(32 << 20)
                .data_block_size_policy(fjall::config::BlockSizePolicy::all(16 << 10))
                .filter_policy(fjall::config::FilterPolicy::disabled())
        };
        let objects = || KeyspaceCreateOptions::default().max_memtable_size(32 << 20);
        Ok(Keyspaces {
            objects: database.keyspace("objects", objects)?,
            log: database.keyspace("log", log)?,
            marks: database.keyspace("marks", small)?,
            schemas: database.keyspace("schemas", small)?,
            meta: database.keyspace("meta", small)?,
            secrets: database.keyspace("secrets", small)?,
            notes: database.keyspace("notes", small)?,
            indexes: database.keyspace("indexes", || KeyspaceCreateOptions::default().max_memtable_size(16 << 20))?,
            index_notes: database.keyspace("index-notes", small)?,
        })
    }
}

/// The engine in a data directory; its own directory is private before it has a file.
pub(super) fn create_engine(directory: &Directory, cache_bytes: u64) -> Result<(Database, Keyspaces), OpenError> {
    directory.create_store()?;
    open_engine(&directory.store(), cache_bytes)
}

/// The engine, opened.
pub(super) fn open_engine(path: &Path, cache_bytes: u64) -> Result<(Database, Keyspaces), OpenError> {
    let database = Database::builder(path).cache_size(cache_bytes).open().map_err(|error| match error {
        fjall::Error::Locked => OpenError::Locked { path: path.into() },
        error => error.into(),
    })?;
    let keyspaces = Keyspaces::open(&database)?;
    Ok((database, keyspaces))
}

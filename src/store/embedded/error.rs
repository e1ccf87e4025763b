//! Why a data directory cannot be used.

use crate::changelog::Home;
use std::path::PathBuf;

/// Why a data directory cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it
    #[error("the data directory {path} is in use by another process; stop that or choose another directory")]
    Locked {
        /// Which
        path: PathBuf,
    },
    /// It was written by a newer version
    #[error("the data directory {path} has format {found}, this version knows up to {known}; install a newer version, or restore a backup")]
    Newer {
        /// Which
        path: PathBuf,
        /// What it has
        found: u32,
        /// What is known
        known: u32,
    },
    /// It holds something else
    #[error("{path} is no data directory of Tidegate, and not empty; choose another")]
    Foreign {
        /// Which
        path: PathBuf,
    },
    /// A backup cannot be restored over something
    #[error("{path} is not empty; restore into a new directory")]
    NotEmpty {
        /// Which
        path: PathBuf,
    },
    /// A restore was interrupted
    #[error("a backup was not restored completely into {path}; remove it and restore again")]
    Incomplete {
        /// Which
        path: PathBuf,
    },
    /// It could not be brought to the next format
    #[error("the data directory {path} could not be brought from format {from} to the next: {reason}")]
    Migration {
        /// Which
        path: PathBuf,
        /// The format it has
        from: u32,
        /// What failed
        reason: String,
    },
    /// The file system refuses
    #[error("the data directory {path} cannot be used: {reason}")]
    Io {
        /// Which
        path: PathBuf,
        /// What failed
        reason: String,
    },
    /// What stands in it makes no sense
    #[error("the store is damaged: {0}; restore a backup")]
    Damaged(String),
    /// The change log that was named is that of another store
    #[error("the {home} holds the change log of another store; name one that does not exist yet, or an empty one")]
    ForeignLog {
        /// Which
        home: Home,
    },
    /// The engine cannot open it
    #[error("the store cannot be opened: {0}")]
    Engine(String),
}

impl OpenError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            OpenError::Locked { .. } => "data-locked",
            OpenError::Newer { .. } => "data-newer",
            OpenError::Foreign { .. } => "data-foreign",
            OpenError::NotEmpty { .. } => "data-not-empty",
            OpenError::Incomplete { .. } => "data-incomplete",
            OpenError::Migration { .. } => "data-migration",
            OpenError::Io { .. } => "data-io",
            OpenError::Damaged(_) => "data-damaged",
            OpenError::ForeignLog { .. } => "log-foreign",
            OpenError::Engine(_) => "data-engine",
        }
    }
}

impl From<fjall::Error> for OpenError {
    fn from(error: fjall::Error) -> Self {
        OpenError::Engine(error.to_string())
    }
}

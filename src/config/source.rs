//! Where a value of the configuration comes from, and why it is not taken.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `default.toml`
    Default,
    /// A file
    File(PathBuf),
    /// An environment variable, by name
    Environment(String),
    /// A flag, as the person wrote its name
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path) => write!(f, "file {}", path.display()),
            Source::Environment(name) => write!(f, "environment {name}"),
            Source::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not there or cannot be read
    #[error("the configuration file {path} cannot be read: {reason}")]
    Unreadable {
        /// Which file
        path: PathBuf,
        /// What the operating system said
        reason: String,
    },
    /// The file is not TOML
    #[error("the configuration file {path} is not TOML: {reason}")]
    Syntax {
        /// Which file
        path: PathBuf,
        /// What and where
        reason: String,
    },
    /// No option has this name
    #[error("there is no option {key} ({source_of}); did you mean {nearest}? `tidegate config` lists them all")]
    Unknown {
        /// As it was written
        key: String,
        /// Where it was written
        source_of: String,
        /// The known name that is most like it
        nearest: String,
    },
    /// The value does not fit the option
    #[error("the option {key} ({source_of}) must be {expected}, not {found}")]
    Unfit {
        /// The option
        key: String,
        /// Where the value was written
        source_of: String,
        /// What would fit
        expected: String,
        /// What was written
        found: String,
    },
}

impl ConfigError {
    /// The stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            ConfigError::Unreadable { .. } => "config-unreadable",
            ConfigError::Syntax { .. } => "config-syntax",
            ConfigError::Unknown { .. } => "config-unknown-option",
            ConfigError::Unfit { .. } => "config-unfit-value",
        }
    }
}

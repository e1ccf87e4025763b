//! The load generator: what `tidegate bench` and the system benches share.
//!
//! * [`workload`]: which queries stand, which objects are written, which events must come of it
//! * [`http`]: a writer's connection
//! * [`subscriber`]: a reader's connection
//! * [`load`]: writers and subscribers together, and what they saw
//! * [`whole`]: a whole run with its baselines, and its table
//! * [`in_process`]: a server of its own for a run
//! * [`echo`]: the baseline, a bare echo over the same websocket stack
//! * [`latency`], [`process`], [`table`]: figures
//!
//! It talks to a server from outside, over sockets, as any client does; it knows nothing of the server's inside.

pub mod echo;
pub mod http;
pub mod in_process;
pub mod latency;
pub mod load;
pub mod process;
pub mod subscriber;
pub mod table;
pub mod whole;
pub mod workload;

use crate::client::ClientError;

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The server cannot be reached
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A connection could not be made or broke
    #[error("the connection to the server failed while {doing}: {reason}; is it running, and may it have so many open files?")]
    Connection {
        /// What was being done
        doing: &'static str,
        /// From the system
        reason: String,
    },
    /// The server said no
    #[error("the server refused {what}: {answer}")]
    Refused {
        /// What was asked for
        what: String,
        /// Status and body
        answer: String,
    },
    /// The bench's own server does not start
    #[error("the bench's own server does not start: {0}")]
    Start(String),
    /// The server did what it must not do
    #[error("the server is at fault: {0}")]
    Fault(String),
    /// Something took longer than it ever should
    #[error("{what} took longer than {seconds} s")]
    Slow {
        /// What was waited for
        what: String,
        /// How long
        seconds: u64,
    },
}

impl BenchError {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BenchError::Client(error) => error.code(),
            BenchError::Connection { .. } => "bench-connection",
            BenchError::Refused { .. } => "bench-refused",
            BenchError::Start(_) => "bench-start",
            BenchError::Fault(_) => "bench-fault",
            BenchError::Slow { .. } => "bench-slow",
        }
    }

    pub(crate) fn connection(doing: &'static str, error: impl std::fmt::Display) -> BenchError {
        BenchError::Connection { doing, reason: error.to_string() }
    }
}

//! The thread that keeps the log within its bounds.
//!
//! It sleeps until something is due. The cut itself is one small write in the queue of the writer; freeing the disk
//! means dropping whole tables of the engine, so it costs no writer anything.

use super::writer::Command;
use crate::changelog::embedded::EmbeddedLog;
use crate::clock::Clock;
use fjall::{AbstractTree, Keyspace};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Wakes the trimmer.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    stopped: bool,
}

impl Signal {
    /// There may be something to trim.
    pub(super) fn wake(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).woken = true;
        self.changed.notify_one();
    }

    /// It is over.
    pub(super) fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.changed.notify_one();
    }

    /// Whether it is over.
    pub(super) fn is_stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped
    }

    /// Waits to be woken, at most so long. False when it is over.
    pub(super) fn wait(&self, longest: Option<Duration>) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut State| !state.woken && !state.stopped;
        let mut state = match longest {
            Some(longest) => self.changed.wait_timeout_while(state, longest, idle).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
        };
        state.woken = false;
        !state.stopped
    }
}

pub(super) struct Trimmer {
    pub(super) log: Arc<EmbeddedLog>,
    pub(super) records: Keyspace,
    pub(super) clock: Arc<Clock>,
    pub(super) signal: Arc<Signal>,
    pub(super) writer: mpsc::Sender<Command>,
}

impl Trimmer {
    /// Runs until it is stopped.
    pub(super) fn run(self) {
        loop {
            let now = self.clock.now_ms();
            let (cut, next) = self.log.cut(now);
            if let Some(mark) = cut {
                let (done, answer) = std::sync::mpsc::channel();
                // Ends with the writer: it answers or is gone.
                if self.writer.blocking_send(Command::Trim { mark, done }).is_err() || answer.recv() != Ok(true) {
                    return;
                }
                let end = mark.commit.to_be_bytes();
                if let Err(error) = self.records.tree.drop_range([0; 8]..=end) {
                    tracing::warn!(%error, "the disk space of trimmed changes could not be freed yet");
                }
                tracing::debug!(through = mark.commit, "the change log was trimmed");
                continue;
            }
            let longest = next.map(|at| Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or(0).max(1)));
            if !self.signal.wait(longest) {
                return;
            }
        }
    }
}

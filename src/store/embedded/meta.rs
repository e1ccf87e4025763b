//! What the store notes about itself, as JSON values in a keyspace of their own.

use super::OpenError;
use crate::changelog::embedded::Gap;
use crate::changelog::trim::Mark;
use crate::changelog::{Home, LogId};
use crate::config::Durability;
use dataflows::change::CommitNumber;
use fjall::Keyspace;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Which log it is, [`Identity`].
pub(super) const IDENTITY: &str = "identity";
/// [`State`], written with every group of commits.
pub(super) const STATE: &str = "state";
/// Where the log was last cut, a [`Mark`].
pub(super) const TRIMMED: &str = "trimmed";
/// Commit numbers that were lost, a list of [`Gap`].
pub(super) const GAPS: &str = "gaps";
/// How the store runs or was left, [`Run`].
pub(super) const RUN: &str = "run";
/// There once the users of all apps are in the built-in index on their names, and nothing else says who has which.
pub(super) const USERS_INDEXED: &str = "users-indexed-alone";
/// There once what all apps store is counted.
pub(super) const STORED_COUNTED: &str = "stored-counted";
/// And then an app's name: a [`super::StoredBytes`]. No note where the app has no object.
pub(super) const STORED: &str = "stored/";
/// How far the relay of the log is, a [`crate::changelog::outbox::Progress`].
pub(super) const RELAYED: &str = "relayed";

/// How far commit numbers jump where some may have been lost. No machine commits so many between two
/// moments at which the operating system writes its buffers out.
pub(super) const GAP: CommitNumber = 1 << 32;

/// Which log it is, and where it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Identity {
    log: u64,
    /// Absent where it was noted before there were others
    #[serde(default)]
    pub(super) home: Home,
}

impl Identity {
    pub(super) fn new(log: LogId, home: Home) -> Identity {
        Identity { log: log.0, home }
    }

    pub(super) fn log(&self) -> LogId {
        LogId(self.log)
    }
}

/// Where the commits stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The last commit
    pub(super) commit: CommitNumber,
    /// Its time, milliseconds since 1970
    pub(super) at: i64,
    /// The last commit that was a schema or rights change
    pub(super) control: u64,
    /// Bytes of all records since the log began, trimmed ones included
    pub(super) bytes: u64,
    /// Number of all records since the log began, trimmed ones included
    pub(super) records: u64,
}

impl State {
    /// The end of the log.
    pub(super) fn tail(&self) -> Mark {
        Mark { commit: self.commit, at: self.at, bytes: self.bytes, records: self.records }
    }
}

/// How the store runs or was left.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Run {
    /// Whether it was closed
    pub(super) clean: bool,
    /// When writes were acknowledged
    pub(super) durability: Durability,
}

/// Reads a value.
pub(super) fn read<T: DeserializeOwned>(meta: &Keyspace, name: &str) -> Result<Option<T>, OpenError> {
    let damaged = |reason: String| OpenError::Damaged(format!("its note {name:?} cannot be read: {reason}"));
    let Some(text) = meta.get(name).map_err(|error| damaged(error.to_string()))? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|error| damaged(error.to_string()))
}

/// The text of a value.
pub(super) fn text(value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| error.to_string())
}

/// Where the commits go on, and the gaps, after the store was left in this way.
pub(super) fn resume(state: State, gaps: &[Gap], left: Option<Run>) -> (State, Vec<Gap>) {
    let lost = left.is_some_and(|run| !run.clean && run.durability == Durability::System);
    let mut gaps = gaps.to_vec();
    if !lost {
        return (state, gaps);
    }
    let until = state.commit + GAP;
    gaps.push(Gap { after: state.commit, until });
    (State { commit: until, ..state }, gaps)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_from_before_there_were_other_logs_is_that_of_an_embedded_one() {
        let identity: Identity = serde_json::from_str(r#"{"log":7}"#).unwrap();
        assert_eq!((identity.log(), identity.home), (LogId(7), Home::Embedded));
    }

    #[test]
    fn commit_numbers_jump_only_where_some_may_be_lost() {
        let state = State { commit: 7, ..State::default() };
        for (clean, durability, jumps) in [
            (true, Durability::Disk, false),
            (true, Durability::System, false),
            (false, Durability::Disk, false),
            (false, Durability::System, true),
        ] {
            let (resumed, gaps) = resume(state, &[], Some(Run { clean, durability }));
            assert_eq!(resumed.commit, if jumps { 7 + GAP } else { 7 });
            assert_eq!(gaps.len(), usize::from(jumps));
        }
    }
}

//! A position: (log id, one offset for each partition of the log). A frontier, never a label.
//!
//! Sent with a delta it says that everything at or below it has been sent to this subscription.
//! Changing the store, the log or the number of partitions makes a new log id.

use dataflows::change::CommitNumber;
use smallvec::{SmallVec, smallvec};
use std::fmt;
use std::str::FromStr;

/// Names one log for as long as its positions mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub u64);

/// How far somebody is in the log. Text form: `<log id, 16 hex digits>-<offset>[.<offset>…]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// Of which log
    pub log: LogId,
    /// The last contained offset of each partition; 0 is before the first
    pub offsets: SmallVec<[u64; 1]>,
}

/// Why a text is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a position; send back the text that came with an event or a result")]
pub struct PositionError(String);

impl LogId {
    /// A new one, at random.
    pub fn generate() -> LogId {
        LogId(rand::random())
    }
}

impl Position {
    /// A position in a log of one partition, such as the embedded one.
    pub fn single(log: LogId, commit: CommitNumber) -> Position {
        Position { log, offsets: smallvec![commit] }
    }

    /// The commit number, where the log has one partition whose offsets are commit numbers.
    pub fn commit(&self) -> CommitNumber {
        self.offsets.first().copied().unwrap_or(0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.log.0)?;
        for (partition, offset) in self.offsets.iter().enumerate() {
            write!(f, "{}{offset}", if partition == 0 { '-' } else { '.' })?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Position, PositionError> {
        let error = || PositionError(text.chars().take(80).collect());
        let (log, offsets) = text.split_once('-').ok_or_else(error)?;
        if log.len() != 16 || !log.bytes().all(|b| b.is_ascii_hexdigit()) || text.len() > 16 * 1024 {
            return Err(error());
        }
        let log = LogId(u64::from_str_radix(log, 16).map_err(|_| error())?);
        let digits = |offset: &str| {
            if offset.is_empty() || !offset.bytes().all(|b| b.is_ascii_digit()) {
                return Err(error());
            }
            offset.parse().map_err(|_| error())
        };
        Ok(Position { log, offsets: offsets.split('.').map(digits).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for offsets in [vec![0], vec![7], vec![1, u64::MAX, 0]] {
            let position = Position { log: LogId(0xabc), offsets: offsets.into() };
            assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }
    }

    #[test]
    fn refuses_other_texts() {
        for text in
            ["", "7", "abc-7", "0000000000000abc-", "0000000000000abc-1.", "0000000000000abc-+1", "0000000000000abc-18446744073709551616"]
        {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}

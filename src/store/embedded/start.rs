//! How the store was left, and where it goes on.

use super::keyspaces::Keyspaces;
use super::{OpenError, meta};
use crate::changelog::embedded::{Cuts, Gap};
use crate::changelog::gate::Progress;
use crate::changelog::trim::Mark;
use crate::changelog::{Home, LogId};
use crate::config::StoreOptions;
use fjall::{Database, PersistMode};
use std::collections::VecDeque;

/// Where the store goes on.
pub(super) struct Started {
    pub(super) id: LogId,
    pub(super) state: meta::State,
    pub(super) gaps: Vec<Gap>,
    pub(super) cuts: Cuts,
    pub(super) progress: Progress,
    /// Whether the store was closed, so that what is noted at the end is as it was
    pub(super) closed: bool,
}

/// Reads how the store was left, and notes durably that it runs.
pub(super) fn start(
    database: &Database,
    keyspaces: &Keyspaces,
    options: &StoreOptions,
    home: &Home,
    holds: Option<LogId>,
) -> Result<Started, OpenError> {
    let store = &keyspaces.meta;
    let identity = meta::read::<meta::Identity>(store, meta::IDENTITY)?;
    let state = meta::read::<meta::State>(store, meta::STATE)?.unwrap_or_default();
    let mut trimmed = meta::read::<Mark>(store, meta::TRIMMED)?.unwrap_or_default();
    let gaps = meta::read::<Vec<Gap>>(store, meta::GAPS)?.unwrap_or_default();
    let left = meta::read::<meta::Run>(store, meta::RUN)?;
    if let Some(last) = keyspaces.log.last_key_value() {
        let last = last.key()?;
        // After a restore or a gap the state is ahead of the log, never behind it.
        if *last > state.commit.to_be_bytes()[..] {
            return Err(OpenError::Damaged("the change log goes on behind the last commit".into()));
        }
    }
    let (state, mut gaps) = meta::resume(state, &gaps, left);
    if left.is_some_and(|run| !run.clean) {
        tracing::warn!(commit = state.commit, "the store was not closed; what was acknowledged as durable is there");
    }
    let mut progress = meta::read::<Progress>(store, meta::RELAYED)?.unwrap_or_default();
    let mut moved = false;
    let known = identity.as_ref().filter(|identity| identity.home == *home).map(meta::Identity::log);
    // Before anything is noted: whoever named a wrong place by mistake can go back to the right one.
    if holds.is_some() && holds != known {
        return Err(OpenError::ForeignLog { home: home.clone() });
    }
    let id = match identity {
        Some(identity) if identity.home == *home => identity.log(),
        None => LogId::generate(),
        Some(identity) => {
            let id = LogId::generate();
            tracing::warn!(
                "the change log was: {}; it is now: {home}. That is another log: positions in the former one are refused from now on",
                identity.home
            );
            trimmed = state.tail();
            progress = Progress { mark: trimmed, partitions: Vec::new() };
            moved = true;
            id
        }
    };
    if progress.mark.commit < trimmed.commit {
        progress.mark = trimmed;
    }
    gaps.retain(|gap| gap.until > trimmed.commit);
    let mut marks = VecDeque::new();
    for entry in keyspaces.marks.iter() {
        let mark: Mark = serde_json::from_slice(&entry.value()?).map_err(|error| OpenError::Damaged(error.to_string()))?;
        if mark.commit > trimmed.commit {
            marks.push_back(mark);
        }
    }
    let run = meta::Run { clean: false, durability: options.durability };
    let text = |value: Result<Vec<u8>, String>| value.map_err(OpenError::Engine);
    let mut batch = database.batch();
    batch.insert(store, meta::IDENTITY, text(meta::text(&meta::Identity::new(id, home.clone())))?);
    batch.insert(store, meta::STATE, text(meta::text(&state))?);
    batch.insert(store, meta::GAPS, text(meta::text(&gaps))?);
    batch.insert(store, meta::RUN, text(meta::text(&run))?);
    if moved {
        // With the identity: this may be all that this start comes to, and the next one finds the home that it expects.
        batch.insert(store, meta::TRIMMED, text(meta::text(&trimmed))?);
        batch.insert(store, meta::RELAYED, text(meta::text(&progress))?);
    }
    batch.commit()?;
    // After a crash of the process the last commits may be with the operating system only; they are about to be seen.
    database.persist(PersistMode::SyncAll)?;
    Ok(Started { id, state, gaps, cuts: Cuts { trimmed, marks, tail: state.tail() }, progress, closed: left.is_none_or(|run| run.clean) })
}

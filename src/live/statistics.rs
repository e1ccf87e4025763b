//! What the gateway counts, for metrics.

use super::Gateway;
use super::outbox::Tally;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The state of the gateway at one moment. Counters only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveStatistics {
    /// Connections now
    pub connections: u64,
    /// Subscriptions now
    pub subscriptions: u64,
    /// Different standing queries now
    pub standing_queries: u64,
    /// Events that wait in all outboxes
    pub queued_events: u64,
    /// Their bytes
    pub queued_bytes: u64,
    /// The longest outbox, events
    pub longest_queue: u64,
    /// Writes whose answers are not out yet
    pub open_answers: u64,
    /// Counter: events handed to transports
    pub events: u64,
    /// Counter: events that were put together with others
    pub composed: u64,
    /// Counter: times that what waited for a subscription was dropped
    pub outdated: u64,
    /// Counter: results sent in place of what was dropped
    pub fresh_results: u64,
    /// Counter: clients that came back with a position and got what they missed
    pub resumed: u64,
    /// Counter: connections refused because there were too many
    pub connections_refused: u64,
    /// Counter: changes fed to the engine
    pub changes_fed: u64,
    /// Counter: times that the log had lost what the engine had not seen, so that every result was sent afresh
    pub resynchronised: u64,
    /// Commits in the log that the outboxes have not seen
    pub lag: u64,
}

/// The counters behind [`LiveStatistics`].
#[derive(Default)]
pub(crate) struct Counters {
    events: AtomicU64,
    composed: AtomicU64,
    outdated: AtomicU64,
    pub(crate) fresh_results: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) changes_fed: AtomicU64,
    pub(crate) resynchronised: AtomicU64,
}

impl Counters {
    /// What a connection that has ended counted.
    pub(crate) fn add(&self, tally: Tally) {
        self.events.fetch_add(tally.sent, Relaxed);
        self.composed.fetch_add(tally.composed, Relaxed);
        self.outdated.fetch_add(tally.outdated, Relaxed);
    }
}

impl Gateway {
    /// Looks at every connection: for metrics, not for a hot path.
    pub fn statistics(&self) -> LiveStatistics {
        let connections = self.connections();
        let mut statistics = LiveStatistics {
            connections: connections.len() as u64,
            standing_queries: self.registry.len() as u64,
            open_answers: self.answers.open_requests() as u64,
            events: self.counters.events.load(Relaxed),
            composed: self.counters.composed.load(Relaxed),
            outdated: self.counters.outdated.load(Relaxed),
            fresh_results: self.counters.fresh_results.load(Relaxed),
            resumed: self.counters.resumed.load(Relaxed),
            connections_refused: self.counters.connections_refused.load(Relaxed),
            changes_fed: self.counters.changes_fed.load(Relaxed),
            resynchronised: self.counters.resynchronised.load(Relaxed),
            lag: self.changelog.head().commit().saturating_sub(self.frontier.get()),
            ..LiveStatistics::default()
        };
        for connection in connections {
            let (subscriptions, (events, bytes), tally) = connection.statistics();
            statistics.subscriptions += subscriptions as u64;
            statistics.queued_events += events as u64;
            statistics.queued_bytes += bytes as u64;
            statistics.longest_queue = statistics.longest_queue.max(events as u64);
            statistics.events += tally.sent;
            statistics.composed += tally.composed;
            statistics.outdated += tally.outdated;
        }
        statistics
    }
}

//! From deltas to events: who waits for this query, what may each of them see, whose outbox gets what.
//!
//! Called on the engine's workers: nothing here waits. A change is judged once where everybody may read
//! both images, and once for each caller where not; its text is made once and shared.

use super::Gateway;
use super::event::{Event, Kind, Shown, decide};
use super::lock;
use super::standing::Standing;
use crate::changelog::LogId;
use dataflows::access::Caller;
use dataflows::change::{Change, CommitNumber, Image, Operation};
use dataflows::engine::{Delta, Sink};
use std::sync::Arc;

/// What one change, through one query, is to one reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: Kind,
    pub(crate) shown: Shown,
}

/// Judges a change that matches a query `before` and `after` for somebody who may read the images so.
pub(crate) fn judge(operation: Operation, before: bool, after: bool, reads_before: bool, reads_after: bool) -> Option<Verdict> {
    let kind = decide(before && reads_before, after && reads_after)?;
    // Invariant 4: who may not read what the object is now is told its id and no more.
    let shown = if kind == Kind::Remove && (operation == Operation::Delete || !reads_after) { Shown::Id } else { Shown::Object };
    Some(Verdict { kind, shown })
}

/// Whether the caller may read an image; what is not there hides nothing.
pub(crate) fn reads(image: Option<&Arc<Image>>, caller: &Caller) -> bool {
    image.is_none_or(|image| image.acl.read.permits(caller))
}

/// The events that one change can be through one query, each made when it is first wanted.
struct Events<'a> {
    change: &'a Arc<Change>,
    log: LogId,
    made: [Option<Arc<Event>>; 4],
}

impl Events<'_> {
    fn get(&mut self, verdict: Verdict) -> &Arc<Event> {
        let place = match verdict {
            Verdict { kind: Kind::Add, .. } => 0,
            Verdict { kind: Kind::Change, .. } => 1,
            Verdict { shown: Shown::Object, .. } => 2,
            Verdict { shown: Shown::Id, .. } => 3,
        };
        self.made[place].get_or_insert_with(|| Arc::new(Event::new(verdict.kind, verdict.shown, self.change.clone(), self.log)))
    }
}

impl Sink for Gateway {
    fn deltas(&self, change: &Arc<Change>, deltas: &[Delta]) {
        for delta in deltas {
            if let Some(standing) = self.registry.find(delta.query) {
                self.fan_out(change, *delta, &standing);
            }
        }
    }

    fn frontier(&self, through: CommitNumber) {
        for subscription in self.batches.complete(through) {
            subscription.connection.release(&subscription, &self.answers);
        }
        self.frontier.advance(through);
    }
}

impl Gateway {
    fn fan_out(&self, change: &Arc<Change>, delta: Delta, standing: &Standing) {
        let mut events = Events { change, log: self.log(), made: [const { None }; 4] };
        let public = |image: &Option<Arc<Image>>| image.as_ref().is_none_or(|image| image.acl.is_readable_by_all());
        let verdict = |reads_before, reads_after| judge(change.operation, delta.before, delta.after, reads_before, reads_after);
        let shared = (public(&change.before) && public(&change.after)).then(|| verdict(true, true));
        // Callers of one session share their caller; a few sessions make most of the subscribers of a query.
        let mut judged: Vec<(*const Caller, Option<Verdict>)> = Vec::new();
        let members = lock(&standing.members).look();
        for subscription in members.iter().flat_map(|chunk| chunk.iter()).flatten() {
            let verdict = shared.unwrap_or_else(|| {
                let caller = Arc::as_ptr(&subscription.caller);
                let known = judged.iter().rev().take(8).find(|(other, _)| *other == caller);
                known.map(|(_, verdict)| *verdict).unwrap_or_else(|| {
                    let caller = &subscription.caller;
                    let verdict = verdict(reads(change.before.as_ref(), caller), reads(change.after.as_ref(), caller));
                    judged.push((Arc::as_ptr(caller), verdict));
                    verdict
                })
            });
            let Some(verdict) = verdict else { continue };
            if !subscription.terms.selection.wants(verdict.kind, change.operation) {
                continue;
            }
            let writer = change.writer;
            // Both are asked: each lets go by itself, and what is still held then waits for the other.
            let held = || {
                let batch = self.batches.hold(change, subscription);
                let own = writer.request != 0 && writer.session == subscription.session;
                (own && self.answers.hold(writer.request, subscription)) || batch
            };
            subscription.connection.deliver(subscription.slot, events.get(verdict), held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_loses_the_right_is_told_the_id_alone() {
        let verdict = judge(Operation::Update, true, true, true, false);
        assert_eq!(verdict, Some(Verdict { kind: Kind::Remove, shown: Shown::Id }));
        // Also where the object leaves the query in the same change.
        let verdict = judge(Operation::Update, true, false, true, false);
        assert_eq!(verdict, Some(Verdict { kind: Kind::Remove, shown: Shown::Id }));
    }

    #[test]
    fn who_gains_the_right_sees_it_come() {
        assert_eq!(judge(Operation::Update, true, true, false, true), Some(Verdict { kind: Kind::Add, shown: Shown::Object }));
    }

    #[test]
    fn who_may_read_neither_hears_nothing() {
        for (before, after) in [(true, true), (true, false), (false, true)] {
            assert_eq!(judge(Operation::Update, before, after, false, false), None);
        }
        // What he did not see before does not leave.
        assert_eq!(judge(Operation::Update, true, false, false, true), None);
    }

    #[test]
    fn a_delete_shows_the_id_alone_and_leaving_by_update_the_object() {
        assert_eq!(judge(Operation::Delete, true, false, true, true), Some(Verdict { kind: Kind::Remove, shown: Shown::Id }));
        assert_eq!(judge(Operation::Update, true, false, true, true), Some(Verdict { kind: Kind::Remove, shown: Shown::Object }));
    }
}

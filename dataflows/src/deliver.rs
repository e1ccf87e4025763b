//! The operator at the end: gives deltas and answers to the process that asked for them, and says how
//! far everything has been given.

use crate::matching::{Epoch, Matched, Outcome, Time, epoch_of};
use std::sync::Arc;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;

/// The process that asked.
pub(crate) trait Process: Send + Sync + 'static {
    /// Takes what the workers found, in the order of their finding.
    fn hand_over(&self, outcomes: impl Iterator<Item = Outcome>);

    /// All epochs before this one are complete on every worker.
    fn passed(&self, complete: Epoch);
}

/// Hands what was matched to the process. The first worker of the process also reports the
/// frontier: when it has passed an epoch, every worker has handed over what it had to say up to there.
pub(crate) fn deliver<'scope>(matched: Stream<'scope, Time, Vec<Matched>>, process: Arc<impl Process>, reports_frontier: bool) {
    let mut reported = 0;
    matched.sink(Exchange::new(|matched: &Matched| matched.home), "Deliver", move |(input, frontier)| {
        input.for_each(|_, batch| {
            process.hand_over(batch.drain(..).map(|matched| matched.outcome));
        });
        if reports_frontier {
            // A closed input has an empty frontier; then nothing more will come.
            let complete = frontier.frontier().first().map_or(Epoch::MAX, |time| epoch_of(*time));
            if complete > reported {
                reported = complete;
                process.passed(complete);
            }
        }
    });
}

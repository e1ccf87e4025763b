//! The workers: each takes what was posted to it, makes one epoch of it, and parks when there is nothing.

use super::{Outlet, WorkerStatistics};
use crate::change::Change;
use crate::deliver::deliver;
use crate::grid::Grid;
use crate::index::{IndexOptions, QueryIndex};
use crate::matching::{Epoch, QueryCommand, RoutedChange, Time, matching, start_of};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;
use timely::dataflow::operators::Input;
use timely::worker::Worker;

/// What is posted to a worker.
pub(super) enum Command {
    /// Changes of one epoch
    Changes { epoch: Epoch, changes: Vec<Arc<Change>> },
    /// Another worker has the changes of this epoch
    Advance { epoch: Epoch },
    /// For standing queries
    Queries(Vec<QueryCommand>),
    /// No more will come
    Stop,
}

/// The way to one worker.
pub(super) struct Mailbox {
    sender: Sender<Command>,
    thread: Thread,
}

impl Mailbox {
    /// Posts and wakes. A worker that is gone has ended the process, so there is nobody to tell.
    pub(super) fn post(&self, command: Command) {
        if self.sender.send(command).is_ok() {
            self.thread.unpark();
        }
    }
}

/// Starts a worker for each place of the grid; returns when all are ready to be posted to.
pub(super) fn start(
    grid: Grid,
    index: IndexOptions,
    outlet: &Arc<Outlet>,
    statistics: &[Arc<WorkerStatistics>],
) -> Result<(Vec<Mailbox>, timely::communication::WorkerGuards<()>), String> {
    let workers = grid.rows() * grid.columns();
    let (ready, threads) = channel();
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..workers {
        let (sender, receiver) = channel();
        senders.push(sender);
        receivers.push(Some(receiver));
    }
    let receivers = Mutex::new(receivers);
    let (outlet, statistics) = (Arc::clone(outlet), statistics.to_vec());
    // Parking at once instead of polling: an idle engine uses no CPU, and the cores are shared.
    let config = timely::WorkerConfig::default().idle_spin(Duration::ZERO);
    let (builders, others) = timely::CommunicationConfig::Process(workers).try_build()?;
    let guards = timely::execute::execute_from(builders, others, config, move |worker| {
        let place = worker.index();
        let receiver = receivers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place).and_then(Option::take);
        let Some(receiver) = receiver else { return };
        let run = std::panic::AssertUnwindSafe(|| {
            let _ = ready.send((place, std::thread::current()));
            run(worker, grid, QueryIndex::new(index), &receiver, &outlet, &statistics[place]);
        });
        if std::panic::catch_unwind(run).is_err() {
            // The other workers would wait for this one for ever. A restart loses nothing: queries are
            // registered again by their subscribers, changes are in the log.
            eprintln!("tidegate: dataflow worker {place} panicked (see above); ending the process, restart it");
            tracing::error!(worker = place, "a dataflow worker panicked; ending the process");
            std::process::abort();
        }
    })?;
    let mut threads: Vec<(usize, Thread)> = threads.iter().take(workers).collect();
    threads.sort_unstable_by_key(|(place, _)| *place);
    if threads.len() != workers {
        return Err("a worker ended before it was ready".to_owned());
    }
    let mailboxes = senders.into_iter().zip(threads).map(|(sender, (_, thread))| Mailbox { sender, thread }).collect();
    Ok((mailboxes, guards))
}

fn run(
    worker: &mut Worker,
    grid: Grid,
    index: QueryIndex,
    receiver: &Receiver<Command>,
    outlet: &Arc<Outlet>,
    statistics: &Arc<WorkerStatistics>,
) {
    let here = worker.index();
    let (mut changes, mut queries) = worker.dataflow::<Time, _, _>(|scope| {
        let (changes, change_stream) = scope.new_input::<Vec<RoutedChange>>();
        let (queries, query_stream) = scope.new_input::<Vec<QueryCommand>>();
        let matched = matching(change_stream, query_stream, index, here as u64, Arc::clone(statistics));
        deliver(matched, Arc::clone(outlet), here == 0);
        (changes, queries)
    });
    // Workers talk to each other only after all have built the dataflow; timely sees to that.
    let mut stopping = false;
    while !stopping {
        // All that is queued becomes one epoch, the last of those posted: it batches itself under load.
        let now = *changes.time();
        let mut next = now;
        while let Ok(command) = receiver.try_recv() {
            match command {
                Command::Changes { epoch, changes: batch } => {
                    for change in batch {
                        for worker in grid.workers_of_object(&change.app, &change.id) {
                            changes.send(RoutedChange { worker: worker as u64, change: Arc::clone(&change) });
                        }
                    }
                    next = start_of(epoch + 1);
                }
                Command::Advance { epoch } => next = start_of(epoch + 1),
                Command::Queries(commands) => {
                    commands.into_iter().for_each(|command| queries.send(command));
                    next = next.max(now + 1);
                }
                Command::Stop => stopping = true,
            }
        }
        // Every input of every worker advances, the rarely used one too, or no frontier moves.
        changes.advance_to(next);
        queries.advance_to(next);
        changes.flush();
        queries.flush();
        statistics.turns.fetch_add(1, Relaxed);
        if !stopping {
            worker.step_or_park(None);
        }
    }
}

//! A bare timely program of the engine's layout: changes in, exchanged, handed over. No matching, no index.

use dataflows::change::{Change, CommitNumber};
use dataflows::grid::Grid;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;
use timely::communication::WorkerGuards;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::generic::operator::Operator;

/// Workers and how many columns they stand in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) workers: usize,
    pub(crate) columns: usize,
}

#[derive(Clone, Serialize, Deserialize)]
struct Routed {
    worker: u64,
    change: Arc<Change>,
}

struct Batch {
    epoch: u64,
    changes: Vec<Arc<Change>>,
    through: CommitNumber,
}

/// The running program.
pub(crate) struct Bare {
    mailboxes: Vec<(Sender<Batch>, Thread)>,
    epoch: Mutex<u64>,
    workers: Option<WorkerGuards<()>>,
}

impl Bare {
    pub(crate) fn start(
        layout: Layout,
        handed_over: impl Fn(&Change) + Send + Sync + 'static,
        frontier: impl Fn(CommitNumber) + Send + Sync + 'static,
    ) -> Bare {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..layout.workers).map(|_| channel()).unzip();
        let receivers = Mutex::new(receivers.into_iter().map(Some).collect::<Vec<_>>());
        let (ready, threads) = channel();
        let (handed_over, frontier): (Arc<dyn Fn(&Change) + Send + Sync>, Arc<dyn Fn(CommitNumber) + Send + Sync>) =
            (Arc::new(handed_over), Arc::new(frontier));
        let config = timely::Config {
            communication: timely::CommunicationConfig::Process(layout.workers),
            worker: timely::WorkerConfig::default().idle_spin(Duration::ZERO),
        };
        let guards = timely::execute(config, move |worker| {
            let place = worker.index();
            let receiver = receivers.lock().expect("no panic")[place].take().expect("once");
            ready.send((place, std::thread::current())).expect("somebody waits");
            run(worker, layout, &receiver, &handed_over, &frontier);
        });
        let mut threads: Vec<(usize, Thread)> = threads.iter().take(layout.workers).collect();
        threads.sort_unstable_by_key(|(place, _)| *place);
        let mailboxes = senders.into_iter().zip(threads).map(|(sender, (_, thread))| (sender, thread)).collect();
        Bare { mailboxes, epoch: Mutex::new(1), workers: Some(guards.expect("the workers start")) }
    }

    pub(crate) fn feed(&self, changes: Vec<Arc<Change>>, through: CommitNumber) {
        let mut epoch = self.epoch.lock().expect("no panic");
        let mut changes = Some(changes);
        for (sender, thread) in &self.mailboxes {
            let batch = Batch { epoch: *epoch, changes: changes.take().unwrap_or_default(), through };
            sender.send(batch).expect("the worker lives");
            thread.unpark();
        }
        *epoch += 1;
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for (sender, thread) in self.mailboxes.drain(..) {
            drop(sender);
            thread.unpark();
        }
        drop(self.workers.take());
    }
}

type HandOver = Arc<dyn Fn(&Change) + Send + Sync>;
type Tell = Arc<dyn Fn(CommitNumber) + Send + Sync>;

fn run(worker: &mut timely::worker::Worker, layout: Layout, receiver: &Receiver<Batch>, handed_over: &HandOver, tell: &Tell) {
    let (here, grid) = (worker.index(), Grid::new(layout.workers, layout.columns));
    // What the epochs end with; only the first worker, which reports, keeps them.
    let open: std::rc::Rc<std::cell::RefCell<VecDeque<(u64, CommitNumber)>>> = Default::default();
    let ends = open.clone();
    let (handed_over, tell) = (handed_over.clone(), tell.clone());
    let mut input = worker.dataflow::<u64, _, _>(|scope| {
        let (input, stream) = scope.new_input::<Vec<Routed>>();
        let pact = Exchange::new(|routed: &Routed| routed.worker);
        let passed = stream.unary(pact, "Pass", |_, _| {
            move |input, output| {
                input.for_each(|time, batch| output.session(&time).give_container(batch));
            }
        });
        // Home to the first worker, as the engine's deltas of one process are handed over by its workers.
        passed.sink(Exchange::new(move |_: &Routed| here as u64), "HandOver", move |(input, frontier)| {
            input.for_each(|_, batch| {
                for routed in batch.drain(..) {
                    handed_over(&routed.change);
                }
            });
            if here == 0 {
                let complete = frontier.frontier().first().copied().unwrap_or(u64::MAX);
                let mut through = None;
                let mut ends = ends.borrow_mut();
                while ends.front().is_some_and(|(epoch, _)| *epoch < complete) {
                    through = ends.pop_front().map(|(_, commit)| commit);
                }
                if let Some(through) = through {
                    tell(through);
                }
            }
        });
        input
    });
    loop {
        let mut next = *input.time();
        loop {
            match receiver.try_recv() {
                Ok(Batch { epoch, changes, through }) => {
                    for change in changes {
                        for worker in grid.workers_of_object(&change.app, &change.id) {
                            input.send(Routed { worker: worker as u64, change: change.clone() });
                        }
                    }
                    next = epoch + 1;
                    if here == 0 {
                        open.borrow_mut().push_back((epoch, through));
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        input.advance_to(next);
        input.flush();
        worker.step_or_park(None);
    }
}

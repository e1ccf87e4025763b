//! Inside the dataflow: one change in, its event out; and changes a second by size of batch.
//!
//! Measures what the engine adds to timely: the same changes go through the engine (16 standing queries, each change
//! touches exactly one) and through a bare timely program of the same layout that passes changes on and
//! hands them over, fed through the same kind of mailbox and parked when idle like the engine's. Both by
//! turns in one run, and the index alone as plain calls: what the engine adds to the two is the last column, in processor time. The one-change
//! figure includes waking the worker and waking the thread that waits for the event.
//!
//! Data: documents of 10 fields and about 300 bytes, inserted under 4 096 ids, parsed beforehand.
//!
//! Run: `cargo bench --bench dataflow` (`-- --brief` ends within seconds).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bare;
mod support;

use bare::{Bare, Layout};
use bytes::Bytes;
use dataflows::change::{Change, CommitNumber, Image, Operation, Writer};
use dataflows::document::{DateFields, DocumentLimits};
use dataflows::engine::{Delta, Engine, EngineOptions, QueryId, Sink};
use dataflows::index::{IndexOptions, QueryIndex};
use dataflows::query::{Filter, QueryLimits};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use support::{Table, count, quantile};

/// Changes that may be under way, as the server's default has it.
const UNDER_WAY: u64 = 4_096;
const QUERIES: u64 = 16;

/// Something that changes are fed to and that hands each over.
trait Flow {
    fn feed(&self, changes: Vec<Arc<Change>>, through: CommitNumber);
}

/// Counts what comes out, and tells whoever waits for one.
struct Out {
    deltas: AtomicU64,
    frontier: AtomicU64,
    each: mpsc::Sender<CommitNumber>,
    tells: std::sync::atomic::AtomicBool,
}

impl Out {
    fn handed_over(&self, commit: CommitNumber) {
        self.deltas.fetch_add(1, Release);
        if self.tells.load(Relaxed) {
            let _ = self.each.send(commit);
        }
    }
}

struct EngineSink(Arc<Out>);

impl Sink for EngineSink {
    fn deltas(&self, change: &Arc<Change>, deltas: &[Delta]) {
        assert_eq!(deltas.len(), 1, "each change touches one standing query");
        self.0.handed_over(change.commit);
    }

    fn frontier(&self, through: CommitNumber) {
        self.0.frontier.store(through, Release);
    }
}

impl Flow for Engine {
    fn feed(&self, changes: Vec<Arc<Change>>, through: CommitNumber) {
        Engine::feed(self, changes, through);
    }
}

impl Flow for Bare {
    fn feed(&self, changes: Vec<Arc<Change>>, through: CommitNumber) {
        Bare::feed(self, changes, through);
    }
}

/// How fast it went, and what it took.
#[derive(Clone, Copy)]
struct Rate {
    /// Changes a second
    changes: f64,
    /// Nanoseconds of processor time for each, whoever fed and whoever worked. Neighbours do not change it.
    cpu: f64,
}

impl Rate {
    fn of(changes: u64, lasting: Duration, cpu: Duration) -> Rate {
        Rate { changes: changes as f64 / lasting.as_secs_f64(), cpu: cpu.as_nanos() as f64 / changes as f64 }
    }

    /// The middle ones.
    fn median(rates: &[Rate]) -> Rate {
        let of = |figure: fn(&Rate) -> f64| support::median(rates.iter().map(figure).collect());
        Rate { changes: of(|rate| rate.changes), cpu: of(|rate| rate.cpu) }
    }
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    tidegate::bench::process::cpu_time(std::process::id()).expect("the system tells")
}

/// One of the two, with what is needed to drive it.
struct Driven {
    flow: Box<dyn Flow>,
    out: Arc<Out>,
    each: mpsc::Receiver<CommitNumber>,
    changes: Arc<[Arc<Change>]>,
    commit: CommitNumber,
    /// Deltas that one change comes out as
    copies: u64,
}

impl Driven {
    fn new(changes: &Arc<[Arc<Change>]>, copies: u64, flow: impl FnOnce(Arc<Out>) -> Box<dyn Flow>) -> Driven {
        let (sender, each) = mpsc::channel();
        let out = Arc::new(Out { deltas: 0.into(), frontier: 0.into(), each: sender, tells: false.into() });
        Driven { flow: flow(out.clone()), out, each, changes: changes.clone(), commit: 0, copies }
    }

    fn next(&mut self) -> Arc<Change> {
        self.commit += 1;
        let change = &self.changes[(self.commit - 1) as usize % self.changes.len()];
        Arc::new(Change { commit: self.commit, ..Change::clone(change) })
    }

    /// Microseconds from feeding one change to its event, one after the other.
    fn one_by_one(&mut self, times: usize) -> Vec<f64> {
        self.out.tells.store(true, Relaxed);
        let measured = (0..times).map(|_| {
            let change = self.next();
            let from = Instant::now();
            self.flow.feed(vec![change], self.commit);
            for _ in 0..self.copies {
                self.each.recv_timeout(Duration::from_secs(60)).expect("an event came");
            }
            from.elapsed().as_secs_f64() * 1e6
        });
        let measured = measured.collect();
        self.wait(self.commit);
        self.out.tells.store(false, Relaxed);
        measured
    }

    /// Changes in batches of this size, with a bounded number under way.
    fn throughput(&mut self, batch: usize, lasting: Duration) -> Rate {
        let used = cpu();
        let (from, first, deltas) = (Instant::now(), self.commit, self.out.deltas.load(Acquire));
        while from.elapsed() < lasting {
            let changes = (0..batch).map(|_| self.next()).collect();
            self.flow.feed(changes, self.commit);
            if self.commit - self.out.frontier.load(Acquire) > UNDER_WAY {
                self.wait(self.commit - UNDER_WAY / 2);
            }
        }
        self.wait(self.commit);
        let fed = self.commit - first;
        assert_eq!(self.out.deltas.load(Acquire) - deltas, fed * self.copies, "every change came out");
        Rate::of(fed, from.elapsed(), cpu() - used)
    }

    fn wait(&self, through: CommitNumber) {
        let limit = Instant::now() + Duration::from_secs(60);
        while self.out.frontier.load(Acquire) < through {
            assert!(Instant::now() < limit, "the frontier stands still");
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}

fn changes() -> Arc<[Arc<Change>]> {
    let change = |number: u64| {
        let id = format!("/db/lots/{number}");
        let text = format!(
            r#"{{"id":"{id}","version":1,"acl":null,"createdAt":"2026-01-01T00:00:00Z","updatedAt":"2026-01-01T00:00:00Z","title":"Lot number {number}, an oil painting in a gilded frame","group":{},"bid":{},"bidder":"/db/User/{number}","city":"Hamburg","tags":["art","painting"],"open":true}}"#,
            number % QUERIES,
            number * 7 % 1_000
        );
        let image = Image::parse(Bytes::from(text), &DateFields::default(), DocumentLimits::default()).expect("a document");
        Arc::new(Change {
            commit: number,
            at: 0,
            app: "app".into(),
            bucket: "lots".into(),
            id: id.into(),
            operation: Operation::Insert,
            before: None,
            after: Some(Arc::new(image)),
            schema_version: 0,
            control: 0,
            writer: Writer::default(),
            batch: None,
        })
    };
    (1..=4_096).map(change).collect()
}

fn filter(group: u64) -> Filter {
    Filter::parse(&format!(r#"{{"group":{group}}}"#), &QueryLimits::default()).expect("a query")
}

fn engine(changes: &Arc<[Arc<Change>]>, layout: Layout) -> Driven {
    Driven::new(changes, 1, |out| {
        let options = EngineOptions { workers: layout.workers, columns: layout.columns, index: IndexOptions::default() };
        let engine = Engine::start(options, Arc::new(EngineSink(out))).expect("the engine starts");
        for group in 0..QUERIES {
            let filter = filter(group);
            let (sender, installed) = mpsc::channel();
            let done = Box::new(move |result| sender.send(result).expect("somebody waits"));
            engine.subscribe("app".into(), "lots".into(), &filter, done);
            installed.recv().expect("an answer").expect("installed");
        }
        Box::new(engine)
    })
}

/// Changes through the index alone, with the same queries.
fn index_alone(index: &mut QueryIndex, changes: &[Arc<Change>], lasting: Duration) -> Rate {
    let used = cpu();
    let (from, mut matched, mut deltas) = (Instant::now(), 0_u64, Vec::new());
    while from.elapsed() < lasting {
        for change in changes {
            index.matches(change, &mut deltas);
            assert_eq!(deltas.len(), 1, "each change touches one standing query");
            deltas.clear();
            matched += 1;
        }
    }
    Rate::of(matched, from.elapsed(), cpu() - used)
}

fn bare(changes: &Arc<[Arc<Change>]>, layout: Layout) -> Driven {
    // Without queries every copy of a change is handed over, once for each column.
    Driven::new(changes, layout.columns as u64, |out| {
        let frontier = out.clone();
        Box::new(Bare::start(
            layout,
            move |change| out.handed_over(change.commit),
            move |through| frontier.frontier.store(through, Release),
        ))
    })
}

fn main() {
    let arguments = support::arguments();
    let (turns, lasting, times) =
        (arguments.choose(7, 1), arguments.choose(Duration::from_millis(1_000), Duration::from_millis(50)), arguments.choose(2_000, 100));
    let changes = changes();
    let layouts = [
        ("one worker", Layout { workers: 1, columns: 1 }),
        ("two workers, two rows", Layout { workers: 2, columns: 1 }),
        ("two workers, two columns", Layout { workers: 2, columns: 2 }),
    ];
    let mut index = QueryIndex::new(IndexOptions::default());
    for group in 0..QUERIES {
        index.insert(&"app".into(), &"lots".into(), QueryId(group), filter(group).predicate).expect("inserted");
    }
    let mut table =
        Table::new(["", "engine", "bare timely", "ratio", "CPU a change: engine", "bare timely", "index alone", "the engine adds"]);
    for (name, layout) in layouts {
        let (mut ours, mut theirs) = (engine(&changes, layout), bare(&changes, layout));
        let (mut ours_each, mut theirs_each) = (Vec::new(), Vec::new());
        for _ in 0..turns {
            ours_each.extend(ours.one_by_one(times));
            theirs_each.extend(theirs.one_by_one(times));
        }
        for (share, label) in [(0.5, "p50"), (0.99, "p99")] {
            let (our, their) = (quantile(&mut ours_each, share), quantile(&mut theirs_each, share));
            table.row([
                format!("{name}: one change, {label}, us"),
                format!("{our:.1}"),
                format!("{their:.1}"),
                format!("{:.2}", our / their),
            ]);
        }
        for batch in [1, 16, 256] {
            let (mut our, mut their, mut plain) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..turns {
                our.push(ours.throughput(batch, lasting));
                their.push(theirs.throughput(batch, lasting));
                plain.push(index_alone(&mut index, &changes, lasting / 2));
            }
            let [our, their, plain] = [our, their, plain].map(|rates| Rate::median(&rates));
            let nanoseconds = |cpu: f64| format!("{cpu:.0} ns");
            table.row([
                format!("{name}: changes/s, batches of {batch}"),
                count(our.changes),
                count(their.changes),
                format!("{:.2}", our.changes / their.changes),
                nanoseconds(our.cpu),
                nanoseconds(their.cpu),
                nanoseconds(plain.cpu),
                nanoseconds(our.cpu - their.cpu - plain.cpu),
            ]);
        }
    }
    println!("{table}");
}

//! The whole: HTTP writes in, events at websocket clients out, with so many distinct live queries.
//!
//! `tidegate bench` and the bench `whole` run this. Both baselines are of the same run: the same writes with no live
//! query, before and after, and a bare echo over the same websocket stack.

use super::BenchError;
use super::echo::Echo;
use super::http::{Base, HttpClient};
use super::latency::Latencies;
use super::load::{Load, LoadOptions, Outcome};
use super::table::{Table, count, micros};
use super::workload::Workload;
use std::fmt;
use std::time::Duration;

/// What is measured.
#[derive(Debug, Clone)]
pub struct WholeOptions {
    /// The server
    pub base: Base,
    /// Password of `root`, in whose name is written; none writes as anybody
    pub password: Option<String>,
    /// Distinct standing queries
    pub queries: usize,
    /// Websockets that they are spread over
    pub connections: usize,
    /// Connections that write
    pub writers: usize,
    /// Objects that are written over and over
    pub objects: usize,
    /// Length of the part flat out; the others take half of it
    pub lasting: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was asked for
    pub options: WholeOptions,
    /// As fast as answers came
    pub flat_out: Outcome,
    /// At half of that rate
    pub half: Outcome,
    /// The baseline: flat out with no live query, mean of before and after, writes a second
    pub writes_alone: f64,
    /// Of the same runs
    pub alone_to_answer: Latencies,
    /// The baseline: round trips of the echo
    pub echo: Latencies,
    /// From asking to the last initial result of each connection
    pub subscribing: Latencies,
}

/// Runs all parts. `tell` is given what is under way, a few times a second.
pub async fn measure(options: &WholeOptions, tell: &(dyn Fn(String) + Sync)) -> Result<Report, BenchError> {
    let token = match &options.password {
        Some(password) => Some(HttpClient::connect(&options.base, None).await?.log_in("root", password).await?),
        None => None,
    };
    // A bucket of this run alone: what others left or do there is no part of it.
    let bucket = format!("Bench{}", uuid::Uuid::new_v4().simple());
    let workload = Workload { queries: options.queries.max(1), objects: options.objects.max(1) };
    tell(format!("{} objects", workload.objects));
    let load = LoadOptions { base: options.base.clone(), token, bucket, workload, writers: options.writers };
    let mut load = Load::prepare(load).await?;
    let (whole, half) = (options.lasting, options.lasting / 2);
    // What the first writes warm up is no part of anything.
    told(&mut load, half / 4, None, "warming up", tell).await?;
    let before = told(&mut load, half, None, "no live query", tell).await?;
    tell("echo".to_owned());
    let echo = Echo::start().await?.round_trips(600, half.min(Duration::from_secs(2)), Duration::ZERO).await?;
    tell(format!("{} subscriptions on {} connections", workload.queries, options.connections));
    let subscribing = load.subscribe(options.connections).await?;
    let flat_out = told(&mut load, whole, None, "flat out", tell).await?;
    let rate = flat_out.write_rate() / 2.0;
    let paced = told(&mut load, half, Some(rate), "at half the rate", tell).await?;
    load.leave().await;
    let after = told(&mut load, half, None, "no live query", tell).await?;
    load.clear().await?;
    let mut alone_to_answer = before.to_answer.clone();
    alone_to_answer.add(&after.to_answer);
    let writes_alone = f64::midpoint(before.write_rate(), after.write_rate());
    Ok(Report { options: options.clone(), flat_out, half: paced, writes_alone, alone_to_answer, echo, subscribing })
}

async fn told(
    load: &mut Load,
    lasting: Duration,
    rate: Option<f64>,
    part: &str,
    tell: &(dyn Fn(String) + Sync),
) -> Result<Outcome, BenchError> {
    use std::sync::atomic::Ordering::Relaxed;
    let (progress, every) = (load.progress(), Duration::from_millis(250));
    let read = || (progress.writes.load(Relaxed), progress.events.load(Relaxed));
    let telling = async {
        let (mut ticks, mut last) = (tokio::time::interval(every), read());
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let now = read();
            let rate = |now: u64, last: u64| count((now - last) as f64 / every.as_secs_f64());
            tell(format!("{part}: {} updates/s, {} events/s", rate(now.0, last.0), rate(now.1, last.1)));
            last = now;
        }
    };
    tokio::select! {
        outcome = load.run(lasting, rate) => outcome,
        () = telling => Err(BenchError::Fault("the progress ended before the run".to_owned())),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WholeOptions { queries, connections, writers, objects, .. } = &self.options;
        writeln!(
            f,
            "{writers} writers, {objects} objects of about 400 bytes, {queries} distinct queries on {} connections\n",
            connections.min(queries)
        )?;
        let (flat, half) = (&self.flat_out, &self.half);
        let mut table = Table::new(["", "flat out", "half the rate", "no live query", "bare echo"]);
        table.row(["standing queries".to_owned(), queries.to_string(), queries.to_string(), "0".to_owned()]);
        table.row(["updates/s".to_owned(), count(flat.write_rate()), count(half.write_rate()), count(self.writes_alone)]);
        table.row(["events/s".to_owned(), count(flat.event_rate()), count(half.event_rate())]);
        let columns = [Some(&flat.answer_to_event), Some(&half.answer_to_event), None, Some(&self.echo)];
        latencies(&mut table, "answer to event", columns);
        latencies(&mut table, "write to event", [Some(&flat.write_to_event), Some(&half.write_to_event), None, None]);
        latencies(&mut table, "write to answer", [Some(&flat.to_answer), Some(&half.to_answer), Some(&self.alone_to_answer), None]);
        write!(f, "{table}")?;
        let share = |outcome: &Outcome| 100.0 * outcome.ahead as f64 / outcome.events.max(1) as f64;
        writeln!(f, "\nupdates/s with live queries to without: {:.2}", flat.write_rate() / self.writes_alone)?;
        writeln!(f, "events ahead of the writer's answer (counted as 0): {:.0} %, {:.0} % at half the rate", share(flat), share(half))?;
        if flat.composed + half.composed > 0 {
            writeln!(f, "events put together with a later one of the same object: {}", flat.composed + half.composed)?;
        }
        Ok(())
    }
}

fn latencies(table: &mut Table, name: &str, columns: [Option<&Latencies>; 4]) {
    for (share, label) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
        let figure = |latencies: &Latencies| if latencies.is_empty() { String::new() } else { micros(latencies.micros(share)) };
        let mut row = vec![format!("{name}, {label}")];
        row.extend(columns.iter().map(|column| column.map(figure).unwrap_or_default()));
        table.row(row);
    }
}

//! What the rooms count, told to the metrics.

use crate::apps::Apps;
use crate::apps::quota::Usage;
use crate::auth::password::Passwords;
use crate::changelog::kafka::{KafkaLog, Relay, RelayState};
use crate::clock::Clock;
use crate::ingest::Ingest;
use crate::ingest::status::TopicStatus;
use crate::live::Gateway;
use crate::metrics::{Family, Metrics, Number, Reading};
use crate::store::embedded::Embedded;
use dataflows::change::{Change, CommitNumber};
use dataflows::engine::{Delta, Engine, Sink, WorkerStatistics};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Measures how long a change was under way when its deltas come out of the dataflow.
pub(super) struct MeasuredSink {
    gateway: Arc<Gateway>,
    metrics: Arc<Metrics>,
    clock: Arc<Clock>,
}

impl MeasuredSink {
    pub(super) fn new(gateway: Arc<Gateway>, metrics: Arc<Metrics>, clock: Arc<Clock>) -> MeasuredSink {
        MeasuredSink { gateway, metrics, clock }
    }
}

impl Sink for MeasuredSink {
    fn deltas(&self, change: &Arc<Change>, deltas: &[Delta]) {
        let under_way = u64::try_from(self.clock.now_ms().saturating_sub(change.at)).unwrap_or(0);
        self.metrics.engine_seconds.observe(Duration::from_millis(under_way));
        self.gateway.deltas(change, deltas);
    }

    fn frontier(&self, through: CommitNumber) {
        self.gateway.frontier(through);
    }
}

/// Tells what the relay of a change log in Kafka counts about itself.
pub(super) fn measure_relay(metrics: &Metrics, relay: &Arc<Relay>) {
    metrics.histogram("relay", "From a commit until the brokers of the change log have it", relay.delay());
    let relay = Arc::downgrade(relay);
    metrics.collect(move || {
        let Some(status) = relay.upgrade().map(|relay| relay.status()) else { return Vec::new() };
        let counter = |name, help, value| Reading { name, help, value: Number::Counter(value) };
        let gauge = |name, help, value| Reading { name, help, value: Number::Gauge(value) };
        vec![
            gauge("relay_commit", "Last commit number that the brokers of the change log have", status.relayed),
            gauge("relay_outbox_bytes", "Bytes of changes that wait for the brokers", status.waiting_bytes),
            gauge("relay_outbox_records", "Changes that wait for the brokers", status.waiting_records),
            gauge("relay_up", "1 while the brokers take what there is", u64::from(status.state == RelayState::Running)),
            gauge("relay_ended", "1 once nothing is relayed any more and writes are refused", u64::from(status.state == RelayState::Ended)),
            counter("relay_transactions", "Transactions that the brokers took", status.transactions),
            counter("relay_records", "Changes in them", status.records),
            counter("relay_bytes", "Bytes of these changes", status.bytes),
            counter("relay_retries", "Times that something failed at the brokers and was tried again", status.retries),
        ]
    });
}

/// Tells what those who read the topic of a change log count about themselves.
pub(super) fn measure_topic(metrics: &Metrics, log: &Arc<KafkaLog>) {
    let log = Arc::downgrade(log);
    metrics.collect(move || {
        let Some(topic) = log.upgrade().map(|log| log.statistics()) else { return Vec::new() };
        let counter = |name, help, value| Reading { name, help, value: Number::Counter(value) };
        let gauge = |name, help, value| Reading { name, help, value: Number::Gauge(value) };
        vec![
            gauge("topic_lag", "Commits that the live side has not read from the topic of the change log", topic.behind),
            gauge("topic_outage", "1 while the brokers do not answer to those who read the change log", topic.outage),
            counter("topic_reused", "Records read from the topic whose change was still in memory", topic.reused),
            counter("topic_decoded", "Records read from the topic and parsed again", topic.decoded),
            counter("topic_repeats", "Records that came again from the topic and were dropped", topic.repeats),
            counter("topic_strangers", "Messages in the topic that are no change records", topic.strangers),
            counter("topic_trimmed", "Times that what was to be read from the topic was deleted", topic.trimmed),
        ]
    });
}

/// Tells what store, gateway and dataflow count about themselves. They are not kept alive by it.
pub(super) fn measure(metrics: &Metrics, store: &Arc<Embedded>, gateway: &Arc<Gateway>, engine: &Arc<Engine>) {
    metrics.histogram("delivery", "From the dataflow until an event is with the transport", gateway.delivery());
    metrics.histogram("answer_hold", "How long events waited for the answers to their own writes", gateway.answers().waited());
    let counter = |name, help, value| Reading { name, help, value: Number::Counter(value) };
    let gauge = |name, help, value| Reading { name, help, value: Number::Gauge(value) };
    let (store, gateway, engine) = (Arc::downgrade(store), Arc::downgrade(gateway), Arc::downgrade(engine));
    metrics.collect(move || {
        let Some(store) = store.upgrade().map(|store| store.statistics()) else { return Vec::new() };
        vec![
            counter("store_commits", "Changes committed since the start", store.commits),
            counter("store_groups", "Groups that changes were committed in", store.groups),
            counter("store_syncs", "Times that a group waited for the disk", store.syncs),
            counter("store_overloaded", "Writes refused because too many were waiting", store.overloaded),
            gauge("store_queue", "Writes that wait to be committed", store.queued),
            counter("store_queries_planned", "Queries answered by ids or indexes", store.planned),
            counter("store_scans", "Scans of buckets, each for all queries that waited for it", store.scans),
            counter("store_rows_examined", "Objects that queries looked at", store.examined),
            counter("store_rows_returned", "Objects in the answers to queries", store.returned),
            gauge("store_indexes", "Indexes that were declared", store.indexes),
            gauge("store_indexes_building", "Indexes that are being built", store.indexes_building),
            gauge("store_disk_bytes", "Bytes on the disk, all together", store.disk_bytes),
            gauge("log_bytes", "Bytes of the records in the change log", store.log_bytes),
            gauge("log_records", "Records in the change log", store.log_records),
            gauge("log_recent_bytes", "Bytes of recent changes kept in memory", store.recent_bytes),
            gauge("log_oldest", "Commit number behind which the log can be read", store.oldest),
            gauge("log_head", "Last commit number", store.head),
        ]
    });
    metrics.collect(move || {
        let Some(live) = gateway.upgrade().map(|gateway| gateway.statistics()) else { return Vec::new() };
        vec![
            gauge("live_connections", "Websockets and event streams that are open", live.connections),
            gauge("live_subscriptions", "Subscriptions", live.subscriptions),
            gauge("live_standing_queries", "Different standing queries", live.standing_queries),
            gauge("live_queue_events", "Events that wait in all outboxes", live.queued_events),
            gauge("live_queue_bytes", "Bytes of events that wait in all outboxes", live.queued_bytes),
            gauge("live_queue_longest", "Events in the longest outbox", live.longest_queue),
            gauge("live_open_answers", "Writes whose answers are not out yet", live.open_answers),
            counter("live_resynchronised", "Times that the log had lost what the live side had not seen", live.resynchronised),
            gauge("live_lag", "Commits in the log that the outboxes have not seen", live.lag),
            counter("live_changes", "Changes fed to the dataflow", live.changes_fed),
            counter("live_events", "Events handed to transports", live.events),
            counter("live_composed", "Events that were put together with others", live.composed),
            counter("live_outdated", "Times that what waited for a subscription was dropped", live.outdated),
            counter("live_fresh_results", "Results sent in place of what was dropped", live.fresh_results),
            counter("live_resumed", "Clients that came back and got what they missed", live.resumed),
            counter("live_connections_refused", "Connections refused because there were too many", live.connections_refused),
        ]
    });
    metrics.collect(move || {
        let Some(engine) = engine.upgrade() else { return Vec::new() };
        let sum =
            |of: fn(&WorkerStatistics) -> &AtomicU64| engine.statistics().iter().map(|worker| of(worker).load(Ordering::Relaxed)).sum();
        vec![
            counter("engine_changes", "Changes matched, each on every column of its row", sum(|worker| &worker.changes)),
            counter("engine_candidates", "Standing queries that were looked at more closely", sum(|worker| &worker.candidates)),
            counter("engine_deltas", "Deltas that came of the changes", sum(|worker| &worker.deltas)),
            counter("engine_turns", "Turns of the workers' loops", sum(|worker| &worker.turns)),
            gauge("engine_standing_queries", "Standing queries installed, on all workers", sum(|worker| &worker.standing_queries)),
            gauge("engine_residual_queries", "Those of them that no index entry fits", sum(|worker| &worker.residual_queries)),
        ]
    });
}

/// Apps that have numbers of their own in the metrics; the others, by name, are told together.
const APPS_TOLD: usize = 200;

/// Tells what each app uses of what all share.
pub(super) fn measure_apps(metrics: &Metrics, apps: &Arc<Apps>) {
    let apps = Arc::downgrade(apps);
    metrics.collect_families(move || {
        let Some(apps) = apps.upgrade().map(|apps| apps.all()) else { return Vec::new() };
        let used: Vec<_> = apps.iter().map(|app| (app.word.to_string(), app.quota.usage())).collect();
        let (told, others) = used.split_at(used.len().min(APPS_TOLD));
        let family = |name, help, of: fn(&Usage) -> u64, number: fn(u64) -> Number| {
            let mut values: Vec<_> = told.iter().map(|(app, usage)| (vec![("app", app.clone())], number(of(usage)))).collect();
            if !others.is_empty() {
                // No app can be called so.
                values.push((vec![("app", "(others)".to_owned())], number(others.iter().map(|(_, usage)| of(usage)).sum())));
            }
            Family { name, help, values }
        };
        vec![
            family("app_requests", "Requests of the app that got their turn", |usage| usage.admitted, Number::Counter),
            family("app_refused", "Requests, connections and subscriptions over the app's quota", |usage| usage.refused, Number::Counter),
            family("app_waiting", "Requests that wait for the app's other requests", |usage| usage.waiting as u64, Number::Gauge),
            family("app_connections", "Websockets and event streams of the app", |usage| usage.connections as u64, Number::Gauge),
            family("app_subscriptions", "Subscriptions of the app", |usage| usage.subscriptions as u64, Number::Gauge),
        ]
    });
}

/// Tells how many passwords were hashed, which is the dearest thing that a request can ask for.
pub(super) fn measure_passwords(metrics: &Metrics, passwords: &Passwords) {
    let passwords = passwords.clone();
    metrics.collect(move || {
        let value = Number::Counter(passwords.worked());
        vec![Reading { name: "password_hashes", help: "Passwords that were hashed, to be set or to be compared", value }]
    });
}

/// Tells what ingest counts about its topics.
pub(super) fn measure_ingest(metrics: &Metrics, ingest: &Arc<Ingest>) {
    let ingest = Arc::downgrade(ingest);
    metrics.collect_families(move || {
        let Some(topics) = ingest.upgrade().map(|ingest| ingest.status()) else { return Vec::new() };
        let labels = |topic: &TopicStatus| vec![("topic", topic.topic.clone()), ("bucket", topic.bucket.clone())];
        let family = |name, help, of: fn(&TopicStatus) -> Number| {
            let values = topics.iter().map(|topic| (labels(topic), of(topic))).collect();
            Family { name, help, values }
        };
        let skipped = topics.iter().flat_map(|topic| {
            topic.skipped.iter().map(|(kind, count)| {
                let labels = labels(topic).into_iter().chain([("kind", kind.clone())]).collect();
                (labels, Number::Counter(*count))
            })
        });
        vec![
            family("ingest_records", "Records read from the topic", |topic| Number::Counter(topic.records)),
            family("ingest_dead_letters", "Records that became dead letters", |topic| Number::Counter(topic.dead_letters)),
            family("ingest_lost", "Offsets that were gone from the topic before they were read", |topic| Number::Counter(topic.lost)),
            family("ingest_lag", "Records in the topic that were not read yet", |topic| Number::Gauge(topic.lag)),
            family("ingest_running", "1 while the topic is read", |topic| Number::Gauge(u64::from(topic.state == "running"))),
            Family { name: "ingest_skipped", help: "Records that mean nothing for a bucket", values: skipped.collect() },
        ]
    });
}

//! What is counted and measured, all defined here; `/metrics` on the admin listener tells it to Prometheus.
//!
//! Who counts touches an atomic and nothing else. What other rooms count about themselves is read from them
//! when somebody asks: see [`Metrics::collect`].

mod histogram;

pub use histogram::Histogram;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::{Registry, Unit};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Everything that is measured in the stages of a write and of an event.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Answers by class of status: 1xx to 5xx
    answers: [Counter; 5],
    /// From the request's head to the answer's head
    pub request_seconds: Arc<Histogram>,
    /// From giving a write to the store until it is durable
    pub commit_seconds: Arc<Histogram>,
    /// From a commit until its deltas have left the dataflow
    pub engine_seconds: Arc<Histogram>,
    /// Connections that are open
    pub connections: Arc<std::sync::atomic::AtomicU64>,
}

impl Metrics {
    /// Nothing has been counted yet.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("tidegate");
        let answers: [Counter; 5] = Default::default();
        for (class, counter) in answers.iter().enumerate() {
            let help = format!("Answers with a status of {}00 to {}99", class + 1, class + 1);
            registry.register(format!("http_answers_{}xx", class + 1), help, counter.clone());
        }
        let metrics = Metrics {
            registry: Mutex::new(registry),
            answers,
            request_seconds: Arc::default(),
            commit_seconds: Arc::default(),
            engine_seconds: Arc::default(),
            connections: Arc::default(),
        };
        metrics.histogram("http_request", "From the head of a request to the head of its answer", &metrics.request_seconds);
        metrics.histogram("commit", "From giving a write to the store until it is durable", &metrics.commit_seconds);
        metrics.histogram("engine", "From a commit until its deltas have left the dataflow", &metrics.engine_seconds);
        let connections = metrics.connections.clone();
        metrics.collect(move || {
            let open = connections.load(std::sync::atomic::Ordering::Relaxed);
            vec![Reading { name: "http_connections", help: "Connections of the API that are open", value: Number::Gauge(open) }]
        });
        metrics
    }

    /// A request was answered.
    pub fn answered(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.answers[class].inc();
        self.request_seconds.observe(took);
    }

    /// Tells times. The name gets `tidegate_` and `_seconds`.
    pub fn histogram(&self, name: &str, help: &str, histogram: &Arc<Histogram>) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_with_unit(name, help, Unit::Seconds, Shared(histogram.clone()));
    }

    /// Tells numbers of another room, read together whenever somebody asks.
    pub fn collect(&self, read: impl Fn() -> Vec<Reading> + Send + Sync + 'static) {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(Room(Box::new(read))));
    }

    /// Tells numbers of several of a kind, such as topics, each with labels.
    pub fn collect_families(&self, read: impl Fn() -> Vec<Family> + Send + Sync + 'static) {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(Families(Box::new(read))));
    }

    /// The text for Prometheus.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// One number of another room.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Without `tidegate_` before it and `_total` behind it
    pub name: &'static str,
    /// What it counts, and its unit
    pub help: &'static str,
    /// As it is now
    pub value: Number,
}

/// A number, and whether it only grows.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// Only grows
    Counter(u64),
    /// Goes up and down
    Gauge(u64),
}

/// One number of each of several.
#[derive(Debug, Clone)]
pub struct Family {
    /// As in [`Reading`]
    pub name: &'static str,
    /// As in [`Reading`]
    pub help: &'static str,
    /// Labels, and the number as it is now; all of one kind
    pub values: Vec<(Vec<(&'static str, String)>, Number)>,
}

/// What [`Metrics::collect_families`] was given.
struct Families(Box<dyn Fn() -> Vec<Family> + Send + Sync>);

impl std::fmt::Debug for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Families")
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for Family { name, help, values } in (self.0)() {
            let kind = match values.first() {
                Some((_, Number::Counter(_))) => MetricType::Counter,
                Some((_, Number::Gauge(_))) => MetricType::Gauge,
                None => continue,
            };
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in &values {
                let mut encoder = encoder.encode_family(labels)?;
                match value {
                    Number::Counter(number) => encoder.encode_counter::<NoLabelSet, _, u64>(number, None)?,
                    Number::Gauge(number) => encoder.encode_gauge(number)?,
                }
            }
        }
        Ok(())
    }
}

/// What [`Metrics::collect`] was given.
struct Room(Box<dyn Fn() -> Vec<Reading> + Send + Sync>);

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Room")
    }
}

impl Collector for Room {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for Reading { name, help, value } in (self.0)() {
            let kind = match value {
                Number::Counter(_) => MetricType::Counter,
                Number::Gauge(_) => MetricType::Gauge,
            };
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            match value {
                Number::Counter(number) => encoder.encode_counter::<NoLabelSet, _, u64>(&number, None)?,
                Number::Gauge(number) => encoder.encode_gauge(&number)?,
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Shared(Arc<Histogram>);

impl EncodeMetric for Shared {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (sum, count, buckets) = self.0.read();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_was_counted() {
        let metrics = Metrics::new();
        metrics.answered(200, Duration::from_micros(3));
        metrics.answered(404, Duration::from_secs(100));
        metrics.collect(|| {
            vec![
                Reading { name: "log_lag", help: "Changes", value: Number::Gauge(2) },
                Reading { name: "changes", help: "Changes", value: Number::Counter(7) },
            ]
        });
        metrics.collect_families(|| {
            let values = ["a", "b"].map(|topic| (vec![("topic", topic.to_owned())], Number::Counter(3)));
            vec![Family { name: "read", help: "Records", values: values.into() }]
        });
        let text = metrics.text().unwrap();
        for line in [
            "tidegate_read_total{topic=\"a\"} 3",
            "tidegate_read_total{topic=\"b\"} 3",
            "tidegate_http_answers_2xx_total 1",
            "tidegate_http_answers_4xx_total 1",
            "tidegate_http_request_seconds_count 2",
            "tidegate_http_request_seconds_bucket{le=\"+Inf\"} 2",
            "tidegate_log_lag 2",
            "tidegate_changes_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}

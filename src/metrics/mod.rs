//! What is counted and measured, all defined here; `/metrics` on the admin listener tells it to Prometheus.
//!
//! Who counts touches an atomic and nothing else. What other rooms count about themselves is read from them
//! when somebody asks: see [`Metrics::counter`] and [`Metrics::gauge`].

mod histogram;

pub use histogram::Histogram;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
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
    /// From the dataflow until an event is with the socket
    pub delivery_seconds: Arc<Histogram>,
    /// How long the writer's own event waited for his answer
    pub hold_seconds: Arc<Histogram>,
    /// Connections that are open
    pub connections: Arc<std::sync::atomic::AtomicU64>,
}

impl Metrics {
    /// Nothing has been counted yet.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("tidegate");
        let mut histogram = |name: &str, help: &str| {
            let histogram = Arc::new(Histogram::default());
            registry.register_with_unit(name, help, prometheus_client::registry::Unit::Seconds, Shared(histogram.clone()));
            histogram
        };
        let request_seconds = histogram("http_request", "From the head of a request to the head of its answer");
        let commit_seconds = histogram("commit", "From giving a write to the store until it is durable");
        let engine_seconds = histogram("engine", "From a commit until its deltas have left the dataflow");
        let delivery_seconds = histogram("delivery", "From the dataflow until an event is with the socket");
        let hold_seconds = histogram("answer_hold", "How long the event of the writer's own write waited for his answer");
        let answers: [Counter; 5] = Default::default();
        for (class, counter) in answers.iter().enumerate() {
            let help = format!("Answers with a status of {}00 to {}99", class + 1, class + 1);
            registry.register(format!("http_answers_{}xx", class + 1), help, counter.clone());
        }
        let metrics = Metrics {
            registry: Mutex::new(registry),
            answers,
            request_seconds,
            commit_seconds,
            engine_seconds,
            delivery_seconds,
            hold_seconds,
            connections: Arc::default(),
        };
        let connections = metrics.connections.clone();
        metrics.gauge("http_connections", "Connections of the API that are open", move || {
            connections.load(std::sync::atomic::Ordering::Relaxed) as f64
        });
        metrics
    }

    /// A request was answered.
    pub fn answered(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.answers[class].inc();
        self.request_seconds.observe(took);
    }

    /// Tells a number that only grows, as it is when somebody asks. The name gets `tidegate_` and `_total`.
    pub fn counter(&self, name: &str, help: &str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.register(name, help, Read::Counter(Box::new(read)));
    }

    /// Tells a number that goes up and down, as it is when somebody asks. The name gets `tidegate_`.
    pub fn gauge(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.register(name, help, Read::Gauge(Box::new(read)));
    }

    fn register(&self, name: &str, help: &str, read: Read) {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register(name, help, read);
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

enum Read {
    Counter(Box<dyn Fn() -> u64 + Send + Sync>),
    Gauge(Box<dyn Fn() -> f64 + Send + Sync>),
}

impl std::fmt::Debug for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Read")
    }
}

impl EncodeMetric for Read {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Read::Counter(read) => encoder.encode_counter::<NoLabelSet, _, u64>(&read(), None),
            Read::Gauge(read) => encoder.encode_gauge(&read()),
        }
    }

    fn metric_type(&self) -> MetricType {
        match self {
            Read::Counter(_) => MetricType::Counter,
            Read::Gauge(_) => MetricType::Gauge,
        }
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
        metrics.gauge("log_lag", "Changes", || 2.5);
        metrics.counter("changes", "Changes", || 7);
        let text = metrics.text().unwrap();
        for line in [
            "tidegate_http_answers_2xx_total 1",
            "tidegate_http_answers_4xx_total 1",
            "tidegate_http_request_seconds_count 2",
            "tidegate_http_request_seconds_bucket{le=\"+Inf\"} 2",
            "tidegate_log_lag 2.5",
            "tidegate_changes_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}

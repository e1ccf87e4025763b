//! The topic of a change log: made with the right settings, or looked at and refused with the setting named.
//!
//! Compaction would drop changes between two of one object, an unclean election could take back what was told, and a
//! limit below the largest record would stop the log for ever; so none of it is worked around.

use super::address::Address;
use super::error::KafkaLogError;
use crate::changelog::Home;
use crate::changelog::gate::Limits;
use crate::config::{ChangelogOptions, Config, KafkaOptions};
use crate::kafka::heard::{Heard, ask};
use crate::kafka::right::Deed;
use crate::kafka::{self, KafkaError};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::util::Timeout;
use std::sync::Arc;
use std::time::Duration;

/// How long brokers have to answer at the start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// Around the largest record: its key, its headers, the batch that it travels in. An id may have 32 KiB.
const WRAPPING: usize = 128 << 10;

/// The topic of a change log, found to be right.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Where it is
    pub(crate) address: Address,
    /// How to talk to its brokers
    pub(crate) options: KafkaOptions,
    /// As the brokers name themselves
    pub(crate) cluster: Option<String>,
    /// Partitions for changes; one more is for control records
    pub(crate) partitions: u32,
    /// Bytes of the largest message
    pub(crate) largest: usize,
}

/// What a topic has to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// With the one for control records
    partitions: i32,
    replicas: i32,
    retention_ms: u64,
    /// Of each partition
    retention_bytes: u64,
    message_bytes: usize,
    segment_bytes: u64,
}

impl Need {
    fn of(log: &ChangelogOptions, record: usize) -> Need {
        let all = u64::from(log.partitions.max(1)) + 1;
        let message_bytes = record.saturating_add(WRAPPING);
        let retention_bytes = (log.size_bytes / all).max(1);
        Need {
            partitions: i32::try_from(all).unwrap_or(i32::MAX),
            replicas: i32::try_from(log.replicas).ok().filter(|replicas| *replicas > 0).unwrap_or(-1),
            retention_ms: log.age_seconds.saturating_mul(1000),
            retention_bytes,
            message_bytes,
            // Whole segments are deleted: small ones keep the topic near its bounds, and each takes the largest message.
            segment_bytes: (retention_bytes / 4).clamp(16 << 20, 1 << 30).max(message_bytes as u64),
        }
    }

    /// The settings of a topic that is made here.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", self.retention_ms.to_string()),
            ("retention.bytes", self.retention_bytes.to_string()),
            ("segment.bytes", self.segment_bytes.to_string()),
            ("max.message.bytes", self.message_bytes.to_string()),
            ("unclean.leader.election.enable", "false".to_owned()),
            ("message.timestamp.type", "CreateTime".to_owned()),
        ];
        // With three replicas one may be away, and every change still is on two.
        if self.replicas >= 3 {
            settings.push(("min.insync.replicas", "2".to_owned()));
        }
        settings
    }
}

/// What a topic is found to be like; none where the brokers do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    partitions: i32,
    cleanup_policy: Option<String>,
    message_bytes: Option<String>,
    unclean_election: Option<String>,
    retention_ms: Option<String>,
}

/// The first setting that does not fit: (as Kafka calls it, found, needed).
fn unfit(found: &Found, need: &Need) -> Option<(&'static str, String, String)> {
    if found.partitions != need.partitions {
        let needed = format!("{}: changelog.partitions and one for schemas and rights", need.partitions);
        return Some(("partitions", found.partitions.to_string(), needed));
    }
    if let Some(policy) = found.cleanup_policy.as_deref().filter(|policy| *policy != "delete") {
        return Some(("cleanup.policy", policy.to_owned(), "delete, without compaction".to_owned()));
    }
    if let Some(bytes) = &found.message_bytes
        && bytes.parse::<usize>().map_or(true, |bytes| bytes < need.message_bytes)
    {
        let needed = format!("at least {}, for both images of the largest object (store.object_bytes)", need.message_bytes);
        return Some(("max.message.bytes", bytes.clone(), needed));
    }
    if let Some(unclean) = found.unclean_election.as_deref().filter(|unclean| *unclean != "false") {
        return Some(("unclean.leader.election.enable", unclean.to_owned(), "false".to_owned()));
    }
    None
}

/// Whether changes would go earlier than they should.
fn is_short(found: &Found, need: &Need) -> bool {
    found.retention_ms.as_ref().and_then(|ms| ms.parse::<u64>().ok()).is_some_and(|ms| ms < need.retention_ms)
}

impl Topic {
    /// The topic of the configured change log, made if it is not there; none for the embedded log.
    pub async fn prepare(config: &Config) -> Result<Option<Topic>, KafkaLogError> {
        let Some(address) = Address::of(&config.changelog.log)? else { return Ok(None) };
        let limits = Limits::of(&config.store, &config.changelog);
        let need = Need::of(&config.changelog, limits.record);
        let admin = Arc::new(Admin::new(&config.kafka, &address)?);
        let (is_there, cluster) = {
            let admin = Arc::clone(&admin);
            blocking(move || admin.look()).await?
        };
        if !is_there {
            admin.create(&need).await?;
        }
        let found = admin.found().await?;
        if let Some((setting, found, needed)) = unfit(&found, &need) {
            return Err(KafkaLogError::Setting { topic: address.topic, setting, found, needed });
        }
        if is_short(&found, &need) {
            tracing::warn!(
                topic = address.topic,
                retention_ms = found.retention_ms,
                "the topic keeps changes for less than changelog.age_seconds"
            );
        }
        Ok(Some(Topic {
            address,
            options: config.kafka.clone(),
            cluster,
            partitions: config.changelog.partitions.max(1),
            largest: need.message_bytes,
        }))
    }

    /// Where a log in this topic is kept.
    pub fn home(&self) -> Home {
        Home::Kafka { cluster: self.cluster.clone(), topic: self.address.topic.clone(), partitions: self.partitions }
    }

    /// Something about the topic was refused: the right that is missing, if it is one.
    pub(crate) fn refused(&self, error: &RdError, deed: &Deed<'_>) -> KafkaLogError {
        deed.denied(error.rdkafka_error_code()).map_or_else(|| self.unreadable(error), |right| KafkaError::Right(right).into())
    }

    pub(crate) fn unreadable(&self, reason: impl std::fmt::Display) -> KafkaLogError {
        KafkaLogError::Unreadable { topic: self.address.topic.clone(), reason: reason.to_string() }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, KafkaLogError> + Send + 'static) -> Result<T, KafkaLogError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| KafkaLogError::Outbox(error.to_string()))?
}

/// The brokers, asked about one topic.
struct Admin {
    client: AdminClient<DefaultClientContext>,
    /// Asks, and hears why there is no answer
    asker: BaseConsumer<Heard>,
    address: Address,
}

impl Admin {
    fn new(options: &KafkaOptions, address: &Address) -> Result<Admin, KafkaLogError> {
        let config = kafka::reader(options, &address.brokers)?;
        let property = |error: RdError| kafka::refused(&config, &error);
        let client = AdminClient::from_config(&config).map_err(property)?;
        let asker = config.create_with_context(Heard::default()).map_err(property)?;
        Ok(Admin { client, asker, address: address.clone() })
    }

    /// Whether the topic is there, and how the cluster is called. Blocks.
    fn look(&self) -> Result<(bool, Option<String>), KafkaLogError> {
        // Of all topics: asking for one by name would have some brokers make it, with their own settings.
        let metadata = ask(&self.asker, PATIENCE, || false, |asker, step| asker.fetch_metadata(None, step))
            .map_err(|reason| KafkaError::Unreachable { brokers: self.address.brokers.clone(), reason })?;
        let is_there = metadata.topics().iter().any(|topic| topic.name() == self.address.topic);
        Ok((is_there, self.asker.client().fetch_cluster_id(PATIENCE)))
    }

    async fn create(&self, need: &Need) -> Result<(), KafkaLogError> {
        let refused = |reason: String| KafkaLogError::Create { topic: self.address.topic.clone(), reason };
        let settings = need.settings();
        let new = NewTopic::new(&self.address.topic, need.partitions, TopicReplication::Fixed(need.replicas));
        let new = settings.iter().fold(new, |new, (setting, value)| new.set(setting, value));
        let results = self.client.create_topics([&new], &patient()).await.map_err(|error| refused(error.to_string()))?;
        for result in results {
            match result {
                Ok(_) => tracing::info!(topic = self.address.topic, partitions = need.partitions, "the topic of the change log was made"),
                // Somebody else was faster: it is looked at like any other.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => {
                    let deed = Deed { topic: Some(("Create", &self.address.topic)), ..Deed::default() };
                    return Err(refused(match deed.denied(Some(code)) {
                        // Brokers do not show what may not be described.
                        Some(right) => format!(
                            "this server's Kafka user lacks the right {right}, or, if the topic is there, the right Describe, without \
                             which it is not seen"
                        ),
                        None => code.to_string(),
                    }));
                }
            }
        }
        Ok(())
    }

    async fn found(&self) -> Result<Found, KafkaLogError> {
        let unreadable = |reason: String| KafkaLogError::Unreadable { topic: self.address.topic.clone(), reason };
        let partitions = self.partitions().await?;
        let asked = [ResourceSpecifier::Topic(&self.address.topic)];
        let described = self.client.describe_configs(&asked, &patient()).await.map_err(|error| unreadable(error.to_string()))?;
        let described = described.into_iter().next().ok_or_else(|| unreadable("the brokers do not describe it".into()))?;
        let settings = described.map_err(|code| {
            let deed = Deed { topic: Some(("DescribeConfigs", &self.address.topic)), ..Deed::default() };
            let denied = deed.denied(Some(code)).map(|right| KafkaError::Right(right).into());
            denied.unwrap_or_else(|| unreadable(format!("its settings: {code}")))
        })?;
        let setting = |name: &str| settings.get(name).and_then(|entry| entry.value.clone());
        Ok(Found {
            partitions,
            cleanup_policy: setting("cleanup.policy"),
            message_bytes: setting("max.message.bytes"),
            unclean_election: setting("unclean.leader.election.enable"),
            retention_ms: setting("retention.ms"),
        })
    }

    /// Waits until every partition has a leader: a topic that was just made takes a moment.
    async fn partitions(&self) -> Result<i32, KafkaLogError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let describe = Deed { topic: Some(("Describe", &self.address.topic)), ..Deed::default() };
        loop {
            let client = self.client.inner();
            let metadata = client.fetch_metadata(Some(&self.address.topic), Duration::from_secs(2));
            let reason = match &metadata {
                Ok(metadata) => {
                    let found = metadata.topics().iter().find(|topic| topic.name() == self.address.topic);
                    let partitions = found.map(|topic| topic.partitions()).unwrap_or_default();
                    if !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0) {
                        return Ok(i32::try_from(partitions.len()).unwrap_or(i32::MAX));
                    }
                    if let Some(right) = describe.denied(found.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from)) {
                        return Err(KafkaError::Right(right).into());
                    }
                    "some partitions have no leader".to_owned()
                }
                Err(error) => error.to_string(),
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(KafkaLogError::Unreadable { topic: self.address.topic.clone(), reason });
            }
            // Kafka has no event for it.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn patient() -> AdminOptions {
    let patience = Some(Timeout::After(PATIENCE));
    AdminOptions::new().operation_timeout(patience).request_timeout(patience)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn need() -> Need {
        let log = ChangelogOptions { partitions: 3, replicas: 0, ..Config::default().changelog };
        Need::of(&log, 3 << 20)
    }

    fn right(need: &Need) -> Found {
        Found {
            partitions: need.partitions,
            cleanup_policy: Some("delete".into()),
            message_bytes: Some(need.message_bytes.to_string()),
            unclean_election: Some("false".into()),
            retention_ms: Some(need.retention_ms.to_string()),
        }
    }

    #[test]
    fn a_topic_that_is_made_here_is_right() {
        let need = need();
        let settings = need.settings();
        let setting = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
        let found = Found {
            partitions: need.partitions,
            cleanup_policy: setting("cleanup.policy"),
            message_bytes: setting("max.message.bytes"),
            unclean_election: setting("unclean.leader.election.enable"),
            retention_ms: setting("retention.ms"),
        };
        assert_eq!(found, right(&need));
        assert_eq!(unfit(&found, &need), None);
        assert!(!is_short(&found, &need));
        assert_eq!((need.partitions, need.replicas), (4, -1));
        assert_eq!(setting("retention.bytes").unwrap(), (Config::default().changelog.size_bytes / 4).to_string());
        assert_eq!(setting("min.insync.replicas"), None);
    }

    #[test]
    fn every_wrong_setting_is_named_with_what_it_is_and_should_be() {
        let need = need();
        let wrong = |change: &dyn Fn(&mut Found)| {
            let mut found = right(&need);
            change(&mut found);
            unfit(&found, &need)
        };
        let cases: [(&str, &str, &dyn Fn(&mut Found)); 6] = [
            ("partitions", "3", &|found| found.partitions = 3),
            ("partitions", "5", &|found| found.partitions = 5),
            ("cleanup.policy", "compact", &|found| found.cleanup_policy = Some("compact".into())),
            ("cleanup.policy", "compact,delete", &|found| found.cleanup_policy = Some("compact,delete".into())),
            ("max.message.bytes", "1048588", &|found| found.message_bytes = Some("1048588".into())),
            ("unclean.leader.election.enable", "true", &|found| found.unclean_election = Some("true".into())),
        ];
        for (setting, value, change) in cases {
            let (name, found, needed) = wrong(change).unwrap();
            assert_eq!((name, &*found), (setting, value));
            assert!(!needed.is_empty());
        }
        assert_eq!(wrong(&|found| found.message_bytes = Some((64 << 20).to_string())), None);
        assert_eq!(wrong(&|found| found.unclean_election = None), None);
    }

    #[test]
    fn a_shorter_retention_is_told_and_an_unbounded_one_is_not() {
        let need = need();
        assert!(is_short(&Found { retention_ms: Some("1000".into()), ..right(&need) }, &need));
        assert!(!is_short(&Found { retention_ms: Some("-1".into()), ..right(&need) }, &need));
    }

    #[test]
    fn segments_are_small_beside_what_is_kept_and_take_the_largest_message() {
        let log = ChangelogOptions { size_bytes: 1, ..Config::default().changelog };
        let need = Need::of(&log, 64 << 20);
        assert!(need.segment_bytes >= need.message_bytes as u64);
        assert_eq!(need.retention_bytes, 1);
    }
}

//! Where a relay goes on, on a real store: behind what the topic holds, or what was noted.

use crate::changelog::Home;
use crate::changelog::gate::Progress;
use crate::changelog::kafka::KafkaLogError;
use crate::changelog::kafka::chain::{partition, places, resume};
use crate::changelog::kafka::tail::Tail;
use crate::changelog::outbox::Outbox;
use crate::changelog::{LogId, trim::Mark};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::embedded::Embedded;
use crate::store::{Decision, Key, Stamp, Store, Write};
use dataflows::change::Writer;
use std::sync::Arc;

const CHANGES: u32 = 2;

struct Rig {
    _directory: tempfile::TempDir,
    config: Config,
    home: Home,
}

impl Rig {
    fn new() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.data = directory.path().join("data");
        config.store.cache_bytes = 8 << 20;
        Rig { _directory: directory, config, home: Home::Kafka { cluster: None, topic: "t".into(), partitions: CHANGES } }
    }

    fn open(&self) -> Embedded {
        let (config, clock) = (&self.config, Arc::new(Clock::system()));
        Embedded::open_for(&config.store, &config.changelog, self.home.clone(), None, clock).unwrap()
    }
}

async fn write(store: &Embedded, count: usize) {
    for number in 0..count {
        let id: Arc<str> = format!("/db/B/{number}").into();
        let key = Key { app: "app".into(), bucket: "B".into(), id: Arc::clone(&id) };
        let decide = Arc::new(move |_: Option<&_>, stamp: &Stamp| {
            Ok(Decision::Put(format!(r#"{{"id":"{id}","version":{},"at":{}}}"#, stamp.version, stamp.now).into()))
        });
        store.commit(Write { key, decide, actor: crate::store::Actor::server(), writer: Writer::default() }).await.unwrap();
    }
}

/// What the topic holds once the first `count` records are in it.
fn tails(outbox: &Outbox, count: usize) -> Vec<Option<Tail>> {
    let load = outbox.read(Mark::default(), usize::MAX, count).unwrap();
    let (places, _) = places(outbox.log(), &Progress { partitions: vec![0; 3], ..Progress::default() }, &load);
    let mut tails = vec![None; 3];
    for ((partition, place), outgoing) in places.into_iter().zip(&load.records) {
        tails[partition as usize] = Some(Tail { place, text: outgoing.text.to_vec() });
    }
    tails
}

#[tokio::test]
async fn goes_on_behind_what_the_topic_holds_or_what_was_noted() {
    let rig = Rig::new();
    let store = rig.open();
    write(&store, 10).await;
    let outbox = store.outbox().unwrap();
    let empty = resume(&outbox, "t", &[None, None, None]).unwrap();
    assert_eq!(empty, Progress { mark: Mark::default(), partitions: vec![0; 3] });
    let six = resume(&outbox, "t", &tails(&outbox, 6)).unwrap();
    assert_eq!((six.mark.commit, six.mark.records), (6, 6));
    assert_eq!(six.partitions.iter().max(), Some(&6));
    // Sums of bytes are those of reading on.
    assert_eq!(outbox.read(Mark::default(), usize::MAX, 6).unwrap().mark, six.mark);
    outbox.relayed(six.clone(), 1).unwrap();
    // The topic's retention took everything: the note is further.
    assert_eq!(resume(&outbox, "t", &[None, None, None]).unwrap(), six);
    assert_eq!(outbox.waiting().1, 4);
    store.close().await.unwrap();
    drop((outbox, store));
    let store = rig.open();
    assert_eq!(store.outbox().unwrap().progress(), six);
    let nine = resume(&store.outbox().unwrap(), "t", &tails(&store.outbox().unwrap(), 9)).unwrap();
    assert_eq!((nine.mark.commit, nine.mark.records), (9, 9));
}

#[tokio::test]
async fn goes_on_before_the_first_record_that_a_partition_does_not_show() {
    let rig = Rig::new();
    let store = rig.open();
    write(&store, 10).await;
    let outbox = store.outbox().unwrap();
    let full = tails(&outbox, 10);
    let behind = tails(&outbox, 5);
    for hidden in 1..=2 {
        let mut tails = full.clone();
        tails[hidden] = behind[hidden].clone();
        let progress = resume(&outbox, "t", &tails).unwrap();
        let shown = behind[hidden].as_ref().map_or(0, |tail| tail.place.commit);
        assert_eq!(progress.partitions[hidden], shown);
        assert_eq!(progress.partitions.iter().max(), Some(&progress.mark.commit));
        // The next one is of the partition that hides something.
        let load = outbox.read(progress.mark, usize::MAX, 1).unwrap();
        assert_eq!(partition(&load.records[0].about, CHANGES), i32::try_from(hidden).unwrap());
    }
    assert_eq!(resume(&outbox, "t", &full).unwrap().mark.commit, 10);
}

#[tokio::test]
async fn a_topic_that_others_wrote_to_is_refused() {
    let rig = Rig::new();
    let store = rig.open();
    write(&store, 4).await;
    let outbox = store.outbox().unwrap();
    let change = |change: &dyn Fn(&mut Tail)| {
        let mut tails = tails(&outbox, 4);
        let newest = tails.iter_mut().flatten().max_by_key(|tail| tail.place.commit).unwrap();
        change(newest);
        resume(&outbox, "t", &tails)
    };
    assert!(change(&|_| ()).is_ok());
    assert!(matches!(change(&|tail| tail.place.log = LogId(1)), Err(KafkaLogError::Foreign { .. })));
    assert!(matches!(change(&|tail| tail.place.commit = 5), Err(KafkaLogError::Ahead { commit: 5, .. })));
    assert!(matches!(change(&|tail| tail.text.push(b' ')), Err(KafkaLogError::Ahead { commit: 4, .. })));
}

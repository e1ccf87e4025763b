//! The chain of the records in a topic: which comes after which, and where a relay goes on with it.

use super::error::KafkaLogError;
use super::format::{self, Place};
use super::tail::Tail;
use crate::changelog::LogId;
use crate::changelog::gate::Progress;
use crate::changelog::outbox::{Load, Outbox};
use crate::changelog::record::About;
use crate::changelog::trim::Mark;

/// Bytes and records that are looked at at a time.
const STEP: (usize, usize) = (4 << 20, 5_000);

fn partition(about: &About, changes: u32) -> i32 {
    match &about.id {
        Some(id) => format::partition_of(&format::key(&about.app, Some(id)), changes),
        None => format::CONTROL,
    }
}

/// Where the records of a load belong, and how far the relay is with it.
pub(crate) fn places(log: LogId, progress: &Progress, load: &Load) -> (Vec<(i32, Place)>, Progress) {
    let changes = u32::try_from(progress.partitions.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let mut next = Progress { mark: load.mark, partitions: progress.partitions.clone() };
    let mut after = progress.mark.commit;
    let mut places = Vec::with_capacity(load.records.len());
    for about in load.records.iter().map(|outgoing| &outgoing.about) {
        let partition = partition(about, changes);
        let commit = about.commit;
        let last = usize::try_from(partition).ok().and_then(|partition| next.partitions.get_mut(partition));
        let previous = last.map_or(0, |last| std::mem::replace(last, commit));
        places.push((partition, Place { log, commit, after, previous }));
        after = commit;
    }
    (places, next)
}

/// How far the relay is: as the topic tells, or as was noted, whichever is further.
pub(crate) fn resume(outbox: &Outbox, topic: &str, tails: &[Option<Tail>]) -> Result<Progress, KafkaLogError> {
    let mut progress = outbox.progress();
    progress.partitions.resize(tails.len(), 0);
    for (partition, (last, tail)) in progress.partitions.iter_mut().zip(tails).enumerate() {
        let Some(tail) = tail else { continue };
        if tail.place.log != outbox.log() {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            return Err(KafkaLogError::Foreign { topic: topic.to_owned(), partition });
        }
        // What is behind the note is gone through below.
        if tail.place.commit <= progress.mark.commit {
            *last = (*last).max(tail.place.commit);
        }
    }
    let Some(newest) = tails.iter().flatten().max_by_key(|tail| tail.place.commit) else { return Ok(progress) };
    let commit = newest.place.commit;
    let ahead = || KafkaLogError::Ahead { topic: topic.to_owned(), commit };
    match outbox.text(commit)? {
        Some(text) if *text == *newest.text => {}
        Some(_) => return Err(ahead()),
        // It was relayed, and cut from the outbox since.
        None if commit <= progress.mark.commit => {}
        None => return Err(ahead()),
    }
    let changes = u32::try_from(tails.len().saturating_sub(1)).unwrap_or(u32::MAX);
    while progress.mark.commit < commit {
        let load = outbox.read(progress.mark, STEP.0, STEP.1)?;
        if load.records.is_empty() {
            return Err(ahead());
        }
        for outgoing in &load.records {
            let about = &outgoing.about;
            let place = usize::try_from(partition(about, changes)).unwrap_or(0);
            let held = tails.get(place).and_then(Option::as_ref).map_or(0, |tail| tail.place.commit);
            if held < about.commit {
                // Here the topic ends, or one partition does not show all of a transaction: from here on it is sent again.
                return Ok(progress);
            }
            let Mark { bytes, records, .. } = progress.mark;
            progress.mark = Mark { commit: about.commit, at: about.at, bytes: bytes + outgoing.text.len() as u64, records: records + 1 };
            if let Some(last) = progress.partitions.get_mut(place) {
                *last = about.commit;
            }
        }
    }
    Ok(progress)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::changelog::Home;
    use crate::changelog::outbox::Outgoing;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::store::embedded::Embedded;
    use crate::store::{Decision, Key, Store, Write};
    use dataflows::change::Writer;
    use std::sync::Arc;

    const CHANGES: u32 = 2;

    fn outgoing(commit: u64, id: Option<&str>) -> Outgoing {
        let about = About { app: "app".into(), id: id.map(Into::into), commit, at: 0 };
        Outgoing { text: b"{}"[..].into(), about }
    }

    #[test]
    fn each_record_names_the_one_before_it_in_the_log_and_in_its_partition() {
        let progress = Progress { mark: Mark { commit: 7, ..Mark::default() }, partitions: vec![2, 7, 0] };
        let ids = [Some("/db/B/1"), None, Some("/db/B/2"), Some("/db/B/1"), None];
        // Behind a gap in the commit numbers, as after a crash.
        let records = ids.iter().zip([100, 101, 102, 103, 104]).map(|(id, commit)| outgoing(commit, *id)).collect();
        let load = Load { records, mark: Mark { commit: 104, ..Mark::default() } };
        let (places, next) = places(LogId(9), &progress, &load);
        let (mut after, mut last) = (7, progress.partitions.clone());
        for ((partition, place), outgoing) in places.iter().zip(&load.records) {
            let in_partition = &mut last[*partition as usize];
            assert_eq!(*place, Place { log: LogId(9), commit: outgoing.about.commit, after, previous: *in_partition });
            assert_eq!(*partition == format::CONTROL, outgoing.about.id.is_none());
            (after, *in_partition) = (place.commit, place.commit);
        }
        assert_eq!(next, Progress { mark: load.mark, partitions: last });
    }

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
            let decide = Arc::new(move |_: Option<&_>, stamp: &crate::store::Stamp| {
                Ok(Decision::Put(format!(r#"{{"id":"{id}","version":{},"at":{}}}"#, stamp.version, stamp.now).into()))
            });
            store.commit(Write { key, decide, writer: Writer::default() }).await.unwrap();
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
}

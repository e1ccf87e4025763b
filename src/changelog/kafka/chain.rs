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

pub(crate) fn partition(about: &About, changes: u32) -> i32 {
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
    use crate::changelog::outbox::Outgoing;

    fn outgoing(commit: u64, id: Option<&str>) -> Outgoing {
        let about = About { app: "app".into(), id: id.map(Into::into), commit, at: 0, last: commit };
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
}

//! Access lists, rewritten where a mapping has another owner than its bucket's objects were written with.
//!
//! Where a mapping has an owner the class lets in who is logged in, and each object's own list decides. Objects that were
//! stored under another owner, or under none, have other lists, or none. So what the lists say is noted, and where that differs
//! from the mapping, in this order:
//!
//! 1. the class is closed to all but administrators;
//! 2. it is noted that the lists are of two kinds: nothing that the configuration says later makes that undone;
//! 3. records come in, by the mapping as it is now; the objects that are there are rewritten piece by piece, as ordinary writes;
//! 4. it is noted that the lists are as the mapping says;
//! 5. the class is opened.
//!
//! After a crash at any point a start comes to the same again. Who takes a mapping away may open the bucket for others to
//! write, so what was noted about it is forgotten.

use super::apply::{self, Target};
use super::keeper::commit;
use super::lane::Done;
use super::meaning::Moments;
use super::progress::{self, ACCESS};
use super::stream::{Ended, PIECE, Stream};
use crate::config::IngestOptions;
use crate::object::id;
use crate::store::{Intake, IntakeError, Intakes, Note, Piece, Store, StoreError};
use bytes::Bytes;
use dataflows::access::ClassRights;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long to wait before the class is opened, if the store does not.
const RETRY: Duration = Duration::from_secs(2);
/// Notes that are looked at at a time.
const NOTES: usize = 1_000;

/// What is noted about a bucket's access lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lists {
    /// The field that holds whom they let in; none: they let in everybody
    owner: Option<String>,
    /// Set while there are others left
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rewriting: Option<Rest>,
}

/// The objects with other lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rest {
    /// They come behind this id; none: from the beginning
    after: Option<String>,
}

impl Lists {
    fn read(text: &[u8]) -> Result<Lists, StoreError> {
        serde_json::from_slice(text)
            .map_err(|error| StoreError::Broken(format!("what ingest noted of access lists cannot be read: {error}")))
    }

    fn note(&self, name: &Bytes) -> Note {
        // Strings always have a JSON form.
        Note { key: name.clone(), value: Some(serde_json::to_vec(self).unwrap_or_default().into()) }
    }
}

/// What follows from what is noted for a mapping with this owner.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// The lists are as they should be
    Settled,
    /// So they are from now on: nothing that was written before is anybody's but its writer's
    Begin,
    /// Objects behind this id are to be rewritten
    Rewrite { after: Option<String> },
}

fn plan(noted: Option<&Lists>, owner: Option<&str>) -> Plan {
    match noted {
        None if owner.is_none() => Plan::Begin,
        Some(Lists { owner: known, rewriting }) if known.as_deref() == owner => match rewriting {
            None => Plan::Settled,
            Some(rest) => Plan::Rewrite { after: rest.after.clone() },
        },
        _ => Plan::Rewrite { after: None },
    }
}

/// What is left to do when a mapping begins.
pub(crate) struct Rewriting {
    after: Option<String>,
    /// What the class lets whom do at the end
    rights: ClassRights,
}

/// Makes a bucket's class, as open as its objects' lists allow. To be called before anything is written by the mapping.
pub(crate) async fn prepare(
    store: &dyn Store,
    intakes: &dyn Intakes,
    target: &Target,
    rights: ClassRights,
    moments: &Moments,
) -> Result<Option<Rewriting>, StoreError> {
    let name = progress::access(&target.app, &target.bucket);
    let owner = target.owner.as_deref();
    let noted = intakes.notes(&name, None, 1)?.into_iter().find(|(key, _)| *key == name).map(|(_, text)| text);
    let lists = noted.as_ref().map(|text| Lists::read(text)).transpose()?;
    let expect = Note { key: name.clone(), value: noted };
    let settled = Lists { owner: owner.map(str::to_owned), rewriting: None };
    let one = Piece { objects: 1, ..PIECE };
    let after = match plan(lists.as_ref(), owner) {
        Plan::Settled => None,
        Plan::Begin => Some(None),
        Plan::Rewrite { after: None } if intakes.objects(&target.app, &target.bucket, None, one)?.is_empty() => Some(None),
        Plan::Rewrite { after } => Some(Some(after)),
    };
    match after {
        None => {}
        Some(None) => note(intakes, expect, settled.note(&name)).await?,
        Some(Some(after)) => {
            super::classes::ensure(store, target, Some(&super::classes::closed()), moments).await?;
            note(intakes, expect, Lists { rewriting: Some(Rest { after: after.clone() }), ..settled }.note(&name)).await?;
            return Ok(Some(Rewriting { after, rights }));
        }
    }
    super::classes::ensure(store, target, Some(&rights), moments).await?;
    Ok(None)
}

/// Forgets what was noted of buckets that no mapping fills any more: whoever writes them then gives his own lists.
pub async fn forget_unmapped(intakes: &dyn Intakes, app: &str, mappings: &[IngestOptions]) -> Result<(), StoreError> {
    let mapped: BTreeSet<Bytes> = mappings.iter().map(|mapping| progress::access(app, &mapping.bucket)).collect();
    let mut after: Option<Bytes> = None;
    loop {
        let notes = intakes.notes(ACCESS.as_bytes(), after.as_deref(), NOTES)?;
        let Some((last, _)) = notes.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, value) in notes.into_iter().filter(|(key, _)| !mapped.contains(key)) {
            note(intakes, Note { key: key.clone(), value: Some(value) }, Note { key, value: None }).await?;
        }
    }
}

async fn note(intakes: &dyn Intakes, expect: Note, note: Note) -> Result<(), StoreError> {
    match intakes.commit_intake(Intake { expect, writes: Vec::new(), notes: vec![note] }).await {
        Ok(_) => Ok(()),
        Err(IntakeError::Store(error)) => Err(error),
        // Nobody else takes in before this has begun, and nothing is written that could be refused.
        Err(error) => Err(StoreError::Broken(error.to_string())),
    }
}

/// Rewrites the lists that are left and opens the class. Blocks.
pub(crate) fn rewrite(stream: &Stream, rewriting: Rewriting) -> Result<(), Ended> {
    let target = &stream.target;
    let name = progress::access(&target.app, &target.bucket);
    let settled = Lists { owner: target.owner.as_deref().map(str::to_owned), rewriting: None };
    let (mut after, mut piece) = (rewriting.after, PIECE);
    loop {
        let objects = stream.patiently(|| stream.intakes.objects(&target.app, &target.bucket, after.as_deref(), piece))?;
        let Some(objects) = objects else { continue };
        let Some((last, _)) = objects.last() else { break };
        let last = Some(last.to_string());
        let writes: Vec<_> =
            objects.into_iter().map(|(id, _)| apply::list_anew(target, id::key(&target.app, &target.bucket, id))).collect();
        let lists = Lists { rewriting: Some(Rest { after: last.clone() }), ..settled.clone() };
        match commit(stream, &name, &writes, &[lists.note(&name)])? {
            Done::All => (after, piece) = (last, PIECE),
            // They grew in between.
            Done::None { fits } => piece.objects = fits,
        }
    }
    commit(stream, &name, &[], &[settled.note(&name)])?;
    let none = Moments::new();
    loop {
        let opened = {
            let mut opening: BoxFuture<'_, _> = Box::pin(super::classes::ensure(&*stream.store, target, Some(&rewriting.rights), &none));
            stream.stop.wait(&mut opening).ok_or(Ended::Stopped)?
        };
        match opened {
            Ok(()) => break,
            Err(error) => {
                stream.trouble(format!("the bucket stays with administrators until its class can be opened: {error}; it is tried again"));
                stream.stop.pause(RETRY);
            }
        }
    }
    stream.lists_settled();
    tracing::info!(topic = stream.topic, bucket = &*target.bucket, "the objects' access lists are as the mapping says; the class is open");
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_rewritten_until_they_are_of_this_owner() {
        let lists = |owner: Option<&str>, rewriting: Option<Option<&str>>| Lists {
            owner: owner.map(str::to_owned),
            rewriting: rewriting.map(|after| Rest { after: after.map(str::to_owned) }),
        };
        let from = |after: Option<&str>| Plan::Rewrite { after: after.map(str::to_owned) };
        // Lists that nobody knows are not widened.
        assert_eq!(plan(None, None), Plan::Begin);
        assert_eq!(plan(None, Some("a")), from(None));
        assert_eq!(plan(Some(&lists(None, None)), None), Plan::Settled);
        assert_eq!(plan(Some(&lists(None, None)), Some("a")), from(None));
        assert_eq!(plan(Some(&lists(Some("a"), None)), Some("a")), Plan::Settled);
        assert_eq!(plan(Some(&lists(Some("a"), None)), Some("b")), from(None));
        assert_eq!(plan(Some(&lists(Some("a"), None)), None), from(None));
        // In the middle of it: on, or for the other owner from the beginning, also for the one before.
        let middle = lists(Some("b"), Some(Some("/db/B/7")));
        assert_eq!(plan(Some(&middle), Some("b")), from(Some("/db/B/7")));
        assert_eq!(plan(Some(&middle), Some("a")), from(None));
        assert_eq!(plan(Some(&lists(Some("b"), Some(None))), Some("b")), from(None));
        let name = progress::access("app", "B");
        for lists in [middle, lists(None, None), lists(Some("b"), Some(None))] {
            assert_eq!(Lists::read(&lists.note(&name).value.unwrap()).unwrap(), lists);
        }
    }
}

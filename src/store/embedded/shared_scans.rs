//! Selections of one bucket in one published state share a scan.
//!
//! A scan costs as much as the bucket is large, whatever is selected: when thousands of subscribers come at once (after a restart,
//! say), a scan for each would take minutes. Selections that come while all scanners are busy wait
//! together, and the next scanner serves all that wait for the same bucket of the same state.

use super::indexes::answer::fits;
use super::indexes::collect::Collector;
use super::snapshot::EmbeddedSnapshot;
use crate::store::{Selection, StoreError};
use dataflows::change::{CommitNumber, Image};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Selections that one scan serves at most: their results are in memory together.
const TOGETHER: usize = 256;

type Found = Result<Vec<Arc<Image>>, StoreError>;

/// A bucket of a state. States with the same commit number and the same schemas are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    commit: CommitNumber,
    schemas: usize,
    app: Arc<str>,
    bucket: Arc<str>,
}

/// Who waits for which scan.
#[derive(Default)]
pub(super) struct SharedScans {
    waiting: Mutex<HashMap<Place, Vec<Wanted>>>,
}

/// A selection, what was found of it, and who is told.
pub(super) struct Wanted {
    selection: Selection,
    found: Result<Collector, StoreError>,
    /// No more objects are wanted
    full: bool,
    tell: oneshot::Sender<Found>,
}

impl Wanted {
    /// Takes an object if it belongs here; whether more are wanted.
    fn see(&mut self, id: &[u8], image: &Arc<Image>) -> bool {
        let Ok(found) = &mut self.found else { return false };
        if self.full {
            return false;
        }
        // Whoever shares a scan does not share its failures (invariant 9).
        match catch_unwind(AssertUnwindSafe(|| fits(&self.selection, image))) {
            Ok(true) => {}
            Ok(false) => return true,
            Err(_) => {
                self.found = Err(StoreError::Panicked("the query failed on an object".to_owned()));
                return false;
            }
        }
        match found.push(id, image) {
            Ok(more) => self.full = !more,
            Err(error) => self.found = Err(error),
        }
        !self.full && self.found.is_ok()
    }
}

impl SharedScans {
    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Vec<Wanted>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The objects that match, from this snapshot.
    pub(super) fn select(snapshot: &EmbeddedSnapshot, selection: Selection) -> BoxFuture<'static, Found> {
        let place = Place {
            commit: snapshot.noted.commit,
            schemas: Arc::as_ptr(&snapshot.schemas) as usize,
            app: selection.app.clone(),
            bucket: selection.bucket.clone(),
        };
        let snapshot = snapshot.clone();
        Box::pin(async move {
            let (tell, told) = oneshot::channel();
            let calls = {
                let mut waiting = snapshot.reading.shared.lock();
                let group = waiting.entry(place.clone()).or_default();
                let found = Ok(Collector::new(&selection));
                group.push(Wanted { selection, found, full: false, tell });
                // Whoever makes a group larger than the scans that were called serve calls for another.
                group.len() % TOGETHER == 1
            };
            if calls {
                tokio::spawn(scan(snapshot, place));
            }
            told.await.unwrap_or_else(|_| Err(StoreError::Panicked("the scan of the bucket ended early".to_owned())))
        })
    }

    /// Takes up to [`TOGETHER`] of those who wait.
    fn take(&self, place: &Place) -> Vec<Wanted> {
        let mut waiting = self.lock();
        let Some(group) = waiting.get_mut(place) else { return Vec::new() };
        let taken = group.drain(..group.len().min(TOGETHER)).collect();
        if group.is_empty() {
            waiting.remove(place);
        }
        taken
    }
}

/// Waits for its turn, then serves those who wait by then; where there is no turn any more, tells them so.
async fn scan(snapshot: EmbeddedSnapshot, place: Place) {
    let (reading, waiting) = (snapshot.reading.clone(), place.clone());
    let served = snapshot.scanning(move |snapshot| Ok(serve(&snapshot, &place)));
    drop(snapshot);
    let outcomes = match served.await {
        Ok(outcomes) => outcomes,
        Err(error) => reading.shared.take(&waiting).into_iter().map(|wanted| (wanted.tell, Err(error.clone()))).collect(),
    };
    // Whoever has his answer may close the store, and then nothing of it is in use here.
    drop(reading);
    for (tell, found) in outcomes {
        // Whoever does not wait any more has ended.
        let _ = tell.send(found);
    }
}

/// One scan for all that wait; what each of them is told. Blocks.
fn serve(snapshot: &EmbeddedSnapshot, place: &Place) -> Vec<(oneshot::Sender<Found>, Found)> {
    let mut group = snapshot.reading.shared.take(place);
    // Nobody waits any more for those whose subscribers have gone meanwhile.
    group.retain(|wanted| !wanted.tell.is_closed());
    if group.is_empty() {
        return Vec::new();
    }
    let mut examined = 0;
    let scanned = snapshot.scan(&place.app, &place.bucket, |id, image| {
        examined += 1;
        let wanted = group.iter_mut().fold(false, |more, wanted| wanted.see(id, &image) | more);
        if wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let outcomes: Vec<(oneshot::Sender<Found>, Found)> = group
        .into_iter()
        .map(|wanted| match (&scanned, wanted.found) {
            (Err(error), Ok(_)) => (wanted.tell, Err(error.clone())),
            (_, found) => (wanted.tell, found.map(Collector::finish)),
        })
        .collect();
    let returned = outcomes.iter().filter_map(|(_, found)| found.as_ref().ok()).map(|found| found.len() as u64).sum();
    snapshot.reading.counters.scanned(examined, returned);
    outcomes
}

//! Chooses a way to answer a query by counting, and goes it.
//!
//! Every way that narrows is followed up to a few entries, then to more, until one of them comes to its end: that is the
//! one with the fewest objects to look at, and what was counted are their ids already. Reading an entry costs a small part of
//! reading an object. An order that an index has is worth it where few objects are wanted; how many have to be looked at for
//! them is estimated from the first ones. Where nothing is better, the bucket is scanned.

use super::catalogue::{Index, OfBucket};
use super::collect::Collector;
use super::entries;
use super::plan::{self, Narrow, Ordered};
use crate::store::embedded::snapshot::{EmbeddedSnapshot, broken, parse};
use crate::store::embedded::statistics::Counters;
use crate::store::embedded::{keys, schemas};
use crate::store::{PlanReport, QueryReport, Selection, StoreError};
use dataflows::change::Image;
use fjall::Readable;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// How far ways are followed at first, and by how much further each time.
const FIRST: usize = 64;
const FURTHER: usize = 8;
/// Ids that are gathered for one query at most.
const MOST: usize = 1 << 18;
/// Objects that are looked at to estimate how many match.
const SAMPLE: u64 = 64;
/// What looking an object up costs, in objects that a scan passes by.
const LOOK_UP: u64 = 4;

/// Keys of objects without what those of the bucket have in common, in order and none twice.
type Ids = Vec<Box<[u8]>>;

/// The way that was chosen.
enum Chosen {
    Gathered(Ids),
    Ordered(Ordered),
    Scan,
}

/// A query while it is answered. Blocks.
struct Query<'q> {
    snapshot: &'q EmbeddedSnapshot,
    selection: &'q Selection,
    /// Those that hold every object
    indexes: OfBucket,
    /// Objects looked at
    examined: Cell<u64>,
}

/// What was decided, for people.
struct Considered {
    plan: PlanReport,
    others: Vec<PlanReport>,
}

impl EmbeddedSnapshot {
    /// Whether there may be a better way than a scan.
    pub(in crate::store::embedded) fn may_narrow(&self, selection: &Selection) -> bool {
        !Query::new(self, selection).indexes.is_empty() || !plan::narrows(&[], &selection.predicate).is_empty()
    }

    /// The answer; none: a scan is the best way. Blocks.
    pub(in crate::store::embedded) fn answer(&self, selection: &Selection) -> Result<Option<Vec<Arc<Image>>>, StoreError> {
        let query = Query::new(self, selection);
        let (chosen, _) = query.choose(true)?;
        let mut collector = Collector::new(selection);
        match chosen {
            Chosen::Scan => return Ok(None),
            chosen => query.go(&chosen, &mut |id, image| collector.push(id, image), |_| false)?,
        }
        Ok(Some(query.finish(collector)))
    }

    /// How many match; none: a scan is the best way. Blocks.
    pub(in crate::store::embedded) fn counted(&self, selection: &Selection) -> Result<Option<u64>, StoreError> {
        let query = Query::new(self, selection);
        let (chosen, _) = query.choose(false)?;
        if matches!(chosen, Chosen::Scan) {
            return Ok(None);
        }
        let mut count = 0;
        query.go(
            &chosen,
            &mut |_, _| {
                count += 1;
                Ok(true)
            },
            |_| false,
        )?;
        query.count(count);
        Ok(Some(count))
    }

    /// Answers and tells how. Blocks.
    pub(in crate::store::embedded) fn explained(&self, selection: &Selection) -> Result<QueryReport, StoreError> {
        let began = Instant::now();
        let query = Query::new(self, selection);
        let (chosen, considered) = query.choose(true)?;
        let mut collector = Collector::new(selection);
        query.go(&chosen, &mut |id, image| collector.push(id, image), |_| false)?;
        let found = query.finish(collector);
        Ok(QueryReport {
            plan: considered.plan,
            alternatives: considered.others,
            rows_examined: query.examined.get(),
            rows_returned: found.len() as u64,
            micros: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        })
    }
}

impl<'q> Query<'q> {
    fn new(snapshot: &'q EmbeddedSnapshot, selection: &'q Selection) -> Query<'q> {
        let mut indexes = snapshot.indexes.of(&selection.app, &selection.bucket);
        indexes.retain(|index| index.is_ready());
        Query { snapshot, selection, indexes, examined: Cell::new(0) }
    }

    fn finish(&self, collector: Collector) -> Vec<Arc<Image>> {
        let found = collector.finish();
        self.count(found.len() as u64);
        found
    }

    fn count(&self, returned: u64) {
        let counters = &self.snapshot.reading.counters;
        Counters::add(&counters.planned, 1);
        Counters::add(&counters.examined, self.examined.get());
        Counters::add(&counters.returned, returned);
    }

    /// About how many objects the bucket has: an index has at least one entry for each.
    fn size(&self) -> Option<u64> {
        self.indexes.iter().filter_map(|index| index.size()).min()
    }

    /// `windowed`: only as many as are needed, in the order of the answer; otherwise all.
    fn choose(&self, windowed: bool) -> Result<(Chosen, Considered), StoreError> {
        let size = self.size();
        let most = size.map_or(MOST, |size| usize::try_from(size / LOOK_UP).unwrap_or(MOST).min(MOST)).max(FIRST);
        let narrows = plan::narrows(&self.indexes, &self.selection.predicate);
        let collector = Collector::new(self.selection);
        let needed = collector.needed().filter(|_| windowed);
        let ordered = match needed {
            Some(_) if !self.selection.sort.is_empty() => plan::ordered(&self.indexes, &self.selection.predicate, &self.selection.sort),
            _ => Vec::new(),
        };
        let mut reports: Vec<PlanReport> = narrows.iter().map(Narrow::report).collect();
        let mut estimated: Option<(Option<usize>, u64)> = None;
        let mut cap = FIRST;
        if narrows.is_empty() && ordered.is_empty() {
            return Ok((Chosen::Scan, Considered { plan: scan_report(size), others: reports }));
        }
        loop {
            let mut best: Option<(usize, Ids)> = None;
            for (place, narrow) in narrows.iter().enumerate() {
                let report = reports.get_mut(place);
                match self.gather(narrow, cap)? {
                    Some(ids) => {
                        if let Some(report) = report {
                            (report.rows, report.rows_at_least) = (Some(ids.len() as u64), None);
                        }
                        if best.as_ref().is_none_or(|(_, best)| ids.len() < best.len()) {
                            best = Some((place, ids));
                        }
                    }
                    None => report.into_iter().for_each(|report| report.rows_at_least = Some(cap as u64 + 1)),
                }
            }
            if let Some((place, ids)) = best {
                let plan = reports.remove(place);
                reports.extend(ordered.iter().map(Ordered::report));
                reports.push(scan_report(size));
                return Ok((Chosen::Gathered(ids), Considered { plan, others: reports }));
            }
            // Nothing that narrows is small: the order may help, or a scan that ends early.
            if let (Some(needed), None) = (needed, estimated) {
                estimated = self.estimate(&ordered, needed, collector.is_by_id())?;
            }
            let enough = estimated.is_some_and(|(_, rows)| rows <= cap as u64);
            if enough || narrows.is_empty() || cap >= most {
                break;
            }
            cap = cap.saturating_mul(FURTHER).min(most);
        }
        let mut ordered_reports: Vec<_> = ordered.iter().map(Ordered::report).collect();
        let worth = |rows: u64| size.is_none_or(|size| rows.saturating_mul(LOOK_UP) <= size) || rows <= FIRST as u64;
        if let Some((Some(place), rows)) = estimated
            && worth(rows)
            && let Some(way) = ordered.get(place)
        {
            let mut plan = ordered_reports.remove(place);
            plan.rows = Some(rows);
            reports.extend(ordered_reports);
            reports.push(scan_report(size));
            return Ok((Chosen::Ordered(way.clone()), Considered { plan, others: reports }));
        }
        reports.extend(ordered_reports);
        Ok((Chosen::Scan, Considered { plan: scan_report(size), others: reports }))
    }

    /// The ids of all objects in which those that match are; none where they are more than `cap`.
    fn gather(&self, narrow: &Narrow, cap: usize) -> Result<Option<Ids>, StoreError> {
        if narrow.ids.len() > cap.max(ids_worth_naming()) {
            return Ok(None);
        }
        let mut ids: Ids = narrow.ids.iter().map(|id| id.as_bytes().into()).collect();
        let cap = cap.max(ids.len());
        for (index, ranges) in &narrow.spans {
            for range in ranges {
                for entry in self.snapshot.state.range(&self.snapshot.reading.indexes, &range.from[..]..&range.until[..]) {
                    let (key, value) = entry.into_inner().map_err(|error| broken(&error))?;
                    ids.push(id_of(index, &key, &value)?.into());
                    if ids.len() > cap {
                        ids.sort_unstable();
                        ids.dedup();
                        if ids.len() > cap {
                            return Ok(None);
                        }
                    }
                }
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(ids))
    }

    /// Which order is best, none for that of a scan, and how many objects would have to be looked at for those that are needed.
    fn estimate(&self, ordered: &[Ordered], needed: usize, by_id: bool) -> Result<Option<(Option<usize>, u64)>, StoreError> {
        let mut best: Option<(Option<usize>, u64)> = None;
        let ways = ordered.iter().enumerate().map(|(place, way)| (Some(place), Chosen::Ordered(way.clone())));
        for (place, way) in ways.chain(by_id.then_some((None, Chosen::Scan))) {
            let (mut matched, start) = (0u64, self.examined.get());
            let mut see = |_: &[u8], _: &Arc<Image>| {
                matched += 1;
                Ok(true)
            };
            self.go(&way, &mut see, |examined| examined - start >= SAMPLE)?;
            let seen = self.examined.get() - start;
            let rows = match (seen < SAMPLE, matched) {
                (true, _) => seen,
                (false, 0) => u64::MAX,
                (false, matched) => (needed as u64).saturating_mul(seen) / matched,
            };
            if best.as_ref().is_none_or(|(_, least)| rows < *least) {
                best = Some((place, rows));
            }
        }
        Ok(best)
    }

    /// Shows each object that matches and that the caller may read, until `show` or `stop` has had enough.
    fn go(
        &self,
        way: &Chosen,
        show: &mut dyn FnMut(&[u8], &Arc<Image>) -> Result<bool, StoreError>,
        stop: impl Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        match way {
            Chosen::Gathered(ids) => {
                for id in ids {
                    if let Some(image) = self.look_up(id)?
                        && !show(id, &image)?
                    {
                        break;
                    }
                }
                Ok(())
            }
            Chosen::Ordered(way) => self.in_order(way, show, stop),
            Chosen::Scan => {
                let mut failed = Ok(());
                self.snapshot.scan(&self.selection.app, &self.selection.bucket, |id, image| {
                    self.examined.set(self.examined.get() + 1);
                    if self.fits(&image) {
                        match show(id, &image) {
                            Ok(true) => {}
                            Ok(false) => return ControlFlow::Break(()),
                            Err(error) => {
                                failed = Err(error);
                                return ControlFlow::Break(());
                            }
                        }
                    }
                    if stop(self.examined.get()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
                failed
            }
        }
    }

    /// Along an index. With as many as are needed it ends where the next ones are behind all of them in the order.
    fn in_order(
        &self,
        way: &Ordered,
        show: &mut dyn FnMut(&[u8], &Arc<Image>) -> Result<bool, StoreError>,
        stop: impl Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        let needed = Collector::new(self.selection).needed().unwrap_or(usize::MAX);
        let (mut shown, mut group) = (0, Vec::new());
        let entries = |range: &super::ranges::Range| {
            let entries = self.snapshot.state.range(&self.snapshot.reading.indexes, &range.from[..]..&range.until[..]);
            if way.backward { Box::new(entries.rev()) as Box<dyn Iterator<Item = fjall::Guard>> } else { Box::new(entries) }
        };
        let ranges: Box<dyn Iterator<Item = _>> =
            if way.backward { Box::new(way.ranges.iter().rev()) } else { Box::new(way.ranges.iter()) };
        for range in ranges {
            for entry in entries(range) {
                let (key, value) = entry.into_inner().map_err(|error| broken(&error))?;
                let leading = entries::leading(&way.index, &key, &value, way.components).ok_or_else(unreadable)?;
                if leading != &group[..] {
                    if shown >= needed {
                        return Ok(());
                    }
                    group = leading.to_vec();
                }
                let id = id_of(&way.index, &key, &value)?;
                if let Some(image) = self.look_up(id)? {
                    shown += 1;
                    if !show(id, &image)? {
                        return Ok(());
                    }
                }
                if stop(self.examined.get()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// An object, if it matches and the caller may read it.
    fn look_up(&self, id: &[u8]) -> Result<Option<Arc<Image>>, StoreError> {
        let (app, bucket) = (&self.selection.app, &self.selection.bucket);
        let mut key = keys::bucket(app, bucket);
        key.extend_from_slice(id);
        let Some(text) = self.snapshot.state.get(&self.snapshot.reading.objects, key).map_err(|error| broken(&error))? else {
            return Ok(None);
        };
        self.examined.set(self.examined.get() + 1);
        let image = parse(&text, schemas::of(&self.snapshot.schemas, app).dates(bucket))?;
        Ok(self.fits(&image).then_some(image))
    }

    fn fits(&self, image: &Image) -> bool {
        fits(self.selection, image)
    }
}

/// Whether an object belongs to a selection.
pub(in crate::store::embedded) fn fits(selection: &Selection, image: &Image) -> bool {
    image.acl.read.permits(&selection.caller) && selection.predicate.matches(&image.document)
}

/// Ids are looked up one by one however many there are: queries that name them are bounded by their size.
fn ids_worth_naming() -> usize {
    super::ranges::MOST
}

fn scan_report(size: Option<u64>) -> PlanReport {
    PlanReport { kind: "scan", indexes: Vec::new(), ranges: 1, rows: size, rows_at_least: None }
}

fn id_of<'e>(index: &Index, key: &'e [u8], value: &[u8]) -> Result<&'e [u8], StoreError> {
    entries::id(index, key, value).ok_or_else(unreadable)
}

fn unreadable() -> StoreError {
    StoreError::Broken("an entry of an index cannot be read".into())
}

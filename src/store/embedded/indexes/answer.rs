//! Chooses a way to answer a query by counting, and goes it.
//!
//! Every way that narrows is followed up to a few entries, then to more, until one of them comes to its end: that is the
//! one with the fewest objects to look at, and what was counted are their ids already. Reading an entry costs a small part of
//! reading an object. An order that an index has is worth it where few objects are wanted; how many have to be looked at for
//! them is estimated from the first ones. Where nothing is better, the bucket is scanned.

use super::catalogue::{Index, OfBucket};
use super::collect::Collector;
use super::entries;
use super::nearest::{self, Outwards};
use super::plan::{self, Narrow, Ordered};
use super::primary::{self, Span};
use super::ranges;
use crate::store::embedded::snapshot::{EmbeddedSnapshot, broken, parse};
use crate::store::embedded::statistics::Counters;
use crate::store::embedded::{keys, schemas};
use crate::store::{KeyOrder, PlanReport, QueryReport, Selection, StoreError};
use dataflows::change::Image;
use fjall::Readable;
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

/// How far ways are followed at first, and by how much further each time.
const FIRST: usize = 64;
const FURTHER: usize = 8;
/// Ids that are gathered for one query at most.
pub(super) const MOST: usize = 1 << 18;
/// Objects that are looked at to estimate how many match.
const SAMPLE: u64 = 64;
/// What looking an object up costs, in objects that a scan passes by.
pub(super) const LOOK_UP: u64 = 4;

/// Keys of objects without what those of the bucket have in common, in order and none twice.
type Ids = Vec<Box<[u8]>>;

/// The way that was chosen.
enum Chosen {
    Gathered(Ids),
    Ordered(Ordered),
    Outwards(Outwards),
    /// The piece of the bucket that the ids are in
    Scan {
        /// From its end
        backward: bool,
    },
}

/// A query while it is answered. Blocks.
pub(super) struct Query<'q> {
    pub(super) snapshot: &'q EmbeddedSnapshot,
    pub(super) selection: &'q Selection,
    /// Those that hold every object
    indexes: OfBucket,
    /// In which all objects that match are
    piece: Span,
    /// Objects looked at
    pub(super) examined: Cell<u64>,
}

/// What was decided, for people.
struct Considered {
    plan: PlanReport,
    others: Vec<PlanReport>,
}

impl EmbeddedSnapshot {
    /// Whether there may be a better way than a scan of the bucket. Cheap: it is asked on async threads.
    pub(in crate::store::embedded) fn may_narrow(&self, selection: &Selection) -> bool {
        !self.indexes.of(&selection.app, &selection.bucket).is_empty()
            || primary::speaks_of_ids(&selection.predicate)
            || primary::is_backward(selection, Collector::new(selection).needed())
    }

    /// Whether a scan for it goes through the whole bucket from its beginning, as those that are shared.
    pub(in crate::store::embedded) fn is_whole(&self, selection: &Selection) -> bool {
        Query::new(self, selection).piece.is_all() && !primary::is_backward(selection, Collector::new(selection).needed())
    }

    /// The answer by a scan of the piece of the bucket in which all that match are. Blocks.
    pub(in crate::store::embedded) fn scanned(&self, selection: &Selection) -> Result<Vec<Arc<Image>>, StoreError> {
        let query = Query::new(self, selection);
        let mut collector = Collector::new(selection);
        let backward = primary::is_backward(selection, collector.needed());
        query.go(&Chosen::Scan { backward }, &mut |id, image| collector.push(id, image), &|_| false)?;
        Ok(query.finish(collector))
    }

    /// How many match, by such a scan, or by one of the whole bucket. Blocks.
    pub(in crate::store::embedded) fn scanned_count(&self, selection: &Selection) -> Result<u64, StoreError> {
        let query = Query::new(self, selection);
        let mut count = 0;
        let mut see = |_: &[u8], _: &Arc<Image>| {
            count += 1;
            Ok(true)
        };
        query.go(&Chosen::Scan { backward: false }, &mut see, &|_| false)?;
        if query.piece.is_all() {
            self.reading.counters.scanned(query.examined.get(), count);
        } else {
            query.count(count);
        }
        Ok(count)
    }

    /// The answer; none: a scan is the best way. Blocks.
    pub(in crate::store::embedded) fn answer(&self, selection: &Selection) -> Result<Option<Vec<Arc<Image>>>, StoreError> {
        let query = Query::new(self, selection);
        let (chosen, _) = query.choose(true)?;
        let mut collector = Collector::new(selection);
        match chosen {
            Chosen::Scan { .. } => return Ok(None),
            chosen => query.go(&chosen, &mut |id, image| collector.push(id, image), &|_| false)?,
        }
        Ok(Some(query.finish(collector)))
    }

    /// How many match; none: a scan is the best way. Blocks.
    pub(in crate::store::embedded) fn counted(&self, selection: &Selection) -> Result<Option<u64>, StoreError> {
        let query = Query::new(self, selection);
        let (chosen, _) = query.choose(false)?;
        if matches!(chosen, Chosen::Scan { .. }) {
            return Ok(None);
        }
        let mut count = 0;
        query.go(
            &chosen,
            &mut |_, _| {
                count += 1;
                Ok(true)
            },
            &|_| false,
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
        query.go(&chosen, &mut |id, image| collector.push(id, image), &|_| false)?;
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
        let mut parts = Vec::new();
        ranges::conjuncts(&selection.predicate, &mut parts);
        Query { snapshot, selection, indexes, piece: Span::of(&parts), examined: Cell::new(0) }
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
    pub(super) fn size(&self) -> Option<u64> {
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
        let outwards = match needed {
            Some(_) if collector.is_by_distance() => nearest::outwards(&self.indexes, &self.selection.predicate),
            _ => Vec::new(),
        };
        let backward = windowed && primary::is_backward(self.selection, needed);
        let scan = || (Chosen::Scan { backward }, self.scan_report(size, backward));
        let mut reports: Vec<PlanReport> = narrows.iter().map(Narrow::report).collect();
        let in_order: Vec<Chosen> = outwards.into_iter().map(Chosen::Outwards).chain(ordered.into_iter().map(Chosen::Ordered)).collect();
        let mut ordered_reports: Vec<PlanReport> = in_order.iter().filter_map(Chosen::report).collect();
        if in_order.is_empty() && (narrows.is_empty() || (narrows.len() == 1 && !self.piece.is_all())) {
            let (chosen, plan) = scan();
            return Ok((chosen, Considered { plan, others: Vec::new() }));
        }
        // What else there is goes along the same points, all of them at once.
        if let [Chosen::Outwards(way)] = &in_order[..]
            && narrows.iter().all(|narrow| narrow.is_along(&way.index))
        {
            reports.push(self.scan_report(size, backward));
            return Ok((Chosen::Outwards(way.clone()), Considered { plan: ordered_reports.remove(0), others: reports }));
        }
        let mut estimated: Option<(Option<usize>, u64)> = None;
        let mut cap = FIRST;
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
                reports.extend(ordered_reports);
                reports.push(self.scan_report(size, backward));
                return Ok((Chosen::Gathered(ids), Considered { plan, others: reports }));
            }
            // Nothing that narrows is small: the order may help, or a scan that ends early.
            if let (Some(needed), None) = (needed, estimated) {
                let by_id = (collector.is_by_id() || backward).then_some(backward);
                estimated = self.estimate(&in_order, needed, by_id)?;
            }
            let enough = estimated.is_some_and(|(_, rows)| rows <= cap as u64);
            if enough || narrows.is_empty() || cap >= most {
                break;
            }
            cap = cap.saturating_mul(FURTHER).min(most);
        }
        let worth = |rows: u64| size.is_none_or(|size| rows.saturating_mul(LOOK_UP) <= size) || rows <= FIRST as u64;
        if let Some((Some(place), rows)) = estimated
            && worth(rows)
            && let Some(way) = in_order.into_iter().nth(place)
        {
            let mut plan = ordered_reports.remove(place);
            plan.rows = Some(rows);
            reports.extend(ordered_reports);
            reports.push(self.scan_report(size, backward));
            return Ok((way, Considered { plan, others: reports }));
        }
        reports.extend(ordered_reports);
        let (chosen, plan) = scan();
        Ok((chosen, Considered { plan, others: reports }))
    }

    /// The ids of all objects in which those that match are; none where they are more than `cap`.
    fn gather(&self, narrow: &Narrow, cap: usize) -> Result<Option<Ids>, StoreError> {
        if narrow.ids.len() > cap.max(ids_worth_naming()) {
            return Ok(None);
        }
        let mut ids: Ids = narrow.ids.iter().map(|id| id.as_bytes().into()).collect();
        let cap = cap.max(ids.len());
        /// Whether there are no more than may be.
        fn add(ids: &mut Ids, id: &[u8], cap: usize) -> bool {
            ids.push(id.into());
            if ids.len() > cap {
                ids.sort_unstable();
                ids.dedup();
            }
            ids.len() <= cap
        }
        let bucket = keys::bucket(&self.selection.app, &self.selection.bucket).len();
        for piece in &narrow.pieces {
            for entry in self.in_piece(piece) {
                let key = entry.key().map_err(|error| broken(&error))?;
                if !add(&mut ids, key.get(bucket..).unwrap_or_default(), cap) {
                    return Ok(None);
                }
            }
        }
        for (index, ranges) in &narrow.spans {
            for range in ranges {
                for entry in self.snapshot.state.range(&self.snapshot.reading.indexes, &range.from[..]..&range.until[..]) {
                    let (key, value) = entry.into_inner().map_err(|error| broken(&error))?;
                    if !add(&mut ids, id_of(index, &key, &value)?, cap) {
                        return Ok(None);
                    }
                }
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(ids))
    }

    /// Which order is best, none for that of a scan, and how many objects would have to be looked at for those that are needed.
    /// `by_id`: a scan has the order too, and whether from its end.
    fn estimate(&self, in_order: &[Chosen], needed: usize, by_id: Option<bool>) -> Result<Option<(Option<usize>, u64)>, StoreError> {
        let mut best: Option<(Option<usize>, u64)> = None;
        let scan = by_id.map(|backward| Chosen::Scan { backward });
        let ways = in_order.iter().enumerate().map(|(place, way)| (Some(place), way));
        for (place, way) in ways.chain(scan.as_ref().map(|scan| (None, scan))) {
            let (mut matched, start) = (0u64, self.examined.get());
            let mut see = |_: &[u8], _: &Arc<Image>| {
                matched += 1;
                Ok(true)
            };
            self.go(way, &mut see, &|examined| examined - start >= SAMPLE)?;
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
        stop: &dyn Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        let needed = Collector::new(self.selection).needed();
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
            Chosen::Ordered(way) => self.in_order(way, needed.unwrap_or(usize::MAX), show, stop),
            Chosen::Outwards(way) => self.go_outwards(way, needed.unwrap_or(usize::MAX), show, stop),
            Chosen::Scan { backward: false } => self.in_span(false, show, stop),
            Chosen::Scan { backward: true } => {
                let Some(mut further) = needed.unwrap_or(usize::MAX).checked_sub(1) else { return Ok(()) };
                let mut show = |id: &[u8], image: &Arc<Image>| {
                    let more = further > 0;
                    further = further.saturating_sub(1);
                    Ok(show(id, image)? && more)
                };
                self.in_span(true, &mut show, stop)
            }
        }
    }

    /// The objects of a piece of the bucket, in the order of ids.
    fn in_piece(&self, piece: &Span) -> fjall::Iter {
        let (from, until) = piece.keys(&self.selection.app, &self.selection.bucket);
        self.snapshot.state.range(&self.snapshot.reading.objects, from..until)
    }

    /// Through the piece of the bucket in which all that match are.
    pub(super) fn in_span(
        &self,
        backward: bool,
        show: &mut dyn FnMut(&[u8], &Arc<Image>) -> Result<bool, StoreError>,
        stop: &dyn Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        let (app, bucket) = (&self.selection.app, &self.selection.bucket);
        let dates = schemas::of(&self.snapshot.schemas, app).dates(bucket);
        let prefix = keys::bucket(app, bucket).len();
        let entries = self.in_piece(&self.piece);
        let entries: Box<dyn Iterator<Item = fjall::Guard>> = if backward { Box::new(entries.rev()) } else { Box::new(entries) };
        for entry in entries {
            let (key, text) = entry.into_inner().map_err(|error| broken(&error))?;
            let image = parse(&text, dates)?;
            self.examined.set(self.examined.get() + 1);
            if self.fits(&image) && !show(key.get(prefix..).unwrap_or_default(), &image)? {
                break;
            }
            if stop(self.examined.get()) {
                break;
            }
        }
        Ok(())
    }

    /// Along an index. With as many as are needed it ends where the next ones are behind all of them in the order.
    fn in_order(
        &self,
        way: &Ordered,
        needed: usize,
        show: &mut dyn FnMut(&[u8], &Arc<Image>) -> Result<bool, StoreError>,
        stop: &dyn Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        let (mut shown, mut group) = (0, Vec::new());
        // What was built before objects with several points were told apart may have more than one entry for them.
        let mut seen = way.index.definition.keys.iter().any(|key| key.order == KeyOrder::Geo).then(HashSet::new);
        let entries = |range: &ranges::Range| {
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
                if seen.as_mut().is_some_and(|seen| !seen.insert(Box::<[u8]>::from(id))) {
                    continue;
                }
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
    pub(super) fn look_up(&self, id: &[u8]) -> Result<Option<Arc<Image>>, StoreError> {
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

    fn scan_report(&self, size: Option<u64>, backward: bool) -> PlanReport {
        let whole = self.piece.is_all();
        let kind = if whole && !backward { "scan" } else { "id range" };
        PlanReport { kind, indexes: Vec::new(), ranges: 1, rows: size.filter(|_| whole), rows_at_least: None }
    }
}

/// Whether an object belongs to a selection.
pub(in crate::store::embedded) fn fits(selection: &Selection, image: &Image) -> bool {
    image.acl.read.permits(&selection.caller) && selection.predicate.matches(&image.document)
}

/// Ids are looked up one by one however many there are: queries that name them are bounded by their size.
fn ids_worth_naming() -> usize {
    ranges::MOST
}

impl Chosen {
    /// For people, where it has an order that an index has.
    fn report(&self) -> Option<PlanReport> {
        match self {
            Chosen::Ordered(way) => Some(way.report()),
            Chosen::Outwards(way) => Some(way.report()),
            Chosen::Gathered(_) | Chosen::Scan { .. } => None,
        }
    }
}

pub(super) fn id_of<'e>(index: &Index, key: &'e [u8], value: &[u8]) -> Result<&'e [u8], StoreError> {
    entries::id(index, key, value).ok_or_else(unreadable)
}

pub(super) fn unreadable() -> StoreError {
    StoreError::Broken("an entry of an index cannot be read".into())
}

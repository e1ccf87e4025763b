//! The auction house as a pure machine: (its state, a source of chance, the time) -> the next update.
//!
//! Nothing in here knows a clock or a socket. The same seed and the same times give the same updates.
//!
//! A lot is put up, receives bids (each is an object of its own and raises the lot's price), closes at its
//! time, or when it has become very dear, and leaves a little later together with its bids. A closing lot goes before everything else, so the
//! house keeps its times at any rate; new lots fill the gaps, and all other updates are bids.

use super::catalogue::{CATEGORIES, CHANNELS, CITIES, Category, City, FIRST_NAMES, GRADES, LAST_NAMES, TAGS};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// The bucket of the lots.
pub const LOT: &str = "Lot";
/// The bucket of the bids.
pub const BID: &str = "Bid";
/// The bucket of the bidders.
pub const BIDDER: &str = "Bidder";

/// How large the house is and how fast its lots come and go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Lots that are up at a time
    pub lots: usize,
    /// Registered bidders
    pub bidders: usize,
    /// Time from putting a lot up to its close, on average, milliseconds
    pub life_ms: i64,
    /// Time that a closed lot stays on the list, milliseconds
    pub shown_ms: i64,
}

/// Updates that one lot causes in its life, on average: put up, sold, gone, and about five bids, each of
/// which is an insert, a raised price and in the end a delete.
const UPDATES_PER_LOT: i64 = 18;

/// Bids of one lot that stay on the list.
const LISTED_BIDS: usize = 20;

/// At so many times its estimate a lot goes at once, so that prices stay believable at any rate.
const HAMMER: u32 = 4;

impl Plan {
    /// A house of so many lots in which so many updates a second keep the number of lots level.
    pub fn level(lots: usize, rate: u32) -> Plan {
        let lots = lots.max(1);
        let turnover_ms =
            i64::try_from(lots).unwrap_or(i64::MAX / 1_000_000).saturating_mul(UPDATES_PER_LOT * 1_000) / i64::from(rate.max(1));
        Plan { lots, bidders: (lots / 8).clamp(20, 500), life_ms: turnover_ms.clamp(45_000, 3_600_000), shown_ms: 15_000 }
    }
}

/// One update of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Its bucket
    pub bucket: &'static str,
    /// Its id, `/db/<bucket>/<key>`
    pub id: String,
    /// What happens to it
    pub what: What,
}

/// What happens to an object.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// It is new
    Insert(Map<String, Value>),
    /// These of its fields are now so; the rest of it stays
    Change(Map<String, Value>),
    /// It is gone
    Remove,
}

#[derive(Debug, Clone)]
struct Lot {
    price: u32,
    estimate: u32,
    /// Below this it is not sold; the house does not tell
    reserve: u32,
    bids: u32,
    /// Its newest bids, which are on the list
    listed: VecDeque<u64>,
    open: bool,
    /// When it closes, or leaves if it is closed; what `due` says otherwise of it is out of date
    due: i64,
}

#[derive(Debug, Clone)]
struct Bidder {
    name: String,
    city: &'static str,
}

/// The house.
#[derive(Debug)]
pub struct Auction {
    plan: Plan,
    chance: StdRng,
    lots: BTreeMap<u64, Lot>,
    bidders: Vec<Bidder>,
    /// Lots that may be bid for, in no order
    open: Vec<u64>,
    /// When a lot closes (open ones) or leaves (closed ones)
    due: BinaryHeap<Reverse<(i64, u64)>>,
    /// Updates that belong to one that was given out already
    pending: VecDeque<Update>,
    next_lot: u64,
    next_bid: u64,
}

impl Auction {
    /// An empty house.
    pub fn new(plan: Plan, seed: u64) -> Auction {
        Auction {
            plan,
            chance: StdRng::seed_from_u64(seed),
            lots: BTreeMap::new(),
            bidders: Vec::new(),
            open: Vec::new(),
            due: BinaryHeap::new(),
            pending: VecDeque::new(),
            next_lot: 1,
            next_bid: 1,
        }
    }

    /// Everything that is there when the doors open: bidders, then lots, closing at all times of the plan.
    pub fn open_doors(&mut self, now: i64) -> Vec<Update> {
        let mut updates: Vec<Update> = (0..self.plan.bidders).map(|number| self.register(number)).collect();
        for _ in 0..self.plan.lots {
            let left = self.chance.random_range(self.plan.life_ms / 20..=self.plan.life_ms * 2);
            let bids = self.chance.random_range(0..6_u32);
            updates.push(self.put_up(now, now + left, bids));
        }
        updates
    }

    /// The next update at this time, milliseconds since 1970.
    pub fn next(&mut self, now: i64) -> Update {
        if let Some(update) = self.pending.pop_front() {
            return update;
        }
        while let Some(&Reverse((at, number))) = self.due.peek()
            && at <= now
        {
            self.due.pop();
            if self.lots.get(&number).is_some_and(|lot| lot.due == at) {
                return self.end(number, now);
            }
        }
        if self.open.len() < self.plan.lots {
            // Between half and one and a half of the average, so that the closing times spread.
            let life = self.chance.random_range(self.plan.life_ms / 2..=self.plan.life_ms * 3 / 2);
            return self.put_up(now, now + life, 0);
        }
        self.bid(now)
    }

    /// Somebody else raised a lot; the house goes on from there.
    pub fn outbid(&mut self, id: &str, price: u32, bids: u32) {
        if let Some(lot) = number_of(id).and_then(|number| self.lots.get_mut(&number)) {
            lot.price = lot.price.max(price);
            lot.bids = lot.bids.max(bids);
        }
    }

    /// Lots that may be bid for.
    pub fn open_lots(&self) -> usize {
        self.open.len()
    }

    fn register(&mut self, number: usize) -> Update {
        let bidder = Bidder { name: self.name(), city: self.city().name };
        // Squared: many bidders with little money, few with much.
        let purse = f64::from(self.chance.random_range(5..200_u32)).powi(2) * 10.0;
        let fields = fields(json!({
            "name": bidder.name,
            "city": bidder.city,
            "limit": purse as u32,
            "interests": self.some(2, |chance| CATEGORIES.choose(chance).map(|category| category.name)),
            "verified": self.chance.random_bool(0.8),
        }));
        self.bidders.push(bidder);
        Update { bucket: BIDDER, id: format!("/db/{BIDDER}/P{number:04}"), what: What::Insert(fields) }
    }

    fn put_up(&mut self, now: i64, closes: i64, bids: u32) -> Update {
        let number = self.next_lot;
        self.next_lot += 1;
        let category = self.category();
        let city = self.city();
        let (low, high) = category.estimate;
        // Even over the orders of magnitude, as prices are.
        let estimate = round((f64::from(low) * (f64::from(high) / f64::from(low)).powf(self.chance.random::<f64>())) as u32);
        let mut price = round(estimate / 3).max(5);
        (0..bids).for_each(|_| price = raised(price));
        let manner = category.manners.choose(&mut self.chance).copied().unwrap_or("Fine");
        let thing = category.things.choose(&mut self.chance).copied().unwrap_or("object");
        // As many houses do: half of the low estimate, for most lots.
        let reserve = if self.chance.random_bool(0.7) { estimate / 2 } else { 0 };
        let tags = self.some(3, |chance| TAGS.choose(chance).copied());
        let leader = (bids > 0).then(|| self.bidders.choose(&mut self.chance).map(|bidder| bidder.name.clone())).flatten();
        let fields = fields(json!({
            "number": number,
            "title": format!("{manner} {thing}"),
            "category": category.name,
            "city": city.name,
            "state": "open",
            "price": price,
            "bids": bids,
            "leader": leader,
            "estimate": estimate,
            "closesAt": date(closes),
            "tags": tags,
            "condition": {
                "grade": GRADES.choose(&mut self.chance),
                "restored": self.chance.random_bool(0.3),
            },
            // Around the saleroom, some 20 km at most.
            "location": {
                "latitude": near(city.latitude, &mut self.chance),
                "longitude": near(city.longitude, &mut self.chance),
            },
            "listedAt": date(now),
        }));
        self.lots.insert(number, Lot { price, estimate, reserve, bids, listed: VecDeque::new(), open: true, due: closes });
        self.open.push(number);
        self.due.push(Reverse((closes, number)));
        Update { bucket: LOT, id: lot_id(number), what: What::Insert(fields) }
    }

    fn bid(&mut self, now: i64) -> Update {
        // The best of a few: lots that are still cheap for what they are draw the bids.
        let chosen = (0..3)
            .filter_map(|_| self.open.choose(&mut self.chance).copied())
            .max_by_key(|number| self.lots.get(number).map_or(0, |lot| u64::from(lot.estimate) * 100 / u64::from(lot.price.max(1))));
        let Some((number, lot)) = chosen.and_then(|number| Some((number, self.lots.get_mut(&number)?))) else {
            let life = self.plan.life_ms;
            return self.put_up(now, now + life, 0);
        };
        if lot.price / HAMMER > lot.estimate {
            return self.end(number, now);
        }
        let key = self.next_bid;
        self.next_bid += 1;
        lot.price = raised(lot.price);
        lot.bids += 1;
        lot.listed.push_back(key);
        if lot.listed.len() > LISTED_BIDS {
            let oldest = lot.listed.pop_front();
            self.pending.extend(oldest.map(|key| Update { bucket: BID, id: bid_id(key), what: What::Remove }));
        }
        let (price, bids) = (lot.price, lot.bids);
        let index = self.chance.random_range(0..self.bidders.len().max(1));
        let bidder = self.bidders.get(index);
        let name = bidder.map_or("Nobody", |bidder| &bidder.name);
        self.pending.push_back(Update {
            bucket: BID,
            id: bid_id(key),
            what: What::Insert(fields(json!({
                "lot": lot_id(number),
                "amount": price,
                "bidder": format!("/db/{BIDDER}/P{index:04}"),
                "name": name,
                "city": bidder.map(|bidder| bidder.city),
                "placedAt": date(now),
                "channel": CHANNELS.choose(&mut self.chance),
            }))),
        });
        let change = fields(json!({"price": price, "bids": bids, "leader": name}));
        Update { bucket: LOT, id: lot_id(number), what: What::Change(change) }
    }

    /// Closes an open lot; lets a closed one leave.
    fn end(&mut self, number: u64, now: i64) -> Update {
        let id = lot_id(number);
        if let Some(lot) = self.lots.get_mut(&number).filter(|lot| lot.open) {
            lot.open = false;
            let early = now < lot.due;
            if let Some(place) = self.open.iter().position(|open| *open == number) {
                self.open.swap_remove(place);
            }
            lot.due = now + self.plan.shown_ms;
            self.due.push(Reverse((lot.due, number)));
            let state = if lot.bids > 0 && lot.price >= lot.reserve { "sold" } else { "unsold" };
            let mut change = fields(json!({"state": state}));
            if early {
                change.insert("closesAt".into(), date(now).into());
            }
            return Update { bucket: LOT, id, what: What::Change(change) };
        }
        let bids = self.lots.remove(&number).map(|lot| lot.listed).unwrap_or_default();
        self.pending.extend(bids.into_iter().map(|key| Update { bucket: BID, id: bid_id(key), what: What::Remove }));
        Update { bucket: LOT, id, what: What::Remove }
    }

    fn name(&mut self) -> String {
        let first = FIRST_NAMES.choose(&mut self.chance).copied().unwrap_or("Ada");
        let last = LAST_NAMES.choose(&mut self.chance).copied().unwrap_or("Bauer");
        format!("{first} {last}")
    }

    /// Squared: the first cities have more lots than the last.
    fn city(&mut self) -> City {
        let at = self.chance.random::<f64>().powi(2);
        CITIES[((at * CITIES.len() as f64) as usize).min(CITIES.len() - 1)]
    }

    fn category(&mut self) -> Category {
        CATEGORIES[self.chance.random_range(0..CATEGORIES.len())]
    }

    /// One to `most` different ones.
    fn some(&mut self, most: usize, mut pick: impl FnMut(&mut StdRng) -> Option<&'static str>) -> Vec<&'static str> {
        let count = self.chance.random_range(1..=most);
        let mut picked: Vec<&'static str> = (0..count).filter_map(|_| pick(&mut self.chance)).collect();
        picked.sort_unstable();
        picked.dedup();
        picked
    }
}

fn lot_id(number: u64) -> String {
    format!("/db/{LOT}/L{number:05}")
}

fn bid_id(number: u64) -> String {
    format!("/db/{BID}/B{number:06}")
}

/// The number of a lot by its id.
fn number_of(id: &str) -> Option<u64> {
    id.rsplit_once("/L")?.1.parse().ok()
}

fn near(degrees: f64, chance: &mut StdRng) -> f64 {
    ((degrees + chance.random_range(-0.18..0.18)) * 10_000.0).round() / 10_000.0
}

/// To two figures, as estimates are written.
fn round(amount: u32) -> u32 {
    let mut unit = 1;
    while amount / unit >= 100 {
        unit *= 10;
    }
    (amount + unit / 2) / unit * unit
}

/// The next bid: the usual steps of a saleroom, about a tenth.
pub fn raised(price: u32) -> u32 {
    let step = match price {
        0..=99 => 5,
        100..=299 => 10,
        300..=999 => 50,
        1_000..=2_999 => 100,
        3_000..=9_999 => 500,
        10_000..=29_999 => 1_000,
        _ => 5_000,
    };
    price.saturating_add(step) / step * step
}

fn date(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at).unwrap_or_default().to_string()
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    const START: i64 = 1_750_000_000_000;

    fn run(seed: u64, plan: Plan, updates: usize, rate: i64) -> Vec<Update> {
        let mut house = Auction::new(plan, seed);
        let mut all = house.open_doors(START);
        all.extend((0..updates as i64).map(|turn| house.next(START + turn * 1_000 / rate)));
        all
    }

    #[test]
    fn the_same_seed_is_the_same_auction() {
        let plan = Plan::level(200, 500);
        assert_eq!(run(7, plan, 2_000, 500), run(7, plan, 2_000, 500));
        assert_ne!(run(7, plan, 2_000, 500), run(8, plan, 2_000, 500));
    }

    #[test]
    fn every_update_fits_the_object_that_is_there() {
        let mut objects: HashMap<String, Map<String, Value>> = HashMap::new();
        let mut states = HashSet::new();
        for update in run(1, Plan::level(1_000, 200), 60_000, 200) {
            match update.what {
                What::Insert(fields) => assert!(objects.insert(update.id.clone(), fields).is_none(), "{} twice", update.id),
                What::Change(change) => {
                    let object = objects.get_mut(&update.id).unwrap();
                    assert_eq!(object["state"], "open", "{} was closed", update.id);
                    if let Some(price) = change.get("price") {
                        assert!(price.as_u64() > object["price"].as_u64(), "bids raise");
                        assert_eq!(change["bids"].as_u64().unwrap(), object["bids"].as_u64().unwrap() + 1);
                    }
                    object.extend(change);
                    states.insert(object["state"].as_str().unwrap().to_owned());
                }
                What::Remove => {
                    let gone = objects.remove(&update.id).unwrap();
                    assert!(update.bucket == BID || gone["state"] != "open", "only closed lots leave");
                }
            }
        }
        assert_eq!(states, ["open", "sold", "unsold"].map(str::to_owned).into());
        let bids: Vec<_> = objects.iter().filter(|(id, _)| id.starts_with("/db/Bid/")).collect();
        assert!(bids.iter().all(|(_, bid)| objects.contains_key(bid["lot"].as_str().unwrap())), "bids leave with their lot");
    }

    #[test]
    fn the_house_stays_level() {
        for (lots, rate) in [(150, 400), (400, 200), (3_000, 200)] {
            let plan = Plan::level(lots, rate);
            let mut house = Auction::new(plan, 3);
            house.open_doors(START);
            let mut kinds = [0_usize; 3];
            let turns = 100_000_i64;
            for turn in 0..turns {
                let update = house.next(START + turn * 1_000 / i64::from(rate));
                kinds[match update.what {
                    What::Insert(_) => 0,
                    What::Change(_) => 1,
                    What::Remove => 2,
                }] += 1;
                assert!(house.open_lots() <= lots && house.open_lots() * 10 >= lots * 8, "{} of {lots} lots are open", house.open_lots());
            }
            assert!(kinds.iter().all(|kind| *kind > turns as usize / 20), "of every kind there is a share: {kinds:?}");
        }
    }

    #[test]
    fn the_house_goes_on_from_what_others_bid() {
        let mut house = Auction::new(Plan { lots: 1, ..Plan::level(1, 100) }, 1);
        let lot = house.open_doors(START).into_iter().find(|update| update.bucket == LOT).unwrap();
        let What::Insert(fields) = lot.what else { panic!("a new lot") };
        let estimate = u32::try_from(fields["estimate"].as_u64().unwrap()).unwrap();
        house.outbid(&lot.id, estimate, 40);
        let What::Change(change) = house.next(START).what else { panic!("a bid") };
        assert_eq!((&change["price"], &change["bids"]), (&json!(raised(estimate)), &json!(41)));
        house.outbid(&lot.id, estimate * 10, 41);
        house.next(START);
        let What::Change(change) = house.next(START).what else { panic!("the hammer") };
        assert_eq!(change["state"], "sold");
    }

    #[test]
    fn bids_go_up_in_the_steps_of_a_saleroom() {
        for (price, next) in [(5, 10), (95, 100), (101, 110), (300, 350), (980, 1_000), (12_500, 13_000), (30_000, 35_000)] {
            assert_eq!(raised(price), next);
        }
        assert_eq!([round(7), round(146), round(1_249)], [7, 150, 1_200]);
    }
}

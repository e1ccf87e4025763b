//! Secondary indexes, kept in the same transactions as the objects, and the planner that answers queries with them.
//!
//! * `encoding`: values as bytes in the evaluator's order
//! * `cells`: points as numbers along a curve
//! * `catalogue`: which indexes there are, and how each stands
//! * `entries`: an object's entries in an index
//! * `upkeep`: what a write does to the indexes; where unique ones refuse
//! * `changes`: declaring, dropping, building in pieces
//! * `builder`: the thread that has them built and frees dropped ones
//! * `users`: the built-in index on the names of users, for directories from before it
//! * `ranges`: what a predicate says about where in an index its objects lie
//! * `primary`: what it says about ids, in whose order the bucket itself lies
//! * `plan`: the ways to answer a query
//! * `answer`: chooses a way by counting, and goes it
//! * `nearest`: along a geo index outwards
//! * `collect`: sort, skip and count of what was found

pub(super) mod answer;
pub(super) mod builder;
pub(super) mod catalogue;
mod cells;
pub(super) mod changes;
pub(super) mod collect;
mod encoding;
mod entries;
mod nearest;
mod plan;
mod primary;
mod ranges;
pub(super) mod upkeep;
pub(super) mod users;

/// The entries that an object makes, as they are stored.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) fn tests_entries(index: &catalogue::Index, id: &str, image: &dataflows::change::Image) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = entries::of(index, image).unwrap();
    entries.components.iter().map(|entry| (entry.key(index, id), entry.value())).collect()
}

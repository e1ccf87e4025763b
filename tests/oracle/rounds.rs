//! Rounds on one server, and whether its change log is what the writers were told.

use crate::plan::{PEOPLE, Plan, QUERIES};
use crate::round::{self, Arena, Score};
use crate::support::history::{Commit, State};
use crate::support::people::Person;
use crate::support::{run, server, setting};
use dataflows::change::{Change, Image};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate::config::Config;

/// Rounds on one server, with so many workers in so many columns; `default` is the number of queries on all layouts. What was
/// committed is left to be compared with the change log of the configuration.
pub fn rounds(config: &Config, (workers, columns): (usize, usize), default: u64) -> BTreeMap<u64, Commit> {
    let seed = setting("TIDEGATE_SEED", 1);
    let cases = (setting("TIDEGATE_CASES", default) / (3 * QUERIES as u64)).max(1);
    let mut config = config.clone();
    (config.engine.workers, config.engine.columns) = (workers, columns);
    // Subscriptions to which nothing comes are told how far they are so often.
    config.live.ping_seconds = 1;
    run(async {
        let server = server::start(config).await;
        let mut people = Vec::new();
        for (user, roles) in &PEOPLE {
            people.push(match user {
                Some(user) => Person::enrolled(&server, user, roles).await,
                None => Person::anonymous(),
            });
        }
        let arena = Arena::new(&server.url(), people);
        let (mut score, mut committed) = (Score::default(), BTreeMap::new());
        for round in 0..cases {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(round * 10 + (workers * 3 + columns) as u64);
            let plan = Plan::new(seed, &format!("Bucket{round}"), round % 3 == 2);
            let told =
                OnPanic(format!("round {round} of {workers} workers in {columns} columns, TIDEGATE_SEED={}", setting("TIDEGATE_SEED", 1)));
            let (judged, history) = round::play(&arena, &plan).await;
            score.add(&judged);
            committed.extend(history.commits);
            drop(told);
        }
        server.shutdown().await.unwrap();
        println!("{workers} workers, {columns} columns, {cases} rounds: {score:?}");
        score.check_that_it_judged(cases as usize);
        score.check_that_some_was_forbidden();
        committed
    })
}

/// The log has what the writers were told, and nothing else: the same commits, the same images. What the server makes at its
/// first start is of other buckets.
pub fn compare(logged: impl IntoIterator<Item = Arc<Change>>, committed: &BTreeMap<u64, Commit>) {
    let ours = logged.into_iter().filter(|change| change.bucket.starts_with("Bucket"));
    let logged: BTreeMap<u64, Arc<Change>> = ours.map(|change| (change.commit, change)).collect();
    assert_eq!(logged.keys().collect::<Vec<_>>(), committed.keys().collect::<Vec<_>>());
    for (number, commit) in committed {
        let change = &logged[number];
        let told = |state: &Option<Arc<State>>| state.as_ref().map(|state| state.image.json().clone());
        let found = |image: &Option<Arc<Image>>| image.as_ref().map(|image| image.json().clone());
        assert_eq!(*change.id, *commit.id, "at {number}");
        assert_eq!((found(&change.before), found(&change.after)), (told(&commit.before), told(&commit.after)), "at {number}");
    }
}

/// Says where a failure was.
pub struct OnPanic(pub String);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it failed in {}", self.0);
        }
    }
}

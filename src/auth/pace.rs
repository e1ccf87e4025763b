//! How often one may ask for something that costs others: a count for each name and each address, forgotten after a while.

use super::network::counted;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// An address, which may stand for many people, may ask so many times as often as one name may be asked for.
const PEOPLE: u32 = 10;
/// Never remembers more of one app.
const OF_ONE: usize = 20_000;
/// Beyond this, all together, no app remembers more than its share of it.
const OF_ALL: usize = 200_000;

/// Counts, of each app its own: a flood of one neither counts for another nor takes its place.
#[derive(Debug)]
pub struct Pace {
    window: i64,
    limit: u32,
    apps: Mutex<HashMap<Box<str>, OfApp>>,
}

#[derive(Debug, Default)]
struct OfApp {
    /// Since when, and how often
    asked: HashMap<Asker, (i64, u32)>,
    /// When it was last looked at what is over
    swept: i64,
}

impl OfApp {
    /// Forgets what is over. Not at every request, since it looks at everything.
    fn sweep(&mut self, window: i64, now: i64) {
        if now.saturating_sub(self.swept) >= window / 16 {
            self.swept = now;
            self.asked.retain(|_, (since, _)| now - *since < window);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Asker {
    Name(Box<str>),
    Address(IpNet),
}

impl Pace {
    /// `limit` times for each name in `window` milliseconds.
    pub fn new(window: i64, limit: u32) -> Pace {
        Pace { window, limit, apps: Mutex::default() }
    }

    /// Counts a request about `name` in an app from an address; whether it may go on. `now` in milliseconds.
    pub fn begin(&self, app: &str, name: &str, address: IpAddr, now: i64) -> bool {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.make_room(&mut apps, app, now) {
            // From everywhere at once: better to refuse for a while than to forget and go on.
            return false;
        }
        let OfApp { asked, .. } = apps.entry(app.into()).or_insert_with(|| OfApp { swept: now, ..OfApp::default() });
        let askers = [(Asker::Name(name.into()), self.limit), (Asker::Address(counted(address)), self.limit.saturating_mul(PEOPLE))];
        let count = |asker: &Asker| asked.get(asker).filter(|(since, _)| now - since < self.window).map_or(0, |(_, count)| *count);
        let open = askers.iter().all(|(asker, limit)| count(asker) < *limit);
        if open {
            for (asker, _) in askers {
                let entry = asked.entry(asker).or_insert((now, 0));
                if now - entry.0 >= self.window {
                    *entry = (now, 0);
                }
                entry.1 += 1;
            }
        }
        open
    }

    /// Whether an app may remember one more request.
    fn make_room(&self, apps: &mut HashMap<Box<str>, OfApp>, app: &str, now: i64) -> bool {
        let all = |apps: &HashMap<Box<str>, OfApp>| apps.values().map(|of| of.asked.len()).sum::<usize>() + 2;
        if all(apps) > OF_ALL {
            apps.values_mut().for_each(|of| of.sweep(self.window, now));
            apps.retain(|_, of| !of.asked.is_empty());
        }
        let most = if all(apps) > OF_ALL { OF_ONE.min(OF_ALL / apps.len().max(1)) } else { OF_ONE };
        let Some(of) = apps.get_mut(app).filter(|of| of.asked.len() + 2 > most) else { return true };
        of.sweep(self.window, now);
        of.asked.len() + 2 <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_names_and_addresses_for_a_while() {
        let pace = Pace::new(1_000, 2);
        let here = |n: u8| IpAddr::from([127, 0, 0, n]);
        assert!(pace.begin("app", "a", here(1), 0) && pace.begin("app", "a", here(2), 10));
        assert!(!pace.begin("app", "a", here(3), 20), "of one name, from wherever");
        assert!(pace.begin("app", "a", here(3), 1_000));
        let passed = (0..100).filter(|n| pace.begin("app", &format!("b{n}"), here(9), 0)).count();
        assert_eq!(passed, 20, "of one address, about whomever");
        assert!(pace.begin("other", "a", here(9), 0), "of each app its own");
    }

    #[test]
    fn a_network_of_many_addresses_is_one() {
        let pace = Pace::new(1_000, 2);
        let from = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
        assert_eq!((0..100).filter(|n| pace.begin("app", &n.to_string(), from(*n), 0)).count(), 20);
        assert!(pace.begin("app", "a", [0x2001, 0xdb8, 0, 2, 0, 0, 0, 1].into(), 0));
    }

    #[test]
    fn a_flood_of_some_apps_holds_nobody_of_another() {
        let pace = Pace::new(1_000, 2);
        let flood = |app: &str, names: u32| {
            let from = |n: u32| IpAddr::from([10, (n >> 16) as u8, (n >> 8) as u8, n as u8]);
            (0..names).filter(|n| pace.begin(app, &n.to_string(), from(*n), 0)).count()
        };
        for app in 0..15 {
            let taken = flood(&format!("flooded-{app}"), 11_000);
            assert!(taken <= OF_ONE / 2 && (app > 0 || taken == OF_ONE / 2), "{taken}");
        }
        let remembered = pace.apps.lock().unwrap_or_else(PoisonError::into_inner).values().map(|of| of.asked.len()).sum::<usize>();
        assert!((OF_ALL..OF_ALL + OF_ALL / 2).contains(&remembered), "{remembered}");
        assert_eq!(flood("quiet", 100), 100);
        assert!(!pace.begin("flooded-0", "new", [11, 0, 0, 1].into(), 0));
        assert!(pace.begin("flooded-0", "new", [11, 0, 0, 1].into(), 1_000), "and that for a while only");
    }
}

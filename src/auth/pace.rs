//! How often one may ask for something that costs others: a count for each name and each address, forgotten after a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// An address, which may stand for many people, may ask so many times as often as one name may be asked for.
const PEOPLE: u32 = 10;
/// Never remembers more.
const REMEMBERED: usize = 20_000;

/// Counts.
#[derive(Debug)]
pub struct Pace {
    window: i64,
    limit: u32,
    asked: Mutex<HashMap<Asker, (i64, u32)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Asker {
    Name(Box<str>),
    Address(IpAddr),
}

impl Pace {
    /// `limit` times for each name in `window` milliseconds.
    pub fn new(window: i64, limit: u32) -> Pace {
        Pace { window, limit, asked: Mutex::default() }
    }

    /// Counts a request about `name` from an address; whether it may go on. `now` in milliseconds.
    pub fn begin(&self, name: &str, address: IpAddr, now: i64) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() + 2 > REMEMBERED {
            asked.retain(|_, (since, _)| now - *since < self.window);
        }
        if asked.len() + 2 > REMEMBERED {
            // From everywhere at once: better to refuse for a while than to forget and mail on.
            return false;
        }
        let askers = [(Asker::Name(name.into()), self.limit), (Asker::Address(address.to_canonical()), self.limit.saturating_mul(PEOPLE))];
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_names_and_addresses_for_a_while() {
        let pace = Pace::new(1_000, 2);
        let here = |n: u8| IpAddr::from([127, 0, 0, n]);
        assert!(pace.begin("a", here(1), 0) && pace.begin("a", here(2), 10));
        assert!(!pace.begin("a", here(3), 20), "of one name, from wherever");
        assert!(pace.begin("a", here(3), 1_000));
        let passed = (0..100).filter(|n| pace.begin(&format!("b{n}"), here(9), 0)).count();
        assert_eq!(passed, 20, "of one address, about whomever");
    }
}

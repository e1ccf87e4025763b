//! How many entries an address may send: a bucket of tokens each, filled through the minute.

use crate::auth::network::counted;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;

/// Addresses that are remembered at most.
const ADDRESSES: usize = 20_000;
/// Thousandths of a token: rates of less than one a millisecond stay exact.
const GRAIN: i64 = 60_000;

/// Who has sent how much.
#[derive(Debug)]
pub(super) struct Flood {
    per_minute: u32,
    senders: HashMap<IpNet, Sender>,
}

#[derive(Debug, Clone, Copy)]
struct Sender {
    /// Tokens left, in grains
    left: i64,
    at: i64,
}

impl Flood {
    pub(super) fn new(per_minute: u32) -> Flood {
        Flood { per_minute, senders: HashMap::new() }
    }

    /// Takes a token of the address; false: it has none. `now` in milliseconds.
    pub(super) fn admits(&mut self, address: IpAddr, now: i64) -> bool {
        let address = counted(address);
        let (rate, full) = (i64::from(self.per_minute), i64::from(self.per_minute) * GRAIN);
        // One token a minute is GRAIN grains in 60 000 ms: a grain a millisecond.
        let filled = |sender: &Sender| full.min(sender.left.saturating_add(now.saturating_sub(sender.at).max(0).saturating_mul(rate)));
        if self.senders.len() >= ADDRESSES && !self.senders.contains_key(&address) {
            self.senders.retain(|_, sender| filled(sender) < full);
            if self.senders.len() >= ADDRESSES {
                // From everywhere at once: whoever is not known yet waits until others are forgotten.
                return false;
            }
        }
        let sender = self.senders.entry(address).or_insert(Sender { left: full, at: now });
        *sender = Sender { left: filled(sender), at: now };
        let admitted = sender.left >= GRAIN;
        if admitted {
            sender.left -= GRAIN;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(number))
    }

    #[test]
    fn a_flood_of_one_address_ends_and_others_go_on() {
        let mut flood = Flood::new(60);
        assert_eq!((0..1_000).filter(|_| flood.admits(address(1), 0)).count(), 60);
        assert!(flood.admits(address(2), 0));
        // A token a second.
        assert!(!flood.admits(address(1), 999));
        assert!(flood.admits(address(1), 1_000));
        assert!(!flood.admits(address(1), 1_001));
        assert_eq!((0..1_000).filter(|_| flood.admits(address(1), 3_600_000)).count(), 60, "never more than a minute's");
    }

    #[test]
    fn a_network_of_many_addresses_is_one() {
        let mut flood = Flood::new(60);
        let from = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
        assert_eq!((0..1_000).filter(|n| flood.admits(from(*n), 0)).count(), 60);
        assert!(flood.admits([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1].into(), 0));
    }

    #[test]
    fn memory_is_bounded_and_rests_make_room() {
        let mut flood = Flood::new(60);
        let known = (0..30_000).filter(|number| flood.admits(address(*number), 0)).count();
        assert_eq!((known, flood.senders.len()), (ADDRESSES, ADDRESSES));
        assert!(flood.admits(address(99_999), 61_000));
        assert_eq!(flood.senders.len(), 1);
    }
}

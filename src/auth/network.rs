//! What an address counts as, wherever somebody's tries, mails or entries are counted.

use ipnet::IpNet;
use std::net::IpAddr;

/// One customer's IPv6 network: all of its addresses are his, and there are more of them than anything could remember.
const OWN_NETWORK: u8 = 64;

/// The network that an address is counted with: of IPv4 it is the address alone, also where it is mapped into IPv6; of IPv6 its /64.
pub fn counted(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    match address {
        IpAddr::V4(_) => IpNet::from(address),
        IpAddr::V6(_) => IpNet::new(address, OWN_NETWORK).map_or_else(|_| IpNet::from(address), |network| network.trunc()),
    }
}

/// Such a network as people write it: without a length where it is one address.
pub fn spelt(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_of_a_network_count_as_one_and_mapped_ones_as_what_they_are() {
        let of = |text: &str| spelt(&counted(text.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!((of("192.0.2.1"), of("::ffff:192.0.2.1")), ("192.0.2.1".into(), "192.0.2.1".into()));
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
    }
}

//! Tickets: a browser's `EventSource` sends no header, and a token does not belong into a URL.
//!
//! Whoever holds a token gets a ticket for it: 128 random bits, good for one event stream within a minute.
//! What a URL may leak into logs and histories is then worth nothing.

use super::lock;
use crate::auth::Session;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Tickets that may be out at a time.
const OUT: usize = 100_000;

/// What a ticket stands for.
struct Ticket {
    until: Instant,
    app: Arc<str>,
    session: Session,
}

/// The tickets that are out.
pub(crate) struct Tickets {
    lifetime: Duration,
    out: Mutex<HashMap<u128, Ticket>>,
}

impl Tickets {
    pub(crate) fn new(lifetime: Duration) -> Tickets {
        Tickets { lifetime, out: Mutex::default() }
    }

    /// A new one, as text; none if too many are out.
    pub(crate) fn issue(&self, app: Arc<str>, session: Session) -> Option<String> {
        let now = Instant::now();
        let mut out = lock(&self.out);
        if out.len() >= OUT {
            out.retain(|_, ticket| now < ticket.until);
        }
        if out.len() >= OUT {
            return None;
        }
        let ticket: u128 = rand::random();
        out.insert(ticket, Ticket { until: now + self.lifetime, app, session });
        Some(format!("{ticket:032x}"))
    }

    /// Whose it is in this app, with the rights that he had when it was issued. A second time it is nobody's. Found by hash with a random key: the time that takes tells nothing of others.
    pub(crate) fn redeem(&self, app: &str, ticket: &str) -> Option<Session> {
        if ticket.len() != 32 || !ticket.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let ticket = u128::from_str_radix(ticket, 16).ok()?;
        let ticket = lock(&self.out).remove(&ticket)?;
        (Instant::now() < ticket.until && *ticket.app == *app).then_some(ticket.session)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn session() -> Session {
        Session::anonymous(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    #[test]
    fn a_ticket_is_good_once() {
        let tickets = Tickets::new(Duration::from_secs(60));
        let ticket = tickets.issue("app".into(), session()).unwrap();
        assert_eq!(tickets.redeem("app", &ticket).unwrap().hash, session().hash);
        assert!(tickets.redeem("app", &ticket).is_none());
    }

    #[test]
    fn an_old_or_invented_ticket_is_nobodys() {
        let tickets = Tickets::new(Duration::ZERO);
        let ticket = tickets.issue("app".into(), session()).unwrap();
        assert!(tickets.redeem("app", &ticket).is_none());
        for invented in ["", "+0000000000000000000000000000001", "00", &"f".repeat(32), &"ü".repeat(16)] {
            assert!(tickets.redeem("app", invented).is_none());
        }
    }
}

//! A brake on guessing: who tried what of late without success, and who has to wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Tries of late that did not succeed; beyond the limits the next ones are refused unseen.
///
/// Counted when they begin, so that many at once count as well as many in a row.
#[derive(Debug, Default)]
pub struct Brake {
    tries: Mutex<HashMap<Suspect, Tries>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Suspect {
    /// Somebody who tries one user's passwords
    Pair(Box<str>, IpAddr),
    /// An address, which may stand for many people
    Address(IpAddr),
    /// A user, tried from everywhere: the limit is high, since whoever reaches it locks the user out
    User(Box<str>),
    /// Codes of a user's second factor, from everywhere: there are a million only, and who tries them has the password
    Code(Box<str>),
}

impl Suspect {
    fn limit(&self) -> u32 {
        match self {
            Suspect::Pair(..) | Suspect::Code(_) => 10,
            Suspect::Address(_) => 50,
            Suspect::User(_) => 300,
        }
    }

    /// Tries are forgotten after this, milliseconds.
    fn window(&self) -> i64 {
        match self {
            Suspect::Code(_) => 600_000,
            _ => 60_000,
        }
    }
}

#[derive(Debug)]
struct Tries {
    since: i64,
    count: u32,
}

/// Somebody who has to wait.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// At whose password, name or code; none: at many users'
    pub user: Option<String>,
    /// From where; none: from everywhere
    pub address: Option<IpAddr>,
    /// Milliseconds since 1970
    pub until: i64,
}

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// A password or a name
    Password,
    /// A code of the second factor
    Code,
}

impl Brake {
    /// Never remembers more.
    const REMEMBERED: usize = 10_000;
    /// No user is longer, bytes; what is remembered is bounded by it.
    const LONGEST: usize = 2048;

    /// Counts a try; whether it may go on. `user`: app and name, or app and id. `now` in milliseconds.
    pub fn begin(&self, tried: Tried, user: &str, address: IpAddr, now: i64) -> bool {
        if user.len() > Self::LONGEST {
            return false;
        }
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if tries.len() + 3 > Self::REMEMBERED {
            tries.retain(|suspect, tries| now - tries.since < suspect.window());
        }
        if tries.len() + 3 > Self::REMEMBERED {
            // Under attack from everywhere; what is forgotten gives nobody more than one window's tries.
            tries.clear();
        }
        let suspects = Self::suspects(tried, user, address);
        let open = suspects
            .iter()
            .all(|suspect| tries.get(suspect).is_none_or(|tries| tries.count < suspect.limit() || now - tries.since >= suspect.window()));
        if open {
            for suspect in suspects {
                let window = suspect.window();
                let entry = tries.entry(suspect).or_insert(Tries { since: now, count: 0 });
                if now - entry.since >= window {
                    *entry = Tries { since: now, count: 0 };
                }
                entry.count += 1;
            }
        }
        open
    }

    /// The try was right: it does not count, and who found his password may forget it again.
    pub fn succeeded(&self, tried: Tried, user: &str, address: IpAddr) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        for suspect in Self::suspects(tried, user, address) {
            if matches!(suspect, Suspect::Pair(..) | Suspect::Code(_)) {
                tries.remove(&suspect);
            } else if let Some(entry) = tries.get_mut(&suspect) {
                entry.count = entry.count.saturating_sub(1);
            }
        }
    }

    /// Who has to wait now, of those whose `user` begins with this; addresses that try many users are everybody's, and told
    /// only where `all` is asked for. `now` in milliseconds.
    pub fn held(&self, prefix: &str, all: bool, now: i64) -> Vec<Held> {
        let tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let over = tries.iter().filter(|(suspect, tries)| tries.count >= suspect.limit() && now - tries.since < suspect.window());
        let held = over.filter_map(|(suspect, tries)| {
            let until = tries.since + suspect.window();
            let (user, address) = match suspect {
                Suspect::Pair(user, address) => (Some(user.strip_prefix(prefix)?), Some(*address)),
                Suspect::User(user) | Suspect::Code(user) => (Some(user.strip_prefix(prefix)?), None),
                Suspect::Address(address) => (None, Some(*address).filter(|_| all)),
            };
            (user.is_some() || address.is_some()).then(|| Held { user: user.map(str::to_owned), address, until })
        });
        let mut held: Vec<Held> = held.collect();
        held.sort();
        held
    }

    /// Forgets what was tried from an address, by users that begin with this and, where `all` is asked for, by everybody.
    pub fn release(&self, prefix: &str, all: bool, address: impl Fn(&IpAddr) -> bool) {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).retain(|suspect, _| match suspect {
            Suspect::Pair(user, from) => !(user.starts_with(prefix) && address(from)),
            Suspect::Address(from) => !(all && address(from)),
            Suspect::User(_) | Suspect::Code(_) => true,
        });
    }

    fn suspects(tried: Tried, user: &str, address: IpAddr) -> [Suspect; 3] {
        let of_user = match tried {
            Tried::Password => Suspect::User(user.into()),
            Tried::Code => Suspect::Code(user.into()),
        };
        [Suspect::Pair(user.into(), address), Suspect::Address(address), of_user]
    }
}

#[cfg(test)]
mod tests {
    use super::Tried::{Code, Password};
    use super::*;

    #[test]
    fn holds_who_guesses_for_a_minute_and_nobody_else() {
        let brake = Brake::default();
        let (here, there) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        assert!((0..10).all(|_| brake.begin(Password, "root", here, 1_000)));
        assert!(!brake.begin(Password, "root", here, 2_000));
        assert!(brake.begin(Password, "root", there, 2_000), "the user himself, from elsewhere");
        assert!(brake.begin(Password, "joe", here, 2_000));
        assert!(brake.begin(Password, "root", here, 61_000));
        assert!(!brake.begin(Password, &"x".repeat(2049), here, 61_000));
    }

    #[test]
    fn tells_whom_it_holds_and_lets_go_of_an_address() {
        let brake = Brake::default();
        let here = [127, 0, 0, 1].into();
        (0..11).for_each(|_| {
            let _ = brake.begin(Password, "app\njo", here, 1_000);
        });
        let held = brake.held("app\n", false, 2_000);
        assert_eq!(held, [Held { user: Some("jo".into()), address: Some(here), until: 61_000 }]);
        assert_eq!(brake.held("other\n", false, 2_000), []);
        assert_eq!(brake.held("app\n", false, 61_000), []);
        brake.release("other\n", false, |_| true);
        assert!(!brake.begin(Password, "app\njo", here, 2_000));
        brake.release("app\n", false, |address| *address == here);
        assert!(brake.begin(Password, "app\njo", here, 2_000));
    }

    #[test]
    fn who_succeeds_is_never_held() {
        let brake = Brake::default();
        let here = [127, 0, 0, 1].into();
        for _ in 0..1_000 {
            assert!(brake.begin(Password, "root", here, 1_000));
            brake.succeeded(Password, "root", here);
        }
    }

    #[test]
    fn an_address_that_tries_many_users_is_held() {
        let brake = Brake::default();
        let here = [127, 0, 0, 1].into();
        assert_eq!((0..100).filter(|user| brake.begin(Password, &user.to_string(), here, 1_000)).count(), 50);
    }

    #[test]
    fn codes_are_few_from_wherever_they_come() {
        let brake = Brake::default();
        let from = |last| [127, 0, 0, last].into();
        assert_eq!((0..100).filter(|last| brake.begin(Code, "joe", from(*last), 1_000)).count(), 10);
        assert!(!brake.begin(Code, "joe", from(200), 600_000), "for ten minutes");
        assert!(brake.begin(Password, "joe", from(200), 600_000));
        assert!(brake.begin(Code, "joe", from(200), 601_000));
    }
}

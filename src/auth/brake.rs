//! A brake on guessing: who tried what of late without success, and who has to wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Tries of late that did not succeed; beyond the limits the next ones are refused unseen. Each app's are its own: whoever
/// floods one is counted there, and makes nobody of another wait, nor is anybody of another forgotten for it.
///
/// Counted when they begin, so that many at once count as well as many in a row.
#[derive(Debug, Default)]
pub struct Brake {
    apps: Mutex<HashMap<Box<str>, OfApp>>,
}

type OfApp = HashMap<Suspect, Tries>;

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

/// One try: who guesses at whom.
#[derive(Debug, Clone, Copy)]
pub struct Try<'t> {
    /// The app
    pub app: &'t str,
    /// What
    pub tried: Tried,
    /// The name that is tried, or the id of the user whose code it is
    pub user: &'t str,
    /// From where
    pub address: IpAddr,
}

impl Brake {
    /// Never remembers more of one app.
    const OF_ONE: usize = 10_000;
    /// Nor of all together.
    const OF_ALL: usize = 100_000;
    /// No user is longer, bytes; what is remembered is bounded by it.
    const LONGEST: usize = 2048;

    /// Counts a try; whether it may go on. `now` in milliseconds.
    pub fn begin(&self, of: Try<'_>, now: i64) -> bool {
        if of.user.len() > Self::LONGEST {
            return false;
        }
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut apps, of.app, now);
        let tries = apps.entry(of.app.into()).or_default();
        let suspects = Self::suspects(of);
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
    pub fn succeeded(&self, of: Try<'_>) {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tries) = apps.get_mut(of.app) else { return };
        for suspect in Self::suspects(of) {
            if matches!(suspect, Suspect::Pair(..) | Suspect::Code(_)) {
                tries.remove(&suspect);
            } else if let Some(entry) = tries.get_mut(&suspect) {
                entry.count = entry.count.saturating_sub(1);
            }
        }
    }

    /// Who has to wait now in an app. `now` in milliseconds.
    pub fn held(&self, app: &str, now: i64) -> Vec<Held> {
        let apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let over = apps.get(app).into_iter().flatten();
        let over = over.filter(|(suspect, tries)| tries.count >= suspect.limit() && now - tries.since < suspect.window());
        let held = over.map(|(suspect, tries)| {
            let (user, address) = match suspect {
                Suspect::Pair(user, address) => (Some(user), Some(*address)),
                Suspect::User(user) | Suspect::Code(user) => (Some(user), None),
                Suspect::Address(address) => (None, Some(*address)),
            };
            Held { user: user.map(|user| user.to_string()), address, until: tries.since + suspect.window() }
        });
        let mut held: Vec<Held> = held.collect();
        held.sort();
        held
    }

    /// Forgets what was tried in an app from these addresses.
    pub fn release(&self, app: &str, address: impl Fn(&IpAddr) -> bool) {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tries) = apps.get_mut(app) else { return };
        tries.retain(|suspect, _| match suspect {
            Suspect::Pair(_, from) | Suspect::Address(from) => !address(from),
            Suspect::User(_) | Suspect::Code(_) => true,
        });
    }

    fn suspects(Try { tried, user, address, .. }: Try<'_>) -> [Suspect; 3] {
        let of_user = match tried {
            Tried::Password => Suspect::User(user.into()),
            Tried::Code => Suspect::Code(user.into()),
        };
        [Suspect::Pair(user.into(), address), Suspect::Address(address), of_user]
    }
}

/// Room for one more try in an app.
fn make_room(apps: &mut HashMap<Box<str>, OfApp>, app: &str, now: i64) {
    let fresh = |tries: &mut OfApp| tries.retain(|suspect, tries| now - tries.since < suspect.window());
    if let Some(tries) = apps.get_mut(app).filter(|tries| tries.len() + 3 > Brake::OF_ONE) {
        fresh(tries);
        if tries.len() + 3 > Brake::OF_ONE {
            // Under attack from everywhere; what is forgotten gives nobody more than one window's tries.
            tries.clear();
        }
    }
    let all = |apps: &HashMap<Box<str>, OfApp>| apps.values().map(HashMap::len).sum::<usize>();
    if all(apps) + 3 > Brake::OF_ALL {
        apps.values_mut().for_each(fresh);
        apps.retain(|_, tries| !tries.is_empty());
        // It is the attack that is forgotten, and not who has tried a few times elsewhere.
        if all(apps) + 3 > Brake::OF_ALL
            && let Some(largest) = apps.values_mut().max_by_key(|tries| tries.len())
        {
            largest.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tried::{Code, Password};
    use super::*;

    fn of(tried: Tried, user: &str, address: IpAddr) -> Try<'_> {
        Try { app: "app", tried, user, address }
    }

    #[test]
    fn holds_who_guesses_for_a_minute_and_nobody_else() {
        let brake = Brake::default();
        let (here, there) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        assert!((0..10).all(|_| brake.begin(of(Password, "root", here), 1_000)));
        assert!(!brake.begin(of(Password, "root", here), 2_000));
        assert!(brake.begin(of(Password, "root", there), 2_000), "the user himself, from elsewhere");
        assert!(brake.begin(of(Password, "joe", here), 2_000));
        assert!(brake.begin(Try { app: "other", ..of(Password, "root", here) }, 2_000), "of the same name, in another app");
        assert!(brake.begin(of(Password, "root", here), 61_000));
        assert!(!brake.begin(of(Password, &"x".repeat(2049), here), 61_000));
    }

    #[test]
    fn tells_whom_it_holds_and_lets_go_of_an_address() {
        let brake = Brake::default();
        let here = [127, 0, 0, 1].into();
        (0..11).for_each(|_| {
            let _ = brake.begin(of(Password, "jo", here), 1_000);
        });
        let held = brake.held("app", 2_000);
        assert_eq!(held, [Held { user: Some("jo".into()), address: Some(here), until: 61_000 }]);
        assert_eq!(brake.held("other", 2_000), []);
        assert_eq!(brake.held("app", 61_000), []);
        brake.release("other", |_| true);
        assert!(!brake.begin(of(Password, "jo", here), 2_000));
        brake.release("app", |address| *address == here);
        assert!(brake.begin(of(Password, "jo", here), 2_000));
    }

    #[test]
    fn who_succeeds_is_never_held() {
        let brake = Brake::default();
        let here = [127, 0, 0, 1].into();
        for _ in 0..1_000 {
            assert!(brake.begin(of(Password, "root", here), 1_000));
            brake.succeeded(of(Password, "root", here));
        }
    }

    #[test]
    fn an_address_that_tries_many_users_is_held_in_that_app() {
        let brake = Brake::default();
        let here = [127, 0, 0, 1].into();
        assert_eq!((0..100).filter(|user| brake.begin(of(Password, &user.to_string(), here), 1_000)).count(), 50);
        assert_eq!(brake.held("app", 1_000), [Held { user: None, address: Some(here), until: 61_000 }]);
        assert!(brake.begin(Try { app: "other", ..of(Password, "joe", here) }, 1_000));
    }

    #[test]
    fn codes_are_few_from_wherever_they_come() {
        let brake = Brake::default();
        let from = |last| [127, 0, 0, last].into();
        assert_eq!((0..100).filter(|last| brake.begin(of(Code, "joe", from(*last)), 1_000)).count(), 10);
        assert!(!brake.begin(of(Code, "joe", from(200)), 600_000), "for ten minutes");
        assert!(brake.begin(of(Password, "joe", from(200)), 600_000));
        assert!(brake.begin(of(Code, "joe", from(200)), 601_000));
    }

    /// Somebody who tries another name from another address each time.
    fn flood(brake: &Brake, app: &str, tries: u32) {
        for n in 0..tries {
            let [_, b, c, d] = n.to_be_bytes();
            assert!(brake.begin(Try { app, ..of(Password, &n.to_string(), [10, b, c, d].into()) }, 1_000));
        }
    }

    #[test]
    fn a_flood_of_one_app_or_of_many_makes_nobody_of_another_forgotten_or_wait() {
        let brake = Brake::default();
        let here = [127, 0, 0, 1].into();
        assert!((0..10).all(|_| brake.begin(of(Password, "root", here), 1_000)));
        assert!((0..5).all(|_| brake.begin(of(Password, "joe", here), 1_000)));
        for app in 0..40 {
            flood(&brake, &format!("flooded-{app}"), 4_000);
        }
        let remembered =
            |brake: &Brake| brake.apps.lock().unwrap_or_else(PoisonError::into_inner).values().map(HashMap::len).sum::<usize>();
        assert!((50_000..=Brake::OF_ALL).contains(&remembered(&brake)), "{}", remembered(&brake));
        assert!(!brake.begin(of(Password, "root", here), 2_000), "is still known");
        assert!((0..5).all(|_| brake.begin(of(Password, "joe", here), 2_000)) && !brake.begin(of(Password, "joe", here), 2_000));
    }

    #[test]
    fn one_app_has_its_share_of_memory() {
        let brake = Brake::default();
        flood(&brake, "app", 20_000);
        let remembered = brake.apps.lock().unwrap_or_else(PoisonError::into_inner).values().map(HashMap::len).sum::<usize>();
        assert!(remembered <= Brake::OF_ONE, "{remembered}");
    }
}

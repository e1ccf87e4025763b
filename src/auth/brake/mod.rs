//! A brake on guessing: who tried what of late without success, and who has to wait.

mod names;
mod origins;

use super::network::counted;
use ipnet::IpNet;
use names::Names;
use origins::{Origin, Origins};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Tries of late that did not succeed; beyond the limits the next ones are refused unseen. Each app's are its own: whoever
/// floods one is counted there, and makes nobody of another wait, nor is anybody of another forgotten for it.
///
/// Counted when they begin, so that many at once count as well as many in a row. Nobody gets more tries at one user than one window's,
/// wherever from and whatever else is tried meanwhile; what is forgotten under a flood is from where somebody tried.
#[derive(Debug, Default)]
pub struct Brake {
    apps: Mutex<Apps>,
    /// Of users who share a count
    hashes: RandomState,
}

#[derive(Debug, Default)]
struct Apps {
    of: HashMap<Box<str>, OfApp>,
    /// When it was last looked at what is over in all of them
    swept: i64,
}

impl Apps {
    /// Room for one more try in an app; how many of its users may have counts of their own.
    fn make_room(&mut self, app: &str, now: i64) -> usize {
        if let Some(of) = self.of.get_mut(app).filter(|of| of.origins.len() + 2 > Brake::OF_ONE) {
            of.origins.make_room(now, Brake::OF_ONE);
        }
        let is_full = |apps: &Apps| (apps.origins() + 2 > Brake::OF_ALL, apps.names() + 1 > Brake::OF_ALL);
        // Not at every try, since it looks at everything.
        if is_full(self) != (false, false) && now.saturating_sub(self.swept) >= Origin::WINDOW / 16 {
            self.swept = now;
            self.of.values_mut().for_each(|of| of.sweep(now));
            self.of.retain(|_, of| of.origins.len() + of.names.len() + of.codes.len() > 0);
        }
        let (of_origins, of_names) = is_full(self);
        // It is the attack that is forgotten, and not who has tried a few times elsewhere.
        if of_origins && let Some(largest) = self.of.values_mut().max_by_key(|of| of.origins.len()) {
            largest.origins.make_room(now, largest.origins.len());
        }
        if of_names { Brake::OF_ONE.min(Brake::OF_ALL / self.of.len().max(1)) } else { Brake::OF_ONE }
    }

    fn origins(&self) -> usize {
        self.of.values().map(|of| of.origins.len()).sum()
    }

    fn names(&self) -> usize {
        self.of.values().map(|of| of.names.len() + of.codes.len()).sum()
    }
}

#[derive(Debug)]
struct OfApp {
    origins: Origins,
    /// Passwords and names. The limit is high, since whoever reaches it locks the user out
    names: Names,
    /// Codes of second factors: there are a million only, and who tries them has the password
    codes: Names,
}

impl Default for OfApp {
    fn default() -> OfApp {
        OfApp { origins: Origins::default(), names: Names::new(300, 60_000), codes: Names::new(10, 600_000) }
    }
}

impl OfApp {
    fn tried(&mut self, tried: Tried) -> &mut Names {
        match tried {
            Tried::Password => &mut self.names,
            Tried::Code => &mut self.codes,
        }
    }

    fn sweep(&mut self, now: i64) {
        self.origins.sweep(now);
        self.names.sweep(now);
        self.codes.sweep(now);
    }
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    since: i64,
    count: u32,
}

impl Tries {
    fn none(now: i64) -> Tries {
        Tries { since: now, count: 0 }
    }

    /// Whether they are not forgotten yet.
    fn last(&self, window: i64, now: i64) -> bool {
        now.saturating_sub(self.since) < window
    }

    fn are_over(&self, limit: u32, window: i64, now: i64) -> bool {
        self.count >= limit && self.last(window, now)
    }

    fn count(&mut self, window: i64, now: i64) {
        if !self.last(window, now) {
            *self = Tries::none(now);
        }
        self.count += 1;
    }
}

/// Somebody who has to wait.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// At whose password, name or code; none: at many users'
    pub user: Option<String>,
    /// From where; none: from everywhere
    pub network: Option<IpNet>,
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
    /// Never remembers more places, or more users, of one app. Users beyond that share counts, which are few.
    const OF_ONE: usize = 10_000;
    /// Beyond this, all together, the largest app forgets places, and no app remembers more users than its share.
    const OF_ALL: usize = 100_000;
    /// No user is longer, bytes; what is remembered is bounded by it.
    const LONGEST: usize = 2048;

    /// Counts a try; whether it may go on. `now` in milliseconds.
    pub fn begin(&self, of: Try<'_>, now: i64) -> bool {
        if of.user.len() > Self::LONGEST {
            return false;
        }
        let hash = self.hashes.hash_one(of.user);
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let most = apps.make_room(of.app, now);
        let app = apps.of.entry(of.app.into()).or_default();
        let origins = Self::origins(of);
        let open = origins.iter().all(|origin| app.origins.is_open(origin, now)) && app.tried(of.tried).is_open(of.user, hash, now);
        if open {
            for origin in origins {
                app.origins.count(origin, now);
            }
            app.tried(of.tried).count(of.user, hash, now, most);
        }
        open
    }

    /// The try was right: it does not count, and who found his password may forget it again.
    pub fn succeeded(&self, of: Try<'_>) {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(app) = apps.of.get_mut(of.app) else { return };
        for origin in Self::origins(of) {
            app.origins.succeeded(&origin);
        }
        app.tried(of.tried).succeeded(of.user, self.hashes.hash_one(of.user), of.tried == Tried::Code);
    }

    /// Who has to wait now in an app. `now` in milliseconds.
    pub fn held(&self, app: &str, now: i64) -> Vec<Held> {
        let apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(app) = apps.of.get(app) else { return Vec::new() };
        let from = app.origins.held(now).map(|(origin, until)| match origin {
            Origin::Pair(user, network) => Held { user: Some(user.to_string()), network: Some(*network), until },
            Origin::Address(network) => Held { user: None, network: Some(*network), until },
        });
        let names = app.names.held(now).chain(app.codes.held(now));
        let at = names.map(|(user, until)| Held { user: user.map(str::to_owned), network: None, until });
        let mut held: Vec<Held> = from.chain(at).collect();
        held.sort();
        held
    }

    /// Forgets what was tried in an app from these networks, see [`counted`].
    pub fn release(&self, app: &str, network: impl Fn(&IpNet) -> bool) {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(app) = apps.of.get_mut(app) {
            app.origins.release(network);
        }
    }

    fn origins(Try { user, address, .. }: Try<'_>) -> [Origin; 2] {
        let network = counted(address);
        [Origin::Pair(user.into(), network), Origin::Address(network)]
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
        let here = IpAddr::from([127, 0, 0, 1]);
        (0..11).for_each(|_| {
            let _ = brake.begin(of(Password, "jo", here), 1_000);
        });
        let held = brake.held("app", 2_000);
        assert_eq!(held, [Held { user: Some("jo".into()), network: Some(here.into()), until: 61_000 }]);
        assert_eq!(brake.held("other", 2_000), []);
        assert_eq!(brake.held("app", 61_000), []);
        brake.release("other", |_| true);
        assert!(!brake.begin(of(Password, "jo", here), 2_000));
        brake.release("app", |network| network.contains(&here));
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
        let here = IpAddr::from([127, 0, 0, 1]);
        assert_eq!((0..100).filter(|user| brake.begin(of(Password, &user.to_string(), here), 1_000)).count(), 50);
        assert_eq!(brake.held("app", 1_000), [Held { user: None, network: Some(here.into()), until: 61_000 }]);
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

    fn remembered(brake: &Brake) -> (usize, usize) {
        let apps = brake.apps.lock().unwrap_or_else(PoisonError::into_inner);
        (apps.origins(), apps.names())
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
        let (origins, names) = remembered(&brake);
        assert!((50_000..=Brake::OF_ALL).contains(&origins), "{origins}");
        assert!((50_000..=Brake::OF_ALL * 3 / 2).contains(&names), "{names}");
        assert!(!brake.begin(of(Password, "root", here), 2_000), "is still known");
        assert!((0..5).all(|_| brake.begin(of(Password, "joe", here), 2_000)) && !brake.begin(of(Password, "joe", here), 2_000));
    }

    #[test]
    fn one_app_has_its_share_of_memory() {
        let brake = Brake::default();
        flood(&brake, "app", 20_000);
        let (origins, names) = remembered(&brake);
        assert!(origins <= Brake::OF_ONE && names <= Brake::OF_ONE + 256, "{origins} {names}");
    }

    #[test]
    fn whatever_else_is_tried_nobody_is_tried_more_often_in_one_window() {
        let brake = Brake::default();
        let from = |n: u32| IpAddr::from((0x0b00_0000 + n).to_be_bytes());
        let codes = || (0..20).filter(|n| brake.begin(of(Code, "/db/User/1", from(*n)), 1_000)).count();
        let passwords = || (0..400).filter(|n| brake.begin(of(Password, "root", from(1_000 + n)), 1_000)).count();
        assert_eq!((codes(), passwords()), (10, 300));
        for round in 0..3 {
            flood(&brake, "app", 25_000);
            assert_eq!((codes(), passwords()), (0, 0), "round {round}");
        }
        // Nor who is tried for the first time when there is no room any more.
        let late = (0..400).filter(|n| brake.begin(of(Password, "late", from(2_000 + n)), 1_000)).count();
        assert!((1..=300).contains(&late), "{late}");
    }

    #[test]
    fn a_network_of_many_addresses_is_one() {
        let brake = Brake::default();
        let from = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, n, n, n, n]);
        assert_eq!((0..100).filter(|n| brake.begin(of(Password, "root", from(*n)), 1_000)).count(), 10);
        assert_eq!((0..100).filter(|n| brake.begin(of(Password, &n.to_string(), from(*n)), 1_000)).count(), 40);
        assert!(brake.begin(of(Password, "joe", [0x2001, 0xdb8, 0, 2, 0, 0, 0, 1].into()), 1_000));
        let mapped = |n: u16| IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, n]);
        assert!((0..100).all(|n| brake.begin(of(Password, &format!("of {n}"), mapped(n)), 1_000)), "they are of IPv4");
    }
}

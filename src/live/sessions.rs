//! Sessions with live subscriptions: they end with the token that they began with, unless that is renewed over HTTP.
//!
//! A token carries the id of its session and keeps it when it is renewed, so whoever goes on using the API keeps his
//! subscriptions. There is work only where a session begins, is renewed, or ends: never a look at all subscriptions.

use super::messages::Refused;
use super::subscription::Subscription;
use super::{Gateway, lock};
use crate::auth::token::Claims;
use crate::rights::Ended;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

/// A task that waits for nothing looks so often whether it is still needed.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The sessions of tokens that subscriptions hang on.
#[derive(Default)]
pub struct Sessions {
    state: Mutex<State>,
    /// Told when there is an end before all others
    earlier: Notify,
}

#[derive(Default)]
struct State {
    live: HashMap<u64, Live>,
    /// When each session ends, the earliest first
    ends: BTreeSet<(u32, u64)>,
    /// App, user and session
    users: BTreeSet<(Arc<str>, Arc<str>, u64)>,
}

struct Live {
    app: Arc<str>,
    user: Arc<str>,
    /// Of the oldest token that a subscription began with
    generation: u32,
    expires: u32,
    /// By address: a subscription leaves before it is gone
    subscriptions: HashMap<usize, Weak<Subscription>>,
}

impl Sessions {
    /// A subscription begins.
    pub(crate) fn join(&self, subscription: &Arc<Subscription>, claims: &Claims) {
        let (app, user, session) = (&subscription.connection.app.name, &claims.user, subscription.session);
        let mut state = lock(&self.state);
        let first = state.ends.first().copied();
        if !state.live.contains_key(&session) {
            state.ends.insert((claims.expires, session));
            state.users.insert((app.clone(), user.clone(), session));
        }
        let live = state.live.entry(session).or_insert_with(|| Live {
            app: app.clone(),
            user: user.clone(),
            generation: claims.generation,
            expires: claims.expires,
            subscriptions: HashMap::new(),
        });
        live.generation = live.generation.min(claims.generation);
        live.subscriptions.insert(Arc::as_ptr(subscription) as usize, Arc::downgrade(subscription));
        state.prolong(session, claims.expires);
        let earlier = state.ends.first().copied() != first;
        drop(state);
        if earlier {
            self.earlier.notify_one();
        }
    }

    /// A subscription has ended.
    pub(crate) fn leave(&self, subscription: &Subscription) {
        let mut state = lock(&self.state);
        let Some(live) = state.live.get_mut(&subscription.session) else { return };
        live.subscriptions.remove(&(std::ptr::from_ref(subscription) as usize));
        if live.subscriptions.is_empty() {
            state.forget(subscription.session);
        }
    }

    /// A token was renewed over HTTP: what hangs on its session lives as long as the new one.
    pub fn renewed(&self, claims: &Claims) {
        // As the authority makes a session's hash.
        lock(&self.state).prolong(claims.session | 1, claims.expires);
    }

    /// The subscriptions of sessions that have ended by `now`, seconds since 1970.
    fn expired(&self, now: u32) -> Vec<Arc<Subscription>> {
        let mut state = lock(&self.state);
        let mut ended = Vec::new();
        while let Some(&(expires, session)) = state.ends.first()
            && expires <= now
        {
            ended.extend(state.forget(session));
        }
        ended
    }

    /// The subscriptions of a user whose tokens are dead.
    fn revoked(&self, of: &Ended) -> Vec<Arc<Subscription>> {
        let mut state = lock(&self.state);
        let all = (of.app.clone(), of.user.clone(), 0)..=(of.app.clone(), of.user.clone(), u64::MAX);
        let sessions: Vec<u64> = state.users.range(all).map(|(.., session)| *session).collect();
        let mut ended = Vec::new();
        for session in sessions {
            if state.live.get(&session).is_some_and(|live| live.generation < of.generation) {
                ended.extend(state.forget(session));
            }
        }
        ended
    }

    fn next_end(&self) -> Option<u32> {
        lock(&self.state).ends.first().map(|(expires, _)| *expires)
    }
}

impl State {
    fn prolong(&mut self, session: u64, expires: u32) {
        if let Some(live) = self.live.get_mut(&session)
            && live.expires < expires
        {
            self.ends.remove(&(live.expires, session));
            self.ends.insert((expires, session));
            live.expires = expires;
        }
    }

    fn forget(&mut self, session: u64) -> Vec<Arc<Subscription>> {
        let Some(live) = self.live.remove(&session) else { return Vec::new() };
        self.ends.remove(&(live.expires, session));
        self.users.remove(&(live.app, live.user, session));
        live.subscriptions.into_values().filter_map(|subscription| subscription.upgrade()).collect()
    }
}

/// The session's token was revoked: by a new password, an administrator, or the end of the user.
pub(crate) fn revoked() -> Refused {
    Refused::new(460, "session-revoked", "the token of this subscription was revoked; log in again and subscribe anew")
}

/// The session's token has ended.
fn expired() -> Refused {
    Refused::new(460, "session-expired", "the token of this subscription has expired and was not renewed; log in again and subscribe anew")
}

/// Ends subscriptions when their sessions end, as long as there is a gateway.
pub(crate) async fn watch(gateway: Weak<Gateway>, sessions: Arc<Sessions>, mut ended: UnboundedReceiver<Ended>) {
    loop {
        let Some(now) = gateway.upgrade().map(|gateway| gateway.authenticate.now()) else { return };
        let wait = sessions.next_end().map_or(LONGEST_WAIT, |end| Duration::from_secs(end.saturating_sub(now).into()));
        let (over, refused) = tokio::select! {
            told = ended.recv() => match told {
                Some(ended) => (sessions.revoked(&ended), revoked()),
                None => return,
            },
            () = sessions.earlier.notified() => continue,
            () = tokio::time::sleep(wait.min(LONGEST_WAIT)) => {
                let Some(gateway) = gateway.upgrade() else { return };
                (sessions.expired(gateway.authenticate.now()), expired())
            }
        };
        let Some(gateway) = gateway.upgrade() else { return };
        for subscription in over {
            gateway.end(&subscription, &refused);
        }
    }
}

//! Rights as they are now, in memory: who belongs to which role, and whose tokens are dead.
//!
//! Fed by what the control stream tells, as rights are changes, too: committed changes of roles and of users, and
//! revocations.
//! Whoever judges asks here and not the token: what a token says of roles is for the edge alone. The store's writer keeps
//! a [`Membership`] of its own, current to the write before, by which it judges inside its transaction.

mod membership;
pub mod secrets;

pub use membership::Membership;

use dataflows::access::Caller;
use dataflows::change::{Change, Image};
use dataflows::document::Value;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// The bucket whose objects say who belongs together.
pub const ROLES: &str = "Role";

/// The bucket whose objects are those who log in.
pub const USERS: &str = "User";

/// The administrator whom every app has.
pub const ROOT: &str = "/db/User/1";

/// Whether a change is one of rights: it is told in the control stream, and what is written after it is judged by it.
pub fn concerns(change: &Change) -> bool {
    match &*change.bucket {
        ROLES => true,
        USERS => change.after.is_none() || is_inactive(change.before.as_deref()) != is_inactive(change.after.as_deref()),
        _ => false,
    }
}

/// Whether a change makes a user a member of a role, or takes him out of it.
pub fn moves(change: &Change, user: &str) -> bool {
    let lists = |role: &Option<Arc<Image>>| membership::members(role.as_deref()).contains(user);
    *change.bucket == *ROLES && lists(&change.before) != lists(&change.after)
}

/// Whether a user's object says that he may not log in.
pub fn is_inactive(user: Option<&Image>) -> bool {
    user.is_some_and(|user| matches!(user.document.root().get("inactive"), Some(Value::Bool(true))))
}

/// Somebody's tokens are dead from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The app
    pub app: Arc<str>,
    /// The user's id
    pub user: Arc<str>,
    /// Those of older generations; `u32::MAX`: all
    pub generation: u32,
}

/// From now on the tokens of a user that are of an older generation are dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The app
    pub app: Arc<str>,
    /// The user's id
    pub user: Arc<str>,
    /// Tokens below it are dead; `u32::MAX` for a user who is gone, where a former version wrote it
    pub generation: u32,
    /// The user is gone. Should he come back under the same id, it is with this generation: above all that he ever had
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Seconds since 1970 after which every such token has ended by itself, and this can be forgotten
    pub until: i64,
}

/// What everybody on this node judges by: as of the last published commit.
#[derive(Debug, Default)]
pub struct Rights {
    membership: RwLock<Membership>,
    /// Who follows the ends of tokens
    followers: Mutex<Vec<UnboundedSender<Ended>>>,
    /// No token lives longer, seconds; 0 as long as nobody said so
    longest: AtomicU32,
    /// Whether a user's name is where mail to him goes
    names_confirmed: AtomicBool,
}

impl Rights {
    /// As they were read at the start.
    pub fn new(membership: Membership) -> Rights {
        Rights { membership: RwLock::new(membership), ..Rights::default() }
    }

    /// A committed change of a role or a user.
    pub fn apply(&self, change: &Change) {
        self.membership.write().unwrap_or_else(PoisonError::into_inner).apply(change);
        if &*change.bucket == USERS && (change.after.is_none() || is_inactive(change.after.as_deref())) {
            self.tell(Ended { app: change.app.clone(), user: change.id.clone(), generation: u32::MAX });
        }
    }

    /// A committed revocation.
    pub fn revoke(&self, revocation: &Revocation) {
        self.membership.write().unwrap_or_else(PoisonError::into_inner).revoke(revocation);
        let Revocation { app, user, generation, .. } = revocation;
        self.tell(Ended { app: app.clone(), user: user.clone(), generation: *generation });
    }

    /// Tokens that die from now on, each told when [`Rights::is_alive`] knows of it already.
    pub fn follow(&self) -> UnboundedReceiver<Ended> {
        let (follower, ended) = tokio::sync::mpsc::unbounded_channel();
        self.followers.lock().unwrap_or_else(PoisonError::into_inner).push(follower);
        ended
    }

    fn tell(&self, ended: Ended) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| follower.send(ended.clone()).is_ok());
    }

    /// From now on users change no names, which mail goes to: administrators do, and the server, for whoever has opened a link
    /// that was sent to the new name. Said at the start, where there is mail.
    pub fn confirm_names(&self) {
        self.names_confirmed.store(true, Ordering::Relaxed);
    }

    /// Whether names have to be confirmed before users have them, see [`Rights::confirm_names`].
    pub fn names_are_confirmed(&self) -> bool {
        self.names_confirmed.load(Ordering::Relaxed)
    }

    /// Tokens live for so long, seconds; of what is told the longest.
    pub fn tokens_live(&self, seconds: u32) {
        self.longest.fetch_max(seconds, Ordering::Relaxed);
    }

    /// When a revocation of `now` may be forgotten, as every token that it is about has ended by itself; seconds since 1970.
    pub fn forgotten_at(&self, now: i64) -> i64 {
        match self.longest.load(Ordering::Relaxed) {
            0 => i64::MAX,
            longest => now.saturating_add(i64::from(longest)).saturating_add(1),
        }
    }

    /// A user with the roles that he has now.
    pub fn caller(&self, app: &str, user: &str) -> Caller {
        self.membership.read().unwrap_or_else(PoisonError::into_inner).caller(app, user)
    }

    /// The rights of one role alone, for a user who may assume it: a member, or an administrator.
    pub fn assumed(&self, app: &str, user: &str, role: &str) -> Option<Caller> {
        self.membership.read().unwrap_or_else(PoisonError::into_inner).assumed(app, user, role)
    }

    /// The roles that a user has now.
    pub fn roles(&self, app: &str, user: &str) -> Vec<Arc<str>> {
        self.membership.read().unwrap_or_else(PoisonError::into_inner).roles(app, user).cloned().collect()
    }

    /// Whether tokens of this generation are alive: the user is there and active, and did not revoke them.
    pub fn is_alive(&self, app: &str, user: &str, generation: u32) -> bool {
        self.membership.read().unwrap_or_else(PoisonError::into_inner).is_alive(app, user, generation)
    }
}

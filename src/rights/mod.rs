//! Rights as they are now, in memory: who belongs to which role, and whose tokens are dead.
//!
//! Fed by what the control stream tells (DESIGN: "Rights are changes too"): committed changes of roles, and revocations.
//! Whoever judges asks here and not the token: what a token says of roles is for the edge alone. The store's writer keeps
//! a [`Membership`] of its own, current to the write before, by which it judges inside its transaction.

mod membership;

pub use membership::Membership;

use dataflows::access::Caller;
use dataflows::change::Change;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError, RwLock};

/// The bucket whose objects say who belongs together.
pub const ROLES: &str = "Role";

/// From now on the tokens of a user that are of an older generation are dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The app
    pub app: Arc<str>,
    /// The user's id
    pub user: Arc<str>,
    /// Tokens below it are dead; `u32::MAX` for a user who is gone
    pub generation: u32,
    /// Seconds since 1970 after which every such token has ended by itself, and this can be forgotten
    pub until: i64,
}

/// What everybody on this node judges by: as of the last published commit.
#[derive(Debug, Default)]
pub struct Rights {
    membership: RwLock<Membership>,
}

impl Rights {
    /// As they were read at the start.
    pub fn new(membership: Membership) -> Rights {
        Rights { membership: RwLock::new(membership) }
    }

    /// A committed change of a role.
    pub fn apply(&self, change: &Change) {
        self.membership.write().unwrap_or_else(PoisonError::into_inner).apply(change);
    }

    /// A committed revocation.
    pub fn revoke(&self, revocation: &Revocation) {
        self.membership.write().unwrap_or_else(PoisonError::into_inner).revoke(revocation);
    }

    /// A user with the roles that he has now.
    pub fn caller(&self, app: &str, user: &str) -> Caller {
        self.membership.read().unwrap_or_else(PoisonError::into_inner).caller(app, user)
    }

    /// The roles that a user has now.
    pub fn roles(&self, app: &str, user: &str) -> Vec<Arc<str>> {
        self.membership.read().unwrap_or_else(PoisonError::into_inner).roles(app, user).cloned().collect()
    }

    /// Whether tokens of this generation are alive.
    pub fn is_alive(&self, app: &str, user: &str, generation: u32) -> bool {
        self.membership.read().unwrap_or_else(PoisonError::into_inner).is_alive(app, user, generation)
    }
}

//! Who belongs to which role, and whose tokens are dead: a fold over the control stream.

use super::{ROLES, Revocation, USERS, is_inactive};
use dataflows::access::{ADMIN_ROLE, Caller, LOGGED_IN_ROLE};
use dataflows::change::{Change, Image};
use dataflows::document::Value;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Of every app.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    apps: HashMap<Arc<str>, OfApp>,
}

#[derive(Debug, Clone, Default)]
struct OfApp {
    /// User to roles; nobody is in it without one
    roles: HashMap<Box<str>, BTreeSet<Arc<str>>>,
    /// User to the generation below which his tokens are dead; absent where none is
    generations: HashMap<Box<str>, u32>,
    /// Users who were deleted, as long as any of their tokens could have life in it
    gone: HashSet<Box<str>>,
    /// Users who may not log in
    inactive: HashSet<Box<str>>,
}

/// How a former version noted a user who is gone, without the generation that he had.
const GONE: u32 = u32::MAX;
/// What stands for that: nobody has changed his password so often.
const UNKNOWN: u32 = 1 << 31;

impl Membership {
    /// A change of a role or a user; of other objects it does nothing. The change with its images exchanged takes it back.
    pub fn apply(&mut self, change: &Change) {
        match &*change.bucket {
            ROLES => self.replace(&change.app, &change.id, change.before.as_deref(), change.after.as_deref()),
            USERS => self.user(&change.app, &change.id, change.after.as_deref()),
            _ => {}
        }
    }

    /// Takes a change back, as if it had not been.
    pub fn undo(&mut self, change: &Change) {
        match &*change.bucket {
            ROLES => self.replace(&change.app, &change.id, change.after.as_deref(), change.before.as_deref()),
            USERS => self.user(&change.app, &change.id, change.before.as_deref()),
            _ => {}
        }
    }

    /// A user who may not log in, as it was read from the store.
    pub fn load_inactive(&mut self, app: &Arc<str>, user: &str) {
        self.apps.entry(app.clone()).or_default().inactive.insert(user.into());
    }

    fn user(&mut self, app: &Arc<str>, user: &Arc<str>, now: Option<&Image>) {
        let of = self.apps.entry(app.clone()).or_default();
        if is_inactive(now) {
            of.inactive.insert((**user).into());
        } else {
            of.inactive.remove(&**user);
        }
        match now {
            None => drop(of.gone.insert((**user).into())),
            Some(_) => drop(of.gone.remove(&**user)),
        }
    }

    /// A role as it was read from the store.
    pub fn load(&mut self, app: &Arc<str>, role: &Arc<str>, image: &Image) {
        self.replace(app, role, None, Some(image));
    }

    /// Tokens below its generation are dead from now on.
    pub fn revoke(&mut self, revocation: &Revocation) {
        let of = self.apps.entry(revocation.app.clone()).or_default();
        let former = revocation.generation == GONE;
        if revocation.gone || former {
            of.gone.insert((*revocation.user).into());
        }
        let generation = if former { UNKNOWN } else { revocation.generation };
        if generation > 0 {
            let known = of.generations.entry((*revocation.user).into()).or_default();
            *known = (*known).max(generation);
        }
    }

    /// Whether a user was deleted, and not so long ago that nothing has to be known of him any more.
    pub fn is_gone(&self, app: &str, user: &str) -> bool {
        self.apps.get(app).is_some_and(|of| of.gone.contains(user))
    }

    /// The generation below which a user's tokens are dead; 0 where none is.
    pub fn generation(&self, app: &str, user: &str) -> u32 {
        self.apps.get(app).and_then(|of| of.generations.get(user)).copied().unwrap_or(0)
    }

    /// Forgets an app that is gone.
    pub fn forget(&mut self, app: &str) {
        self.apps.remove(app);
    }

    /// A user with the roles that he has; nobody in particular where he is gone or inactive.
    pub fn caller(&self, app: &str, user: &str) -> Caller {
        if !self.is_there(app, user) {
            return Caller::anonymous();
        }
        Caller::new(self.roles(app, user).map(|role| &**role).chain([user, LOGGED_IN_ROLE]))
    }

    /// The rights of one role alone, for a user who may assume it: a member, or an administrator.
    pub fn assumed(&self, app: &str, user: &str, role: &str) -> Option<Caller> {
        let permitted = self.is_there(app, user) && self.roles(app, user).any(|of| matches!(&**of, ADMIN_ROLE) || **of == *role);
        permitted.then(|| self.caller(app, user).limited_to([role, LOGGED_IN_ROLE]))
    }

    /// The roles that name a user as a member.
    pub fn roles(&self, app: &str, user: &str) -> impl Iterator<Item = &Arc<str>> {
        self.apps.get(app).and_then(|of| of.roles.get(user)).into_iter().flatten()
    }

    /// Whether tokens of this generation are alive: the user is there and active, and did not revoke them.
    pub fn is_alive(&self, app: &str, user: &str, generation: u32) -> bool {
        self.is_there(app, user) && generation >= self.generation(app, user)
    }

    fn is_there(&self, app: &str, user: &str) -> bool {
        self.apps.get(app).is_none_or(|of| !of.gone.contains(user) && !of.inactive.contains(user))
    }

    fn replace(&mut self, app: &Arc<str>, role: &Arc<str>, before: Option<&Image>, after: Option<&Image>) {
        let (old, new) = (members(before), members(after));
        let roles = &mut self.apps.entry(app.clone()).or_default().roles;
        for user in old.difference(&new) {
            if let Some(of_user) = roles.get_mut(*user) {
                of_user.remove(role);
                if of_user.is_empty() {
                    roles.remove(*user);
                }
            }
        }
        for user in new {
            if !roles.get(user).is_some_and(|of_user| of_user.contains(role)) {
                roles.entry(user.into()).or_default().insert(role.clone());
            }
        }
    }
}

/// The users whom a role lists.
pub(super) fn members(role: Option<&Image>) -> BTreeSet<&str> {
    match role.and_then(|image| image.document.root().get("users")) {
        Some(Value::Array(users)) => {
            users.iter().filter_map(|user| if let Value::String(user) = user { Some(user) } else { None }).collect()
        }
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use dataflows::change::{Operation, Writer};
    use dataflows::document::{DateFields, DocumentLimits};
    use proptest::prelude::*;

    fn image(users: &[u8]) -> Option<Arc<Image>> {
        let users: Vec<_> = users.iter().map(|user| format!("/db/User/{user}")).collect();
        let text = serde_json::json!({"id": "/db/Role/x", "version": 1, "users": users}).to_string();
        Some(Arc::new(Image::parse(text.into(), &DateFields::default(), DocumentLimits::default()).unwrap()))
    }

    fn change(role: u8, before: Option<Arc<Image>>, after: Option<Arc<Image>>) -> Change {
        Change {
            commit: 1,
            at: 0,
            app: "app".into(),
            bucket: ROLES.into(),
            id: format!("/db/Role/{role}").into(),
            operation: Operation::Update,
            before,
            after,
            schema_version: 0,
            control: 0,
            writer: Writer::default(),
            batch: None,
        }
    }

    fn told(membership: &Membership) -> Vec<Vec<String>> {
        let of = |user: u8| membership.roles("app", &format!("/db/User/{user}")).map(ToString::to_string).collect();
        (0..4).map(of).collect()
    }

    proptest! {
        #[test]
        fn it_is_what_the_roles_list_and_every_change_can_be_taken_back(
            changes in prop::collection::vec((0u8..3, prop::option::of(prop::collection::vec(0u8..4, 0..4))), 0..20),
        ) {
            let mut membership = Membership::default();
            let mut lists: HashMap<u8, Vec<u8>> = HashMap::new();
            for (role, users) in changes {
                let before = lists.get(&role).and_then(|users| image(users));
                let change = change(role, before, users.as_deref().and_then(image));
                let was = told(&membership);
                membership.apply(&change);
                membership.undo(&change);
                prop_assert_eq!(&told(&membership), &was);
                membership.apply(&change);
                match users {
                    Some(users) => lists.insert(role, users),
                    None => lists.remove(&role),
                };
                for user in 0..4u8 {
                    let mut expected: Vec<_> =
                        lists.iter().filter(|(_, users)| users.contains(&user)).map(|(role, _)| format!("/db/Role/{role}")).collect();
                    expected.sort();
                    prop_assert_eq!(&told(&membership)[usize::from(user)], &expected);
                }
            }
        }
    }

    #[test]
    fn who_is_gone_or_inactive_is_nobody_and_has_no_tokens() {
        let user = |inactive: bool| {
            let text = serde_json::json!({"id": "/db/User/0", "version": 1, "inactive": inactive}).to_string();
            Some(Arc::new(Image::parse(text.into(), &DateFields::default(), DocumentLimits::default()).unwrap()))
        };
        let of_user = |before, after| Change { bucket: USERS.into(), id: "/db/User/0".into(), ..change(0, before, after) };
        let mut membership = Membership::default();
        membership.apply(&change(1, None, image(&[0])));
        let known = |membership: &Membership| {
            let caller = membership.caller("app", "/db/User/0");
            (membership.is_alive("app", "/db/User/0", 9), caller == Caller::new(["/db/User/0", "/db/Role/1", LOGGED_IN_ROLE]))
        };
        for (before, after, alive) in [(None, user(false), true), (user(false), user(true), false), (user(false), None, false)] {
            let change = of_user(before, after);
            membership.apply(&change);
            assert_eq!(known(&membership), (alive, alive), "{change:?}");
            assert_eq!(membership.assumed("app", "/db/User/0", "/db/Role/7").is_some(), alive, "an administrator may assume any");
            membership.undo(&change);
            if change.before.is_some() {
                assert_eq!(known(&membership), (true, true), "taken back");
            }
        }
    }

    #[test]
    fn revocations_only_ever_rise() {
        let mut membership = Membership::default();
        let revocation = |generation| Revocation { app: "app".into(), user: "/db/User/a".into(), generation, gone: false, until: 0 };
        membership.revoke(&revocation(3));
        membership.revoke(&revocation(2));
        assert!(membership.is_alive("app", "/db/User/a", 3) && !membership.is_alive("app", "/db/User/a", 2));
        assert!(membership.is_alive("app", "/db/User/b", 0) && membership.is_alive("other", "/db/User/a", 0));
    }

    #[test]
    fn who_comes_back_has_none_of_his_former_tokens() {
        let image = || {
            let text = r#"{"id":"/db/User/0","version":1}"#;
            Some(Arc::new(Image::parse(text.into(), &DateFields::default(), DocumentLimits::default()).unwrap()))
        };
        let of_user = |before, after| Change { bucket: USERS.into(), id: "/db/User/0".into(), ..change(0, before, after) };
        let alive = |membership: &Membership, generation| membership.is_alive("app", "/db/User/0", generation);
        // As it is noted now, and as former versions did without the generation.
        for (noted, least) in [(8, 8), (GONE, UNKNOWN)] {
            let revocation = |generation, gone| Revocation { app: "app".into(), user: "/db/User/0".into(), generation, gone, until: 0 };
            let mut membership = Membership::default();
            membership.revoke(&revocation(7, false));
            membership.apply(&of_user(image(), None));
            membership.revoke(&revocation(noted, noted != GONE));
            assert!(membership.is_gone("app", "/db/User/0") && !alive(&membership, least));
            membership.apply(&of_user(None, image()));
            assert!(!membership.is_gone("app", "/db/User/0"));
            assert_eq!(membership.generation("app", "/db/User/0"), least);
            assert!(!alive(&membership, 7) && !alive(&membership, least - 1) && alive(&membership, least));
        }
    }
}

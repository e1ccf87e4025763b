//! Who may see which image: the caller's references, access lists, the judge.
//!
//! The front stage and the live side judge with this same code, on both images of every change, so
//! that losing access is a `remove` and nothing leaks.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Role of administrators: passes every list (docs/schema.md, "Who may what").
pub const ADMIN_ROLE: &str = "/db/Role/1";
/// Role of server code.
pub const NODE_ROLE: &str = "/db/Role/2";
/// Role of everybody who is logged in.
pub const LOGGED_IN_ROLE: &str = "/db/Role/3";

/// Who asks: the user's id and his roles. Empty for anonymous callers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    references: Box<[Box<str>]>,
    /// What he has put aside, so that nothing is allowed to him by it; what is denied stays denied
    aside: Box<[Box<str>]>,
    admin: bool,
}

impl Caller {
    /// Nobody in particular.
    pub fn anonymous() -> Caller {
        Caller::default()
    }

    /// Somebody who may do everything: the server itself, or an administrator's tool.
    pub fn admin() -> Caller {
        Caller::new([ADMIN_ROLE])
    }

    /// The ids of the user and of his roles.
    pub fn new<S: Into<Box<str>>>(references: impl IntoIterator<Item = S>) -> Caller {
        let mut references: Vec<Box<str>> = references.into_iter().map(Into::into).collect();
        references.sort_unstable();
        references.dedup();
        let admin = references.iter().any(|reference| &**reference == ADMIN_ROLE);
        Caller { references: references.into(), aside: Box::default(), admin }
    }

    /// The same caller with these references alone. Whoever is denied something by a reference that he puts aside is still
    /// denied it: nobody gains by having less.
    pub fn limited_to<S: Into<Box<str>>>(&self, references: impl IntoIterator<Item = S>) -> Caller {
        let aside = self.references.iter().chain(&self.aside).cloned().collect();
        Caller { aside, ..Caller::new(references) }
    }

    /// Whether every list lets this caller pass.
    pub fn is_admin(&self) -> bool {
        self.admin
    }

    /// The references, sorted.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        self.references.iter().map(|reference| &**reference)
    }

    fn has(&self, reference: &str) -> bool {
        self.references.binary_search_by(|own| (**own).cmp(reference)).is_ok()
    }
}

/// `allow` or `deny`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// May
    Allow,
    /// May not, whatever else says so
    Deny,
}

/// A map from user or role to rule. Without any `allow` it is public but for those denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rights(pub BTreeMap<Box<str>, Rule>);

impl Rights {
    /// Only administrators pass.
    pub fn admin_only() -> Rights {
        Rights(BTreeMap::from([(ADMIN_ROLE.into(), Rule::Allow)]))
    }

    /// Whether everybody passes.
    pub fn is_public(&self) -> bool {
        self.0.is_empty()
    }

    /// The judge. Administrators pass; a `deny` on any reference of the caller refuses; without an
    /// `allow` it is public; else one `allow` must hit (docs/schema.md).
    pub fn permits(&self, caller: &Caller) -> bool {
        if self.0.is_empty() || caller.admin {
            return true;
        }
        let (mut closed, mut allowed) = (false, false);
        for (reference, rule) in &self.0 {
            match rule {
                Rule::Deny if caller.has(reference) || caller.aside.contains(reference) => return false,
                Rule::Deny => {}
                Rule::Allow => {
                    closed = true;
                    allowed = allowed || caller.has(reference);
                }
            }
        }
        allowed || !closed
    }
}

/// An object's access list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acl {
    /// Who may load it and see it in results
    #[serde(default)]
    pub read: Rights,
    /// Who may update and delete it
    #[serde(default)]
    pub write: Rights,
}

impl Acl {
    /// Whether everybody may read.
    pub fn is_readable_by_all(&self) -> bool {
        self.read.is_public()
    }
}

/// What a class lets its callers do (docs/schema.md); missing maps are public.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClassRights {
    /// Load by id
    #[serde(default, skip_serializing_if = "Rights::is_public")]
    pub load: Rights,
    /// Insert
    #[serde(default, skip_serializing_if = "Rights::is_public")]
    pub insert: Rights,
    /// Update
    #[serde(default, skip_serializing_if = "Rights::is_public")]
    pub update: Rights,
    /// Delete
    #[serde(default, skip_serializing_if = "Rights::is_public")]
    pub delete: Rights,
    /// Query, count and subscribe
    #[serde(default, skip_serializing_if = "Rights::is_public")]
    pub query: Rights,
    /// Make subclasses
    #[serde(default, skip_serializing_if = "Rights::is_public")]
    pub schema_subclass: Rights,
    /// Add fields
    #[serde(default, skip_serializing_if = "Rights::is_public")]
    pub schema_add: Rights,
    /// Replace the class
    #[serde(default, skip_serializing_if = "Rights::is_public")]
    pub schema_replace: Rights,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(entries: &[(&str, Rule)]) -> Rights {
        Rights(entries.iter().map(|(reference, rule)| ((*reference).into(), *rule)).collect())
    }

    #[test]
    fn a_list_without_allow_is_public_but_for_those_denied() {
        let list = rights(&[("/db/User/a", Rule::Deny)]);
        assert!(list.permits(&Caller::anonymous()));
        assert!(list.permits(&Caller::new(["/db/User/b"])));
        assert!(!list.permits(&Caller::new(["/db/User/a"])));
    }

    #[test]
    fn deny_on_a_role_beats_allow_on_the_user() {
        let list = rights(&[("/db/User/a", Rule::Allow), ("/db/Role/7", Rule::Deny)]);
        assert!(list.permits(&Caller::new(["/db/User/a"])));
        assert!(!list.permits(&Caller::new(["/db/User/a", "/db/Role/7"])));
        assert!(!list.permits(&Caller::anonymous()));
    }

    #[test]
    fn who_puts_a_role_aside_gains_nothing_by_it() {
        let member = Caller::new(["/db/User/a", "/db/Role/7", "/db/Role/8"]);
        let seven = member.limited_to(["/db/Role/7"]);
        assert!(rights(&[("/db/Role/7", Rule::Allow)]).permits(&seven));
        for reference in ["/db/User/a", "/db/Role/8"] {
            assert!(!rights(&[(reference, Rule::Allow)]).permits(&seven));
            assert!(!rights(&[("/db/Role/7", Rule::Allow), (reference, Rule::Deny)]).permits(&seven));
        }
        assert!(!Caller::admin().limited_to(["/db/Role/7"]).is_admin());
    }

    #[test]
    fn administrators_pass_even_a_deny() {
        let list = rights(&[(ADMIN_ROLE, Rule::Deny)]);
        assert!(list.permits(&Caller::admin()));
    }
}

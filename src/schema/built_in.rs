//! The classes that every app has (docs/schema.md).

use super::{Class, Field};
use dataflows::access::{ADMIN_ROLE, ClassRights, LOGGED_IN_ROLE, Rights, Rule};
use indexmap::IndexMap;
use std::sync::{Arc, OnceLock};

/// The class that all others come from.
pub const OBJECT: &str = "/db/Object";

fn field(name: &str, kind: &str, order: i64, flags: &[&str]) -> (Box<str>, Field) {
    let flags = flags.iter().map(|flag| Box::from(*flag)).collect();
    (name.into(), Field { name: name.into(), kind: kind.into(), order, metadata: IndexMap::new(), flags })
}

fn declare(name: &str, acl: ClassRights, fields: impl IntoIterator<Item = (Box<str>, Field)>) -> Class {
    Class {
        class: format!("/db/{name}").into(),
        super_class: (name != "Object").then(|| OBJECT.into()),
        embedded: false,
        metadata: IndexMap::new(),
        validation_code: None,
        acl,
        fields: fields.into_iter().collect(),
    }
}

/// Nobody but administrators declares anything about built-in classes.
fn rights() -> ClassRights {
    ClassRights {
        schema_subclass: Rights::admin_only(),
        schema_add: Rights::admin_only(),
        schema_replace: Rights::admin_only(),
        ..ClassRights::default()
    }
}

/// The built-in classes, in the order in which they are delivered.
pub(super) fn classes() -> IndexMap<Box<str>, Arc<Class>> {
    let metadata = ["METADATA", "READONLY"];
    let object = declare(
        "Object",
        rights(),
        [
            field("id", "/db/String", 0, &metadata),
            field("version", "/db/Integer", 1, &metadata),
            field("acl", "/db/JsonObject", 2, &metadata),
            field("createdAt", "/db/DateTime", 3, &metadata),
            field("updatedAt", "/db/DateTime", 4, &metadata),
        ],
    );
    // Users are made by registration, so that there is none without credentials.
    let user = declare(
        "User",
        ClassRights { insert: Rights::admin_only(), ..rights() },
        [field("username", "/db/String", 0, &[]), field("inactive", "/db/Boolean", 1, &[])],
    );
    let role = declare("Role", rights(), [field("name", "/db/String", 0, &[]), field("users", "/db/collection.Set[/db/User]", 1, &[])]);
    let device = declare(
        "Device",
        ClassRights { insert: Rights::admin_only(), query: Rights::admin_only(), ..rights() },
        [field("deviceOs", "/db/String", 0, &[])],
    );
    let log = declare(
        "logs.AppLog",
        ClassRights {
            load: Rights::admin_only(),
            query: Rights::admin_only(),
            update: Rights::admin_only(),
            delete: Rights::admin_only(),
            ..rights()
        },
        [
            field("date", "/db/DateTime", 0, &[]),
            field("message", "/db/String", 1, &[]),
            field("level", "/db/String", 2, &[]),
            field("data", "/db/JsonObject", 3, &[]),
            field("user", "/db/User", 4, &[]),
        ],
    );
    [object, user, role, device, log].into_iter().map(|class| (class.class.trim_start_matches("/db/").into(), Arc::new(class))).collect()
}

/// A built-in class as it came; none where the name is free.
pub(super) fn class(bucket: &str) -> Option<&'static Arc<Class>> {
    static CLASSES: OnceLock<IndexMap<Box<str>, Arc<Class>>> = OnceLock::new();
    CLASSES.get_or_init(classes).get(bucket)
}

/// The access list of the predefined roles and of `root`: administrators only may write.
pub fn admin_written() -> dataflows::access::Acl {
    dataflows::access::Acl { read: Rights::default(), write: Rights::admin_only() }
}

/// The predefined roles (id, name): nobody is a member of the last two by being listed.
pub const ROLES: [(&str, &str); 3] = [(ADMIN_ROLE, "admin"), (dataflows::access::NODE_ROLE, "node"), (LOGGED_IN_ROLE, "loggedin")];

/// What a user's own object lets whom do: himself, and administrators by being that.
pub fn own(user: &str) -> dataflows::access::Acl {
    let own = Rights([(user.into(), Rule::Allow)].into());
    dataflows::access::Acl { read: own.clone(), write: own }
}

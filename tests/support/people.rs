//! Users with tokens, made with the server's own key: that they exist as objects is not needed for access. Their roles do:
//! who belongs to which is what the role objects say.

use dataflows::access::{Caller, LOGGED_IN_ROLE};
use dataflows::change::{Image, Writer};
use dataflows::document::Value;
use std::sync::Arc;
use tidegate::auth::Authority;
use tidegate::server::{APP, Server};
use tidegate::store::{Actor, Decision, Key, Stamp, Store, Write};

/// Somebody who asks.
#[derive(Debug, Clone)]
pub struct Person {
    pub token: Option<String>,
    /// What the judge is told about him
    pub caller: Arc<Caller>,
}

impl Person {
    pub fn anonymous() -> Person {
        Person { token: None, caller: Arc::new(Caller::anonymous()) }
    }

    /// As [`Person::of`], and a member of the roles indeed.
    pub async fn enrolled(server: &Server, user: &str, roles: &[&str]) -> Person {
        enroll(server, user, roles).await;
        Person::of(server.authority(), user, roles)
    }

    /// Somebody logged in, with a user's id and those of his roles.
    pub fn of(authority: &Authority, user: &str, roles: &[&str]) -> Person {
        let (_, token) = authority.issue(APP, user.into(), roles.iter().map(|role| (*role).into()).collect(), 0).unwrap();
        let references = roles.iter().copied().chain([user, LOGGED_IN_ROLE]);
        Person { token: Some(token), caller: Arc::new(Caller::new(references)) }
    }
}

/// Makes a user a member of roles, which are made where they are not there.
pub async fn enroll(server: &Server, user: &str, roles: &[&str]) {
    for role in roles {
        let key = Key { app: APP.into(), bucket: "Role".into(), id: (*role).into() };
        let (id, user) = ((*role).to_owned(), user.to_owned());
        let decide = move |before: Option<&Image>, stamp: &Stamp<'_>| {
            let mut users: Vec<&str> = match before.and_then(|image| image.document.root().get("users")) {
                Some(Value::Array(users)) => {
                    users.iter().filter_map(|user| if let Value::String(user) = user { Some(user) } else { None }).collect()
                }
                _ => Vec::new(),
            };
            users.push(&user);
            let text = serde_json::json!({"id": id, "version": stamp.version, "acl": null, "users": users});
            Ok(Decision::Put(text.to_string().into()))
        };
        let write = Write { key, decide: Arc::new(decide), actor: Actor::server(), writer: Writer::default() };
        server.store().commit(write).await.unwrap();
    }
}

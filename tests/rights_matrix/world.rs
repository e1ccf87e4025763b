//! A server with the people, the role, the classes and the objects of the matrix, and how it is asked.

use super::oracle::{Access, CALLERS, Class, Condition, List, Request};
use crate::support::http::{Answer, Http};
use crate::support::server::{PASSWORD, config, start};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::HashMap;
use tempfile::TempDir;
use tidegate::server::{APP, Server};

/// The running server, and everybody's connection to it.
pub struct World {
    pub server: Server,
    pub root: Http,
    /// The id of the role, given by the server
    pub role: String,
    /// Nicknames of registered users to their ids and tokens
    people: HashMap<&'static str, (String, String)>,
    _data: TempDir,
}

impl World {
    pub async fn start() -> World {
        let data = TempDir::new().unwrap();
        let mut config = config(data.path());
        config.server.password_ms = 0;
        let server = start(config).await;
        let root = Http::new(&server.url()).login("root", PASSWORD).await;
        let made = root.insert("Role", json!({"name": "matrix"}).to_string()).await;
        assert_eq!(made.status, 201, "{made:?}");
        let role = made.json()["id"].as_str().unwrap().to_owned();
        let mut world = World { server, root, role, people: HashMap::new(), _data: data };
        world.populate().await;
        world
    }

    /// Everybody gets his history: who is a member was none when he logged in, and the impostor is none any more. Who was
    /// deactivated or deleted is still in the role's list.
    async fn populate(&mut self) {
        for name in ["user", "member", "impostor", "inactive", "deleted"] {
            let body = json!({"user": {"username": name}, "password": "secret", "login": true}).to_string();
            let answer = Http::new(self.root.base()).post("/db/User/register", body).await;
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            self.people.insert(name, (id, answer.renewed_token().unwrap()));
        }
        self.enroll(&["impostor", "inactive", "deleted"]).await;
        for name in ["impostor", "inactive", "deleted"] {
            let token = Http::new(self.root.base()).login(name, "secret").await.token().unwrap().to_owned();
            let claims = self.server.authority().claims(APP, &token).unwrap();
            assert!(claims.roles.iter().any(|role| **role == *self.role), "{claims:?}");
            self.people.get_mut(name).unwrap().1 = token;
        }
        self.enroll(&["member", "inactive", "deleted"]).await;
        let inactive = self.root.post(self.id("inactive"), r#"{"$set":{"inactive":true}}"#).await;
        assert_eq!(inactive.status, 200, "{inactive:?}");
        let deleted = self.root.delete("User", self.id("deleted").rsplit('/').next().unwrap(), Some("*")).await;
        assert_eq!(deleted.status, 204, "{deleted:?}");
    }

    /// The id of a registered user.
    pub fn id(&self, name: &str) -> &str {
        &self.people[name].0
    }

    /// Makes them the role's members, and nobody else.
    pub async fn enroll(&self, names: &[&str]) {
        let users: Vec<_> = names.iter().map(|name| self.id(name)).collect();
        let body = json!({"name": "matrix", "users": users}).to_string();
        let answer = self.root.put("Role", self.role.rsplit('/').next().unwrap(), body, Some("*")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Somebody with a token of his own, or with none.
    pub fn caller(&self, name: &str) -> Http {
        match name {
            "root" => self.root.clone(),
            name => self.root.with_token(self.people.get(name).map(|(_, token)| token.clone())),
        }
    }

    pub fn callers(&self) -> Vec<(&'static str, &'static [&'static str], Http)> {
        CALLERS.iter().map(|(name, known_by)| (*name, *known_by, self.caller(name))).collect()
    }

    /// A list as the API has it.
    pub fn rules(&self, list: List) -> Value {
        let id = |who: &str| match who {
            "role" => self.role.clone(),
            "admin" => "/db/Role/1".to_owned(),
            "logged in" => "/db/Role/3".to_owned(),
            user => self.id(user).to_owned(),
        };
        list.iter().map(|(who, allow)| (id(who), json!(if *allow { "allow" } else { "deny" }))).collect::<serde_json::Map<_, _>>().into()
    }

    pub fn acl(&self, access: &Access) -> Value {
        json!({"read": self.rules(access.read), "write": self.rules(access.write)})
    }

    pub async fn declare(&self, bucket: &str, class: &Class) {
        let acl = json!({
            "load": self.rules(class.load), "query": self.rules(class.query), "insert": self.rules(class.insert),
            "update": self.rules(class.update), "delete": self.rules(class.delete),
        });
        let fields = json!({"note": {"name": "note", "type": "/db/String", "order": 0}});
        let class = json!({"class": format!("/db/{bucket}"), "superClass": "/db/Object", "acl": acl, "fields": fields});
        let answer = self.root.post("/schema", class.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Asks about an object at this version. Whatever is written is `note`.
pub async fn ask(http: &Http, request: Request, bucket: &str, key: &str, version: u64, note: &str) -> Answer {
    let path = format!("/db/{bucket}/{key}");
    let with = |method, path: &str| {
        let body = body(request, &format!("/db/{bucket}/{key}"), note);
        http.request(method, path).header("content-type", "application/json").body(body.to_string())
    };
    let (sent, condition) = match request {
        Request::Load => (http.request(Method::GET, &path), Condition::None),
        Request::Insert => (with(Method::POST, &format!("/db/{bucket}")), Condition::None),
        Request::Save(condition) => (with(Method::PUT, &path), condition),
        Request::Change(condition) => (with(Method::POST, &path), condition),
        Request::ChangeField => (with(Method::POST, &format!("{path}/note")), Condition::None),
        Request::Delete(condition) => (http.request(Method::DELETE, &path), condition),
    };
    let sent = match tag(condition, version) {
        None => sent,
        Some((name, tag)) => sent.header(if name == "ifMatch" { "if-match" } else { "if-none-match" }, tag),
    };
    http.send(sent).await
}

/// The same in a batch, behind a write that everybody may do. The answer is that of the one write, with what the whole batch
/// was answered where it failed; none where there is no such write in batches.
pub async fn ask_in_batch(http: &Http, request: Request, bucket: &str, key: &str, version: u64, note: &str) -> Option<Answer> {
    let (operation, condition) = match request {
        Request::Insert => ("insert", Condition::None),
        Request::Save(condition) => ("put", condition),
        Request::Change(condition) => ("partial", condition),
        Request::Delete(condition) => ("delete", condition),
        Request::Load | Request::ChangeField => return None,
    };
    let id = format!("/db/{bucket}/{key}");
    let mut write = json!({"operation": operation, "id": id, "object": body(request, &id, note)});
    if let Some((name, tag)) = tag(condition, version) {
        write[name] = json!(tag);
    }
    if operation == "delete" {
        write.as_object_mut().unwrap().remove("object");
    }
    let beside = json!({"operation": "put", "id": format!("/db/{BESIDE}/{bucket}"), "object": {"note": note}});
    let mut answer = http.post("/batch", json!([beside, write]).to_string()).await;
    if answer.status == 200 {
        let mut done = answer.json()["results"][1].take();
        answer.status = u16::try_from(done["status"].as_u64().unwrap()).unwrap();
        answer.body = done["object"].take().to_string().into();
    }
    Some(answer)
}

/// A bucket that is open to everybody, with an object for each room.
pub const BESIDE: &str = "Beside";

fn body(request: Request, id: &str, note: &str) -> Value {
    match request {
        Request::Change(_) => json!({"$set": {"note": note}}),
        Request::ChangeField => json!({"$set": note}),
        _ => json!({"id": id, "note": note}),
    }
}

fn tag(condition: Condition, version: u64) -> Option<(&'static str, String)> {
    match condition {
        Condition::None => None,
        Condition::Any => Some(("ifMatch", "*".to_owned())),
        Condition::Current => Some(("ifMatch", format!("\"{version}\""))),
        Condition::Other => Some(("ifMatch", format!("\"{}\"", version + 7))),
        Condition::Absent => Some(("ifNoneMatch", "*".to_owned())),
    }
}

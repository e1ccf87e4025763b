//! A server with the people, the role, the classes and the objects of the matrix, and how it is asked.

use super::oracle::{Access, CALLERS, Class, Condition, List, Request};
use crate::support::http::{Answer, Http};
use crate::support::server::{PASSWORD, config, start};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use tidegate::server::{APP, Server};

/// The running server, and everybody's connection to it.
pub struct World {
    pub server: Server,
    pub root: Http,
    /// The id of the role, given by the server
    pub role: String,
    _data: TempDir,
}

impl World {
    pub async fn start() -> World {
        let data = TempDir::new().unwrap();
        let server = start(config(data.path())).await;
        let root = Http::new(&server.url()).login("root", PASSWORD).await;
        let role = json!({"name": "matrix", "users": ["/db/User/member"]});
        let made = root.insert("Role", role.to_string()).await;
        assert_eq!(made.status, 201, "{made:?}");
        let role = made.json()["id"].as_str().unwrap().to_owned();
        World { server, root, role, _data: data }
    }

    /// Somebody with a token of his own.
    pub fn caller(&self, name: &str) -> Http {
        let roles: Vec<Arc<str>> = if name == "impostor" { vec![self.role.as_str().into()] } else { Vec::new() };
        let token = match name {
            "anonymous" => None,
            "root" => return self.root.clone(),
            name => Some(self.server.authority().issue(APP, format!("/db/User/{name}").into(), roles, 0).unwrap().1),
        };
        self.root.with_token(token)
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
            user => format!("/db/User/{user}"),
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
    let object = json!({"id": path, "note": note});
    let with =
        |method, path: &str, body: &Value| http.request(method, path).header("content-type", "application/json").body(body.to_string());
    let request = match request {
        Request::Load => http.request(Method::GET, &path),
        Request::Insert => with(Method::POST, &format!("/db/{bucket}"), &object),
        Request::Save(condition) => conditional(with(Method::PUT, &path, &object), condition, version),
        Request::Delete(condition) => conditional(http.request(Method::DELETE, &path), condition, version),
    };
    http.send(request).await
}

fn conditional(request: RequestBuilder, condition: Condition, version: u64) -> RequestBuilder {
    match condition {
        Condition::None => request,
        Condition::Any => request.header("if-match", "*"),
        Condition::Current => request.header("if-match", format!("\"{version}\"")),
        Condition::Other => request.header("if-match", format!("\"{}\"", version + 7)),
        Condition::Absent => request.header("if-none-match", "*"),
    }
}

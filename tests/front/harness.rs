//! A server of its own for each test, on a directory of its own.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tempfile::TempDir;
use tidegate::config::{Config, Durability};
use tidegate::server::{Server, Setup};

pub(crate) const PASSWORD: &str = "a password for tests";

/// A change of the schema by the administrator. It waits for the one before to be carried out, but not for long: on a slow
/// machine it is asked for again.
pub(crate) async fn change(rig: &Rig, body: &str) -> Answer {
    let deadline = std::time::Instant::now() + super::support::PATIENCE;
    loop {
        let answer = rig.post_as(&rig.root, "/schema", body).await;
        if answer.status != 503 || answer.reason() != "busy" {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "{answer:?}");
    }
}

/// A time of an object. Times are written without trailing zeros: as texts they are in another order.
pub(crate) fn instant(time: &Value) -> jiff::Timestamp {
    time.as_str().unwrap().parse().unwrap()
}

pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) data: TempDir,
    client: reqwest::Client,
    /// Token of the administrator
    pub(crate) root: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The error's stable code; fails where the body is not one as the SDK reads it.
    pub(crate) fn reason(&self) -> String {
        assert!(self.status >= 400, "{self:?}");
        assert!(self.header("content-type").unwrap().starts_with("application/json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{self:?}");
        assert!(body["message"].is_string() && body["className"].is_string(), "{self:?}");
        body["reason"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn config(data: &TempDir) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".into();
    config.server.admin_listen = "127.0.0.1:0".into();
    config.store.data = data.path().join("data");
    config.store.durability = Durability::System;
    config.server.password_ms = 0;
    config
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Rig {
        let data = TempDir::new().unwrap();
        let mut config = config(&data);
        change(&mut config);
        let server = Server::start(Setup { config, root_password: Some(PASSWORD.into()), ..Setup::default() }).await.unwrap();
        Rig::around(server, data).await
    }

    async fn around(server: Server, data: TempDir) -> Rig {
        let mut rig = Rig { server, data, client: reqwest::Client::new(), root: String::new() };
        rig.root = rig.login("root", PASSWORD).await.header("baqend-authorization-token").unwrap().to_owned();
        rig
    }

    /// The same data in another process's life.
    pub(crate) async fn restart(self) -> Rig {
        self.server.shutdown().await.unwrap();
        let server = Server::start(config(&self.data)).await.unwrap();
        assert_eq!(server.root_password(), None);
        Rig::around(server, self.data).await
    }

    pub(crate) async fn login(&self, username: &str, password: &str) -> Answer {
        let body = serde_json::json!({"username": username, "password": password});
        self.ask(Method::POST, "/db/User/login", None, &[], Some(body.to_string())).await
    }

    /// A token of somebody who never registered: rights go by the ids in it.
    pub(crate) fn token(&self, user: &str, roles: &[&str]) -> String {
        let roles = roles.iter().map(|role| (*role).into()).collect();
        self.server.authority().issue(tidegate::server::APP, user.into(), roles, 0).unwrap().1
    }

    /// A token's signature of one path, as the SDK makes it: HMAC-SHA1, the key is the text of the token's own signature.
    pub(crate) fn sign_path(&self, token: &str, path: &str) -> String {
        use hmac::{Hmac, Mac};
        let (data, signature) = token.split_at(token.len() - 40);
        let mac = Hmac::<sha1::Sha1>::new_from_slice(signature.as_bytes()).unwrap().chain_update(path).chain_update(data);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{data}{hex}")
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        self.ask_at(&format!("{}{path}", self.server.url()), method, token, headers, body).await
    }

    pub(crate) async fn ask_admin(&self, path: &str, token: Option<&str>, headers: &[(&str, &str)]) -> Answer {
        self.ask_at(&format!("http://{}{path}", self.server.admin_address()), Method::GET, token, headers, None).await
    }

    pub(crate) async fn ask_at(
        &self,
        url: &str,
        method: Method,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let mut request = self.client.request(method, url);
        if let Some(token) = token {
            request = request.header("authorization", format!("BAT {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json;charset=utf-8").body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None, &[], None).await
    }

    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.ask(Method::GET, path, Some(token), &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(Method::POST, path, None, &[], Some(body.into())).await
    }

    pub(crate) async fn post_as(&self, token: &str, path: &str, body: &str) -> Answer {
        self.ask(Method::POST, path, Some(token), &[], Some(body.into())).await
    }

    pub(crate) async fn put(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.ask(Method::PUT, path, None, headers, Some(body.into())).await
    }

    pub(crate) async fn delete(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::DELETE, path, None, headers, None).await
    }
}

//! A server with several apps, and their administrators.

use super::support::http::{Answer, Http};
use super::support::server::{PASSWORD, config};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidegate::config::Config;
use tidegate::server::{Server, Setup};

pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) directory: TempDir,
    change: fn(&mut Config),
    /// As root of the default app
    root: String,
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::with(|_| ()).await
    }

    pub(crate) async fn with(change: fn(&mut Config)) -> Rig {
        Rig::on(TempDir::with_prefix("tidegate-tenants-").unwrap(), change, Some(PASSWORD.into())).await
    }

    pub(crate) async fn on(directory: TempDir, change: fn(&mut Config), root_password: Option<String>) -> Rig {
        let mut config = config(directory.path());
        change(&mut config);
        let server = Server::start(Setup { config, root_password, ..Setup::default() }).await.unwrap();
        let root = Http::new(&server.url()).login("root", PASSWORD).await.token().unwrap().to_owned();
        Rig { server, directory, change, root }
    }

    /// The same data in another process's life.
    pub(crate) async fn restart(self) -> Rig {
        self.server.shutdown().await.unwrap();
        Rig::on(self.directory, self.change, None).await
    }

    /// The listener of administration, as root of the default app.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.admin_as(Some(&self.root), method, path, body).await
    }

    pub(crate) async fn admin_as(&self, token: Option<&str>, method: Method, path: &str, body: Option<Value>) -> Answer {
        let http = Http::new(&format!("http://{}", self.server.admin_address())).with_token(token.map(str::to_owned));
        let request = http.request(method, path);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        http.send(request).await
    }

    /// Makes an app and logs its root in.
    pub(crate) async fn create(&self, name: &str, limits: Value) -> Http {
        let asked = json!({"name": name, "limits": limits, "rootPassword": password_of(name)});
        let made = self.admin(Method::POST, "/apps", Some(asked)).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert!(made.json().get("rootPassword").is_none(), "a password that was given is not told again");
        self.root_of(name).await
    }

    pub(crate) async fn delete(&self, name: &str) {
        let deleted = self.admin(Method::DELETE, &format!("/apps/{name}"), None).await;
        assert_eq!(deleted.status, 202, "{deleted:?}");
    }

    /// Waits until nothing of a deleted app is left.
    pub(crate) async fn until_gone(&self, in_store: &str) {
        let deadline = Instant::now() + super::support::PATIENCE;
        let left = async || {
            let apps = self.admin(Method::GET, "/apps", None).await.json();
            apps["apps"].as_array().unwrap().iter().any(|app| app["inStore"] == in_store)
        };
        while left().await {
            assert!(Instant::now() < deadline, "the app is not gone");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Nobody, at an app.
    pub(crate) fn app(&self, word: &str) -> Http {
        Http::new(&format!("http://{}/{word}", self.server.api_address()))
    }

    pub(crate) async fn root_of(&self, word: &str) -> Http {
        self.app(word).login("root", &password_of(word)).await
    }
}

pub(crate) fn password_of(word: &str) -> String {
    if word == "app" || word == "v1" { PASSWORD.into() } else { format!("the password of {word}") }
}

pub(crate) fn code(answer: &Answer) -> String {
    answer.json()["reason"].as_str().unwrap_or_default().to_owned()
}

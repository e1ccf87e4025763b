//! A copy of one app: all of it, and nothing of any other.

use super::harness::{Rig, code, password_of};
use super::support::server::PASSWORD;
use reqwest::Method;
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

fn restore(file: &Path, data: &Path) {
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("restore").arg(file).arg("--data").arg(data).output().unwrap();
    assert!(run.status.success(), "{run:?}");
}

fn holds(copy: &[u8], text: &str) -> bool {
    copy.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn one_app_is_copied_and_lives_on_alone() {
    let rig = Rig::start().await;
    let mut tokens = Vec::new();
    for word in ["acme", "other", "app"] {
        let root = if word == "app" { rig.root_of("app").await } else { rig.create(word, json!({"scans": 5})).await };
        let index = root.post("/index/Lot", r#"{"unique":true,"keys":[{"name":"asc"}]}"#).await;
        assert!(index.status < 300, "{index:?}");
        let lot = json!({"id": "/db/Lot/1", "name": format!("the lot of {word}")});
        assert_eq!(root.insert("Lot", lot.to_string()).await.status, 201);
        let ann = json!({"user": {"username": format!("ann-of-{word}")}, "password": "correct horse"});
        let ann = root.post("/db/User/register", ann.to_string()).await;
        assert!(ann.status < 300, "{ann:?}");
        tokens.push(root.token().unwrap().to_owned());
    }
    // Its predecessor of the same name is none of it.
    rig.delete("other").await;
    rig.until_gone("other").await;
    assert_eq!(rig.admin(Method::POST, "/backup?app=nobody", None).await.status, 404);
    let copy = rig.admin(Method::POST, "/backup?app=acme", None).await;
    assert_eq!(copy.status, 200);
    for (text, there) in
        [("the lot of acme", true), ("ann-of-acme", true), ("the lot of app", false), ("ann-of-app", false), ("other", false)]
    {
        assert_eq!(holds(&copy.body, text), there, "{text}");
    }

    // The same without a server.
    let data = rig.directory.path().join("data");
    rig.server.shutdown().await.unwrap();
    let place = TempDir::new().unwrap();
    let offline = place.path().join("offline");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["backup", "--offline", "--app", "acme", "--data"])
        .arg(&data)
        .arg(&offline)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let online = place.path().join("online");
    std::fs::write(&online, &copy.body).unwrap();

    for file in [online, offline] {
        let directory = TempDir::new().unwrap();
        restore(&file, &directory.path().join("data"));
        let alone = Rig::on(directory, |_| (), Some(PASSWORD.into())).await;
        let apps = alone.admin(Method::GET, "/apps", None).await.json();
        let names: Vec<_> = apps["apps"].as_array().unwrap().iter().map(|app| app["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["acme", "app"]);
        let acme = alone.admin(Method::GET, "/apps/acme", None).await.json();
        assert!(acme["limitsInForce"]["scans"] == 5 && acme["stored"]["objects"].as_u64().unwrap() > 1, "{acme}");
        // Users and their passwords, tokens and their keys, rights.
        let ann = alone.app("acme").login("ann-of-acme", "correct horse").await;
        assert_eq!(ann.get("/db/User/me").await.json()["username"], "ann-of-acme");
        let root = alone.app("acme").with_token(Some(tokens[0].clone()));
        assert_eq!(root.get("/db/User/me").await.json()["username"], "root");
        assert_eq!(alone.app("acme").login("root", &password_of("acme")).await.load("Lot", "1").await.json()["name"], "the lot of acme");
        // The unique index is built again; until then the same name is refused all the same, or the index has failed.
        let deadline = std::time::Instant::now() + super::support::PATIENCE;
        while root.get("/index/Lot").await.body.windows(8).any(|window| window == b"building") {
            assert!(std::time::Instant::now() < deadline, "the index is not built");
            tokio::task::yield_now().await;
        }
        let again = root.insert("Lot", json!({"id": "/db/Lot/2", "name": "the lot of acme"}).to_string()).await;
        assert_eq!(code(&again), "unique-index-violated");
        // The default app begins anew.
        let root = alone.root_of("app").await;
        assert_eq!(root.load("Lot", "1").await.status, 404);
        let former = alone.app("app").with_token(Some(tokens[2].clone())).get("/db/User/me").await;
        assert_ne!(former.status, 200, "a former token is nobody's: {former:?}");
        alone.server.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn the_default_app_is_copied_without_the_others() {
    let rig = Rig::start().await;
    let root = rig.root_of("app").await;
    assert_eq!(root.insert("Lot", r#"{"id":"/db/Lot/1","name":"of the default app"}"#).await.status, 201);
    let acme = rig.create("acme", json!({})).await;
    assert_eq!(acme.insert("Lot", r#"{"id":"/db/Lot/1","name":"of acme"}"#).await.status, 201);
    let copy = rig.admin(Method::POST, "/backup?app=app", None).await;
    assert!(holds(&copy.body, "of the default app") && !holds(&copy.body, "acme"));
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("copy");
    std::fs::write(&file, &copy.body).unwrap();
    restore(&file, &directory.path().join("data"));
    // Its root has the password that he had.
    let alone = Rig::on(directory, |_| (), None).await;
    let token = root.token().map(str::to_owned);
    assert_eq!(alone.app("app").with_token(token).load("Lot", "1").await.json()["name"], "of the default app");
    assert_eq!(alone.admin(Method::GET, "/apps", None).await.json()["apps"].as_array().unwrap().len(), 1);
}

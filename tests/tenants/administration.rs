//! Making, changing and listing apps, and that they are kept.

use super::harness::{Rig, code};
use super::support::server::PASSWORD;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn apps_come_change_and_stay_over_restart_and_backup() {
    let rig = Rig::start().await;
    let apps = rig.admin(Method::GET, "/apps", None).await.json();
    assert_eq!(apps["apps"].as_array().unwrap().iter().map(|app| app["name"].as_str().unwrap()).collect::<Vec<_>>(), ["app"]);

    // A password is generated and told once where none is given.
    let made = rig.admin(Method::POST, "/apps", Some(json!({"name": "acme", "hosts": ["Acme.Example"], "limits": {"scans": 3}}))).await;
    assert_eq!((made.status, made.headers["cache-control"].to_str().unwrap()), (201, "private, no-store"));
    let made = made.json();
    let password = made["rootPassword"].as_str().unwrap().to_owned();
    assert_eq!(
        (&made["hosts"], &made["limits"], &made["limitsInForce"]["scans"]),
        (&json!(["acme.example"]), &json!({"scans": 3}), &json!(3))
    );
    let root = rig.app("acme").login("root", &password).await;
    assert_eq!(root.insert("Lot", r#"{"id":"/db/Lot/1","of":"acme"}"#).await.status, 201);
    assert_eq!(rig.app("acme").load("Lot", "1").await.json()["of"], "acme");
    assert_eq!(rig.app("v1").load("Lot", "1").await.status, 404);
    assert!(rig.admin(Method::GET, "/apps/acme", None).await.json().get("rootPassword").is_none());

    let changed = rig.admin(Method::PUT, "/apps/acme", Some(json!({"hosts": []}))).await.json();
    assert_eq!((&changed["hosts"], &changed["limits"]), (&json!([]), &json!({"scans": 3})), "what is absent stays");
    let changed = rig.admin(Method::PUT, "/apps/acme", Some(json!({"limits": {"writes": 5}}))).await.json();
    assert_eq!((&changed["limitsInForce"]["writes"], &changed["limitsInForce"]["scans"]), (&json!(5), &json!(16)));
    let changed = rig.admin(Method::PUT, "/apps/app", Some(json!({"limits": {"scans": 7}, "hosts": ["main.example"]}))).await.json();
    assert_eq!(changed["limitsInForce"]["scans"], 7, "the default app has limits and hosts as others");

    let backup = rig.admin(Method::POST, "/backup", None).await;
    let token = root.token().unwrap().to_owned();
    let rig = rig.restart().await;
    let acme = rig.app("acme").with_token(Some(token.clone()));
    assert_eq!(acme.get("/db/User/me").await.json()["username"], "root", "tokens live on");
    assert_eq!(acme.insert("Lot", r#"{"id":"/db/Lot/2"}"#).await.status, 201);
    assert_eq!(rig.admin(Method::GET, "/apps/acme", None).await.json()["limitsInForce"]["writes"], 5);
    assert_eq!(rig.admin(Method::GET, "/apps/app", None).await.json()["hosts"], json!(["main.example"]));
    assert_eq!(rig.admin(Method::GET, "/apps/app", None).await.json()["limitsInForce"]["scans"], 7);

    // The copy has the apps in it.
    let restored = tempfile::TempDir::new().unwrap();
    let file = restored.path().join("copy");
    std::fs::write(&file, &backup.body).unwrap();
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("restore")
        .arg(&file)
        .arg("--data")
        .arg(restored.path().join("data"))
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let copy = Rig::on(restored, |_| (), None).await;
    let acme = copy.app("acme").with_token(Some(token));
    assert_eq!(acme.load("Lot", "1").await.json()["of"], "acme");
    assert_eq!(acme.get("/db/User/me").await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_a_reason() {
    let rig = Rig::start().await;
    rig.create("acme", json!({})).await;
    let host = json!({"hosts": ["acme.example"]});
    assert_eq!(rig.admin(Method::PUT, "/apps/acme", Some(host)).await.status, 200);
    for (body, status, says) in [
        (json!({"name": "acme"}), 409, "already"),
        (json!({"name": "app"}), 409, "already"),
        (json!({"name": "v1"}), 400, "version"),
        (json!({"name": "v2"}), 400, "version"),
        (json!({"name": "Acme"}), 400, "small letter"),
        (json!({"name": "a/b"}), 400, "small letter"),
        (json!({"name": "a.2"}), 400, "small letter"),
        (json!({"name": ""}), 400, "small letter"),
        (json!({"name": "b", "hosts": ["a b"]}), 400, "host name"),
        (json!({"name": "b", "hosts": ["127.0.0.1"]}), 400, "host name"),
        (json!({"name": "b", "hosts": ["ACME.example."]}), 409, "acme"),
        (json!({"name": "b", "origins": ["*"]}), 400, "origin"),
        (json!({"name": "b", "origins": ["https://a.example/path"]}), 400, "origin"),
        (json!({"name": "b", "limits": {"scans": 0}}), 400, "scans"),
        (json!({"name": "b", "limits": {"scan": 1}}), 400, "scan"),
        (json!({"name": "b", "rootPassword": ""}), 400, "password"),
        (json!({"nam": "b"}), 400, "nam"),
    ] {
        let refused = rig.admin(Method::POST, "/apps", Some(body.clone())).await;
        assert_eq!(refused.status, status, "{body}: {refused:?}");
        assert!(refused.json()["message"].as_str().unwrap().contains(says), "{body}: {refused:?}");
    }
    assert_eq!(code(&rig.admin(Method::DELETE, "/apps/app", None).await), "app-conflict");
    assert_eq!(code(&rig.admin(Method::DELETE, "/apps/nobody", None).await), "no-such-app");
    assert_eq!(code(&rig.admin(Method::PUT, "/apps/nobody", Some(json!({}))).await), "no-such-app");
    assert_eq!(code(&rig.app("nobody").get("/connect").await), "no-such-page");
    // Nothing of what was refused is there.
    assert_eq!(rig.admin(Method::GET, "/apps", None).await.json()["apps"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn only_administrators_of_the_default_app_administrate() {
    let rig = Rig::start().await;
    let acme = rig.create("acme", json!({})).await;
    // A token of another app's root, at the listener and at its login.
    for token in [None, acme.token()] {
        for (method, path, body) in [
            (Method::GET, "/apps", None),
            (Method::POST, "/apps", Some(json!({"name": "b"}))),
            (Method::GET, "/apps/acme", None),
            (Method::PUT, "/apps/acme", Some(json!({}))),
            (Method::DELETE, "/apps/acme", None),
            (Method::POST, "/backup", None),
            (Method::GET, "/explain?bucket=Lot&app=acme", None),
            (Method::GET, "/ingest", None),
        ] {
            let refused = rig.admin_as(token, method.clone(), path, body).await;
            assert_eq!((refused.status, &*code(&refused)), (403, "admin-only"), "{method} {path}");
        }
    }
    let login = json!({"username": "root", "password": super::harness::password_of("acme")});
    assert_eq!(rig.admin_as(None, Method::POST, "/db/User/login", Some(login)).await.status, 460);
    let login = json!({"username": "root", "password": PASSWORD});
    let token = rig.admin_as(None, Method::POST, "/db/User/login", Some(login)).await.renewed_token().unwrap();
    assert_eq!(rig.admin_as(Some(&token), Method::GET, "/apps", None).await.status, 200);
}

#[tokio::test]
async fn explain_asks_for_the_app_that_is_named() {
    let rig = Rig::start().await;
    rig.create("acme", json!({})).await;
    let path = "/explain?bucket=Lot&q=%7B%22price%22%3A1%7D";
    for (path, status) in [(path.to_owned(), 200), (format!("{path}&app=acme"), 200), (format!("{path}&app=nobody"), 404)] {
        assert_eq!(rig.admin(Method::GET, &path, None).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn there_are_no_more_apps_than_may_be() {
    let rig = Rig::with(|config| config.limits.apps = 2).await;
    rig.create("one", json!({})).await;
    let refused = rig.admin(Method::POST, "/apps", Some(json!({"name": "two"}))).await;
    assert_eq!((refused.status, &*code(&refused)), (409, "app-conflict"));
    rig.delete("one").await;
    rig.create("two", json!({})).await;
}

//! Login, tokens, connect.

use super::harness::{PASSWORD, Rig};
use reqwest::Method;
use serde_json::json;

const TOKEN: &str = "baqend-authorization-token";

#[tokio::test]
async fn the_administrator_logs_in() {
    let rig = Rig::start().await;
    let answer = rig.login("root", PASSWORD).await;
    assert_eq!((answer.status, &answer.json()["id"], &answer.json()["username"]), (200, &json!("/db/User/1"), &json!("root")));
    let token = answer.header(TOKEN).unwrap();
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    let hex = |part: &str| i64::from_str_radix(part, 16).unwrap();
    assert_eq!(hex(&token[8..16]) - hex(&token[..8]), 2_592_000);
    assert_eq!(rig.get_as(token, "/db/User/me").await.json(), answer.json());
    assert_eq!(rig.get_as(token, "/db/User/logout").await.status, 204);
    assert!(!rig.get_as(token, "/db/User/1").await.text.contains("argon2"), "credentials are in no object");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_login_is_460() {
    let rig = Rig::start().await;
    for (name, password) in [("root", "wrong"), ("nobody", PASSWORD), ("root", ""), ("", "")] {
        let answer = rig.login(name, password).await;
        assert_eq!((answer.status, &*answer.reason()), (460, "bad-credentials"));
        assert!(answer.text.contains("User name or password is incorrect"));
        assert!(answer.header(TOKEN).is_none());
    }
    assert_eq!(rig.post("/db/User/login", "{}").await.reason(), "bad-json");
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let rig = Rig::start().await;
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(rig.login("joe", "guess").await.status);
    }
    assert_eq!((&statuses[..10], statuses[10]), (&[460; 10][..], 429));
    assert_eq!(rig.login("root", PASSWORD).await.status, 200, "others are not held up");
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_nobodys() {
    let rig = Rig::start().await;
    let mut altered = rig.root.clone();
    let last = if altered.pop() == Some('0') { '1' } else { '0' };
    altered.push(last);
    for token in [&*altered, "", "x", &rig.root[1..], &rig.root[..rig.root.len() - 1]] {
        assert_eq!(rig.get_as(token, "/db/User/me").await.reason(), "not-logged-in");
        let connected = rig.get_as(token, "/connect").await.json();
        assert!(connected.get("token").is_none() && connected.get("user").is_none());
        assert_eq!(rig.post_as(token, "/schema", "[]").await.status, 200, "nothing declared, nothing to judge");
        assert_eq!(rig.post_as(token, "/schema", r#"{"class":"/db/A"}"#).await.status, 466);
    }
    assert_eq!(rig.get("/db/User/me").await.status, 404);
}

#[tokio::test]
async fn connect_returns_the_callers_token_and_user() {
    let rig = Rig::start().await;
    let anonymous = rig.get("/connect").await;
    assert_eq!(anonymous.status, 200);
    assert!(anonymous.json()["schema"].is_array() && anonymous.json()["bloomFilterRefresh"].is_number());
    let signed = |path: &str| format!("BAT={}", rig.sign_path(&rig.root, path));
    for answer in [rig.get_as(&rig.root, "/connect").await, rig.get(&format!("/connect?BCB&{}", signed("/v1/connect"))).await] {
        let connected = answer.json();
        assert_eq!(connected["user"]["username"], "root");
        let token = connected["token"].as_str().unwrap();
        assert!(token[8..16] >= rig.root[8..16], "an older end would not be taken");
        assert_eq!(rig.get_as(token, "/db/User/me").await.status, 200);
        assert_eq!((answer.header("cache-control"), answer.header(TOKEN)), (Some("private, no-store"), None));
    }
    // The URL never holds a whole token, nor one signed for another path.
    for query in [format!("BAT={}", rig.root), signed("/v1/file/www/a"), signed("/connect")] {
        assert!(rig.get(&format!("/connect?{query}")).await.json().get("token").is_none());
    }
    // Nowhere else does a signature in the URL count, whatever the object is called.
    assert_eq!(rig.get(&format!("/db/User/me?{}", signed("/v1/db/User/me"))).await.status, 404);
    let hidden = r#"{"id":"/db/Lot/connect","acl":{"read":{"/db/Role/1":"allow"}}}"#;
    assert_eq!(rig.post_as(&rig.root, "/db/Lot", hidden).await.status, 201);
    assert_eq!(rig.get(&format!("/db/Lot/connect?{}", signed("/v1/db/Lot/connect"))).await.status, 404);
}

#[tokio::test]
async fn tokens_are_renewed_by_success_after_two_seconds() {
    let rig = Rig::start().await;
    let fresh = rig.get_as(&rig.root, "/db/User/me").await;
    assert_eq!(fresh.header(TOKEN), None, "within the second of login");
    // The server's own clock decides: one that reads two seconds more makes the token old.
    let clock = rig.server.store().clock();
    clock.begin(clock.now_ms() + 2_100);
    let renewed = rig.get_as(&rig.root, "/db/User/me").await;
    let token = renewed.header(TOKEN).unwrap();
    assert_ne!(token, rig.root);
    assert!(token[8..16] > rig.root[8..16]);
    assert_eq!(renewed.header("cache-control"), Some("private, no-store"));
    assert_eq!(rig.get_as(token, "/db/User/me").await.status, 200);
    let session = |token: &str| {
        use tidegate::auth::Authenticate;
        rig.server.authority().session(tidegate::server::APP, token).unwrap().hash
    };
    assert_eq!(session(token), session(&rig.root), "a renewal is the same session");
    assert!(rig.get_as(&rig.root, "/db/Lot/1").await.header(TOKEN).is_none(), "never on errors");
    assert!(rig.get_as(&rig.root, "/db/User/logout").await.header(TOKEN).is_none());
    let wrong = Some(r#"{"username":"root","password":"x"}"#.to_owned());
    assert!(rig.ask(Method::POST, "/db/User/login", Some(&rig.root), &[], wrong).await.header(TOKEN).is_none());
}

#[tokio::test]
async fn a_new_password_ends_older_tokens() {
    use tidegate::server::{Server, Setup};
    let rig = Rig::start().await;
    let old = rig.root.clone();
    rig.server.shutdown().await.unwrap();
    let setup = Setup { config: super::harness::config(&rig.data), root_password: Some("another".into()), ..Setup::default() };
    let server = Server::start(setup).await.unwrap();
    let me = reqwest::Client::new().get(format!("{}/db/User/me", server.url())).header("authorization", format!("BAT {old}"));
    assert_eq!(me.send().await.unwrap().status().as_u16(), 404);
}

#[tokio::test]
async fn the_first_start_generates_a_password_once() {
    use tidegate::server::Server;
    let data = tempfile::TempDir::new().unwrap();
    let server = Server::start(super::harness::config(&data)).await.unwrap();
    let password = server.root_password().unwrap().to_owned();
    let login = json!({"username": "root", "password": password}).to_string();
    let ask = async |server: &Server| {
        let url = format!("{}/db/User/login", server.url());
        reqwest::Client::new().post(url).body(login.clone()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(&server).await, 200);
    server.shutdown().await.unwrap();
    let server = Server::start(super::harness::config(&data)).await.unwrap();
    assert_eq!(server.root_password(), None);
    assert_eq!(ask(&server).await, 200);
}

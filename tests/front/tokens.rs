//! Tokens of programs, revocation, keys that are rotated, and what an answer with a token may be (docs/users.md).

use super::harness::{Answer, Rig};
use super::registration::TOKEN;
use reqwest::Method;
use serde_json::json;

impl Rig {
    async fn rotate(&self, token: Option<&str>, query: &str) -> Answer {
        let url = format!("http://{}/keys/rotate{query}", self.server.admin_address());
        self.ask_at(&url, Method::POST, token, &[], None).await
    }
}

#[tokio::test]
async fn a_programs_token_lives_long_and_dies_by_revocation() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    let path = format!("{joe}/token");
    for by in [None, Some(&*token)] {
        assert_eq!(rig.ask(Method::POST, &path, by, &[], None).await.status, 466);
        assert_eq!(rig.ask(Method::DELETE, &path, by, &[], None).await.status, 466);
    }
    let issued = rig.post_as(&rig.root, &path, "").await;
    assert_eq!((issued.status, issued.header("cache-control")), (200, Some("private, no-store")));
    let api = issued.json().as_str().unwrap().to_owned();
    let hex = |part: &str| i64::from_str_radix(part, 16).unwrap();
    assert_eq!(hex(&api[8..16]) - hex(&api[..8]), 31_536_000);
    assert_eq!(rig.get_as(&api, "/db/User/me").await.json()["id"], json!(joe));
    rig.advance(2_600_000_000);
    assert!(!rig.is_alive(&token).await, "a person's has ended");
    let later = rig.get_as(&api, "/db/User/me").await;
    assert_eq!((later.status, later.header(TOKEN)), (200, None), "and it is never renewed");
    assert_eq!(rig.get_as(&api, "/connect").await.json()["token"], json!(api));

    let rig = rig.restart().await;
    assert!(rig.is_alive(&api).await);
    assert_eq!(rig.delete_as(&rig.root, &path).await.status, 204);
    assert!(!rig.is_alive(&api).await);
    let rig = rig.restart().await;
    assert!(!rig.is_alive(&api).await);
    assert_eq!(rig.post_as(&rig.root, "/db/User/none/token", "").await.status, 404);
}

#[tokio::test]
async fn who_revokes_his_own_tokens_gets_a_new_one() {
    let rig = Rig::start().await;
    let revoked = rig.delete_as(&rig.root, "/db/User/1/token").await;
    let new = revoked.header(TOKEN).unwrap();
    assert_eq!((revoked.status, revoked.header("cache-control")), (204, Some("private, no-store")));
    assert!(new != rig.root && rig.is_alive(new).await && !rig.is_alive(&rig.root).await);
    // All of them at once: none gets lost.
    let all = futures_util::future::join_all((0..4).map(|_| rig.delete_as(new, "/db/User/1/token"))).await;
    let alive = futures_util::future::join_all(all.iter().filter_map(|answer| answer.header(TOKEN)).map(|token| rig.is_alive(token))).await;
    assert_eq!(alive.iter().filter(|alive| **alive).count(), 1, "the newest");
}

#[tokio::test]
async fn a_token_is_not_renewed_when_its_request_ended_it() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    rig.advance(2_100);
    let deleted = rig.delete_as(&token, &joe).await;
    assert_eq!((deleted.status, deleted.header(TOKEN)), (204, None));
}

#[tokio::test]
async fn keys_are_rotated_with_an_overlap() {
    let rig = Rig::start().await;
    let (_, old) = rig.person("joe").await;
    for by in [None, Some(&*old)] {
        assert_eq!(rig.rotate(by, "").await.status, 403);
    }
    let rotated = rig.rotate(Some(&rig.root), "?overlap=100").await;
    assert_eq!((rotated.status, rotated.json()), (200, json!({ "app": "app", "former": 1 })));
    let new = rig.login("joe", "secret").await.header(TOKEN).unwrap().to_owned();
    assert!(rig.is_alive(&old).await && rig.is_alive(&new).await);
    rig.advance(2_100);
    let renewed = rig.get_as(&old, "/db/User/me").await.header(TOKEN).unwrap().to_owned();
    let rig = rig.restart().await;
    assert!(rig.is_alive(&old).await && rig.is_alive(&new).await, "former keys are kept");
    rig.advance(100_000);
    assert!(!rig.is_alive(&old).await, "the overlap is over");
    assert!(rig.is_alive(&new).await && rig.is_alive(&renewed).await, "what was signed by the new key goes on");

    // A key that got into other hands is of no use at once.
    let root = rig.login("root", super::harness::PASSWORD).await.header(TOKEN).unwrap().to_owned();
    assert_eq!(rig.rotate(Some(&root), "?overlap=0").await.json()["former"], json!(0));
    assert!(!rig.is_alive(&new).await && !rig.is_alive(&root).await);
    assert_eq!(rig.rotate(Some(&root), "").await.status, 403);
    let root = rig.login("root", super::harness::PASSWORD).await.header(TOKEN).unwrap().to_owned();
    assert_eq!(rig.rotate(Some(&root), "?app=none").await.status, 400);
    for _ in 0..8 {
        assert_eq!(rig.rotate(Some(&root), "").await.status, 200);
    }
    assert_eq!(rig.rotate(Some(&root), "").await.reason(), "keys-too-many");
    assert!(rig.is_alive(&root).await, "by default as long as any token lives");
}

#[tokio::test]
async fn a_signed_url_brings_no_token_but_from_connect() {
    let rig = Rig::start().await;
    let signed = format!("/connect?BAT={}", rig.sign_path(&rig.root, "/v1/connect"));
    rig.advance(2_100);
    let connected = rig.get(&signed).await;
    assert_eq!((connected.header(TOKEN), connected.header("cache-control")), (None, Some("private, no-store")));
    assert!(rig.is_alive(connected.json()["token"].as_str().unwrap()).await);
    assert_eq!(connected.header("referrer-policy"), Some("no-referrer"));

    let rig = Rig::with(|config| config.server.signed_connect = false).await;
    let signed = format!("/connect?BAT={}", rig.sign_path(&rig.root, "/v1/connect"));
    assert!(rig.get(&signed).await.json().get("token").is_none(), "where it was turned off, not even there");
    assert!(rig.get_as(&rig.root, "/connect").await.json()["token"].is_string());
}

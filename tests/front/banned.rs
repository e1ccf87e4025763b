//! `/banned`: who is kept out, from what, for how long, and who says so.

use super::harness::{Answer, PASSWORD, Rig};
use reqwest::Method;
use serde_json::json;

/// Behind a proxy, so that requests come from where the test says.
async fn rig() -> Rig {
    Rig::with(|config| config.server.trusted_proxies = vec![[127, 0, 0, 1].into()]).await
}

async fn from(rig: &Rig, address: &str, method: Method, path: &str, body: Option<&str>) -> Answer {
    rig.ask(method, path, None, &[("x-forwarded-for", address)], body.map(str::to_owned)).await
}

async fn login(rig: &Rig, address: &str, password: &str) -> Answer {
    let body = json!({"username": "root", "password": password}).to_string();
    from(rig, address, Method::POST, "/db/User/login", Some(&body)).await
}

async fn ask(rig: &Rig, method: Method, path: &str, body: &str) -> Answer {
    rig.ask(method, path, Some(&rig.root), &[], Some(body.to_owned())).await
}

#[tokio::test]
async fn a_banned_network_cannot_log_in_until_the_ban_is_lifted_also_after_a_restart() {
    let rig = rig().await;
    assert_eq!(ask(&rig, Method::PUT, "/banned/10.0.0.0%2F8", r#"{"reason":"guesses"}"#).await.status, 204);
    assert_eq!(login(&rig, "10.1.2.3", PASSWORD).await.reason(), "banned");
    assert_eq!(login(&rig, "11.1.2.3", PASSWORD).await.status, 200);
    assert_eq!(from(&rig, "10.1.2.3", Method::GET, "/connect", None).await.status, 200, "the rest is open to them");
    assert_eq!(from(&rig, "10.1.2.3", Method::GET, "/banned/10.1.2.3", None).await.reason(), "banned");
    assert_eq!(from(&rig, "11.1.2.3", Method::GET, "/banned/11.1.2.3", None).await.status, 204);
    let list = ask(&rig, Method::GET, "/banned", "").await.json();
    assert_eq!((&list["bans"][0]["address"], &list["bans"][0]["reason"]), (&json!("10.0.0.0/8"), &json!("guesses")));

    let rig = rig.restart().await;
    assert_eq!(ask(&rig, Method::GET, "/banned", "").await.json()["bans"], list["bans"], "bans are durable");
    assert_eq!(ask(&rig, Method::DELETE, "/banned/10.0.0.0%2F8", "").await.status, 204);
    assert_eq!(ask(&rig, Method::GET, "/banned", "").await.json()["bans"], json!([]));
}

#[tokio::test]
async fn whoever_is_kept_out_of_everything_gets_nothing() {
    let rig = rig().await;
    assert_eq!(ask(&rig, Method::PUT, "/banned/2001:db8::%2F32", r#"{"scope":"everything"}"#).await.status, 204);
    for path in ["/connect", "/schema", "/events", "/db/User/me"] {
        assert_eq!(from(&rig, "2001:db8:1::7", Method::GET, path, None).await.reason(), "banned", "{path}");
    }
    assert_eq!(from(&rig, "2001:db9::7", Method::GET, "/connect", None).await.status, 200);
    assert_eq!(ask(&rig, Method::DELETE, "/banned", "").await.status, 204);
    assert_eq!(from(&rig, "2001:db8:1::7", Method::GET, "/connect", None).await.status, 200);
}

#[tokio::test]
async fn only_administrators_ban_and_nobody_himself() {
    let rig = rig().await;
    let user = rig.token("/db/User/joe", &[]);
    for (method, path) in [(Method::PUT, "/banned/10.0.0.1"), (Method::DELETE, "/banned/10.0.0.1"), (Method::DELETE, "/banned")] {
        let answer = rig.ask(method.clone(), path, Some(&user), &[], None).await;
        assert_eq!(answer.reason(), "permission-denied", "{method} {path}");
    }
    assert_eq!(rig.ask(Method::GET, "/banned", Some(&user), &[], None).await.reason(), "banned");
    assert_eq!(from(&rig, "11.0.0.1", Method::GET, "/banned/10.0.0.1", None).await.reason(), "permission-denied");
    for wrong in ["/banned/127.0.0.1", "/banned/0.0.0.0%2F0", "/banned/nonsense"] {
        assert_eq!(ask(&rig, Method::PUT, wrong, "{}").await.reason(), "bad-request", "{wrong}");
    }
    assert_eq!(ask(&rig, Method::PUT, "/banned/10.0.0.1", r#"{"scope":"nothing"}"#).await.reason(), "bad-json");
}

#[tokio::test]
async fn whom_the_brake_holds_is_told_and_can_be_let_go() {
    let rig = rig().await;
    while login(&rig, "10.0.0.9", "wrong").await.reason() != "too-many-tries" {}
    let held = ask(&rig, Method::GET, "/banned", "").await.json()["held"].clone();
    assert_eq!((&held[0]["user"], &held[0]["address"]), (&json!("root"), &json!("10.0.0.9")), "{held}");
    assert_eq!(login(&rig, "10.0.0.9", PASSWORD).await.reason(), "too-many-tries");
    assert_eq!(ask(&rig, Method::DELETE, "/banned/10.0.0.9", "").await.status, 204);
    assert_eq!(login(&rig, "10.0.0.9", PASSWORD).await.status, 200);
}

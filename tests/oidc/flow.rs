//! Logins that succeed: who becomes which user.

use crate::agent::Agent;
use crate::provider::{APP, Rig};
use crate::support::http::Http;
use reqwest::Method;
use serde_json::{Value, json};

/// The user that a token is of.
async fn me(rig: &Rig, token: &str) -> Value {
    let http = Http::new(&rig.url).with_token(Some(token.to_owned()));
    let answer = http.send(http.request(Method::GET, "/db/User/me")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn the_first_login_makes_a_user_and_the_next_finds_him() {
    let rig = Rig::start(json!({"s-1": {"preferred_username": "jo"}, "s-2": {"preferred_username": "al"}})).await;
    let page = Agent::default().whole(&rig.begin(), "s-1").await;
    let result = page.result();
    assert_eq!(result["status"], 200, "{result}");
    let entity: Value = serde_json::from_str(result["entity"].as_str().unwrap()).unwrap();
    let user = me(&rig, &page.token().unwrap()).await;
    assert_eq!((&user["username"], &user["id"]), (&json!("jo"), &entity["id"]));
    assert_eq!(user["acl"]["read"], json!({(user["id"].as_str().unwrap()): "allow"}), "he is his own");
    // Another browser, another day.
    let again = Agent::default().whole(&rig.begin(), "s-1").await;
    assert_eq!(me(&rig, &again.token().unwrap()).await["id"], user["id"]);
    let other = Agent::default().whole(&rig.begin(), "s-2").await;
    let other = me(&rig, &other.token().unwrap()).await;
    assert_eq!(other["username"], "al");
    assert_ne!(other["id"], user["id"]);
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn several_first_logins_of_one_person_make_one_user() {
    let rig = Rig::start(json!({"s-1": {"preferred_username": "jo"}})).await;
    let (mut one, mut other) = (Agent::default(), Agent::default());
    let (first, second) = (one.log_in(&rig.begin(), "s-1").await, other.log_in(&rig.begin(), "s-1").await);
    let (first, second) = tokio::join!(one.get(first.as_str()), other.get(second.as_str()));
    let (first, second) = (me(&rig, &first.token().unwrap()).await, me(&rig, &second.token().unwrap()).await);
    assert_eq!(first["id"], second["id"]);
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_name_that_is_taken_is_never_a_way_into_the_account() {
    let rig = Rig::with(
        json!({
            "s-1": {"email": "jo@example.org", "email_verified": true},
            "s-2": {"email": "al@example.org", "email_verified": false},
        }),
        |config| config.oidc[0].username_claim = "email".into(),
    )
    .await;
    let http = Http::new(&rig.url);
    let body = json!({"user": {"username": "jo@example.org"}, "password": "a password", "login": false}).to_string();
    let local = http.send(http.request(Method::POST, "/db/User/register").body(body)).await;
    assert_eq!(local.status, 200);
    let page = Agent::default().whole(&rig.begin(), "s-1").await;
    let user = me(&rig, &page.token().unwrap()).await;
    assert_ne!(user["id"], local.json()["id"]);
    assert_eq!(user["username"], "s-1@acme");
    // An address that the provider has not verified is nobody's name.
    let page = Agent::default().whole(&rig.begin(), "s-2").await;
    assert_eq!(me(&rig, &page.token().unwrap()).await["username"], "s-2@acme");
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_address_becomes_a_name_when_the_provider_has_verified_it() {
    let victim = "jo@example.org";
    let rig = Rig::start(json!({
        "s-1": {"preferred_username": victim},
        "s-2": {"preferred_username": victim, "email": victim, "email_verified": false},
        "s-3": {"preferred_username": victim, "email": "al@example.org", "email_verified": true},
        "s-4": {"preferred_username": victim, "email": victim, "email_verified": true},
    }))
    .await;
    for (subject, name) in [("s-1", "s-1@acme"), ("s-2", "s-2@acme"), ("s-3", "s-3@acme"), ("s-4", victim)] {
        let page = Agent::default().whole(&rig.begin(), subject).await;
        assert_eq!(me(&rig, &page.token().unwrap()).await["username"], name);
    }
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_deleted_user_begins_anew() {
    let rig = Rig::start(json!({"s-1": {"preferred_username": "jo"}})).await;
    let token = Agent::default().whole(&rig.begin(), "s-1").await.token().unwrap();
    let user = me(&rig, &token).await;
    let http = Http::new(&rig.url).with_token(Some(token));
    assert_eq!(http.send(http.request(Method::DELETE, user["id"].as_str().unwrap())).await.status, 204);
    let again = Agent::default().whole(&rig.begin(), "s-1").await;
    let new = me(&rig, &again.token().unwrap()).await;
    assert_eq!(new["username"], "jo");
    assert_ne!(new["id"], user["id"]);
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_provider_may_change_its_keys() {
    let mut rig = Rig::start(json!({"s-1": {"preferred_username": "jo"}})).await;
    let first = Agent::default().whole(&rig.begin(), "s-1").await;
    assert!(first.token().is_some());
    rig.provider.rotate();
    let second = Agent::default().whole(&rig.begin(), "s-1").await;
    assert!(second.token().is_some(), "{:?}", second.result());
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_login_ends_at_a_page_of_the_app_with_the_token_in_the_fragment() {
    let rig = Rig::start(json!({"s-1": {"preferred_username": "jo"}})).await;
    let end = Agent::default().whole(&rig.begin_for(&format!("{APP}/in?a=b#old")), "s-1").await;
    assert_eq!(end.status, 303);
    let target = end.location().unwrap();
    assert_eq!((target.origin().ascii_serialization(), target.path(), target.query()), (APP.into(), "/in", Some("a=b")));
    let fragment: Vec<(String, String)> = form_urlencoded::parse(target.fragment().unwrap().as_bytes()).into_owned().collect();
    let token = fragment.iter().find(|(name, _)| name == "token").unwrap().1.clone();
    assert_eq!(me(&rig, &token).await["username"], "jo");
    assert!(fragment.contains(&("loginOption".into(), "true".into())));
    rig.server.shutdown().await.unwrap();
}

//! Logins of several apps on one server: pages of one never get those of another.

use crate::agent::Agent;
use crate::provider::{APP, Rig, SHOP};
use crate::support::http::{Answer, Http};
use crate::support::server::PASSWORD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

/// Where the shop's pages are.
const PAGES: &str = "http://127.0.0.1:2";

/// A server on which the provider brings users of the default app, and of the shop.
async fn two_apps() -> Rig {
    Rig::with(json!({"s-1": {"preferred_username": "jo"}}), |config| {
        let mut shop = config.oidc[0].clone();
        shop.app = SHOP.into();
        config.oidc.push(shop);
    })
    .await
}

async fn administrate(rig: &Rig, method: Method, path: &str, body: Value) -> Answer {
    let root = Http::new(&rig.url).login("root", PASSWORD).await;
    let http = Http::new(&format!("http://{}", rig.server.admin_address())).with_token(root.token().map(str::to_owned));
    let request = http.request(method, path).header("content-type", "application/json").body(body.to_string());
    let answer = http.send(request).await;
    assert!(answer.status < 300, "{answer:?}");
    answer
}

/// Where a login at the shop begins; `redirect`: the page that it is to end at.
fn begin(rig: &Rig, redirect: Option<&str>) -> String {
    let begin = format!("http://{}/{SHOP}/db/User/OAuth/acme", rig.server.api_address());
    let state = redirect.map(|redirect| json!({"redirect": redirect}).to_string());
    state.map_or_else(|| begin.clone(), |state| format!("{begin}?state={}", utf8_percent_encode(&state, NON_ALPHANUMERIC)))
}

#[tokio::test]
async fn a_login_ends_at_the_pages_of_its_own_app_alone() {
    let rig = two_apps().await;
    administrate(&rig, Method::POST, "/apps", json!({"name": SHOP})).await;
    // It has no pages of its own, and those of the configuration may be anybody's.
    for redirect in [None, Some(APP), Some(PAGES)] {
        let refused = Agent::default().get(&begin(&rig, redirect)).await;
        assert_eq!(refused.refusal(), (400, "bad-login".into()), "{redirect:?}");
        assert!(refused.location().is_none());
        assert!(refused.text.contains("tidegate app change shop --origin"), "it says what to do: {}", refused.text);
    }
    administrate(&rig, Method::PUT, &format!("/apps/{SHOP}"), json!({"origins": [PAGES]})).await;
    let of_another = Agent::default().get(&begin(&rig, Some(&format!("{APP}/x")))).await;
    assert_eq!(of_another.refusal(), (400, "bad-login".into()));
    let of_the_shop = Agent::default().get(&rig.begin_for(&format!("{PAGES}/x"))).await;
    assert_eq!(of_the_shop.refusal(), (400, "bad-login".into()));
    // The others are as they were.
    let end = Agent::default().whole(&begin(&rig, Some(&format!("{PAGES}/x"))), "s-1").await;
    let (status, target) = (end.status, end.location().unwrap());
    assert_eq!((status, target.origin().ascii_serialization()), (303, PAGES.to_owned()));
    assert!(target.fragment().unwrap().starts_with("token="), "{target}");
    let end = Agent::default().whole(&rig.begin_for(&format!("{APP}/x")), "s-1").await;
    assert_eq!(end.location().unwrap().origin().ascii_serialization(), APP);
    // In a window of its own: the result says whose it is, so that no frame of another app on this origin passes it on.
    for (begin, app) in [(begin(&rig, None), SHOP), (rig.begin(), "app")] {
        let end = Agent::default().whole(&begin, "s-1").await;
        assert_eq!((end.result()["app"].as_str(), end.token().is_some()), (Some(app), true));
    }
    rig.server.shutdown().await.unwrap();
}

//! Logins that are refused, by what a stranger could try.

use crate::agent::Agent;
use crate::provider::{APP, Rig};
use crate::support::http::Http;
use crate::support::ports::free_port;
use crate::support::server::PASSWORD;
use reqwest::Method;
use serde_json::{Value, json};
use tidegate::server::Server;

fn people() -> Value {
    json!({"s-1": {"preferred_username": "jo"}, "s-2": {"preferred_username": "al"}})
}

#[tokio::test]
async fn a_login_ends_in_the_browser_that_began_it_once() {
    let rig = Rig::start(people()).await;
    let mut browser = Agent::default();
    let back = browser.log_in(&rig.begin(), "s-1").await;
    // Somebody else's browser: he would be logged in as whoever sent him the link.
    assert_eq!(Agent::default().get(back.as_str()).await.refusal(), (400, "bad-login".into()));
    let state = back.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let other = back.as_str().replace(&state, &format!("{state}A"));
    assert_eq!(browser.get(&other).await.refusal(), (400, "bad-login".into()));
    assert!(browser.get(back.as_str()).await.token().is_some());
    assert_eq!(browser.get(back.as_str()).await.refusal(), (400, "bad-login".into()), "again");
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_code_of_another_login_is_good_for_nothing() {
    let rig = Rig::start(people()).await;
    let (mut victim, mut thief) = (Agent::default(), Agent::default());
    let of = |url: &reqwest::Url, name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    let stolen = victim.log_in(&rig.begin(), "s-1").await;
    let own = thief.log_in(&rig.begin(), "s-2").await;
    let mut forged = own.clone();
    forged.query_pairs_mut().clear().append_pair("code", &of(&stolen, "code")).append_pair("state", &of(&own, "state"));
    assert_eq!(thief.get(forged.as_str()).await.refusal(), (460, "login-unconfirmed".into()), "PKCE binds a code to its login");
    // And whoever pretends to be another provider.
    let own = thief.log_in(&rig.begin(), "s-2").await;
    let mut mixed = own.clone();
    mixed.query_pairs_mut().clear().append_pair("code", &of(&own, "code")).append_pair("state", &of(&own, "state"));
    mixed.query_pairs_mut().append_pair("iss", "https://evil.example");
    assert_eq!(thief.get(mixed.as_str()).await.refusal(), (460, "login-unconfirmed".into()));
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_refusal_of_the_provider_is_told() {
    let rig = Rig::start(people()).await;
    let mut browser = Agent::default();
    let begun = browser.get(&rig.begin()).await;
    let state = begun.location().unwrap().query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let denied = format!("{}?error=access_denied&error_description=no&state={state}", rig.begin());
    let page = browser.get(&denied).await;
    assert_eq!(page.refusal(), (460, "login-unconfirmed".into()));
    // What is not bound to the browser, as the SDK sends it by itself, is no login.
    let unbound = format!("{}?code=abc&state=%7B%7D", rig.begin());
    assert_eq!(browser.get(&unbound).await.refusal(), (400, "bad-login".into()));
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_login_ends_nowhere_else() {
    let rig = Rig::start(people()).await;
    for target in ["http://127.0.0.1:2/", "https://evil.example/", "javascript:alert(1)", "//evil.example", &format!("{APP}@evil.example/")]
    {
        let page = Agent::default().get(&rig.begin_for(target)).await;
        assert_eq!(page.refusal(), (400, "bad-login".into()), "{target}");
        assert!(page.location().is_none());
    }
    let nobody = Agent::default().get(&format!("{}/db/User/OAuth/nobody", rig.url)).await;
    assert_eq!(nobody.refusal(), (400, "no-such-provider".into()));
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_beginning_binds_and_gives_nothing_away() {
    let rig = Rig::start(people()).await;
    let begun = Agent::default().get(&rig.begin()).await;
    assert_eq!(begun.status, 303);
    let asked = begun.location().unwrap();
    let of = |name: &str| asked.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert_eq!(of("code_challenge_method").as_deref(), Some("S256"));
    assert!(of("nonce").is_some() && of("state").unwrap().len() >= 20);
    assert_eq!(of("redirect_uri"), Some(rig.begin()), "made of the public URL");
    assert_eq!(of("client_secret"), None);
    let cookie = begun.headers["set-cookie"].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/v1/db/User/OAuth"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(begun.headers["cache-control"], "private, no-store");
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn whoever_is_shut_out_stays_out() {
    let rig = Rig::start(people()).await;
    let first = Agent::default().whole(&rig.begin(), "s-1").await;
    let mut user: Value = serde_json::from_str(first.result()["entity"].as_str().unwrap()).unwrap();
    user["inactive"] = true.into();
    let http = Http::new(&rig.url);
    let body = json!({"username": "root", "password": PASSWORD}).to_string();
    let root = http.send(http.request(Method::POST, "/db/User/login").body(body)).await;
    let root = http.with_token(root.renewed_token());
    let path = user["id"].as_str().unwrap().to_owned();
    let shut = root.send(root.request(Method::PUT, &path).header("if-match", "*").body(user.to_string())).await;
    assert_eq!(shut.status, 200, "{shut:?}");
    let again = Agent::default().whole(&rig.begin(), "s-1").await;
    assert_eq!(again.refusal().0, 460);
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_provider_that_is_down_keeps_nobody_else_out() {
    let gone = free_port();
    let rig = Rig::with(people(), |config| {
        let mut down = config.oidc[0].clone();
        (down.name, down.issuer) = ("down".into(), format!("http://127.0.0.1:{gone}"));
        config.oidc.push(down);
    })
    .await;
    let page = Agent::default().get(&format!("{}/db/User/OAuth/down", rig.url)).await;
    assert_eq!(page.refusal(), (502, "provider-unusable".into()));
    assert!(Agent::default().whole(&rig.begin(), "s-1").await.token().is_some());
    rig.server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_configuration_that_would_give_logins_away_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let mut safe = crate::support::server::config(directory.path());
    safe.server.public_url = "https://api.example.org".into();
    safe.server.origins = vec![APP.into()];
    safe.oidc = vec![crate::provider::options("https://login.example.org", &secret)];
    let start = async |change: &dyn Fn(&mut tidegate::config::Config)| {
        let mut config = safe.clone();
        change(&mut config);
        Server::start(config).await
    };
    for (what, change) in [
        (
            "any page",
            (&|config: &mut tidegate::config::Config| config.server.origins = vec!["*".into()]) as &dyn Fn(&mut tidegate::config::Config),
        ),
        ("no public URL", &|config: &mut tidegate::config::Config| config.server.public_url.clear()),
        ("a public URL in the open", &|config: &mut tidegate::config::Config| config.server.public_url = "http://api.example.org".into()),
        ("a public URL with a path", &|config: &mut tidegate::config::Config| {
            config.server.public_url = "https://api.example.org/v1".into()
        }),
        ("no secret", &|config: &mut tidegate::config::Config| config.oidc[0].client_secret = None),
    ] {
        let refused = start(change).await;
        // A public client needs no secret: PKCE binds its codes.
        assert_eq!(refused.is_ok(), what == "no secret", "{what}");
    }
    let mut layers = tidegate::config::Layers::defaults();
    let text = "[[oidc]]\nname = \"acme\"\nissuer = \"http://login.example.org\"\nclient_id = \"shop\"\n";
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, text).unwrap();
    layers.file(&file).unwrap();
    let error = layers.finish().unwrap_err().to_string();
    assert!(error.contains("over https"), "{error}");
}

//! Host names: whose is what, over HTTP/1.1 and HTTP/2.

use super::harness::Rig;
use super::support::http::Http;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_host_of_its_own_is_one_apps_and_nobody_elses() {
    let rig = Rig::start().await;
    for word in ["acme", "other"] {
        rig.create(word, json!({})).await.insert("Lot", format!(r#"{{"id":"/db/Lot/1","of":"{word}"}}"#)).await;
    }
    rig.app("v1").insert("Lot", r#"{"id":"/db/Lot/1","of":"app"}"#).await;
    rig.admin(Method::PUT, "/apps/acme", Some(json!({"hosts": ["acme.example", "www.acme.example"]}))).await;

    let origin = Http::new(&format!("http://{}", rig.server.api_address()));
    let of = async |host: &str, word: &str| {
        let answer = origin.send(origin.request(Method::GET, &format!("/{word}/db/Lot/1")).header("host", host)).await;
        if answer.status == 200 { answer.json()["of"].as_str().unwrap().to_owned() } else { answer.status.to_string() }
    };
    for (host, word, found) in [
        ("acme.example", "v1", "acme"),
        ("WWW.Acme.Example:8443", "v1", "acme"),
        ("acme.example", "acme", "acme"),
        ("acme.example", "other", "404"),
        ("acme.example", "app", "404"),
        ("elsewhere.example", "v1", "app"),
        ("elsewhere.example", "acme", "acme"),
        ("elsewhere.example", "other", "other"),
    ] {
        assert_eq!(of(host, word).await, found, "{host}/{word}");
    }
    // Where the SDK finds the events of an app that is reached by its name; at /v1 it finds them itself.
    let connect = async |word: &str| {
        origin.send(origin.request(Method::GET, &format!("/{word}/connect")).header("host", "acme.example:81")).await.json()["websocket"]
            .clone()
    };
    assert_eq!((connect("acme").await, connect("v1").await), (json!("//acme.example:81/acme/events"), json!(null)));

    rig.admin(Method::PUT, "/apps/acme", Some(json!({"hosts": []}))).await;
    assert_eq!(of("acme.example", "v1").await, "app", "at once");
    rig.admin(Method::PUT, "/apps/other", Some(json!({"hosts": ["acme.example"]}))).await;
    assert_eq!(of("acme.example", "v1").await, "other");
    rig.delete("other").await;
    assert_eq!(of("acme.example", "v1").await, "app");
}

/// Pages of one app's origins ask that app, frame its page and are spoken to by it, and no other's.
#[tokio::test]
async fn origins_of_its_own_are_one_apps() {
    let rig = Rig::with(|config| config.server.origins = vec!["https://main.example".into()]).await;
    for (word, origin) in [("acme", "https://acme.example"), ("other", "https://Other.example:8443/")] {
        rig.create(word, json!({})).await;
        let changed = rig.admin(Method::PUT, &format!("/apps/{word}"), Some(json!({"origins": [origin]}))).await;
        assert_eq!(changed.status, 200, "{changed:?}");
    }
    rig.create("plain", json!({})).await;
    let origins = ["https://main.example", "https://acme.example", "https://other.example:8443", "https://evil.example"];
    let check = async |rig: &Rig, word: &str, allowed: &str| {
        for origin in origins {
            for method in [Method::GET, Method::OPTIONS] {
                let http = rig.app(word);
                let request = http.request(method, "/connect").header("origin", origin).header("access-control-request-method", "GET");
                let answer = http.send(request).await;
                let echoed = answer.headers.get("access-control-allow-origin").map(|origin| origin.to_str().unwrap());
                assert_eq!(echoed, (origin == allowed).then_some(origin), "{word}");
            }
        }
        let page = rig.app(word).post("/connect", "").await;
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.ends_with(&format!("frame-ancestors {allowed}")), "{word}: {policy}");
        assert!(String::from_utf8_lossy(&page.body).contains(&format!("data-origins=\"{allowed}\"")), "{word}");
    };
    let all = async |rig: &Rig| {
        check(rig, "acme", "https://acme.example").await;
        check(rig, "other", "https://other.example:8443").await;
        // Who has none of his own has those that are configured.
        check(rig, "plain", "https://main.example").await;
        check(rig, "v1", "https://main.example").await;
    };
    all(&rig).await;
    let rig = rig.restart().await;
    all(&rig).await;
    // What is absent stays, and none of his own is none.
    rig.admin(Method::PUT, "/apps/acme", Some(json!({"limits": {"scans": 3}}))).await;
    check(&rig, "acme", "https://acme.example").await;
    let shown = rig.admin(Method::PUT, "/apps/acme", Some(json!({"origins": []}))).await.json();
    assert_eq!(shown["origins"], json!([]));
    check(&rig, "acme", "https://main.example").await;
    rig.admin(Method::PUT, "/apps/app", Some(json!({"origins": ["https://own.example"]}))).await;
    let refused = rig.app("v1").send(rig.app("v1").request(Method::GET, "/connect").header("origin", "https://main.example")).await;
    assert_eq!(refused.headers.get("access-control-allow-origin"), None, "the default app can have some as well");
}

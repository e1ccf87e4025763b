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

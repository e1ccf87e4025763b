//! Objects: the table of section 6, ids of any characters, open buckets.

use super::harness::{Rig, instant};
use serde_json::json;
use tidegate::object::id::encode_component;

#[tokio::test]
async fn the_life_of_an_object() {
    let rig = Rig::start().await;
    let inserted =
        rig.post("/db/Lot", r#"{"id":"/db/Lot/1","name":"chair","price":1.50,"version":7,"createdAt":"1999-01-01T00:00:00Z"}"#).await;
    assert_eq!(inserted.status, 201, "{inserted:?}");
    assert_eq!(inserted.header("etag"), Some("\"1\""));
    assert!(inserted.header("tidegate-position").is_some());
    let first = inserted.json();
    assert_eq!((&first["id"], &first["version"], &first["acl"]), (&json!("/db/Lot/1"), &json!(1), &json!(null)));
    assert_eq!(first["createdAt"], first["updatedAt"]);
    assert!(inserted.text.starts_with(r#"{"id":"/db/Lot/1","version":1,"acl":null,"createdAt":"2"#), "{inserted:?}");
    assert!(inserted.text.ends_with(r#","name":"chair","price":1.50}"#), "{inserted:?}");

    let loaded = rig.get("/db/Lot/1").await;
    assert_eq!((loaded.status, &loaded.text, loaded.header("etag")), (200, &inserted.text, Some("\"1\"")));
    let again = rig.ask(reqwest::Method::GET, "/db/Lot/1", None, &[("if-none-match", "\"1\"")], None).await;
    assert_eq!((again.status, again.text.len(), again.header("etag")), (304, 0, Some("\"1\"")));

    let updated = rig.put("/db/Lot/1", &[("if-match", "\"1\"")], r#"{"name":"table"}"#).await;
    assert_eq!((updated.status, updated.header("etag")), (200, Some("\"2\"")));
    let second = updated.json();
    assert_eq!((&second["version"], &second["createdAt"]), (&json!(2), &first["createdAt"]));
    assert!(second.get("price").is_none());
    assert!(instant(&second["updatedAt"]) > instant(&first["updatedAt"]));

    assert_eq!(rig.delete("/db/Lot/1", &[("if-match", "\"1\"")]).await.reason(), "out-of-date");
    let deleted = rig.delete("/db/Lot/1", &[("if-match", "\"2\"")]).await;
    assert_eq!((deleted.status, deleted.text.len()), (204, 0));
    assert_eq!(rig.get("/db/Lot/1").await.reason(), "no-such-object");
    let reborn = rig.post("/db/Lot", r#"{"id":"/db/Lot/1"}"#).await.json();
    assert_eq!(reborn["version"], 1);
    assert!(instant(&reborn["updatedAt"]) > instant(&second["updatedAt"]));
}

#[tokio::test]
async fn status_codes_of_the_table() {
    let rig = Rig::start().await;
    rig.post("/db/Lot", r#"{"id":"/db/Lot/1"}"#).await;
    let statuses = [
        (rig.post("/db/Lot", r#"{"id":"/db/Lot/1"}"#).await, 409, "exists"),
        (rig.get("/db/Lot/2").await, 404, "no-such-object"),
        (rig.put("/db/Lot/1", &[("if-match", "\"9\"")], "{}").await, 412, "out-of-date"),
        (rig.put("/db/Lot/2", &[("if-match", "\"1\"")], "{}").await, 412, "out-of-date"),
        (rig.put("/db/Lot/2", &[("if-match", "*")], "{}").await, 412, "out-of-date"),
        (rig.put("/db/Lot/1", &[("if-none-match", "*")], "{}").await, 412, "out-of-date"),
        (rig.put("/db/Lot/1", &[("if-match", "nonsense")], "{}").await, 412, "out-of-date"),
        (rig.delete("/db/Lot/2", &[("if-match", "\"1\"")]).await, 412, "out-of-date"),
        (rig.delete("/db/Lot/2", &[("if-match", "*")]).await, 412, "out-of-date"),
        (rig.put("/db/Lot/1", &[], r#"{"id":"/db/Lot/2"}"#).await, 400, "bad-id"),
        (rig.post("/db/Lot", r#"{"id":"/db/Other/1"}"#).await, 400, "bad-id"),
        (rig.post("/db/Lot", r#"{"id":"1"}"#).await, 400, "bad-id"),
        (rig.post("/db/Lot", "{").await, 400, "bad-json"),
        (rig.post("/db/Lot", r#"{"a":1,"a":2}"#).await, 400, "bad-json"),
        (rig.post("/db/Lot", r#"{"acl":{"read":{"joe":"allow"}}}"#).await, 400, "bad-json"),
        (rig.post("/db/Lot", r#"{"a":{"b":1,"b":2}}"#).await, 400, "unfit-object"),
        (rig.post("/db/Lo%20t", "{}").await, 400, "bad-id"),
        (rig.post("/db/Lot", &format!(r#"{{"a":"{}"}}"#, "x".repeat(2 << 20))).await, 400, "unfit-object"),
    ];
    for (position, (answer, status, reason)) in statuses.iter().enumerate() {
        assert_eq!((answer.status, &*answer.reason()), (*status, *reason), "case {position}");
    }
    assert!(rig.put("/db/Lot/1", &[("if-match", "\"9\"")], "{}").await.text.contains("out of date"));
    assert_eq!(rig.put("/db/Lot/1", &[("if-match", "*")], "{}").await.json()["version"], 2);
    assert_eq!(rig.put("/db/Lot/1", &[], "{}").await.json()["version"], 3);
    assert_eq!(rig.put("/db/Lot/2", &[], "{}").await.json()["version"], 1);
    assert_eq!(rig.put("/db/Lot/3", &[("if-none-match", "*")], "{}").await.status, 200);
    assert_eq!(rig.delete("/db/Lot/4", &[]).await.status, 204);
    assert_eq!(rig.delete("/db/Lot/2", &[("if-match", "*")]).await.status, 204);
    assert_eq!(rig.delete("/db/Lot/1", &[]).await.status, 204);
}

#[tokio::test]
async fn keys_of_any_characters() {
    let rig = Rig::start().await;
    for key in [
        "/",
        "?",
        "=",
        "\\",
        "&",
        "%",
        "ß",
        "\"",
        " ",
        "a b",
        "a/b?c=d\\e&f%g",
        "%2F",
        "😀",
        "+",
        "#",
        ";,/?:@&=+$#",
        "-_.!~*'()",
        "\u{1}",
        "…",
        "a\nb",
    ] {
        let path = format!("/db/Lot/{}", encode_component(key));
        let body = json!({"id": path, "key": key}).to_string();
        let inserted = rig.post("/db/Lot", &body).await;
        assert_eq!(inserted.status, 201, "{key:?}: {inserted:?}");
        assert_eq!(inserted.json()["id"], path, "{key:?}");
        let loaded = rig.get(&path).await;
        assert_eq!((loaded.status, loaded.json()["key"].as_str()), (200, Some(key)), "{key:?}");
        // Every byte escaped is the same key.
        let spelled: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(rig.put(&format!("/db/Lot/{spelled}"), &[("if-match", "\"1\"")], &body).await.status, 200, "{key:?}");
        let query = encode_component(&json!({"id": path}).to_string());
        let found = rig.get(&format!("/db/Lot/query?q={query}")).await.json();
        assert_eq!(found.as_array().unwrap().len(), 1, "{key:?}");
        assert_eq!(rig.delete(&path, &[("if-match", "\"2\"")]).await.status, 204, "{key:?}");
    }
}

#[tokio::test]
async fn an_open_bucket_keeps_everything_as_it_was_sent() {
    let rig = Rig::start().await;
    let fields = r#""z":1,"a":{"b":[1,null,{"c":"x y"}]},"big":123456789012345678,"exact":1.10,"e":1e3,"":true,"$odd.name":0"#;
    let inserted = rig.post("/db/anything-goes_1", &format!("{{ {} }}", fields.replace(':', " : "))).await;
    assert!(inserted.text.ends_with(&format!(",{fields}}}")), "{inserted:?}");
    let id = inserted.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(rig.get(&id).await.text, inserted.text);
}

#[tokio::test]
async fn concurrent_conditional_writes_have_one_winner_a_version() {
    let rig = std::sync::Arc::new(Rig::start().await);
    rig.post("/db/Lot", r#"{"id":"/db/Lot/1"}"#).await;
    for version in 1..6 {
        let tag = format!("\"{version}\"");
        let writers = (0..8).map(|writer| {
            let (rig, tag) = (rig.clone(), tag.clone());
            tokio::spawn(async move { rig.put("/db/Lot/1", &[("if-match", &tag)], &format!(r#"{{"writer":{writer}}}"#)).await.status })
        });
        let mut statuses = Vec::new();
        for writer in writers {
            statuses.push(writer.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    }
    assert_eq!(rig.get("/db/Lot/1").await.json()["version"], 6);
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let rig = Rig::start().await;
    let inserted = rig.post("/db/Lot", r#"{"id":"/db/Lot/1","a":1}"#).await;
    let (root, guest) = (rig.root.clone(), rig.token("/db/User/guest", &[]));
    let rig = rig.restart().await;
    assert_eq!(rig.get("/db/Lot/1").await.text, inserted.text);
    assert_eq!(rig.get_as(&root, "/db/User/me").await.json()["username"], "root");
    let closed = rig.post("/db/Lot", r#"{"id":"/db/Lot/2","acl":{"read":{"/db/User/guest":"allow"}}}"#).await;
    assert_eq!(closed.status, 201);
    assert_eq!(rig.get_as(&guest, "/db/Lot/2").await.status, 200, "the guest's token is still his");
    assert_eq!(rig.put("/db/Lot/1", &[("if-match", "\"1\"")], "{}").await.status, 200);
}

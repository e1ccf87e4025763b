//! Classes: reading, extending, and what they do to objects.

use super::harness::{Rig, change};
use serde_json::json;

const LOT: &str = r#"[{"class":"/db/Auction","superClass":"/db/Lot","fields":{"end":{"name":"end","type":"/db/DateTime","order":0}}},
    {"class":"/db/Lot","superClass":"/db/Object","metadata":{"k":"v"},"fields":{
        "name":{"name":"name","type":"/db/String","order":0},
        "count":{"name":"count","type":"/db/Integer","order":1},
        "tags":{"name":"tags","type":"/db/collection.Set[/db/String]","order":2}}}]"#;

#[tokio::test]
async fn built_in_classes_are_always_there() {
    let rig = Rig::start().await;
    let schema = rig.get("/schema").await.json();
    let class = |name: &str| schema.as_array().unwrap().iter().find(|class| class["class"] == name).unwrap_or_else(|| panic!("{name}"));
    for name in ["/db/Object", "/db/User", "/db/Role", "/db/Device", "/db/logs.AppLog"] {
        assert!(class(name)["fields"].is_object() && class(name)["acl"].is_object());
    }
    let flags = class("/db/Object")["fields"]["updatedAt"]["flags"].as_array().unwrap();
    assert!(flags.contains(&json!("METADATA")));
    assert_eq!(rig.get("/schema/User").await.json(), *class("/db/User"));
    assert_eq!(rig.get("/schema/Nothing").await.reason(), "no-such-bucket");
}

#[tokio::test]
async fn posting_merges_and_answers_with_everything() {
    let rig = Rig::start().await;
    let answer = rig.post_as(&rig.root, "/schema", LOT).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json(), rig.get("/schema").await.json());
    assert_eq!(rig.post_as(&rig.root, "/schema", LOT).await.json(), answer.json(), "the same again");
    // What was delivered is accepted again, and a part of it removes nothing.
    assert_eq!(rig.post_as(&rig.root, "/schema", &answer.text).await.json(), answer.json());
    let part = r#"[{"class":"/db/Object","superClass":null,"fields":{}},{"class":"/db/Lot","superClass":"/db/Object","fields":{}}]"#;
    assert_eq!(rig.post_as(&rig.root, "/schema", part).await.json(), answer.json());
    let lot = rig.get("/schema/Lot").await.json();
    assert_eq!((&lot["metadata"], &lot["acl"]), (&json!({"k": "v"}), &json!({})), "a right that is missing is public");
    let added = r#"{"operation":"addField","bucket":"/db/Lot","field":{"name":"price","type":"/db/Double","order":3}}"#;
    assert_eq!(rig.post_as(&rig.root, "/schema", added).await.status, 200);
    let one = r#"{"class":"/db/Lot","fields":{"note":{"name":"note","type":"/db/String","order":4}}}"#;
    let one = rig.post_as(&rig.root, "/schema/Lot", one).await.json();
    assert_eq!(one["fields"].as_object().unwrap().keys().collect::<Vec<_>>().len(), 5);
    let rig = rig.restart().await;
    assert_eq!(rig.get("/schema/Lot").await.json(), one);
}

#[tokio::test]
async fn refusals_have_their_codes() {
    let rig = Rig::start().await;
    rig.post_as(&rig.root, "/schema", LOT).await;
    for (body, reason) in [
        (r#"{"class":"/db/Lot","fields":{"name":{"name":"name","type":"/db/Double"}}}"#, "schema-incompatible"),
        (r#"{"class":"/db/Lot","fields":{"x":{"name":"x","type":"/db/Nothing"}}}"#, "bad-request"),
        (r#"{"class":7}"#, "bad-json"),
        (r#"{"operation":"dance"}"#, "not-supported"),
        ("[", "bad-json"),
    ] {
        assert_eq!(rig.post_as(&rig.root, "/schema", body).await.reason(), reason, "{body}");
    }
    for token in [None, Some(rig.token("/db/User/u", &[]))] {
        let answer =
            rig.ask(reqwest::Method::POST, "/schema", token.as_deref(), &[], Some(r#"{"class":"/db/New","fields":{}}"#.into())).await;
        assert_eq!(answer.status, 466);
    }
}

#[tokio::test]
async fn a_declared_bucket_keeps_declared_fields_only() {
    let rig = Rig::start().await;
    rig.post_as(&rig.root, "/schema", LOT).await;
    let stored = rig.post("/db/Auction", r#"{"id":"/db/Auction/1","count":2e3,"other":1,"end":"2020-01-01T00:00:00.100Z"}"#).await;
    assert_eq!(stored.status, 201, "{stored:?}");
    assert!(stored.text.ends_with(r#","name":null,"count":2000,"tags":null,"end":"2020-01-01T00:00:00.1Z"}"#), "{stored:?}");
    for body in [r#"{"count":"1"}"#, r#"{"count":1.5}"#, r#"{"tags":{}}"#, r#"{"end":"now"}"#] {
        let answer = rig.post("/db/Auction", body).await;
        assert_eq!((answer.status, &*answer.reason()), (463, "unfit-value"), "{body}");
    }
    // A bucket that is declared later keeps what it had, until it is written.
    rig.post("/db/Later", r#"{"id":"/db/Later/1","a":1,"b":2}"#).await;
    rig.post_as(&rig.root, "/schema", r#"{"class":"/db/Later","fields":{"b":{"name":"b","type":"/db/Integer"}}}"#).await;
    assert!(rig.get("/db/Later/1").await.text.ends_with(r#","a":1,"b":2}"#));
    assert!(rig.put("/db/Later/1", &[], r#"{"a":1,"b":3}"#).await.text.ends_with(r#"Z","b":3}"#));
}

#[tokio::test]
async fn two_who_declare_at_once_both_get_what_they_declared() {
    let rig = std::sync::Arc::new(Rig::start().await);
    let declaring = (0..8).map(|n| {
        let rig = rig.clone();
        tokio::spawn(async move {
            let class = format!(r#"{{"class":"/db/Lot","fields":{{"f{n}":{{"name":"f{n}","type":"/db/String"}}}}}}"#);
            rig.post_as(&rig.root, "/schema", &class).await.status
        })
    });
    for declared in declaring.collect::<Vec<_>>() {
        assert_eq!(declared.await.unwrap(), 200);
    }
    assert_eq!(rig.get("/schema/Lot").await.json()["fields"].as_object().unwrap().len(), 8);
}

#[tokio::test]
async fn a_renamed_field_keeps_its_values_and_a_removed_one_is_gone() {
    let rig = Rig::start().await;
    change(&rig, LOT).await;
    rig.post("/db/Auction", r#"{"id":"/db/Auction/1","name":"n","count":5,"tags":["t"]}"#).await;
    let rename = r#"{"operation":"renameField","bucket":"/db/Lot","from":"count","to":"amount"}"#;
    let answer = change(&rig, rename).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let lot = rig.get("/schema/Lot").await.json();
    assert_eq!(lot["fields"]["amount"], json!({"name": "amount", "type": "/db/Integer", "order": 1}));
    let object = rig.get("/db/Auction/1").await.json();
    assert_eq!((&object["amount"], object.get("count"), &object["version"]), (&json!(5), None, &json!(1)));
    assert_eq!(rig.get("/db/Auction/query?q=%7B%22amount%22%3A5%7D").await.json().as_array().unwrap().len(), 1);
    assert_eq!(rig.post("/db/Auction/1", r#"{"$inc":{"amount":1}}"#).await.json()["amount"], 6);
    // The class is what is sent, but for what is built in; rights stay.
    let replace = r#"{"class":"/db/Lot","superClass":"/db/Object","fields":{"amount":{"name":"amount","type":"/db/Double","order":0}}}"#;
    let put = |path: &'static str, body: String| rig.ask(reqwest::Method::PUT, path, Some(&rig.root), &[], Some(body));
    let answer = put("/schema/Lot", replace.into()).await;
    assert_eq!((answer.status, answer.json()["fields"].as_object().unwrap().len()), (200, 1), "{answer:?}");
    let text = rig.get("/db/Auction/1").await.text;
    assert!(text.ends_with(r#","amount":6,"end":null}"#), "{text}");
    // A name that comes back has no former values.
    let back = r#"{"operation":"addField","bucket":"/db/Lot","field":{"name":"tags","type":"/db/String","order":3}}"#;
    assert_eq!(change(&rig, back).await.status, 200);
    assert_eq!(rig.get("/db/Auction/1").await.json().get("tags"), None);
    let rig = rig.restart().await;
    assert_eq!(rig.get("/db/Auction/1").await.json()["amount"], 6);
    let whole = rig.ask(reqwest::Method::PUT, "/schema", Some(&rig.root), &[], Some(format!("[{replace}]"))).await;
    assert_eq!((whole.status, whole.reason().as_str()), (474, "still-referenced"), "there are auctions");
    rig.delete("/db/Auction/1", &[]).await;
    let whole = rig.ask(reqwest::Method::PUT, "/schema", Some(&rig.root), &[], Some(format!("[{replace}]"))).await;
    assert_eq!(whole.json().as_array().unwrap().len(), 6, "the built-in classes and the one");
}

#[tokio::test]
async fn changes_that_cannot_be_have_their_codes() {
    let rig = Rig::start().await;
    let referring = r#"{"class":"/db/Box","fields":{"lot":{"name":"lot","type":"/db/collection.List[/db/Auction]"}}}"#;
    change(&rig, LOT).await;
    change(&rig, referring).await;
    for (body, status, reason) in [
        (r#"{"operation":"renameField","bucket":"/db/Lot","from":"none","to":"x"}"#, 400, "bad-request"),
        (r#"{"operation":"renameField","bucket":"/db/None","from":"a","to":"x"}"#, 461, "no-such-bucket"),
        (r#"{"operation":"renameField","bucket":"/db/Lot","from":"name","to":"tags"}"#, 473, "type-exists"),
        (r#"{"operation":"renameField","bucket":"/db/Lot","from":"name","to":"end"}"#, 473, "type-exists"),
        (r#"{"operation":"renameField","bucket":"/db/Lot","from":"name","to":"version"}"#, 473, "type-exists"),
        (r#"{"operation":"renameField","bucket":"/db/User","from":"username","to":"x"}"#, 469, "schema-incompatible"),
        (
            r#"{"operation":"replaceClass","class":"/db/Lot","fields":{"name":{"name":"name","type":"/db/Integer"}}}"#,
            469,
            "schema-incompatible",
        ),
        (r#"{"operation":"replaceClass","class":"/db/Auction","superClass":"/db/Object","fields":{}}"#, 469, "schema-incompatible"),
        (r#"{"class":"/db/Lot","fields":{"end":{"name":"end","type":"/db/Date"}}}"#, 469, "schema-incompatible"),
        (r#"{"class":"/db/New","fields":{"acl":{"name":"acl","type":"/db/String"}}}"#, 400, "bad-request"),
    ] {
        let answer = change(&rig, body).await;
        assert_eq!((answer.status, &*answer.reason()), (status, reason), "{body}");
    }
    let delete = async |bucket: &str| rig.ask(reqwest::Method::DELETE, &format!("/schema/{bucket}"), Some(&rig.root), &[], None).await;
    assert_eq!(delete("Lot").await.status, 474, "inherited");
    assert_eq!(delete("Auction").await.status, 474, "referred to");
    assert_eq!(delete("User").await.status, 469, "built in");
    assert_eq!(delete("None").await.status, 461);
    for bucket in ["Box", "Auction", "Lot"] {
        assert_eq!(delete(bucket).await.status, 204);
        assert_eq!(rig.get(&format!("/schema/{bucket}")).await.status, 461);
    }
}

#[tokio::test]
async fn only_who_is_named_changes_a_class() {
    let rig = Rig::start().await;
    let (named, other) = (rig.token("/db/User/n", &[]), rig.token("/db/User/o", &[]));
    change(&rig, LOT).await;
    let add = r#"{"operation":"addField","bucket":"/db/Lot","field":{"name":"more","type":"/db/String","order":3}}"#;
    let rename = r#"{"operation":"renameField","bucket":"/db/Lot","from":"name","to":"title"}"#;
    let replace = r#"{"operation":"replaceClass","class":"/db/Lot","fields":{}}"#;
    let heir = r#"{"class":"/db/Heir","superClass":"/db/Lot","fields":{}}"#;
    for body in [add, rename, replace, heir] {
        assert_eq!(rig.post_as(&named, "/schema", body).await.status, 466, "nobody was named: {body}");
    }
    let allow = json!({"/db/User/n": "allow"});
    let acl = json!({"class": "/db/Lot", "acl": {"schemaAdd": allow, "schemaReplace": allow, "schemaSubclass": allow}});
    assert_eq!(change(&rig, &acl.to_string()).await.status, 200);
    for body in [add, rename, heir, replace] {
        assert_eq!(rig.post("/schema", body).await.status, 466, "{body}");
        assert_eq!(rig.post_as(&other, "/schema", body).await.status, 466, "{body}");
        assert_eq!(rig.post_as(&named, "/schema", body).await.status, 200, "{body}");
    }
    let delete = async |token: &str, bucket: &str| {
        rig.ask(reqwest::Method::DELETE, &format!("/schema/{bucket}"), Some(token), &[], None).await.status
    };
    assert_eq!(delete(&other, "Heir").await, 466);
    assert_eq!(delete(&named, "Heir").await, 466, "the heir named nobody");
    assert_eq!(delete(&rig.root, "Heir").await, 204);
}

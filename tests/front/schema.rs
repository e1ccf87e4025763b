//! Classes: reading, extending, and what they do to objects.

use super::harness::Rig;
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

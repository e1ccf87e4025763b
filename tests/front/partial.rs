//! Partial updates over HTTP: conditions, rights, versions, atomicity.

use super::harness::{Rig, instant};
use reqwest::Method;
use serde_json::json;

const LOT: &str = r#"[{"class":"/db/Spot","embedded":true,"fields":{"zip":{"name":"zip","type":"/db/Integer"}}},
    {"class":"/db/Bid","superClass":"/db/Object","fields":{
        "count":{"name":"count","type":"/db/Integer","order":0},"price":{"name":"price","type":"/db/Double","order":1},
        "tags":{"name":"tags","type":"/db/collection.Set[/db/String]","order":2},"spot":{"name":"spot","type":"/db/Spot","order":3}}}]"#;

async fn rig() -> Rig {
    let rig = Rig::start().await;
    assert_eq!(rig.post_as(&rig.root, "/schema", LOT).await.status, 200);
    assert_eq!(rig.post("/db/Bid", r#"{"id":"/db/Bid/1","count":1,"price":13.37,"tags":["a"]}"#).await.status, 201);
    rig
}

#[tokio::test]
async fn several_operations_are_one_version() {
    let rig = rig().await;
    let before = rig.get("/db/Bid/1").await.json();
    let update = r#"{"$inc":{"count":2},"$mul":{"price":2},"$add":{"tags":"b"},"$set":{"spot.zip":5}}"#;
    let answer = rig.post("/db/Bid/1", update).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("etag"), Some("\"2\""));
    let after = answer.json();
    assert_eq!((&after["count"], &after["price"], &after["tags"]), (&json!(3), &json!(26.74), &json!(["a", "b"])));
    assert_eq!((&after["spot"], &after["version"], &after["createdAt"]), (&json!({"zip": 5}), &json!(2), &before["createdAt"]));
    assert!(instant(&after["updatedAt"]) > instant(&before["updatedAt"]));
    assert_eq!(rig.get("/db/Bid/1").await.json(), after);
    // Nothing to do is a version, too.
    assert_eq!(rig.post("/db/Bid/1", "{}").await.json()["version"], 3);
    // One that cannot be done, and none is.
    let refused = rig.post("/db/Bid/1", r#"{"$inc":{"count":1},"$push":{"tags":"c"}}"#).await;
    assert_eq!((refused.status, refused.reason().as_str()), (400, "bad-update"));
    assert_eq!(refused.json()["message"], "Unsupported update operation $push on tags");
    assert_eq!(rig.get("/db/Bid/1").await.json()["count"], 3);
}

#[tokio::test]
async fn refusals_have_their_codes() {
    let rig = rig().await;
    for (update, status, reason) in [
        (r#"{"$dance":{"count":1}}"#, 400, "bad-update"),
        (r#"{"$set":{"spot":{"zip":1}}}"#, 400, "bad-update"),
        (r#"{"$inc":{"version":1}}"#, 400, "bad-update"),
        (r#"{"$set":{"nothing":1}}"#, 400, "bad-update"),
        (r#"{"$inc":{"count":"x"}}"#, 463, "unfit-value"),
        (r#"{"$inc":{"count":9223372036854775807}}"#, 463, "unfit-value"),
        (r#"{"$set":{"count":"x"}}"#, 463, "unfit-value"),
        ("x", 400, "bad-update"),
    ] {
        let answer = rig.post("/db/Bid/1", update).await;
        assert_eq!((answer.status, &*answer.reason()), (status, reason), "{update}");
    }
    assert_eq!(rig.post("/db/Bid/2", "{}").await.status, 404);
    assert_eq!(rig.get("/db/Bid/1").await.json()["version"], 1);
}

#[tokio::test]
async fn conditions_hold() {
    let rig = rig().await;
    let post = async |condition: &str, id: &str| {
        rig.ask(Method::POST, id, None, &[("if-match", condition)], Some(r#"{"$inc":{"count":1}}"#.into())).await
    };
    assert_eq!(post("\"1\"", "/db/Bid/1").await.json()["version"], 2);
    assert_eq!(post("\"1\"", "/db/Bid/1").await.status, 412);
    assert_eq!(post("*", "/db/Bid/1").await.json()["count"], 3);
    assert_eq!(post("*", "/db/Bid/2").await.status, 412);
}

#[tokio::test]
async fn it_is_judged_as_an_update() {
    let rig = rig().await;
    let (owner, other) = (rig.token("/db/User/o", &[]), rig.token("/db/User/p", &[]));
    let own = r#"{"id":"/db/Bid/own","count":1,"acl":{"read":{},"write":{"/db/User/o":"allow"}}}"#;
    let hidden = r#"{"id":"/db/Bid/hidden","count":1,"acl":{"read":{"/db/User/o":"allow"},"write":{}}}"#;
    rig.post("/db/Bid", own).await;
    rig.post("/db/Bid", hidden).await;
    let update = r#"{"$inc":{"count":1}}"#;
    assert_eq!(rig.post("/db/Bid/own", update).await.status, 466);
    assert_eq!(rig.post_as(&other, "/db/Bid/own", update).await.status, 466);
    assert_eq!(rig.post_as(&owner, "/db/Bid/own", update).await.status, 200);
    assert_eq!(rig.post_as(&other, "/db/Bid/hidden", update).await.status, 404);
    assert_eq!(rig.post_as(&owner, "/db/Bid/hidden", update).await.status, 200);
    // The list of rights is kept, and can be set as a whole.
    let acl = rig.post_as(&owner, "/db/Bid/own", r#"{"$set":{"acl":null}}"#).await.json();
    assert_eq!(acl["acl"], json!(null));
    assert_eq!(rig.post("/db/Bid/own", update).await.status, 200);
    // The class's right comes first, also for what is not there.
    let closed = r#"{"class":"/db/Bid","acl":{"update":{"/db/User/o":"allow"}}}"#;
    assert_eq!(rig.post_as(&rig.root, "/schema/Bid", closed).await.status, 200);
    assert_eq!(rig.post("/db/Bid/none", update).await.status, 466);
    assert_eq!(rig.post_as(&owner, "/db/Bid/own", update).await.status, 200);
}

#[tokio::test]
async fn an_open_bucket_and_a_single_field() {
    let rig = Rig::start().await;
    rig.post("/db/Free", r#"{"id":"/db/Free/1","a":{"b":[1.50]},"n":123456789012345678901}"#).await;
    let text = rig.post("/db/Free/1", r#"{"$push":{"a.b":2},"$inc":{"m":1},"$rename":{"n":"k"}}"#).await.text;
    assert!(text.ends_with(r#","a":{"b":[1.50,2]},"m":1,"k":123456789012345678901}"#), "{text}");
    let field = rig.post("/db/Free/1/a.b", r#"{"$pop":null}"#).await;
    assert!(field.status == 200 && field.text.contains(r#""a":{"b":[1.50]}"#), "{field:?}");
    assert_eq!(rig.post("/db/Free/1/a.b", r#"{"$inc":1}"#).await.json()["message"], "Unsupported update operation $inc on a.b");
}

#[tokio::test]
async fn nobodys_increment_is_lost() {
    let rig = std::sync::Arc::new(rig().await);
    let writers = (0..8).map(|_| {
        let rig = rig.clone();
        tokio::spawn(async move {
            for _ in 0..25 {
                assert_eq!(rig.post("/db/Bid/1", r#"{"$inc":{"count":1}}"#).await.status, 200);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let after = rig.get("/db/Bid/1").await.json();
    assert_eq!((&after["count"], &after["version"]), (&json!(201), &json!(201)));
}

//! `/index/:bucket`, and what indexes mean for writes and queries.

use super::harness::Rig;
use reqwest::Method;
use serde_json::{Value, json};
use tidegate::object::id::encode_component;

async fn declare(rig: &Rig, bucket: &str, body: &str) -> super::harness::Answer {
    rig.post_as(&rig.root, &format!("/index/{bucket}"), body).await
}

async fn listed(rig: &Rig, bucket: &str) -> Vec<Value> {
    let answer = rig.get_as(&rig.root, &format!("/index/{bucket}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json().as_array().unwrap().clone()
}

#[tokio::test]
async fn indexes_are_declared_listed_and_dropped() {
    let rig = Rig::start().await;
    assert_eq!(listed(&rig, "Lot").await, [json!({"unique": true, "keys": [{"id": "asc"}]})]);
    assert_eq!(declare(&rig, "Lot", r#"{"unique":false,"keys":[{"name":"asc"},{"age":"desc"}],"drop":false}"#).await.status, 202);
    assert_eq!(declare(&rig, "Lot", r#"{"unique":true,"keys":[{"name":"asc"}],"drop":false}"#).await.status, 202);
    assert_eq!(declare(&rig, "Lot", r#"{"keys":[{"where":"geo"}]}"#).await.status, 202);
    assert_eq!(
        listed(&rig, "Lot").await[1..],
        [
            json!({"unique": false, "keys": [{"name": "asc"}, {"age": "desc"}, {"id": "desc"}]}),
            json!({"unique": true, "keys": [{"name": "asc"}]}),
            json!({"unique": false, "keys": [{"where": "geo"}, {"id": "asc"}]}),
        ]
    );
    assert_eq!(declare(&rig, "Lot", r#"{"unique":true,"keys":[{"name":"asc"}],"drop":true}"#).await.status, 202);
    assert_eq!(listed(&rig, "Lot").await.len(), 3);
    let rig = rig.restart().await;
    assert_eq!(listed(&rig, "Lot").await.len(), 3);
    assert_eq!(rig.ask(Method::DELETE, "/index/Lot", Some(&rig.root), &[], None).await.status, 202);
    assert_eq!(listed(&rig, "Lot").await.len(), 1);
    assert_eq!(listed(&rig, "User").await[1], json!({"unique": true, "keys": [{"username": "asc"}], "builtIn": true}));
}

#[tokio::test]
async fn what_is_no_index_is_refused_and_only_administrators_may() {
    let rig = Rig::start().await;
    for body in [
        r#"{"keys":[{"name":"text"}]}"#,
        r#"{"keys":[{"name":"desc","foo":"desc"}]}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[{}]}"#,
        r#"{"keys":[{"name":1}]}"#,
        r#"{"unique":true,"keys":[{"name":"geo"}]}"#,
        r#"{"keys":[{"name":"asc"},{"name":"desc"}]}"#,
    ] {
        let answer = declare(&rig, "Lot", body).await;
        assert_eq!((answer.status, &*answer.reason()), (400, "bad-index"), "{body}");
    }
    let user = rig.token("/db/User/2", &[]);
    for token in [None, Some(&*user)] {
        for (method, body) in [(Method::GET, None), (Method::POST, Some(r#"{"keys":[{"a":"asc"}]}"#)), (Method::DELETE, None)] {
            let answer = rig.ask(method, "/index/Lot", token, &[], body.map(str::to_owned)).await;
            assert_eq!(answer.reason(), "permission-denied");
        }
    }
    assert_eq!(listed(&rig, "Lot").await.len(), 1);
}

#[tokio::test]
async fn a_unique_index_refuses_with_its_name_and_the_value() {
    let rig = Rig::start().await;
    rig.post("/db/Lot", r#"{"id":"/db/Lot/1","name":"foobar"}"#).await;
    rig.post("/db/Lot", r#"{"id":"/db/Lot/2","name":"foobar"}"#).await;
    let refused = declare(&rig, "Lot", r#"{"unique":true,"keys":[{"name":"asc"}]}"#).await;
    assert_eq!((refused.status, &*refused.reason()), (409, "index-failed"));
    assert!(refused.text.contains("foobar"), "{refused:?}");
    assert_eq!(listed(&rig, "Lot").await[1]["state"], "failed");
    rig.delete("/db/Lot/2", &[]).await;
    assert_eq!(declare(&rig, "Lot", r#"{"unique":true,"keys":[{"name":"asc"}]}"#).await.status, 202);
    assert!(listed(&rig, "Lot").await[1].get("state").is_none());
    let taken = rig.post("/db/Lot", r#"{"id":"/db/Lot/3","name":"foobar"}"#).await;
    assert_eq!((taken.status, &*taken.reason()), (409, "unique-index-violated"));
    let message = taken.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("Unique index violation") && message.contains("foobar") && message.contains("name"), "{message}");
    rig.post("/db/Lot", r#"{"id":"/db/Lot/3","name":"other"}"#).await;
    let taken = rig.put("/db/Lot/3", &[], r#"{"id":"/db/Lot/3","name":"foobar"}"#).await;
    assert_eq!(taken.reason(), "unique-index-violated");
}

#[tokio::test]
async fn the_administrator_sees_how_a_query_is_answered() {
    let rig = Rig::start().await;
    for n in 0..300 {
        let acl = if n % 2 == 0 { r#","acl":{"read":{"/db/User/9":"allow"}}"# } else { "" };
        rig.post("/db/Lot", &format!(r#"{{"id":"/db/Lot/{n}","n":{n},"city":"c{}"{acl}}}"#, n % 30)).await;
    }
    declare(&rig, "Lot", r#"{"keys":[{"city":"asc"},{"n":"asc"}]}"#).await;
    let query = encode_component(r#"{"city":"c7","n":{"$gt":100}}"#);
    let sort = encode_component(r#"{"n":-1}"#);
    let report = rig.ask_admin(&format!("/explain?bucket=Lot&q={query}&sort={sort}"), Some(&rig.root), &[]).await.json();
    assert_eq!(report["answer"]["plan"]["kind"], "index", "{report}");
    assert_eq!(report["answer"]["plan"]["indexes"][0], "(city asc, n asc)");
    assert_eq!((&report["answer"]["rowsExamined"], &report["answer"]["rowsReturned"]), (&json!(6), &json!(6)));
    assert!(report["explanation"].is_object());
    // Access is judged on this way out too.
    let mine = rig.get(&format!("/db/Lot/query?q={query}&sort={sort}&start=0&count=3")).await;
    let ids: Vec<_> = mine.json().as_array().unwrap().iter().map(|lot| lot["n"].as_i64().unwrap()).collect();
    assert_eq!(ids, [277, 247, 217]);
    let even = encode_component(r#"{"city":"c8"}"#);
    assert_eq!(rig.get(&format!("/db/Lot/count?q={even}")).await.text, r#"{"count":0}"#);
    assert_eq!(rig.get_as(&rig.root, &format!("/db/Lot/count?q={even}")).await.text, r#"{"count":10}"#);
}

#[tokio::test]
async fn ids_alone_come_in_their_order() {
    let rig = Rig::start().await;
    for id in ["c", "a", "b"] {
        rig.post("/db/Lot", &format!(r#"{{"id":"/db/Lot/{id}"}}"#)).await;
    }
    rig.post("/db/Lot", r#"{"id":"/db/Lot/secret","acl":{"read":{"/db/User/9":"allow"}}}"#).await;
    let all = rig.get("/db/Lot/ids?start=0&count=-1").await;
    assert_eq!(all.json(), json!(["/db/Lot/a", "/db/Lot/b", "/db/Lot/c"]));
    assert!(all.header("tidegate-position").is_some());
    assert_eq!(rig.get("/db/Lot/ids?start=1&count=1").await.json(), json!(["/db/Lot/b"]));
}

#[tokio::test]
async fn a_renamed_field_is_found_by_its_new_name() {
    let rig = Rig::start().await;
    let class = r#"{"class":"/db/Thing","superClass":"/db/Object","fields":{"a":{"name":"a","type":"/db/String","order":0}}}"#;
    assert_eq!(rig.post_as(&rig.root, "/schema", class).await.status, 200);
    for n in 0..200 {
        assert_eq!(rig.post("/db/Thing", &format!(r#"{{"id":"/db/Thing/{n}","a":"v{n}"}}"#)).await.status, 201);
    }
    for path in ["a", "b"] {
        assert_eq!(declare(&rig, "Thing", &format!(r#"{{"unique":true,"keys":[{{"{path}":"asc"}}]}}"#)).await.status, 202);
    }
    let rename = r#"{"operation":"renameField","bucket":"/db/Thing","from":"a","to":"b"}"#;
    let renamed = rig.post_as(&rig.root, "/schema", rename).await;
    assert_eq!(renamed.status, 200, "{renamed:?}");
    let found =
        async |query: &str| rig.get(&format!("/db/Thing/query?q={}", encode_component(query))).await.json().as_array().unwrap().len();
    // While the indexes are built anew and objects are rewritten, and when all of that is done.
    assert_eq!((found(r#"{"b":"v7"}"#).await, found(r#"{"a":"v7"}"#).await), (1, 0));
    while listed(&rig, "Thing").await.iter().any(|index| index["state"] == "building") {
        tokio::task::yield_now().await;
    }
    assert_eq!((found(r#"{"b":"v7"}"#).await, found(r#"{"a":"v7"}"#).await), (1, 0));
    let query = encode_component(r#"{"b":"v7"}"#);
    let report = rig.ask_admin(&format!("/explain?bucket=Thing&q={query}"), Some(&rig.root), &[]).await.json();
    assert_eq!((&report["answer"]["plan"]["kind"], &report["answer"]["rowsExamined"]), (&json!("index"), &json!(1)));
    assert_eq!(rig.post("/db/Thing", r#"{"id":"/db/Thing/x","b":"v7"}"#).await.reason(), "unique-index-violated");
}

//! The app's own log: who may write what into it, who may read it, and how long it is kept.

use super::harness::{Rig, instant};
use serde_json::{Value, json};
use tidegate::config::LogLevel;

async fn entries(rig: &Rig, query: &Value) -> Vec<Value> {
    let query = tidegate::object::id::encode_component(&query.to_string());
    rig.get_as(&rig.root, &format!("/db/logs.AppLog/query?q={query}&sort=%7B%22id%22%3A1%7D")).await.json().as_array().unwrap().clone()
}

#[tokio::test]
async fn anybody_writes_and_administrators_read() {
    let rig = Rig::start().await;
    let user = rig.token("/db/User/u", &[]);
    let entry = json!({
        "date": "2020-01-02T03:04:05.500Z", "message": "hello", "level": "warn", "data": {"a": [1, null]}, "user": "/db/User/forged",
        "id": "/db/logs.AppLog/mine", "acl": {"read": {"/db/User/u": "allow"}}, "unknown": 1,
    });
    let written = rig.post("/db/logs.AppLog", &entry.to_string()).await;
    assert_eq!(written.status, 201, "{written:?}");
    rig.post_as(&user, "/db/logs.AppLog", r#"{"message":"second","level":"info","data":null}"#).await;
    rig.post_as(&rig.root, "/db/logs.AppLog", r#"{"message":"third","user":"/db/User/u"}"#).await;
    let found = entries(&rig, &json!({})).await;
    assert_eq!(found.len(), 3, "at once");
    let first = &found[0];
    assert_ne!(first["id"], "/db/logs.AppLog/mine");
    assert_eq!((&first["date"], &first["message"], &first["level"]), (&json!("2020-01-02T03:04:05.5Z"), &json!("hello"), &json!("warn")));
    assert_eq!((&first["data"], &first["user"], &first["acl"]), (&json!({"a": [1, null]}), &Value::Null, &Value::Null));
    assert!(first.get("unknown").is_none());
    assert_eq!((&found[1]["message"], &found[1]["user"]), (&json!("second"), &json!("/db/User/u")));
    assert!(found[1]["date"].is_string(), "the server's time where none was sent");
    assert_eq!(found[2]["user"], "/db/User/u", "administrators say whose an entry is");
    assert_eq!(entries(&rig, &json!({"message": "second"})).await.len(), 1);
    // In the order in which they were made.
    assert!(found.is_sorted_by_key(|entry| instant(&entry["createdAt"])));
    let id = first["id"].as_str().unwrap();
    for token in [None, Some(&*user)] {
        let ask = async |method: reqwest::Method, path: &str, body: Option<String>| rig.ask(method, path, token, &[], body).await.reason();
        assert_eq!(ask(reqwest::Method::GET, id, None).await, "permission-denied");
        assert_eq!(ask(reqwest::Method::GET, "/db/logs.AppLog/query?q=%7B%7D", None).await, "permission-denied");
        assert_eq!(ask(reqwest::Method::GET, "/db/logs.AppLog/count?q=%7B%7D", None).await, "permission-denied");
        assert_eq!(ask(reqwest::Method::PUT, id, Some("{}".into())).await, "permission-denied");
        assert_eq!(ask(reqwest::Method::DELETE, id, None).await, "permission-denied");
    }
}

#[tokio::test]
async fn levels_sizes_and_floods_are_bounded() {
    let rig = Rig::with(|config| {
        config.logs.level = LogLevel::Info;
        config.logs.entry_bytes = 200;
        config.logs.per_minute = 20;
        config.server.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let began = std::time::Instant::now();
    let log = async |level: &str, from: &str| {
        let entry = json!({"message": "m", "level": level}).to_string();
        rig.ask(reqwest::Method::POST, "/db/logs.AppLog", None, &[("x-forwarded-for", from)], Some(entry)).await
    };
    assert_eq!(log("debug", "10.0.0.1").await.status, 202);
    assert_eq!(log("info", "10.0.0.1").await.status, 201);
    assert_eq!(log("audit", "10.0.0.1").await.status, 201);
    assert_eq!(entries(&rig, &json!({})).await.len(), 2);
    let large = json!({"message": "m".repeat(200)}).to_string();
    assert_eq!(rig.post("/db/logs.AppLog", &large).await.reason(), "too-large");
    let mut refused = 0;
    for _ in 0..30 {
        let answer = log("warn", "10.0.0.1").await;
        if answer.status != 201 {
            assert_eq!((answer.status, &*answer.reason()), (429, "too-many-logs"));
            refused += 1;
        }
    }
    // One in three seconds is allowed anew.
    let anew = began.elapsed().as_secs().div_ceil(3);
    assert!(refused <= 13 && refused + anew >= 12, "{refused} refused, {anew} allowed anew");
    assert_eq!(log("warn", "10.0.0.2").await.status, 201, "others go on");
    for _ in 0..30 {
        assert_eq!(rig.post_as(&rig.root, "/db/logs.AppLog", r#"{"message":"m"}"#).await.status, 201);
    }
}

#[tokio::test]
async fn the_oldest_go_when_there_is_too_much() {
    let rig = Rig::with(|config| {
        config.logs.size_bytes = 60_000;
        config.logs.per_minute = 100_000;
    })
    .await;
    for n in 0..600 {
        assert_eq!(rig.post("/db/logs.AppLog", &json!({"message": "x".repeat(200), "data": {"n": n}}).to_string()).await.status, 201);
    }
    // Told as soon as there is too much; what is deleted is in the change log.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let found = entries(&rig, &json!({})).await;
        let bytes: usize = found.iter().map(|entry| entry.to_string().len()).sum();
        let numbers: Vec<_> = found.iter().map(|entry| entry["data"]["n"].as_u64().unwrap()).collect();
        assert_eq!(numbers.last(), Some(&599), "never the newest");
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "the oldest first: {numbers:?}");
        if bytes <= 60_000 {
            assert!(found.len() > 50, "and no more than needed: {}", found.len());
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{bytes} bytes stay");
        tokio::task::yield_now().await;
    }
    let rig = rig.restart().await;
    assert!(!entries(&rig, &json!({})).await.is_empty());
}

#[tokio::test]
async fn what_is_too_old_goes() {
    let rig = Rig::with(|config| {
        config.logs.age_seconds = 2;
    })
    .await;
    for n in 0..300 {
        rig.post("/db/logs.AppLog", &json!({"message": "m", "data": {"n": n}}).to_string()).await;
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(120);
    while !entries(&rig, &json!({})).await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "they stay");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // One that is not too old is there.
    loop {
        let began = std::time::Instant::now();
        rig.post("/db/logs.AppLog", r#"{"message":"new"}"#).await;
        let found = entries(&rig, &json!({"message": "new"})).await;
        // Where even this took longer than entries are kept nothing can be said.
        if began.elapsed() < std::time::Duration::from_secs(2) {
            assert!(!found.is_empty());
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the machine is too slow");
    }
}

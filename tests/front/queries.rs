//! One-shot queries and counts.

use super::harness::Rig;
use tidegate::object::id::encode_component;

async fn names(rig: &Rig, parameters: &str) -> Vec<String> {
    let answer = rig.get(&format!("/db/Lot/query?{parameters}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("tidegate-position").is_some());
    answer.json().as_array().unwrap().iter().map(|lot| lot["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn filters_orders_windows_and_counts() {
    let rig = Rig::start().await;
    for (name, price, tags) in [("a", 3, r#"["x"]"#), ("b", 1, "[]"), ("c", 2, r#"["x","y"]"#), ("d", 2, "null")] {
        let body = format!(r#"{{"id":"/db/Lot/{name}","name":"{name}","price":{price},"tags":{tags}}}"#);
        assert_eq!(rig.post("/db/Lot", &body).await.status, 201);
    }
    let q = |query: &str| format!("q={}", encode_component(query));
    assert_eq!(names(&rig, "").await, ["a", "b", "c", "d"]);
    assert_eq!(names(&rig, &q(r#"{"price":{"$gte":2},"tags":"x"}"#)).await, ["a", "c"]);
    assert_eq!(names(&rig, "start=1&count=2").await, ["b", "c"]);
    assert_eq!(names(&rig, "start=0&count=-1").await, ["a", "b", "c", "d"]);
    assert_eq!(names(&rig, &format!("sort={}", encode_component(r#"{"price":-1,"name":-1}"#))).await, ["a", "d", "c", "b"]);
    assert_eq!(names(&rig, &format!("start=1&count=2&sort={}", encode_component(r#"{"price":1}"#))).await, ["c", "d"]);
    let long: Vec<_> = (0..5000).map(|n| format!("\"{n}\"")).collect();
    let query = format!(r#"{{"name":{{"$in":["c",{}]}}}}"#, long.join(","));
    let posted =
        rig.ask(reqwest::Method::POST, "/db/Lot/query?start=0&count=5", None, &[("content-type", "text/plain")], Some(query.clone())).await;
    assert_eq!(posted.json()[0]["name"], "c");
    assert_eq!(rig.post("/db/Lot/count", &query).await.text, r#"{"count":1}"#);
    assert_eq!(rig.get(&format!("/db/Lot/count?{}", q(r#"{"price":2}"#))).await.text, r#"{"count":2}"#);
    assert_eq!(rig.get("/db/Nothing/query").await.text, "[]");
}

#[tokio::test]
async fn what_is_near_comes_nearest_first() {
    let rig = Rig::start().await;
    for (name, longitude) in [("a", 3.0), ("b", -1.0), ("c", 2.0), ("d", 1.0), ("e", 90.0)] {
        let body = format!(r#"{{"id":"/db/Lot/{name}","name":"{name}","at":{{"latitude":0,"longitude":{longitude}}}}}"#);
        assert_eq!(rig.post("/db/Lot", &body).await.status, 201);
    }
    let near = r#"{"at":{"$nearSphere":{"$geometry":{"type":"Point","coordinates":[0,0]},"$maxDistance":1000000}}}"#;
    let near = format!("q={}", encode_component(near));
    assert_eq!(names(&rig, &near).await, ["b", "d", "c", "a"]);
    assert_eq!(names(&rig, &format!("{near}&start=1&count=2")).await, ["d", "c"]);
    assert_eq!(names(&rig, &format!("{near}&sort={}", encode_component(r#"{"name":1}"#))).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_its_place() {
    let rig = Rig::with(|config| config.server.result_objects = 2).await;
    for id in 0..3 {
        rig.post("/db/Lot", &format!(r#"{{"id":"/db/Lot/{id}"}}"#)).await;
    }
    for (parameters, reason, part) in [
        (format!("q={}", encode_component(r#"{"a":{"$where":"1"}}"#)), "bad-query", "$where"),
        ("q=%7B".to_owned(), "bad-query", "query"),
        (format!("sort={}", encode_component(r#"{"a":2}"#)), "bad-query", "sort"),
        ("start=x".to_owned(), "bad-request", "start"),
        (String::new(), "result-too-large", "2"),
    ] {
        let answer = rig.get(&format!("/db/Lot/query?{parameters}")).await;
        assert_eq!(answer.reason(), reason, "{parameters}");
        assert!(answer.json()["message"].as_str().unwrap().contains(part), "{answer:?}");
    }
    assert_eq!(rig.get("/db/Lot/count").await.text, r#"{"count":3}"#);
}

#[tokio::test]
async fn times_compare_as_instants() {
    let rig = Rig::start().await;
    let class = r#"{"class":"/db/Event","superClass":"/db/Object","fields":{"at":{"name":"at","type":"/db/DateTime","order":0}}}"#;
    assert_eq!(rig.post_as(&rig.root, "/schema", class).await.status, 200);
    for (id, at) in [("1", "2020-01-01T00:00:00.500Z"), ("2", "2020-01-01T01:00:00+01:00"), ("3", "2021-01-01T00:00:00Z")] {
        assert_eq!(rig.post("/db/Event", &format!(r#"{{"id":"/db/Event/{id}","at":"{at}"}}"#)).await.status, 201);
    }
    let found = async |query: &str| {
        let answer = rig.get(&format!("/db/Event/query?q={}", encode_component(query))).await.json();
        answer.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().replace("/db/Event/", "")).collect::<String>()
    };
    assert_eq!(found(r#"{"at":{"$date":"2020-01-01T00:00:00Z"}}"#).await, "2");
    assert_eq!(found(r#"{"at":{"$lt":{"$date":"2020-06-01T00:00:00Z"}}}"#).await, "12");
    assert_eq!(found(r#"{"createdAt":{"$gt":{"$date":"2020-06-01T00:00:00Z"}}}"#).await, "123");
}

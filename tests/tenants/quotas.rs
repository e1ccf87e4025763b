//! Limits of one app: what is over them is refused, for this app alone, and says when to come again.

use super::harness::{Rig, code};
use super::support::socket::{Socket, Terms, Told};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn requests_over_the_rate_are_refused_and_those_of_others_are_not() {
    let rig = Rig::start().await;
    let small = rig.create("small", json!({})).await;
    rig.admin(Method::PUT, "/apps/small", Some(json!({"limits": {"requestsPerSecond": 5}}))).await;
    let mut refused = None;
    // A second's worth is in hand; sooner or later this is quicker than five in a second.
    for _ in 0..200 {
        let answer = small.load("Lot", "1").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("nothing was refused");
    assert_eq!((&*code(&refused), refused.headers["retry-after"].to_str().unwrap()), ("over-quota", "1"));
    let other = rig.app("v1");
    for _ in 0..50 {
        assert_eq!(other.load("Lot", "1").await.status, 404);
    }
    // The gateway's door is one of them.
    let door = async || Socket::try_connect(small.base()).await.is_err();
    let mut closed = false;
    for _ in 0..200 {
        closed |= door().await;
    }
    assert!(closed);
    let usage = rig.admin(Method::GET, "/apps/small", None).await.json()["usage"].clone();
    assert!(usage["refused"].as_u64().unwrap() > 0, "{usage}");
    let metrics = rig.admin(Method::GET, "/metrics", None).await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let line = metrics.lines().find(|line| line.starts_with("tidegate_app_refused_total{app=\"small\"} ")).unwrap();
    assert!(!line.ends_with(" 0"), "{line}");
    assert!(metrics.contains("tidegate_app_refused_total{app=\"app\"} 0"));
    rig.admin(Method::PUT, "/apps/small", Some(json!({"limits": {}}))).await;
    assert_eq!(small.load("Lot", "1").await.status, 404, "at once");
}

#[tokio::test]
async fn connections_and_subscriptions_are_bounded_for_each_app() {
    let rig = Rig::start().await;
    let small = rig.create("small", json!({"connections": 2, "subscriptions": 3})).await;
    let (one, two) = (Socket::connect(small.base()).await, Socket::connect(small.base()).await);
    assert!(Socket::try_connect(small.base()).await.is_err());
    let elsewhere = Socket::connect(&rig.server.url()).await;
    let kept: Vec<_> = [(&one, 2), (&two, 1)]
        .iter()
        .flat_map(|(socket, count)| (0..*count).map(|n| socket.subscribe("Lot", &format!("{{\"n\":{n}}}"), &Terms::default())))
        .collect();
    for subscription in &kept {
        assert!(matches!(subscription.answered().await[0], Told::Result { .. }));
    }
    let over = one.subscribe("Lot", "{}", &Terms::default()).answered().await;
    assert!(matches!(&over[..], [Told::Error { status: 429, code, .. }] if code == "too-many-subscriptions"), "{over:?}");
    assert!(matches!(elsewhere.subscribe("Lot", "{}", &Terms::default()).answered().await[0], Told::Result { .. }));
    // What ends gives its place back.
    kept[0].unsubscribe();
    let again = one.subscribe("Lot", "{}", &Terms::default()).answered().await;
    assert!(matches!(&again[..], [Told::Result { .. }]), "{again:?}");
    two.cut().await;
    drop((two, kept));
    let deadline = std::time::Instant::now() + super::support::PATIENCE;
    while Socket::try_connect(small.base()).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the place of a connection that ended is not given back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_app_leaves_connections_for_others() {
    let rig = Rig::with(|config| config.live.connections = 8).await;
    let greedy = rig.create("greedy", json!({})).await;
    let mut sockets = Vec::new();
    while let Ok(socket) = Socket::try_connect(greedy.base()).await {
        sockets.push(socket);
    }
    assert_eq!(sockets.len(), 4, "half of what there is");
    let _other = Socket::connect(&rig.server.url()).await;
    // Where there is no other app, all of it.
    let rig = Rig::with(|config| config.live.connections = 8).await;
    let mut alone = Vec::new();
    while let Ok(socket) = Socket::try_connect(&rig.server.url()).await {
        alone.push(socket);
    }
    assert_eq!(alone.len(), 8);
}

#[tokio::test]
async fn residual_queries_of_one_app_do_not_use_up_those_of_others() {
    let rig = Rig::with(|config| config.engine.residual_queries = 3).await;
    let greedy = rig.create("greedy", json!({})).await;
    let (here, there) = (Socket::connect(greedy.base()).await, Socket::connect(&rig.server.url()).await);
    let residual = |n: usize| format!(r#"{{"n":{{"$ne":{n}}}}}"#);
    let mut refused = 0;
    for n in 0..5 {
        match &here.subscribe("Lot", &residual(n), &Terms::default()).answered().await[..] {
            [Told::Error { status: 468, code, .. }] if code == "query-residual-quota" => refused += 1,
            [Told::Result { .. }] => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 2);
    for n in 0..3 {
        let told = there.subscribe("Lot", &residual(n), &Terms::default()).answered().await;
        assert!(matches!(&told[..], [Told::Result { .. }]), "{told:?}");
    }
}

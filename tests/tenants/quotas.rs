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

/// A thousand subscriptions are few, if their queries are small.
#[tokio::test]
async fn the_memory_of_standing_queries_is_bounded_for_each_connection_and_app() {
    let rig = Rig::with(|config| config.live.subscription_bytes = 1 << 20).await;
    let small = rig.create("small", json!({"subscriptionBytes": 1_600_000})).await;
    let operands = |from: u64| json!({"n": {"$in": (from..from + 500).collect::<Vec<_>>()}}).to_string();
    let expression = |from: u64| json!({"t": {"$regex": format!("{from}\\p{{L}}")}}).to_string();
    let large = |told: &[Told]| matches!(told, [Told::Error { status: 429, code, .. }] if code == "subscriptions-too-large");
    let ask = async |socket: &Socket, query: String| {
        let subscription = socket.subscribe("Lot", &query, &Terms::default());
        let told = subscription.answered().await;
        assert!(large(&told) || matches!(&told[..], [Told::Result { .. }]), "{told:?}");
        (!large(&told)).then_some(subscription)
    };
    for query in [operands as fn(u64) -> String, expression] {
        let one = Socket::connect(small.base()).await;
        let mut kept = Vec::new();
        while let Some(subscription) = ask(&one, query(kept.len() as u64)).await {
            kept.push(subscription);
            assert!(kept.len() < 10, "there is no bound");
        }
        assert!(!kept.is_empty());
        // Small ones find room, and what ends gives its own back.
        let _small = ask(&one, "{}".to_owned()).await.unwrap();
        kept.pop().unwrap().unsubscribe();
        let deadline = std::time::Instant::now() + super::support::PATIENCE;
        kept.push(loop {
            if let Some(again) = ask(&one, query(99)).await {
                break again;
            }
            assert!(std::time::Instant::now() < deadline, "what a subscription had is not given back");
        });
        // Another connection has bytes of its own, but no more than the app.
        let two = Socket::connect(small.base()).await;
        let mut others = Vec::new();
        while let Some(subscription) = ask(&two, query(100 + others.len() as u64)).await {
            others.push(subscription);
        }
        assert!(others.len() < kept.len(), "{} {}", others.len(), kept.len());
        let elsewhere = Socket::connect(&rig.server.url()).await;
        assert!(ask(&elsewhere, query(0)).await.is_some());
        let used = async || {
            let app = rig.admin(Method::GET, "/apps/small", None).await.json();
            app["usage"]["subscriptionBytes"].as_u64().unwrap()
        };
        assert!((1_000_000..=1_600_000).contains(&used().await));
        one.cut().await;
        two.cut().await;
        let deadline = std::time::Instant::now() + super::support::PATIENCE;
        while used().await > 0 {
            assert!(std::time::Instant::now() < deadline, "what connections that ended had is not given back");
            tokio::task::yield_now().await;
        }
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

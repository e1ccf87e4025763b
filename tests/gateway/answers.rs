//! Answer before event (invariant 10).

use super::harness::{Server, session_of};
use dataflows::change::Writer;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_gets_his_answer_first_and_nobody_else_waits() {
    let server = Server::start_with(|config| config.live.answer_limit_ms = 60_000).await;
    let anna = session_of("anna");
    // One socket with subscriptions of two users; anna's comes first wherever they are gone through.
    let mut client = server.client().await;
    client.subscribe("anna", json!({}), json!({"token": "token-anna"})).await;
    client.expect("result").await;
    client.subscribe("bert", json!({}), json!({"token": "token-bert"})).await;
    client.expect("result").await;

    let guard = server.gateway.answers().begin(anna.hash);
    let writer = Writer { session: anna.hash, request: guard.request() };
    server.put_as("1", json!({}), writer).await;
    server.put("2", json!({})).await;
    for object in ["/db/Thing/1", "/db/Thing/2"] {
        let event = client.expect("match").await;
        assert_eq!((&event["id"], &event["data"]["id"]), (&json!("bert"), &json!(object)));
    }
    // The answer goes out with its body.
    let body = guard.into_body(Full::new(bytes::Bytes::from_static(b"{}")));
    let answered = Instant::now();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "{}");
    // In the order of commits: also what was not anna's own had to wait behind it.
    for object in ["/db/Thing/1", "/db/Thing/2"] {
        let event = client.expect("match").await;
        assert_eq!((&event["id"], &event["data"]["id"]), (&json!("anna"), &json!(object)));
    }
    assert!(answered.elapsed() >= Duration::from_millis(10), "the grace");
    server.put("3", json!({})).await;
    assert_eq!(client.expect("match").await["id"], "anna");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_goes_out_holds_the_event_no_longer_than_the_limit() {
    let server = Server::start_with(|config| config.live.answer_limit_ms = 50).await;
    let anna = session_of("anna");
    let mut client = server.client().await;
    client.subscribe("anna", json!({}), json!({"token": "token-anna"})).await;
    client.expect("result").await;
    let guard = server.gateway.answers().begin(anna.hash);
    let began = Instant::now();
    server.put_as("1", json!({}), Writer { session: anna.hash, request: guard.request() }).await;
    client.expect("match").await;
    assert!(began.elapsed() >= Duration::from_millis(50));
    drop(guard);
    drop(server.gateway.answers().begin(anna.hash));
    server.until("nothing is left open", |now| now.open_answers <= 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_callers_of_one_address_are_one_session() {
    let server = Server::start_with(|config| config.live.answer_limit_ms = 60_000).await;
    let mut client = server.client().await;
    client.subscribe("own", json!({}), json!({})).await;
    client.expect("result").await;
    client.subscribe("anna", json!({}), json!({"token": "token-anna"})).await;
    client.expect("result").await;
    let session = tidegate::auth::Session::anonymous(server.address.ip()).hash;
    let guard = server.gateway.answers().begin(session);
    server.put_as("1", json!({}), Writer { session, request: guard.request() }).await;
    assert_eq!(client.expect("match").await["id"], "anna");
    drop(guard);
    assert_eq!(client.expect("match").await["id"], "own");
}

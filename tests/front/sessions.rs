//! Live subscriptions end with the token that they began with, and a renewal over HTTP carries them along.

use super::harness::Rig;
use super::registration::TOKEN;
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(crate) struct Live(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Live {
    async fn connect(rig: &Rig) -> Live {
        Live(tokio_tungstenite::connect_async(format!("ws://{}/v1/events", rig.server.api_address())).await.unwrap().0)
    }

    /// From where a trusted proxy says.
    pub(crate) async fn connect_from(rig: &Rig, address: &str) -> Live {
        let mut request = format!("ws://{}/v1/events", rig.server.api_address()).into_client_request().unwrap();
        request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
        Live(tokio_tungstenite::connect_async(request).await.unwrap().0)
    }

    /// A subscription that has its result.
    pub(crate) async fn subscribe(&mut self, id: &str, token: Option<&str>) {
        let subscribe = json!({
            "id": id, "type": "subscribe", "bucket": "Lot", "query": "{}", "token": token, "initial": true,
            "matchTypes": ["all"], "operations": ["any"], "reconnects": 0,
        });
        self.0.send(Message::text(subscribe.to_string())).await.unwrap();
        let result = self.next().await;
        assert_eq!((&result["type"], &result["id"]), (&json!("result"), &json!(id)), "{result}");
    }

    pub(crate) async fn next(&mut self) -> Value {
        let next = async {
            loop {
                if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                    return serde_json::from_str::<Value>(&text).unwrap();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(120), next).await.expect("nothing came")
    }

    /// The next message is the end of a subscription: id and code.
    async fn ends(&mut self) -> (String, String) {
        let message = self.next().await;
        assert_eq!((&message["type"], &message["error"]["status"]), (&json!("error"), &json!(460)), "{message}");
        (message["id"].as_str().unwrap().to_owned(), message["error"]["code"].as_str().unwrap().to_owned())
    }

    /// The next message is an event about a write, for each of these.
    pub(crate) async fn sees_a_write(&mut self, rig: &Rig, ids: &[&str]) {
        assert_eq!(rig.post("/db/Lot", "{}").await.status, 201);
        let mut seen = Vec::new();
        for _ in ids {
            let event = self.next().await;
            assert_eq!(event["type"], "match", "{event}");
            seen.push(event["id"].as_str().unwrap().to_owned());
        }
        seen.sort();
        assert_eq!(seen, ids);
    }
}

#[tokio::test]
async fn a_subscription_ends_when_its_session_is_revoked() {
    let rig = Rig::start().await;
    let mut live = Live::connect(&rig).await;
    let (joe, token) = rig.person("joe").await;
    let (_, ann) = rig.person("ann").await;
    live.subscribe("ann", Some(&ann)).await;
    live.subscribe("nobody", None).await;

    live.subscribe("joe", Some(&token)).await;
    live.sees_a_write(&rig, &["ann", "joe", "nobody"]).await;
    let changed = rig.new_password(Some(&token), "joe", "secret", "new").await;
    assert_eq!(live.ends().await, ("joe".into(), "session-revoked".into()));
    live.sees_a_write(&rig, &["ann", "nobody"]).await;

    let token = changed.header(TOKEN).unwrap().to_owned();
    live.subscribe("joe", Some(&token)).await;
    assert_eq!(rig.delete_as(&rig.root, &format!("{joe}/token")).await.status, 204);
    assert_eq!(live.ends().await, ("joe".into(), "session-revoked".into()));

    let token = rig.login("joe", "new").await.header(TOKEN).unwrap().to_owned();
    live.subscribe("a", Some(&token)).await;
    live.subscribe("b", Some(&token)).await;
    assert_eq!(rig.delete_as(&token, &joe).await.status, 204);
    let mut ends = [live.ends().await.0, live.ends().await.0];
    ends.sort();
    assert_eq!(ends, ["a", "b"], "all of the user who is gone");
    live.sees_a_write(&rig, &["ann", "nobody"]).await;
    live.subscribe("joe", Some(&token)).await;
    live.sees_a_write(&rig, &["ann", "joe", "nobody"]).await;
    // With a dead token he is anonymous, as everywhere, and of no session that could end.
    assert_eq!(rig.server.gateway().statistics().subscriptions, 3);
}

#[tokio::test]
async fn a_subscription_ends_when_its_user_may_not_log_in_any_more() {
    let rig = Rig::start().await;
    let mut live = Live::connect(&rig).await;
    let (joe, token) = rig.person("joe").await;
    live.subscribe("nobody", None).await;
    live.subscribe("joe", Some(&token)).await;
    live.sees_a_write(&rig, &["joe", "nobody"]).await;
    let inactive = rig.ask(Method::POST, &joe, Some(&rig.root), &[], Some(r#"{"$set":{"inactive":true}}"#.into())).await;
    assert_eq!(inactive.status, 200, "{inactive:?}");
    assert_eq!(live.ends().await, ("joe".into(), "session-revoked".into()));
    live.sees_a_write(&rig, &["nobody"]).await;
    // And one whom somebody else deletes.
    let (ann, token) = rig.person("ann").await;
    live.subscribe("ann", Some(&token)).await;
    assert_eq!(rig.delete_as(&rig.root, &ann).await.status, 204);
    assert_eq!(live.ends().await, ("ann".into(), "session-revoked".into()));
    live.sees_a_write(&rig, &["nobody"]).await;
}

#[tokio::test]
async fn a_subscription_ends_with_its_token_unless_that_is_renewed_over_http() {
    let rig = Rig::with(|config| config.server.token_seconds = 20).await;
    let mut live = Live::connect(&rig).await;
    let (_, joe) = rig.person("joe").await;
    let (_, ann) = rig.person("ann").await;
    live.subscribe("nobody", None).await;
    live.subscribe("joe", Some(&joe)).await;
    live.subscribe("ann", Some(&ann)).await;
    // Half of the time is over by the server's clock, and one of the two goes on using the API.
    rig.advance(10_100);
    let renewed = rig.get_as(&joe, "/db/User/me").await;
    let renewed = renewed.header(TOKEN).unwrap();
    assert!(renewed[8..16] > joe[8..16]);
    let began = std::time::Instant::now();
    assert_eq!(live.ends().await, ("ann".into(), "session-expired".into()));
    assert!(rig.get_as(&ann, "/db/User/me").await.status == 404 && rig.is_alive(renewed).await, "as over HTTP");
    live.sees_a_write(&rig, &["joe", "nobody"]).await;
    assert_eq!(live.ends().await, ("joe".into(), "session-expired".into()), "and in the end the other one, too");
    assert!(began.elapsed() > Duration::from_secs(10));
    live.sees_a_write(&rig, &["nobody"]).await;
}

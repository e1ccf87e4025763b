//! `POST /connect`: what a browser's SDK loads into a frame when the app comes from another origin. That it works is for
//! a browser to say (`tests/example.rs`); here is what it must not do.

use super::harness::{Answer, Rig};
use reqwest::Method;
use serde_json::Value;

/// The form as browsers send it.
async fn frame(rig: &Rig, form: &str) -> Answer {
    let type_ = [("content-type", "application/x-www-form-urlencoded"), ("origin", "https://app.example")];
    rig.ask(Method::POST, "/connect", None, &type_, Some(form.to_owned())).await
}

/// The text of the node whose id is `/connect`, as the SDK reads it, and its token.
fn welcome(answer: &Answer) -> (Value, String) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let (_, node) = answer.text.split_once(r#"<script id="/connect""#).unwrap();
    let (head, rest) = node.split_once('>').unwrap();
    let (text, _) = rest.split_once("</script>").unwrap();
    let (_, token) = head.split_once(r#"data-token=""#).unwrap();
    (serde_json::from_str(text).unwrap(), token.split('"').next().unwrap().to_owned())
}

#[tokio::test]
async fn it_holds_what_connect_answers_to_this_caller() {
    let rig = Rig::start().await;
    let (anonymous, token) = welcome(&frame(&rig, "").await);
    assert_eq!(anonymous, rig.get("/connect").await.json());
    assert_eq!(token, "");
    let (root, token) = welcome(&frame(&rig, &format!("BAT={}", rig.root)).await);
    assert_eq!((&root["user"]["id"], root["token"].as_str()), (&"/db/User/1".into(), Some(&*token)));
    assert_eq!(rig.get_as(&token, "/db/User/me").await.status, 200);
    let mut forged = rig.root.clone();
    forged.pop();
    for form in [format!("BAT={forged}x"), "BAT=".to_owned(), "a=b&c".to_owned()] {
        assert_eq!(welcome(&frame(&rig, &form).await), (anonymous.clone(), String::new()), "{form}");
    }
}

#[tokio::test]
async fn nothing_in_the_schema_gets_out_of_its_node_and_no_cache_keeps_it() {
    let rig = Rig::start().await;
    let class = r#"{"class":"/db/Lot","superClass":"/db/Object","fields":{},"metadata":{"note":"</script><script>alert(1)</script><!--"}}"#;
    assert_eq!(rig.post_as(&rig.root, "/schema", class).await.status, 200);
    let answer = frame(&rig, &format!("BAT={}", rig.root)).await;
    assert_eq!(answer.text.matches("<script").count(), 2, "the data and the one script");
    assert!(!answer.text.contains("<!--"));
    let (schema, _) = welcome(&answer);
    let lot = schema["schema"].as_array().unwrap().iter().find(|class| class["class"] == "/db/Lot").unwrap();
    assert_eq!(lot["metadata"]["note"], "</script><script>alert(1)</script><!--");
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert!(answer.header("content-type").unwrap().starts_with("text/html"));
    // It would renew the token of whoever sent the form a second time.
    assert_eq!(answer.header("baqend-authorization-token"), None);
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn only_the_configured_origins_may_frame_it_and_be_spoken_to() {
    let rig = Rig::with(|config| config.server.origins = vec!["https://app.example".into(), "https://b.example:8443".into()]).await;
    let answer = frame(&rig, "").await;
    assert!(answer.header("content-security-policy").unwrap().ends_with("frame-ancestors https://app.example https://b.example:8443"));
    assert!(answer.text.contains(r#"data-origins="https://app.example https://b.example:8443""#));
}

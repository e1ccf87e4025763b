//! Bytes that an app may store: what is used is shown, what would be more is refused, and nobody else notices.

use super::harness::{Rig, code};
use reqwest::Method;
use serde_json::{Value, json};

async fn stored(rig: &Rig, app: &str) -> (u64, u64) {
    let stored = rig.admin(Method::GET, &format!("/apps/{app}"), None).await.json()["stored"].clone();
    (stored["objects"].as_u64().unwrap(), stored["bytes"].as_u64().unwrap())
}

fn note(id: u32, bytes: usize) -> String {
    json!({"id": format!("/db/Note/{id}"), "text": "x".repeat(bytes)}).to_string()
}

#[tokio::test]
async fn an_app_stores_no_more_than_it_may() {
    let rig = Rig::start().await;
    let (small, other) = (rig.create("small", json!({})).await, rig.create("other", json!({})).await);
    let before = stored(&rig, "small").await;
    assert!(before.0 > 0 && before.1 > 0, "roles and root are objects");
    assert_eq!(small.insert("Note", note(1, 1000)).await.status, 201);
    let used = stored(&rig, "small").await;
    assert!(used.0 == before.0 + 1 && used.1 >= before.1 + 1000, "{used:?}");

    let changed = rig.admin(Method::PUT, "/apps/small", Some(json!({"limits": {"storedBytes": used.1 + 2000}}))).await.json();
    assert_eq!(changed["limitsInForce"]["storedBytes"], used.1 + 2000);
    let refused = small.insert("Note", note(2, 2000)).await;
    assert_eq!((refused.status, &*code(&refused)), (507, "storage-full"));
    assert!(refused.json()["message"].as_str().unwrap().contains("limits.stored_bytes"), "{refused:?}");
    // In whatever way it comes.
    let batch = json!([{"operation": "insert", "bucket": "Note", "object": serde_json::from_str::<Value>(&note(3, 2000)).unwrap()}]);
    let together = small.post("/batch", batch.to_string()).await;
    assert!(String::from_utf8_lossy(&together.body).contains("storage-full"), "{together:?}");
    let grown = small.put("Note", "1", note(1, 4000), None).await;
    assert_eq!(code(&grown), "storage-full");
    assert_eq!(stored(&rig, "small").await, used, "what is refused is not there");
    assert_eq!(other.insert("Note", note(2, 20_000)).await.status, 201);

    // There is room again when something goes.
    assert_eq!(small.delete("Note", "1", None).await.status, 204);
    assert_eq!(stored(&rig, "small").await, before);
    assert_eq!(small.insert("Note", note(2, 2000)).await.status, 201);

    // Count and bound are those of before, in another process's life.
    let used = stored(&rig, "small").await;
    let token = small.token().map(str::to_owned);
    let rig = rig.restart().await;
    assert_eq!(stored(&rig, "small").await, used);
    let small = rig.app("small").with_token(token);
    assert_eq!(code(&small.insert("Note", note(3, 2000)).await), "storage-full");

    // Nothing is left of an app that was deleted.
    rig.delete("small").await;
    rig.until_gone("small").await;
    rig.create("small", json!({})).await;
    assert_eq!(stored(&rig, "small").await.0, before.0);
}

#[tokio::test]
async fn the_configuration_bounds_every_app() {
    let rig = Rig::with(|config| config.limits.stored_bytes = 20_000).await;
    let roomy = rig.create("roomy", json!({"storedBytes": 0})).await;
    let root = rig.root_of("app").await;
    assert_eq!(code(&root.insert("Note", note(1, 20_000)).await), "storage-full");
    assert_eq!(roomy.insert("Note", note(1, 20_000)).await.status, 201, "its own limit is none");
}

//! Deleting an app: at once for whoever asks, in pieces for what it had, and nothing of it turns up again.

use super::harness::{Rig, password_of};
use super::support::socket::{Socket, Terms, Told};
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidegate::store::Secrets;

/// Nothing of the app is in the store: no object, no class of its own, no secret.
fn assert_empty(rig: &Rig, in_store: &str) {
    use tidegate::store::Store;
    let store = rig.server.store();
    assert_eq!(store.keys_of(in_store, None, 10).unwrap(), []);
    assert!(store.schema(in_store).class("Lot").is_none());
    let names = store.secret_names(None, usize::MAX).unwrap();
    assert!(!names.iter().any(|name| name.split('/').nth(1) == Some(in_store)), "{names:?}");
    assert!(names.iter().any(|name| name.split('/').nth(1) == Some("app")), "those of others stay: {names:?}");
}

const LOT: &str = r#"[{"class":"/db/Lot","superClass":"/db/Object","fields":{"n":{"name":"n","type":"/db/Integer","order":0}}}]"#;

/// Writers, readers and subscribers are in the middle of it when the app goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_goes_under_load_and_leaves_nothing() {
    let rig = Rig::start().await;
    let doomed = rig.create("doomed", json!({})).await;
    let other = rig.create("other", json!({})).await;
    doomed.post("/schema", LOT).await;
    let socket = Socket::connect(doomed.base()).await;
    let subscription = socket.subscribe("Lot", "{}", &Terms::of(doomed.token()));
    subscription.answered().await;
    let bystander = Socket::connect(other.base()).await.subscribe("Lot", "{}", &Terms::default());
    bystander.answered().await;

    let (told, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (http, told, written) = (doomed.clone(), told.clone(), written.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    let answer = http.insert("Lot", format!(r#"{{"id":"/db/Lot/{writer}-{n}","n":{n}}}"#)).await;
                    match answer.status {
                        201 => {
                            // Whoever is told of the end is not written for any more.
                            written.fetch_add(1, Ordering::SeqCst);
                        }
                        404 => return,
                        other => panic!("{other}: {answer:?} {}", told.load(Ordering::SeqCst)),
                    }
                }
            })
        })
        .collect();
    let deadline = std::time::Instant::now() + super::support::PATIENCE;
    while written.load(Ordering::SeqCst) < 400 {
        assert!(std::time::Instant::now() < deadline, "the writers do not go on");
        tokio::task::yield_now().await;
    }
    rig.delete("doomed").await;
    told.store(true, Ordering::SeqCst);
    assert_eq!(doomed.load("Lot", "0-0").await.status, 404, "from then on nothing answers");
    assert!(Socket::try_connect(doomed.base()).await.is_err());
    for writer in writers {
        writer.await.unwrap();
    }
    let ended = subscription.until("its end", |told| told.iter().any(|told| matches!(told, Told::Error { .. }))).await;
    assert!(matches!(ended.last(), Some(Told::Error { status: 404, code, .. }) if code == "app-deleted"), "{:?}", ended.last());
    socket.closed().await;
    rig.until_gone("doomed").await;
    assert_empty(&rig, "doomed");

    // Others have noticed nothing.
    assert_eq!(bystander.count(), 1);
    assert_eq!(other.insert("Lot", r#"{"id":"/db/Lot/1"}"#).await.status, 201);
    bystander.wait("its own event", |told| told.iter().any(|told| matches!(told, Told::Event { .. }))).await;
}

/// The next one of the same name is another app: no object, token, password or position of the former works in it.
#[tokio::test]
async fn a_new_app_of_the_same_name_inherits_nothing() {
    let rig = Rig::start().await;
    let former = rig.create("acme", json!({})).await;
    former.post("/schema", LOT).await;
    former.insert("Lot", r#"{"id":"/db/Lot/1","n":1}"#).await;
    let socket = Socket::connect(former.base()).await;
    let subscription = socket.subscribe("Lot", "{}", &Terms { token: former.token().map(str::to_owned), ..Terms::extended() });
    subscription.answered().await;
    let position = subscription.last_position().unwrap();
    former.insert("Lot", r#"{"id":"/db/Lot/2","n":2}"#).await;
    rig.delete("acme").await;

    // While the former one may still be on its way out.
    let asked = json!({"name": "acme", "rootPassword": "quite another"});
    let made = rig.admin(Method::POST, "/apps", Some(asked)).await;
    assert_eq!((made.status, &made.json()["inStore"]), (201, &json!("acme.2")));
    assert_eq!(rig.app("acme").with_token(former.token().map(str::to_owned)).get("/db/User/me").await.status, 404);
    let login = json!({"username": "root", "password": password_of("acme")}).to_string();
    assert_eq!(rig.app("acme").post("/db/User/login", login).await.status, 460);
    let root = rig.app("acme").login("root", "quite another").await;
    assert_eq!(root.load("Lot", "1").await.status, 404);
    assert_eq!(root.get("/schema/Lot").await.status, 461);
    let root_terms = Terms { token: root.token().map(str::to_owned), position: Some(position), ..Terms::extended() };
    let back = Socket::connect(root.base()).await.subscribe("Lot", "{}", &root_terms);
    back.answered().await;
    root.insert("Lot", r#"{"id":"/db/Lot/3","n":3}"#).await;
    back.wait("its own", |told| told.iter().any(|told| matches!(told, Told::Event { .. }))).await;
    assert!(back.frames().iter().all(|frame| !frame.contains("/db/Lot/2") && !frame.contains("/db/Lot/1\"")), "{:?}", back.frames());

    rig.until_gone("acme").await;
    assert_empty(&rig, "acme");
    let rig = rig.restart().await;
    let root = rig.app("acme").login("root", "quite another").await;
    assert_eq!(root.load("Lot", "3").await.json()["n"], 3);
    rig.delete("acme").await;
    rig.until_gone("acme.2").await;
    assert_empty(&rig, "acme.2");
    assert_eq!(rig.admin(Method::POST, "/apps", Some(json!({"name": "acme"}))).await.json()["inStore"], "acme.3");
}

/// Stopped in the middle, it goes on at the next start.
#[tokio::test]
async fn a_removal_goes_on_after_a_restart() {
    let rig = Rig::start().await;
    let doomed = rig.create("doomed", json!({})).await;
    doomed.post("/schema", LOT).await;
    futures_util::future::join_all((0..600).map(|n| {
        let http = doomed.clone();
        async move { assert_eq!(http.insert("Lot", format!(r#"{{"id":"/db/Lot/{n}","n":{n}}}"#)).await.status, 201) }
    }))
    .await;
    rig.delete("doomed").await;
    // As soon as it can: mostly before the last object has gone.
    let rig = rig.restart().await;
    assert_eq!(rig.app("doomed").get("/connect").await.status, 404);
    rig.until_gone("doomed").await;
    assert_empty(&rig, "doomed");
    let rig = rig.restart().await;
    assert_eq!(rig.admin(Method::GET, "/apps", None).await.json()["apps"].as_array().unwrap().len(), 1);
}

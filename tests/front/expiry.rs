//! Objects end when their time has come, whatever happens to the server.

use super::harness::Rig;
use super::support::server::{Process, serve};
use super::support::socket::{Socket, Terms, Told};
use serde_json::json;

const CLASS: &str = r#"[{"class":"/db/Lease","metadata":{"expires":"until"},"fields":{"until":{"name":"until","type":"/db/DateTime"}}}]"#;

fn in_ms(ms: i64) -> String {
    tidegate::object::time::instant(jiff::Timestamp::now().as_millisecond() + ms)
}

#[tokio::test]
async fn a_live_query_sees_it_leave() {
    // So much time there must be for prolonging one of them.
    let mut margin = 1_500;
    while !leaves_within(margin).await {
        assert!(margin < 100_000, "prolonged only after {margin} ms");
        margin *= 2;
    }
}

/// Whether what was prolonged was so before its time: else nothing is judged.
async fn leaves_within(margin: i64) -> bool {
    let rig = Rig::start().await;
    assert_eq!(rig.post_as(&rig.root, "/schema", CLASS).await.status, 200);
    let near = jiff::Timestamp::now().as_millisecond() + margin;
    let soon = tidegate::object::time::instant(near);
    for (key, until) in [("soon", soon.clone()), ("later", in_ms(3_600_000)), ("prolonged", soon)] {
        let object = json!({"id": format!("/db/Lease/{key}"), "until": until});
        assert_eq!(rig.post("/db/Lease", &object.to_string()).await.status, 201);
    }
    let socket = Socket::connect(&rig.server.url()).await;
    let live = socket.subscribe("Lease", "{}", &Terms::extended());
    live.answered().await;
    let prolonged = rig.put("/db/Lease/prolonged", &[], &json!({"until": in_ms(3_600_000)}).to_string()).await;
    if jiff::Timestamp::now().as_millisecond() >= near {
        return false;
    }
    assert_eq!(prolonged.status, 200);
    let is_remove = |told: &Told| matches!(told, Told::Event { match_type, .. } if match_type == "remove");
    let told = live.until("the remove", |told| told.iter().any(is_remove)).await;
    let Some(Told::Event { operation, data, .. }) = told.iter().find(|told| is_remove(told)) else { panic!("{told:?}") };
    assert_eq!((&**operation, data), ("delete", &json!({"id": "/db/Lease/soon"})));
    assert_eq!(rig.get("/db/Lease/soon").await.status, 404);
    assert_eq!(rig.get("/db/Lease/prolonged").await.status, 200);
    rig.server.shutdown().await.unwrap();
    true
}

#[tokio::test]
async fn after_kill_9_the_next_process_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Process::start(serve(&data));
    let root = server.http().login("root", super::support::server::PASSWORD).await;
    assert_eq!(root.post("/schema", CLASS).await.status, 200);
    for (key, until) in [("a", in_ms(1_000)), ("b", in_ms(4_000)), ("c", in_ms(3_600_000))] {
        assert_eq!(root.insert("Lease", json!({"id": format!("/db/Lease/{key}"), "until": until}).to_string()).await.status, 201);
    }
    server.kill();
    let server = Process::start(serve(&data));
    let socket = Socket::connect(&server.url).await;
    let live = socket.subscribe("Lease", "{}", &Terms::extended());
    let mut left: std::collections::BTreeSet<String> = ["a", "b", "c"].map(|key| format!("/db/Lease/{key}")).into();
    let told = live
        .until("what ends", |told| {
            let mut here = std::collections::BTreeSet::new();
            for told in told {
                match told {
                    Told::Result { data, .. } => here = data.iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect(),
                    Told::Event { data, .. } => drop(here.remove(data["id"].as_str().unwrap())),
                    _ => {}
                }
            }
            here.len() == 1
        })
        .await;
    for told in told {
        if let Told::Event { data, operation, .. } = told {
            assert_eq!(operation, "delete");
            left.remove(data["id"].as_str().unwrap());
        }
    }
    assert!(left.contains("/db/Lease/c"));
    for (key, status) in [("a", 404), ("b", 404), ("c", 200)] {
        assert_eq!(server.http().load("Lease", key).await.status, status, "{key}");
    }
}

//! Who may make and name what the server names itself. Rights of classes and objects as such: `tests/rights_matrix.rs`.

use super::harness::Rig;
use reqwest::Method;

#[tokio::test]
async fn roles_belong_to_their_creators_and_no_client_names_them() {
    let rig = Rig::start().await;
    let (maker, other) = (rig.token("/db/User/u", &[]), rig.token("/db/User/o", &[]));
    let made = rig.post_as(&maker, "/db/Role", r#"{"id":"/db/Role/wanted","name":"r","users":[]}"#).await.json();
    let id = made["id"].as_str().unwrap();
    assert_ne!(id, "/db/Role/wanted");
    let join = Some(r#"{"name":"r","users":["/db/User/o"]}"#.to_owned());
    assert_eq!(rig.ask(Method::PUT, id, Some(&other), &[], join.clone()).await.status, 466);
    assert_eq!(rig.ask(Method::PUT, id, Some(&maker), &[], join.clone()).await.status, 200);
    assert_eq!(rig.ask(Method::PUT, "/db/Role/new", Some(&rig.root), &[], join.clone()).await.status, 466);
    assert_eq!(rig.ask(Method::PUT, "/db/Role/1", Some(&other), &[], join).await.status, 466, "nobody makes himself an administrator");
    assert_eq!(rig.post("/db/User", r#"{"username":"x"}"#).await.reason(), "permission-denied");
    assert_eq!(rig.put("/db/User/x", &[], r#"{"username":"x"}"#).await.reason(), "permission-denied");
}

//! Membership as it is now, and roles that are assumed (docs/users.md).

use super::harness::{PASSWORD, Rig};
use super::registration::TOKEN;
use reqwest::Method;
use serde_json::{Value, json};

impl Rig {
    async fn role(&self, users: &[&str]) -> (String, Value) {
        let role = self.post_as(&self.root, "/db/Role", &json!({ "name": "r", "users": users }).to_string()).await.json();
        (role["id"].as_str().unwrap().to_owned(), role)
    }

    async fn members(&self, role: &str, users: &[&str]) {
        assert_eq!(self.put_as(&self.root, role, &json!({ "name": "r", "users": users })).await.status, 200);
    }

    async fn of_role(&self, id: &str, role: &str) {
        let acl = json!({ "read": { role: "allow" }, "write": { role: "allow" } });
        assert_eq!(self.post_as(&self.root, "/db/Lot", &json!({ "id": id, "acl": acl }).to_string()).await.status, 201);
    }
}

#[tokio::test]
async fn membership_counts_from_the_next_request_on() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    let (role, _) = rig.role(&[]).await;
    rig.of_role("/db/Lot/1", &role).await;
    let write = async || rig.put_as(&token, "/db/Lot/1", &json!({ "n": 1 })).await.status;
    for member in [false, true, false, true] {
        rig.members(&role, &[&*joe][..usize::from(member)]).await;
        assert_eq!(rig.get_as(&token, "/db/Lot/1").await.status == 200, member);
        let found = rig.get_as(&token, "/db/Lot/query?q=%7B%7D").await.json();
        assert_eq!(found.as_array().unwrap().len(), usize::from(member));
        assert_eq!(write().await, if member { 200 } else { 412 });
    }
    // Inside the transaction: behind the change of the role in the store's order no write of his goes through.
    let writes = futures_util::future::join_all((0..20).map(|_| write()));
    let (statuses, ()) = tokio::join!(writes, rig.members(&role, &[]));
    let version = rig.get_as(&rig.root, "/db/Lot/1").await.json()["version"].as_u64().unwrap();
    let written = statuses.iter().filter(|status| **status == 200).count() as u64;
    assert_eq!(version, 3 + written);
    assert_eq!(write().await, 412);
    assert_eq!(rig.delete_as(&rig.root, &role).await.status, 204);
    assert_eq!(write().await, 412);
}

#[tokio::test]
async fn a_role_keeps_a_list_that_is_left_out() {
    let rig = Rig::start().await;
    let (_, maker) = rig.person("joe").await;
    let (_, other) = rig.person("ann").await;
    let made = rig.post_as(&maker, "/db/Role", r#"{"name":"r","users":[]}"#).await.json();
    let id = made["id"].as_str().unwrap();
    let written = rig.put_as(&maker, id, &json!({ "name": "r", "users": [], "acl": null })).await;
    assert_eq!((written.status, &written.json()["acl"]), (200, &made["acl"]));
    assert_eq!(rig.put_as(&other, id, &json!({ "name": "r", "users": [] })).await.status, 466);
}

/// What requests say of a list that nobody has touched; the SDK always says the last one.
const UNTOUCHED: [&str; 4] = ["", r#","acl":null"#, r#","acl":{}"#, r#","acl":{"read":{},"write":{}}"#];

/// Nobody else makes himself, or anybody, a member, by none of the ways in which an object can be written.
async fn is_closed_to(rig: &Rig, id: &str, token: Option<&str>) {
    let add = json!({ "$add": { "users": "/db/User/1" } }).to_string();
    assert_eq!(rig.ask(Method::POST, id, token, &[], Some(add.clone())).await.status, 466);
    let empty = r#"{"name":"r","users":["/db/User/1"],"acl":{"read":{},"write":{}}}"#;
    assert_eq!(rig.ask(Method::PUT, id, token, &[], Some(empty.to_owned())).await.status, 466);
    assert_eq!(rig.ask(Method::PUT, id, token, &[("if-match", "*")], Some(empty.to_owned())).await.status, 466);
    assert_eq!(rig.ask(Method::POST, &format!("{id}/users"), token, &[], Some(r#"{"$add":"/db/User/1"}"#.to_owned())).await.status, 466);
    for (operation, object) in [("put", empty), ("partial", &*add)] {
        let batch = format!(r#"[{{"operation":"{operation}","id":"{id}","object":{object}}}]"#);
        assert_eq!(rig.ask(Method::POST, "/batch", token, &[], Some(batch)).await.status, 466, "{operation}");
    }
    assert_eq!(rig.ask(Method::DELETE, id, token, &[], None).await.status, 466);
}

#[tokio::test]
async fn a_role_without_a_list_of_its_own_is_its_creators() {
    let rig = Rig::start().await;
    let (joe, maker) = rig.person("joe").await;
    let (_, other) = rig.person("ann").await;
    for acl in UNTOUCHED {
        let object = format!(r#"{{"name":"r","users":[]{acl}}}"#);
        let single = rig.post_as(&maker, "/db/Role", &object).await;
        assert_eq!(single.status, 201, "{single:?}");
        let batch = format!(r#"[{{"operation":"insert","bucket":"Role","object":{object}}}]"#);
        let batch = rig.post_as(&maker, "/batch", &batch).await.json();
        for role in [single.json(), batch["results"][0]["object"].clone()] {
            assert_eq!(role["acl"], json!({ "read": {}, "write": { "/db/Role/1": "allow", &*joe: "allow" } }), "{acl}");
            let id = role["id"].as_str().unwrap();
            is_closed_to(&rig, id, Some(&other)).await;
            is_closed_to(&rig, id, None).await;
            // He goes on as the SDK does: it sends back the list that it knows, which may still be the empty one.
            let saved = rig.put_as(&maker, id, &json!({ "name": "s", "users": [&*joe], "acl": { "read": {}, "write": {} } })).await;
            assert_eq!((saved.status, &saved.json()["acl"]), (200, &role["acl"]));
            for operand in ["null", "{}", r#"{"read":{},"write":{}}"#] {
                let update = format!(r#"{{"$set":{{"acl":{operand}}}}}"#);
                let updated = rig.post_as(&maker, id, &update).await;
                assert_eq!((updated.status, &updated.json()["acl"]), (200, &role["acl"]), "{operand}");
                let batch = format!(r#"[{{"operation":"partial","id":"{id}","object":{update}}}]"#);
                let updated = rig.post_as(&maker, "/batch", &batch).await.json();
                assert_eq!(updated["results"][0]["object"]["acl"], role["acl"], "{operand}");
            }
            is_closed_to(&rig, id, Some(&other)).await;
            // Another list is his to give.
            let given = rig.put_as(&maker, id, &json!({ "name": "s", "users": [], "acl": { "write": { "/db/Role/3": "allow" } } })).await;
            assert_eq!(given.status, 200);
            let added = rig.post_as(&other, id, &json!({ "$add": { "users": &*joe } }).to_string()).await;
            assert_eq!(added.status, 200, "{added:?}");
        }
    }
    // An administrator's roles are his as well, and what he gives a list keeps it.
    let made = rig.post_as(&rig.root, "/db/Role", r#"{"name":"r","users":[],"acl":{"read":{},"write":{}}}"#).await.json();
    assert_eq!(made["acl"]["write"], json!({ "/db/Role/1": "allow", "/db/User/1": "allow" }));
    is_closed_to(&rig, made["id"].as_str().unwrap(), Some(&other)).await;
    let listed = json!({ "name": "r", "users": [], "acl": { "read": {}, "write": { &*joe: "allow" } } }).to_string();
    let made = rig.post_as(&rig.root, "/db/Role", &listed).await.json();
    assert_eq!(made["acl"]["write"], json!({ &*joe: "allow" }));
}

/// There is nobody whom it could be given to, and the SDK's own suite goes on to write it.
#[tokio::test]
async fn a_role_that_nobody_made_is_everybodys() {
    let rig = Rig::start().await;
    for acl in UNTOUCHED {
        let made = rig.post("/db/Role", &format!(r#"{{"name":"r","users":[]{acl}}}"#)).await;
        assert_eq!(made.status, 201);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(rig.post(&id, r#"{"$add":{"users":"/db/User/1"}}"#).await.status, 200);
        // Until somebody gives it a list.
        assert_eq!(rig.put(&id, &[], r#"{"name":"r","users":[],"acl":{"write":{"/db/Role/1":"allow"}}}"#).await.status, 200);
        is_closed_to(&rig, &id, None).await;
    }
    // Whoever wants none of them says so in the class.
    let closed = r#"{"class":"/db/Role","superClass":"/db/Object","fields":{},"acl":{"insert":{"/db/Role/3":"allow"}}}"#;
    let schema = rig.post_as(&rig.root, "/schema/Role", closed).await;
    assert_eq!(schema.status, 200, "{schema:?}");
    assert_eq!(rig.post("/db/Role", r#"{"name":"r","users":[]}"#).await.status, 466);
    let (_, joe) = rig.person("joe").await;
    assert_eq!(rig.post_as(&joe, "/db/Role", r#"{"name":"r","users":[]}"#).await.status, 201);
}

#[tokio::test]
async fn a_role_made_by_an_assumed_role_is_that_roles_and_names_no_user() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    let (role, _) = rig.role(&[&joe]).await;
    let assumed = rig.post_as(&token, &format!("{role}/assume"), "").await;
    let made = rig.post_as(assumed.header(TOKEN).unwrap(), "/db/Role", r#"{"name":"r","users":[]}"#).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["acl"]["write"], json!({ "/db/Role/1": "allow", &*role: "allow" }));
    assert!(!made.text.contains(&*joe));
}

#[tokio::test]
async fn who_assumes_a_role_has_its_rights_alone() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    let (role, _) = rig.role(&[&joe]).await;
    let (other, _) = rig.role(&[&joe]).await;
    rig.of_role("/db/Lot/role", &role).await;
    rig.of_role("/db/Lot/other", &other).await;
    let own = json!({ "id": "/db/Lot/own", "acl": { "read": { &*joe: "allow" } } });
    let denied = json!({ "id": "/db/Lot/denied", "acl": { "read": { &*role: "allow", &*other: "deny" } } });
    for object in [own, denied] {
        assert_eq!(rig.post_as(&rig.root, "/db/Lot", &object.to_string()).await.status, 201);
    }
    let assumed = rig.post_as(&token, &format!("{role}/assume"), "").await;
    assert_eq!((assumed.status, &assumed.json()["id"]), (200, &json!(role)));
    let assumed = assumed.header(TOKEN).unwrap();
    for (lot, by_user, by_role) in [("role", 200, 200), ("other", 200, 404), ("own", 200, 404), ("denied", 404, 404)] {
        let path = format!("/db/Lot/{lot}");
        assert_eq!(rig.get_as(&token, &path).await.status, by_user, "{lot}");
        assert_eq!(rig.get_as(assumed, &path).await.status, by_role, "{lot}");
    }
    assert_eq!(rig.put_as(assumed, "/db/Lot/role", &json!({ "n": 1 })).await.status, 200);
    assert_eq!(rig.put_as(assumed, "/db/Lot/own", &json!({ "n": 1 })).await.status, 412);
    assert_eq!(rig.get_as(assumed, "/db/User/me").await.status, 404, "it says nothing of who he is");
    assert_eq!(rig.post_as(assumed, &format!("{other}/assume"), "").await.status, 466, "nor leads back");
    let connected = rig.get_as(assumed, "/connect").await.json();
    assert_eq!((connected["token"].as_str(), connected.get("user")), (Some(assumed), None), "the SDK would forget it otherwise");
    rig.advance(10_000);
    assert_eq!(rig.get_as(assumed, "/db/Lot/role").await.header(TOKEN), None, "never renewed");

    rig.members(&role, &[]).await;
    assert_eq!(rig.get_as(assumed, "/db/Lot/role").await.status, 404, "and good only for members");
    rig.members(&role, &[&joe]).await;
    assert_eq!(rig.get_as(assumed, "/db/Lot/role").await.status, 200);
    assert_eq!(rig.delete_as(&rig.root, &format!("{joe}/token")).await.status, 204);
    assert_eq!(rig.get_as(assumed, "/db/Lot/role").await.status, 404, "it dies with his other tokens");
}

#[tokio::test]
async fn roles_are_assumed_by_members_and_administrators() {
    let rig = Rig::start().await;
    let (joe, _) = rig.person("joe").await;
    let (_, ann) = rig.person("ann").await;
    let (role, _) = rig.role(&[&joe]).await;
    let assume = format!("{role}/assume");
    assert_eq!(rig.post(&assume, "").await.status, 466);
    assert_eq!(rig.post_as(&ann, &assume, "").await.status, 466);
    assert_eq!(rig.post_as(&ann, "/db/Role/1/assume", "").await.status, 466, "least of all this one");
    assert_eq!(rig.post_as(&rig.root, "/db/Role/none/assume", "").await.status, 466);
    let assumed = rig.post_as(&rig.root, &assume, "").await;
    let assumed = assumed.header(TOKEN).unwrap();
    assert_eq!(rig.post_as(assumed, "/schema", r#"{"class":"/db/A"}"#).await.status, 466, "an administrator with less");
}

/// Anybody may make a role with anybody in it: it must keep nobody out.
#[tokio::test]
async fn whoever_is_in_very_many_roles_logs_in_all_the_same() {
    let rig = Rig::start().await;
    let (joe, _) = rig.person("joe").await;
    let mut last = String::new();
    for _ in 0..200 {
        let made = rig.post("/db/Role", &json!({ "users": ["/db/User/1", &*joe] }).to_string()).await;
        assert_eq!(made.status, 201, "{made:?}");
        last = made.json()["id"].as_str().unwrap().to_owned();
    }
    let root = rig.login("root", PASSWORD).await;
    let root = root.header(TOKEN).unwrap();
    assert!(root.len() <= 4 * 1024, "it is a header of every request: {}", root.len());
    assert!(rig.is_alive(root).await);
    assert_eq!(rig.get_as(root, "/banned").await.status, 200, "as an administrator");
    let api = rig.post_as(root, &format!("{joe}/token"), "").await.json();
    assert!(rig.is_alive(api.as_str().unwrap()).await);
    rig.advance(2_100);
    let renewed = rig.get_as(root, "/db/User/me").await;
    let renewed = renewed.header(TOKEN).unwrap();
    assert!(renewed != root && rig.is_alive(renewed).await);
    // He has the rights of those that his token has no room for as well.
    let token = rig.login("joe", "secret").await;
    let token = token.header(TOKEN).unwrap();
    for role in [&*last, "/db/Role/of-nobody"] {
        rig.of_role(&format!("/db/Lot/{}", role.len()), role).await;
    }
    assert_eq!(rig.get_as(token, &format!("/db/Lot/{}", last.len())).await.status, 200);
    assert_eq!(rig.get_as(token, &format!("/db/Lot/{}", "/db/Role/of-nobody".len())).await.status, 404);
    let assumed = rig.post_as(token, &format!("{last}/assume"), "").await;
    assert_eq!(rig.get_as(assumed.header(TOKEN).unwrap(), &format!("/db/Lot/{}", last.len())).await.status, 200);
}

//! Rights of classes and access lists of objects, over every request, against a few lines that say how it must be.

use super::harness::{Answer, Rig};
use super::people;
use reqwest::Method;

/// Who asks: nobody, a user, the same with a role, somebody else, an administrator.
fn callers(rig: &Rig) -> Vec<(&'static str, Option<String>, Vec<&'static str>)> {
    vec![
        ("anonymous", None, vec![]),
        ("user", Some(rig.token("/db/User/u", &[])), vec!["/db/User/u", "/db/Role/3"]),
        ("member", Some(rig.token("/db/User/m", &[])), vec!["/db/User/m", "/db/Role/r", "/db/Role/3"]),
        ("other", Some(rig.token("/db/User/o", &[])), vec!["/db/User/o", "/db/Role/3"]),
        ("root", Some(rig.root.clone()), vec!["/db/User/1", "/db/Role/1", "/db/Role/3"]),
    ]
}

const LISTS: [&[(&str, bool)]; 7] = [
    &[],
    &[("/db/User/u", true)],
    &[("/db/Role/r", true)],
    &[("/db/Role/3", true)],
    &[("/db/User/u", false)],
    &[("/db/Role/r", false), ("/db/User/m", true)],
    &[("/db/Role/1", false)],
];

/// CONTRACT section 6, in few lines.
fn passes(list: &[(&str, bool)], references: &[&str]) -> bool {
    let hits = |rule: bool| list.iter().any(|(reference, allow)| *allow == rule && references.contains(reference));
    references.contains(&"/db/Role/1") || (!hits(false) && (hits(true) || list.iter().all(|(_, allow)| !allow)))
}

fn json(list: &[(&str, bool)]) -> String {
    let rules: Vec<_> =
        list.iter().map(|(reference, allow)| format!(r#""{reference}":"{}""#, if *allow { "allow" } else { "deny" })).collect();
    format!("{{{}}}", rules.join(","))
}

#[tokio::test]
async fn access_lists_of_objects() {
    let rig = Rig::start().await;
    people::enroll(&rig.server, "/db/User/m", &["/db/Role/r"]).await;
    for (name, token, references) in callers(&rig) {
        let ask = |method: Method, headers: &'static [(&str, &str)], body: Option<String>| {
            rig.ask(method, "/db/Lot/1", token.as_deref(), headers, body)
        };
        for read in LISTS {
            for write in LISTS {
                let case = format!("{name} read {read:?} write {write:?}");
                let acl = format!(r#"{{"acl":{{"read":{},"write":{}}}}}"#, json(read), json(write));
                let (may_read, may_write) = (passes(read, &references), passes(write, &references));
                rig.ask(Method::PUT, "/db/Lot/1", Some(&rig.root), &[], Some(acl.clone())).await;

                assert_eq!(ask(Method::GET, &[], None).await.status, if may_read { 200 } else { 404 }, "load, {case}");
                let path = "/db/Lot/query";
                let found = rig.ask(Method::GET, path, token.as_deref(), &[], None).await.json().as_array().unwrap().len();
                let count = rig.ask(Method::GET, "/db/Lot/count", token.as_deref(), &[], None).await.json()["count"].clone();
                assert_eq!((found, count.as_u64()), (usize::from(may_read), Some(u64::from(may_read))), "query, {case}");

                let conditional = if !may_read {
                    412
                } else if may_write {
                    200
                } else {
                    466
                };
                assert_eq!(ask(Method::PUT, &[("if-match", "*")], Some(acl.clone())).await.status, conditional, "update, {case}");
                let forced = if may_read && may_write { 200 } else { 466 };
                assert_eq!(ask(Method::PUT, &[], Some(acl.clone())).await.status, forced, "forced save, {case}");
                let deleted = if !may_read {
                    412
                } else if may_write {
                    204
                } else {
                    466
                };
                assert_eq!(ask(Method::DELETE, &[("if-match", "*")], None).await.status, deleted, "delete, {case}");
                let there = rig.get_as(&rig.root, "/db/Lot/1").await.status;
                assert_eq!(there, if deleted == 204 { 404 } else { 200 }, "after, {case}");
            }
        }
    }
}

#[tokio::test]
async fn rights_of_classes() {
    let rig = Rig::start().await;
    let rights = ["load", "insert", "update", "delete", "query"];
    let open = rig.token("/db/User/u", &[]);
    for denied in rights {
        let bucket = format!("No{denied}");
        let class =
            format!(r#"{{"class":"/db/{bucket}","superClass":"/db/Object","acl":{{"{denied}":{{"/db/User/x":"allow"}}}},"fields":{{}}}}"#);
        assert_eq!(rig.post_as(&rig.root, "/schema", &class).await.status, 200);
        let object = format!("/db/{bucket}/1");
        assert_eq!(rig.post_as(&rig.root, &format!("/db/{bucket}"), &format!(r#"{{"id":"{object}"}}"#)).await.status, 201);
        let ask = async |method: Method, path: &str, headers: &[(&str, &str)], body: Option<&str>| -> Answer {
            rig.ask(method, path, Some(&open), headers, body.map(Into::into)).await
        };
        let answers = [
            ("load", ask(Method::GET, &object, &[], None).await),
            ("query", ask(Method::GET, &format!("/db/{bucket}/query"), &[], None).await),
            ("query", ask(Method::GET, &format!("/db/{bucket}/count"), &[], None).await),
            ("query", ask(Method::POST, &format!("/db/{bucket}/query"), &[], Some("{}")).await),
            ("insert", ask(Method::POST, &format!("/db/{bucket}"), &[], Some("{}")).await),
            ("update", ask(Method::PUT, &object, &[("if-match", "*")], Some("{}")).await),
            ("insert update", ask(Method::PUT, &object, &[], Some("{}")).await),
            ("insert", ask(Method::PUT, &format!("{object}new"), &[("if-none-match", "*")], Some("{}")).await),
            ("delete", ask(Method::DELETE, &object, &[("if-match", "*")], None).await),
        ];
        for (needs, answer) in answers {
            if needs.split(' ').any(|right| right == denied) {
                assert_eq!(answer.reason(), "permission-denied", "{needs} without {denied}");
                assert!(answer.text.contains(&format!("{denied} permissions are required")), "{answer:?}");
            } else {
                assert!(answer.status < 300, "{needs} without {denied}: {answer:?}");
            }
        }
    }
}

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

//! Registering, names, and what goes with a user who goes (docs/users.md).

use super::harness::{Answer, Rig};
use reqwest::Method;
use serde_json::{Value, json};

pub(crate) const TOKEN: &str = "baqend-authorization-token";

impl Rig {
    /// Registers somebody and logs him in: his id and his token.
    pub(crate) async fn person(&self, name: &str) -> (String, String) {
        let answer = self.register(json!({ "username": name }), "secret", true).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        (answer.json()["id"].as_str().unwrap().to_owned(), answer.header(TOKEN).unwrap().to_owned())
    }

    pub(crate) async fn register(&self, user: Value, password: &str, login: bool) -> Answer {
        let body = json!({ "user": user, "password": password, "login": login });
        self.post("/db/User/register", &body.to_string()).await
    }

    pub(crate) async fn delete_as(&self, token: &str, path: &str) -> Answer {
        self.ask(Method::DELETE, path, Some(token), &[], None).await
    }

    pub(crate) async fn put_as(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.ask(Method::PUT, path, Some(token), &[("if-match", "*")], Some(body.to_string())).await
    }

    /// Whether a token is somebody's.
    pub(crate) async fn is_alive(&self, token: &str) -> bool {
        self.get_as(token, "/db/User/me").await.status == 200
    }
}

#[tokio::test]
async fn a_registered_user_is_his_own() {
    let rig = Rig::start().await;
    let answer = rig.register(json!({"username": "joe", "acl": {"read": {}}, "inactive": true, "id": "/db/User/1"}), "secret", true).await;
    let user = answer.json();
    let id = user["id"].as_str().unwrap();
    assert_eq!((answer.status, user["username"].as_str(), user["version"].as_u64()), (200, Some("joe"), Some(1)));
    assert_eq!(user["acl"], json!({"read": {id: "allow"}, "write": {id: "allow"}}));
    assert_eq!((id == "/db/User/1", &user["inactive"]), (false, &Value::Null), "ids and the way in are the server's to give");
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    assert!(!answer.text.contains("secret") && !answer.text.contains("argon2"));
    let token = answer.header(TOKEN).unwrap();
    assert_eq!(rig.get_as(token, "/db/User/me").await.json(), user);
    assert_eq!(rig.get_as(token, "/db/User/validate").await.json(), user);
    assert_eq!(rig.get(id).await.status, 404, "nobody else reads him");
    assert!(rig.register(json!({"username": "ann"}), "secret", false).await.header(TOKEN).is_none());
    assert_eq!(rig.login("ann", "secret").await.status, 200);
    assert_eq!(rig.post("/db/User", r#"{"username":"eve"}"#).await.status, 466, "there is no other way");
}

#[tokio::test]
async fn what_cannot_be_registered_gets_no_token() {
    let rig = Rig::start().await;
    rig.person("joe").await;
    for (user, password, reason) in [
        (json!({"username": "ann"}), "", "bad-password"),
        (json!({"username": "ann"}), &*"x".repeat(1025), "bad-password"),
        (json!({"username": ""}), "secret", "bad-username"),
        (json!({"username": null}), "secret", "bad-username"),
        (json!({"username": 7}), "secret", "bad-username"),
        (json!({"username": " ann"}), "secret", "bad-username"),
        (json!({"username": "a\u{7}nn"}), "secret", "bad-username"),
        (json!({"username": "x".repeat(257)}), "secret", "bad-username"),
        (json!({"name": "ann"}), "secret", "bad-username"),
        (json!({"username": "joe"}), "other", "name-taken"),
        (json!({"username": "root"}), "other", "name-taken"),
        (json!({"username": "ann", "inactive": true, "acl": 7}), "secret", "bad-json"),
        (json!(["ann"]), "secret", "bad-json"),
    ] {
        let answer = rig.register(user.clone(), password, true).await;
        assert_eq!((&*answer.reason(), answer.header(TOKEN)), (reason, None), "{user}");
        assert!(matches!(answer.status, 400 | 409), "{answer:?}");
    }
    let missing = rig.post("/db/User/register", r#"{"user":{"username":"ann"}}"#).await;
    assert_eq!(missing.reason(), "bad-password");
    assert_eq!(rig.login("joe", "secret").await.status, 200, "the first one stays");
}

#[tokio::test]
async fn of_many_who_want_one_name_one_gets_it() {
    let rig = Rig::start().await;
    let all = (0..8).map(|n| {
        let rig = &rig;
        async move { (n, rig.register(json!({"username": "joe"}), &format!("secret {n}"), true).await) }
    });
    let answers = futures_util::future::join_all(all).await;
    let (in_, out): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| answer.status == 200);
    assert_eq!((in_.len(), out.len()), (1, 7));
    assert!(out.iter().all(|(_, answer)| answer.reason() == "name-taken" && answer.header(TOKEN).is_none()));
    let (winner, answer) = in_[0];
    assert!(rig.is_alive(answer.header(TOKEN).unwrap()).await);
    for n in 0..8 {
        assert_eq!(rig.login("joe", &format!("secret {n}")).await.status == 200, n == *winner);
    }
    let found = rig.get_as(&rig.root, "/db/User/query?q=%7B%22username%22%3A%22joe%22%7D").await.json();
    assert_eq!(found.as_array().unwrap().len(), 1, "and nothing is left of the others");
}

#[tokio::test]
async fn names_follow_the_object() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    let (ann, ann_token) = rig.person("ann").await;
    let renamed = |name: &str| json!({ "username": name, "acl": {"read": {&*joe: "allow"}, "write": {&*joe: "allow"}} });
    assert_eq!(rig.put_as(&token, &joe, &renamed("ann")).await.reason(), "name-taken");
    assert_eq!(rig.login("joe", "secret").await.status, 200, "a refused change changed nothing");
    assert_eq!(rig.put_as(&token, &joe, &renamed("josef")).await.status, 200);
    assert_eq!((rig.login("joe", "secret").await.status, rig.login("josef", "secret").await.status), (460, 200));
    let (other, _) = rig.person("joe").await;
    assert_ne!(other, joe, "a name that was given up is free");
    // By the administrator as well, and gone with its holder.
    assert_eq!(rig.put_as(&rig.root, &ann, &renamed("joe")).await.reason(), "name-taken");
    assert_eq!(rig.delete_as(&ann_token, &ann).await.status, 204);
    assert_eq!(rig.login("ann", "secret").await.status, 460);
    rig.person("ann").await;
    let rig = rig.restart().await;
    for (name, status) in [("joe", 200), ("josef", 200), ("ann", 200), ("root", 460)] {
        assert_eq!(rig.login(name, "secret").await.status, status, "{name}");
    }
}

#[tokio::test]
async fn with_a_user_everything_of_him_goes() {
    let rig = Rig::start().await;
    for by_root in [false, true] {
        let (joe, token) = rig.person("joe").await;
        let api = rig.post_as(&rig.root, &format!("{joe}/token"), "").await.json();
        let api = api.as_str().unwrap();
        assert!(rig.is_alive(api).await);
        let by = if by_root { &rig.root } else { &token };
        let deleted = rig.delete_as(by, &joe).await;
        assert_eq!(deleted.status, 204, "{deleted:?}");
        assert!(!rig.is_alive(&token).await && !rig.is_alive(api).await);
        assert_eq!(rig.login("joe", "secret").await.status, 460);
        let secrets = rig.server.store();
        for name in [format!("credentials/app{joe}"), "username/app/joe".to_owned(), format!("inactive/app{joe}")] {
            assert!(tidegate::store::Secrets::secret(&**secrets, &name).unwrap().is_none(), "{name}");
        }
        assert_eq!(rig.delete_as(&rig.root, &format!("{joe}/token")).await.status, 404, "and nothing comes back");
    }
    assert_eq!(rig.delete_as(&rig.root, "/db/User/1").await.status, 466, "somebody has to be left who may do everything");
    let (_, token) = rig.person("ann").await;
    let rig = rig.restart().await;
    assert!(rig.is_alive(&token).await);
}

#[tokio::test]
async fn dead_tokens_stay_dead_after_a_restart() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    assert_eq!(rig.delete_as(&token, &joe).await.status, 204);
    let (ann, ann_token) = rig.person("ann").await;
    assert_eq!(rig.delete_as(&rig.root, &format!("{ann}/token")).await.status, 204);
    let (eve, eve_token) = rig.person("eve").await;
    let inactive = json!({ "username": "eve", "inactive": true, "acl": {"read": {&*eve: "allow"}, "write": {&*eve: "allow"}} });
    assert_eq!(rig.put_as(&rig.root, &eve, &inactive).await.status, 200);
    let rig = rig.restart().await;
    for token in [&token, &ann_token, &eve_token] {
        assert!(!rig.is_alive(token).await);
    }
    assert_eq!(rig.login("eve", "secret").await.status, 460, "who is inactive may not log in");
    let active = json!({ "username": "eve", "inactive": false, "acl": {"read": {&*eve: "allow"}, "write": {&*eve: "allow"}} });
    assert_eq!(rig.put_as(&rig.root, &eve, &active).await.status, 200);
    assert!(rig.is_alive(&eve_token).await, "he was only kept out");
    assert_eq!(rig.login("eve", "secret").await.status, 200);
}

#[tokio::test]
async fn no_login_outlives_its_user() {
    let rig = Rig::start().await;
    for _ in 0..4 {
        let (joe, token) = rig.person("joe").await;
        let logins = futures_util::future::join_all((0..3).map(|_| rig.login("joe", "secret")));
        let (logins, deleted) = tokio::join!(logins, rig.delete_as(&token, &joe));
        assert_eq!(deleted.status, 204);
        for login in logins {
            match login.header(TOKEN) {
                Some(token) => assert!(!rig.is_alive(token).await, "whenever it was issued"),
                None => assert_eq!(login.status, 460),
            }
        }
    }
}

#[tokio::test]
async fn credentials_are_in_no_export_and_no_log() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    rig.get_as(&token, "/db/User/mfa/init").await;
    for path in [joe.as_str(), "/db/User/query?q=%7B%7D", "/schema", "/connect"] {
        let answer = rig.get_as(&token, path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.text.contains("argon2") && !answer.text.contains("second_factor") && !answer.text.contains("generation"), "{path}");
    }
    rig.put_as(&token, &joe, &json!({ "username": "josef" })).await;
    let log = rig.server.changelog();
    let batch = log.read(log.oldest(), 1 << 24).await.unwrap();
    let images = batch.changes.iter().flat_map(|change| [&change.before, &change.after]).flatten();
    let mut text: String = images.map(|image| String::from_utf8(image.json().to_vec()).unwrap()).collect();
    text.push_str(&format!("{:?}", batch.control));
    assert!(text.contains("josef") && !text.contains("argon2") && !text.contains("confirmed"));
}

#[tokio::test]
async fn who_comes_back_under_his_id_has_none_of_his_former_tokens() {
    let mut rig = Rig::start().await;
    let (joe, first) = rig.person("joe").await;
    let mut dead = vec![first];
    assert_eq!(rig.delete_as(&rig.root, &format!("{joe}/token")).await.status, 204);
    for round in 0..3 {
        let new = format!("secret {round}");
        assert_eq!(rig.new_password(Some(&rig.root), "joe", "", &new).await.status, 200);
        let token = rig.login("joe", &new).await.header(TOKEN).unwrap().to_owned();
        assert!(rig.is_alive(&token).await, "round {round}");
        let exported = rig.get_as(&rig.root, &joe).await.text;
        // Through a restart between, or not.
        assert_eq!(rig.delete_as(&rig.root, &joe).await.status, 204);
        dead.push(token);
        if round == 1 {
            rig = rig.restart().await;
        }
        let imported = rig.ask(Method::PUT, "/db/User", Some(&rig.root), &[], Some(exported)).await;
        assert_eq!(imported.status, 200, "{imported:?}");
        assert_eq!(rig.login("joe", &new).await.status, 460, "his password went with him");
        for times in 0..2 {
            for token in &dead {
                assert!(!rig.is_alive(token).await, "round {round}, {times}");
            }
            assert_eq!(rig.get_as(&rig.root, &joe).await.json()["username"], "joe");
            if times == 0 && round == 2 {
                rig = rig.restart().await;
            }
        }
    }
    let api = rig.post_as(&rig.root, &format!("{joe}/token"), "").await.json();
    assert!(rig.is_alive(api.as_str().unwrap()).await, "new ones are good, also without a password");
    assert_eq!(rig.delete_as(&rig.root, &format!("{joe}/token")).await.status, 204);
    assert!(!rig.is_alive(api.as_str().unwrap()).await);
    assert_eq!(rig.new_password(Some(&rig.root), "joe", "", "last").await.status, 200);
    let last = rig.login("joe", "last").await.header(TOKEN).unwrap().to_owned();
    assert!(rig.is_alive(&last).await);
    let rig = rig.restart().await;
    assert!(rig.is_alive(&last).await && !rig.is_alive(&dead[3]).await);
}

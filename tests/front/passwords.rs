//! New passwords: by the old one, by an administrator (by a mailed link: tests/mail); and what becomes of tokens (docs/users.md).

use super::harness::{Answer, PASSWORD, Rig};
use super::registration::TOKEN;
use reqwest::Method;
use serde_json::json;
use tidegate::server::APP;

impl Rig {
    pub(crate) async fn new_password(&self, token: Option<&str>, name: &str, old: &str, new: &str) -> Answer {
        let body = json!({ "username": name, "password": old, "newPassword": new }).to_string();
        self.ask(Method::POST, "/db/User/password", token, &[], Some(body)).await
    }

    pub(crate) fn advance(&self, milliseconds: i64) {
        let clock = self.server.store().clock();
        clock.raise(clock.now_ms() + milliseconds);
    }
}

#[tokio::test]
async fn who_changes_his_own_password_goes_on_with_a_new_token() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    rig.advance(2_100);
    let wrong = rig.new_password(Some(&token), "joe", "wrong", "new").await;
    assert_eq!((wrong.status, wrong.header(TOKEN)), (460, None));
    assert!(wrong.text.contains("User name or password is incorrect"));
    assert!(rig.is_alive(&token).await, "and it changed nothing");
    let changed = rig.new_password(Some(&token), "joe", "secret", "new").await;
    assert_eq!((changed.status, &changed.json()["id"], changed.header("cache-control")), (200, &json!(joe), Some("private, no-store")));
    let new = changed.header(TOKEN).unwrap();
    assert!(!rig.is_alive(&token).await && rig.is_alive(new).await);
    assert!(new[8..16] >= token[8..16], "an older end would not be taken");
    assert_eq!((rig.login("joe", "secret").await.status, rig.login("joe", "new").await.status), (460, 200));
    // From outside, with the old password, nobody is logged in by it.
    let outside = rig.new_password(None, "joe", "new", "newer").await;
    assert_eq!((outside.status, outside.header(TOKEN)), (200, None));
    assert!(!rig.is_alive(new).await);
    let rig = rig.restart().await;
    assert!(!rig.is_alive(new).await);
    assert_eq!(rig.login("joe", "newer").await.status, 200);
}

#[tokio::test]
async fn an_administrator_needs_no_old_password_but_his_own() {
    let rig = Rig::start().await;
    let (_, token) = rig.person("joe").await;
    let changed = rig.new_password(Some(&rig.root), "joe", "", "new").await;
    assert_eq!(changed.status, 200);
    // On a slow machine his own token is old enough to be renewed.
    let goes_on = changed.header(TOKEN).unwrap_or(&rig.root);
    assert_eq!(rig.get_as(goes_on, "/db/User/me").await.json()["username"], "root", "and stays who he is");
    assert!(!rig.is_alive(&token).await && rig.is_alive(&rig.root).await);
    assert_eq!(rig.login("joe", "new").await.status, 200);
    assert_eq!(rig.new_password(Some(&rig.root), "root", "", "mine").await.status, 460, "a stolen token is not enough");
    let own = rig.new_password(Some(&rig.root), "root", PASSWORD, "mine").await;
    assert!(own.status == 200 && rig.is_alive(own.header(TOKEN).unwrap()).await && !rig.is_alive(&rig.root).await);
    let (_, ann) = rig.person("ann").await;
    assert_eq!(rig.new_password(Some(&ann), "joe", "", "hers").await.status, 460);
}

#[tokio::test]
async fn a_password_has_to_be_one() {
    let rig = Rig::start().await;
    rig.person("joe").await;
    for new in [json!(""), json!(null), json!("x".repeat(1025))] {
        let body = json!({ "username": "joe", "password": "secret", "newPassword": new }).to_string();
        assert_eq!(rig.post("/db/User/password", &body).await.reason(), "bad-password");
    }
    assert_eq!(rig.post("/db/User/password", r#"{"newPassword":"x"}"#).await.reason(), "bad-json");
    for name in ["nobody", "", &"x".repeat(300)] {
        assert_eq!(rig.new_password(None, name, "secret", "new").await.status, 460);
    }
    assert_eq!(rig.login("joe", "secret").await.status, 200);
}

#[tokio::test]
async fn no_token_of_another_kind_is_good_for_a_new_password() {
    let rig = Rig::start().await;
    let (_, token) = rig.person("joe").await;
    let body = json!({ "token": token, "newPassword": "new" }).to_string();
    assert_eq!(rig.post("/db/User/password", &body).await.reason(), "mail-disabled", "and there are no links without mail");
    assert_eq!((rig.login("joe", "new").await.status, rig.login("joe", "secret").await.status), (460, 200));
}

#[tokio::test]
async fn no_login_outlives_the_password_that_it_was_made_with() {
    let rig = Rig::start().await;
    rig.person("joe").await;
    let mut old = "secret".to_owned();
    for round in 0..4 {
        let new = format!("secret {round}");
        let logins = futures_util::future::join_all((0..3).map(|_| rig.login("joe", &old)));
        let (logins, changed) = tokio::join!(logins, rig.new_password(None, "joe", &old, &new));
        assert_eq!(changed.status, 200);
        for login in logins {
            match login.header(TOKEN) {
                Some(token) => assert!(!rig.is_alive(token).await, "whenever it was issued"),
                None => assert_eq!(login.status, 460),
            }
        }
        old = new;
    }
    // Of two who change it at once one has the old password no more.
    let both = tokio::join!(rig.new_password(None, "joe", &old, "a"), rig.new_password(None, "joe", &old, "b"));
    let mut statuses = [both.0.status, both.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 460]);
}

#[tokio::test]
async fn a_hash_of_less_cost_is_made_anew_at_the_next_login() {
    use tidegate::auth::credentials::Credentials;
    use tidegate::auth::password::{Cost, Passwords};
    use tidegate::store::{Batch, Store};
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    let store = rig.server.store();
    let known = || Credentials::read(&**store, APP, &joe).unwrap().unwrap();
    let dear = Passwords::new(Cost { passes: 3, ..Cost::LEAST }, 1).unwrap();
    let other = Credentials { hash: Some(dear.hash("secret".into()).await.unwrap()), ..known() };
    let batch = Batch { secrets: vec![other.write(APP, &joe, None).unwrap()], ..Batch::default() };
    store.commit_batch(batch).await.unwrap();
    assert_eq!(rig.login("joe", "wrong").await.status, 460);
    assert_eq!(known(), other);
    assert_eq!(rig.login("joe", "secret").await.status, 200);
    assert!(known().hash.unwrap().contains("m=19456,t=2,p=1") && known().generation == other.generation);
    assert!(rig.is_alive(&token).await, "the password is the same, so are the tokens");
    assert_eq!(rig.login("joe", "secret").await.status, 200);
}

#[tokio::test]
async fn the_cost_is_measured_once() {
    use tidegate::store::Secrets;
    let rig = Rig::with(|config| config.server.password_ms = 30).await;
    let measured = rig.server.store().secret("password-cost").unwrap().unwrap();
    let data = rig.data;
    rig.server.shutdown().await.unwrap();
    let mut config = super::harness::config(&data);
    config.server.password_ms = 30;
    let server = tidegate::server::Server::start(config).await.unwrap();
    assert_eq!(server.store().secret("password-cost").unwrap().unwrap(), measured);
}

#[tokio::test]
async fn guessing_names_and_passwords_is_slowed_down_everywhere() {
    let rig = Rig::start().await;
    rig.person("joe").await;
    let mut taken = Vec::new();
    for _ in 0..11 {
        taken.push(rig.register(json!({"username": "joe"}), "x", false).await.status);
    }
    assert_eq!((&taken[..10], taken[10]), (&[409; 10][..], 429));
    let mut changes = Vec::new();
    for _ in 0..11 {
        changes.push(rig.new_password(None, "ann", "guess", "new").await.status);
    }
    assert_eq!((&changes[..10], changes[10]), (&[460; 10][..], 429));
    assert_eq!(rig.login("root", PASSWORD).await.status, 200, "others are not held up");
}

#[tokio::test]
async fn whoever_has_assumed_a_role_needs_the_old_password() {
    let rig = Rig::start().await;
    rig.person("joe").await;
    let assumed = rig.post_as(&rig.root, "/db/Role/1/assume", "").await;
    let assumed = assumed.header(TOKEN).unwrap();
    assert_eq!(rig.get_as(assumed, "/banned").await.status, 200, "it is an administrator's");
    for name in ["root", "joe"] {
        assert_eq!(rig.new_password(Some(assumed), name, "", "his").await.status, 460, "{name}");
    }
    assert_eq!((rig.login("root", PASSWORD).await.status, rig.login("joe", "secret").await.status), (200, 200));
    let by_old = rig.new_password(Some(assumed), "joe", "secret", "new").await;
    assert_eq!((by_old.status, by_old.header(TOKEN)), (200, None));
    assert_eq!(rig.login("joe", "new").await.status, 200);
}

#[tokio::test]
async fn who_is_held_has_nothing_hashed() {
    let rig = Rig::start().await;
    rig.person("joe").await;
    let hashed = || async {
        let metrics = rig.ask_admin("/metrics", None, &[]).await.text;
        let line = metrics.lines().find_map(|line| line.strip_prefix("tidegate_password_hashes_total ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    let before = hashed().await;
    for _ in 0..10 {
        assert_eq!(rig.new_password(None, "joe", "guess", "new").await.status, 460);
    }
    assert_eq!(hashed().await - before, 10, "of a guess the old password alone");
    assert_eq!(rig.new_password(None, "joe", "guess", "new").await.status, 429);
    assert_eq!(rig.register(json!({"username": "joe"}), "new", false).await.status, 429);
    assert_eq!(hashed().await - before, 10);
}

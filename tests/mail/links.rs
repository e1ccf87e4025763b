//! What users do with mail: confirm an address, choose a new password, change their name.

use crate::smtpd::Smtpd;
use crate::support::PATIENCE;
use crate::support::http::{Answer, Http};
use crate::support::server::{PASSWORD, config, start};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidegate::config::{Config, MailSecurity, MailTransport};
use tidegate::server::Server;

const PUBLIC: &str = "https://api.example.org";
const JO: &str = "jo@example.org";

/// A server that puts mail into a folder.
struct Rig {
    server: Server,
    http: Http,
    folder: PathBuf,
    _directory: TempDir,
}

impl Rig {
    async fn with(change: impl FnOnce(&mut Config)) -> Rig {
        let directory = TempDir::new().unwrap();
        let mut config = config(directory.path());
        config.server.public_url = PUBLIC.into();
        config.mail.transport = MailTransport::File;
        let folder = config.store.data.join("mail");
        change(&mut config);
        let server = start(config).await;
        Rig { http: Http::new(&server.url()), server, folder, _directory: directory }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.http.send(self.http.request(reqwest::Method::POST, path).body(body.to_string())).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.http.send(self.http.request(reqwest::Method::GET, path)).await
    }

    async fn register(&self, name: &str) -> Answer {
        self.post("/db/User/register", json!({"user": {"username": name}, "password": "first", "login": true})).await
    }

    async fn login(&self, name: &str, password: &str) -> u16 {
        self.post("/db/User/login", json!({"username": name, "password": password})).await.status
    }

    async fn put(&self, as_whom: &Http, path: &str, object: &Value) -> Answer {
        as_whom.send(as_whom.request(reqwest::Method::PUT, path).header("if-match", "*").body(object.to_string())).await
    }

    async fn root(&self) -> Http {
        let answer = self.post("/db/User/login", json!({"username": "root", "password": PASSWORD})).await;
        self.http.with_token(token(&answer))
    }

    /// The mails in the folder, the oldest first, once there are so many.
    async fn mails(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let entries = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
            let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "eml")).collect();
            files.sort();
            assert!(files.len() <= count, "{} mails instead of {count}", files.len());
            if files.len() == count {
                return files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
            }
            assert!(Instant::now() < deadline, "{} mails instead of {count}", files.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn token(answer: &Answer) -> Option<String> {
    answer.headers.get("baqend-authorization-token").map(|token| token.to_str().unwrap().to_owned())
}

fn reason(answer: &Answer) -> String {
    assert!(answer.status >= 400, "{answer:?}");
    serde_json::from_slice::<Value>(&answer.body).unwrap()["reason"].as_str().unwrap().to_owned()
}

/// The link in a mail, put together again from its quoted-printable lines.
fn link(mail: &str) -> String {
    let whole = mail.replace("=\r\n", "").replace("=3D", "=");
    whole.lines().find(|line| line.starts_with("https://")).unwrap_or_else(|| panic!("no link in {mail}")).trim().to_owned()
}

fn token_in(mail: &str) -> String {
    link(mail).rsplit_once("token=").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_logs_in_before_his_address_is_confirmed() {
    let rig = Rig::with(|config| config.mail.verification = true).await;
    let answer = rig.register(JO).await;
    assert_eq!((answer.status, token(&answer)), (204, None));
    assert_eq!(rig.login(JO, "first").await, 460);
    let mails = rig.mails(1).await;
    assert!(mails[0].contains("To: jo@example.org\r\n"), "{}", mails[0]);
    let link = link(&mails[0]);
    let path = link.strip_prefix("https://api.example.org/v1").expect("the link is made of the public URL").to_owned();
    assert!(path.starts_with("/db/User/verify?token="), "{path}");

    let other = if path.ends_with('A') { "E" } else { "A" };
    let wrong = rig.get(&format!("{}{other}", &path[..path.len() - 1])).await;
    assert_eq!(reason(&wrong), "bad-link");
    assert_eq!(rig.login(JO, "first").await, 460);
    assert_eq!(rig.get(&path).await.status, 204);
    assert_eq!(rig.login(JO, "first").await, 200);
    assert_eq!(reason(&rig.get(&path).await), "bad-link", "it works once");

    // A name that is no address could never be confirmed.
    assert_eq!(rig.register("jo").await.status, 400);
    rig.mails(1).await;
    rig.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_gets_a_page_and_a_host_header_no_say() {
    let rig = Rig::with(|config| config.mail.verification = true).await;
    let body = json!({"user": {"username": JO}, "password": "first", "login": false}).to_string();
    let request = rig.http.request(reqwest::Method::POST, "/db/User/register").header("host", "evil.example").body(body);
    assert_eq!(rig.http.send(request).await.status, 204);
    let link = link(&rig.mails(1).await[0]);
    let path = link.strip_prefix("https://api.example.org/v1").unwrap();
    let open = || rig.http.send(rig.http.request(reqwest::Method::GET, path).header("accept", "text/html,*/*"));
    let page = open().await;
    assert_eq!(page.status, 200);
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    assert!(String::from_utf8_lossy(&page.body).contains("confirmed"));
    assert_eq!(open().await.status, 400);
    rig.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_an_administrator_has_shut_out_does_not_get_in_by_a_link() {
    let rig = Rig::with(|_| ()).await;
    let registered = rig.register(JO).await;
    assert_eq!(registered.status, 200);
    let mut user: Value = serde_json::from_slice(&registered.body).unwrap();
    assert_eq!(rig.post("/db/User/reset", json!({"username": JO})).await.status, 200);
    let sent = token_in(&rig.mails(1).await[0]);
    user["inactive"] = true.into();
    let root = rig.root().await;
    let path = user["id"].as_str().unwrap().to_owned();
    let shut = root.send(root.request(reqwest::Method::PUT, &path).header("if-match", "*").body(user.to_string())).await;
    assert_eq!(shut.status, 200, "{shut:?}");
    let answer = rig.post("/db/User/password", json!({"token": sent, "newPassword": "second"})).await;
    assert_eq!((reason(&answer), token(&answer)), ("bad-link".into(), None));
    assert_eq!(rig.post("/db/User/reset", json!({"username": JO})).await.status, 200);
    rig.mails(1).await;
    rig.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_set_anew_once() {
    let rig = Rig::with(|_| ()).await;
    let old = token(&rig.register(JO).await).unwrap();
    let known = rig.post("/db/User/reset", json!({"username": JO})).await;
    let unknown = rig.post("/db/User/reset", json!({"username": "nobody@example.org"})).await;
    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body), "nobody learns who there is");
    assert_eq!(known.status, 200);
    let again = rig.post("/db/User/reset", json!({"username": JO})).await;
    assert_eq!(again.status, 200);
    let mails = rig.mails(2).await;
    let link = link(&mails[0]);
    assert!(link.starts_with("https://api.example.org/v1/db/User/reset#token="), "the token is in the fragment: {link}");
    let (first, second) = (token_in(&mails[0]), token_in(&mails[1]));
    let set = |token: String, password: &'static str| rig.post("/db/User/password", json!({"token": token, "newPassword": password}));
    assert_eq!(reason(&set(format!("{first}A"), "second").await), "bad-link");
    // For its purpose alone.
    assert_eq!(reason(&rig.get(&format!("/db/User/verify?token={first}")).await), "bad-link");
    let (one, other) = tokio::join!(set(first.clone(), "second"), set(first.clone(), "third"));
    let mut both = [one.status, other.status];
    both.sort();
    assert_eq!(both, [200, 400], "of two at once one is the first");
    let password = if one.status == 200 { "second" } else { "third" };
    let fresh = token(if one.status == 200 { &one } else { &other }).expect("who reads the mailbox is logged in");
    assert_eq!(rig.login(JO, "first").await, 460);
    assert_eq!(rig.login(JO, password).await, 200);
    let me = |token: String| {
        let http = rig.http.with_token(Some(token));
        async move { http.send(http.request(reqwest::Method::GET, "/db/User/me")).await.status }
    };
    assert_eq!((me(old).await, me(fresh).await), (404, 200), "the tokens of the old password are dead");
    assert_eq!(reason(&set(second, "fourth").await), "bad-link", "the other link died with the password");
    rig.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_end_with_the_password_that_they_were_made_beside() {
    let rig = Rig::with(|_| ()).await;
    rig.register(JO).await;
    rig.post("/db/User/reset", json!({"username": JO})).await;
    let sent = token_in(&rig.mails(1).await[0]);
    let changed = rig.post("/db/User/password", json!({"username": JO, "password": "first", "newPassword": "second"})).await;
    assert_eq!(changed.status, 200);
    let answer = rig.post("/db/User/password", json!({"token": sent, "newPassword": "third"})).await;
    assert_eq!(reason(&answer), "bad-link");
    assert_eq!(rig.login(JO, "second").await, 200);
    rig.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_end_by_time_and_are_few() {
    let rig = Rig::with(|config| {
        config.mail.reset_seconds = 0;
        config.mail.links_per_hour = 2;
    })
    .await;
    rig.register(JO).await;
    rig.post("/db/User/reset", json!({"username": JO})).await;
    let sent = token_in(&rig.mails(1).await[0]);
    assert_eq!(reason(&rig.post("/db/User/password", json!({"token": sent, "newPassword": "second"})).await), "bad-link");
    assert_eq!(rig.post("/db/User/reset", json!({"username": JO})).await.status, 200);
    assert_eq!(reason(&rig.post("/db/User/reset", json!({"username": JO})).await), "too-many-tries");
    assert_eq!(rig.post("/db/User/reset", json!({"username": "nobody@example.org"})).await.status, 200, "others are not held up");
    rig.mails(2).await;
    rig.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_changes_when_the_new_address_is_confirmed() {
    let rig = Rig::with(|_| ()).await;
    rig.register(JO).await;
    rig.register("taken@example.org").await;
    let change = |to: &'static str, password: &'static str| {
        rig.post("/db/User/changeUsername", json!({"username": JO, "newUsername": to, "password": password}))
    };
    assert_eq!(change("new@example.org", "wrong").await.status, 460);
    assert_eq!(change("no address", "first").await.status, 400);
    assert_eq!(change("taken@example.org", "first").await.status, 409);
    assert_eq!(change("new@example.org", "first").await.status, 204);
    let mails = rig.mails(1).await;
    assert!(mails[0].contains("To: new@example.org\r\n"), "{}", mails[0]);
    assert_eq!(rig.login("new@example.org", "first").await, 460, "not before it is confirmed");
    let path = link(&mails[0]).strip_prefix("https://api.example.org/v1").unwrap().to_owned();
    assert_eq!(rig.get(&path).await.status, 204);
    assert_eq!((rig.login("new@example.org", "first").await, rig.login(JO, "first").await), (200, 460));
    assert_eq!(reason(&rig.get(&path).await), "bad-link");
    // The old name is free again.
    assert_eq!(rig.register(JO).await.status, 200);
    rig.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_mail_what_needs_it_says_so() {
    let rig = Rig::with(|config| config.mail.transport = MailTransport::None).await;
    rig.register(JO).await;
    for (path, body) in [
        ("/db/User/changeUsername", json!({"username": JO, "newUsername": "new@example.org", "password": "first"})),
        ("/db/User/reset", json!({"username": JO})),
    ] {
        let answer = rig.post(path, body).await;
        assert_eq!(reason(&answer), "mail-disabled");
        assert!(String::from_utf8_lossy(&answer.body).contains("Email verification not enabled"));
    }
    rig.server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_waits_for_no_mail_server() {
    let server = Smtpd::start(&["--defer", "1"]);
    let rig = Rig::with(|config| {
        config.mail.transport = MailTransport::Smtp;
        config.mail.security = MailSecurity::None;
        config.mail.host = "127.0.0.1".into();
        config.mail.port = server.port;
        config.mail.verification = true;
    })
    .await;
    assert_eq!(rig.register(JO).await.status, 204);
    assert_eq!(server.next()["deferred"], 1);
    let got = server.next();
    assert_eq!(got["to"][0], JO);
    let path = link(got["text"].as_str().unwrap()).strip_prefix("https://api.example.org/v1").unwrap().to_owned();
    assert_eq!(rig.get(&path).await.status, 204);
    assert_eq!(rig.login(JO, "first").await, 200);
    rig.server.shutdown().await.unwrap();
}

/// A stolen token would be enough otherwise to have the link for a new password sent to somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_mail_nobody_writes_his_name_into_his_object() {
    for verification in [false, true] {
        let rig = Rig::with(|config| config.mail.verification = verification).await;
        let registered = rig.register(JO).await;
        let mut sent = 0;
        if verification {
            sent += 1;
            let path = link(&rig.mails(sent).await[0]).strip_prefix("https://api.example.org/v1").unwrap().to_owned();
            assert_eq!(rig.get(&path).await.status, 204);
        } else {
            assert_eq!(registered.status, 200);
        }
        let login = rig.post("/db/User/login", json!({"username": JO, "password": "first"})).await;
        let jo = rig.http.with_token(token(&login));
        let mut user: Value = serde_json::from_slice(&login.body).unwrap();
        let path = user["id"].as_str().unwrap().to_owned();
        for other in [json!("evil@example.com"), json!("JO@example.org"), json!(""), json!(null)] {
            user["username"] = other.clone();
            assert_eq!(reason(&rig.put(&jo, &path, &user).await), "name-unconfirmed", "{other}");
            let part = jo.post(&path, json!({"$set": {"username": other}}).to_string()).await;
            assert_eq!((part.status, reason(&part)), (466, "name-unconfirmed".into()), "{other}");
        }
        let without = json!({"id": path, "acl": user["acl"]});
        assert_eq!(reason(&rig.put(&jo, &path, &without).await), "name-unconfirmed");
        let batch = jo
            .post("/batch", json!([{"operation": "partial", "id": path, "object": {"$set": {"username": "evil@example.com"}}}]).to_string())
            .await;
        assert!(batch.status >= 400, "{batch:?}");
        assert_eq!(rig.login(JO, "first").await, 200, "nothing has changed");
        assert_eq!(rig.post("/db/User/reset", json!({"username": "evil@example.com"})).await.status, 200);
        rig.mails(sent).await;

        // Everything else of his is his.
        user["username"] = JO.into();
        user["nick"] = "jo".into();
        assert_eq!(rig.put(&jo, &path, &user).await.status, 200);
        // By an administrator, and by the link to the new address.
        user["username"] = "other@example.org".into();
        let root = rig.root().await;
        assert_eq!(rig.put(&root, &path, &user).await.status, 200);
        let body = json!({"username": "other@example.org", "newUsername": "new@example.org", "password": "first"});
        assert_eq!(rig.post("/db/User/changeUsername", body).await.status, 204);
        let mails = rig.mails(sent + 1).await;
        let confirm = link(&mails[sent]).strip_prefix("https://api.example.org/v1").unwrap().to_owned();
        assert_eq!(rig.get(&confirm).await.status, 204);
        assert_eq!(rig.login("new@example.org", "first").await, 200);
        // Who goes takes his name with him.
        assert_eq!(jo.send(jo.request(reqwest::Method::DELETE, &path)).await.status, 204);
        rig.server.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_second_factor_changes_his_name_when_he_has_logged_in_with_it() {
    let rig = Rig::with(|_| ()).await;
    let jo = rig.http.with_token(token(&rig.register(JO).await));
    let challenge: Value = serde_json::from_slice(&jo.get("/db/User/mfa/init").await.body).unwrap();
    let device = totp_rs::TOTP::from_url_unchecked(challenge["keyUri"].as_str().unwrap()).unwrap();
    let code = device.generate(u64::try_from(rig.server.store().clock().now_ms() / 1000).unwrap());
    assert_eq!(jo.post("/db/User/mfa/init", json!({ "code": code }).to_string()).await.status, 200);
    let change = json!({"username": JO, "newUsername": "new@example.org", "password": "first"});
    let refused = rig.post("/db/User/changeUsername", change.clone()).await;
    assert_eq!((refused.status, reason(&refused)), (466, "permission-denied".into()), "the password alone proves nothing");
    rig.mails(0).await;
    assert_eq!(jo.post("/db/User/changeUsername", change.to_string()).await.status, 204);
    rig.mails(1).await;
    rig.server.shutdown().await.unwrap();
}

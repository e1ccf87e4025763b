//! The second factor: set up, asked for, turned off (docs/users.md).

use super::harness::{Answer, Rig};
use super::registration::TOKEN;
use serde_json::{Value, json};
use totp_rs::TOTP;

/// A device that was set up with what the server told.
struct Device(TOTP);

impl Device {
    fn code(&self, rig: &Rig) -> String {
        self.0.generate(u64::try_from(rig.server.store().clock().now_ms() / 1000).unwrap())
    }

    /// One that is wrong now and a step before and after.
    fn wrong(&self, rig: &Rig) -> String {
        let now = u64::try_from(rig.server.store().clock().now_ms() / 1000).unwrap();
        let right: Vec<_> = [now - 30, now, now + 30, now + 60].iter().map(|time| self.0.generate(*time)).collect();
        (0..).map(|n| format!("{n:06}")).find(|code| !right.contains(code)).unwrap()
    }
}

impl Rig {
    async fn set_up(&self, token: &str) -> Device {
        let challenge = self.get_as(token, "/db/User/mfa/init").await;
        assert_eq!((challenge.status, challenge.header("cache-control")), (200, Some("private, no-store")));
        let challenge = challenge.json();
        assert!(challenge["qrCode"].as_str().unwrap().starts_with("data:image/png;base64,"));
        Device(TOTP::from_url_unchecked(challenge["keyUri"].as_str().unwrap()).unwrap())
    }

    async fn finish(&self, token: &str, code: Value) -> Answer {
        self.post_as(token, "/db/User/mfa/init", &json!({ "code": code }).to_string()).await
    }

    async fn second_step(&self, token: &str, code: &str) -> Answer {
        self.post("/db/User/mfa/token", &json!({ "authToken": token, "code": code, "global": true }).to_string()).await
    }

    async fn status(&self, token: &str) -> Value {
        self.get_as(token, "/db/User/mfa/status").await.json()
    }

    /// What the first step of a login gives for the second.
    async fn first_step(&self, name: &str, password: &str) -> String {
        let refused = self.login(name, password).await;
        assert_eq!((refused.status, refused.header(TOKEN)), (403, None));
        assert_eq!(refused.reason(), "second-factor-required");
        let token = refused.json()["data"]["baqend-mfa-auth-token"].as_str().unwrap().to_owned();
        assert_eq!(refused.header("baqend-mfa-auth-token"), Some(&*token));
        assert_eq!(refused.header("cache-control"), Some("private, no-store"));
        token
    }
}

#[tokio::test]
async fn it_is_needed_from_the_first_right_code_on() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    assert_eq!(rig.status(&token).await, "DISABLED");
    let device = rig.set_up(&token).await;
    assert_eq!(rig.status(&token).await, "PENDING");
    assert_eq!(rig.login("joe", "secret").await.status, 200, "not before");
    let wrong = rig.finish(&token, json!(device.wrong(&rig))).await;
    assert_eq!((wrong.status, &wrong.json()["message"]), (400, &json!("MFA code invalid")));
    // As a number it has lost its leading zeros.
    let code: u32 = device.code(&rig).parse().unwrap();
    let finished = rig.finish(&token, json!(code)).await;
    assert_eq!((finished.status, &finished.json()["id"]), (200, &json!(joe)));
    assert_eq!(rig.status(&token).await, "REQUIRED");
    assert_eq!(rig.get_as(&token, "/db/User/mfa/init").await.reason(), "second-factor-on");
    assert_eq!(rig.finish(&token, json!(device.code(&rig))).await.reason(), "second-factor-on");

    assert_eq!(rig.login("joe", "wrong").await.status, 460);
    let step = rig.first_step("joe", "secret").await;
    assert!(!rig.is_alive(&step).await, "half a login is none");
    let wrong = rig.second_step(&step, &device.wrong(&rig)).await;
    assert_eq!((wrong.status, &wrong.json()["message"], wrong.header(TOKEN)), (400, &json!("MFA code invalid"), None));
    assert_eq!(rig.second_step(&token, &device.code(&rig)).await.status, 460, "only what a first step gave");
    let code = device.code(&rig);
    let entered = rig.second_step(&step, &code).await;
    assert_eq!((entered.status, &entered.json()["id"]), (200, &json!(joe)));
    let entered = entered.header(TOKEN).unwrap().to_owned();
    assert!(rig.is_alive(&entered).await);
    assert_eq!(rig.second_step(&step, &code).await.status, 400, "a code is good for one login");
    rig.advance(31_000);
    assert_eq!(rig.second_step(&step, &device.code(&rig)).await.status, 200);

    let rig = rig.restart().await;
    assert_eq!(rig.first_step("joe", "secret").await.len(), step.len());
    assert_eq!(rig.delete_as(&entered, "/db/User/mfa").await.status, 204);
    assert_eq!((rig.status(&entered).await, rig.login("joe", "secret").await.status), (json!("DISABLED"), 200));
}

#[tokio::test]
async fn of_two_logins_with_one_code_one_succeeds() {
    let rig = Rig::start().await;
    let (_, token) = rig.person("joe").await;
    let device = rig.set_up(&token).await;
    assert_eq!(rig.finish(&token, json!(device.code(&rig))).await.status, 200);
    let steps = (rig.first_step("joe", "secret").await, rig.first_step("joe", "secret").await);
    let code = device.code(&rig);
    let both = tokio::join!(rig.second_step(&steps.0, &code), rig.second_step(&steps.1, &code));
    let mut statuses = [both.0.status, both.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
}

#[tokio::test]
async fn half_a_login_ends_with_time_password_and_user() {
    let rig = Rig::start().await;
    let (joe, token) = rig.person("joe").await;
    let device = rig.set_up(&token).await;
    assert_eq!(rig.finish(&token, json!(device.code(&rig))).await.status, 200);
    let step = rig.first_step("joe", "secret").await;
    rig.advance(301_000);
    assert_eq!(rig.second_step(&step, &device.code(&rig)).await.status, 460);
    let step = rig.first_step("joe", "secret").await;
    assert_eq!(rig.new_password(None, "joe", "secret", "new").await.status, 466, "the password alone does not change it");
    let changed = rig.new_password(Some(&token), "joe", "secret", "new").await;
    assert_eq!(changed.status, 200);
    assert_eq!(rig.second_step(&step, &device.code(&rig)).await.status, 460);
    let step = rig.first_step("joe", "new").await;
    assert_eq!(rig.delete_as(changed.header(TOKEN).unwrap(), &joe).await.status, 204);
    assert_eq!(rig.second_step(&step, &device.code(&rig)).await.status, 460);
}

#[tokio::test]
async fn codes_are_guessed_ten_times_and_no_more() {
    let rig = Rig::start().await;
    let (_, token) = rig.person("joe").await;
    let device = rig.set_up(&token).await;
    assert_eq!(rig.finish(&token, json!(device.code(&rig))).await.status, 200);
    let step = rig.first_step("joe", "secret").await;
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(rig.second_step(&step, &device.wrong(&rig)).await.status);
    }
    assert_eq!((&statuses[..10], statuses[10]), (&[400; 10][..], 429));
    assert_eq!(rig.second_step(&step, &device.code(&rig)).await.status, 429, "not even with the right one");
}

#[tokio::test]
async fn it_is_about_somebody_who_has_logged_in() {
    let rig = Rig::start().await;
    for (method, path) in [("GET", "status"), ("GET", "init"), ("POST", "init"), ("DELETE", "")] {
        let path = format!("/db/User/mfa/{path}");
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = rig.ask(method, path.trim_end_matches('/'), None, &[], Some(r#"{"code":"000000"}"#.into())).await;
        assert_eq!(answer.status, 466, "a 403 would be taken for the question for a code: {path}");
    }
}

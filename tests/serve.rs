//! What operators rely on of the process: the password of `root` over several starts, the way back from a second factor, variables that
//! are not the server's, the limit of open files (docs/operating.md).
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod support;

use reqwest::Method;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use support::http::{Answer, Http};
use support::run;
use support::server::{PASSWORD, Process, fails, serve};
use totp_rs::TOTP;

const ANOTHER: &str = "staple";

async fn login(http: &Http, password: &str) -> Answer {
    http.post("/db/User/login", json!({"username": "root", "password": password}).to_string()).await
}

/// `tidegate app list`, as root with this password.
fn list(server: &Process, password: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().env("TIDEGATE_ADMIN_PASSWORD", password).args(["app", "list", "--admin", &server.admin]);
    command
}

#[test]
fn a_password_at_a_later_start_takes_the_place_of_the_one_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Process::start(serve(&data));
    let token = run(async { login(&server.http(), PASSWORD).await.renewed_token() });
    assert!(server.terminate().success());

    // The same one changes nothing.
    let server = Process::start(serve(&data));
    run(async { assert_eq!(server.http().with_token(token.clone()).get("/db/User/me").await.status, 200) });
    assert!(server.terminate().success());

    let mut command = serve(&data);
    command.env("TIDEGATE_ADMIN_PASSWORD", ANOTHER);
    let server = Process::start(command);
    run(async {
        assert_eq!(server.http().with_token(token).get("/db/User/me").await.status, 404, "it ends his tokens");
        assert_eq!(login(&server.http(), PASSWORD).await.status, 460);
        assert_eq!(login(&server.http(), ANOTHER).await.status, 200);
    });
    assert!(server.terminate().success());

    let mut command = serve(&data);
    command.env_remove("TIDEGATE_ADMIN_PASSWORD");
    let server = Process::start(command);
    run(async { assert_eq!(login(&server.http(), ANOTHER).await.status, 200) });
}

#[test]
fn a_second_factor_of_root_locks_the_commands_out_until_another_administrator_lets_it_be_turned_off() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Process::start(serve(&data));
    let ada = run(async {
        let root = server.http().login("root", PASSWORD).await;
        let ada = server.http().post("/db/User/register", json!({"user": {"username": "ada"}, "password": PASSWORD}).to_string()).await;
        let added = root.post("/db/Role/1", json!({"$add": {"users": ada.json()["id"]}}).to_string()).await;
        assert_eq!(added.status, 200, "{added:?}");
        let challenge = root.get("/db/User/mfa/init").await.json();
        let device = TOTP::from_url_unchecked(challenge["keyUri"].as_str().unwrap()).unwrap();
        let finished = root.post("/db/User/mfa/init", json!({"code": device.generate_current().unwrap()}).to_string()).await;
        assert_eq!(finished.status, 200, "{finished:?}");
        server.http().login("ada", PASSWORD).await.token().map(str::to_owned)
    });
    let (status, said) = fails(list(&server, PASSWORD));
    assert!(!status.success() && said.contains("second factor"), "{said}");
    assert!(server.terminate().success());

    let mut command = serve(&data);
    command.env("TIDEGATE_ADMIN_PASSWORD", ANOTHER);
    let server = Process::start(command);
    run(async {
        assert_eq!(login(&server.http(), ANOTHER).await.status, 403, "another password does not turn it off");
        let issued = server.http().with_token(ada).post("/db/User/1/token", "").await;
        assert_eq!(issued.status, 200, "{issued:?}");
        let lent = server.http().with_token(issued.json().as_str().map(str::to_owned));
        let turned_off = lent.send(lent.request(Method::DELETE, "/db/User/mfa")).await;
        assert_eq!(turned_off.status, 204, "{turned_off:?}");
        assert_eq!(login(&server.http(), ANOTHER).await.status, 200);
    });
    assert!(list(&server, ANOTHER).output().unwrap().status.success());
}

/// Soft and hard limit of open files.
fn limits(process: u32) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

/// The command behind a low limit of open files.
fn limited(command: &Command, data: &Path) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"ulimit -S -n 128 && exec "$0" "$@""#]).arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(data.parent().unwrap()).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    shell
}

#[test]
fn beside_a_service_of_its_name_and_with_few_files_allowed_it_starts_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut command = serve(&data);
    // As Kubernetes tells of a Service called tidegate.
    command.envs([
        ("TIDEGATE_SERVICE_HOST", "10.96.0.7"),
        ("TIDEGATE_SERVICE_PORT_API", "8080"),
        ("TIDEGATE_PORT", "tcp://10.96.0.7:8080"),
    ]);
    command.envs([("TIDEGATE_PORT_8080_TCP", "tcp://10.96.0.7:8080"), ("TIDEGATE_PORT_8080_TCP_PORT", "8080")]);
    let server = Process::start(limited(&command, &data));
    let (soft, hard) = limits(server.pid());
    assert_eq!(soft, hard, "it was 128");
    // One that is misspelt still stops it.
    let mut command = serve(&data);
    command.env("TIDEGATE_STORE_DATTA", "x");
    let (status, said) = fails(command);
    assert!(!status.success() && said.contains("TIDEGATE_STORE_DATA"), "{said}");
}

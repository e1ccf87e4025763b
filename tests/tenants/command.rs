//! `tidegate app` against a running server.

use super::harness::Rig;
use super::support::server::PASSWORD;
use serde_json::Value;

struct Ran {
    ok: bool,
    out: String,
    err: String,
}

async fn run(rig: &Rig, arguments: &[&str]) -> Ran {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().env("TIDEGATE_ADMIN_PASSWORD", PASSWORD).arg("app").args(arguments);
    command.args(["--admin", &format!("http://{}", rig.server.admin_address())]);
    // The server runs on this very thread.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test]
async fn apps_are_made_listed_changed_and_deleted_from_the_command_line() {
    let rig = Rig::start().await;
    let made = run(&rig, &["create", "acme", "--host", "acme.example", "--origin", "https://pages.example", "--limit", "scans=4"]).await;
    assert!(made.ok && made.out.contains("acme.example"), "{} {}", made.out, made.err);
    let password = made.out.lines().find_map(|line| line.split_once("(shown this once): ")).unwrap().1;
    rig.app("acme").login("root", password).await;
    let again = run(&rig, &["create", "acme"]).await;
    assert!(!again.ok && again.err.contains("already"), "{}", again.err);
    let wrong = run(&rig, &["create", "b", "--limit", "scan=4"]).await;
    assert!(!wrong.ok && wrong.err.contains("subscriptions"), "it names those that there are: {}", wrong.err);

    let listed = run(&rig, &["list"]).await;
    assert!(
        listed.out.contains("acme  open  acme.example") && listed.out.contains("scans 4") && listed.out.contains("app  open"),
        "{}",
        listed.out
    );
    let listed: Value = serde_json::from_str(&run(&rig, &["list", "--json"]).await.out).unwrap();
    assert_eq!(listed["apps"][0]["name"], "acme");
    let changed = run(&rig, &["change", "acme", "--no-hosts", "--limit", "writes=9"]).await;
    assert!(changed.ok && changed.out.contains("writes 9") && !changed.out.contains("acme.example"), "{}", changed.out);
    assert!(changed.out.contains("pages at https://pages.example"), "what is not given stays: {}", changed.out);
    let changed = run(&rig, &["change", "acme", "--no-origins"]).await;
    assert!(changed.ok && !changed.out.contains("pages at"), "{}", changed.out);
    assert!(!run(&rig, &["change", "acme"]).await.ok);

    let unsure = run(&rig, &["delete", "acme"]).await;
    assert!(!unsure.ok && unsure.err.contains("--yes"), "{}", unsure.err);
    assert_eq!(rig.app("acme").get("/connect").await.status, 200);
    assert!(run(&rig, &["delete", "acme", "--yes"]).await.ok);
    assert_eq!(rig.app("acme").get("/connect").await.status, 404);
    assert!(!run(&rig, &["delete", "../backup", "--yes"]).await.ok);
}

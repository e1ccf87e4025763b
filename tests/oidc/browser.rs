//! The SDK's own browser build, on a page of another origin, logs in at the provider.

use crate::provider::Rig;
use crate::support::npm;
use crate::support::ports::free_port;
use serde_json::json;
use std::path::Path;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_logs_in_at_a_provider() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(Command::new(tests.join("setup")).status().unwrap().success(), "tests/browser/setup failed");
    let sdk = npm::install("sdk").join("node_modules/baqend/dist/baqend.es2015.js");
    let app = free_port();
    let rig = Rig::with(json!({"s-1": {"preferred_username": "jo"}}), |config| {
        config.server.origins = vec![format!("http://127.0.0.1:{app}"), format!("http://localhost:{app}")];
    })
    .await;
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-browser");
    let mut visit = Command::new("node");
    visit.arg(tests.join("oidc.mjs")).args([&rig.url, sdk.to_str().unwrap(), &app.to_string()]).arg(&screenshots);
    let visit = tokio::task::spawn_blocking(move || visit.output()).await.unwrap().expect("node is not installed");
    let told = String::from_utf8_lossy(&visit.stdout);
    println!("{told}screenshots in {}", screenshots.display());
    assert!(visit.status.success(), "{told}{}", String::from_utf8_lossy(&visit.stderr));
    assert_eq!(told.lines().filter(|line| line.starts_with("ok ")).count(), 3, "{told}");
    rig.server.shutdown().await.unwrap();
}

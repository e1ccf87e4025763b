//! A renewed certificate is in use without a restart.

use super::harness::{Files, PATIENCE, Rig, ask_1, config, connect, request};
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Until a client that believes this certificate alone gets through.
async fn until_in_use(address: SocketAddr, cert: &CertificateDer<'static>) {
    let deadline = Instant::now() + PATIENCE;
    while connect(address, cert, &["http/1.1"]).await.is_err() {
        assert!(Instant::now() < deadline, "the new certificate is not in use");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn changed_files_are_read_again_and_half_a_renewal_harms_nobody() {
    let rig = Rig::start().await;
    let old = rig.connect(&["http/1.1"]).await;
    // The certificate comes first, its key a while later.
    let elsewhere = TempDir::new_in(rig.directory.path()).unwrap();
    let renewed = Files::in_directory(elsewhere.path());
    let cert = renewed.write();
    std::fs::rename(&renewed.cert, &rig.files.cert).unwrap();
    let half = Instant::now();
    while half.elapsed() < Duration::from_secs(3) {
        let stream = connect(rig.address(), &rig.cert, &["http/1.1"]).await.expect("the former certificate stays in use");
        drop(stream);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::fs::rename(&renewed.key, &rig.files.key).unwrap();
    until_in_use(rig.address(), &cert).await;
    assert!(connect(rig.address(), &rig.cert, &["http/1.1"]).await.is_err(), "the former one is in use as well");
    // Whoever was connected stays so.
    let (head, _) = ask_1(old, request("GET", "/v1/status", "")).await;
    assert_eq!(head.status, 200);
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_command_line_serves_https_and_a_hang_up_signal_reloads() {
    use std::io::{BufRead, BufReader};
    let directory = TempDir::new().unwrap();
    let files = Files::in_directory(directory.path());
    let cert = files.write();
    let config = config(directory.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().env("TIDEGATE_ADMIN_PASSWORD", super::harness::PASSWORD).arg("serve").arg("--data").arg(&config.store.data);
    command.args(["--listen", "127.0.0.1:0", "--set", "server.admin_listen=127.0.0.1:0"]);
    command.arg("--tls-cert").arg(&files.cert).arg("--tls-key").arg(&files.key);
    let mut running = Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.find_map(|line| line.split_once("listens on ").map(|(_, url)| url.to_owned())).unwrap();
    let address = url.strip_prefix("https://").unwrap().trim_end_matches("/v1").parse().unwrap();
    until_in_use(address, &cert).await;
    let renewed = files.write();
    assert!(Command::new("kill").args(["-HUP", &running.0.id().to_string()]).status().unwrap().success());
    until_in_use(address, &renewed).await;
    assert!(running.0.try_wait().unwrap().is_none(), "the signal ended the server");
}

//! A certificate for the server, made for one run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are, in PEM.
pub struct Certificate {
    /// Signed by itself, so it is also what clients are told to trust
    pub certificate: PathBuf,
    pub key: PathBuf,
}

pub fn make(directory: &Path) -> Certificate {
    let made = Certificate { certificate: directory.join("certificate.pem"), key: directory.join("key.pem") };
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"])
        .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .arg("-keyout")
        .arg(&made.key)
        .arg("-out")
        .arg(&made.certificate)
        .output()
        .expect("openssl is not installed");
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    made
}

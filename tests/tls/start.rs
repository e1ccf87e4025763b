//! Who cannot start is told which file is wrong, and why.

use super::harness::{Files, config};
use std::path::Path;
use tempfile::TempDir;
use tidegate::server::{Server, StartError};

async fn refused(directory: &Path, cert: &Path, key: &Path) -> StartError {
    let mut config = config(directory);
    (config.server.tls_cert, config.server.tls_key) = (cert.to_owned(), key.to_owned());
    Server::start(config).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn files_that_do_not_serve_are_named() {
    let directory = TempDir::new().unwrap();
    let files = Files::in_directory(directory.path());
    files.write();
    let others = TempDir::new().unwrap();
    let other = Files::in_directory(others.path());
    other.write();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let cut = directory.path().join("cut.pem");
    let key = std::fs::read_to_string(&files.key).unwrap();
    std::fs::write(&cut, &key[..key.len() / 2]).unwrap();
    let none = directory.path().join("none.pem");
    let nothing = Path::new("");
    for (cert, key, code, says) in [
        (&*files.cert, nothing, "tls-incomplete", "--tls-key"),
        (nothing, &*files.key, "tls-incomplete", "--tls-cert"),
        (&none, &files.key, "tls-unreadable", "none.pem"),
        (&files.cert, &none, "tls-unreadable", "server.tls_key"),
        (&empty, &files.key, "tls-unfit", "no certificate"),
        (&files.key, &files.key, "tls-unfit", "no certificate"),
        (&files.cert, &empty, "tls-unfit", "no private key"),
        (&files.cert, &files.cert, "tls-unfit", "no private key"),
        (&files.cert, &cut, "tls-unfit", "cut.pem"),
        (&files.cert, &other.key, "tls-mismatch", "belong together"),
    ] {
        let error = refused(directory.path(), cert, key).await;
        assert!(error.code() == code && error.to_string().contains(says), "{code}: {error}");
        assert!(!error.to_string().contains(key_body(&files.key)), "{error}");
    }
}

/// A line of the key's own.
fn key_body(path: &Path) -> &'static str {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().nth(1).unwrap().to_owned().leak()
}

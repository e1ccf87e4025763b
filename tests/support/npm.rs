//! Packages from npm, pinned by lock files, installed once below the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Installs `tests/<name>/package-lock.json`, unless that was done for this very file; where `node_modules` is.
pub fn install(name: &str) -> PathBuf {
    // Tests run side by side.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let pinned = std::fs::read_to_string(source.join("package-lock.json")).unwrap();
    let stamp = folder.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == pinned) {
        return folder;
    }
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        std::fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    let output = Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(&folder).output().expect("npm is not installed");
    assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(stamp, pinned).unwrap();
    folder
}

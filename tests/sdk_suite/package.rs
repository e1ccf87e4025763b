//! The SDK's package, in a place of its own and pointed at our server.

use super::support::npm;
use std::path::{Path, PathBuf};

/// A copy of an installed package; what it needs is beside it.
pub struct Package {
    /// Where its `package.json` is
    pub folder: PathBuf,
    /// mocha's script
    pub mocha: PathBuf,
}

impl Package {
    /// Copies `baqend` of this version below `directory`, with `spec/env.js` naming `url`.
    pub fn copy(version: &str, directory: &Path, url: &str) -> Package {
        let modules = npm::install(&format!("sdk_suite/{version}")).join("node_modules");
        let folder = directory.join("package");
        copy(&modules.join("baqend"), &folder);
        // Node looks for modules in the folders above, and takes a link for what it leads to: there is one chai.
        std::os::unix::fs::symlink(&modules, directory.join("node_modules")).unwrap();
        std::fs::write(folder.join("spec/env.js"), format!("module.exports = {{ TEST_SERVER: '{url}' }};\n")).unwrap();
        activate(&folder.join("spec/streamingquery.spec.js"));
        Package { folder, mocha: modules.join("mocha/bin/_mocha") }
    }

    /// The names of the spec files, without what all share.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join("spec")).unwrap();
        let names = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".spec.js").map(str::to_owned));
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

/// 3.4.1 skips the streaming spec as a whole; nothing else in it is touched.
fn activate(spec: &Path) {
    let text = std::fs::read_to_string(spec).unwrap();
    let active = text.replacen("\ndescribe.skip('Streaming Queries'", "\ndescribe('Streaming Queries'", 1);
    assert!(active.contains("\ndescribe('Streaming Queries'"), "the streaming spec is not as it was");
    std::fs::write(spec, active).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // Generated pages about the API, most of the package.
        if entry.file_name() == "doc" {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

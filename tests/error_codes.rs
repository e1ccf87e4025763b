//! Every code that an error can have stands in the documents.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !text.starts_with('-')
}

/// The codes in a source: what `fn code` can return, and the second argument of `Refused::new`.
fn codes(source: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut rest = source;
    while let Some(at) = rest.find("fn code(&self) -> &'static str {") {
        // The body ends with the first brace that closes at the function's own indentation.
        let body = &rest[at..];
        let end = body.find("\n    }").unwrap_or(body.len());
        codes.extend(body[..end].split('"').skip(1).step_by(2).filter(|text| is_code(text)).map(str::to_owned));
        rest = &body[end..];
    }
    for call in source.split("Refused::new(").skip(1) {
        let mut arguments = call.split('"');
        let before = arguments.next().unwrap_or_default();
        if before.trim().trim_end_matches(',').parse::<u16>().is_ok() {
            codes.extend(arguments.next().filter(|text| is_code(text)).map(str::to_owned));
        }
    }
    codes
}

#[test]
fn every_code_stands_in_the_documents() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut sources, mut documents) = (Vec::new(), Vec::new());
    files(&root.join("src"), "rs", &mut sources);
    files(&root.join("dataflows/src"), "rs", &mut sources);
    files(&root.join("docs"), "md", &mut documents);
    let text: String = documents.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let found: BTreeSet<String> = sources.iter().flat_map(|path| codes(&std::fs::read_to_string(path).unwrap())).collect();
    assert!(found.len() > 50, "only {} codes were found in the sources; has their form changed?", found.len());
    let missing: Vec<&String> = found.iter().filter(|code| !text.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "not in docs/: {missing:?}");
}

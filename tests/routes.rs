//! Every request that the routers take stands in docs/api.md.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Up to the parenthesis that closes what was opened before.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    let end = text.find(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &text[..end.expect("a call is closed")]
}

/// As the document writes it: `METHOD /path`, with `:b` for a bucket; the path alone where the handlers have names.
fn routes(source: &str) -> Vec<String> {
    let mut routes = Vec::new();
    for call in source.split(".route(\"").skip(1) {
        let (path, handlers) = arguments(call).split_once('"').unwrap();
        let path: String = path
            .split('/')
            .skip(1)
            .map(|word| match word {
                "{bucket}" => "/:b".to_owned(),
                _ => format!("/{}", word.replace('{', ":").replace('}', "")),
            })
            .collect();
        let methods: Vec<&str> = ["get", "post", "put", "delete"]
            .into_iter()
            .filter(|method| {
                let call = format!("{method}(");
                handlers
                    .match_indices(&call)
                    .any(|(at, _)| !handlers[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':'))
            })
            .collect();
        if methods.is_empty() {
            routes.push(format!(" {path}`"));
        }
        routes.extend(methods.into_iter().map(|method| format!("`{} {path}`", method.to_uppercase())));
    }
    routes
}

#[test]
fn every_request_stands_in_the_documents() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src/http", "src/live"] {
        sources(&root.join(folder), &mut files);
    }
    let found: Vec<String> = files.iter().flat_map(|path| routes(&std::fs::read_to_string(path).unwrap())).collect();
    assert!(found.len() > 60, "only {} routes were found in the sources; has their form changed?", found.len());
    let document = std::fs::read_to_string(root.join("docs/api.md")).unwrap();
    let missing: Vec<&String> = found.iter().filter(|route| !document.contains(&***route)).collect();
    assert!(missing.is_empty(), "not in docs/api.md: {missing:?}");
}

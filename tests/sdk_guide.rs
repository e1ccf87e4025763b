//! docs/sdk.md as its readers run it: each script that stands there, in pieces, is put together and run by node against a real server,
//! and must print what the guide says.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::process::Command;
use support::npm;
use support::server::{PASSWORD, Process, serve};

const GUIDE: &str = include_str!("../docs/sdk.md");
const SERVER: &str = "http://127.0.0.1:8080/v1";

/// The pieces of code of one kind, such as `js app.js`, in their order.
fn pieces(kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    GUIDE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// What a script says that it prints.
fn promised(script: &str) -> Vec<&str> {
    script.lines().filter_map(|line| line.split_once("// prints: ")).map(|(_, text)| text.trim()).collect()
}

fn run(name: &str, server: &Process) {
    let script = pieces(&format!("js {name}")).concat();
    let promised = promised(&script);
    assert!(!promised.is_empty(), "{name} promises nothing");
    assert!(script.contains(SERVER), "{name} names no server");
    let whole = format!(
        "'use strict';\n(async () => {{\n{}}})().then(() => process.exit(0), (error) => {{ console.error(error); process.exit(1); }});\n",
        script.replace(SERVER, &server.url)
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, whole).unwrap();
    let modules = npm::install("sdk").join("node_modules");
    let output =
        Command::new("node").arg(&file).env("NODE_PATH", modules).env("ROOT_PASSWORD", PASSWORD).output().expect("node is not installed");
    let (told, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} printed {told} and failed: {complaint}");
    assert_eq!(told.lines().collect::<Vec<_>>(), promised, "{name}: {complaint}");
}

#[test]
fn every_script_of_the_guide_prints_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(serve(&directory.path().join("data")));
    run("schema.js", &server);
    run("app.js", &server);
}

/// No piece of code is left out: those for the browser are the example's, which a browser runs.
#[test]
fn what_is_not_run_here_is_run_elsewhere() {
    let example = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/example/index.html")).unwrap();
    let page = pieces("html");
    assert!(!page.is_empty());
    for line in page.iter().flat_map(|piece| piece.lines()) {
        assert!(example.contains(line.trim()), "{line} is not in the example");
    }
    let known = ["schema.js", "app.js"].map(|name| pieces(&format!("js {name}")).len());
    assert_eq!(GUIDE.matches("```").count(), 2 * (known[0] + known[1] + page.len()), "a piece of code of another kind");
}

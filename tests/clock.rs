//! The machine's clock is set back by a minute, while the server runs and across a restart: versions, `updatedAt`,
//! tokens and positions still only grow. The real binary runs under libfaketime (Debian: `faketime`), which turns back
//! the wall clock alone, as an administrator or NTP would; the monotonic clock goes on.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::http::{Answer, Http};
use support::run;
use support::server::{PASSWORD, Process, serve};
use support::socket::{Socket, Terms, Told};

/// The library; it comes in one variant for programs with threads.
fn library() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let found = found.chain([PathBuf::from("/usr/lib/faketime/libfaketimeMT.so.1")]).find(|path| path.exists());
    found.expect("libfaketime is not installed; tests/setup does that (Debian: apt-get install faketime)")
}

/// The server with a clock that the file sets.
fn with_clock(data: &Path, file: &Path) -> Command {
    let mut command = serve(data);
    command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", file);
    command.env("FAKETIME_NO_CACHE", "1").env("DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

/// Milliseconds since 1970.
fn instant(value: &serde_json::Value) -> i64 {
    value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// The two times that the SDK reads from a token, seconds.
fn times(token: &str) -> (u32, u32) {
    (u32::from_str_radix(&token[..8], 16).unwrap(), u32::from_str_radix(&token[8..16], 16).unwrap())
}

/// All that must only grow.
#[derive(Debug, Clone, PartialEq)]
struct Moment {
    version: u64,
    updated: i64,
    position: u64,
    token: (u32, u32),
}

impl Moment {
    fn of(answer: &Answer, token: &str) -> Moment {
        assert_eq!(answer.status, 200, "{answer:?}");
        let object = answer.json();
        let version = object["version"].as_u64().unwrap();
        Moment { version, updated: instant(&object["updatedAt"]), position: answer.position().unwrap(), token: times(token) }
    }

    fn is_before(&self, later: &Moment) -> bool {
        self.version < later.version
            && self.updated < later.updated
            && self.position < later.position
            && self.token.0 <= later.token.0
            && self.token.1 <= later.token.1
    }
}

/// Writes the object again and logs in anew.
async fn moment(http: &Http) -> Moment {
    let root = http.login("root", PASSWORD).await;
    let answer = root.put("Clock", "one", json!({"n": 1}).to_string(), None).await;
    Moment::of(&answer, root.token().unwrap())
}

fn now_of(process_clock: &Moment) -> i64 {
    process_clock.updated / 1000
}

#[test]
fn everything_still_grows_when_the_clock_is_set_back() {
    let directory = tempfile::tempdir().unwrap();
    let (data, file) = (directory.path().join("data"), directory.path().join("clock"));
    let set = |offset: &str| std::fs::write(&file, format!("{offset}\n")).unwrap();
    run(async {
        // Ahead at first, so that what follows is in the past of what was handed out.
        set("+3600s");
        let process = Process::start(with_clock(&data, &file));
        let http = process.http();
        let mut moments = vec![moment(&http).await];
        let wall = jiff::Timestamp::now().as_second();
        assert!((now_of(&moments[0]) - wall - 3600).abs() < 60, "libfaketime does not set the server's clock: {moments:?}");

        let early = http.login("root", PASSWORD).await;
        let socket = Socket::connect(&process.url).await;
        let live = socket.subscribe("Clock", "{}", &Terms::extended());
        live.answered().await;

        set("+3540s");
        for _ in 0..5 {
            moments.push(moment(&http).await);
        }
        // A token from before is still one, and what it is renewed with never ends earlier.
        let me = early.get("/db/User/me").await;
        assert_eq!(me.status, 200, "{me:?}");
        if let Some(renewed) = me.renewed_token() {
            let (old, new) = (times(early.token().unwrap()), times(&renewed));
            assert!(new.0 >= old.0 && new.1 >= old.1, "{old:?} {new:?}");
        }
        let told = live.reached(moments.last().unwrap().position).await;
        let positions: Vec<u64> = told.iter().filter(|told| matches!(told, Told::Event { .. })).filter_map(Told::position).collect();
        assert_eq!(positions, moments[1..].iter().map(|moment| moment.position).collect::<Vec<_>>());
        drop(process);

        // Set back further while it was down.
        set("+3400s");
        let process = Process::start(with_clock(&data, &file));
        let http = process.http();
        for _ in 0..3 {
            moments.push(moment(&http).await);
        }
        let known = http.with_token(early.token().map(str::to_owned));
        assert_eq!(known.get("/db/User/me").await.status, 200, "a token from before the restart");
        let socket = Socket::connect(&process.url).await;
        let terms = Terms { position: live.last_position(), ..Terms::extended() };
        let told = socket.subscribe("Clock", "{}", &terms).reached(moments.last().unwrap().position).await;
        assert!(matches!(told[0], Told::Resumed { .. }), "{told:?}");
        drop(process);

        // And forward again: the clock is believed as soon as it is ahead.
        set("+7200s");
        let process = Process::start(with_clock(&data, &file));
        moments.push(moment(&process.http()).await);
        assert!((now_of(moments.last().unwrap()) - wall - 7200).abs() < 60, "{moments:?}");

        for pair in moments.windows(2) {
            assert!(pair[0].is_before(&pair[1]), "{:?} then {:?}", pair[0], pair[1]);
        }
        println!("{} moments, all in order", moments.len());
    });
}

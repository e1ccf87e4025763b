//! The page at `/_tidegate/` in a real browser, over buckets that come from topics.

use crate::harness::{House, mapping, record};
use crate::support::kafka::shared;
use crate::support::{run, server::PASSWORD};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn the_page_shows_a_topic_as_it_moves() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(Command::new(tests.join("setup")).status().unwrap().success(), "tests/browser/setup failed");
    run(async {
        let (flights, bookings) = (shared().topic("flights", 2, &[]).await, shared().topic("bookings", 1, &[]).await);
        let public = mapping(&flights, "Flight", "read = \"public\"");
        let house = House::new();
        let server = house.start(&(public + &mapping(&bookings, "Booking", ""))).await;
        // Flights that come, change and leave, for as long as somebody looks.
        let coming = async {
            for round in 0u64.. {
                for topic in [&flights, &bookings] {
                    let flight = |number: u64| {
                        let delay = (round * 7 + number * 13) % 120;
                        record(&number.to_string(), format!(r#"{{"origin":"LAX","destination":"SFO","delay":{delay}}}"#))
                    };
                    shared().produce(topic, (0..20).map(flight)).await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let origin = server.process.url.strip_suffix("/v1").unwrap();
        let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("topic");
        let mut visitor = Command::new("node");
        visitor.arg(tests.join("topic.mjs")).arg(origin).arg(&screenshots).arg(PASSWORD);
        let visiting = tokio::task::spawn_blocking(move || visitor.output().unwrap());
        let visit = tokio::select! {
            visit = visiting => visit.unwrap(),
            () = coming => unreachable!(),
        };
        let told = String::from_utf8_lossy(&visit.stdout);
        println!("{told}screenshots in {}", screenshots.display());
        assert!(visit.status.success(), "{told}{}", String::from_utf8_lossy(&visit.stderr));
    });
}

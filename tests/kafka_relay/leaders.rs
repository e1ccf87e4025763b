//! The log in a cluster: leaders of its partitions are killed and moved while writers write and a client watches.

use crate::chain::{check_acknowledged, check_repeating, settled};
use crate::load::{BUCKET, Load};
use crate::outages::relayed_once;
use crate::support::cluster::Cluster;
use crate::support::live::{LiveResult, by_id};
use crate::support::server::Process;
use crate::support::socket::{Socket, Terms};
use crate::support::{PATIENCE, run};
use crate::{fresh, relayed, relaying_to};
use std::time::{Duration, Instant};

#[test]
fn leaders_of_the_log_are_killed_and_moved_and_every_commit_is_there_once() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, topic) = (Cluster::start(), fresh("leaders"));
    run(async {
        let mut command = relaying_to(&directory.path().join("data"), cluster.addresses(), &topic);
        command.args(["--set", "changelog.replicas=3"]);
        let process = Process::start(command);
        let socket = Socket::connect(&process.url).await;
        let watching = socket.subscribe(BUCKET, "{}", &Terms::extended());
        watching.answered().await;
        // Moved: it hands over in order what it leads, and ends.
        let load = Load::start(&process.http(), "moved");
        load.on(100).await;
        let moved = cluster.leader(&topic, 1);
        moved.stop();
        cluster.until_led_without(moved, &topic);
        relayed_once(&process).await;
        let mut acknowledged = load.end().await;
        cluster.restart(moved, &topic);

        // Killed: it leads partitions of the log and keeps the relay's transactions. Two of three are enough to go on.
        let answer = process.http().put(BUCKET, "who", "{}", None).await;
        let log = &answer.headers["tidegate-position"].to_str().unwrap()[..16];
        let deadline = Instant::now() + PATIENCE;
        let killed = loop {
            let coordinator = cluster.coordinator(&format!("tidegate-{log}"));
            if cluster.led(coordinator, &topic) > 0 {
                break coordinator;
            }
            // Who is back gets its partitions back in the controller's own time.
            assert!(Instant::now() < deadline, "there is nothing that it leads");
            std::thread::sleep(Duration::from_millis(200));
        };
        let load = Load::start(&process.http(), "killed");
        load.on(100).await;
        killed.kill();
        cluster.until_led_without(killed, &topic);
        relayed_once(&process).await;
        load.on(100).await;
        relayed_once(&process).await;
        acknowledged.extend(load.end().await);
        relayed(&process).await;
        let (all, repeats) = check_repeating(&settled(cluster.any(), &topic).await);
        check_acknowledged(&all, &acknowledged);
        // Who watched has seen the same.
        let told = watching.reached(acknowledged.iter().map(|one| one.commit).max().unwrap()).await;
        let objects = process.http().query(BUCKET, "{}").await.json();
        assert_eq!(LiveResult::after(&told).unwrap().objects, by_id(objects.as_array().unwrap()).unwrap());
        assert_eq!(process.metric("tidegate_live_resynchronised_total").await, Some(0.0));
        process.until("tidegate_relay_up", |up| up == 1.0).await;
        println!("{} records, {} acknowledged writes, {repeats} repeats", all.len(), acknowledged.len());
    });
}

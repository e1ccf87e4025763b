//! Rows changed by SQL in random order; the live result at a websocket is held against the `SELECT`.

use crate::statements::Statements;
use crate::support::connect::Connect;
use crate::support::kafka::Broker;
use crate::support::live::{LiveResult, by_id};
use crate::support::postgres::Postgres;
use crate::support::server::{Process, serve};
use crate::support::socket::{Socket, Subscription, Terms, Told};
use crate::support::{run, setting};
use serde_json::Value;
use std::collections::BTreeMap;
use tempfile::TempDir;

/// Buckets with the tables that they come of.
const BUCKETS: [(&str, &str); 6] = [
    ("Kinds", "kinds"),
    ("Lines", "lines"),
    ("Papers", "papers"),
    ("BareKinds", "kinds"),
    ("BareLines", "lines"),
    ("BarePapers", "papers"),
];

/// The database, its connectors, and what they write to.
struct World {
    broker: Broker,
    postgres: Postgres,
    connect: Connect,
    directory: TempDir,
}

/// A server with a subscription of everything in each bucket, and of some.
struct Witness {
    process: Process,
    subscriptions: Vec<(&'static str, &'static str, Subscription)>,
}

impl World {
    async fn new() -> World {
        // Its topics have the names of the connectors: nobody else may have them.
        let (broker, postgres) = (Broker::start(), Postgres::start());
        let connect = Connect::start(&broker).await;
        postgres.sql(include_str!("tables.sql"));
        postgres.sql(include_str!("expected.sql"));
        World { broker, postgres, connect, directory: tempfile::tempdir().unwrap() }
    }

    async fn capture(&self) {
        let tables = "public.kinds,public.lines,public.papers,public.full_images";
        self.connect.capture("schema", &self.postgres, tables, &[]).await;
        let bare = [
            ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("key.converter.schemas.enable", "false"),
            ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("value.converter.schemas.enable", "false"),
        ];
        self.connect.capture("bare", &self.postgres, tables, &bare).await;
    }

    async fn serve(&self) -> Witness {
        let config = include_str!("tidegate.toml").replace("@BROKER@", &self.broker.address());
        let file = self.directory.path().join("tidegate.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = serve(&self.directory.path().join("data"));
        command.arg("--config").arg(file).args(["--set", "store.durability=system"]);
        let process = Process::start(command);
        let socket = Socket::connect(&process.url).await;
        let mut subscriptions = Vec::new();
        for (bucket, table) in BUCKETS {
            let mut queries = vec!["{}"];
            if table == "kinds" {
                queries.push(r#"{"a_flag":true}"#);
            }
            for query in queries {
                let subscription = socket.subscribe(bucket, query, &Terms::extended());
                assert!(matches!(&subscription.answered().await[0], Told::Result { .. }), "{:?}", subscription.told());
                subscriptions.push((bucket, table, subscription));
            }
        }
        Witness { process, subscriptions }
    }

    /// Puts a row in every table whose arrival says that what was before has arrived.
    fn mark(&self, number: u32) {
        self.postgres.sql(&format!(
            "INSERT INTO kinds (id, a_flag) VALUES ({number}, true); INSERT INTO lines VALUES ('mark', 'none', {number}, 0);
             INSERT INTO papers (id, title) VALUES ('00000000-0000-0000-0000-00000000{number}', 'mark');
             INSERT INTO full_images VALUES ({number}, 'mark');"
        ));
    }

    /// The rows as objects, by id.
    fn expected(&self, bucket: &str, table: &str, query: &str) -> BTreeMap<String, Value> {
        let condition = if query == "{}" { "" } else { " WHERE a_flag" };
        let rows = self.postgres.rows(&format!("SELECT * FROM {table}_expected{condition}"));
        let object = |mut row: Value| {
            let id = row.as_object_mut().unwrap().remove("@").unwrap();
            (id.as_str().unwrap().replace('@', bucket), row)
        };
        rows.into_iter().map(object).collect()
    }
}

/// Without what is ours.
fn fields(objects: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let own = |object: &Value| {
        let mut object = object.as_object().unwrap().clone();
        object.retain(|name, _| !["id", "version", "acl", "createdAt", "updatedAt"].contains(&name.as_str()));
        Value::Object(object)
    };
    objects.iter().map(|(id, object)| (id.clone(), own(object))).collect()
}

/// Whether they are the same, numbers by their value: `1.50` is `1.5`.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (!(a.is_i64() && b.is_i64()) && a.as_f64() == b.as_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b))),
        // Base64 of PostgreSQL has lines.
        (Value::String(a), Value::String(b)) => a == b || a.replace('\n', "") == b.replace('\n', ""),
        (a, b) => a == b,
    }
}

fn assert_same(found: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for (id, expected) in expected {
        let found = &found[id];
        let names = expected.as_object().unwrap().iter().filter(|(name, value)| !found.get(name).is_some_and(|found| same(found, value)));
        let wrong: Vec<_> = names.map(|(name, value)| format!("{name}: {} instead of {value}", found[name])).collect();
        assert!(wrong.is_empty() && same(found, expected), "{what}: {id}: {wrong:#?}");
    }
}

/// The id of the row that [`World::mark`] put there.
fn mark(bucket: &str, table: &str, number: u32) -> String {
    match table {
        "kinds" | "full_images" => format!("/db/{bucket}/{number}"),
        "lines" => format!("/db/{bucket}/{number}~mark"),
        _ => format!("/db/{bucket}/00000000-0000-0000-0000-00000000{number}"),
    }
}

impl Witness {
    /// Waits for the mark everywhere.
    async fn arrived(&self, number: u32) {
        for (bucket, table, subscription) in &self.subscriptions {
            let id = mark(bucket, table, number);
            let has = |told: &Told| match told {
                Told::Event { data, .. } => data["id"] == *id,
                Told::Result { data, .. } => data.iter().any(|object| object["id"] == *id),
                _ => false,
            };
            subscription.wait(&format!("the mark {id}"), |told| told.iter().any(has)).await;
        }
    }

    /// Waits until a snapshot is there. Its rows come in no order, so a mark among them says little; but what is done once one
    /// of them arrived comes behind all.
    async fn snapshot_arrived(&self, world: &World, number: u32) {
        self.arrived(number).await;
        world.mark(number + 1);
        self.arrived(number + 1).await;
    }

    /// Compares live results with the rows, and one-shot answers with them. What a snapshot did not contain goes after it,
    /// so it is awaited that there are as many objects as rows.
    async fn check(&self, world: &World, what: &str) {
        for (bucket, table, subscription) in &self.subscriptions {
            let what = format!("{what}: {} on {bucket}", subscription.query);
            let expected = world.expected(bucket, table, &subscription.query);
            let as_many = |told: &[Told]| match LiveResult::after(told) {
                Ok(live) => live.objects.len() == expected.len(),
                Err(fault) => panic!("{what}: {fault}"),
            };
            let told = subscription.until("as many objects as rows", as_many).await;
            let live = LiveResult::after(&told).unwrap();
            assert_same(&fields(&live.objects), &expected, &what);
            let answer = self.process.http().query(bucket, &subscription.query).await;
            assert_eq!(by_id(answer.json().as_array().unwrap()).unwrap(), live.objects, "{what}, asked once");
        }
    }
}

#[test]
fn live_results_are_what_the_database_selects() {
    run(async {
        let world = World::new().await;
        let seed = setting("TIDEGATE_SEED", 1);
        let mut statements = Statements::new(seed);
        println!("TIDEGATE_SEED={seed}");
        // What is there before: it comes by snapshot.
        world.postgres.sql(&statements.some(60));
        world.mark(1000);
        world.capture().await;
        let mut witness = world.serve().await;
        witness.snapshot_arrived(&world, 1000).await;
        witness.check(&world, "the snapshot").await;
        for round in 1..=setting("TIDEGATE_ROUNDS", 6) as u32 {
            world.postgres.sql(&statements.some(60));
            if round % 3 == 0 {
                // In the middle of what it takes in.
                witness.process.kill();
                world.postgres.sql(&statements.some(20));
                witness = world.serve().await;
            }
            world.mark(1001 + round);
            witness.arrived(1001 + round).await;
            witness.check(&world, &format!("round {round}")).await;
        }
    });
}

#[test]
fn a_snapshot_again_removes_what_it_does_not_contain() {
    run(async {
        let world = World::new().await;
        let mut statements = Statements::new(setting("TIDEGATE_SEED", 1) + 1);
        world.postgres.sql(&statements.some(150));
        world.mark(1000);
        world.capture().await;
        let witness = world.serve().await;
        witness.snapshot_arrived(&world, 1000).await;
        witness.check(&world, "the first snapshot").await;
        for connector in ["schema", "bare"] {
            world.connect.forget(connector, &world.postgres).await;
        }
        // Nobody is told of this.
        world.postgres.sql(
            "DELETE FROM kinds WHERE id % 2 = 0 AND id < 1000; DELETE FROM lines WHERE number = 1; DELETE FROM papers WHERE title = 'first';
             DELETE FROM full_images WHERE id < 1000; UPDATE kinds SET a_text = 'behind the back';",
        );
        world.mark(1002);
        world.capture().await;
        witness.snapshot_arrived(&world, 1002).await;
        witness.check(&world, "the second snapshot").await;
    });
}

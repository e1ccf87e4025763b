//! Who may read a bucket whose mapping has another owner than before: nobody more at any moment, and the right ones in the end.

use crate::harness::{House, Server, mapping, record};
use crate::support::http::Http;
use crate::support::kafka::{self, Record};
use crate::support::{PATIENCE, run};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ROWS: usize = 6_000;

/// A user and who he is with this server.
struct User {
    id: String,
    token: Option<String>,
}

impl User {
    async fn register(server: &Server, name: &str) -> User {
        let body = json!({"user": {"username": name}, "password": "first", "login": true}).to_string();
        let answer = server.process.http().post("/db/User/register", body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        User { id: answer.json()["id"].as_str().unwrap().to_owned(), token: answer.renewed_token() }
    }

    fn of(&self, server: &Server) -> Http {
        server.process.http().with_token(self.token.clone())
    }
}

/// What he sees: none while the bucket is closed to him.
async fn seen(caller: &Http) -> Option<Vec<Value>> {
    let answer = caller.query("Owned", "{}").await;
    match answer.status {
        200 => Some(answer.json().as_array().unwrap().clone()),
        466 => None,
        _ => panic!("{answer:?}"),
    }
}

/// Waits until a user sees so many objects; none of another's at any time.
async fn until_seen(server: &Server, user: &User, column: &str, count: usize) {
    let (caller, deadline) = (user.of(server), Instant::now() + PATIENCE);
    loop {
        let objects = seen(&caller).await;
        for object in objects.iter().flatten() {
            assert_eq!(object[column], *user.id, "by {column}: {object}");
        }
        if objects.as_ref().is_some_and(|objects| objects.len() == count) {
            return;
        }
        assert!(Instant::now() < deadline, "he sees {:?} of {count}", objects.map(|objects| objects.len()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Half of the rows are the first one's by one column, and the other one's by the other.
fn rows<'u>(one: &'u User, other: &'u User) -> impl Iterator<Item = Record> + use<'u> {
    (0..ROWS).map(move |n| {
        let (customer, agent) = if n % 2 == 0 { (one, other) } else { (other, one) };
        record(&n.to_string(), json!({"customer": customer.id, "agent": agent.id}).to_string())
    })
}

fn lists(objects: &BTreeMap<String, Value>, column: &str) -> bool {
    objects.values().all(|object| object["acl"]["read"] == json!({ object[column].as_str().unwrap(): "allow" }))
}

#[test]
fn another_owner_opens_nothing_before_every_list_is_his() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("owners", 2, &[]).await;
        let house = House::new();
        let mappings = |rest: &str| mapping(&topic, "Owned", rest);
        let (customer, agent) = (mappings("owner = \"customer\""), mappings("owner = \"agent\""));
        let server = house.start(&mappings("")).await;
        let (jo, ann) = (User::register(&server, "jo").await, User::register(&server, "ann").await);
        broker.produce(&topic, rows(&jo, &ann)).await;
        server.until("Owned", |objects| objects.len() == ROWS).await;
        server.process.kill();

        // From administrators alone to an owner: what is stored has no list.
        let server = house.start(&customer).await;
        until_seen(&server, &jo, "customer", ROWS / 2).await;
        let objects = server.objects("Owned").await;
        assert!(lists(&objects, "customer") && objects.values().all(|object| object["version"] == 2));
        server.process.kill();

        // To another column, and killed in the middle; then back to the first, and killed again; then on.
        for (mappings, more) in [(&agent, 900.0), (&customer, 400.0), (&agent, 0.0), (&agent, 1_500.0)] {
            let server = house.start(mappings).await;
            let column = if mappings == &customer { "customer" } else { "agent" };
            let head = async || server.process.metric("tidegate_log_head").await.unwrap();
            let (from, deadline) = (head().await, Instant::now() + Duration::from_secs(4));
            while head().await < from + more && Instant::now() < deadline {
                for user in [&jo, &ann] {
                    for object in seen(&user.of(&server)).await.iter().flatten() {
                        assert_eq!(object[column], *user.id, "by {column}: {object}");
                    }
                }
            }
            server.process.kill();
        }
        let server = house.start(&agent).await;
        until_seen(&server, &ann, "agent", ROWS / 2).await;
        until_seen(&server, &jo, "agent", ROWS / 2).await;
        assert!(lists(&server.objects("Owned").await, "agent"));
        assert_eq!(server.process.http().query("Owned", "{}").await.status, 466, "who is not logged in");
        server.process.kill();

        // Without an owner, for everybody.
        let server = house.start(&mappings("read = \"public\"")).await;
        let (nobody, deadline) = (server.process.http(), Instant::now() + PATIENCE);
        while seen(&nobody).await.is_none_or(|objects| objects.len() < ROWS) {
            assert!(Instant::now() < deadline, "it is not opened");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.process.kill();

        // And from everybody to an owner, while records come in.
        let server = house.start(&customer).await;
        broker.produce(&topic, rows(&jo, &ann).take(500)).await;
        until_seen(&server, &ann, "customer", ROWS / 2).await;
        assert!(lists(&server.objects("Owned").await, "customer"));
    });
}

#[test]
fn what_was_written_while_there_was_no_mapping_is_nobodys_before_it_has_a_list() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("interim", 1, &[]).await;
        let house = House::new();
        let owned = mapping(&topic, "Owned", "owner = \"customer\"");
        let server = house.start(&owned).await;
        let jo = User::register(&server, "jo").await;
        let row = |key: &str| record(key, json!({"customer": jo.id}).to_string());
        broker.produce(&topic, [row("1")]).await;
        until_seen(&server, &jo, "customer", 1).await;
        server.process.kill();
        let server = house.start("").await;
        assert!(server.root.insert("Owned", r#"{"text":"not yours"}"#).await.status < 300);
        server.process.kill();
        let server = house.start(&owned).await;
        broker.produce(&topic, [row("2")]).await;
        until_seen(&server, &jo, "customer", 2).await;
        assert_eq!(server.objects("Owned").await.len(), 3);
    });
}

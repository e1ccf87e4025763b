//! What is asked, and how it is measured: a fixed number of connections, one request at a time on each.

use hyper::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate::bench::http::{Answer, Base, HttpClient};
use tidegate::bench::latency::Latencies;

pub const BUCKET: &str = "Lot";
/// Objects that one query finds.
pub const FOUND: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Load,
    Insert,
    Update,
    Indexed,
    Scanned,
}

pub const CASES: [(Case, &str); 5] = [
    (Case::Load, "load"),
    (Case::Insert, "insert"),
    (Case::Update, "conditional update"),
    (Case::Indexed, "query by index"),
    (Case::Scanned, "query by scan"),
];

/// The object of 10 fields and about 300 bytes that stands under a number.
pub fn object(number: u64, groups: u64) -> String {
    let group = number % groups;
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        r#"{{"id":"/db/{BUCKET}/{number}","city":"city {group}","district":"district {group}","title":"Lot {number} of the autumn sale","price":{},"bids":{},"open":{},"seller":"seller {:08x}","place":"hall {}","note":"{mixed:016x}{mixed:016x}"}}"#,
        mixed % 10_000,
        mixed % 37,
        number.is_multiple_of(2),
        mixed as u32,
        mixed % 9
    )
}

/// Who asks on one connection.
pub struct Asker {
    client: HttpClient,
    /// The server is the real one: then answers are checked, and versions known
    real: bool,
    /// Its own objects, `place`, `place + connections`, …
    place: u64,
    connections: u64,
    objects: u64,
    versions: Vec<u64>,
    turn: u64,
}

/// Ids of inserts: never the same twice.
static NEXT: AtomicU64 = AtomicU64::new(1_000_000_000);

impl Asker {
    pub async fn connect(base: &Base, real: bool, (place, connections): (u64, u64), objects: u64) -> Asker {
        let client = HttpClient::connect(base, None).await.expect("a connection");
        let own = objects.div_ceil(connections) as usize + 1;
        Asker { client, real, place, connections, objects, versions: vec![1; own], turn: place }
    }

    /// One request, and its answer.
    pub async fn ask(&mut self, case: Case) -> Answer {
        self.turn = self.turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = self.turn >> 33;
        let groups = self.objects / FOUND;
        let query = |field: &str| format!("/db/{BUCKET}/query?q=%7B%22{field}%22%3A%22{field}%20{}%22%7D", random % groups);
        let (method, path, tag, body) = match case {
            Case::Load => (Method::GET, format!("/db/{BUCKET}/{}", random % self.objects), None, None),
            Case::Insert => {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                (Method::POST, format!("/db/{BUCKET}"), None, Some(object(number, u64::MAX)))
            }
            Case::Update => {
                let own = random % (self.objects / self.connections).max(1);
                let number = own * self.connections + self.place;
                let tag = format!("\"{}\"", self.versions[own as usize]);
                self.versions[own as usize] += u64::from(self.real);
                (Method::PUT, format!("/db/{BUCKET}/{number}"), Some(tag), Some(object(number, groups)))
            }
            Case::Indexed => (Method::GET, query("city"), None, None),
            Case::Scanned => (Method::GET, query("district"), None, None),
        };
        let answer = self.client.send_if(method, &path, tag.as_deref(), body).await.expect("an answer");
        assert!(answer.status < 300, "{case:?} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        answer
    }

    async fn ask_for(mut self, case: Case, until: Instant) -> (Asker, Latencies) {
        let mut latencies = Latencies::default();
        while Instant::now() < until {
            let began = Instant::now();
            self.ask(case).await;
            latencies.record(began.elapsed());
        }
        (self, latencies)
    }
}

/// All of them at once for this long; requests a second, and how long each took.
pub async fn together(askers: &mut Vec<Asker>, case: Case, lasting: Duration) -> (f64, Latencies) {
    let began = Instant::now();
    let tasks: Vec<_> = askers.drain(..).map(|asker| tokio::spawn(asker.ask_for(case, began + lasting))).collect();
    let mut all = Latencies::default();
    for task in tasks {
        let (asker, latencies) = task.await.expect("no panic");
        askers.push(asker);
        all.add(&latencies);
    }
    (all.len() as f64 / began.elapsed().as_secs_f64(), all)
}

/// So many connections.
pub async fn askers(base: &Base, real: bool, connections: u64, objects: u64) -> Vec<Asker> {
    let mut all = Vec::new();
    for place in 0..connections {
        all.push(Asker::connect(base, real, (place, connections), objects).await);
    }
    all
}

/// The objects, put there by all connections.
pub async fn fill(base: &Base, objects: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (base, next) = (base.clone(), next.clone());
            tokio::spawn(async move {
                let mut client = HttpClient::connect(&base, None).await.expect("a connection");
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= objects {
                        return;
                    }
                    let body = Some(object(number, objects / FOUND));
                    client.expect(Method::POST, &format!("/db/{BUCKET}"), body).await.expect("an insert");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

//! One app floods the server with writes, scans, logins and subscriptions; another goes on.
//!
//! Both are measured in the same moments: where all wait in one queue, a request of the quiet app takes as long as one of the
//! flood; where each app waits in a line of its own, it takes a fraction. So it is the fraction that is judged, which is the
//! same on fast and slow, busy and idle machines.

use super::harness::Rig;
use super::support::http::Http;
use super::support::socket::{Socket, Terms, Told};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Requests of the quiet app that are measured, and the longest that their median may be, as a part of that of the flood.
const ASKED: usize = 25;
const PART: f64 = 0.5;

/// One flood at a time: each wants the whole machine.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}

/// The median of a number of requests, one after the other; every one of them succeeds.
async fn measure(what: &str, mut ask: impl AsyncFnMut(usize) -> u16) -> Duration {
    let mut took = Vec::new();
    for n in 0..ASKED {
        let began = Instant::now();
        let status = ask(n).await;
        assert!(status < 300, "{what} number {n} was refused: {status}");
        took.push(began.elapsed());
    }
    median(took)
}

struct Flood {
    ended: Arc<AtomicBool>,
    done: Arc<Mutex<Vec<Duration>>>,
    tasks: JoinSet<()>,
}

impl Flood {
    /// So many at once, again and again; refusals of the flood itself are what they are.
    fn start<F: Future<Output = ()> + Send + 'static>(at_once: usize, ask: impl Fn(usize) -> F + Send + Sync + Clone + 'static) -> Flood {
        let (ended, done) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = JoinSet::new();
        for task in 0..at_once {
            let (ended, done, ask) = (ended.clone(), done.clone(), ask.clone());
            tasks.spawn(async move {
                for n in 0.. {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    let began = Instant::now();
                    ask(task * 1_000_000 + n).await;
                    done.lock().unwrap().push(began.elapsed());
                }
            });
        }
        Flood { ended, done, tasks }
    }

    /// Waits until it is one.
    async fn begun(&self) {
        while self.done.lock().unwrap().len() < 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends it; the median of its requests.
    async fn end(mut self) -> Duration {
        self.ended.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        median(std::mem::take(&mut *self.done.lock().unwrap()))
    }
}

async fn compare(what: &str, mut ask: impl AsyncFnMut(usize) -> u16, flood: impl AsyncFnOnce() -> Flood) {
    let alone = measure(what, &mut ask).await;
    let flood = flood().await;
    flood.begun().await;
    let beside = measure(what, async |n| ask(n + ASKED).await).await;
    let flooded = flood.end().await;
    println!("{what}: alone {alone:?}, beside the flood {beside:?}, of the flood {flooded:?}");
    assert!(beside <= flooded.mul_f64(PART), "{what}: alone {alone:?}, beside the flood {beside:?}, of the flood {flooded:?}");
}

async fn insert(http: &Http, bucket: String, n: usize) {
    assert_eq!(http.insert(&bucket, format!(r#"{{"n":{n}}}"#)).await.status, 201);
}

struct Pair {
    rig: Rig,
    loud: Http,
    quiet: Http,
}

async fn pair(limits: Value) -> Pair {
    let rig = Rig::start().await;
    let (loud, quiet) = (rig.create("loud", limits).await, rig.create("quiet", json!({})).await);
    quiet.insert("Lot", r#"{"id":"/db/Lot/1","n":1}"#).await;
    Pair { rig, loud, quiet }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes() {
    let _turn = TURN.lock().await;
    // Few at a time: what waits then waits in the app's line, which is what is measured, and not for a processor, which all share.
    let Pair { rig, loud, quiet } = pair(json!({"writes": 2})).await;
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(2000));
    let flood = async || {
        Flood::start(300, move |_| {
            let (http, body) = (loud.clone(), body.clone());
            async move { drop(http.insert("Lot", body).await) }
        })
    };
    compare("a write", async |n| quiet.put("Lot", &format!("w{n}"), "{}", None).await.status, flood).await;
    drop(rig);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans() {
    let _turn = TURN.lock().await;
    let Pair { rig, loud, quiet } = pair(json!({"scans": 2})).await;
    // Each in a bucket of its own, so that no scan serves two of them.
    for bucket in 0..8 {
        futures_util::future::join_all((0..250).map(|n| insert(&loud, format!("Lot{bucket}"), n))).await;
    }
    let flood = async || {
        Flood::start(200, move |n| {
            let http = loud.clone();
            async move { drop(http.query(&format!("Lot{}", n % 8), r#"{"n":{"$lt":0}}"#).await) }
        })
    };
    compare("a query", async |_| quiet.query("Lot", r#"{"n":1}"#).await.status, flood).await;
    drop(rig);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins() {
    let _turn = TURN.lock().await;
    let Pair { rig, loud, quiet } = pair(json!({})).await;
    let anonymous = rig.app("quiet");
    let login = |word: &str| json!({"username": "root", "password": super::harness::password_of(word)}).to_string();
    let (mine, theirs) = (login("quiet"), login("loud"));
    let flood = async || {
        Flood::start(40, move |_| {
            let (http, login) = (loud.with_token(None), theirs.clone());
            async move { drop(http.post("/db/User/login", login).await) }
        })
    };
    compare("a login", async |_| anonymous.post("/db/User/login", mine.clone()).await.status, flood).await;
    drop((rig, quiet));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions() {
    let _turn = TURN.lock().await;
    let Pair { rig, loud, quiet } = pair(json!({"scans": 2})).await;
    futures_util::future::join_all((0..1000).map(|n| insert(&loud, "Lot".into(), n))).await;
    let mine = Socket::connect(quiet.base()).await;
    let sockets: Vec<Socket> = futures_util::future::join_all((0..20).map(|_| Socket::connect(loud.base()))).await;
    let flood = async || {
        let sockets = sockets.clone();
        Flood::start(200, move |n| {
            let socket = sockets[n / 1_000_000 % sockets.len()].clone();
            async move {
                let subscription = socket.subscribe("Lot", &format!(r#"{{"n":{{"$ne":{n}}}}}"#), &Terms::default());
                subscription.answered().await;
                subscription.unsubscribe();
            }
        })
    };
    let ask = async |n: usize| {
        let subscription = mine.subscribe("Lot", &format!(r#"{{"n":{n}}}"#), &Terms::default());
        let told = subscription.answered().await;
        subscription.unsubscribe();
        if matches!(&told[..], [Told::Result { .. }]) { 200 } else { 500 }
    };
    compare("a subscription", ask, flood).await;
    drop(rig);
}

/// The store's queue is small and one app wants all of it: its writes wait at its own door, and nobody's are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_of_the_store_is_not_one_apps() {
    let _turn = TURN.lock().await;
    let rig = Rig::with(|config| {
        config.store.queue = 16;
        config.limits.writes = 6;
    })
    .await;
    let (loud, quiet) = (rig.create("loud", json!({})).await, rig.create("quiet", json!({})).await);
    let refused = Arc::new(AtomicU64::new(0));
    let counted = refused.clone();
    let flood = Flood::start(200, move |n| {
        let (http, refused) = (loud.clone(), counted.clone());
        async move {
            let answer = http.insert("Lot", format!(r#"{{"n":{n}}}"#)).await;
            refused.fetch_add(u64::from(answer.status == 503), Ordering::Relaxed);
        }
    });
    flood.begun().await;
    for n in 0..100 {
        assert_eq!(quiet.insert("Lot", format!(r#"{{"n":{n}}}"#)).await.status, 201);
    }
    flood.end().await;
    assert_eq!(refused.load(Ordering::Relaxed), 0, "six at a time cannot fill a queue of sixteen");
}

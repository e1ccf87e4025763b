//! Plays a round against a server, then judges it.

use crate::plan::{Ask, Condition, Op, PEOPLE, Plan, QUERIES, SOCKETS, WRITERS, WRITES, What};
use crate::support::history::{Acknowledged, History, acknowledged};
use crate::support::http::Http;
use crate::support::live::{LiveResult, by_id};
use crate::support::people::Person;
use crate::support::socket::{Socket, Subscription, Terms, Told};
use crate::verify::{Asked, Judged, Walk};
use dataflows::query::{Filter, QueryLimits};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use tidegate::schema::{Class, Schema};
use tokio::sync::watch;

/// A server, and the people who use it.
pub struct Arena {
    http: Http,
    people: Vec<Person>,
}

/// What was judged, so that a test that judged nothing is seen.
#[derive(Debug, Default)]
pub struct Score {
    commits: usize,
    refused: usize,
    results: usize,
    events: usize,
    one_shot: usize,
    resumed: usize,
    refreshed: usize,
    /// Live results that were compared with a one-shot answer at its position
    compared: usize,
    /// Images that some of their hearers may not read
    secrets: usize,
}

impl Arena {
    pub fn new(url: &str, people: Vec<Person>) -> Arena {
        Arena { http: Http::new(url), people }
    }

    fn http(&self, person: usize) -> Http {
        self.http.with_token(self.people[person].token.clone())
    }
}

/// A subscription over its connections, in order.
struct Tape {
    parts: Vec<Subscription>,
    /// Nobody waits for its end
    ended: bool,
}

/// A one-shot answer.
struct Shot {
    ask: usize,
    position: u64,
    objects: BTreeMap<String, Value>,
}

/// What was judged, and what was committed.
pub async fn play(arena: &Arena, plan: &Plan) -> (Score, History) {
    let schema = declare(arena, plan).await;
    let (progress, writes) = watch::channel(0);
    let versions = Arc::new(Mutex::new(HashMap::new()));
    let mut writers = Vec::new();
    for ops in plan.writers.clone() {
        let people: Vec<_> = (0..PEOPLE.len()).map(|person| (arena.http(person), arena.people[person].caller.clone())).collect();
        let (bucket, versions, progress) = (plan.bucket.clone(), versions.clone(), progress.clone());
        writers.push(tokio::spawn(async move {
            let mut all = Vec::new();
            for op in ops {
                let (http, caller) = &people[op.person];
                let answer = write(http, &bucket, &op, &versions).await;
                all.push(acknowledged(&answer, &format!("/db/{bucket}/{}", op.key), caller));
                progress.send_modify(|count| *count += 1);
            }
            all
        }));
    }
    let written = async {
        let mut acknowledgements = Vec::new();
        for writer in writers {
            acknowledgements.extend(writer.await.unwrap());
        }
        let refused = acknowledgements.iter().filter(|one| one.is_none()).count();
        let mut acknowledgements: Vec<(u64, Acknowledged)> = acknowledgements.into_iter().flatten().collect();
        let marker = format!("/db/{}/marker", plan.bucket);
        let answer = arena.http.insert(&plan.bucket, json!({"id": marker, "marker": true, "tag": "tag-marker-"}).to_string()).await;
        acknowledgements.extend(acknowledged(&answer, &marker, &arena.people[0].caller));
        (History::new(acknowledgements, &schema.dates(&plan.bucket)), refused)
    };
    observe(arena, plan, writes, written).await
}

/// Subscribes and asks while somebody writes (`writes` counts), and judges all of it once that is over: `written` resolves to what was
/// committed, the round's marker last, and how much was refused.
pub async fn observe(
    arena: &Arena,
    plan: &Plan,
    writes: watch::Receiver<usize>,
    written: impl Future<Output = (History, usize)>,
) -> (Score, History) {
    let shooting = tokio::spawn(shoot(plan.seed, callers(arena), plan.bucket.clone(), plan.asks.clone(), writes.clone()));
    let tapes = subscribe(arena, plan, writes).await;
    let mut shots = shooting.await.unwrap();
    let (history, refused) = written.await;
    let (_, end) = history.range().unwrap();

    for (number, ask) in plan.asks.iter().enumerate() {
        shots.push(one_shot(&arena.http(ask.person), &plan.bucket, number, &ask.query).await);
        assert!(shots.last().unwrap().position >= end, "a snapshot that misses an acknowledged write");
    }
    for (tape, ask) in tapes.iter().zip(&plan.asks).filter(|(tape, _)| !tape.ended) {
        let told = crate::OnPanic(format!("{ask:?}, in {} parts", tape.parts.len()));
        tape.parts.last().unwrap().reached(end).await;
        drop(told);
    }
    let score = judge(arena, plan, &history, end, &tapes, &shots, refused);
    (score, history)
}

async fn declare(arena: &Arena, plan: &Plan) -> Schema {
    let mut schema = Schema::default();
    if let Some(class) = &plan.class {
        let answer = arena.http(PEOPLE.len() - 1).post("/schema", class.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let classes: Vec<Arc<Class>> = serde_json::from_slice(&answer.body).unwrap();
        schema.classes = classes.into_iter().map(|class| (class.class.trim_start_matches("/db/").into(), class)).collect();
    }
    schema
}

fn callers(arena: &Arena) -> Vec<Http> {
    (0..PEOPLE.len()).map(|person| arena.http(person)).collect()
}

async fn write(http: &Http, bucket: &str, op: &Op, versions: &Mutex<HashMap<&'static str, u64>>) -> crate::support::http::Answer {
    let condition = |condition: &Condition| match condition {
        Condition::None => None,
        Condition::Any => Some("*".to_owned()),
        Condition::Last => Some(format!("\"{}\"", versions.lock().unwrap().get(op.key).copied().unwrap_or(1))),
        Condition::Version(version) => Some(format!("\"{version}\"")),
    };
    let answer = match &op.what {
        What::Insert(object) => http.insert(bucket, object.as_str()).await,
        What::Put(object, when) => http.put(bucket, op.key, object.as_str(), condition(when).as_deref()).await,
        What::Delete(when) => http.delete(bucket, op.key, condition(when).as_deref()).await,
    };
    if let (200..=202, Some(version)) = (answer.status, answer.status.ne(&204).then(|| answer.json()["version"].as_u64()).flatten()) {
        versions.lock().unwrap().insert(op.key, version);
    }
    answer
}

async fn one_shot(http: &Http, bucket: &str, ask: usize, query: &str) -> Shot {
    let answer = http.query(bucket, query).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let objects = by_id(answer.json().as_array().unwrap()).unwrap();
    Shot { ask, position: answer.position().expect("a one-shot answer carries its position"), objects }
}

/// One-shot answers while the writes race.
async fn shoot(seed: u64, callers: Vec<Http>, bucket: String, asks: Vec<Ask>, writes: watch::Receiver<usize>) -> Vec<Shot> {
    let mut random = StdRng::seed_from_u64(seed ^ 1);
    let mut shots = Vec::new();
    while *writes.borrow() < WRITERS * WRITES {
        let number = random.random_range(0..asks.len());
        let http = &callers[asks[number].person];
        shots.push(one_shot(http, &bucket, number, &asks[number].query).await);
        if random.random_bool(0.2) {
            // Counts are judged where no write can be between: at the same position.
            let answer = http.count(&bucket, &asks[number].query).await;
            if answer.position() == shots.last().map(|shot| shot.position) {
                assert_eq!(answer.json()["count"], shots.last().unwrap().objects.len(), "count of {}", asks[number].query);
            }
        }
    }
    shots
}

/// Subscribes and unsubscribes as planned, cuts the last connection in the middle and brings its subscriptions back.
async fn subscribe(arena: &Arena, plan: &Plan, mut writes: watch::Receiver<usize>) -> Vec<Tape> {
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(Socket::connect(arena.http.base()).await);
    }
    enum Step {
        Start(usize),
        End(usize),
        Cut,
    }
    let mut steps: Vec<(usize, Step)> = vec![(WRITERS * WRITES / 2, Step::Cut)];
    for (number, ask) in plan.asks.iter().enumerate() {
        steps.push((ask.starts, Step::Start(number)));
        steps.extend(ask.ends.map(|at| (at, Step::End(number))));
    }
    // Stable: what starts and ends at once starts first.
    steps.sort_by_key(|(at, _)| *at);
    let mut tapes: Vec<Tape> = (0..QUERIES).map(|_| Tape { parts: Vec::new(), ended: false }).collect();
    for (at, step) in steps {
        writes.wait_for(|count| *count >= at).await.unwrap();
        match step {
            Step::Start(number) => {
                let ask = &plan.asks[number];
                tapes[number].parts.push(sockets[ask.socket].subscribe(&plan.bucket, &ask.query, &terms(arena, ask)));
            }
            Step::End(number) => {
                tapes[number].parts.last().unwrap().unsubscribe();
                tapes[number].ended = true;
            }
            Step::Cut => {
                sockets[SOCKETS - 1].cut().await;
                sockets[SOCKETS - 1] = Socket::connect(arena.http.base()).await;
                for (tape, ask) in
                    tapes.iter_mut().zip(&plan.asks).filter(|(tape, ask)| ask.socket == SOCKETS - 1 && !tape.parts.is_empty())
                {
                    if !tape.ended {
                        let position = tape.parts.last().unwrap().last_position();
                        if position.is_none() {
                            // It never was told anything: it begins anew.
                            tape.parts.clear();
                        }
                        let terms = Terms { position, ..terms(arena, ask) };
                        tape.parts.push(sockets[SOCKETS - 1].subscribe(&plan.bucket, &ask.query, &terms));
                    }
                }
            }
        }
    }
    tapes
}

fn terms(arena: &Arena, ask: &Ask) -> Terms {
    Terms {
        token: arena.people[ask.person].token.clone(),
        initial: ask.initial,
        match_types: ask.match_types.clone(),
        operations: ask.operations.clone(),
        // Event streams of the SDK do not come back.
        reconnects: if ask.initial { -1 } else { 0 },
        position: None,
        extensions: !ask.plain,
    }
}

fn judge(arena: &Arena, plan: &Plan, history: &History, end: u64, tapes: &[Tape], shots: &[Shot], refused: usize) -> Score {
    let mut score = Score { commits: history.commits.len(), refused, one_shot: shots.len(), ..Score::default() };
    let asked: Vec<Asked> = plan.asks.iter().map(|ask| asked(arena, ask)).collect();
    for shot in shots {
        let expected = history.result(&asked[shot.ask].filter, &asked[shot.ask].caller, shot.position);
        assert_eq!(shot.objects, expected, "the one-shot answer at {} to {:?}", shot.position, plan.asks[shot.ask]);
    }
    for (number, (tape, ask)) in tapes.iter().zip(&plan.asks).enumerate() {
        let mut walk = Walk::new(&asked[number], history);
        let parts: Vec<Vec<Told>> = tape.parts.iter().map(Subscription::told).collect();
        let followed = parts.iter().try_for_each(|part| walk.follow(part));
        let followed = followed.and_then(|()| if tape.ended { Ok(()) } else { walk.complete(end) });
        if let Err(fault) = followed {
            panic!("subscription {number} {ask:?}, in normal form {}: {fault}\nit was told: {parts:#?}", asked[number].filter.text);
        }
        score.judged(&walk.judged);
        let complete = ask.initial && ask.match_types == ["all"] && ask.operations == ["any"];
        if complete {
            score.compared += compare(number, &parts, shots).unwrap_or_else(|fault| panic!("subscription {number} {ask:?}: {fault}"));
        }
        score.secrets +=
            leaks(&tape.parts, &asked[number], history).unwrap_or_else(|fault| panic!("subscription {number} {ask:?}: {fault}"));
    }
    score
}

fn asked(arena: &Arena, ask: &Ask) -> Asked {
    Asked {
        filter: Filter::parse(&ask.query, &QueryLimits::default()).unwrap_or_else(|error| panic!("{}: {error}", ask.query)),
        caller: arena.people[ask.person].caller.clone(),
        initial: ask.initial,
        match_types: ask.match_types.clone(),
        operations: ask.operations.clone(),
    }
}

/// Keeps the live result by the SDK's rules, and holds it against every one-shot answer at its position.
fn compare(number: usize, parts: &[Vec<Told>], shots: &[Shot]) -> Result<usize, String> {
    let mut shots: Vec<&Shot> = shots.iter().filter(|shot| shot.ask == number).collect();
    shots.sort_by_key(|shot| shot.position);
    let (mut live, mut compared) = (LiveResult::default(), 0);
    let mut waiting = shots.into_iter().peekable();
    for told in parts.iter().flatten() {
        if let (Some(next), true) = (told.position(), live.begun) {
            // All that came before this message is what was there until just before it.
            while let Some(shot) = waiting.next_if(|shot| shot.position < next) {
                if shot.position >= live.position {
                    compared += same(&live, shot)?;
                }
            }
        }
        live.apply(told)?;
    }
    if live.begun {
        for shot in waiting.filter(|shot| shot.position == live.position) {
            compared += same(&live, shot)?;
        }
    }
    Ok(compared)
}

fn same(live: &LiveResult, shot: &Shot) -> Result<usize, String> {
    if live.objects == shot.objects {
        Ok(1)
    } else {
        Err(format!("live at {} it is {:#?}, one-shot at {} {:#?}", live.position, live.objects, shot.position, shot.objects))
    }
}

/// Looks for the tags of images that the reader may not read, in the frames as they came. The number of such images.
fn leaks(parts: &[Subscription], asked: &Asked, history: &History) -> Result<usize, String> {
    let states = history.commits.values().filter_map(|commit| commit.after.as_ref());
    let hidden: Vec<&str> =
        states.filter(|state| !state.image.acl.read.permits(&asked.caller)).filter_map(|state| state.json["tag"].as_str()).collect();
    for frame in parts.iter().flat_map(Subscription::frames) {
        for part in frame.split("tag-").skip(1) {
            if let Some(tag) = hidden.iter().find(|tag| part.starts_with(&tag["tag-".len()..])) {
                return Err(format!("he may not read the image with {tag}, and was sent {frame}"));
            }
        }
    }
    Ok(hidden.len())
}

impl Score {
    fn judged(&mut self, judged: &Judged) {
        self.results += judged.results;
        self.events += judged.events;
        self.resumed += judged.resumed;
        self.refreshed += judged.refreshed;
    }

    pub fn add(&mut self, other: &Score) {
        self.commits += other.commits;
        self.refused += other.refused;
        self.results += other.results;
        self.events += other.events;
        self.one_shot += other.one_shot;
        self.resumed += other.resumed;
        self.refreshed += other.refreshed;
        self.compared += other.compared;
        self.secrets += other.secrets;
    }

    /// A test that judged next to nothing proves nothing.
    pub fn check_that_it_judged(&self, rounds: usize) {
        assert!(self.commits > rounds * WRITERS * WRITES / 4, "{self:?}");
        assert!(self.results > rounds * QUERIES * 4 / 5, "{self:?}");
        assert!(self.events > rounds * QUERIES && self.compared > rounds * QUERIES / 2 && self.one_shot > rounds * QUERIES, "{self:?}");
        assert!(self.resumed > 0, "{self:?}");
        // Nobody was slow: every subscription got its events one by one.
        assert_eq!(self.refreshed, 0, "{self:?}");
    }

    /// Where people write, some of it is refused and some of it hidden.
    pub fn check_that_some_was_forbidden(&self) {
        assert!(self.secrets > 0 && self.refused > 0, "{self:?}");
    }
}

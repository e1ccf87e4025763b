//! Clients that write several objects as one beside those that write one, and look at all of them; and somebody who is told of all
//! that happens.

use super::check::Model;
use super::clients::{self, BUCKET, Run};
use super::object::{self, Condition};
use super::objects::{Asked, OBJECTS, Operation, State, Told};
use crate::support::http::{Answer, Http};
use crate::support::live::LiveResult;
use crate::support::socket::{self, Socket, Subscription, Terms};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What one client did.
#[derive(Default)]
pub struct Seen {
    pub operations: Vec<Operation>,
    /// Where what was written stands in the log: the last commit of each write or batch, and what it has made
    pub landed: BTreeMap<u64, Vec<(usize, object::State)>>,
}

impl Seen {
    pub fn extend(&mut self, other: Seen) {
        self.operations.extend(other.operations);
        self.operations.sort_by_key(|operation| operation.called);
        for (commit, made) in other.landed {
            let twice = self.landed.insert(commit, made);
            assert!(twice.is_none(), "two writes have the commit {commit}: {twice:?}");
        }
    }
}

/// One client: so many operations, or until no answer comes.
pub async fn client(run: Arc<Run>, http: Http, seed: u64, operations: u64) -> Seen {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut seen, mut last) = (Seen::default(), State::default());
    for _ in 0..operations {
        let asked = choose(&run, &mut random, &last);
        let by_query = random.random_bool(0.3);
        perform(&run, &http, asked, by_query, &mut seen).await;
        let Operation { asked, told: Some(told), .. } = seen.operations.last().unwrap() else { break };
        run.answered.fetch_add(1, Ordering::Relaxed);
        match (asked, told) {
            (_, Told::Saw(state)) => last = *state,
            (Asked::One(at, _), Told::One(told)) => note(&mut last, *at, *told),
            (Asked::Batch(writes), Told::Done(all)) => writes.iter().zip(all).for_each(|((at, _), told)| note(&mut last, *at, *told)),
            _ => {}
        }
    }
    seen
}

/// Looks at everything once.
pub async fn look(run: &Run, http: &Http) -> Seen {
    let mut seen = Seen::default();
    perform(run, http, Asked::Look, false, &mut seen).await;
    seen
}

fn note(last: &mut State, at: usize, told: object::Told) {
    match told {
        object::Told::Is(version, value) => last[at] = Some((version, value)),
        object::Told::IsNot => last[at] = None,
        object::Told::Exists | object::Told::OutOfDate => {}
    }
}

fn choose(run: &Run, random: &mut StdRng, last: &State) -> Asked {
    match random.random_range(0..10) {
        0..3 => Asked::Look,
        3..6 => {
            let at = random.random_range(0..OBJECTS);
            Asked::One(at, run.choose(random, last[at]))
        }
        _ => {
            let mut objects: Vec<usize> = (0..OBJECTS).collect();
            objects.shuffle(random);
            objects.truncate(random.random_range(2..=OBJECTS));
            Asked::Batch(objects.into_iter().map(|at| (at, write(run, random, last[at]))).collect())
        }
    }
}

/// A write of a batch: mostly one that is not refused, as one refusal is that of all.
fn write(run: &Run, random: &mut StdRng, last: object::State) -> object::Asked {
    let value = run.next_value.fetch_add(1, Ordering::Relaxed);
    let version = last.map_or(Condition::None, |(version, _)| Condition::Version(version));
    match random.random_range(0..20) {
        0 => object::Asked::Insert(value),
        1 => object::Asked::Delete(Condition::None),
        2 => object::Asked::Delete(version),
        3 => object::Asked::Save(value, Condition::Absent),
        4 | 5 => object::Asked::Save(value, version),
        6 => object::Asked::Add(value << 20, version),
        7..10 => object::Asked::Add(value << 20, Condition::None),
        _ => object::Asked::Save(value, Condition::None),
    }
}

async fn perform(run: &Run, http: &Http, asked: Asked, by_query: bool, seen: &mut Seen) {
    let called = run.now();
    let answer = match &asked {
        Asked::One(at, asked) => clients::send(http, *at, *asked, by_query).await,
        Asked::Look => {
            let request = http.request(Method::POST, &format!("/db/{BUCKET}/query"));
            http.try_send(request.header("content-type", "text/plain").body("{}")).await
        }
        Asked::Batch(writes) => {
            let body: Vec<_> = writes.iter().map(|(at, asked)| item(*at, *asked)).collect();
            let request = http.request(Method::POST, "/batch").header("content-type", "application/json");
            http.try_send(request.body(json!(body).to_string())).await
        }
    };
    let ended = run.now();
    let told = answer.as_ref().ok().map(|answer| read(&asked, answer));
    if let (Ok(answer), Some(told)) = (&answer, &told) {
        let made = made(&asked, told);
        if !made.is_empty() {
            seen.landed.insert(answer.position().unwrap(), made);
        }
    }
    seen.operations.push(Operation { asked, told, called, ended });
}

/// One write as the batch has it.
fn item(at: usize, asked: object::Asked) -> Value {
    let id = format!("/db/{BUCKET}/{at}");
    let (mut item, condition) = match asked {
        object::Asked::Load => panic!("a batch reads nothing"),
        object::Asked::Insert(value) => (json!({"operation": "insert", "object": {"value": value}}), Condition::None),
        object::Asked::Save(value, condition) => (json!({"operation": "put", "object": {"value": value}}), condition),
        object::Asked::Add(by, condition) => (json!({"operation": "partial", "object": {"$inc": {"value": by}}}), condition),
        object::Asked::Delete(condition) => (json!({"operation": "delete"}), condition),
    };
    item["id"] = json!(id);
    match condition {
        Condition::None => {}
        Condition::Any => item["ifMatch"] = json!("*"),
        Condition::Version(version) => item["ifMatch"] = json!(version),
        Condition::Absent => item["ifNoneMatch"] = json!("*"),
    }
    item
}

fn read(asked: &Asked, answer: &Answer) -> Told {
    let number = |object: &Value, name: &str| object[name].as_u64().unwrap_or_else(|| panic!("{name} in {answer:?}"));
    let is = |object: &Value| (number(object, "version"), number(object, "value"));
    match (asked, answer.status) {
        (Asked::One(_, asked), _) => Told::One(clients::read(*asked, answer)),
        (Asked::Look, 200) => Told::Saw(state_of(answer.json().as_array().unwrap())),
        (Asked::Batch(_), 200) => {
            let all = answer.json()["results"].as_array().unwrap().clone();
            let told = all.iter().map(|result| match (number(result, "status"), is) {
                (200 | 201, is) => {
                    let (version, value) = is(&result["object"]);
                    object::Told::Is(version, value)
                }
                (204, _) => object::Told::IsNot,
                _ => panic!("{answer:?}"),
            });
            Told::Done(told.collect())
        }
        (Asked::Batch(_), status) => {
            let why = match status {
                404 => object::Told::IsNot,
                409 => object::Told::Exists,
                412 => object::Told::OutOfDate,
                _ => panic!("{asked:?} was answered by {answer:?}"),
            };
            Told::Refused(usize::try_from(number(&answer.json()["data"], "place")).unwrap(), why)
        }
        _ => panic!("{asked:?} was answered by {answer:?}"),
    }
}

fn state_of<'o>(objects: impl IntoIterator<Item = &'o Value>) -> State {
    let mut state = State::default();
    for object in objects {
        let at: usize = object["id"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
        let twice = state[at].replace((object["version"].as_u64().unwrap(), object["value"].as_u64().unwrap()));
        assert!(twice.is_none(), "{object} is there twice");
    }
    state
}

/// What a write or a batch has made of each object that it put. Of what was deleted nobody says whether it was there.
fn made(asked: &Asked, told: &Told) -> Vec<(usize, object::State)> {
    let is =
        |at: usize, told: object::Told| if let object::Told::Is(version, value) = told { Some((at, Some((version, value)))) } else { None };
    match (asked, told) {
        (Asked::One(at, asked), Told::One(told)) if *asked != object::Asked::Load => is(*at, *told).into_iter().collect(),
        (Asked::Batch(writes), Told::Done(all)) => writes.iter().zip(all).filter_map(|((at, _), told)| is(*at, *told)).collect(),
        _ => Vec::new(),
    }
}

/// Every look of a history that saw what a batch has made, as if it had seen one object as it was before.
pub fn torn(history: &[Operation], order: &[usize]) -> Vec<Vec<Operation>> {
    let (mut state, mut last) = (State::default(), None);
    let mut all = Vec::new();
    for at in order {
        let operation = &history[*at];
        let (after, _) = operation.asked.step(&state);
        match &operation.asked {
            Asked::Batch(writes) if after != state => last = Some((state, after, writes.clone())),
            Asked::Look => {
                let Some((before, after, writes)) = &last else { continue };
                let is_left = |at: &usize| before[*at] != after[*at] && after[*at].is_some() && state[*at] == after[*at];
                let left: Vec<usize> = writes.iter().map(|(at, _)| *at).filter(is_left).collect();
                // One that was there before: that something is not there yet may also have been seen before all of the batch.
                let was_there = left.iter().copied().find(|at| before[*at].is_some());
                if let (Some(Told::Saw(saw)), [_, _, ..], Some(at_before)) = (&operation.told, &*left, was_there) {
                    let mut broken = history.to_vec();
                    let mut saw = *saw;
                    saw[at_before] = before[at_before];
                    broken[*at].told = Some(Told::Saw(saw));
                    all.push(broken);
                }
            }
            _ => {}
        }
        state = after;
    }
    all
}

/// Somebody who is told of all objects, over as many servers as there are.
#[derive(Default)]
pub struct Witness {
    result: LiveResult,
    position: Option<String>,
    now: Option<(Socket, Subscription)>,
    /// How each commit left everything
    after: BTreeMap<u64, State>,
}

impl Witness {
    pub async fn attach(&mut self, url: &str) {
        let socket = Socket::connect(url).await;
        let terms = Terms { position: self.position.clone(), ..Terms::extended() };
        let subscription = socket.subscribe(BUCKET, "{}", &terms);
        self.now = Some((socket, subscription));
    }

    /// Until it was told of everything up to a commit.
    pub async fn reached(&self, commit: u64) {
        self.now.as_ref().unwrap().1.reached(commit).await;
    }

    /// Takes in what was said when the connection is gone.
    pub async fn detach(&mut self, is_dead: bool) {
        let (socket, subscription) = self.now.take().unwrap();
        if is_dead {
            socket.closed().await;
        } else {
            socket.cut().await;
        }
        self.position = subscription.last_position().or(self.position.take());
        for told in subscription.told() {
            self.result.apply(&told).unwrap_or_else(|fault| panic!("{fault}"));
            if let socket::Told::Event { position, .. } | socket::Told::Result { position, .. } = told {
                self.after.insert(position, state_of(self.result.objects.values()));
            }
        }
    }

    /// Where a write or a batch ends, all that it has made is there; in how many of these it was looked.
    pub fn verify(&self, seen: &Seen) -> usize {
        let mut looks = 0;
        for (commit, made) in &seen.landed {
            let Some(state) = self.after.get(commit) else { continue };
            for (at, right) in made {
                assert_eq!(state[*at], *right, "object {at} at {commit}, which has made {made:?}");
            }
            looks += usize::from(made.len() > 1);
        }
        looks
    }
}

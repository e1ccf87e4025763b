//! Who may do what: rights of a class × access lists of an object × who asks × what is asked, thousands of cells against a
//! real server over HTTP and websockets. What must come of each is computed by an oracle of a few lines
//! (`rights_matrix/oracle.rs`); status, text, what is seen and what is there afterwards are compared.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "rights_matrix/oracle.rs"]
mod oracle;
mod support;
#[path = "rights_matrix/withdrawn.rs"]
mod withdrawn;
#[path = "rights_matrix/world.rs"]
mod world;

use futures_util::future::join_all;
use oracle::{Access, Answer, Class, Condition, LISTS, REQUESTS, Request, accesses, passes};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::http::Http;
use support::live::by_id;
use support::run;
use support::socket::{Socket, Subscription, Terms, Told};
use world::{BESIDE, World, ask, ask_in_batch};

/// An object as the oracle has it.
struct Object {
    key: String,
    access: Access,
    version: u64,
    note: String,
}

/// What one commit must be to whoever may read the object.
#[derive(Debug, PartialEq)]
struct Event {
    commit: u64,
    kind: &'static str,
    id: String,
    version: Option<u64>,
}

/// One class with an object for each access list.
struct Room<'w> {
    world: &'w World,
    turn: usize,
    bucket: String,
    class: Class,
    objects: Vec<Object>,
    cells: usize,
    /// Commits, with the index of the object
    commits: Vec<(usize, Event)>,
}

impl<'w> Room<'w> {
    async fn furnish(world: &'w World, turn: usize) -> Room<'w> {
        let (bucket, class) = (format!("Room{turn}"), Class::rotated(turn));
        world.declare(&bucket, &class).await;
        let mut room = Room { world, turn, bucket, class, objects: Vec::new(), cells: 0, commits: Vec::new() };
        for (at, access) in accesses().into_iter().enumerate() {
            room.objects.push(Object { key: format!("o{at}"), access, version: 0, note: String::new() });
            room.put_down(at).await;
        }
        room
    }

    fn id(&self, at: usize) -> String {
        format!("/db/{}/{}", self.bucket, self.objects[at].key)
    }

    /// The administrator inserts the object.
    async fn put_down(&mut self, at: usize) {
        let body = json!({"id": self.id(at), "acl": self.world.acl(&self.objects[at].access), "note": "as it was"});
        let answer = self.world.root.insert(&self.bucket, body.to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = self.id(at);
        let object = &mut self.objects[at];
        (object.version, object.note) = (1, "as it was".to_owned());
        self.commits.push((at, Event { commit: answer.position().unwrap(), kind: "add", id, version: Some(1) }));
    }

    /// Ids of what somebody may read.
    fn readable(&self, known_by: &[&str]) -> Vec<String> {
        let seen = (0..self.objects.len()).filter(|at| passes(self.objects[*at].access.read, known_by));
        let mut ids: Vec<_> = seen.map(|at| self.id(at)).collect();
        ids.sort();
        ids
    }

    /// One of them asks everything of every object.
    async fn visit(&mut self, name: &str, known_by: &[&str], http: &Http) {
        // Who comes to the same by another way sees an object of each list of each kind, and each pair of lists in one of the rooms.
        let is_like_anonymous = known_by.is_empty() && name != "anonymous";
        let lists = LISTS.len();
        let turn = self.turn;
        for at in (0..self.objects.len()).filter(|at| !is_like_anonymous || at % lists == (at / lists + turn) % lists) {
            for request in REQUESTS {
                self.cell(at, request, name, known_by, http, false).await;
                // In a batch each write is judged as by itself: some of the objects show that it is the same code.
                if at % 5 == known_by.len() {
                    self.cell(at, request, name, known_by, http, true).await;
                }
            }
        }
    }

    async fn cell(&mut self, at: usize, request: Request, name: &str, known_by: &[&str], http: &Http, in_batch: bool) {
        let object = &self.objects[at];
        let expected = oracle::answer(request, &self.class, &object.access, known_by);
        let note = format!("{request:?} of {} by {name}{}", object.key, if in_batch { " in a batch" } else { "" });
        let answer = if in_batch {
            let Some(answer) = ask_in_batch(http, request, &self.bucket, &object.key, object.version, &note).await else { return };
            let beside = self.world.root.load(BESIDE, &self.bucket).await;
            let written = beside.status == 200 && beside.json()["note"] == note;
            assert_eq!(written, answer.status < 300, "a batch happens as a whole or not at all: {answer:?} {beside:?}");
            answer
        } else {
            ask(http, request, &self.bucket, &object.key, object.version, &note).await
        };
        self.cells += 1;
        let case = format!("{request:?} by {name} of {:?} in {:?}: {answer:?}", object.access, self.class);
        let id = self.id(at);
        let object = &mut self.objects[at];
        match &expected {
            Answer::ClassDenied(missing) => {
                let said = answer.json();
                let message = said["message"].as_str().unwrap();
                let named = missing.iter().any(|right| message.contains(&format!("{right} permissions are required")));
                assert!(answer.status == 466 && said["reason"] == "permission-denied" && named, "{missing:?}: {case}");
            }
            Answer::Refused(status) => {
                assert_eq!(answer.status, *status, "{case}");
                let said = String::from_utf8_lossy(&answer.body);
                assert!(!said.contains(&object.note), "a refusal tells what is there: {case}");
                let of_class = ["load", "insert", "update", "delete"].map(|right| format!("{right} permissions are required"));
                assert!(!of_class.iter().any(|text| said.contains(text)), "the class lets him: {case}");
            }
            Answer::Seen => {
                assert_eq!(answer.status, 200, "{case}");
                let seen = answer.json();
                assert_eq!(
                    (&seen["id"], &seen["version"], &seen["note"]),
                    (&json!(id), &json!(object.version), &json!(object.note)),
                    "{case}"
                );
            }
            Answer::Written => {
                assert_eq!(answer.status, 200, "{case}");
                (object.version, object.note) = (object.version + 1, note);
                let kept = answer.json();
                assert_eq!((&kept["version"], &kept["note"]), (&json!(object.version), &json!(object.note)), "{case}");
                let event = Event { commit: answer.position().unwrap(), kind: "change", id, version: Some(object.version) };
                self.commits.push((at, event));
            }
            Answer::Gone => {
                assert_eq!(answer.status, 204, "{case}");
                self.commits.push((at, Event { commit: answer.position().unwrap(), kind: "remove", id, version: None }));
                self.put_down(at).await;
            }
            Answer::Nothing => assert_eq!(answer.status, 204, "{case}"),
        }
    }

    /// Inserts of what is not there: by a chosen id, by one that the server gives, and by `PUT`.
    async fn newcomers(&mut self, name: &str, known_by: &[&str], http: &Http) {
        let (insert, update) = (passes(self.class.insert, known_by), passes(self.class.update, known_by));
        let key = format!("by-{name}");
        let body = json!({"id": format!("/db/{}/{key}", self.bucket)}).to_string();
        let put = async |condition| ask(http, Request::Save(condition), &self.bucket, &key, 0, "new").await;
        let mut cells = 0;
        for (what, status) in [
            ("POST", if insert { 201 } else { 466 }),
            ("POST without id", if insert { 201 } else { 466 }),
            ("PUT", if insert && update { 200 } else { 466 }),
            ("PUT if none is there", if insert { 200 } else { 466 }),
            ("PUT if one is there", if update { 412 } else { 466 }),
        ] {
            let answer = match what {
                "POST" => http.insert(&self.bucket, body.as_str()).await,
                "POST without id" => http.insert(&self.bucket, "{}").await,
                "PUT" => put(Condition::None).await,
                "PUT if none is there" => put(Condition::Absent).await,
                _ => put(Condition::Any).await,
            };
            assert_eq!(answer.status, status, "{what} by {name} in {:?}: {answer:?}", self.class);
            if status < 300 {
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                let gone = self.world.root.delete(&self.bucket, id.rsplit('/').next().unwrap(), Some("*")).await;
                assert_eq!(gone.status, 204, "{gone:?}");
            }
            cells += 1;
        }
        self.cells += cells;
    }

    /// What queries and counts show: all that he may read, where the class lets him. Whole buckets are the administrator's.
    async fn look(&mut self, name: &str, known_by: &[&str], http: &Http) {
        let case = format!("{name} in {:?}", self.class);
        let may = passes(self.class.query, known_by);
        let readable = self.readable(known_by);
        let path = format!("/db/{}", self.bucket);
        for method in [Method::GET, Method::PUT, Method::DELETE].into_iter().filter(|_| name != "root") {
            self.cells += self.objects.len();
            let answer = http.send(http.request(method.clone(), &path)).await;
            assert_eq!(answer.status, 466, "{method} of the whole bucket by {case}: {answer:?}");
        }
        let long = format!(r#"{{"note":{{"$nin":["{}"]}}}}"#, "x".repeat(3000));
        for query in ["{}", long.as_str()] {
            self.cells += 2 * self.objects.len();
            let (found, counted) = (http.query(&self.bucket, query).await, http.count(&self.bucket, query).await);
            if may {
                assert_eq!((found.status, counted.status), (200, 200), "{case}: {found:?} {counted:?}");
                let ids: Vec<_> = by_id(found.json().as_array().unwrap()).unwrap().into_keys().collect();
                assert_eq!((ids, counted.json()["count"].as_u64()), (readable.clone(), Some(readable.len() as u64)), "{case}");
            } else {
                for refused in [found, counted] {
                    assert_eq!(refused.status, 466, "{case}");
                    assert!(refused.json()["message"].as_str().unwrap().contains("query permissions are required"), "{case}: {refused:?}");
                }
            }
        }
    }

    /// Everything is as the oracle has it: whatever was refused did nothing.
    async fn inspect(&self) {
        let there = by_id(self.world.root.query(&self.bucket, "{}").await.json().as_array().unwrap()).unwrap();
        assert_eq!(there.len(), self.objects.len());
        for (at, object) in self.objects.iter().enumerate() {
            let found = &there[&self.id(at)];
            assert_eq!((&found["version"], &found["note"]), (&json!(object.version), &json!(object.note)), "{found}");
            let (acl, as_made) = (without_empty(&found["acl"]), self.world.acl(&object.access));
            assert_eq!(acl, without_empty(&as_made), "nobody changed who may what: {found}");
        }
    }
}

/// A list without rules is the same as none.
fn without_empty(acl: &Value) -> Value {
    if acl["read"] == json!({}) && acl["write"] == json!({}) { Value::Null } else { acl.clone() }
}

/// A subscription to everything, and how it began: refused, or with the result.
async fn subscribe(room: &Room<'_>, known_by: &[&str], http: &Http, socket: &Socket) -> Option<Subscription> {
    let terms = Terms { extensions: true, ..Terms::of(http.token()) };
    let subscription = socket.subscribe(&room.bucket, "{}", &terms);
    let told = subscription.answered().await;
    let may = room.class.subscribes(known_by);
    match &told[0] {
        Told::Result { data, .. } if may => {
            assert_eq!(by_id(data).unwrap().into_keys().collect::<Vec<_>>(), room.readable(known_by));
            Some(subscription)
        }
        Told::Error { status, message, .. } => {
            assert!(*status == 466 && message.contains("query permissions are required") && !may, "{told:?}");
            None
        }
        other => panic!("{other:?} to who may: {may}"),
    }
}

fn events(told: &[Told], known: &BTreeMap<u64, &Event>) -> Vec<Event> {
    let event = |told: &Told| match told {
        Told::Event { position, match_type, data, .. } if known.contains_key(position) => Some(Event {
            commit: *position,
            kind: ["add", "change", "remove"].into_iter().find(|kind| kind == match_type).unwrap(),
            id: data["id"].as_str().unwrap().to_owned(),
            version: data["version"].as_u64(),
        }),
        Told::Event { data, .. } => {
            // A newcomer's, who is open to everybody and never stays.
            assert!(!data["id"].as_str().unwrap().contains("/o"), "nothing happened of which {told:?} could tell");
            None
        }
        _ => None,
    };
    told.iter().filter_map(event).collect()
}

async fn room(world: &World, turn: usize) -> usize {
    let mut room = Room::furnish(world, turn).await;
    let socket = Socket::connect(&world.server.url()).await;
    let mut listeners = Vec::new();
    for (name, known_by, http) in world.callers() {
        room.cells += room.objects.len();
        if let Some(subscription) = subscribe(&room, known_by, &http, &socket).await {
            listeners.push((name, known_by, subscription));
        }
    }
    room.commits.clear();
    for (name, known_by, http) in world.callers() {
        room.look(name, known_by, &http).await;
        room.newcomers(name, known_by, &http).await;
        room.visit(name, known_by, &http).await;
        room.inspect().await;
        let Some((_, last)) = room.commits.last() else { continue };
        for (_, _, subscription) in &listeners {
            subscription.reached(last.commit).await;
        }
    }
    let known: BTreeMap<u64, &Event> = room.commits.iter().map(|(_, event)| (event.commit, event)).collect();
    for (name, known_by, subscription) in &listeners {
        let told = events(&subscription.told(), &known);
        let may_see = |at: usize| passes(room.objects[at].access.read, known_by);
        let expected: Vec<_> = room.commits.iter().filter(|(at, _)| may_see(*at)).map(|(_, event)| event).collect();
        assert_eq!(told.iter().collect::<Vec<_>>(), expected, "what {name} is told in {:?}", room.class);
    }
    room.cells
}

#[test]
fn every_right_of_class_and_object_for_everybody_and_every_request() {
    run(async {
        let world = World::start().await;
        let cells: usize = join_all((0..LISTS.len()).map(|turn| room(&world, turn))).await.into_iter().sum();
        println!("{cells} cells");
        assert!(cells > 20_000, "only {cells} cells were looked at");
    });
}

/// Every access list becomes every other, while everybody listens: who gains, keeps or loses the object.
#[test]
fn a_change_of_who_may_read_is_told_to_each_as_what_it_is_to_him() {
    run(async {
        let world = World::start().await;
        let socket = Socket::connect(&world.server.url()).await;
        let body = |list| json!({"acl": {"read": world.rules(list), "write": {}}, "note": "n"}).to_string();
        assert_eq!(world.root.put("Moved", "o", body(LISTS[0]), None).await.status, 200);
        let mut listeners = Vec::new();
        for (name, known_by, http) in world.callers() {
            let subscription = socket.subscribe("Moved", "{}", &Terms { extensions: true, ..Terms::of(http.token()) });
            subscription.answered().await;
            listeners.push((name, known_by, subscription));
        }
        let (mut steps, mut before) = (Vec::new(), LISTS[0]);
        for from in LISTS {
            for to in LISTS {
                for list in [from, to] {
                    let answer = world.root.put("Moved", "o", body(list), None).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    steps.push((answer.position().unwrap(), before, list));
                    before = list;
                }
            }
        }
        for (name, known_by, subscription) in &listeners {
            let told = subscription.reached(steps.last().unwrap().0).await;
            let told: Vec<_> = told
                .iter()
                .filter_map(|told| match told {
                    Told::Event { position, match_type, data, .. } => Some((*position, match_type.as_str(), data["note"].is_string())),
                    _ => None,
                })
                .collect();
            let expected: Vec<_> = steps
                .iter()
                .filter_map(|(commit, before, after)| match (passes(before, known_by), passes(after, known_by)) {
                    (false, true) => Some((*commit, "add", true)),
                    (true, true) => Some((*commit, "change", true)),
                    // He learns that it is gone, and nothing of what it is now.
                    (true, false) => Some((*commit, "remove", false)),
                    (false, false) => None,
                })
                .collect();
            assert_eq!(told, expected, "{name}");
        }
    });
}

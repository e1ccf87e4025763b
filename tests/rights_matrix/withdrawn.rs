//! A right that was taken away is gone for the next request, and one that was given is there, with the same token.

use super::oracle::{Access, Class, Condition, LISTS, List, Request};
use super::support::http::Http;
use super::support::run;
use super::support::socket::{Socket, Terms, Told};
use super::world::{World, ask};
use serde_json::json;

const PUBLIC: List = LISTS[0];
const OF_THE_ROLE: List = LISTS[2];
const BUCKET: &str = "Withdrawn";

fn class(all: List) -> Class {
    Class { load: all, query: all, insert: all, update: all, delete: all }
}

/// Subscribe, query, count, insert, load, save, update in part, delete: each by its status.
async fn everything(world: &World, http: &Http) -> Vec<u16> {
    let socket = Socket::connect(&world.server.url()).await;
    let subscription = socket.subscribe(BUCKET, "{}", &Terms::of(http.token()));
    let subscribed = match &subscription.answered().await[0] {
        Told::Error { status, .. } => *status as u16,
        Told::Result { data, .. } if data.is_empty() => 404,
        _ => 200,
    };
    let found = http.query(BUCKET, r#"{"note":{"$exists":true}}"#).await;
    let found = if found.status == 200 && found.json().as_array().unwrap().is_empty() { 404 } else { found.status };
    let counted = http.count(BUCKET, r#"{"note":{"$exists":true}}"#).await;
    let counted = if counted.status == 200 && counted.json()["count"] == 0 { 404 } else { counted.status };
    let inserted = http.insert(BUCKET, "{}").await;
    let mut all = vec![subscribed, found, counted, inserted.status];
    for request in [Request::Load, Request::Save(Condition::Any), Request::Change(Condition::None), Request::Delete(Condition::Any)] {
        all.push(ask(http, request, BUCKET, "o", 1, "another").await.status);
    }
    if inserted.status == 201 {
        let id = inserted.json()["id"].as_str().unwrap().to_owned();
        world.root.delete(BUCKET, id.rsplit('/').next().unwrap(), None).await;
    }
    all
}

async fn put(world: &World, access: Access) {
    let body = json!({"acl": world.acl(&access), "note": "n"});
    let answer = world.root.put(BUCKET, "o", body.to_string(), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

const ALLOWED: [u16; 8] = [200, 200, 200, 201, 200, 200, 200, 204];
const CLASS_DENIED: [u16; 8] = [466; 8];
/// Nothing is there for him; what he inserts himself is his.
const INVISIBLE: [u16; 8] = [404, 404, 404, 201, 404, 412, 404, 412];

#[test]
fn what_a_class_gives_and_takes() {
    run(async {
        let world = World::start().await;
        let member = world.caller("member");
        for (list, expected) in [(PUBLIC, ALLOWED), (LISTS[1], CLASS_DENIED), (OF_THE_ROLE, ALLOWED), (LISTS[4], ALLOWED)] {
            world.declare(BUCKET, &class(list)).await;
            put(&world, Access { read: PUBLIC, write: PUBLIC }).await;
            assert_eq!(everything(&world, &member).await, expected, "{list:?}");
        }
    });
}

#[test]
fn what_a_role_gives_and_takes_by_its_members() {
    run(async {
        let world = World::start().await;
        let (member, impostor) = (world.caller("member"), world.caller("impostor"));
        for (of_class, of_object, without) in [(OF_THE_ROLE, PUBLIC, CLASS_DENIED), (PUBLIC, OF_THE_ROLE, INVISIBLE)] {
            world.declare(BUCKET, &class(of_class)).await;
            let access = Access { read: of_object, write: of_object };
            for (users, of_member, of_impostor) in [
                (&["member"][..], ALLOWED, without),
                (&[], without, without),
                (&["member", "impostor"], ALLOWED, ALLOWED),
                (&["impostor"], without, ALLOWED),
            ] {
                world.enroll(users).await;
                for (http, expected) in [(&member, of_member), (&impostor, of_impostor)] {
                    put(&world, access).await;
                    assert_eq!(everything(&world, http).await, expected, "members {users:?}, class {of_class:?}, object {of_object:?}");
                }
            }
        }
        // With the role itself, whatever it gave is gone.
        world.enroll(&["member"]).await;
        world.declare(BUCKET, &class(OF_THE_ROLE)).await;
        put(&world, Access { read: PUBLIC, write: PUBLIC }).await;
        assert_eq!(member.load(BUCKET, "o").await.status, 200);
        assert_eq!(world.root.delete("Role", world.role.rsplit('/').next().unwrap(), Some("*")).await.status, 204);
        assert_eq!(everything(&world, &member).await, CLASS_DENIED);
    });
}

/// Whether they name him himself or his role: who is deactivated has what everybody has, and gets it back with the same token; who is
/// deleted does not, nor does the next one who takes his name.
#[test]
fn what_a_user_has_who_is_deactivated_and_deleted() {
    run(async {
        let world = World::start().await;
        let user = world.caller("user");
        let set = async |inactive: bool| {
            let answer = world.root.post(world.id("user"), json!({"$set": {"inactive": inactive}}).to_string()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        };
        world.enroll(&["user"]).await;
        let lists = [
            (LISTS[1], PUBLIC, CLASS_DENIED),
            (OF_THE_ROLE, PUBLIC, CLASS_DENIED),
            (PUBLIC, LISTS[1], INVISIBLE),
            (PUBLIC, OF_THE_ROLE, INVISIBLE),
        ];
        for (of_class, of_object, without) in lists {
            world.declare(BUCKET, &class(of_class)).await;
            for (inactive, expected) in [(false, ALLOWED), (true, without), (false, ALLOWED)] {
                set(inactive).await;
                put(&world, Access { read: of_object, write: of_object }).await;
                assert_eq!(everything(&world, &user).await, expected, "inactive {inactive}, class {of_class:?}, object {of_object:?}");
            }
        }
        assert_eq!(world.root.delete("User", world.id("user").rsplit('/').next().unwrap(), Some("*")).await.status, 204);
        let again = json!({"user": {"username": "user"}, "password": "secret", "login": true}).to_string();
        let again = Http::new(world.root.base()).post("/db/User/register", again).await;
        let again = world.root.with_token(Some(again.renewed_token().unwrap()));
        for (of_class, of_object, without) in lists {
            world.declare(BUCKET, &class(of_class)).await;
            for http in [&user, &again] {
                put(&world, Access { read: of_object, write: of_object }).await;
                assert_eq!(everything(&world, http).await, without, "gone, class {of_class:?}, object {of_object:?}");
            }
        }
    });
}

/// Whatever the order in which a removal from a role and a member's write arrive together: judged by one of the two states.
#[test]
fn a_member_who_is_removed_writes_before_or_not_at_all() {
    run(async {
        let world = World::start().await;
        let member = world.caller("member");
        let access = Access { read: PUBLIC, write: OF_THE_ROLE };
        let (mut before, mut after) = (0, 0);
        for round in 0..30 {
            world.enroll(&["member"]).await;
            put(&world, access).await;
            let role = world.role.rsplit('/').next().unwrap();
            let removal = json!({"name": "matrix", "users": []}).to_string();
            let note = format!("round {round}");
            let write = ask(&member, Request::Save(Condition::Any), BUCKET, "o", 0, &note);
            let (removed, written) = tokio::join!(world.root.put("Role", role, removal, Some("*")), write);
            assert_eq!(removed.status, 200, "{removed:?}");
            match written.status {
                200 => {
                    before += 1;
                    assert!(written.position() < removed.position(), "written by who was no member any more: {written:?} {removed:?}");
                }
                466 => after += 1,
                _ => panic!("{written:?}"),
            }
            assert_eq!(ask(&member, Request::Save(Condition::Any), BUCKET, "o", 0, "too late").await.status, 466);
        }
        println!("{before} writes came before the removal, {after} after it");
    });
}

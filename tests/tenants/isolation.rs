//! Whatever is one app's is nobody's in another: tokens, signatures, tickets, positions, ids, names.
//!
//! Both apps have the same classes, ids and user names, so that only who asks where can make a difference.

use super::harness::{Rig, password_of};
use super::support::http::{Answer, Http};
use super::support::socket::{Socket, Terms, Told};
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

/// A class that only administrators may touch, and one with an object that is root's alone.
const CLASSES: &str = r#"[{"class":"/db/Vault","superClass":"/db/Object","acl":{"load":{"/db/Role/1":"allow"},"query":{"/db/Role/1":"allow"},
    "insert":{"/db/Role/1":"allow"},"update":{"/db/Role/1":"allow"},"delete":{"/db/Role/1":"allow"}},"fields":{"secret":{"name":"secret","type":"/db/String","order":0}}},
    {"class":"/db/Note","superClass":"/db/Object","fields":{"secret":{"name":"secret","type":"/db/String","order":0}}}]"#;

async fn furnish(root: &Http, word: &str) {
    assert_eq!(root.post("/schema", CLASSES).await.status, 200);
    let vault = format!(r#"{{"id":"/db/Vault/1","secret":"the secret of {word}"}}"#);
    assert_eq!(root.insert("Vault", vault).await.status, 201);
    let acl = r#"{"read":{"/db/User/1":"allow"},"write":{"/db/User/1":"allow"}}"#;
    let note = format!(r#"{{"id":"/db/Note/1","secret":"the secret of {word}","acl":{acl}}}"#);
    assert_eq!(root.insert("Note", note).await.status, 201);
}

/// Every route, with what an administrator of the app may do there and nobody else may; some change things, so the order counts.
fn routes() -> Vec<(Method, &'static str, Option<&'static str>)> {
    vec![
        (Method::GET, "/db/User/me", None),
        (Method::GET, "/db/Vault/1", None),
        (Method::GET, "/db/Note/1", None),
        (Method::GET, "/db/Vault/query", None),
        (Method::POST, "/db/Vault/query", Some("{}")),
        (Method::GET, "/db/Vault/count", None),
        (Method::POST, "/db/Vault/count", Some("{}")),
        (Method::GET, "/db/Note/query", None),
        (Method::GET, "/db/Note/count", None),
        (Method::POST, "/db/Vault", Some(r#"{"secret":"planted"}"#)),
        (Method::PUT, "/db/Vault/1", Some(r#"{"id":"/db/Vault/1","secret":"planted"}"#)),
        (
            Method::PUT,
            "/db/Note/1",
            Some(r#"{"id":"/db/Note/1","secret":"planted","acl":{"read":{"/db/User/1":"allow"},"write":{"/db/User/1":"allow"}}}"#),
        ),
        (
            Method::POST,
            "/schema/Vault",
            Some(r#"{"class":"/db/Vault","fields":{"planted":{"name":"planted","type":"/db/String","order":9}}}"#),
        ),
        (Method::POST, "/schema", Some(r#"[{"class":"/db/Planted","superClass":"/db/Object","fields":{}}]"#)),
        (Method::POST, "/db/Vault/1", Some(r#"{"$set":{"secret":"planted"}}"#)),
        (Method::POST, "/db/Note/1", Some(r#"{"$set":{"secret":"planted"}}"#)),
        (Method::POST, "/batch", Some(r#"[{"operation":"put","id":"/db/Vault/1","object":{"id":"/db/Vault/1","secret":"planted"}}]"#)),
        (Method::GET, "/db/Vault", None),
        (Method::GET, "/db/Note", None),
        (Method::PUT, "/db/Vault", Some(r#"[{"id":"/db/Vault/7","secret":"planted"}]"#)),
        (Method::POST, "/events/ticket", None),
        (Method::DELETE, "/db/Note/1", None),
        (Method::DELETE, "/db/Vault/1", None),
        (Method::DELETE, "/db/Note", None),
    ]
}

async fn ask(http: &Http, (method, path, body): &(Method, &'static str, Option<&'static str>)) -> Answer {
    let request = http.request(method.clone(), path);
    let request = match body {
        Some(body) => request.header("content-type", "application/json;charset=utf-8").body(*body),
        None => request,
    };
    http.send(request).await
}

/// What can be compared: no time and no position stands in it.
fn seen(answer: &Answer) -> (u16, String) {
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

#[tokio::test]
async fn a_token_of_one_app_is_nobodys_at_every_route_of_another() {
    let rig = Rig::start().await;
    let (one, two) = (rig.create("one", json!({})).await, rig.create("two", json!({})).await);
    furnish(&one, "one").await;
    furnish(&two, "two").await;
    let foreign = rig.app("two").with_token(one.token().map(str::to_owned));
    // The default app's root administrates the server, and has no rights in the data of others.
    let server = rig.app("two").with_token(rig.root_of("app").await.token().map(str::to_owned));
    let own = two.token().unwrap();
    let mut altered = own.to_owned();
    altered.replace_range(own.len() - 1.., if own.ends_with('0') { "1" } else { "0" });
    let altered = rig.app("two").with_token(Some(altered));
    let anonymous = rig.app("two");
    for route in &routes() {
        let nobody = seen(&ask(&anonymous, route).await);
        for (who, http) in [("root of the other app", &foreign), ("root of the default app", &server), ("an altered token", &altered)] {
            let answer = ask(http, route).await;
            assert_eq!(seen(&answer), nobody, "{who} at {route:?}");
            assert!(answer.renewed_token().is_none(), "{who} at {route:?}");
            assert!(!nobody.1.contains("the secret of"), "{route:?}: {nobody:?}");
        }
    }
    // And connect says to all of them what it says to nobody.
    for http in [&foreign, &server, &altered] {
        let welcome = http.get("/connect").await.json();
        assert_eq!((welcome.get("token"), welcome.get("user")), (None, None));
    }
    assert_eq!(two.load("Vault", "1").await.json()["secret"], "the secret of two", "nobody has changed it");
    assert_eq!(two.load("Note", "1").await.json()["secret"], "the secret of two", "nobody has changed or deleted it");
    // All of it can be done by who may: the routes are the right ones.
    for route in &routes() {
        let nobody = seen(&ask(&anonymous, route).await);
        let answer = ask(&two, route).await;
        assert!(answer.status < 300, "{route:?}: {answer:?}");
        // Classes that do not say otherwise may be added to by anybody, and whoever deletes what he may not see is told nothing.
        if route.1.starts_with("/schema") || (&route.0, route.1) == (&Method::DELETE, "/db/Note/1") {
            continue;
        }
        assert_ne!(seen(&answer), nobody, "{route:?} tells the same to everybody, so the test above could not fail");
    }
    assert_eq!(one.load("Vault", "1").await.json()["secret"], "the secret of one");
}

fn sign_path(token: &str, path: &str) -> String {
    use hmac::{Hmac, Mac};
    let (data, signature) = token.split_at(token.len() - 40);
    let mac = Hmac::<sha1::Sha1>::new_from_slice(signature.as_bytes()).unwrap().chain_update(path).chain_update(data);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{data}{hex}")
}

#[tokio::test]
async fn a_signed_url_opens_its_own_app_alone() {
    let rig = Rig::start().await;
    let (one, two) = (rig.create("one", json!({})).await, rig.create("two", json!({})).await);
    let user =
        async |word: &str, signature: String| rig.app(word).get(&format!("/connect?BAT={signature}")).await.json().get("user").cloned();
    assert!(user("one", sign_path(one.token().unwrap(), "/one/connect")).await.is_some());
    for path in ["/one/connect", "/two/connect", "/v1/connect", "/connect"] {
        assert_eq!(user("two", sign_path(one.token().unwrap(), path)).await, None, "{path}");
    }
    assert_eq!(user("one", sign_path(two.token().unwrap(), "/one/connect")).await, None);
    assert_eq!(user("two", sign_path(two.token().unwrap(), "/one/connect")).await, None, "the path is another");
}

#[tokio::test]
async fn subscriptions_know_tokens_objects_and_positions_of_their_app_alone() {
    let rig = Rig::start().await;
    let (one, two) = (rig.create("one", json!({})).await, rig.create("two", json!({})).await);
    furnish(&one, "one").await;
    furnish(&two, "two").await;
    let (socket_one, socket_two) = (Socket::connect(one.base()).await, Socket::connect(two.base()).await);
    // A token of the other app is nobody's here.
    let told = socket_two.subscribe("Vault", "{}", &Terms::of(one.token())).answered().await;
    assert!(matches!(&told[..], [Told::Error { status: 466, .. }]), "{told:?}");
    let told = socket_two.subscribe("Note", "{}", &Terms::of(one.token())).answered().await;
    assert!(matches!(&told[..], [Told::Result { data, .. }] if data.is_empty()), "{told:?}");

    // The same query, class and ids in both: each hears of its own.
    let terms = |http: &Http| Terms { token: http.token().map(str::to_owned), ..Terms::extended() };
    let (here, there) = (socket_one.subscribe("Vault", "{}", &terms(&one)), socket_two.subscribe("Vault", "{}", &terms(&two)));
    for (subscription, word) in [(&here, "one"), (&there, "two")] {
        let told = subscription.answered().await;
        let [Told::Result { data, .. }] = &told[..] else { panic!("{told:?}") };
        assert_eq!(data.iter().map(|object| &object["secret"]).collect::<Vec<_>>(), [&json!(format!("the secret of {word}"))]);
    }
    let before = here.last_position().unwrap();
    one.put("Vault", "1", r#"{"id":"/db/Vault/1","secret":"changed in one"}"#, None).await;
    two.insert("Vault", r#"{"id":"/db/Vault/2","secret":"added in two"}"#).await;
    let last = one.insert("Vault", r#"{"id":"/db/Vault/3","secret":"added in one"}"#).await.json();
    assert_eq!(last["id"], "/db/Vault/3");
    here.wait("its two events", |told| told.iter().filter(|told| matches!(told, Told::Event { .. })).count() == 2).await;
    there.wait("its event", |told| told.iter().any(|told| matches!(told, Told::Event { .. }))).await;
    assert!(here.frames().iter().all(|frame| !frame.contains("two")), "{:?}", here.frames());
    assert!(there.frames().iter().all(|frame| !frame.contains("in one")), "{:?}", there.frames());

    // A position is one of the server's log; what came since is judged by app all the same.
    let resumed = socket_two.subscribe("Vault", "{}", &Terms { position: Some(before), ..terms(&two) });
    resumed.wait("what was missed", |told| told.iter().any(|told| matches!(told, Told::Event { .. }))).await;
    assert!(resumed.frames().iter().all(|frame| !frame.contains("in one")), "{:?}", resumed.frames());
}

#[tokio::test]
async fn a_ticket_opens_an_event_stream_of_its_own_app_alone() {
    let rig = Rig::start().await;
    let (one, two) = (rig.create("one", json!({})).await, rig.create("two", json!({})).await);
    furnish(&one, "one").await;
    furnish(&two, "two").await;
    let ticket =
        async |http: &Http| http.send(http.request(Method::POST, "/events/ticket")).await.json()["ticket"].as_str().unwrap().to_owned();
    let open = async |word: &str, ticket: &str| {
        let http = rig.app(word);
        let request =
            http.request(Method::GET, &format!("/events?bucket=Vault&query=%7B%7D&ticket={ticket}")).header("accept", "text/event-stream");
        request.send().await.unwrap()
    };
    let refused = open("two", &ticket(&one).await).await;
    let (status, body): (u16, Value) = (refused.status().as_u16(), refused.json().await.unwrap());
    assert_eq!((status, &body["reason"]), (466, &json!("ticket-invalid")));
    // In its own it opens one.
    let opened = open("one", &ticket(&one).await).await;
    assert_eq!(opened.status().as_u16(), 200);
    let mut text = String::new();
    let mut bytes = opened.bytes_stream();
    while !text.contains("the secret of") {
        text.push_str(std::str::from_utf8(&bytes.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(text.contains("the secret of one"), "{text}");
}

#[tokio::test]
async fn the_same_user_name_has_another_password_in_each_app() {
    let rig = Rig::start().await;
    rig.create("one", json!({})).await;
    rig.create("two", json!({})).await;
    for (word, password, status) in [("one", "one", 200), ("one", "two", 460), ("two", "one", 460), ("v1", "one", 460), ("one", "v1", 460)]
    {
        let login = json!({"username": "root", "password": password_of(password)}).to_string();
        assert_eq!(rig.app(word).post("/db/User/login", login).await.status, status, "{word} with the password of {password}");
    }
}

/// A topic fills a bucket of one app: in others the name is theirs, and nobody is told of the topic.
#[tokio::test]
async fn a_bucket_that_a_topic_fills_is_one_apps() {
    let rig = Rig::with(|config| {
        // Nobody is there: that brokers cannot be reached is no reason not to start.
        config.kafka.brokers = "127.0.0.1:1".into();
        config.ingest = vec![toml::from_str("topic = \"secret.orders\"\nbucket = \"Order\"\nformat = \"json\"").unwrap()];
    })
    .await;
    let shop = rig.create("shop", json!({})).await;
    let import = async |http: &Http| http.send(http.request(Method::PUT, "/db/Order").body(r#"{"id":"/db/Order/9"}"#)).await;
    let batch = r#"[{"operation":"insert","bucket":"Order","object":{}}]"#;
    for answer in [
        shop.insert("Order", r#"{"id":"/db/Order/1"}"#).await,
        shop.put("Order", "1", r#"{"n":1}"#, None).await,
        shop.post("/db/Order/1", r#"{"$set":{"n":2}}"#).await,
        shop.post("/batch", batch).await,
        import(&shop).await,
        shop.delete("Order", "1", None).await,
        shop.send(shop.request(Method::DELETE, "/db/Order")).await,
    ] {
        assert!(answer.status < 300 && !String::from_utf8_lossy(&answer.body).contains("secret.orders"), "{answer:?}");
    }
    let root = rig.app("v1").login("root", &password_of("v1")).await;
    for answer in [
        root.insert("Order", "{}").await,
        root.put("Order", "1", "{}", None).await,
        root.post("/db/Order/1", "{}").await,
        import(&root).await,
        root.delete("Order", "1", None).await,
    ] {
        assert_eq!((answer.status, super::harness::code(&answer)), (466, "bucket-ingested".into()));
    }
    // By its own name, too.
    assert_eq!(rig.app("app").insert("Order", "{}").await.status, 466);
}

//! A server of real parts on real sockets: embedded store, engine, gateway; and a client that speaks the wire.

use dataflows::access::{Caller, LOGGED_IN_ROLE};
use dataflows::change::Writer;
use dataflows::engine::{Engine, EngineOptions};
use dataflows::index::IndexOptions;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tempfile::TempDir;
use tidegate::apps::limits::Limits;
use tidegate::apps::quota::Turn;
use tidegate::apps::{App, Apps};
use tidegate::auth::{Authenticate, Session};
use tidegate::changelog::ChangeLog;
use tidegate::config::{Config, Durability, LiveOptions};
use tidegate::live::{Gateway, LiveStatistics};
use tidegate::rights::Rights;
use tidegate::schema::{self, Request};
use tidegate::store::embedded::Embedded;
use tidegate::store::{Actor, Committed, Decision, Key, Store, Write};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Everything that takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Server {
    pub(crate) store: Arc<Embedded>,
    pub(crate) changelog: Arc<dyn ChangeLog>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) address: SocketAddr,
    /// The default one
    pub(crate) app: Arc<App>,
    pub(crate) names: Arc<Names>,
    _directory: TempDir,
}

/// A token is the name of a user, who has the roles that list him.
pub(crate) struct Names {
    rights: Arc<Rights>,
    /// How many tokens were shown
    pub(crate) shown: AtomicUsize,
}

impl Authenticate for Names {
    fn session(&self, app: &str, token: &str) -> Option<Session> {
        let session = self.again(app, &session_of(token.strip_prefix("token-")?));
        self.shown.fetch_add(1, SeqCst);
        session
    }

    fn again(&self, app: &str, session: &Session) -> Option<Session> {
        let now = session.user.as_ref().map(|user| Arc::new(self.rights.caller(app, user)));
        Some(Session { caller: now.unwrap_or_else(|| session.caller.clone()), ..session.clone() })
    }
}

pub(crate) fn session_of(name: &str) -> Session {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let user = format!("/db/User/{name}");
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    let caller = Arc::new(Caller::new([user.as_str(), LOGGED_IN_ROLE]));
    Session { caller, user: Some(user.into()), hash: hasher.finish() | 1, claims: None }
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Config)) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.data = directory.path().join("data");
        config.store.durability = Durability::System;
        adjust(&mut config);
        let store = Arc::new(Embedded::open(&config.store, &config.changelog).unwrap());
        let changelog = store.changelog();
        Server::of(store, changelog, config.live, directory).await
    }

    pub(crate) async fn of(store: Arc<Embedded>, changelog: Arc<dyn ChangeLog>, options: LiveOptions, directory: TempDir) -> Server {
        let names = Arc::new(Names { rights: store.rights().clone(), shown: AtomicUsize::new(0) });
        let apps: Arc<Apps> = Arc::default();
        let app = apps.default_app().clone();
        let gateway = Gateway::new(store.clone(), changelog.clone(), names.clone(), apps, options);
        let layout = EngineOptions { workers: 1, columns: 1, index: IndexOptions::default() };
        let engine = Arc::new(Engine::start(layout, gateway.clone()).unwrap());
        gateway.attach(engine, 4096);
        let router = axum::Router::new().nest("/v1", gateway.router());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await });
        Server { store, changelog, gateway, address, app, names, _directory: directory }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One whose sockets take little that nobody reads.
    pub(crate) async fn small_client(&self) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.set_send_buffer_size(16 << 10).unwrap();
        let stream = MaybeTlsStream::Plain(socket.connect(self.address).await.unwrap());
        let request = format!("ws://{}/v1/events", self.address).into_client_request().unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Client { socket }
    }

    pub(crate) async fn put(&self, id: &str, object: Value) -> Committed {
        self.put_as(id, object, Writer::default()).await
    }

    pub(crate) async fn put_as(&self, id: &str, object: Value, writer: Writer) -> Committed {
        self.put_in("Thing", id, object, writer).await
    }

    /// A role with these members.
    pub(crate) async fn role(&self, id: &str, users: &[&str]) -> Committed {
        let users: Vec<_> = users.iter().map(|name| format!("/db/User/{name}")).collect();
        self.put_in("Role", id, json!({"users": users}), Writer::default()).await
    }

    async fn put_in(&self, bucket: &str, id: &str, object: Value, writer: Writer) -> Committed {
        let id: Arc<str> = format!("/db/{bucket}/{id}").into();
        let key = Key { app: "app".into(), bucket: bucket.into(), id: id.clone() };
        let decide = Arc::new(move |_: Option<&_>, stamp: &tidegate::store::Stamp| {
            let mut object = object.clone();
            object["id"] = json!(*id);
            object["version"] = json!(stamp.version);
            Ok(Decision::Put(object.to_string().into()))
        });
        self.store.commit(Write { key, decide, actor: Actor::server(), writer }).await.unwrap()
    }

    pub(crate) async fn delete(&self, id: &str) -> Committed {
        let key = Key { app: "app".into(), bucket: "Thing".into(), id: format!("/db/Thing/{id}").into() };
        self.store
            .commit(Write { key, decide: Arc::new(|_, _| Ok(Decision::Delete)), actor: Actor::server(), writer: Writer::default() })
            .await
            .unwrap()
    }

    /// Changes who may query things.
    pub(crate) async fn let_query(&self, class: &str, rights: Value) {
        let request = json!({"class": format!("/db/{class}"), "acl": {"query": rights}, "fields": {}});
        let request = Request::Merge(vec![serde_json::from_value(request).unwrap()]);
        let change = Arc::new(move |schema: &_| Ok(schema::change(schema, &request, &Caller::admin()).unwrap()));
        self.store.commit_schema("app".into(), change).await.unwrap();
    }

    /// The one turn to read a result that the app has from now on.
    pub(crate) async fn only_turn(&self) -> Turn {
        self.app.quota.set(Limits { scans: 1, ..self.app.quota.limits() });
        self.app.quota.load().await.unwrap()
    }

    /// Waits until the gateway's numbers are so.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&LiveStatistics) -> bool) {
        self.comes(what, || holds(&self.gateway.statistics())).await;
    }

    /// Waits until it is so.
    pub(crate) async fn comes(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds() {
            assert!(tokio::time::Instant::now() < deadline, "{what}: {:?}", self.gateway.statistics());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        let request = format!("ws://{address}/v1/events").into_client_request().unwrap();
        let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        Client { socket }
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.say_text(&message.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    /// Subscribes as the SDK does, with `more` on top.
    pub(crate) async fn subscribe(&mut self, id: &str, query: Value, more: Value) {
        let mut message = json!({
            "id": id, "type": "subscribe", "bucket": "Thing", "query": query.to_string(), "initial": true,
            "matchTypes": ["all"], "operations": ["any"], "reconnects": -1,
        });
        for (name, value) in more.as_object().unwrap() {
            message[name] = value.clone();
        }
        self.say(message).await;
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.next_or_end()).await.expect("a message in time").expect("not the end")
    }

    /// None: the connection has ended.
    pub(crate) async fn next_or_end(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await?.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// The next message is of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], kind, "{:.300}", message.to_string());
        message
    }
}

/// What a client that keeps a result has in it: applies a message as the SDK does.
#[derive(Debug, Default, PartialEq, Clone)]
pub(crate) struct Kept(pub(crate) std::collections::BTreeMap<String, Value>);

impl Kept {
    pub(crate) fn apply(&mut self, message: &Value) {
        let id = |object: &Value| object["id"].as_str().unwrap().to_owned();
        match (message["type"].as_str().unwrap(), message["matchType"].as_str()) {
            ("result", _) => self.0 = message["data"].as_array().unwrap().iter().map(|object| (id(object), object.clone())).collect(),
            ("match", Some("remove")) => {
                self.0.remove(&id(&message["data"]));
            }
            ("match", _) => {
                self.0.insert(id(&message["data"]), message["data"].clone());
            }
            _ => {}
        }
    }
}

//! The gateway: sessions, protocol messages, queues, resume.
//!
//! The way of a subscription: [`socket`] or [`sse`] reads a message ([`messages`]); `subscribe` judges it and
//! joins it to its standing query (`standing`); `load` reads the result, or `resume` what was missed; from then on
//! `delivery` turns deltas into events ([`event`]) and puts them into the connection's `outbox`, whose bounds
//! and compositions are decided there; the transport sends what is in it. `feed` gives the engine what the
//! change log has. [`sessions`] ends what hangs on a token that has ended. [`answers`] keeps a writer's event behind his answer,
//! `batches` those of a batch together.

pub mod answers;
mod batches;
mod connection;
mod delivery;
pub mod event;
mod feed;
mod frontier;
mod load;
mod members;
pub mod messages;
mod outbox;
mod resume;
mod schema;
mod sessions;
mod socket;
mod sse;
mod standing;
mod statistics;
mod subscribe;
mod subscription;
mod ticket;

pub use sessions::Sessions;
pub use statistics::LiveStatistics;

use crate::apps::{App, Apps};
use crate::auth::Authenticate;
use crate::changelog::{ChangeLog, LogId};
use crate::config::LiveOptions;
use crate::metrics::Histogram;
use crate::store::Store;
use answers::Answers;
use axum::Router;
use batches::Batches;
use connection::{Connection, End};
use dataflows::engine::Engine;
use frontier::Frontier;
use ipnet::IpNet;
use messages::Refused;
use outbox::Budget;
use slab::Slab;
use standing::Registry;
use statistics::Counters;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subscription::Subscription;
use ticket::Tickets;
use tokio::sync::{Notify, Semaphore};

/// Results that are read at a time, all connections together: a storm of subscriptions queues here instead
/// of holding all its results in memory at once.
const LOADS: usize = 64;

/// How long connections whose app was deleted or whose address was banned have to take what ended their subscriptions.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Everything live of one server.
pub struct Gateway {
    store: Arc<dyn Store>,
    changelog: Arc<dyn ChangeLog>,
    authenticate: Arc<dyn Authenticate>,
    apps: Arc<Apps>,
    options: LiveOptions,
    log: LogId,
    registry: Registry,
    answers: Arc<Answers>,
    sessions: Arc<Sessions>,
    delivery: Arc<Histogram>,
    frontier: Frontier,
    batches: Arc<Batches>,
    engine: Mutex<Option<Arc<Engine>>>,
    connections: Mutex<Slab<Arc<Connection>>>,
    loads: Arc<Semaphore>,
    counters: Counters,
    tickets: Tickets,
    stopping: AtomicBool,
    stopped: Notify,
}

/// Takes a lock whose holder may have panicked: what it guards is kept consistent by every statement.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gateway {
    /// A gateway without an engine: see [`Gateway::attach`]. Must be called within a tokio runtime.
    pub fn new(
        store: Arc<dyn Store>,
        changelog: Arc<dyn ChangeLog>,
        authenticate: Arc<dyn Authenticate>,
        apps: Arc<Apps>,
        options: LiveOptions,
    ) -> Arc<Gateway> {
        let milliseconds = Duration::from_millis;
        let tickets = Tickets::new(Duration::from_secs(options.ticket_seconds));
        let sessions = Arc::new(Sessions::default());
        let ended = store.rights().follow();
        let gateway = Arc::new(Gateway {
            sessions: sessions.clone(),
            log: changelog.head().log,
            delivery: Arc::default(),
            answers: Answers::new(milliseconds(options.answer_grace_ms), milliseconds(options.answer_limit_ms)),
            store,
            changelog,
            authenticate,
            apps,
            options,
            registry: Registry::default(),
            frontier: Frontier::default(),
            batches: Arc::default(),
            engine: Mutex::new(None),
            connections: Mutex::default(),
            loads: Arc::new(Semaphore::new(LOADS)),
            counters: Counters::default(),
            tickets,
            stopping: AtomicBool::new(false),
            stopped: Notify::new(),
        });
        tokio::spawn(sessions::watch(Arc::downgrade(&gateway), sessions, ended));
        gateway
    }

    /// Starts to feed the engine, whose sink this gateway is, from the head of the log on, with at most
    /// about so many changes under way. Must be called within a tokio runtime, once, before connections come.
    pub fn attach(self: &Arc<Self>, engine: Arc<Engine>, changes_under_way: u64) {
        let head = self.changelog.head();
        self.frontier.advance(head.commit());
        self.batches.complete(head.commit());
        *lock(&self.engine) = Some(engine.clone());
        tokio::spawn(feed::feed(self.clone(), engine, head, changes_under_way.max(1)));
    }

    /// `GET /events` (websocket, or server-sent events) and `POST /events/ticket`, to be mounted below the base path.
    pub fn router(self: &Arc<Self>) -> Router {
        let (events, ticket) = (axum::routing::get(socket::events), axum::routing::post(sse::ticket));
        Router::new().route("/events", events).route("/events/ticket", ticket).with_state(self.clone())
    }

    /// For the front stage: opens a request before its write is submitted.
    pub fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    /// For the front stage, which tells of renewed tokens.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// From the dataflow until an event is with the transport; of those that go out together the oldest.
    pub fn delivery(&self) -> &Arc<Histogram> {
        &self.delivery
    }

    /// Ends all connections with "going away" and takes no new ones. Resolves when all are gone; whoever
    /// calls sets the time for that.
    pub async fn drain(&self) {
        self.stopping.store(true, Relaxed);
        loop {
            let told = self.stopped.notified();
            let connections = self.connections();
            if connections.is_empty() {
                return;
            }
            for connection in connections {
                connection.ask_to_end(End::GoingAway);
            }
            told.await;
        }
    }

    /// Stops feeding and lets the engine go.
    pub fn shutdown(&self) {
        self.stopping.store(true, Relaxed);
        let engine = lock(&self.engine).take();
        self.stopped.notify_waiters();
        self.frontier.close();
        drop(engine);
    }

    /// Resolves at [`Gateway::shutdown`].
    async fn stopped_feeding(&self) {
        loop {
            let told = self.stopped.notified();
            if self.stopping.load(Relaxed) && lock(&self.engine).is_none() {
                return;
            }
            told.await;
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    fn log(&self) -> LogId {
        self.log
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        lock(&self.engine).clone()
    }

    /// A new connection; none if there are too many.
    fn connect(&self, app: Arc<App>, address: IpAddr) -> Option<Arc<Connection>> {
        let mut connections = lock(&self.connections);
        let free = self.options.connections.saturating_sub(connections.len());
        // Looked at under the lock: who closes an app ends what is in there afterwards.
        let takes = app.is_open() && free > 0 && !self.stopping.load(Relaxed);
        let Some(place) = takes.then(|| app.quota.connection(free, self.apps.count() <= 1)).flatten() else {
            self.counters.connections_refused.fetch_add(1, Relaxed);
            return None;
        };
        let budget = Budget { events: self.options.queue_events, bytes: self.options.queue_bytes };
        let connection = Arc::new(Connection::new(app, address, budget, self.delivery.clone(), self.batches.clone()));
        let _ = connection.place.set(place);
        let number = connections.insert(connection.clone());
        let _ = connection.number.set(number);
        Some(connection)
    }

    /// A connection has ended: nothing of it stays.
    fn disconnect(&self, connection: &Connection) {
        let Some((subscriptions, tally)) = connection.clear() else { return };
        self.counters.add(tally);
        for subscription in subscriptions {
            self.leave(&subscription);
        }
        let mut connections = lock(&self.connections);
        if let Some(number) = connection.number.get() {
            connections.try_remove(*number);
        }
        if connections.is_empty() {
            *connections = Slab::new();
            self.stopped.notify_waiters();
        }
    }

    fn leave(&self, subscription: &Subscription) {
        subscription.left.notify_waiters();
        if subscription.of_token {
            self.sessions.leave(subscription);
        }
        self.registry.leave(self.engine().as_deref(), subscription);
    }

    /// Ends a subscription with an error.
    fn end(&self, subscription: &Subscription, refused: &Refused) {
        if let Some(subscription) = subscription.connection.fail(subscription.slot, refused) {
            self.leave(&subscription);
        }
    }

    /// What a connection's transport does beside sending: lets go of what ended, loads afresh what is stale.
    fn take_care(self: &Arc<Self>, connection: &Connection) {
        let (ended, stale) = connection.take_care();
        for subscription in ended {
            self.leave(&subscription);
        }
        for subscription in stale {
            self.counters.fresh_results.fetch_add(1, Relaxed);
            tokio::spawn(load::load(self.clone(), subscription, load::Start::Afresh));
        }
    }

    /// The log has lost what the engine has not seen: every subscription needs a fresh result.
    fn outdate_all(&self) {
        for connection in self.connections() {
            connection.outdate_all();
        }
    }

    /// There will be no more events: nobody may go on believing that his result is up to date.
    fn end_all(&self) {
        // New ones are refused from here on.
        let engine = lock(&self.engine).take();
        for connection in self.connections() {
            connection.fail_all(&load::stopped());
        }
        drop(engine);
    }

    /// Ends all subscriptions and connections of an app, which was closed before.
    pub fn end_app(&self, app: &Arc<App>) {
        let of_app = |connection: &Arc<Connection>| Arc::ptr_eq(&connection.app, app);
        let connections: Vec<_> = self.connections().into_iter().filter(of_app).collect();
        close(connections, &subscribe::app_deleted(), End::GoingAway);
    }

    /// Ends all subscriptions and connections that an app has from these addresses. They are banned already: whoever is let in
    /// meanwhile is looked for again when he is in.
    pub fn end_addresses(&self, app: &Arc<App>, network: &IpNet) {
        let banned = |connection: &Arc<Connection>| connection.app.name == app.name && network.contains(&connection.address.to_canonical());
        let connections: Vec<_> = self.connections().into_iter().filter(banned).collect();
        tracing::info!(app = %app.name, connections = connections.len(), "live connections of banned addresses end");
        close(connections, &subscribe::banned(), End::Banned);
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        lock(&self.connections).iter().map(|(_, connection)| connection.clone()).collect()
    }
}

/// Ends connections with an error to all their subscriptions, which they have a moment to take.
fn close(connections: Vec<Arc<Connection>>, refused: &Refused, end: End) {
    for connection in &connections {
        connection.close(refused);
    }
    if connections.is_empty() {
        return;
    }
    tokio::spawn(async move {
        tokio::time::sleep(LAST_WORDS).await;
        for connection in connections {
            connection.ask_to_end(end);
        }
    });
}

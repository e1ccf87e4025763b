//! The whole server in one process: store, log, dataflow, gateway, front stage, both listeners.
//!
//! * `check`: what only the whole configuration can say
//! * `error`: why a server does not start
//! * `measure`: figures of the parts, for the metrics
//!
//! `tidegate serve` runs it; tests, the demo and the bench start it in their own process, on port 0.

mod check;
mod error;
mod measure;

pub use error::StartError;

use crate::apps::bodies::Bodies;
use crate::apps::limits::{Limits, OwnLimits};
use crate::apps::{Apps, Registry, registry};
use crate::auth::bans::Bans;
use crate::auth::brake::Brake;
use crate::auth::password::Passwords;
use crate::auth::{Authority, Lifetimes};
use crate::changelog::kafka::{self, KafkaLog, Relay, Topic};
use crate::changelog::{ChangeLog, Home, LogId};
use crate::clock::Clock;
use crate::config::{ChangelogOptions, Config, StoreOptions};
use crate::expiry::Expiry;
use crate::http::admin::Admin;
use crate::http::listener::Listener;
use crate::http::tls::Tls;
use crate::http::{self, Front};
use crate::ingest::{self, Ingest, IngestError};
use crate::live::Gateway;
use crate::logs::Logs;
use crate::logs::retention::Retention;
use crate::mail::Mailing;
use crate::metrics::Metrics;
use crate::oidc::{Attempts, Providers};
use crate::store::embedded::{Embedded, OpenError};
use crate::store::{Store, StoreError};
use axum::Router;
use dataflows::engine::{Engine, EngineOptions};
use dataflows::index::IndexOptions;
use dataflows::query::QueryLimits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a data directory may still be in use by whoever had it before.
const LOCKED: Duration = Duration::from_secs(3);

/// How long open websockets and event streams have to end.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// How long changes that wait for the brokers of the log have to get there.
const LAST_CHANGES: Duration = Duration::from_secs(5);

/// The app of a server that was not told of others.
pub use crate::apps::DEFAULT_APP as APP;

/// What a server is started with.
#[derive(Default)]
pub struct Setup {
    /// The configuration
    pub config: Config,
    /// Password of the administrator `root`: set, if it is not already this one. None: the old one stays,
    /// at the first start one is generated.
    pub root_password: Option<String>,
    /// Pages beside the API, such as those of the demo at `/_tidegate/`
    pub pages: Router,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("config", &self.config).finish_non_exhaustive()
    }
}

impl From<Config> for Setup {
    fn from(config: Config) -> Setup {
        Setup { config, ..Setup::default() }
    }
}

/// A running server. Ends with [`Server::shutdown`]; merely dropped it stops taking requests.
pub struct Server {
    api: SocketAddr,
    admin: SocketAddr,
    encrypted: bool,
    base: String,
    root_password: Option<String>,
    store: Arc<Embedded>,
    authority: Arc<Authority>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    gateway: Arc<Gateway>,
    engine: Arc<Engine>,
    ingest: Option<Arc<Ingest>>,
    relay: Option<Arc<Relay>>,
    changelog: Arc<dyn ChangeLog>,
    topic_log: Option<Arc<KafkaLog>>,
    ended: CancellationToken,
    listeners: Vec<JoinHandle<()>>,
    /// What goes on beside requests
    upkeep: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts everything; requests are answered when this resolves.
    pub async fn start(setup: impl Into<Setup>) -> Result<Server, StartError> {
        let Setup { config, root_password, pages } = setup.into();
        check::check(&config)?;
        let (cert, key) = (config.server.tls_cert.clone(), config.server.tls_key.clone());
        let reading = tokio::task::spawn_blocking(move || Tls::configured(&cert, &key)).await;
        let tls = reading.map_err(|error| StartError::Engine(error.to_string()))??;
        let providers = Providers::new(&config.oidc)?;
        let attempts = Attempts::new().ok_or_else(|| StartError::Engine("no key for logins at providers".into()))?;
        // First the sockets: a second server on the same port must not touch the data.
        let api_socket = bind(&config.server.listen, "server.listen", "--listen").await?;
        let admin_socket = bind(&config.server.admin_listen, "server.admin_listen", "--set server.admin_listen=HOST:PORT").await?;
        let (api, admin) = (address_of(&api_socket)?, address_of(&admin_socket)?);

        // Then where the log is, as another place makes it another log.
        let topic = Topic::prepare(&config).await?;
        let (home, holds) = match &topic {
            Some(topic) => (topic.home(), kafka::holder(topic).await?),
            None => (Home::Embedded, None),
        };
        let options = (config.store.clone(), config.changelog.clone());
        let opening = tokio::task::spawn_blocking(move || open(&options, &home, holds));
        let store = Arc::new(opening.await.map_err(|error| StartError::Engine(error.to_string()))??);
        // Behind the store, which makes the data directory that mail may be put into.
        let ended = CancellationToken::new();
        let mail = Mailing::start(&config.mail, &config.server.public_url, &config.store.data, store.clock().clone(), ended.clone())?;
        if mail.is_some() {
            store.rights().confirm_names();
        }
        let (relay, topic_log) = match topic.zip(store.outbox()) {
            Some((topic, outbox)) => {
                let log = Arc::new(KafkaLog::new(&topic, &outbox)?);
                (Some(Arc::new(Relay::start(outbox, topic, store.clock().clone()).await?)), Some(log))
            }
            None => (None, None),
        };
        let changelog = topic_log.clone().map_or_else(|| store.changelog(), |log| log as Arc<dyn ChangeLog>);
        let lifetimes = Lifetimes { session: config.server.token_seconds, api: config.server.api_token_seconds };
        let authority = Arc::new(Authority::new(store.clock().clone(), lifetimes, store.rights().clone()));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let passwords = Passwords::open(config.server.password_ms, cores.div_ceil(2), &*store).await?;
        let limits = Limits::new(&config.limits, &OwnLimits::default(), passwords.at_once(), true);
        let apps = Arc::new(Apps::new(&config.server.base, limits));
        let metrics = Arc::new(Metrics::new());
        let gateway = Gateway::new(store.clone(), changelog.clone(), authority.clone(), apps.clone(), config.live.clone());
        let sink = Arc::new(measure::MeasuredSink::new(gateway.clone(), metrics.clone(), store.clock().clone()));
        let engine = Arc::new(Engine::start(engine_options(&config), sink).map_err(|error| StartError::Engine(error.to_string()))?);
        gateway.attach(engine.clone(), config.engine.changes_under_way as u64);
        let ending = Arc::downgrade(&gateway);
        let setup = registry::Setup {
            apps: apps.clone(),
            store: store.clone(),
            authority: authority.clone(),
            passwords: passwords.clone(),
            limits: config.limits.clone(),
            end: Arc::new(move |app| {
                if let Some(gateway) = ending.upgrade() {
                    gateway.end_app(app);
                }
            }),
            ended: ended.clone(),
        };
        let (registry, root_password) = Registry::open(setup, root_password).await?;
        measure::measure_apps(&metrics, &apps);
        measure::measure_passwords(&metrics, &passwords);
        measure::measure(&metrics, &store, &gateway, &engine);
        if let Some(relay) = &relay {
            measure::measure_relay(&metrics, relay);
        }
        if let Some(log) = &topic_log {
            measure::measure_topic(&metrics, log);
        }
        let logs = Arc::new(Logs::new(config.logs.clone()));
        let front = Arc::new(Front {
            apps: apps.clone(),
            logs: logs.clone(),
            bodies: Bodies::new(config.server.bodies_bytes),
            transfers: Arc::default(),
            query_limits: QueryLimits { bytes: config.live.query_bytes, ..QueryLimits::default() },
            options: config.server.clone(),
            store: store.clone(),
            secrets: store.clone(),
            authority: authority.clone(),
            passwords,
            brake: Brake::default(),
            mail: mail.clone(),
            providers,
            attempts,
            bans: Bans::new(store.clone()),
            live: gateway.clone(),
            clock: store.clock().clone(),
            answers: gateway.answers().clone(),
            sessions: gateway.sessions().clone(),
            ingested: ingested(&config),
            metrics: metrics.clone(),
        });
        let router = http::router(front.clone(), gateway.router()).merge(pages);
        let api_listener = Listener {
            socket: api_socket,
            tls: tls.clone(),
            router,
            connections: config.server.connections,
            trusted_proxies: config.server.trusted_proxies.clone().into(),
            open: metrics.connections.clone(),
        };
        // What others write comes in when everything that it goes through is there.
        let ingest = start_ingest(&config, &store).await?;
        if let Some(ingest) = &ingest {
            measure::measure_ingest(&metrics, ingest);
        }
        let administration =
            Admin::new(front, store.clone(), engine.clone(), ingest.clone(), registry.clone(), config.server.admin_listen.clone());
        let admin_router = http::admin::router(administration);
        let admin_listener = Listener {
            socket: admin_socket,
            tls: None,
            router: admin_router,
            connections: 64,
            trusted_proxies: [].into(),
            open: Arc::default(),
        };
        let encrypted = tls.is_some();
        if let Some(tls) = tls {
            tokio::spawn(tls.follow(ended.clone()));
        }
        let expiry = Expiry { store: store.clone(), changelog: changelog.clone(), clock: store.clock().clone() };
        let retention = Retention {
            store: store.clone(),
            logs,
            clock: store.clock().clone(),
            apps: Box::new(move || apps.all().iter().map(|app| app.name.clone()).collect()),
        };
        let upkeep = vec![tokio::spawn(expiry.run(ended.clone())), tokio::spawn(retention.run(ended.clone()))];
        let listeners = vec![tokio::spawn(api_listener.run(ended.clone())), tokio::spawn(admin_listener.run(ended.clone()))];
        Ok(Server {
            api,
            admin,
            encrypted,
            base: config.server.base.clone(),
            root_password,
            store,
            authority,
            registry,
            metrics,
            gateway,
            engine,
            ingest,
            relay,
            changelog,
            topic_log,
            ended,
            listeners,
            upkeep,
        })
    }

    /// Where the API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api
    }

    /// Where metrics and administration listen.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// What clients connect to, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://{}/{}", self.api, self.base)
    }

    /// The password of `root`, if it was generated at this start.
    pub fn root_password(&self) -> Option<&str> {
        self.root_password.as_deref()
    }

    /// The store.
    pub fn store(&self) -> &Arc<Embedded> {
        &self.store
    }

    /// Who issues tokens.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Which apps there are.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The live side.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// The dataflow.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Ingest, if any topic is mapped.
    pub fn ingest(&self) -> Option<&Arc<Ingest>> {
        self.ingest.as_ref()
    }

    /// What brings the change log to Kafka; none where it is kept in the store.
    pub fn relay(&self) -> Option<&Arc<Relay>> {
        self.relay.as_ref()
    }

    /// The change log that the live side follows.
    pub fn changelog(&self) -> &Arc<dyn ChangeLog> {
        &self.changelog
    }

    /// What is measured.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Takes no new requests, finishes the answers under way, ends subscriptions, closes the store.
    pub async fn shutdown(mut self) -> Result<(), StoreError> {
        // Ingest first: it would go on writing. What it has not committed comes again at the next start.
        if let Some(ingest) = self.ingest.take() {
            let ended = tokio::task::spawn_blocking(move || ingest.shutdown());
            if let Err(error) = ended.await {
                tracing::error!(%error, "ingest did not end well");
            }
        }
        self.ended.cancel();
        // Subscriptions hold connections open: they end first, or the listeners would wait for them.
        if tokio::time::timeout(LAST_EVENTS, self.gateway.drain()).await.is_err() {
            tracing::warn!("some subscriptions did not end in time and are cut");
        }
        for task in std::mem::take(&mut self.listeners).into_iter().chain(std::mem::take(&mut self.upkeep)) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener or a task of upkeep failed");
            }
        }
        let (store, engine, relay, topic_log) = (self.store.clone(), self.engine.clone(), self.relay.take(), self.topic_log.take());
        drop(self);
        // No more writes come, so what waits becomes less.
        if let Some(relay) = relay {
            relay.stop(LAST_CHANGES).await;
        }
        if let Some(log) = topic_log {
            log.close().await;
        }
        // The last one that lets the dataflow go joins its threads.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(engine)).await {
            tracing::error!(%error, "the dataflow did not end well");
        }
        store.close().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(ingest) = &self.ingest {
            ingest.stop();
        }
        self.ended.cancel();
        // Gateway and dataflow hold each other.
        self.gateway.shutdown();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("api", &self.api).field("admin", &self.admin).finish_non_exhaustive()
    }
}

/// The app whose buckets topics fill.
const INGESTED: &str = APP;

fn ingested(config: &Config) -> http::Ingested {
    let buckets = config.ingest.iter().map(|mapping| (mapping.bucket.as_str().into(), mapping.topic.clone()));
    [(INGESTED.into(), buckets.collect())].into()
}

async fn start_ingest(config: &Config, store: &Arc<Embedded>) -> Result<Option<Arc<Ingest>>, IngestError> {
    ingest::forget_unmapped(&**store, APP, &config.ingest).await?;
    if config.ingest.is_empty() {
        return Ok(None);
    }
    let setup = ingest::Setup {
        app: INGESTED.into(),
        kafka: &config.kafka,
        mappings: &config.ingest,
        data: &config.store.data,
        object_bytes: config.store.object_bytes,
        store: store.clone(),
        intakes: store.clone(),
        clock: store.clock().clone(),
    };
    Ingest::start(setup).await.map(|ingest| Some(Arc::new(ingest)))
}

/// Opens the store. One that is just ending, here or in another process, holds the directory for a moment more.
fn open(options: &(StoreOptions, ChangelogOptions), home: &Home, holds: Option<LogId>) -> Result<Embedded, OpenError> {
    let deadline = Instant::now() + LOCKED;
    loop {
        match Embedded::open_for(&options.0, &options.1, home.clone(), holds, Arc::new(Clock::system())) {
            Err(OpenError::Locked { .. }) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            opened => return opened,
        }
    }
}

fn engine_options(config: &Config) -> EngineOptions {
    let index = IndexOptions { residual_queries: config.engine.residual_queries, ..IndexOptions::default() };
    EngineOptions { workers: config.engine.workers, columns: config.engine.columns, index }
}

async fn bind(address: &str, option: &'static str, flag: &'static str) -> Result<TcpListener, StartError> {
    let refused = |error: std::io::Error| StartError::Listen { address: address.to_owned(), option, flag, reason: error.to_string() };
    TcpListener::bind(address).await.map_err(refused)
}

fn address_of(socket: &TcpListener) -> Result<SocketAddr, StartError> {
    socket.local_addr().map_err(|error| StartError::Engine(error.to_string()))
}

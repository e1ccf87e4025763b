//! Which apps there are, durably; makes and removes them while the server runs.
//!
//! Each app is a note in the store, so a backup has it. One task at a time changes them.
//!
//! | note | value |
//! |---|---|
//! | `app/<name in the store>` | [`Record`] |
//!
//! An app that was deleted leaves its record behind as *gone*: it says which names the store must not give again.

use super::limits::{Limits, OwnLimits};
use super::{App, AppError, Apps, DEFAULT_APP, first_start, name, removal};
use crate::auth::Authority;
use crate::auth::password::{self, Passwords};
use crate::config::LimitOptions;
use crate::store::Intakes;
use crate::store::embedded::{Embedded, StoredBytes};
use crate::store::{Intake, IntakeError, Note, StoreError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

const PREFIX: &str = "app/";

/// What is kept of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    /// In URLs
    word: String,
    /// How many there have been of this name, this one included
    generation: u32,
    state: State,
    #[serde(default)]
    hosts: BTreeSet<String>,
    // Left out where it was left out before: a record is changed by comparing its text.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    origins: BTreeSet<String>,
    #[serde(default)]
    limits: OwnLimits,
}

/// How far an app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not everything is there yet; nobody was told that it is
    Making,
    /// It answers
    Open,
    /// What it had is being taken away
    Removing,
    /// Nothing of it is left
    Gone,
}

/// What is asked of a new app.
#[derive(Debug, Clone, Default)]
pub struct NewApp {
    /// Its name in URLs
    pub name: String,
    /// Host names of its own
    pub hosts: Vec<String>,
    /// Origins of its own; empty: those that are configured
    pub origins: Vec<String>,
    /// Limits of its own
    pub limits: OwnLimits,
    /// Of its administrator `root`; None: one is generated
    pub root_password: Option<String>,
}

/// What is to be otherwise with an app; None leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// All host names of its own
    pub hosts: Option<Vec<String>>,
    /// All origins of its own
    pub origins: Option<Vec<String>>,
    /// All limits of its own
    pub limits: Option<OwnLimits>,
}

/// An app as administrators see it.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its name in URLs
    pub name: String,
    /// What store, tokens and change log call it
    pub in_store: Arc<str>,
    /// How far it is
    pub state: State,
    /// Host names of its own
    pub hosts: BTreeSet<String>,
    /// Origins of its own; empty: those that are configured
    pub origins: BTreeSet<String>,
    /// Limits of its own
    pub limits: OwnLimits,
    /// What its objects are together
    pub stored: StoredBytes,
    /// While it answers
    pub app: Option<Arc<App>>,
}

/// What the registry works with.
pub struct Setup {
    /// Where requests look for apps
    pub apps: Arc<Apps>,
    /// The system of record
    pub store: Arc<Embedded>,
    /// Keys
    pub authority: Arc<Authority>,
    /// Hashing
    pub passwords: Passwords,
    /// Defaults of what one app may use
    pub limits: LimitOptions,
    /// Ends an app's connections; called when it is closed
    pub end: Arc<dyn Fn(&Arc<App>) + Send + Sync>,
    /// When the server ends
    pub ended: CancellationToken,
}

/// The apps of a server.
pub struct Registry {
    setup: Setup,
    records: Mutex<BTreeMap<Arc<str>, Record>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// Reads the apps, makes the default one ready and opens all; goes on with removals that were under way. The password
    /// of the default app's `root`, if it was generated just now.
    pub async fn open(setup: Setup, root_password: Option<String>) -> Result<(Arc<Registry>, Option<String>), AppError> {
        let reading = setup.store.clone();
        let records =
            tokio::task::spawn_blocking(move || read(&reading)).await.map_err(|error| StoreError::Broken(error.to_string()))??;
        let default = setup.apps.default_app().clone();
        setup.authority.open(&default.name, &*setup.store).await?;
        let generated = setup.prepare(&default.name, root_password).await?;
        let registry = Arc::new(Registry { setup, records: Mutex::new(records) });
        {
            let mut records = registry.records.lock().await;
            for (in_store, record) in records.iter_mut() {
                match record.state {
                    State::Open => registry.setup.start(in_store, record).await?,
                    // Nobody was told of it, so nobody misses it.
                    State::Making => {
                        let removing = Record { state: State::Removing, ..record.clone() };
                        registry.setup.write(in_store, Some(record), &removing).await?;
                        *record = removing;
                    }
                    State::Removing | State::Gone => {}
                }
                if record.state == State::Removing {
                    registry.remove(in_store.clone(), None);
                }
            }
            registry.setup.share(&records);
        }
        Ok((registry, generated))
    }

    /// Where requests look for apps.
    pub fn apps(&self) -> &Arc<Apps> {
        &self.setup.apps
    }

    /// All that answer or are being removed, by name.
    pub async fn list(&self) -> Vec<Described> {
        let records = self.records.lock().await;
        let known = records.iter().filter(|(_, record)| matches!(record.state, State::Open | State::Removing));
        let mut all: Vec<Described> = known.map(|(in_store, record)| self.described(in_store, record)).collect();
        if !records.contains_key(DEFAULT_APP) {
            all.push(self.described(&DEFAULT_APP.into(), &default_record()));
        }
        all.sort_by(|one, other| (&one.name, &one.in_store).cmp(&(&other.name, &other.in_store)));
        all
    }

    /// One of them; where one is removed and one answers, the one that answers.
    pub async fn find(&self, word: &str) -> Result<Described, AppError> {
        let mut of_word: Vec<Described> = self.list().await.into_iter().filter(|app| app.name == word).collect();
        of_word.sort_by_key(|app| app.state != State::Open);
        of_word.into_iter().next().ok_or_else(|| AppError::Missing(word.to_owned()))
    }

    /// Makes an app; it answers when this resolves. The password of its `root`, if it was generated.
    pub async fn create(self: &Arc<Self>, asked: NewApp) -> Result<(Described, Option<String>), AppError> {
        name::check(&asked.name, self.setup.apps.base())?;
        asked.limits.check()?;
        if asked.root_password.as_ref().is_some_and(|password| password.is_empty() || password.len() > password::LONGEST) {
            return Err(AppError::Password(password::LONGEST));
        }
        let (hosts, origins) = (all_checked(&asked.hosts, name::checked_host)?, all_checked(&asked.origins, name::checked_origin)?);
        let mut records = self.records.lock().await;
        if asked.name == DEFAULT_APP || records.values().any(|record| record.word == asked.name && record.state == State::Open) {
            return Err(AppError::Exists(asked.name));
        }
        free(&records, &asked.name, &hosts)?;
        let most = self.setup.limits.apps;
        if self.setup.apps.count() >= most {
            return Err(AppError::TooMany(most));
        }
        let generation = records.values().filter(|record| record.word == asked.name).map(|record| record.generation).max().unwrap_or(0) + 1;
        let in_store: Arc<str> = name::in_store(&asked.name, generation).into();
        let making = Record { word: asked.name, generation, state: State::Making, hosts, origins, limits: asked.limits };
        self.setup.write(&in_store, None, &making).await?;
        records.insert(in_store.clone(), making.clone());
        let made = async {
            self.setup.authority.open(&in_store, &*self.setup.store).await?;
            let generated = self.setup.prepare(&in_store, asked.root_password).await?;
            let open = Record { state: State::Open, ..making.clone() };
            self.setup.write(&in_store, Some(&making), &open).await?;
            Ok::<_, AppError>((open, generated))
        };
        match made.await {
            Ok((open, generated)) => {
                self.setup.put(&in_store, &open);
                records.insert(in_store.clone(), open.clone());
                self.setup.share(&records);
                tracing::info!(app = %open.word, "an app was made");
                Ok((self.described(&in_store, &open), generated))
            }
            Err(error) => {
                let removing = Record { state: State::Removing, ..making.clone() };
                // If this fails too, the next start takes up from "making".
                if self.setup.write(&in_store, Some(&making), &removing).await.is_ok() {
                    records.insert(in_store.clone(), removing);
                    self.remove(in_store, None);
                }
                Err(error)
            }
        }
    }

    /// Gives an app other hosts, origins or limits, at once.
    pub async fn change(&self, word: &str, Changes { hosts, origins, limits }: Changes) -> Result<Described, AppError> {
        let hosts = hosts.map(|hosts| all_checked(&hosts, name::checked_host)).transpose()?;
        let origins = origins.map(|origins| all_checked(&origins, name::checked_origin)).transpose()?;
        limits.as_ref().map(OwnLimits::check).transpose()?;
        let mut records = self.records.lock().await;
        let found = records.iter().find(|(_, record)| record.word == word && record.state == State::Open);
        let (in_store, known) = match found {
            Some((in_store, record)) => (in_store.clone(), Some(record.clone())),
            None if word == DEFAULT_APP => (DEFAULT_APP.into(), None),
            None => return Err(AppError::Missing(word.to_owned())),
        };
        let mut changed = known.clone().unwrap_or_else(default_record);
        if let Some(hosts) = hosts {
            free(&records, word, &hosts)?;
            changed.hosts = hosts;
        }
        changed.origins = origins.unwrap_or(changed.origins);
        changed.limits = limits.unwrap_or(changed.limits);
        self.setup.write(&in_store, known.as_ref(), &changed).await?;
        self.setup.put(&in_store, &changed);
        records.insert(in_store.clone(), changed.clone());
        self.setup.share(&records);
        Ok(self.described(&in_store, &changed))
    }

    /// Closes an app for ever. It does not answer any more when this resolves; what it had is taken away from then on, also
    /// after a restart.
    pub async fn delete(self: &Arc<Self>, word: &str) -> Result<(), AppError> {
        if word == DEFAULT_APP {
            return Err(AppError::Default);
        }
        let mut records = self.records.lock().await;
        let found = records.iter_mut().find(|(_, record)| record.word == word && record.state == State::Open);
        let (in_store, record) = found.ok_or_else(|| AppError::Missing(word.to_owned()))?;
        let removing = Record { state: State::Removing, hosts: BTreeSet::new(), ..record.clone() };
        self.setup.write(in_store, Some(record), &removing).await?;
        *record = removing;
        // Before its connections end: none can come back.
        let app = self.setup.apps.remove(word);
        self.setup.authority.forget(in_store);
        if let Some(app) = &app {
            app.close();
            (self.setup.end)(app);
        }
        tracing::info!(app = word, "an app was closed and is being removed");
        let in_store = in_store.clone();
        self.setup.share(&records);
        self.remove(in_store, app);
        Ok(())
    }

    /// Takes away what an app had, beside all else.
    fn remove(self: &Arc<Self>, in_store: Arc<str>, app: Option<Arc<App>>) {
        let registry = self.clone();
        tokio::spawn(async move {
            let ended = registry.setup.ended.clone();
            let work = async {
                removal::remove(&registry.setup.store, &in_store, app.as_deref()).await;
                let mut records = registry.records.lock().await;
                let Some(record) = records.get_mut(&in_store) else { return };
                let gone = Record { state: State::Gone, limits: OwnLimits::default(), ..record.clone() };
                match registry.setup.write(&in_store, Some(record), &gone).await {
                    Ok(()) => {
                        tracing::info!(app = %record.word, "nothing of a deleted app is left");
                        *record = gone;
                    }
                    // The next start looks again, finds nothing and notes it then.
                    Err(error) => tracing::warn!(%error, app = %record.word, "that a deleted app is gone could not be noted"),
                }
            };
            tokio::select! {
                () = work => {}
                () = ended.cancelled() => {}
            }
        });
    }

    fn described(&self, in_store: &Arc<str>, record: &Record) -> Described {
        Described {
            name: record.word.clone(),
            in_store: in_store.clone(),
            state: record.state,
            hosts: record.hosts.clone(),
            origins: record.origins.clone(),
            limits: record.limits.clone(),
            stored: self.setup.store.stored(in_store),
            app: self.setup.apps.get(&record.word).filter(|app| app.name == *in_store),
        }
    }
}

impl Setup {
    async fn prepare(&self, in_store: &str, root_password: Option<String>) -> Result<Option<String>, AppError> {
        first_start::prepare(in_store, &*self.store, &*self.store, &self.authority, &self.passwords, root_password).await
    }

    /// An app that was there at the last end of the server.
    async fn start(&self, in_store: &Arc<str>, record: &Record) -> Result<(), AppError> {
        self.authority.open(in_store, &*self.store).await?;
        if **in_store != *DEFAULT_APP {
            self.prepare(in_store, None).await?;
        }
        self.put(in_store, record);
        Ok(())
    }

    /// Requests find it, with these hosts, origins and limits.
    fn put(&self, in_store: &Arc<str>, record: &Record) {
        let limits = Limits::new(&self.limits, &record.limits, self.passwords.at_once(), false);
        let known = self.apps.get(&record.word).filter(|app| app.name == *in_store);
        let app = match known {
            Some(app) => {
                app.quota.set(limits);
                app
            }
            None => Arc::new(App::new(in_store.clone(), record.word.as_str().into(), limits)),
        };
        app.set_origins(record.origins.iter().cloned());
        self.apps.put(&app, &record.hosts.iter().cloned().collect::<Vec<_>>());
    }

    /// Limits depend on whether there are others.
    fn share(&self, records: &BTreeMap<Arc<str>, Record>) {
        let apps = self.apps.all();
        for app in &apps {
            let own = records.get(&app.name).map(|record| record.limits.clone()).unwrap_or_default();
            let limits = Limits::new(&self.limits, &own, self.passwords.at_once(), apps.len() == 1);
            app.quota.set(limits);
            self.store.bound_stored(&app.name, limits.stored_bytes);
        }
    }

    async fn write(&self, in_store: &str, before: Option<&Record>, record: &Record) -> Result<(), AppError> {
        let text = |record: &Record| serde_json::to_vec(record).map(Bytes::from).map_err(|error| StoreError::Broken(error.to_string()));
        let key = Bytes::from(format!("{PREFIX}{in_store}"));
        let expect = Note { key: key.clone(), value: before.map(text).transpose()? };
        let notes = vec![Note { key, value: Some(text(record)?) }];
        self.store.commit_intake(Intake { expect, writes: Vec::new(), notes }).await.map(drop).map_err(|error| match error {
            IntakeError::Store(error) => error.into(),
            other => StoreError::Broken(format!("the note of the app {in_store}: {other}")).into(),
        })
    }
}

/// The default app's record, as long as nobody has changed it.
fn default_record() -> Record {
    Record {
        word: DEFAULT_APP.into(),
        generation: 1,
        state: State::Open,
        hosts: BTreeSet::new(),
        origins: BTreeSet::new(),
        limits: OwnLimits::default(),
    }
}

fn all_checked(texts: &[String], check: impl Fn(&str) -> Result<String, AppError>) -> Result<BTreeSet<String>, AppError> {
    texts.iter().map(|text| check(text)).collect()
}

/// Whether no other app has these hosts.
fn free(records: &BTreeMap<Arc<str>, Record>, word: &str, hosts: &BTreeSet<String>) -> Result<(), AppError> {
    let others = records.values().filter(|record| record.state == State::Open && record.word != word);
    for other in others {
        if let Some(host) = other.hosts.intersection(hosts).next() {
            return Err(AppError::HostTaken { host: host.clone(), app: other.word.clone() });
        }
    }
    Ok(())
}

/// What the store calls the app that answers at a name. Blocks.
pub(crate) fn in_store(store: &Embedded, word: &str) -> Result<Arc<str>, AppError> {
    let records = read(store)?;
    let found = records.iter().find(|(_, record)| record.word == word && record.state == State::Open);
    match found {
        Some((in_store, _)) => Ok(in_store.clone()),
        None if word == DEFAULT_APP => Ok(DEFAULT_APP.into()),
        None => Err(AppError::Missing(word.to_owned())),
    }
}

/// Whether a note in the store is about an app, by its name in the store: its record; and for the default one, into which topics
/// are taken in, what ingest notes.
pub(crate) fn is_note_of(app: &str, note: &[u8]) -> bool {
    match note.strip_prefix(PREFIX.as_bytes()) {
        Some(of) => of == app.as_bytes(),
        None => app == DEFAULT_APP,
    }
}

/// All records. Blocks.
fn read(store: &Embedded) -> Result<BTreeMap<Arc<str>, Record>, StoreError> {
    let notes = store.notes(PREFIX.as_bytes(), None, usize::MAX)?;
    let record = |(key, value): (Bytes, Bytes)| {
        let broken = |reason: String| StoreError::Broken(format!("the note of an app cannot be read: {reason}"));
        let name = std::str::from_utf8(key.get(PREFIX.len()..).unwrap_or_default()).map_err(|error| broken(error.to_string()))?;
        let record = serde_json::from_slice(&value).map_err(|error| broken(error.to_string()))?;
        Ok((name.into(), record))
    };
    notes.into_iter().map(record).collect()
}

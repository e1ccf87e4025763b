//! The schemas of all apps, with what the document parser needs of them worked out once.

use super::keys;
use crate::schema::lens::Lens;
use crate::schema::{Dates, Schema};
use dataflows::document::DateFields;
use fjall::Keyspace;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How the stored objects of a bucket are read.
#[derive(Debug)]
pub(crate) struct View {
    dates: Arc<DateFields>,
    /// While fields of its class are being renamed or removed
    lens: Option<Lens>,
}

/// Which fields hold times.
impl std::ops::Deref for View {
    type Target = DateFields;

    fn deref(&self) -> &DateFields {
        &self.dates
    }
}

impl View {
    /// An object's text in its present form; none if it has that already.
    pub(crate) fn present(&self, text: &[u8]) -> Option<String> {
        self.lens.as_ref()?.read(std::str::from_utf8(text).ok()?)
    }

    /// Whether stored objects may be in a former form.
    pub(crate) fn moves(&self) -> bool {
        self.lens.is_some()
    }
}

/// One app's schema at one version.
#[derive(Debug)]
pub(crate) struct AppSchema {
    pub(crate) schema: Arc<Schema>,
    views: HashMap<Box<str>, Arc<View>>,
    /// Of buckets without a class
    open: Arc<View>,
}

impl AppSchema {
    pub(crate) fn new(schema: Arc<Schema>) -> AppSchema {
        let mut lenses = Lens::all(&schema);
        let mut dates = Dates::new(&schema);
        let mut view = |bucket: &str| Arc::new(View { dates: Arc::new(dates.of(bucket)), lens: lenses.remove(bucket) });
        let views = schema.classes.keys().map(|bucket| (bucket.clone(), view(bucket))).collect();
        let open = Arc::new(View { dates: Arc::new(Schema::default().dates("")), lens: None });
        AppSchema { views, open, schema }
    }

    /// How the objects of a bucket are read: which fields hold times, and which have other names than on the disk.
    pub(crate) fn dates(&self, bucket: &str) -> &Arc<View> {
        self.views.get(bucket).unwrap_or(&self.open)
    }

    /// Buckets whose stored objects may be in a former form.
    pub(crate) fn moving(&self) -> impl Iterator<Item = &str> {
        self.views.iter().filter(|(_, view)| view.moves()).map(|(bucket, _)| &**bucket)
    }
}

/// Every app's schema at one moment.
pub(crate) type Schemas = HashMap<Arc<str>, Arc<AppSchema>>;

/// The schema of an app that never declared one.
pub(crate) fn undeclared() -> &'static Arc<AppSchema> {
    static UNDECLARED: OnceLock<Arc<AppSchema>> = OnceLock::new();
    UNDECLARED.get_or_init(|| Arc::new(AppSchema::new(Arc::new(Schema::built_in()))))
}

/// An app's schema.
pub(crate) fn of<'a>(schemas: &'a Schemas, app: &str) -> &'a Arc<AppSchema> {
    schemas.get(app).unwrap_or_else(|| undeclared())
}

/// By app and version.
type Versions = HashMap<(Arc<str>, u64), Arc<AppSchema>>;

/// Former versions, for the records that were written under them.
pub(crate) struct SchemaHistory {
    stored: Keyspace,
    cached: Mutex<Versions>,
}

impl SchemaHistory {
    /// Versions kept in memory, over all apps.
    const CACHED: usize = 256;

    pub(crate) fn new(stored: Keyspace) -> SchemaHistory {
        SchemaHistory { stored, cached: Mutex::default() }
    }

    /// The dates of a bucket at a version of the app's schema. May read the disk.
    pub(crate) fn dates(&self, app: &Arc<str>, version: u64, bucket: &str) -> Result<Arc<DateFields>, String> {
        if version == 0 {
            return Ok(Arc::clone(&undeclared().dates(bucket).dates));
        }
        let key = (Arc::clone(app), version);
        if let Some(found) = self.cached.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(&found.dates(bucket).dates));
        }
        let text = self.stored.get(keys::schema(app, version)).map_err(|error| error.to_string())?;
        let text = text.ok_or_else(|| format!("version {version} of the schema of {app:?} is missing"))?;
        let schema: Schema = serde_json::from_slice(&text).map_err(|error| format!("the schema cannot be read: {error}"))?;
        let schema = Arc::new(AppSchema::new(Arc::new(schema)));
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= Self::CACHED {
            cached.clear();
        }
        cached.insert(key, Arc::clone(&schema));
        Ok(Arc::clone(&schema.dates(bucket).dates))
    }
}

/// The newest version of each app's schema.
pub(crate) fn load(stored: &Keyspace) -> Result<Schemas, String> {
    let mut schemas = Schemas::new();
    for entry in stored.iter() {
        let (key, text) = entry.into_inner().map_err(|error| error.to_string())?;
        let (app, version) = keys::read_schema(&key).ok_or("the key of a schema cannot be read")?;
        let schema: Schema =
            serde_json::from_slice(&text).map_err(|error| format!("version {version} of the schema of {app:?}: {error}"))?;
        // In the order of versions: the newest stays.
        schemas.insert(app.into(), Arc::new(AppSchema::new(Arc::new(schema))));
    }
    Ok(schemas)
}

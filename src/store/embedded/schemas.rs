//! The schemas of all apps, with what the document parser needs of them worked out once.

use super::keys;
use crate::schema::Schema;
use dataflows::document::DateFields;
use fjall::Keyspace;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// One app's schema at one version.
#[derive(Debug)]
pub(crate) struct AppSchema {
    pub(crate) schema: Arc<Schema>,
    dates: HashMap<Box<str>, Arc<DateFields>>,
    /// Of buckets without a class
    open: Arc<DateFields>,
}

impl AppSchema {
    pub(crate) fn new(schema: Arc<Schema>) -> AppSchema {
        let dates = schema.classes.keys().map(|bucket| (bucket.clone(), Arc::new(schema.dates(bucket)))).collect();
        let open = Arc::new(Schema::default().dates(""));
        AppSchema { schema, dates, open }
    }

    /// Which fields of a bucket hold times.
    pub(crate) fn dates(&self, bucket: &str) -> &Arc<DateFields> {
        self.dates.get(bucket).unwrap_or(&self.open)
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
            return Ok(Arc::clone(undeclared().dates(bucket)));
        }
        let key = (Arc::clone(app), version);
        if let Some(found) = self.cached.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(found.dates(bucket)));
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
        Ok(Arc::clone(schema.dates(bucket)))
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

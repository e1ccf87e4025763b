//! A change of an app's schema: a commit of its own, whose record is one of the control stream.

use super::schemas::{self, AppSchema, Schemas};
use super::writer::{Writer, panic_message};
use super::{keys, meta};
use crate::changelog::recent::Recorded;
use crate::changelog::record::{self, Payload, Record};
use crate::schema::{Schema, alteration};
use crate::store::{Actor, JudgedSchemaChange, Refusal, StoreError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

impl Writer {
    pub(super) fn schema(&mut self, app: &Arc<str>, actor: &Actor, change: &JudgedSchemaChange) -> Result<Arc<Schema>, StoreError> {
        self.open()?;
        let old = Arc::clone(&schemas::of(&self.schemas, app).schema);
        let mut schema = catch_unwind(AssertUnwindSafe(|| change(&old, &self.caller(app, actor))))
            .map_err(|panic| StoreError::Panicked(panic_message(&*panic)))?
            .map_err(|refusal: Refusal| StoreError::Refused(refusal))?;
        if schema.classes == old.classes && schema.moves == old.moves {
            return Ok(old);
        }
        schema.version = old.version + 1;
        for bucket in old.classes.keys().filter(|bucket| schema.class(bucket).is_none()) {
            if self.keyspaces.objects.prefix(keys::bucket(app, bucket)).next().is_some() {
                // Without a class the bucket would be open to everybody.
                return Err(StoreError::Refused(Refusal::Occupied(bucket.to_string())));
            }
        }
        schema.altered = alteration::between(&old, &schema);
        let before = self.state;
        let former = Arc::clone(&self.schemas);
        let schema = Arc::new(schema);
        let at = self.clock.now_ms().max(self.state.at);
        let record = Record {
            app: Arc::clone(app),
            bucket: "".into(),
            schema_version: schema.version,
            commit: self.state.commit + 1,
            previous: self.state.commit,
            control: self.state.control,
            at,
            batch: None,
            payload: Payload::Schema(Arc::clone(&schema)),
        };
        let unfit = |error: String| StoreError::Unfit(error);
        let text = record::encode(&record).map_err(|error| unfit(error.to_string()))?;
        self.fits_log(&text)?;
        let stored = meta::text(&*schema).map_err(unfit)?;
        let mut batch = self.database.batch();
        batch.insert(&self.keyspaces.schemas, keys::schema(app, schema.version), stored);
        let parsed = Arc::new(AppSchema::new(Arc::clone(&schema)));
        let indexes = self.altered(app, (schemas::of(&self.schemas, app), &parsed), &mut batch)?;
        self.append(&mut batch, at, text);
        self.state.control = self.state.commit;
        let mut schemas = Schemas::clone(&self.schemas);
        schemas.insert(Arc::clone(app), Arc::clone(&parsed));
        self.schemas = Arc::new(schemas);
        let former_indexes = std::mem::replace(&mut self.indexes, indexes);
        if let Err(error) = self.publish(self.durable(batch), vec![Recorded::Control(Arc::new(record))], &[], before) {
            self.schemas = former;
            self.indexes = former_indexes;
            return Err(error);
        }
        self.builder.wake();
        self.sweeper.wake();
        Ok(schema)
    }
}

//! Queries between processes: the text of the normal form, parsed again where it arrives.

use super::{Filter, QueryLimits};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Filter, D::Error> {
        let text: Arc<str> = Deserialize::deserialize(deserializer)?;
        // Limits were judged where the query came in.
        Filter::parse(&text, &QueryLimits::unlimited()).map_err(D::Error::custom)
    }
}

//! Secrets of the configuration: where they are, never what they are.

use serde::{Deserialize, Deserializer, de};
use std::fmt;

/// Where a secret is: `file:PATH` or `env:NAME`. Written out it would end in backups, tickets and shells' histories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlace(String);

/// A secret that is not where the configuration says.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the secret {place} cannot be read: {reason}")]
pub struct SecretError {
    place: String,
    reason: String,
}

impl SecretError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        "config-secret"
    }
}

impl SecretPlace {
    /// The secret itself, without the line's end of a file.
    pub fn read(&self) -> Result<String, SecretError> {
        let unreadable = |reason: String| SecretError { place: self.0.clone(), reason };
        match self.0.split_once(':') {
            Some(("file", path)) => {
                let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            Some(("env", name)) => std::env::var(name).map_err(|_| unreadable("there is no such variable, or it is no text".into())),
            _ => Err(unreadable("it is neither a file nor a variable".into())),
        }
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretPlace, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.strip_prefix("file:").or_else(|| text.strip_prefix("env:")).is_some_and(|place| !place.is_empty()) {
            Ok(SecretPlace(text))
        } else {
            // What stands there may be the secret.
            Err(de::Error::custom("a secret is given as \"file:PATH\" or \"env:NAME\", never itself"))
        }
    }
}

/// An option that may be left empty.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretPlace>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    SecretPlace::deserialize(de::value::StringDeserializer::new(text)).map(Some)
}

/// What can be shown of a setting that holds secrets: where they are. What was written out by mistake is not shown.
pub(super) fn shown(value: &toml::Value) -> toml::Value {
    let is_place = |text: &str| text.is_empty() || text.starts_with("file:") || text.starts_with("env:");
    match value {
        toml::Value::String(text) if is_place(text) => value.clone(),
        toml::Value::Array(tables) => toml::Value::Array(tables.iter().map(shown).collect()),
        toml::Value::Table(table) => {
            let entry =
                |(name, value): (&String, &toml::Value)| (name.clone(), if name == "client_secret" { shown(value) } else { value.clone() });
            toml::Value::Table(table.iter().map(entry).collect())
        }
        _ => toml::Value::String("(not shown)".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Options {
        #[serde(deserialize_with = "optional")]
        password: Option<SecretPlace>,
    }

    fn read(text: &str) -> Result<Option<SecretPlace>, toml::de::Error> {
        toml::from_str::<Options>(&format!("password = {text:?}")).map(|options| options.password)
    }

    #[test]
    fn are_read_from_files_and_the_environment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush hush\n").unwrap();
        let place = read(&format!("file:{}", file.path().display())).unwrap().unwrap();
        assert_eq!(place.read().unwrap(), "hush hush");
        assert_eq!(read("env:PATH").unwrap().unwrap().read().unwrap(), std::env::var("PATH").unwrap());
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("file:/no/such/file").unwrap().unwrap().read().unwrap_err().code(), "config-secret");
    }

    #[test]
    fn are_never_written_out() {
        for text in ["hush", "file:", "env:", "https:hush"] {
            let error = read(text).unwrap_err().message().to_owned();
            assert!(!error.contains("hush"), "{error}");
        }
    }
}

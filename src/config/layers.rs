//! The layers of the configuration: defaults, file, environment, flags; the later one wins.
//!
//! `default.toml` is the table of what there is: a key that is not in it is an error that names the
//! nearest one, wherever it comes from, and a value must have the type of the default.

use super::environment::{OTHER_VARIABLES, PREFIX, is_service_link};
use super::source::{ConfigError, Source};
use super::{Config, kafka, oidc};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Options that are sections of their own, and empty. Like `[[ingest]]` and `[[oidc]]` they have no line in `default.toml`: whoever
/// takes its text for a file of his own could not add such a section beside a line of the same name.
const SUBSECTIONS: [(&str, &str); 2] = [("kafka", "properties"), ("logs", "levels")];

/// One option as it is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// `section.key`
    pub key: String,
    /// Its value
    pub value: toml::Value,
    /// Where the value comes from
    pub source: Source,
}

/// The configuration in force and where each value comes from.
#[derive(Debug, Clone)]
pub struct Effective {
    /// Typed
    pub config: Config,
    /// One by one, sorted by section and name
    pub settings: Vec<Setting>,
}

/// The layers while they are laid over each other.
#[derive(Debug, Clone)]
pub struct Layers {
    settings: Vec<Setting>,
    defaults: BTreeMap<String, toml::Value>,
}

impl Layers {
    /// What `default.toml` says.
    #[allow(clippy::expect_used)] // the text is part of the binary, and a test reads it
    pub fn defaults() -> Layers {
        let mut table: toml::Table = toml::from_str(super::DEFAULTS).expect("default.toml is TOML");
        for key in [kafka::INGEST, oidc::OIDC] {
            table.insert(key.to_owned(), toml::Value::Array(Vec::new()));
        }
        for (section, key) in SUBSECTIONS {
            if let Some(toml::Value::Table(section)) = table.get_mut(section) {
                section.insert(key.to_owned(), toml::Value::Table(toml::Table::new()));
            }
        }
        let mut settings: Vec<Setting> =
            flatten(table).into_iter().map(|(key, value)| Setting { key, value, source: Source::Default }).collect();
        // In TOML what is in no section stands before the first one.
        settings.sort_by_key(|setting| setting.key.contains('.'));
        let defaults = settings.iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect();
        Layers { settings, defaults }
    }

    /// Lays a file over what there is.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            // The whole text of the error shows the line, which may hold a secret.
            let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
            let at = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            ConfigError::Syntax { path: path.to_owned(), reason: format!("{at}{}", error.message()) }
        })?;
        for (key, value) in flatten(table) {
            self.put(&key, value, Source::File(path.to_owned()))?;
        }
        Ok(())
    }

    /// Lays environment variables over what there is: `TIDEGATE_<SECTION>_<KEY>`. One that begins so and is no option is an
    /// error, but for those that are read elsewhere and those that Kubernetes sets.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (name, text) in variables {
            if !name.starts_with(PREFIX) || OTHER_VARIABLES.contains(&&*name) {
                continue;
            }
            let source = Source::Environment(name.clone());
            let Some(key) = self.defaults.keys().find(|key| variable(key) == name).cloned() else {
                if is_service_link(&name, &text) {
                    continue;
                }
                let nearest = nearest(&name, self.defaults.keys().map(|key| variable(key)));
                return Err(ConfigError::Unknown { key: name, source_of: "environment".into(), nearest });
            };
            self.text(&key, &text, source)?;
        }
        Ok(())
    }

    /// Lays one flag over what there is. `flag` is how the person names it, such as `--listen`.
    pub fn flag(&mut self, key: &str, text: &str, flag: &str) -> Result<(), ConfigError> {
        self.text(key, text, Source::Flag(flag.to_owned()))
    }

    /// Lays a `--set section.key=value` over what there is.
    pub fn set(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let Some((key, text)) = assignment.split_once('=') else {
            return Err(ConfigError::Unfit {
                key: assignment.to_owned(),
                source_of: Source::Flag("--set".into()).to_string(),
                expected: "written as section.key=value".into(),
                found: "a name without a value".into(),
            });
        };
        self.flag(key.trim(), text.trim(), "--set")
    }

    /// Adds one more mapping, `TOPIC=BUCKET`, to those that there are.
    pub fn ingest(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let source = Source::Flag("--ingest".to_owned());
        let Some((topic, bucket)) = assignment.split_once('=').filter(|(topic, bucket)| !topic.is_empty() && !bucket.is_empty()) else {
            return Err(ConfigError::Unfit {
                key: kafka::INGEST.to_owned(),
                source_of: source.to_string(),
                expected: "written as TOPIC=BUCKET".into(),
                found: format!("{assignment:?}"),
            });
        };
        let mut mapping = toml::Table::new();
        mapping.insert("topic".into(), topic.into());
        mapping.insert("bucket".into(), bucket.into());
        let known = self.settings.iter().find(|setting| setting.key == kafka::INGEST).and_then(|setting| setting.value.as_array());
        let mut mappings = known.cloned().unwrap_or_default();
        mappings.push(toml::Value::Table(mapping));
        self.put(kafka::INGEST, toml::Value::Array(mappings), source)
    }

    fn text(&mut self, key: &str, text: &str, source: Source) -> Result<(), ConfigError> {
        let default = self.default_of(key, &source)?;
        let value = match default {
            toml::Value::Integer(_) => text.parse().map(toml::Value::Integer).ok(),
            toml::Value::Float(_) => text.parse().map(toml::Value::Float).ok(),
            toml::Value::Boolean(_) => text.parse().map(toml::Value::Boolean).ok(),
            toml::Value::Array(_) | toml::Value::Table(_) if text.starts_with(['[', '{']) => {
                toml::from_str::<toml::Table>(&format!("list = {text}")).ok().and_then(|mut table| table.remove("list"))
            }
            toml::Value::Array(_) if text.trim().is_empty() => Some(toml::Value::Array(Vec::new())),
            toml::Value::Array(_) => {
                Some(toml::Value::Array(text.split(',').map(|item| toml::Value::String(item.trim().to_owned())).collect()))
            }
            _ => Some(toml::Value::String(text.to_owned())),
        };
        let value = value.ok_or_else(|| unfit(key, &source, default, &toml::Value::String(text.to_owned())))?;
        self.put(key, value, source)
    }

    fn default_of(&self, key: &str, source: &Source) -> Result<&toml::Value, ConfigError> {
        self.defaults.get(key).ok_or_else(|| ConfigError::Unknown {
            key: key.to_owned(),
            source_of: source.to_string(),
            nearest: nearest(key, self.defaults.keys().cloned()),
        })
    }

    fn put(&mut self, key: &str, value: toml::Value, source: Source) -> Result<(), ConfigError> {
        let default = self.default_of(key, &source)?;
        if default.type_str() != value.type_str() || value.as_integer().is_some_and(|number| number < 0) {
            return Err(unfit(key, &source, default, &value));
        }
        if key == kafka::INGEST
            && let Some(unknown) = kafka::unknown_field(&value)
        {
            let nearest = nearest(&unknown, kafka::FIELDS.iter().map(|field| format!("{}.{field}", kafka::INGEST)));
            return Err(ConfigError::Unknown { key: unknown, source_of: source.to_string(), nearest });
        }
        if let Some(setting) = self.settings.iter_mut().find(|setting| setting.key == key) {
            (setting.value, setting.source) = (value, source);
        }
        Ok(())
    }

    /// The configuration in force.
    pub fn finish(self) -> Result<Effective, ConfigError> {
        match typed(self.settings.iter().map(|setting| (&*setting.key, &setting.value))) {
            Ok(config) => {
                for (key, checked) in [(kafka::INGEST, kafka::check(&config.ingest)), (oidc::OIDC, oidc::check(&config.oidc))] {
                    if let Err((expected, found)) = checked {
                        let source = self.settings.iter().find(|setting| setting.key == key).map(|setting| setting.source.to_string());
                        let source_of = source.unwrap_or_default();
                        return Err(ConfigError::Unfit { key: key.to_owned(), source_of, expected, found });
                    }
                }
                Ok(Effective { config, settings: self.settings })
            }
            Err(error) => Err(self.culprit(&error)),
        }
    }

    /// Which setting it is that the types do not take: the one that alone, over the defaults, is refused too.
    fn culprit(&self, error: &str) -> ConfigError {
        let refused = self.settings.iter().filter(|setting| setting.source != Source::Default).find_map(|setting| {
            let values = self.defaults.iter().map(|(key, value)| (&**key, if *key == setting.key { &setting.value } else { value }));
            typed(values).err().map(|reason| (setting, reason))
        });
        match refused {
            Some((setting, reason)) => ConfigError::Unfit {
                key: setting.key.clone(),
                source_of: setting.source.to_string(),
                expected: "one of the values that `default.toml` names".into(),
                found: format!("{} ({})", kafka::shown(&setting.key, &setting.value), reason.trim()),
            },
            None => ConfigError::Unfit {
                key: "(several)".into(),
                source_of: "configuration".into(),
                expected: "consistent".into(),
                found: error.trim().to_owned(),
            },
        }
    }
}

impl Effective {
    /// As TOML that could be a configuration file, with the source of each value as a comment. What may be a secret is not
    /// in it.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for setting in &self.settings {
            let (of, key) = setting.key.split_once('.').unwrap_or(("", &setting.key));
            if of != section {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&format!("[{of}]\n"));
                section = of;
            }
            text.push_str(&format!("{key} = {}  # {}\n", kafka::shown(&setting.key, &setting.value), setting.source));
        }
        text
    }
}

fn typed<'s>(settings: impl Iterator<Item = (&'s str, &'s toml::Value)>) -> Result<Config, String> {
    let mut root = toml::Table::new();
    for (key, value) in settings {
        let Some((section, key)) = key.split_once('.') else {
            root.insert(key.to_owned(), value.clone());
            continue;
        };
        let table = root.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let Some(table) = table.as_table_mut() {
            table.insert(key.to_owned(), value.clone());
        }
    }
    Config::deserialize(toml::Value::Table(root)).map_err(|error| error.message().to_owned())
}

/// `section.key` and value of every option; what stands outside of a section keeps its bare name.
fn flatten(table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut flat = Vec::new();
    for (section, value) in table {
        match value {
            toml::Value::Table(options) => flat.extend(options.into_iter().map(|(key, value)| (format!("{section}.{key}"), value))),
            other => flat.push((section, other)),
        }
    }
    flat
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

fn nearest(name: &str, known: impl Iterator<Item = String>) -> String {
    // A bare `listen` means `server.listen`: compare with the key alone as well.
    let likeness = |candidate: &str| {
        let key = candidate.split_once('.').map_or(candidate, |(_, key)| key);
        strsim::jaro_winkler(name, candidate).max(strsim::jaro_winkler(name, key))
    };
    known.max_by(|left, right| likeness(left).total_cmp(&likeness(right))).unwrap_or_default()
}

fn unfit(key: &str, source: &Source, default: &toml::Value, found: &toml::Value) -> ConfigError {
    let expected = match default {
        toml::Value::Integer(_) => "a whole number, not negative".to_owned(),
        toml::Value::Array(_) => "a list of texts".to_owned(),
        toml::Value::Boolean(_) => "true or false".to_owned(),
        toml::Value::String(_) => "a text".to_owned(),
        toml::Value::Table(_) => "a table, { \"name\" = \"value\" }".to_owned(),
        other => format!("a {}", other.type_str()),
    };
    ConfigError::Unfit { key: key.to_owned(), source_of: source.to_string(), expected, found: kafka::shown(key, found).to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn defaults_are_the_default_configuration() {
        assert_eq!(Layers::defaults().finish().unwrap().config, Config::default());
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "[server]\nlisten = \"127.0.0.1:1\"\nbody_bytes = 7\nbase = \"v2\"").unwrap();
        let mut layers = Layers::defaults();
        layers.file(file.path()).unwrap();
        layers
            .environment(variables(&[("TIDEGATE_SERVER_LISTEN", "127.0.0.1:2"), ("TIDEGATE_SERVER_BODY_BYTES", "8"), ("PATH", "x")]))
            .unwrap();
        layers.flag("server.listen", "127.0.0.1:3", "--listen").unwrap();
        layers.set("server.origins=https://a.example, https://b.example").unwrap();
        let effective = layers.finish().unwrap();
        assert_eq!(effective.config.server.listen, "127.0.0.1:3");
        assert_eq!(effective.config.server.body_bytes, 8);
        assert_eq!(effective.config.server.base, "v2");
        assert_eq!(effective.config.server.origins, ["https://a.example", "https://b.example"]);
        let source = |key: &str| effective.settings.iter().find(|setting| setting.key == key).unwrap().source.to_string();
        assert_eq!(source("server.listen"), "flag --listen");
        assert_eq!(source("server.body_bytes"), "environment TIDEGATE_SERVER_BODY_BYTES");
        assert_eq!(source("server.base"), format!("file {}", file.path().display()));
        assert_eq!(source("store.queue"), "default");
    }

    #[test]
    fn what_it_prints_is_a_configuration_file() {
        let effective = Layers::defaults().finish().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{}", effective.render()).unwrap();
        let mut layers = Layers::defaults();
        layers.file(file.path()).unwrap();
        assert_eq!(layers.finish().unwrap().config, effective.config);
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "[server]\nlisten_on = \"127.0.0.1:1\"").unwrap();
        let nearest = |result: Result<(), ConfigError>| match result {
            Err(ConfigError::Unknown { nearest, .. }) => nearest,
            other => panic!("{other:?}"),
        };
        assert_eq!(nearest(Layers::defaults().file(file.path())), "server.listen");
        assert_eq!(nearest(Layers::defaults().set("store.durabilty=disk")), "store.durability");
        assert_eq!(nearest(Layers::defaults().set("listen=1")), "server.listen");
        let unknown = Layers::defaults().environment(variables(&[("TIDEGATE_STORE_DATTA", "x")]));
        assert_eq!(nearest(unknown), "TIDEGATE_STORE_DATA");
    }

    fn with_file(text: &str) -> Result<Effective, ConfigError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{text}").unwrap();
        let mut layers = Layers::defaults();
        layers.file(file.path())?;
        layers.finish()
    }

    #[test]
    fn variables_that_are_no_options_stop_nobody_where_they_are_known() {
        let others = OTHER_VARIABLES.map(|name| (name, "x"));
        let links = [("TIDEGATE_SERVICE_HOST", "10.96.0.7"), ("TIDEGATE_PORT", "tcp://10.96.0.7:8080")];
        for pair in others.into_iter().chain(links) {
            let mut layers = Layers::defaults();
            layers.environment(variables(&[pair])).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(layers.finish().unwrap().config, Config::default(), "{pair:?}");
        }
        assert!(Layers::defaults().environment(variables(&[("TIDEGATE_PORT", "8080")])).is_err());
    }

    #[test]
    fn the_printed_defaults_are_a_file_that_sections_can_be_added_to() {
        assert_eq!(with_file(super::super::DEFAULTS).unwrap().config, Config::default());
        let added = "[[ingest]]\ntopic = \"t\"\nbucket = \"B\"\n[kafka.properties]\n\"client.id\" = \"x\"\n[logs.levels]\nshop = \"info\"\n\
            [[oidc]]\nname = \"acme\"\nissuer = \"https://acme.example\"\nclient_id = \"shop\"\n";
        let config = with_file(&format!("{}{added}", super::super::DEFAULTS)).unwrap().config;
        assert_eq!((config.ingest.len(), config.oidc.len()), (1, 1));
        assert_eq!((config.kafka.properties.len(), config.logs.levels.len()), (1, 1));
    }

    #[test]
    fn its_examples_work_where_they_stand() {
        let lines = super::super::DEFAULTS.lines().map(|line| match line.strip_prefix("#   ") {
            Some(example) if !example.starts_with(' ') => example,
            _ => line,
        });
        let config = with_file(&lines.collect::<Vec<_>>().join("\n")).unwrap().config;
        assert_eq!((config.ingest.len(), config.oidc.len()), (1, 1));
        assert_eq!(config.ingest[0].types.len(), 1);
        assert_eq!((config.kafka.properties.len(), config.logs.levels.len()), (4, 1));
        assert_eq!(config.engine, Config::default().engine);
    }

    #[test]
    fn mappings_come_from_the_file_and_from_flags() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "[[ingest]]\ntopic = \"a\"\nbucket = \"A\"\nformat = \"debezium\"\n[ingest.types]\nat = \"timestamp-micros\"")
            .unwrap();
        let mut layers = Layers::defaults();
        layers.file(file.path()).unwrap();
        layers.ingest("b.c=B").unwrap();
        let effective = layers.finish().unwrap();
        let buckets: Vec<_> = effective.config.ingest.iter().map(|mapping| (&*mapping.topic, &*mapping.bucket)).collect();
        assert_eq!(buckets, [("a", "A"), ("b.c", "B")]);
        assert_eq!(with_file(&effective.render()).unwrap().config, effective.config);
        assert!(Layers::defaults().ingest("orders").is_err());
    }

    #[test]
    fn mappings_that_cannot_be_say_why() {
        let mapping = |rest: &str| with_file(&format!("[[ingest]]\ntopic = \"t\"\n{rest}"));
        match mapping("bucket = \"A\"\nformatt = \"json\"") {
            Err(ConfigError::Unknown { key, nearest, .. }) => assert_eq!((&*key, &*nearest), ("ingest.formatt", "ingest.format")),
            other => panic!("{other:?}"),
        }
        for (rest, say) in [
            ("bucket = \"A\"\n[[ingest]]\ntopic = \"u\"\nbucket = \"A\"", "bucket \"A\" twice"),
            ("bucket = \"A\"\nread = \"public\"\nowner = \"who\"", "owner"),
            ("bucket = \"A\"\ndead_letter_topic = \"t\"", "dead_letter_topic"),
            ("bucket = \"A\"\nread = \"anybody\"", "anybody"),
        ] {
            let error = mapping(rest).unwrap_err().to_string();
            assert!(error.contains(say), "{error}");
        }
        let error = with_file("[[ingest]]\ntopic = \"a/b\"\nbucket = \"A\"").unwrap_err().to_string();
        assert!(error.contains("a/b"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown_and_what_says_where_they_are_is() {
        let text = "[kafka]\nproperties = { \"security.protocol\" = \"SASL_SSL\", \"sasl.password\" = \"hush\", \"ssl.key.password\" = \"file:/run/key\" }";
        let shown = with_file(text).unwrap().render();
        assert!(!shown.contains("hush") && shown.contains("SASL_SSL") && shown.contains("file:/run/key"), "{shown}");
        for wrong in [r#"{ "sasl.password" = "hush", "x" = 5 }"#, r#"[ "hush" ]"#, r#""hush""#] {
            let error = with_file(&format!("[kafka]\nproperties = {wrong}")).unwrap_err();
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_value_of_another_type_names_key_and_source() {
        let errors = [
            Layers::defaults().set("server.body_bytes=many").unwrap_err(),
            Layers::defaults().set("server.body_bytes=-1").unwrap_err(),
            Layers::defaults().environment(variables(&[("TIDEGATE_SERVER_BODY_BYTES", "1.5")])).unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(
                text.contains("server.body_bytes") && (text.contains("--set") || text.contains("TIDEGATE_SERVER_BODY_BYTES")),
                "{text}"
            );
        }
        let mut layers = Layers::defaults();
        layers.set("store.durability=paper").unwrap();
        let text = layers.finish().unwrap_err().to_string();
        assert!(text.contains("store.durability") && text.contains("--set") && text.contains("disk"), "{text}");
    }
}

//! What was written, from every source, before anybody asks what it means.
//!
//! A `RawConfig` mirrors the file: sections that hold keys that hold settings. The environment and
//! the command line write into the same places, and the last to write a key wins, so a value is
//! checked in one way wherever it came from, and it is the value in use that is checked. Nothing
//! here knows a key.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Map;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::setting::{ConfigError, Origin, Setting, Value};

/// Every setting, by section and key.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawConfig {
    pub(crate) sections: BTreeMap<String, RawSection>,
    /// Keys that stand in no section.
    pub(crate) outside: BTreeMap<String, Setting>,
}

/// The keys of one section.
#[derive(Clone, Debug)]
pub(crate) struct RawSection {
    /// Where it was opened first.
    pub(crate) origin: Origin,
    pub(crate) keys: BTreeMap<String, Setting>,
}

impl RawConfig {
    /// Takes in a configuration file's text. `file` is the name messages call it by.
    pub(crate) fn merge_toml(&mut self, file: &Arc<str>, text: &str) -> Vec<ConfigError> {
        let document = Document { file, text };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What a broken document would mean is a guess: say only where it is broken.
            let mut errors: Vec<_> = errors.iter().map(|error| document.broken(error)).collect();
            errors.sort();
            return errors;
        }
        for (name, value) in table.get_ref() {
            let section_name = name.get_ref().to_string();
            match value.get_ref() {
                DeValue::Table(keys) => {
                    let section = self.section(&section_name, document.origin(name.span().start));
                    for (key, value) in keys {
                        section
                            .keys
                            .insert(key.get_ref().to_string(), document.setting(key, value));
                    }
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => {
                    self.outside
                        .insert(section_name, document.setting(name, value));
                }
            }
        }
        Vec::new()
    }

    /// Takes in the variables whose names have the form `NEXUM__SECTION__KEY`.
    pub(crate) fn merge_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        for (variable, value) in variables {
            let Some(path) = variable.strip_prefix(ENVIRONMENT_PREFIX) else {
                continue;
            };
            let origin = Origin::Environment {
                variable: variable.as_str().into(),
            };
            match path.split_once("__") {
                Some((section, key)) if !section.is_empty() && !key.is_empty() => {
                    let setting = Setting::from_text(value, origin);
                    self.set(&section.to_lowercase(), &key.to_lowercase(), setting);
                }
                Some(_) | None => errors.push(ConfigError::at(
                    &origin,
                    "names no key; use the form NEXUM__SECTION__KEY, such as NEXUM__LOG__LEVEL",
                )),
            }
        }
        errors
    }

    /// Takes in the argument of a `--set`.
    pub(crate) fn merge_assignment(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let origin = Origin::CommandLine {
            option: format!("--set {assignment}").into(),
        };
        let parts = assignment
            .split_once('=')
            .and_then(|(path, value)| Some((path.split_once('.')?, value)));
        match parts {
            Some(((section, key), value)) if !section.is_empty() && !key.is_empty() => {
                let setting = Setting::from_text(value.to_owned(), origin);
                self.set(section, key, setting);
                Ok(())
            }
            Some(_) | None => Err(ConfigError::at(
                &origin,
                "sets no key; use the form --set section.key=value, such as --set log.level=debug",
            )),
        }
    }

    /// Sets one key; what it was before is forgotten.
    pub(crate) fn set(&mut self, section: &str, key: &str, setting: Setting) {
        let origin = setting.origin.clone();
        self.section(section, origin)
            .keys
            .insert(key.to_owned(), setting);
    }

    fn section(&mut self, name: &str, origin: Origin) -> &mut RawSection {
        self.sections
            .entry(name.to_owned())
            .or_insert_with(|| RawSection {
                origin,
                keys: BTreeMap::new(),
            })
    }
}

/// What marks an environment variable as a setting.
pub(super) const ENVIRONMENT_PREFIX: &str = "NEXUM__";

/// A configuration file's text and its name.
struct Document<'a> {
    file: &'a Arc<str>,
    text: &'a str,
}

impl Document<'_> {
    fn setting(
        &self,
        key: &Spanned<toml::de::DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Setting {
        // A key is named by its own line, also where its value goes on over more lines.
        let mut setting = self.element(value);
        setting.origin = self.origin(key.span().start);
        setting
    }

    fn element(&self, value: &Spanned<DeValue<'_>>) -> Setting {
        Setting {
            value: match value.get_ref() {
                DeValue::String(string) => Value::String(string.to_string()),
                DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                    .map_or(Value::Unused, Value::Integer),
                DeValue::Boolean(boolean) => Value::Boolean(*boolean),
                DeValue::Array(elements) => Value::Array(
                    elements
                        .iter()
                        .map(|element| self.element(element))
                        .collect(),
                ),
                DeValue::Table(table) => Value::Table(json_table(table)),
                DeValue::Float(_) | DeValue::Datetime(_) => Value::Unused,
            },
            written: self.text[value.span()].to_owned(),
            origin: self.origin(value.span().start),
        }
    }

    fn broken(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        let origin = self.origin(span.start);
        let at = &self.text[span.clone()];
        let is_value = self.text[..span.start]
            .trim_end()
            .ends_with(['=', '[', ',']);
        // The parser takes a bare `info` for a misspelt infinity.
        if is_value && at.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let message =
                format!("not valid TOML: {at} is no value; a string needs quotes: \"{at}\"");
            return ConfigError::at(&origin, message);
        }
        ConfigError::at(&origin, format!("not valid TOML: {}", error.message()))
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File {
            file: Arc::clone(self.file),
            line: 1 + self.text[..offset].matches('\n').count(),
        }
    }
}

fn json_table(table: &DeTable<'_>) -> Map<String, serde_json::Value> {
    let entries = table.iter();
    entries
        .map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())))
        .collect()
}

/// A value in a table, for whoever reads the table as a whole. What JSON has no form for is text.
fn json(value: &DeValue<'_>) -> serde_json::Value {
    match value {
        DeValue::String(string) => string.as_ref().into(),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| integer.as_str().into(), Into::into),
        DeValue::Float(float) => float
            .as_str()
            .parse::<f64>()
            .map_or_else(|_| float.as_str().into(), Into::into),
        DeValue::Boolean(boolean) => (*boolean).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(elements) => elements.iter().map(|it| json(it.get_ref())).collect(),
        DeValue::Table(table) => json_table(table).into(),
    }
}

//! Reads settings into what they mean, and remembers which keys there are.
//!
//! A key exists because somebody reads it: the code that reads a section is the one list of its
//! keys, their kinds and their bounds. Whatever was set and never read is unknown. Every mistake is
//! kept, so that all of them are reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde_json::Map;

use super::nearest::nearest;
use super::quantity::{Quantity, Unit};
use super::raw::RawConfig;
use super::setting::{ConfigError, Origin, Setting, Value};

/// Every key there is, by section, in the order they are read.
pub(crate) type KnownKeys = BTreeMap<&'static str, Vec<&'static str>>;

/// Reads a [`RawConfig`].
pub(crate) struct Reader<'a> {
    raw: &'a RawConfig,
    /// Where relative paths of the configuration file start.
    directory: &'a Path,
    known: KnownKeys,
    /// Sections whose keys are names that the user gives.
    named: BTreeSet<&'static str>,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(raw: &'a RawConfig, directory: &'a Path) -> Reader<'a> {
        Reader {
            raw,
            directory,
            known: KnownKeys::new(),
            named: BTreeSet::new(),
            errors: Vec::new(),
        }
    }

    /// Starts to read a section.
    pub(crate) fn section(&mut self, name: &'static str) -> Section<'_, 'a> {
        self.known.entry(name).or_default();
        Section { reader: self, name }
    }

    /// Keeps a mistake that only several values together make.
    pub(crate) fn error(&mut self, error: ConfigError) {
        self.errors.push(error);
    }

    pub(crate) fn error_count(&self) -> usize {
        self.errors.len()
    }

    /// Ends the reading: what is set and was not read is unknown.
    pub(crate) fn finish(mut self) -> (KnownKeys, Vec<ConfigError>) {
        for (key, setting) in &self.raw.outside {
            let message = self.unknown_outside(key);
            self.errors.push(ConfigError::at(&setting.origin, message));
        }
        for (name, section) in &self.raw.sections {
            let Some(known) = self.known.get(name.as_str()) else {
                let message = match nearest(name, self.known.keys().copied()) {
                    Some(near) => format!("unknown section [{name}]; did you mean [{near}]?"),
                    None => {
                        let all: Vec<String> = self
                            .known
                            .keys()
                            .map(|known| format!("[{known}]"))
                            .collect();
                        format!(
                            "unknown section [{name}]; the sections are {}",
                            all.join(", ")
                        )
                    }
                };
                self.errors.push(ConfigError::at(&section.origin, message));
                continue;
            };
            if self.named.contains(name.as_str()) {
                continue;
            }
            for (key, setting) in &section.keys {
                if !known.contains(&key.as_str()) {
                    let message = self.unknown_in(name, known, key);
                    self.errors.push(ConfigError::at(&setting.origin, message));
                }
            }
        }
        // In the order a reader would go about them: down the file, then the other sources.
        self.errors.sort();
        (self.known, self.errors)
    }

    fn unknown_in(&self, section: &str, known: &[&'static str], key: &str) -> String {
        if let Some(elsewhere) = self.section_of(key) {
            return format!("unknown key '{key}' in [{section}]; it belongs in [{elsewhere}]");
        }
        match nearest(key, known.iter().copied()) {
            Some(near) => {
                format!("unknown key '{key}' in [{section}]; did you mean '{near}'?")
            }
            None => {
                let all = known.join(", ");
                format!("unknown key '{key}' in [{section}]; its keys are {all}")
            }
        }
    }

    fn unknown_outside(&self, key: &str) -> String {
        if self.known.contains_key(key) {
            return format!("'{key}' is a section; write [{key}] on a line and its keys below it");
        }
        if let Some(section) = self.section_of(key) {
            return format!("unknown key '{key}' outside a section; it belongs in [{section}]");
        }
        match nearest(key, self.known.values().flatten().copied()) {
            Some(near) => {
                let section = self.section_of(near).expect("a known key has a section");
                format!(
                    "unknown key '{key}' outside a section; did you mean '{near}' in [{section}]?"
                )
            }
            None => format!("unknown key '{key}' outside a section; every key is in a section"),
        }
    }

    fn section_of(&self, key: &str) -> Option<&'static str> {
        self.known
            .iter()
            .find(|(_, keys)| keys.contains(&key))
            .map(|(section, _)| *section)
    }
}

/// Reads the keys of one section. Each method reads one key into its target, which holds the
/// default and keeps it if the key is not set or is set wrongly.
pub(crate) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    name: &'static str,
}

impl<'a> Section<'_, 'a> {
    /// A number of things, within bounds.
    pub(crate) fn count<T: Quantity>(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<u64>,
        target: &mut T,
    ) {
        self.quantity(key, Unit::One, allowed, target);
    }

    /// A size.
    pub(crate) fn bytes<T: Quantity>(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<u64>,
        target: &mut T,
    ) {
        self.quantity(key, Unit::Byte, allowed, target);
    }

    /// A duration in seconds.
    pub(crate) fn seconds<T: Quantity>(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<u64>,
        target: &mut T,
    ) {
        self.quantity(key, Unit::Second, allowed, target);
    }

    /// A duration in milliseconds.
    pub(crate) fn milliseconds<T: Quantity>(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<u64>,
        target: &mut T,
    ) {
        self.quantity(key, Unit::Millisecond, allowed, target);
    }

    fn quantity<T: Quantity>(
        &mut self,
        key: &'static str,
        unit: Unit,
        allowed: RangeInclusive<u64>,
        target: &mut T,
    ) {
        let Some(setting) = self.lookup(key) else {
            return;
        };
        let given = match &setting.value {
            Value::Integer(integer) => u64::try_from(*integer).ok(),
            Value::Text(text) => unit.parse(text),
            Value::String(text) if unit != Unit::One => unit.parse(text),
            Value::String(_)
            | Value::Boolean(_)
            | Value::Array(_)
            | Value::Table(_)
            | Value::Unused => None,
        };
        match given
            .filter(|value| allowed.contains(value))
            .and_then(T::from_u64)
        {
            Some(value) => *target = value,
            None => {
                let (least, most) = (unit.display(*allowed.start()), unit.display(*allowed.end()));
                let default = unit.display(target.to_u64());
                self.refuse(
                    key,
                    setting,
                    &format!(
                        "use {} from {least} to {most} (default {default})",
                        unit.wanted()
                    ),
                );
            }
        }
    }

    /// True or false.
    pub(crate) fn boolean(&mut self, key: &'static str, target: &mut bool) {
        self.choice(key, &BOOLEANS, target);
    }

    /// One of a few words. The words `true` and `false` are also TOML's booleans.
    pub(crate) fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
        target: &mut T,
    ) {
        let Some(setting) = self.lookup(key) else {
            return;
        };
        let word = match &setting.value {
            Value::Boolean(true) => Some("true"),
            Value::Boolean(false) => Some("false"),
            // `"true"` in quotes is a string, and no key's word.
            Value::String(word) if is_boolean(word) => None,
            Value::String(word) | Value::Text(word) => Some(word.as_str()),
            Value::Integer(_) | Value::Array(_) | Value::Table(_) | Value::Unused => None,
        };
        let found = word.and_then(|word| choices.iter().find(|(name, _)| *name == word));
        if let Some((_, value)) = found {
            *target = *value;
            return;
        }
        let shown = |name: &&str| match is_boolean(name) {
            true => (*name).to_owned(),
            false => format!("\"{name}\""),
        };
        let mut names: Vec<String> = choices.iter().map(|(name, _)| shown(name)).collect();
        let default = choices.iter().find(|(_, value)| value == target);
        let default = default.map_or(String::new(), |(name, _)| {
            format!(" (default {})", shown(name))
        });
        let last = names.pop().expect("a key has choices");
        let names = match names.is_empty() {
            true => last,
            false => format!("{} or {last}", names.join(", ")),
        };
        self.refuse(key, setting, &format!("use {names}{default}"));
    }

    /// A path. What the file says is relative to the file, what the environment and the command
    /// line say to the working directory; a default is read as if the file had it.
    pub(crate) fn path(&mut self, key: &'static str, target: &mut PathBuf) {
        let mut set = None;
        self.optional_path(key, &mut set);
        *target = set.unwrap_or_else(|| self.reader.directory.join(&*target));
    }

    /// A path that has no default.
    pub(crate) fn optional_path(&mut self, key: &'static str, target: &mut Option<PathBuf>) {
        let Some(setting) = self.lookup(key) else {
            return;
        };
        match &setting.value {
            Value::String(path) if !path.is_empty() => {
                *target = Some(self.reader.directory.join(path));
            }
            Value::Text(path) if !path.is_empty() => *target = Some(PathBuf::from(path)),
            Value::String(_)
            | Value::Text(_)
            | Value::Integer(_)
            | Value::Boolean(_)
            | Value::Array(_)
            | Value::Table(_)
            | Value::Unused => self.refuse(key, setting, "use a path, such as \"directory/file\""),
        }
    }

    /// A string that `read` understands or says what it calls for: the end of a sentence that
    /// begins "use".
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl Fn(&str) -> Option<T>,
        target: &mut T,
    ) {
        let Some(setting) = self.lookup(key) else {
            return;
        };
        let value = match &setting.value {
            Value::String(text) | Value::Text(text) => read(text),
            Value::Integer(_)
            | Value::Boolean(_)
            | Value::Array(_)
            | Value::Table(_)
            | Value::Unused => None,
        };
        match value {
            Some(value) => *target = value,
            None => self.refuse(key, setting, &format!("use {wanted}")),
        }
    }

    /// A list of strings; the environment and the command line separate them by commas. `read`
    /// understands one or says what is wrong with it. Returns each with where it was set, or
    /// nothing if the key is not set; the wrong ones are left out.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<(T, Origin)>> {
        let setting = self.lookup(key)?;
        let elements: Vec<(&str, &Origin)> = match &setting.value {
            Value::Text(text) => text
                .split(',')
                .map(|element| (element.trim(), &setting.origin))
                .filter(|(element, _)| !element.is_empty())
                .collect(),
            Value::Array(elements) => {
                let mut texts = Vec::new();
                for element in elements {
                    match &element.value {
                        Value::String(text) | Value::Text(text) => {
                            texts.push((text.as_str(), &element.origin));
                        }
                        Value::Integer(_)
                        | Value::Boolean(_)
                        | Value::Array(_)
                        | Value::Table(_)
                        | Value::Unused => {
                            self.refuse(key, element, &format!("use strings, such as {example}"));
                        }
                    }
                }
                texts
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Boolean(_)
            | Value::Table(_)
            | Value::Unused => {
                self.refuse(key, setting, &format!("use a list, such as [{example}]"));
                return None;
            }
        };
        let mut list = Vec::new();
        for (element, origin) in elements {
            match read(element) {
                Ok(value) => list.push((value, origin.clone())),
                Err(problem) => {
                    let message = format!("'{key}' in [{}]: {problem}", self.name);
                    self.reader.errors.push(ConfigError::at(origin, message));
                }
            }
        }
        Some(list)
    }

    /// A table, or an object of JSON from the environment and the command line.
    pub(crate) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Map<String, serde_json::Value>) -> Result<T, String>,
        target: &mut T,
    ) {
        if let Some(setting) = self.lookup(key)
            && let Some(value) = self.read_table(key, setting, &read)
        {
            *target = value;
        }
    }

    /// The section as a whole: tables under names that the user gives. Each with its name; the wrong
    /// ones are left out.
    pub(crate) fn named_tables<T>(
        &mut self,
        read: impl Fn(&str, &Map<String, serde_json::Value>) -> Result<T, String>,
    ) -> Vec<(String, T)> {
        self.reader.named.insert(self.name);
        let Some(section) = self.reader.raw.sections.get(self.name) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (name, setting) in &section.keys {
            if let Some(value) = self.read_table(name, setting, |table| read(name, table)) {
                tables.push((name.clone(), value));
            }
        }
        tables
    }

    fn read_table<T>(
        &mut self,
        key: &str,
        setting: &Setting,
        read: impl Fn(&Map<String, serde_json::Value>) -> Result<T, String>,
    ) -> Option<T> {
        let parsed;
        let table = match &setting.value {
            Value::Table(table) => Some(table),
            Value::Text(text) => {
                parsed = serde_json::from_str(text).ok();
                parsed.as_ref()
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Boolean(_)
            | Value::Array(_)
            | Value::Unused => None,
        };
        let Some(table) = table else {
            let remedy = format!("use a table, [{}.{key}] with keys below it", self.name);
            self.refuse(key, setting, &remedy);
            return None;
        };
        match read(table) {
            Ok(value) => Some(value),
            Err(problem) => {
                let message = format!("'{key}' in [{}]: {problem}", self.name);
                let error = ConfigError::at(&setting.origin, message);
                self.reader.errors.push(error);
                None
            }
        }
    }

    /// Where a key was set, if it was.
    pub(crate) fn origin(&self, key: &str) -> Option<&'a Origin> {
        let section = self.reader.raw.sections.get(self.name)?;
        section.keys.get(key).map(|setting| &setting.origin)
    }

    /// Notes that the key exists and looks up what it is set to.
    fn lookup(&mut self, key: &'static str) -> Option<&'a Setting> {
        let known = self
            .reader
            .known
            .get_mut(self.name)
            .expect("a section is known before its keys");
        debug_assert!(!known.contains(&key), "{key} is read twice");
        known.push(key);
        self.reader.raw.sections.get(self.name)?.keys.get(key)
    }

    fn refuse(&mut self, key: &str, setting: &Setting, remedy: &str) {
        let message = format!(
            "'{key}' in [{}] cannot be {}; {remedy}",
            self.name,
            setting.shown()
        );
        self.reader
            .errors
            .push(ConfigError::at(&setting.origin, message));
    }
}

const BOOLEANS: [(&str, bool); 2] = [("true", true), ("false", false)];

fn is_boolean(word: &str) -> bool {
    BOOLEANS.iter().any(|(name, _)| *name == word)
}

//! Reads `manifest.toml`, and rewrites its lists of tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

/// One normative statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) id: String,
    pub(crate) level: String,
    pub(crate) binds: String,
    pub(crate) text: String,
    pub(crate) on_breach: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) exception: Option<String>,
    pub(crate) tests: Vec<String>,
}

/// All statements, in the order of the file.
///
/// # Panics
/// If the file is no TOML, or has a key that no statement has.
pub(crate) fn parse(text: &str) -> Vec<Statement> {
    let table = DeTable::parse(text).unwrap_or_else(|error| panic!("manifest.toml: {error}"));
    let entries = table
        .get_ref()
        .get("statement")
        .map(|entries| entries.get_ref());
    let Some(DeValue::Array(entries)) = entries else {
        panic!("manifest.toml has no [[statement]]");
    };
    entries
        .iter()
        .map(|entry| match entry.get_ref() {
            DeValue::Table(table) => statement(table),
            other => panic!("a statement is a table: {other:?}"),
        })
        .collect()
}

fn statement(table: &DeTable<'_>) -> Statement {
    let mut statement = Statement::default();
    for (key, value) in table {
        let value = value.get_ref();
        match key.get_ref().as_ref() {
            "id" => statement.id = string(value),
            "level" => statement.level = string(value),
            "binds" => statement.binds = string(value),
            "text" => statement.text = string(value),
            "on_breach" => statement.on_breach = Some(string(value)),
            "note" => statement.note = Some(string(value)),
            "exception" => statement.exception = Some(string(value)),
            "tests" => statement.tests = strings(value),
            other => panic!("a statement has no key {other:?}: {table:?}"),
        }
    }
    statement
}

fn string(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.clone().into_owned(),
        other => panic!("expected a string: {other:?}"),
    }
}

fn strings(value: &DeValue<'_>) -> Vec<String> {
    match value {
        DeValue::Array(values) => values.iter().map(|value| string(value.get_ref())).collect(),
        other => panic!("expected a list of strings: {other:?}"),
    }
}

/// The file with other lists of tests, and nothing else changed. It relies on the file's own form:
/// `id = "…"` on a line of its own, then `tests = […]` as the last key.
pub(crate) fn with_tests(text: &str, tests: &BTreeMap<String, Vec<String>>) -> String {
    let mut written = String::new();
    let mut id = "";
    let mut inside_list = false;
    for line in text.lines() {
        if inside_list {
            inside_list = line != "]";
            continue;
        }
        if let Some(quoted) = line.strip_prefix("id = ") {
            id = quoted.trim_matches('"');
        }
        let Some(list) = line.strip_prefix("tests = ") else {
            written.push_str(line);
            written.push('\n');
            continue;
        };
        inside_list = !list.ends_with(']');
        match tests.get(id) {
            None => written.push_str("tests = []\n"),
            Some(tests) => {
                written.push_str("tests = [\n");
                for test in tests {
                    writeln!(written, "    \"{test}\",")
                        .expect("writing to a String does not fail");
                }
                written.push_str("]\n");
            }
        }
    }
    written
}

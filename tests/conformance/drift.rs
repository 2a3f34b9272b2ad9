//! Holds three things together: the manifest, the tests, and the citations in the broker's sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::manifest::{self, Statement};

/// The ids of both specifications, to hold the manifest against.
const STATEMENT_IDS: &str = include_str!("statement_ids.txt");

/// How many statements each section of both specifications has.
const MQTT3_SECTIONS: &[(&str, usize)] = &[
    ("1.5", 3),
    ("2.2", 2),
    ("2.3", 7),
    ("3.1", 42),
    ("3.2", 7),
    ("3.3", 18),
    ("3.6", 1),
    ("3.8", 11),
    ("3.9", 2),
    ("3.10", 9),
    ("3.12", 1),
    ("3.14", 4),
    ("4.1", 2),
    ("4.3", 5),
    ("4.4", 1),
    ("4.5", 2),
    ("4.6", 6),
    ("4.7", 8),
    ("4.8", 2),
    ("6.0", 4),
    ("7.0", 2),
    ("7.1", 2),
];
const MQTT5_SECTIONS: &[(&str, usize)] = &[
    ("1.5", 5),
    ("2.1", 1),
    ("2.2", 6),
    ("3.1", 50),
    ("3.2", 24),
    ("3.3", 43),
    ("3.4", 3),
    ("3.5", 3),
    ("3.6", 4),
    ("3.7", 3),
    ("3.8", 14),
    ("3.9", 4),
    ("3.10", 9),
    ("3.11", 4),
    ("3.12", 1),
    ("3.14", 9),
    ("3.15", 4),
    ("4.1", 2),
    ("4.2", 1),
    ("4.3", 19),
    ("4.4", 2),
    ("4.5", 2),
    ("4.6", 6),
    ("4.7", 8),
    ("4.8", 6),
    ("4.9", 3),
    ("4.12", 9),
    ("4.13", 2),
    ("6.0", 4),
];

const UPDATE: &str = "NEXUM_UPDATE_MANIFEST";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest_path() -> PathBuf {
    root().join("tests/conformance/manifest.toml")
}

fn statements() -> Vec<Statement> {
    manifest::parse(&read(&manifest_path()))
}

/// Every Rust source below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let entries = fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for entry in entries {
            let path = entry.expect("the directory is readable").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    left.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every id in a text: `MQTT-` or `MQTT3-`, then digits and dots, a dash, digits.
fn ids(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("MQTT") {
        rest = &rest[start..];
        let prefix = ["MQTT-", "MQTT3-"]
            .into_iter()
            .find(|prefix| rest.starts_with(prefix));
        let Some(prefix) = prefix else {
            rest = &rest["MQTT".len()..];
            continue;
        };
        let tail = &rest[prefix.len()..];
        let section = prefix_of(tail, |character| {
            character.is_ascii_digit() || character == '.'
        });
        let number = tail[section.len()..].strip_prefix('-').map_or("", |tail| {
            prefix_of(tail, |character| character.is_ascii_digit())
        });
        if section.contains('.') && !number.is_empty() {
            found.push(format!("{prefix}{section}-{number}"));
        }
        rest = tail;
    }
    found
}

fn prefix_of(text: &str, accepts: impl Fn(char) -> bool) -> &str {
    let end = text
        .find(|character| !accepts(character))
        .unwrap_or(text.len());
    &text[..end]
}

/// The tests of this target, and which statements the doc comment of each names.
fn tests_and_citations() -> BTreeMap<String, Vec<String>> {
    let mut tests = BTreeMap::new();
    for path in sources(&root().join("tests/conformance")) {
        let module = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a plain name");
        let (mut comment, mut is_test) = (String::new(), false);
        for line in read(&path).lines() {
            if let Some(text) = line.strip_prefix("///") {
                comment.push_str(text);
                comment.push('\n');
            } else if line == "#[test]" {
                is_test = true;
            } else {
                if let (true, Some(function)) = (is_test, line.strip_prefix("fn ")) {
                    let name = function.split('(').next().unwrap_or_default();
                    tests.insert(format!("conformance::{module}::{name}"), ids(&comment));
                }
                comment.clear();
                is_test = false;
            }
        }
    }
    tests
}

/// For each statement the tests that name it.
fn tests_by_statement() -> BTreeMap<String, Vec<String>> {
    let mut by_statement: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (test, cited) in tests_and_citations() {
        for id in cited.into_iter().collect::<BTreeSet<_>>() {
            by_statement.entry(id).or_default().push(test.clone());
        }
    }
    by_statement
}

#[test]
fn manifest_has_every_statement_once() {
    let expected: Vec<&str> = STATEMENT_IDS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let listed: Vec<String> = statements()
        .into_iter()
        .map(|statement| statement.id)
        .collect();
    assert_eq!(listed, expected);
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "an id stands twice");
    for (prefix, sections) in [("MQTT3-", MQTT3_SECTIONS), ("MQTT-", MQTT5_SECTIONS)] {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for id in &listed {
            if let Some(rest) = id.strip_prefix(prefix) {
                let second_dot = rest
                    .match_indices(['.', '-'])
                    .nth(1)
                    .map_or(rest.len(), |(at, _)| at);
                *counts.entry(&rest[..second_dot]).or_default() += 1;
            }
        }
        assert_eq!(
            counts,
            sections.iter().copied().collect(),
            "by section of {prefix}"
        );
    }
}

#[test]
fn manifest_is_well_formed() {
    for statement in statements() {
        let id = &statement.id;
        assert!(
            ["must", "must not", "should", "may"].contains(&statement.level.as_str()),
            "{id}: {}",
            statement.level
        );
        assert!(
            ["server", "client", "both"].contains(&statement.binds.as_str()),
            "{id}: {}",
            statement.binds
        );
        assert!(!statement.text.is_empty(), "{id}");
        assert_eq!(
            statement.on_breach.is_some(),
            statement.binds == "client",
            "{id}: what binds only clients says what the broker does when one breaks it"
        );
        let said = [&statement.on_breach, &statement.note, &statement.exception];
        assert!(
            said.into_iter().flatten().all(|text| !text.is_empty()),
            "{id}"
        );
    }
}

/// With `NEXUM_UPDATE_MANIFEST=1` it writes the lists instead.
#[test]
fn manifest_lists_the_tests_that_name_a_statement() {
    let path = manifest_path();
    let present = read(&path);
    let expected = manifest::with_tests(&present, &tests_by_statement());
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &expected).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let differing = present
        .lines()
        .zip(expected.lines())
        .position(|(present, expected)| present != expected);
    assert!(
        present == expected,
        "the tests of manifest.toml and the doc comments differ from line {:?} on; {UPDATE}=1 \
         writes them anew",
        differing.map(|line| line + 1)
    );
    // The rewriting trusts the form of the file; the parser does not.
    let by_statement = tests_by_statement();
    for statement in statements() {
        let tests = by_statement.get(&statement.id).cloned().unwrap_or_default();
        assert_eq!(statement.tests, tests, "{}", statement.id);
    }
}

#[test]
fn every_citation_names_a_statement() {
    let known: BTreeSet<String> = statements()
        .into_iter()
        .map(|statement| statement.id)
        .collect();
    let paths = ["tests/conformance", "broker", "extensions"]
        .map(|directory| sources(&root().join(directory)))
        .concat();
    let mut cited = BTreeSet::new();
    for path in &paths {
        for id in ids(&read(path)) {
            assert!(
                known.contains(&id),
                "{} cites {id}, which does not exist",
                path.display()
            );
            cited.insert(id);
        }
    }
    assert!(!cited.is_empty(), "nothing was found to check");
}

/// A statement that binds a server has a test or a reason to have none.
#[test]
fn coverage_is_complete() {
    let statements = statements();
    let mut uncovered = Vec::new();
    for prefix in ["MQTT3-", "MQTT-"] {
        let of_version: Vec<&Statement> = statements
            .iter()
            .filter(|statement| statement.id.starts_with(prefix))
            .collect();
        let (client, server): (Vec<&Statement>, Vec<&Statement>) = of_version
            .iter()
            .partition(|statement| statement.binds == "client");
        let tested = |list: &[&Statement]| {
            list.iter()
                .filter(|statement| !statement.tests.is_empty())
                .count()
        };
        let excepted = server
            .iter()
            .filter(|statement| statement.tests.is_empty() && statement.exception.is_some())
            .count();
        uncovered.extend(
            server
                .iter()
                .filter(|statement| statement.tests.is_empty() && statement.exception.is_none())
                .map(|statement| statement.id.clone()),
        );
        println!(
            "{prefix:6} {} statements: {} bind a server, of them {} tested and {excepted} excepted; \
             {} bind only clients, of them {} tested",
            of_version.len(),
            server.len(),
            tested(&server),
            client.len(),
            tested(&client),
        );
    }
    assert_eq!(uncovered, [""; 0], "without a test or an exception");
}

/// An exception that has found its test is none.
#[test]
fn exceptions_have_no_tests() {
    for statement in statements() {
        assert!(
            statement.exception.is_none() || statement.tests.is_empty(),
            "{} is tested: make its exception a note, or drop it",
            statement.id
        );
    }
}

#[test]
fn ids_are_found_in_any_text() {
    assert_eq!(
        ids(
            "// [MQTT-3.1.0-1], [MQTT3-3.1.2-12] and MQTT-4.2-1; not MQTT, MQTT-, MQTT 5, MQTT-3.1"
        ),
        ["MQTT-3.1.0-1", "MQTT3-3.1.2-12", "MQTT-4.2-1"]
    );
}

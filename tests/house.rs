//! The house: which crate may know which, who may name whose types, how long a file may be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use annals_persistence::planted::{Fault, planted};
use serde_json::Value;

/// From the ground up: a crate may know those before it.
const FLOORS: &[&str] = &[
    "annals-parts",
    "annals-persistence",
    "annals-actors",
    "annals-bus",
    "annals-services",
    "annals",
    "annals-reference",
    "annals-benches",
];

/// Who may have an outside crate as a dependency of its library.
const KEEPERS: &[(&str, &[&str])] = &[
    ("axum", &["annals-services", "annals-reference", "annals-benches"]),
    ("ractor", &["annals-actors", "annals-bus", "annals-benches"]),
    ("sled", &["annals-persistence", "annals-benches"]),
    ("redb", &["annals-persistence"]),
    ("bincode", &["annals-persistence", "annals-benches"]),
    ("dapr", &["annals-bus", "annals-benches"]),
    ("tonic", &["annals-bus", "annals-benches"]),
];

/// Modules that alone may name an outside crate's types, inside the crate that has it.
const ROOMS: &[(&str, &str, &[&str])] = &[
    ("sled::", "persistence/src", &["persistence/src/snapshot"]),
    ("redb::", "persistence/src", &["persistence/src/snapshot"]),
    ("bincode::", "persistence/src", &["persistence/src/codec.rs"]),
    ("rustix::", "persistence/src", &["persistence/src/vfs"]),
    ("dapr::dapr::", "bus/src", &["bus/src/broker/dapr"]),
    ("tonic::", "bus/src", &["bus/src/broker/dapr"]),
    ("prost_types::", "bus/src", &["bus/src/broker/dapr"]),
    ("hyper::", "bus/src", &["bus/src/broker/dapr"]),
    ("tokio_rustls::", "bus/src", &["bus/src/broker/dapr"]),
    (
        "std::fs",
        "persistence/src",
        &["persistence/src/vfs", "persistence/src/snapshot", "persistence/src/conformance"],
    ),
];

/// What nobody gets without asking.
const NOT_BY_DEFAULT: &[&str] = &[
    "redb",
    "tonic",
    "prost",
    "sqlx",
    "tokio-postgres",
    "rdkafka",
    "rskafka",
    "dapr",
    "openssl-sys",
    "rustls",
];

const FILE_LINES_MAX: usize = 700;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> Value {
    metadata_with(&["--no-deps"]).unwrap()
}

fn metadata_with(arguments: &[&str]) -> Result<Value, String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// With all that Cargo.lock names; where only this machine's part of it was downloaded, with that.
fn metadata_with_dependencies() -> Value {
    let host = || {
        let version = Command::new("rustc").arg("-vV").output().unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
    };
    metadata_with(&[]).or_else(|_| metadata_with(&["--filter-platform", &host()])).unwrap()
}

/// The packages of the workspace.
fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let members = metadata["workspace_members"].as_array().unwrap();
    metadata["packages"].as_array().unwrap().iter().filter(|package| members.contains(&package["id"]))
}

/// The normal dependencies of each workspace package.
fn dependencies(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    members(metadata)
        .map(|package| {
            let of = package["dependencies"].as_array().unwrap().iter();
            let normal = of.filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().unwrap().to_owned());
            (package["name"].as_str().unwrap().to_owned(), normal.collect())
        })
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn all_sources() -> Vec<PathBuf> {
    let folders = ["src", "examples", "tests", "persistence", "actors", "bus", "services", "benches"];
    folders.iter().flat_map(|folder| sources(&root().join(folder))).collect()
}

#[test]
fn arrows_go_one_way() {
    for (package, dependencies) in dependencies(&metadata()) {
        let Some(floor) = FLOORS.iter().position(|name| *name == package) else {
            assert_eq!(package, "annals-macros", "a crate without a floor; give it one in FLOORS");
            continue;
        };
        for above in &FLOORS[floor..] {
            assert!(!dependencies.contains(*above), "{package} may not know {above}");
        }
    }
}

#[test]
fn outside_crates_have_their_keepers() {
    for (package, dependencies) in dependencies(&metadata()) {
        for (outside, keepers) in KEEPERS {
            let knows = dependencies.contains(*outside);
            assert!(!knows || keepers.contains(&&*package), "{package} may not know {outside}");
        }
    }
}

#[test]
fn outside_types_stay_in_their_rooms() {
    for (name, folder, rooms) in ROOMS {
        for path in sources(&root().join(folder)) {
            let place = path.strip_prefix(root()).unwrap().display().to_string();
            let is_test = place.contains("tests");
            if is_test || rooms.iter().any(|room| place.starts_with(room)) {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let named = text.lines().any(|line| line.contains(name) && !line.trim_start().starts_with("//"));
            assert!(!named, "{place} may not name {name}");
        }
    }
}

#[test]
fn the_default_build_is_lean() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--edges", "normal,build", "--prefix", "none", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let found: Vec<_> = NOT_BY_DEFAULT.iter().filter(|name| names.contains(**name)).collect();
    assert!(found.is_empty(), "the default build pulls in {found:?}");
}

/// A version of Rust in three numbers.
fn rust_version(package: &Value) -> Option<[u32; 3]> {
    let text = package["rust_version"].as_str()?;
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    Some(std::array::from_fn(|_| numbers.next().unwrap_or(0)))
}

#[test]
fn everything_builds_with_the_declared_rust() {
    let metadata = metadata_with_dependencies();
    let declared: BTreeSet<_> = members(&metadata).map(rust_version).collect();
    let [Some(declared)] = declared.iter().collect::<Vec<_>>()[..] else {
        panic!("every package of the workspace declares the same rust-version: {declared:?}")
    };
    let newer = metadata["packages"].as_array().unwrap().iter().filter(|package| {
        // One that says nothing is older than the word, or does not care.
        rust_version(package).is_some_and(|version| version > *declared)
    });
    let newer: Vec<_> = newer
        .map(|package| {
            format!("{} {} needs {}", package["name"], package["version"], package["rust_version"])
        })
        .collect();
    assert!(
        newer.is_empty(),
        "these need a newer Rust than is declared; choose older ones with cargo update --precise: {newer:?}"
    );
}

#[test]
fn there_is_one_binary_and_no_bench_harness_in_the_way() {
    let metadata = metadata();
    let mut binaries = Vec::new();
    for package in members(&metadata) {
        for target in package["targets"].as_array().unwrap() {
            if target["kind"].as_array().unwrap().contains(&"bin".into()) {
                binaries.push(target["name"].as_str().unwrap().to_owned());
            }
        }
        let manifest = fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        for section in ["[lib]", "[[bin]]"] {
            let written = manifest.split(section).nth(1).and_then(|rest| rest.split("\n[").next());
            assert!(
                written.is_none_or(|section| section.contains("bench = false")),
                "{}: {section} must say `bench = false`",
                package["name"]
            );
        }
    }
    assert_eq!(binaries, ["annals-reference"]);
}

#[test]
fn files_stay_readable() {
    for path in all_sources() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["to".to_owned() + "do!(", "un".to_owned() + "implemented!(", "FIX".to_owned() + "ME"];
    for path in all_sources() {
        let text = fs::read_to_string(&path).unwrap();
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} has {mark}", path.display());
        }
    }
}

/// An invariant of ARCHITECTURE.md.
struct Invariant {
    /// What it says, in bold.
    name: String,
    /// Tests that hold it, and where they stand.
    tests: Vec<(String, PathBuf)>,
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

impl Invariant {
    fn parse(text: &str) -> Self {
        let name = text.split("**").nth(1).unwrap().to_owned();
        let held = text.split_once(" Held").map_or("", |(_, held)| held);
        let (mut tests, mut waiting) = (Vec::new(), Vec::new());
        for word in quoted(held) {
            if word.ends_with(".rs") {
                tests.extend(waiting.drain(..).map(|test| (test, root().join(word))));
            } else {
                waiting.push(word.to_owned());
            }
        }
        assert!(waiting.is_empty(), "{name} does not say where {waiting:?} stand");
        Self { name, tests }
    }

    /// What its tests' names begin with.
    fn slugs(&self) -> impl Iterator<Item = String> {
        self.name.split(';').map(|part| {
            let words = part.to_lowercase();
            let words = words.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join("_")
        })
    }
}

fn invariants() -> Vec<Invariant> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("\n## Invariants\n").nth(1).unwrap();
    let list = section.split("\nArchitecture Invariant").next().unwrap();
    let mut found = Vec::new();
    let mut rest = list.split_once("\n1. ").unwrap().1;
    while let Some((one, next)) = rest.split_once(&format!("\n{}. ", found.len() + 2)) {
        found.push(Invariant::parse(one));
        rest = next;
    }
    found.push(Invariant::parse(rest));
    found
}

/// Whether a source has this function as a test; a case of the conformance suite is one.
fn has_test(path: &Path, name: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    let suite = path.parent().filter(|folder| folder.ends_with("conformance"));
    match suite.map(|folder| fs::read_to_string(folder.with_extension("rs")).unwrap()) {
        Some(suite) => suite.lines().any(|line| line.trim() == name),
        None => before.lines().rev().take(2).any(|line| line.contains("test")),
    }
}

/// Where the tests stand of each suite that docs/faults.md names.
const SUITES: &[(&str, &str)] = &[
    ("persistence", "persistence/src"),
    ("conformance", "persistence/src/conformance"),
    ("disk", "persistence/tests/disk"),
    ("actors", "actors/src"),
    ("semantics", "actors/tests/semantics"),
    ("deterministic", "actors/tests/deterministic"),
    ("bus", "bus/src"),
    ("weaknesses", "bus/tests"),
];

/// Whether a suite has this test, both in one word.
fn suite_has(test: &str) -> bool {
    let (suite, name) = test.split_once("::").unwrap();
    let (_, folder) = SUITES.iter().find(|(known, _)| *known == suite).unwrap();
    sources(&root().join(folder)).iter().any(|path| has_test(path, name))
}

#[test]
fn every_planted_fault_is_described_with_the_tests_that_catch_it() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let (page, source) = (read("docs/faults.md"), read("persistence/src/planted.rs"));
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let described: Vec<_> = rows.iter().map(|row| quoted(row).next().unwrap()).collect();
    assert_eq!(described, Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>());
    for row in rows {
        let [_, name, meaning, tests, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let called = format!("= \"{}\",", name.trim_matches('`'));
        let (before, _) = source.split_once(&called).unwrap();
        let said = before.lines().rev().nth(1).unwrap().trim();
        assert_eq!(said, format!("/// {meaning}"), "{name}");
        assert!(quoted(tests).next().is_some(), "nothing catches {name}");
        quoted(tests).for_each(|test| assert!(suite_has(test), "{name}: there is no test {test}"));
    }
}

#[test]
fn no_fault_is_planted_in_an_ordinary_build() {
    assert!(Fault::ALL.iter().all(|fault| cfg!(annals_faults) || !planted(*fault)));
    for package in members(&metadata()) {
        let manifest = package["manifest_path"].as_str().unwrap();
        let text = fs::read_to_string(manifest).unwrap();
        let mut named = text.lines().filter(|line| line.contains("annals_faults"));
        assert!(named.all(|line| line.starts_with("unexpected_cfgs =")), "{manifest} sets annals_faults");
    }
}

#[test]
fn every_invariant_is_the_name_of_a_test() {
    let invariants = invariants();
    assert_eq!(invariants.len(), 10, "the numbers go on without a gap");
    for invariant in &invariants {
        for slug in invariant.slugs() {
            let named = invariant.tests.iter().any(|(test, _)| test.starts_with(&slug));
            assert!(named, "no test in ARCHITECTURE.md is called {slug}");
        }
        for (test, path) in &invariant.tests {
            assert!(has_test(path, test), "there is no test {test} in {}", path.display());
        }
    }
}

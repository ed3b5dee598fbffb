use std::collections::BTreeSet;
use std::path::Path;

use super::{PAGES, codes, explain};

/// The sources of every crate whose errors reach an operator or a client.
const SOURCES: [&str; 4] = ["persistence/src", "actors/src", "bus/src", "services/host/src"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn sources(dir: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            all.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The codes in the bodies of all `fn code(..)`.
fn codes_of_errors() -> BTreeSet<String> {
    let mut texts = Vec::new();
    SOURCES.iter().for_each(|dir| sources(&root().join(dir), &mut texts));
    let bodies = texts.iter().flat_map(|text| text.split("fn code(").skip(1));
    let bodies = bodies.filter_map(|rest| rest.split("\n    }").next());
    bodies
        .flat_map(|body| body.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .filter(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !word.is_empty())
        .collect()
}

#[test]
fn every_code_of_an_error_has_a_page() {
    let codes = codes_of_errors();
    assert!(codes.contains("version_conflict") && codes.contains("read_model_behind"), "{codes:?}");
    let missing: Vec<_> = codes.iter().filter(|code| explain(code).is_none()).collect();
    assert!(missing.is_empty(), "write docs/errors/CODE.md and list it in explain.rs: {missing:?}");
}

#[test]
fn every_page_is_listed_in_order_and_says_its_code() {
    let files: BTreeSet<String> = std::fs::read_dir(root().join("docs/errors"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(files.iter().map(String::as_str).collect::<Vec<_>>(), codes().collect::<Vec<_>>());
    for (code, page) in PAGES {
        assert!(page.starts_with(&format!("# `{code}`: ")), "{code}");
        assert!(page.contains("## What to do"), "{code}");
    }
}

//! The guide's snippets are the example's code, word for word; the example is compiled and its tests run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

fn snippets(page: &str) -> Vec<String> {
    page.split("```rust\n").skip(1).filter_map(|rest| rest.split("\n```").next()).map(str::to_owned).collect()
}

/// Every snippet of `docs/<page>.md` is code of `examples/<page>`.
fn assert_snippets_are_code(page: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example: String = fs::read_dir(root.join("examples").join(page))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let snippets = snippets(&fs::read_to_string(root.join("docs").join(page).with_extension("md")).unwrap());
    assert!(snippets.len() >= 8, "{page} has lost its snippets: {} are left", snippets.len());
    for snippet in snippets {
        assert!(example.contains(&snippet), "not in examples/{page} any more:\n{snippet}");
    }
}

#[test]
fn every_snippet_of_the_guide_is_code_of_its_example() {
    assert_snippets_are_code("guide");
}

#[test]
fn every_snippet_about_evolution_is_code_of_its_example() {
    assert_snippets_are_code("evolution");
}

/// The lines of the example that a reader needs, without its tests of the whole and what only this repository asks for.
fn lines_to_show(name: &str, code: &str) -> Vec<String> {
    let code = if name == "main.rs" { code.split("\n#[cfg(test)]").next().unwrap() } else { code };
    let not_shown = |line: &&str| line.is_empty() || line.starts_with("//!") || line.starts_with("#![allow");
    code.lines().filter(|line| !not_shown(line)).map(str::to_owned).collect()
}

#[test]
fn nothing_of_the_example_is_missing_in_the_guide() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shown = snippets(&fs::read_to_string(root.join("docs/guide.md")).unwrap()).join("\n");
    let shown: HashSet<_> = shown.lines().collect();
    for entry in fs::read_dir(root.join("examples/guide")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        for line in lines_to_show(name, &fs::read_to_string(&path).unwrap()) {
            assert!(shown.contains(&*line), "the guide does not show this line of {name}:\n{line}");
        }
    }
}

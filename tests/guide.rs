//! The guide's snippets are the example's code, word for word; the example is compiled and its tests run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

fn snippets(page: &str) -> Vec<String> {
    page.split("```rust\n").skip(1).filter_map(|rest| rest.split("\n```").next()).map(str::to_owned).collect()
}

#[test]
fn every_snippet_of_the_guide_is_code_of_its_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example: String = fs::read_dir(root.join("examples/guide"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let snippets = snippets(&fs::read_to_string(root.join("docs/guide.md")).unwrap());
    assert!(snippets.len() >= 8, "the guide has lost its snippets: {} are left", snippets.len());
    for snippet in snippets {
        assert!(example.contains(&snippet), "not in examples/guide any more:\n{snippet}");
    }
}

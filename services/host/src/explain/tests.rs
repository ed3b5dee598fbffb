use std::collections::BTreeSet;
use std::path::Path;

use super::{PAGES, codes, explain};

/// The sources of every crate whose errors reach an operator or a client.
const SOURCES: [&str; 5] =
    ["persistence/src", "actors/src", "bus/src", "services/host/src", "services/reference/src"];

/// What is called with a code among its arguments.
const CALLS: [&str; 13] = [
    "Problem::new(",
    "Problem::rejected(",
    "Problem::conflict(",
    "Problem::internal(",
    "Problem::unavailable(",
    "Self::new(StatusCode",
    "Self::rejected(",
    "Self::conflict(",
    "Self::unavailable(",
    "CliError::failed(",
    "Self::failed(",
    "fail(",
    "with_error(",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn sources(dir: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            all.push(in_one_line(&std::fs::read_to_string(path).unwrap()));
        }
    }
}

/// Code without its comments, tests and line breaks.
fn in_one_line(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    lines.collect::<Vec<_>>().join(" ")
}

/// The text literals at the beginning of some code, up to where the bracket around it closes; `depth` says how many
/// brackets may be around a literal.
fn literals(code: &str, depth: usize) -> Vec<&str> {
    let (mut found, mut open, mut rest) = (Vec::new(), 1_usize, code);
    while let Some(at) = rest.find(['"', '(', ')', '{', '}']) {
        let (mark, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = after;
        match mark {
            b'"' => {
                let end = literal_end(after);
                if open <= depth {
                    found.push(&after[..end]);
                }
                rest = after.get(end + 1..).unwrap_or_default();
            }
            b'(' | b'{' => open += 1,
            _ if open == 1 => break,
            _ => open -= 1,
        }
    }
    found
}

fn literal_end(text: &str) -> usize {
    let mut escaped = false;
    let is_end = |byte: u8| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    };
    text.bytes().position(is_end).unwrap_or(text.len())
}

fn is_code(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Everything in some code that goes out as an error's code.
fn codes_in(code: &str) -> Vec<&str> {
    let after = |mark: &'static str| code.split(mark).skip(1);
    let mut found = Vec::new();
    for body in after("fn code(").filter_map(|rest| rest.split_once('{')).map(|(_, body)| body) {
        found.extend(literals(body, usize::MAX));
    }
    for fields in after("code: \"").chain(after("code = \"")) {
        found.extend(fields.split('"').next());
    }
    for pairs in after("let (code, ").filter_map(|rest| rest.split("};").next()) {
        found.extend(
            pairs.split("(\"").skip(1).filter_map(|rest| rest.split_once("\",")).map(|(code, _)| code),
        );
    }
    for arguments in CALLS.into_iter().flat_map(after) {
        // What comes before the code is a field's name; the reason behind it is no single word.
        found.extend(literals(arguments, 1).into_iter().rfind(|word| is_code(word)));
    }
    found.retain(|word| is_code(word));
    found
}

fn codes_of_errors() -> BTreeSet<String> {
    let mut texts = Vec::new();
    SOURCES.iter().for_each(|dir| sources(&root().join(dir), &mut texts));
    texts.iter().flat_map(|text| codes_in(text)).map(str::to_owned).collect()
}

#[test]
fn every_code_of_an_error_has_a_page() {
    let codes = codes_of_errors();
    let missing: Vec<_> = codes.iter().filter(|code| explain(code).is_none()).collect();
    assert!(missing.is_empty(), "write docs/errors/CODE.md and list it in explain.rs: {missing:?}");
}

#[test]
fn every_page_is_of_a_code_that_errors_have() {
    let found = codes_of_errors();
    let stale: Vec<_> = codes().filter(|code| !found.contains(*code)).collect();
    assert!(stale.is_empty(), "no error has these codes: {stale:?}");
}

#[test]
fn codes_are_found_wherever_they_are_written() {
    for (code, found) in [
        (
            "fn code(&self) -> &str { match self { A { .. } => \"a_a\", B(b) => b.code(), C => \"c\" } } \"no\"",
            "a_a c",
        ),
        ("Failed { code: \"a\".to_owned(), message: \"no\" }", "a"),
        ("tracing::warn!(code = \"a\", \"no\")", "a"),
        ("let (code, text) = if x { (\"a\", format!(\"b\")) } else { (\"c\", d) };", "a c"),
        ("Problem::new( StatusCode::OK, \"a\", format!(\"no {}\", b(\"no\")), )", "a"),
        ("problem.with_error(\"?after\", \"a\", \"is \\\"not\\\" it\")", "a"),
        ("fields.fail(\"name\", \"a\", \"is not it\")", "a"),
        ("Problem::rejected(error.code(), error.to_string())", ""),
    ] {
        assert_eq!(codes_in(code).join(" "), found, "{code}");
    }
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

//! `docs/metrics.md` lists what the code counts, no more and no less.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A metric: its kind and its labels, where they can be read off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    kind: String,
    labels: Vec<String>,
}

const SOURCES: [&str; 4] = ["persistence/src", "actors/src", "bus/src", "services/host/src"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn sources(dir: &Path, all: &mut Vec<String>) {
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(path).unwrap();
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            all.push(lines.collect::<Vec<_>>().join(" "));
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with("annals_") && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Every metric that some code names in a macro of the facade.
fn counted(code: &str) -> BTreeMap<String, Metric> {
    let mut found = BTreeMap::new();
    for kind in ["counter", "gauge", "histogram"] {
        for call in code.split(&format!("{kind}!(")).skip(1) {
            let Some((name, rest)) = call.trim_start().strip_prefix('"').and_then(|t| t.split_once('"'))
            else {
                continue;
            };
            let labels = arguments(rest).split("\" =>").collect::<Vec<_>>();
            let labels = labels[..labels.len() - 1].iter().filter_map(|text| text.rsplit('"').next());
            let labels = labels.map(str::to_owned).collect();
            found.insert(name.to_owned(), Metric { kind: kind.to_owned(), labels });
        }
    }
    found
}

/// What is left of a call's arguments, up to where its bracket closes.
fn arguments(rest: &str) -> &str {
    let mut open = 1;
    let end = rest.find(|mark: char| {
        open += i32::from(mark == '(') - i32::from(mark == ')');
        open == 0
    });
    &rest[..end.unwrap_or(rest.len())]
}

/// Every text in some code that can only be the name of a metric.
fn named(code: &str) -> impl Iterator<Item = &str> {
    code.split('"').filter(|text| is_name(text) && text.matches('_').count() > 1)
}

fn documented() -> BTreeMap<String, Metric> {
    let page = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `annals_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert!(cells.len() == 5 && !cells[3].is_empty(), "a row without its meaning: {row}");
        let labels = cells[2].split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        (format!("annals_{}", cells[0].trim_end_matches('`')), Metric { kind: cells[1].to_owned(), labels })
    })
    .collect()
}

#[test]
fn every_metric_is_documented_with_its_kind_and_labels() {
    let mut texts = Vec::new();
    SOURCES.iter().for_each(|dir| sources(&root().join(dir), &mut texts));
    let documented = documented();
    for (name, metric) in texts.iter().flat_map(|text| counted(text)) {
        assert_eq!(documented.get(&name), Some(&metric), "{name} in docs/metrics.md");
    }
    for name in texts.iter().flat_map(|text| named(text)) {
        assert!(documented.contains_key(name), "{name} is not in docs/metrics.md");
    }
    for name in documented.keys() {
        let used = texts.iter().any(|text| named(text).any(|used| used == name));
        assert!(used, "docs/metrics.md has {name}, which nothing counts");
    }
}

#[test]
fn metrics_are_found_as_they_are_written() {
    let code = r#"a: counter!("annals_a_total", "aggregate" => x.to_string(), "b" => y), b: gauge!( "annals_b" ).set(1.0);
        histogram!("annals_c_seconds", "one" => a, "two" => b)"#;
    let metric = |kind: &str, labels: &[&str]| Metric {
        kind: kind.to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    let found = counted(code);
    assert_eq!(found["annals_a_total"], metric("counter", &["aggregate", "b"]));
    assert_eq!(found["annals_b"], metric("gauge", &[]));
    assert_eq!(found["annals_c_seconds"], metric("histogram", &["one", "two"]));
    assert_eq!(named(code).collect::<Vec<_>>(), ["annals_a_total", "annals_c_seconds"]);
}

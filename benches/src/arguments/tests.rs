use super::{Arguments, Mode};

fn parse(line: &str) -> Result<Arguments, String> {
    Arguments::parse(line.split_whitespace().map(str::to_owned))
}

#[test]
fn cargo_bench_measures() {
    assert_eq!(parse("--bench").unwrap().mode, Mode::Full);
    assert_eq!(parse("--quick --bench").unwrap().mode, Mode::Quick);
}

#[test]
fn cargo_test_only_tries() {
    assert_eq!(parse("").unwrap().mode, Mode::Smoke);
    assert_eq!(parse("--test --bench").unwrap().mode, Mode::Smoke);
    assert_eq!(parse("--nocapture --test-threads 1 --format=terse").unwrap(), parse("").unwrap());
}

#[test]
fn listing_wins() {
    assert_eq!(parse("--list --format terse --bench").unwrap().mode, Mode::List);
}

#[test]
fn words_choose_scenarios() {
    let chosen = parse("--bench many --skip x reads").unwrap();
    assert_eq!(chosen.filters, ["many", "reads"]);
    assert!(chosen.wants("commands-many") && chosen.wants("reads") && !chosen.wants("scan"));
    assert!(parse("--bench").unwrap().wants("scan"));
}

#[test]
fn an_unknown_flag_is_named() {
    assert!(parse("--fast").unwrap_err().contains("--fast"));
}

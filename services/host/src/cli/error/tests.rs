use clap::CommandFactory;

use super::super::args::Cli;
use super::*;

#[test]
fn what_clap_finds_has_a_code_where_other_errors_have_it() {
    let suffix = "(wrong_usage; `explain wrong_usage` says more)";
    for (line, begin) in [
        ("x explode", "error: unrecognized subcommand 'explode' "),
        (
            "x serve --data d --service a --broker kafka",
            "error: invalid value 'kafka' for '--broker <BROKER>'\n",
        ),
        ("x dlq discard", "error: the following required arguments were not provided:\n"),
    ] {
        let error = Cli::command().try_get_matches_from(line.split(' ')).unwrap_err();
        let said = with_code(error.kind(), &error.render().to_string());
        let first = said.split("\n\n").next().unwrap();
        assert!(first.starts_with(begin) && first.ends_with(suffix), "{line}: {said}");
        assert!(said.contains("try '--help'"), "{said}");
    }
    let error = Cli::command().try_get_matches_from(["x"]).unwrap_err();
    let said = with_code(error.kind(), &error.render().to_string());
    assert!(said.contains("Usage: ") && said.trim_end().ends_with(suffix), "{said}");
}

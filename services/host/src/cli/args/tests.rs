use std::collections::BTreeSet;

use clap::{Arg, Command, CommandFactory, Parser};

use super::{Cli, says_what_is_used};

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn flags_stand_anywhere() {
    let cli = Cli::try_parse_from(["x", "streams", "ls", "--json", "--log", "json"]).unwrap();
    assert!(cli.json);
}

#[test]
fn wrong_usage_is_two() {
    for line in [
        "x",
        "x serve --service a",
        "x serve --data d",
        "x dlq replay",
        "x dlq replay a --all",
        "x dev --listen nonsense",
        "x streams ls --url u --data d",
        "x explode",
    ] {
        // The environment's twins would stand in for what is missing.
        if std::env::var_os("ANNALS_DATA").is_some() || std::env::var_os("ANNALS_SERVICE").is_some() {
            return;
        }
        let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    for (line, allowed) in [
        ("--broker kafka", "[possible values: none, dapr]"),
        ("--subscriptions mine", "[possible values: programmatic, declarative]"),
        ("--topic-pubsub v1.a", "give TOPIC=NAME"),
        ("--topic-pubsub v1.a=one,=two", "give TOPIC=NAME"),
        ("--app-channel tcp", "[possible values: grpc, http]"),
        ("--app-listen here", "give HOST:PORT"),
        ("--listen 8080", "give HOST:PORT"),
        ("--stop-within 0", "1..=3600"),
        ("--stop-within 2s", "invalid digit"),
        ("--log xml", "[possible values: pretty, json]"),
    ] {
        let line = format!("x serve --service a --data d {line}");
        let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
        let said = error.to_string();
        assert!(error.exit_code() == 2 && said.contains(allowed), "{line}: {said}");
    }
    let empty = Cli::try_parse_from(["x", "serve", "--service", "a", "--data", "d", "--pubsub", ""]);
    assert!(empty.unwrap_err().to_string().contains("--pubsub"));
}

#[test]
fn components_without_sidecars_are_no_use() {
    let check =
        |line: &str| says_what_is_used(&Cli::command().try_get_matches_from(line.split(' ')).unwrap());
    assert!(check("x dev --dapr --dapr-resources d").is_ok());
    assert!(check("x serve --service s --data d --broker dapr --topic-pubsub a=b").is_ok());
    assert!(check("x serve --service s --data d").is_ok() && check("x dev").is_ok());
    for (line, wanted) in [
        ("x dev --dapr-resources d", "give --dapr too"),
        ("x dev --topic-pubsub a=b", "give --dapr too"),
        ("x serve --service s --data d --topic-pubsub a=b", "give --broker dapr too"),
        ("x serve --service s --data d --broker none --dapr-endpoint x", "give --broker dapr too"),
    ] {
        let error = check(line).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(wanted), "{line}: {error}");
    }
}

/// The whole command line, with what clap adds to it.
fn built() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// A command and all below it.
fn all(command: &Command) -> Vec<&Command> {
    std::iter::once(command).chain(command.get_subcommands().flat_map(all)).collect()
}

/// What is said by hand: clap explains its own.
fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
}

/// A flag's part of the help: its line and those below it that stand further in.
fn help_of(command: &Command, flag: &str) -> String {
    let help = command.clone().render_long_help().to_string();
    let is_of = |line: &&str| line.trim_start().split(' ').next() == Some(&format!("--{flag}"));
    let mut lines = help.lines().skip_while(|line| !is_of(line));
    let first = lines.next().unwrap_or_default();
    let below = lines.take_while(|line| line.is_empty() || line.starts_with("          "));
    std::iter::once(first).chain(below).map(str::trim).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_flag_of_what_runs_services_has_a_twin_in_the_environment_that_its_help_names() {
    let command = built();
    for name in ["dev", "serve"] {
        let command = command.find_subcommand(name).unwrap();
        let mut twins = BTreeSet::new();
        for arg in own(command).filter(|arg| !arg.is_hide_set()) {
            let flag = arg.get_long().unwrap();
            let twin =
                arg.get_env().unwrap_or_else(|| panic!("{name} --{flag} has no twin")).to_str().unwrap();
            assert!(twins.insert(twin), "{twin} is the twin of two flags of {name}");
            let help = help_of(command, flag);
            assert!(help.contains(&format!("[env: {twin}=")), "{name} --{flag}: {help}");
            let says_default = help.contains("[default: ") || help.contains("without it");
            let is_switch = !arg.get_action().takes_values();
            assert!(arg.is_required_set() || is_switch || says_default, "{name} --{flag}: {help}");
            let unit = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "SECONDS"));
            assert!(!unit || help.contains("in seconds"), "{name} --{flag}: {help}");
        }
        let help = command.clone().render_long_help().to_string();
        for variable in ["ANNALS_LOG ", "ANNALS_ADMIN_TOKEN "] {
            assert!(help.contains(variable), "{name} --help does not name {variable}");
        }
        for variable in ["DAPR_API_TOKEN ", "APP_API_TOKEN ", "ANNALS_DAPRD "] {
            assert_eq!(help.contains(variable), cfg!(feature = "dapr"), "{name} --help and {variable}");
        }
    }
}

#[test]
fn everything_that_can_be_said_is_explained() {
    let command = built();
    for command in all(&command).into_iter().skip(1).filter(|command| command.get_name() != "help") {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty(), "{} does not say what it is", command.get_name());
        for arg in own(command).filter(|_| !about.starts_with("Print this message")) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let whole = !help.is_empty() && !help.contains("  ");
            assert!(whole, "{} {}: {help:?}", command.get_name(), arg.get_id());
        }
    }
}

#[test]
fn a_build_without_dapr_offers_nothing_of_it_and_says_so() {
    let with_dapr = cfg!(feature = "dapr");
    for name in ["dev", "serve"] {
        let help = built().find_subcommand(name).unwrap().clone().render_long_help().to_string();
        assert_eq!(help.contains("--topic-pubsub"), with_dapr, "{help}");
        assert_eq!(help.contains("built without Dapr"), !with_dapr, "{help}");
    }
}

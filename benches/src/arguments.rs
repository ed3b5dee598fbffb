//! The command line: cargo's own flags, and ours.

use crate::Plan;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Measure for as long as it takes to mean something.
    Full,
    /// Measure in a minute or two.
    Quick,
    /// Run everything once, briefly, and keep nothing: what `cargo test --benches` asks for.
    Smoke,
    /// Print the names.
    List,
}

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// What to do.
    pub mode: Mode,
    /// Only scenarios whose names contain one of these words; all of them where there is none.
    pub filters: Vec<String>,
}

/// Flags that cargo and its helpers give to every bench and test, and that mean nothing here.
const IGNORED: &[&str] = &[
    "--bench",
    "--nocapture",
    "--no-capture",
    "--show-output",
    "--exact",
    "--ignored",
    "--include-ignored",
    "--quiet",
    "-q",
    "--verbose",
    "--noplot",
];
/// The same with a value behind them.
const IGNORED_WITH_VALUE: &[&str] = &["--format", "--color", "--colour", "--test-threads", "--skip", "-Z"];

impl Arguments {
    /// Reads the arguments behind the program's name.
    ///
    /// Without cargo's `--bench` it is `cargo test` that calls: everything is run once, briefly.
    ///
    /// # Errors
    /// A message that names the argument that is not known.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let arguments: Vec<String> = arguments.into_iter().collect();
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let mode = match () {
            () if has("--list") => Mode::List,
            () if has("--test") || !has("--bench") => Mode::Smoke,
            () if has("--quick") => Mode::Quick,
            () => Mode::Full,
        };
        Ok(Self { mode, filters: filters(&arguments)? })
    }

    /// Whether a scenario is wanted.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }

    /// How long and how large the run is.
    #[must_use]
    pub fn plan(&self) -> Plan {
        match self.mode {
            Mode::Full => Plan::full(),
            Mode::Quick => Plan::quick(),
            Mode::Smoke | Mode::List => Plan::smoke(),
        }
    }
}

fn filters(arguments: &[String]) -> Result<Vec<String>, String> {
    let mut filters = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let name = argument.split_once('=').map_or(argument.as_str(), |(name, _)| name);
        match name {
            "--list" | "--test" | "--quick" => {}
            name if IGNORED.contains(&name) => {}
            name if IGNORED_WITH_VALUE.contains(&name) => {
                if name == argument {
                    rest.next();
                }
            }
            name if name.starts_with('-') => {
                return Err(format!(
                    "unknown flag {name}; known are --quick, --list, --test, and names to run"
                ));
            }
            _ => filters.push(argument.clone()),
        }
    }
    Ok(filters)
}

#[cfg(test)]
mod tests;

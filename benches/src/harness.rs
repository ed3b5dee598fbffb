//! What the benches' programs have in common: the command line, the scenarios one by one, the report.
#![allow(clippy::print_stderr, reason = "a bench harness talks to whoever started it")]

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use crate::{Arguments, Failure, Measurement, Mode, Report, Workshop};

/// A group of measurements that share their preparations.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What to call it on the command line.
    pub name: &'static str,
    /// Measures; the first failure ends it, nothing is left out.
    pub run: fn(&Workshop) -> Result<Vec<Measurement>, Failure>,
}

/// A bench.
#[derive(Debug, Clone, Copy)]
pub struct Harness {
    /// Its name.
    pub name: &'static str,
    /// What it measures, in this order.
    pub scenarios: &'static [Scenario],
}

impl Harness {
    /// Does what the command line says. `temporary` is cargo's directory for the bench: results go beside it, so that
    /// the data is on the disk that the code is on.
    pub fn main(&self, arguments: impl IntoIterator<Item = String>, temporary: &Path) -> ExitCode {
        let arguments = match Arguments::parse(arguments) {
            Ok(arguments) => arguments,
            Err(message) => {
                eprintln!("{}: {message}", self.name);
                return ExitCode::from(2);
            }
        };
        if arguments.mode == Mode::List {
            self.scenarios.iter().for_each(|scenario| println!("{}: benchmark", scenario.name));
            return ExitCode::SUCCESS;
        }
        self.report(self.run(&arguments, &temporary.parent().unwrap_or(temporary).join("annals-bench")))
    }

    /// A figure that misses its goal is said, and is no failure of the bench: machines differ.
    fn report(&self, ran: Result<Vec<String>, Failure>) -> ExitCode {
        match ran {
            Ok(missed) => {
                missed.iter().for_each(|name| println!("missed its goal: {name}"));
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{}: {error}", self.name);
                ExitCode::FAILURE
            }
        }
    }

    fn run(&self, arguments: &Arguments, dir: &Path) -> Result<Vec<String>, Failure> {
        let wanted: Vec<_> =
            self.scenarios.iter().filter(|scenario| arguments.wants(scenario.name)).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let mut report = Report::begin(self.name, dir)?;
        let workshop = Workshop::new(runtime.handle().clone(), arguments.plan(), &dir.join("data"))?;
        for scenario in wanted {
            let begin = Instant::now();
            let measurements = (scenario.run)(&workshop)?;
            report.add(&measurements, begin.elapsed());
        }
        report.end(arguments)
    }
}

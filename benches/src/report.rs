//! What a run ends with: the table, the figures as JSON, the page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::history::History;
use crate::{Arguments, Failure, Machine, Measurement, Mode, Row, html, table};

/// What must be known to read the figures.
pub(crate) const CAVEATS: &[&str] = &[
    "Rates swing, on small shared machines twofold within minutes: only the ratios mean something. Each is the median \
     of the ratios of several rounds, in each of which the systems ran one after the other.",
    "The ratio is ours divided by the baseline's: above 1 we are faster, and no durable actor gets to 1 against the bare log.",
    "sled's flush does not survive a loss of power, so its figure is not for the same promise.",
    "A change below a tenth against the run before is noise.",
];

/// Gathers what is measured, prints it as it comes, and leaves it behind.
#[derive(Debug)]
pub struct Report {
    bench: &'static str,
    dir: PathBuf,
    machine: Machine,
    rows: Vec<Row>,
}

impl Report {
    /// Begins a report, in a directory that is made if need be.
    ///
    /// # Errors
    /// What the system said.
    pub fn begin(bench: &'static str, dir: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir.join("report"))?;
        let machine = Machine::here(dir);
        println!("{machine}");
        CAVEATS.iter().for_each(|caveat| println!("* {caveat}"));
        Ok(Self { bench, dir: dir.to_owned(), machine, rows: Vec::new() })
    }

    /// Takes figures in, and shows how it goes.
    pub fn add(&mut self, measurements: &[Measurement], took: Duration) {
        let rows: Vec<_> = measurements.iter().flat_map(|measured| Row::of(self.bench, measured)).collect();
        for row in &rows {
            let ratio = row.ratio.map_or_else(String::new, |ratio| format!(", {ratio:.3} of the baseline"));
            println!("{}: {} {}{ratio}", row.name, table::figure(row.value), row.unit);
        }
        println!("  ({:.1} s)", took.as_secs_f64());
        self.rows.extend(rows);
    }

    /// Keeps the figures, unless the run was only to see whether everything runs; answers the names of those that
    /// missed their goal.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn end(mut self, arguments: &Arguments) -> Result<Vec<String>, Failure> {
        if arguments.mode == Mode::Smoke {
            return Ok(Vec::new());
        }
        let whole = arguments.filters.is_empty();
        let kept = History(&self.dir).keep(self.bench, &mut self.rows, whole)?;
        let page = self.dir.join("report").join("index.html");
        std::fs::write(&page, html::page(&self.machine, &kept)?)?;
        println!("\n{}\n\n{}", self.machine, table::table(&self.rows));
        println!("figures: {}", self.dir.join("latest.json").display());
        println!("report:  {}", page.display());
        Ok(self.rows.iter().filter(|row| !row.is_good_enough()).map(|row| row.name.clone()).collect())
    }
}

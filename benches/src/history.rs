//! The figures of a run as rows, kept for the next run to compare itself with.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Comparison, Failure, Goal, Measurement};

/// One figure beside one baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The bench that measured it.
    pub bench: String,
    /// What was measured, and against what: no two rows of a run have the same name.
    pub name: String,
    /// The unit of value and baseline.
    pub unit: String,
    /// The median of our rates.
    pub value: f64,
    /// The median of the baseline's rates; none where the figure is for reference only.
    pub baseline: Option<f64>,
    /// The median of the rounds' ratios.
    pub ratio: Option<f64>,
    /// What was measured.
    pub measurement: String,
    /// The baseline's name.
    pub against: Option<String>,
    /// The lowest of the rounds' ratios.
    pub ratio_low: Option<f64>,
    /// The highest of the rounds' ratios.
    pub ratio_high: Option<f64>,
    /// The ratio that is good enough.
    pub goal: Option<Goal>,
    /// The ratio (for reference figures the value) divided by that of the run before.
    pub change: Option<f64>,
}

impl Row {
    /// The rows of a measurement: one for each baseline.
    #[must_use]
    pub fn of(bench: &str, measurement: &Measurement) -> Vec<Self> {
        let comparisons = measurement.comparisons();
        if comparisons.is_empty() {
            return vec![Self::reference(bench, measurement)];
        }
        comparisons.iter().map(|comparison| Self::beside(bench, measurement, comparison)).collect()
    }

    fn reference(bench: &str, measurement: &Measurement) -> Self {
        Self {
            bench: bench.to_owned(),
            name: measurement.name.clone(),
            unit: measurement.unit.to_owned(),
            value: measurement.value(),
            baseline: None,
            ratio: None,
            measurement: measurement.name.clone(),
            against: None,
            ratio_low: None,
            ratio_high: None,
            goal: None,
            change: None,
        }
    }

    fn beside(bench: &str, measurement: &Measurement, comparison: &Comparison) -> Self {
        Self {
            name: format!("{} / {}", measurement.name, comparison.against),
            value: comparison.value,
            baseline: Some(comparison.baseline),
            ratio: Some(comparison.ratio),
            against: Some(comparison.against.to_owned()),
            ratio_low: Some(comparison.spread.0),
            ratio_high: Some(comparison.spread.1),
            goal: comparison.goal,
            ..Self::reference(bench, measurement)
        }
    }

    /// Whether the goal, if there is one, is reached.
    #[must_use]
    pub fn is_good_enough(&self) -> bool {
        self.goal.is_none_or(|goal| self.ratio.is_some_and(|ratio| goal.is_met(ratio)))
    }

    fn compare_with(&mut self, previous: &[Self]) {
        let before = previous.iter().find(|row| row.name == self.name);
        self.change = before.map(|before| match (self.ratio, before.ratio) {
            (Some(now), Some(then)) => now / then,
            _ => self.value / before.value,
        });
    }
}

/// The runs that are kept in a directory: the latest figures, and those before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct History<'a>(pub(crate) &'a Path);

impl History<'_> {
    /// Puts the change against the run before into each row, and keeps the rows. Of a `whole` run nothing of the
    /// run before stays; of a part, what it did not measure stays. Answers what is kept, of all benches.
    ///
    /// # Errors
    /// When the files cannot be written. A run before that cannot be read is as good as none.
    pub(crate) fn keep(self, bench: &str, rows: &mut [Row], whole: bool) -> Result<Vec<Row>, Failure> {
        let (latest, previous) = (self.0.join("latest.json"), self.0.join("previous.json"));
        let mut kept = read(&latest);
        rows.iter_mut().for_each(|row| row.compare_with(&kept));
        kept.retain(|old| !(whole && old.bench == bench) && rows.iter().all(|row| row.name != old.name));
        kept.splice(0..0, rows.iter().cloned());
        if latest.exists() {
            std::fs::rename(&latest, &previous)?;
        }
        std::fs::write(&latest, serde_json::to_vec_pretty(&kept)?)?;
        Ok(kept)
    }
}

fn read(path: &Path) -> Vec<Row> {
    std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;

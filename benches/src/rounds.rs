//! Measuring in turns: systems alternate, and each round's ratio is between neighbours in time.

use std::fmt;
use std::time::Duration;

use crate::settle::settle;
use crate::{Failure, Goal, Plan};

/// How many windows long a turn waits at most for what others left to be done.
const PATIENCE_WINDOWS: u32 = 10;

type Run<'a> = Box<dyn FnMut(Duration) -> Result<f64, Failure> + 'a>;

/// Something that is measured: runs for about as long as it is told, and answers its rate, or what else is compared.
pub struct System<'a> {
    name: &'static str,
    run: Run<'a>,
}

impl<'a> System<'a> {
    /// A system and how to run it.
    pub fn new(name: &'static str, run: impl FnMut(Duration) -> Result<f64, Failure> + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

impl fmt::Debug for System<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The rates of several systems at the same work, the first of them ours.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// The unit of the rates.
    pub unit: &'static str,
    /// Each system with its rate in every round.
    pub rates: Vec<(&'static str, Vec<f64>)>,
    /// The ratio that is good enough, by the name of the baseline.
    pub goal: Option<(&'static str, Goal)>,
}

/// Ours beside one baseline.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The baseline's name.
    pub against: &'static str,
    /// The median of our rates.
    pub value: f64,
    /// The median of the baseline's rates.
    pub baseline: f64,
    /// The median of the rounds' ratios, ours to the baseline's.
    pub ratio: f64,
    /// The lowest and the highest of the rounds' ratios.
    pub spread: (f64, f64),
    /// The ratio that is good enough.
    pub goal: Option<Goal>,
}

/// Runs systems in turns, each beginning a round once in a while, and after one turn that does not count. A turn begins
/// when nothing of the one before goes on in the background, as the making of files ahead.
///
/// # Errors
/// The first failure of a system, with its name.
pub fn alternate(
    name: impl Into<String>,
    unit: &'static str,
    plan: &Plan,
    mut systems: Vec<System<'_>>,
) -> Result<Measurement, Failure> {
    let name = name.into();
    let mut rates: Vec<_> = systems.iter().map(|system| (system.name, Vec::new())).collect();
    for round in 0..=plan.rounds {
        let window = if round == 0 { plan.window / 4 } else { plan.window };
        for turn in 0..systems.len() {
            let at = (round + turn) % systems.len();
            settle(PATIENCE_WINDOWS * plan.window);
            let rate = (systems[at].run)(window).map_err(|e| format!("{name}, {}: {e}", systems[at].name))?;
            if round > 0 {
                rates[at].1.push(rate);
            }
        }
    }
    Ok(Measurement { name, unit, rates, goal: None })
}

impl Measurement {
    /// With the lowest ratio to a baseline that is good enough.
    #[must_use]
    pub fn with_goal(mut self, against: &'static str, ratio: f64) -> Self {
        self.goal = Some((against, Goal::AtLeast(ratio)));
        self
    }

    /// With the highest ratio to a baseline that is good enough: for times and sizes.
    #[must_use]
    pub fn with_limit(mut self, against: &'static str, ratio: f64) -> Self {
        self.goal = Some((against, Goal::AtMost(ratio)));
        self
    }

    /// The median of our rates.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.rates.first().map_or(f64::NAN, |(_, rates)| median(rates))
    }

    /// Ours beside each baseline.
    #[must_use]
    pub fn comparisons(&self) -> Vec<Comparison> {
        let Some(((_, ours), baselines)) = self.rates.split_first() else { return Vec::new() };
        baselines.iter().map(|(against, theirs)| self.compare(against, ours, theirs)).collect()
    }

    fn compare(&self, against: &'static str, ours: &[f64], theirs: &[f64]) -> Comparison {
        let ratios: Vec<_> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Comparison {
            against,
            value: median(ours),
            baseline: median(theirs),
            ratio: median(&ratios),
            spread: (
                ratios.iter().copied().fold(f64::NAN, f64::min),
                ratios.iter().copied().fold(f64::NAN, f64::max),
            ),
            goal: self.goal.filter(|(name, _)| *name == against).map(|(_, goal)| goal),
        }
    }
}

/// The middle of some numbers; of an even count the mean of the two in the middle.
fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests;

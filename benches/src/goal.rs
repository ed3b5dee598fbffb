//! What is good enough.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What ratio of ours to a baseline is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Goal {
    /// This or more: of rates.
    AtLeast(f64),
    /// This or less: of times and sizes.
    AtMost(f64),
}

impl Goal {
    /// Whether the ratio is good enough.
    #[must_use]
    pub fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
        }
    }

    /// The ratio that is just good enough.
    #[must_use]
    pub const fn ratio(self) -> f64 {
        match self {
            Self::AtLeast(ratio) | Self::AtMost(ratio) => ratio,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Goal;

    #[test]
    fn a_goal_has_a_side() {
        assert!(Goal::AtLeast(0.5).is_met(0.5) && !Goal::AtLeast(0.5).is_met(0.4));
        assert!(Goal::AtMost(3.0).is_met(3.0) && !Goal::AtMost(3.0).is_met(3.1));
        assert!(!Goal::AtMost(3.0).is_met(f64::NAN));
        assert_eq!(
            (Goal::AtLeast(0.75).to_string(), Goal::AtMost(3.0).to_string()),
            ("≥ 0.75".into(), "≤ 3".into())
        );
    }
}

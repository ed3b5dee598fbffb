//! Which schema may follow which.
//!
//! All modes come down to one question: does a reader with this schema accept everything that a writer with that one
//! writes? What a writer does not name it does not write: properties that neither side names count as absent, so that
//! an optional property can be added. What cannot be compared is refused, for safety.

use std::fmt;
use std::str::FromStr;

use annals_macros::Shape;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SchemaError;

mod accepts;
mod kinds;
mod limits;
mod met;

pub(super) use limits::STEPS_MAX;

/// Which schema may follow a topic's last one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Shape)]
#[serde(rename_all = "lowercase")]
pub enum Compatibility {
    /// Any.
    None,
    /// One that reads what was written with the last: subscribers may move first.
    #[default]
    Backward,
    /// One whose content the last one reads: publishers may move first.
    Forward,
    /// Both.
    Full,
}

impl Compatibility {
    /// Its name, as it stands in JSON and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compatibility {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::None, Self::Backward, Self::Forward, Self::Full]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| format!("\"{text}\" is none of none, backward, forward, full"))
    }
}

/// A reason why one schema may not follow another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incompatibility {
    /// Where in the content, as a JSON pointer; `*` stands for every item of a list.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "/" } else { &self.path };
        write!(f, "{place}: {}", self.reason)
    }
}

/// Why the new schema may not follow the old one; nothing when it may. Of very many reasons the first are told.
///
/// # Errors
/// [`SchemaError::TooComplex`] when it would take too long to tell.
pub fn incompatibilities(
    old: &Value,
    new: &Value,
    mode: Compatibility,
) -> Result<Vec<Incompatibility>, SchemaError> {
    let mut reasons = Vec::new();
    if matches!(mode, Compatibility::Backward | Compatibility::Full) {
        reasons.extend(accepts::refusals(new, old, "the new schema", "the old one")?);
    }
    if matches!(mode, Compatibility::Forward | Compatibility::Full) {
        reasons.extend(accepts::refusals(old, new, "the old schema", "the new one")?);
    }
    Ok(reasons)
}

#[cfg(test)]
mod tests;

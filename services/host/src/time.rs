//! Times as texts: RFC 3339 outside, microseconds inside.

use annals_persistence::Timestamp;

#[cfg(test)]
mod tests;

/// A moment as RFC 3339 writes it, in UTC, with as many decimal places as it needs.
///
/// ```
/// use annals_persistence::Timestamp;
/// use annals_services::time_text;
///
/// assert_eq!(time_text(Timestamp(1_500_000)), "1970-01-01T00:00:01.5Z");
/// ```
#[must_use]
pub fn time_text(time: Timestamp) -> String {
    // Beyond the years that can be written, the nearest that can.
    let nearest = if time.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_microsecond(time.0).unwrap_or(nearest).to_string()
}

/// The moment that an RFC 3339 text names, down to the microsecond; `None` when it names none.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    // jiff also takes shapes that RFC 3339 does not have, such as a date alone with a zone in brackets.
    if !text.is_ascii() || text.len() < "2026-01-01T00:00:00Z".len() || text.contains('[') {
        return None;
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    // Rounded down also before 1970: "at" a moment never includes what came after it.
    i64::try_from(time.as_nanosecond().div_euclid(1000)).ok().map(Timestamp)
}

/// For `#[serde(with = "...")]`: a [`Timestamp`] as RFC 3339 text.
pub mod rfc3339 {
    use annals_persistence::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the moment as text.
    ///
    /// # Errors
    /// Only what the serializer itself reports.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::time_text(*time))
    }

    /// Reads the moment from text.
    ///
    /// # Errors
    /// When the text is no RFC 3339 time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_time(&text).ok_or_else(|| D::Error::custom("not an RFC 3339 time"))
    }
}

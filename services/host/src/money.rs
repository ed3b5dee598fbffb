//! Money: a decimal of four places, kept exactly.

use std::fmt;
use std::str::FromStr;

use annals_persistence::{Shape, ShapeWriter};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

#[cfg(test)]
mod tests;

/// How many units are one.
const SCALE: i64 = 10_000;
/// How many decimal places there are.
const PLACES: i32 = 4;

/// An amount of money, exact to four decimal places, between about -922 and 922 trillion.
///
/// As JSON it is a number with just the digits needed, written and read without passing through a float; as
/// bincode it is the 64-bit count of ten-thousandths. It cannot stand inside serde's flattened, untagged or internally
/// tagged types, which turn numbers into floats before a type sees them.
///
/// ```
/// use annals_services::Money;
///
/// let price: Money = "12.50".parse()?;
/// assert_eq!(price.units(), 125_000);
/// assert_eq!(serde_json::to_string(&price).ok().as_deref(), Some("12.5"));
/// # Ok::<(), annals_services::MoneyError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// Why a text is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// It is no decimal number.
    #[error("must be a decimal number")]
    NoNumber,
    /// It has more than four decimal places.
    #[error("must have at most 4 decimal places")]
    TooPrecise,
    /// It is beyond what can be kept.
    #[error("must lie between -922337203685477.5808 and 922337203685477.5807")]
    OutOfRange,
}

impl MoneyError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoNumber => "not_a_number",
            Self::TooPrecise => "too_many_decimal_places",
            Self::OutOfRange => "out_of_range",
        }
    }
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many ten-thousandths.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self(units)
    }

    /// How many ten-thousandths it is.
    #[must_use]
    pub const fn units(self) -> i64 {
        self.0
    }

    /// The sum; `None` when it cannot be kept.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// The difference; `None` when it cannot be kept.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// The sum of all; `None` when it cannot be kept.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    /// Reads a number as JSON writes it, exponent included.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = split_exponent(text)?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        if !is_digits(whole) || !is_digits(fraction) {
            return Err(MoneyError::NoNumber);
        }
        let digits = || whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0'));
        let places = i32::try_from(fraction.len()).map_err(|_| MoneyError::TooPrecise)?;
        scale(digits(), exponent.saturating_sub(places).saturating_add(PLACES), negative)
    }
}

fn split_exponent(text: &str) -> Result<(&str, i32), MoneyError> {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return Ok((text, 0)) };
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if !is_digits(digits) {
        return Err(MoneyError::NoNumber);
    }
    // Beyond this, any number but zero is out of range or too precise; both come out below.
    let size = digits
        .trim_start_matches('0')
        .parse::<i32>()
        .unwrap_or(if digits.bytes().all(|b| b == b'0') { 0 } else { i32::MAX / 2 });
    Ok((mantissa, if exponent.starts_with('-') { -size } else { size }))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The number of these digits times ten to the `power`, in units.
fn scale(digits: impl Iterator<Item = i128>, power: i32, negative: bool) -> Result<Money, MoneyError> {
    let (mut value, mut trailing_zeros) = (0_i128, 0_i32);
    for digit in digits {
        if digit == 0 {
            // Zeros count only when another digit follows: 1.50000 has one decimal place.
            trailing_zeros = trailing_zeros.saturating_add(i32::from(value != 0));
            continue;
        }
        value = times_ten(value, trailing_zeros + 1)?.checked_add(digit).ok_or(MoneyError::OutOfRange)?;
        trailing_zeros = 0;
    }
    let power = power.saturating_add(trailing_zeros);
    match value {
        0 => Ok(Money::ZERO),
        _ if power < 0 => Err(MoneyError::TooPrecise),
        _ => signed(times_ten(value, power)?, negative),
    }
}

fn times_ten(value: i128, times: i32) -> Result<i128, MoneyError> {
    if value == 0 {
        return Ok(0);
    }
    let factor = u32::try_from(times).ok().and_then(|times| 10_i128.checked_pow(times));
    factor.and_then(|factor| value.checked_mul(factor)).ok_or(MoneyError::OutOfRange)
}

fn signed(value: i128, negative: bool) -> Result<Money, MoneyError> {
    let value = if negative { -value } else { value };
    i64::try_from(value).map(Money).map_err(|_| MoneyError::OutOfRange)
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) =
            (self.0.unsigned_abs() / SCALE.unsigned_abs(), self.0.unsigned_abs() % SCALE.unsigned_abs());
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let fraction = format!("{rest:04}");
        write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_i64(self.0);
        }
        if self.0 % SCALE == 0 {
            return serializer.serialize_i64(self.0 / SCALE);
        }
        RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        Box::<RawValue>::deserialize(deserializer)?.get().parse().map_err(serde::de::Error::custom)
    }
}

impl Shape for Money {
    fn describe(shape: &mut ShapeWriter) {
        shape.leaf("money(i64, 4 places)");
    }
}

impl utoipa::PartialSchema for Money {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::Number)
            .description(Some("A decimal of at most 4 places, kept exactly."))
            .multiple_of(Some(0.0001))
            .into()
    }
}

impl utoipa::ToSchema for Money {}

//! What fields can be.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::RangeInclusive;

use annals_persistence::Timestamp;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{At, Fields, FromFields, Rule};
use crate::{ETag, Money, MoneyError, parse_time};

/// A text of 1 to 200 characters without control characters.
#[must_use]
pub const fn text() -> Text {
    text_of(1..=200)
}

/// A text of so many characters, none of them a control character.
#[must_use]
pub const fn text_of(characters: RangeInclusive<usize>) -> Text {
    Text { min: *characters.start(), max: *characters.end() }
}

/// A UUID as text.
#[must_use]
pub const fn uuid() -> UuidRule {
    UuidRule
}

/// An amount of money that is not negative.
#[must_use]
pub const fn money() -> MoneyRule {
    MoneyRule { negative: false }
}

/// A moment as RFC 3339 writes it.
#[must_use]
pub const fn time() -> Time {
    Time
}

/// A whole number in a range.
#[must_use]
pub const fn integer(range: RangeInclusive<i64>) -> Integer {
    Integer { min: *range.start(), max: *range.end() }
}

/// `true` or `false`.
#[must_use]
pub const fn boolean() -> Boolean {
    Boolean
}

/// An eTag as text.
#[must_use]
pub const fn etag() -> Etag {
    Etag
}

/// A list of so many items.
#[must_use]
pub const fn list<R: Rule>(item: R, items: RangeInclusive<usize>) -> List<R> {
    List { item, min: *items.start(), max: *items.end() }
}

/// An object.
#[must_use]
pub const fn object<T: FromFields>() -> Object<T> {
    Object(PhantomData)
}

/// See [`text()`].
#[derive(Debug, Clone, Copy)]
pub struct Text {
    min: usize,
    max: usize,
}

impl Rule for Text {
    type Value = String;

    fn check(&self, value: &RawValue, at: &mut At<'_>) -> Option<String> {
        let text = string(value, at)?;
        // A character takes at least one byte, so short texts need no counting.
        let length = if text.len() <= self.max { text.len() } else { text.chars().count() };
        if text.is_empty() && self.min > 0 {
            return at.fail("too_short", "must not be empty");
        }
        if length < self.min {
            return at.fail("too_short", format!("must have at least {} characters", self.min));
        }
        if length > self.max {
            return at.fail("too_long", format!("must have at most {} characters", self.max));
        }
        if text.chars().any(char::is_control) {
            return at.fail("control_characters", "must not contain control characters");
        }
        Some(text.into_owned())
    }
}

/// See [`uuid()`].
#[derive(Debug, Clone, Copy)]
pub struct UuidRule;

impl Rule for UuidRule {
    type Value = Uuid;

    fn check(&self, value: &RawValue, at: &mut At<'_>) -> Option<Uuid> {
        let text = string(value, at)?;
        Uuid::try_parse(&text).ok().or_else(|| at.fail("not_a_uuid", "must be a UUID"))
    }
}

/// See [`money()`].
#[derive(Debug, Clone, Copy)]
pub struct MoneyRule {
    negative: bool,
}

impl MoneyRule {
    /// Below zero is fine too.
    #[must_use]
    pub const fn or_negative(self) -> Self {
        Self { negative: true }
    }
}

impl Rule for MoneyRule {
    type Value = Money;

    fn check(&self, value: &RawValue, at: &mut At<'_>) -> Option<Money> {
        match value.get().parse::<Money>() {
            Ok(money) if money.is_negative() && !self.negative => at.fail("negative", "must not be negative"),
            Ok(money) => Some(money),
            Err(error) => at.fail(error.code(), error.to_string()),
        }
    }
}

/// See [`time()`].
#[derive(Debug, Clone, Copy)]
pub struct Time;

impl Rule for Time {
    type Value = Timestamp;

    fn check(&self, value: &RawValue, at: &mut At<'_>) -> Option<Timestamp> {
        let text = string(value, at)?;
        let reason = "must be a time with its offset as in RFC 3339, such as 2026-01-31T12:00:00Z";
        parse_time(&text).or_else(|| at.fail("not_a_time", reason))
    }
}

/// See [`integer()`].
#[derive(Debug, Clone, Copy)]
pub struct Integer {
    min: i64,
    max: i64,
}

impl Rule for Integer {
    type Value = i64;

    fn check(&self, value: &RawValue, at: &mut At<'_>) -> Option<i64> {
        let number = match whole_number(value.get()) {
            Ok(number) => number,
            Err(MoneyError::OutOfRange) => return self.out_of_range(at),
            Err(_) => return at.fail("not_an_integer", "must be a whole number"),
        };
        if (self.min..=self.max).contains(&number) { Some(number) } else { self.out_of_range(at) }
    }
}

impl Integer {
    fn out_of_range(&self, at: &mut At<'_>) -> Option<i64> {
        if self.min == 0 && self.max == i64::MAX {
            return at.fail("out_of_range", "must not be negative or beyond 64 bits");
        }
        at.fail("out_of_range", format!("must lie between {} and {}", self.min, self.max))
    }
}

/// `5`, and also `5.0` and `5e0`: to JSON they are one number.
fn whole_number(text: &str) -> Result<i64, MoneyError> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let is_plain = text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit());
    if is_plain {
        return Err(MoneyError::OutOfRange);
    }
    let units = text.parse::<Money>()?.units();
    if units % 10_000 == 0 { Ok(units / 10_000) } else { Err(MoneyError::TooPrecise) }
}

/// See [`boolean()`].
#[derive(Debug, Clone, Copy)]
pub struct Boolean;

impl Rule for Boolean {
    type Value = bool;

    fn check(&self, value: &RawValue, at: &mut At<'_>) -> Option<bool> {
        match value.get() {
            "true" => Some(true),
            "false" => Some(false),
            _ => at.fail("not_a_boolean", "must be true or false"),
        }
    }
}

/// See [`etag()`].
#[derive(Debug, Clone, Copy)]
pub struct Etag;

impl Rule for Etag {
    type Value = ETag;

    fn check(&self, value: &RawValue, at: &mut At<'_>) -> Option<ETag> {
        string(value, at).map(|text| ETag::parse(&text))
    }
}

/// See [`list()`].
#[derive(Debug, Clone, Copy)]
pub struct List<R> {
    item: R,
    min: usize,
    max: usize,
}

impl<R: Rule> Rule for List<R> {
    type Value = Vec<R::Value>;

    fn check(&self, value: &RawValue, at: &mut At<'_>) -> Option<Vec<R::Value>> {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
            return at.fail("not_a_list", "must be a list");
        };
        if items.len() < self.min {
            return at.fail("too_few", format!("must have at least {} items", self.min));
        }
        // The items of a list that is too long are not looked at: the answer stays short.
        if items.len() > self.max {
            return at.fail("too_many", format!("must have at most {} items", self.max));
        }
        // Collected in two steps, since the first wrong item must not hide the others.
        let checked: Vec<_> =
            items.iter().enumerate().map(|(i, item)| self.item.check(item, &mut at.item(i))).collect();
        checked.into_iter().collect()
    }
}

/// See [`object()`].
#[derive(Debug, Clone, Copy)]
pub struct Object<T>(PhantomData<fn() -> T>);

impl<T: FromFields> Rule for Object<T> {
    type Value = T;

    fn check(&self, value: &RawValue, at: &mut At<'_>) -> Option<T> {
        // As the place itself again, not a child of it.
        let here = At { path: at.path, errors: at.errors };
        T::from_fields(&mut Fields::of(value, here)?)
    }
}

/// The text of a JSON string.
fn string<'a>(value: &'a RawValue, at: &mut At<'_>) -> Option<Cow<'a, str>> {
    let raw = value.get();
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return at.fail("not_a_string", "must be a string");
    };
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    match serde_json::from_str(raw) {
        Ok(text) => Some(Cow::Owned(text)),
        Err(_) => at.fail("not_unicode", "must be valid Unicode text"),
    }
}

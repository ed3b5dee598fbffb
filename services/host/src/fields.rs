//! Reading a JSON body field by field, noting everything that is wrong instead of stopping at the first.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::FieldError;

mod rules;
#[cfg(test)]
mod tests;

pub use rules::{
    Boolean, Etag, Integer, List, MoneyRule, Object, Text, Time, UuidRule, boolean, etag, integer, list,
    money, object, text, text_of, time, uuid,
};

/// A type that is read from the fields of a JSON object.
///
/// Read every field first and use `?` after that, so that every wrong field is named:
///
/// ```
/// use annals_services::{Fields, FromFields, Money, fields, parse_body};
///
/// struct Item {
///     name: String,
///     price: Option<Money>,
/// }
///
/// impl FromFields for Item {
///     fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
///         let name = fields.required("name", fields::text());
///         let price = fields.optional("price", fields::money());
///         Some(Self { name: name?, price: price? })
///     }
/// }
///
/// let item: Item = parse_body(br#"{"name": "lamp", "price": 12.50}"#)?;
/// assert_eq!((item.name.as_str(), item.price.map(Money::units)), ("lamp", Some(125_000)));
///
/// let problem = parse_body::<Item>(br#"{"name": "", "price": "12"}"#).err();
/// let paths: Vec<_> = problem.iter().flat_map(|p| p.errors()).map(|e| e.path.as_str()).collect();
/// assert_eq!(paths, ["/name", "/price"]);
/// # Ok::<(), annals_services::Problem>(())
/// ```
pub trait FromFields: Sized {
    /// Reads the value; `None` when something was wrong and has been noted.
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self>;
}

/// What a field must be, and what it becomes.
pub trait Rule {
    /// What it becomes.
    type Value;

    /// Reads a value; `None` when something was wrong and has been noted with [`At::fail`].
    fn check(&self, value: &RawValue, at: &mut At<'_>) -> Option<Self::Value>;
}

/// A place in the body, and the list that takes what is wrong there.
#[derive(Debug)]
pub struct At<'p> {
    path: Path<'p>,
    errors: &'p mut Vec<FieldError>,
}

/// A chain of names up to the root: nothing is allocated unless something is wrong.
#[derive(Debug, Clone, Copy)]
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    segment: Segment<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Segment<'p> {
    Root,
    Name(&'p str),
    Index(usize),
}

impl fmt::Display for Path<'_> {
    /// A JSON pointer (RFC 6901).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Name(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")),
            Segment::Index(index) => write!(f, "/{index}"),
        }
    }
}

impl<'p> At<'p> {
    pub(crate) fn root(errors: &'p mut Vec<FieldError>) -> Self {
        Self { path: Path { parent: None, segment: Segment::Root }, errors }
    }

    /// Notes what is wrong here. It gives `None`, for the rule to return.
    pub fn fail<T>(&mut self, code: &'static str, reason: impl Into<Cow<'static, str>>) -> Option<T> {
        self.errors.push(FieldError { path: self.path.to_string(), code, reason: reason.into() });
        None
    }

    fn child<'c>(&'c mut self, segment: Segment<'c>) -> At<'c> {
        At { path: Path { parent: Some(&self.path), segment }, errors: self.errors }
    }

    /// The place of an item of the list here.
    pub fn item(&mut self, index: usize) -> At<'_> {
        self.child(Segment::Index(index))
    }
}

/// The fields of one JSON object.
#[derive(Debug)]
pub struct Fields<'a, 'p> {
    pairs: Pairs<'a>,
    at: At<'p>,
}

impl<'a, 'p> Fields<'a, 'p> {
    /// The fields of a value, if it is an object; else that is noted.
    pub(crate) fn of(value: &'a RawValue, mut at: At<'p>) -> Option<Self> {
        match serde_json::from_str(value.get()) {
            Ok(pairs) => Some(Self { pairs, at }),
            Err(_) => at.fail("not_an_object", "must be an object"),
        }
    }

    /// A field that must be there. `None` when it is missing or wrong, which has been noted.
    #[expect(clippy::needless_pass_by_value, reason = "rules are made where they are used")]
    pub fn required<R: Rule>(&mut self, name: &str, rule: R) -> Option<R::Value> {
        let value = self.pairs.get(name);
        let mut at = self.at.child(Segment::Name(name));
        match value {
            Some(value) => rule.check(value, &mut at),
            None => at.fail("required", "must be given"),
        }
    }

    /// A field that may be absent or null, which gives `Some(None)`. `None` when it is wrong, which has been noted.
    #[expect(clippy::needless_pass_by_value, reason = "rules are made where they are used")]
    pub fn optional<R: Rule>(&mut self, name: &str, rule: R) -> Option<Option<R::Value>> {
        match self.pairs.get(name) {
            Some(value) => rule.check(value, &mut self.at.child(Segment::Name(name))).map(Some),
            None => Some(None),
        }
    }

    /// Notes that a field is wrong for a reason that no rule knows.
    pub fn fail(&mut self, name: &str, code: &'static str, reason: impl Into<Cow<'static, str>>) {
        self.at.child(Segment::Name(name)).fail::<()>(code, reason);
    }
}

/// An object's names and unread values, in order.
#[derive(Debug)]
struct Pairs<'a>(Vec<(Name<'a>, &'a RawValue)>);

impl<'a> Pairs<'a> {
    /// The last value of this name, unless it is null.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rev().find(|(key, _)| key.0 == name)?;
        (value.get() != "null").then_some(*value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<'de>, M::Error> {
        let mut pairs = Vec::with_capacity(8);
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

/// A name that is copied only if it holds escapes.
#[derive(Debug)]
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

//! Schemas as types make them, held against JSON text as it is read: nothing is made of the text, and most of what is
//! valid is known to be so in one pass. What is not accepted here is held against the whole schema by the validator,
//! which alone refuses.

use std::sync::LazyLock;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, de};
use serde_json::Value;

mod compile;

/// Finds out of most valid text that it is valid.
#[derive(Debug)]
pub(super) struct Acceptor {
    nodes: Vec<Node>,
}

/// The place of a schema among all of them. The first is the whole.
type Place = usize;

/// What a value may be.
#[derive(Debug, Clone, Default)]
struct Node {
    types: Types,
    /// The least and the greatest number.
    numbers: (Option<i128>, Option<i128>),
    /// The least and the greatest length: of a string in characters, of an array in items.
    lengths: Lengths,
    items_count: Lengths,
    /// The only texts that a string may be.
    texts: Option<Vec<Box<str>>>,
    items: Option<Place>,
    object: Object,
    /// What it may be instead of null.
    or: Option<Place>,
}

/// Which types of JSON a value may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Types(u8);

impl Types {
    const NULL: Self = Self(1);
    const BOOLEAN: Self = Self(2);
    const INTEGER: Self = Self(4);
    /// Numbers that are not written as integers.
    const FRACTION: Self = Self(8);
    const STRING: Self = Self(16);
    const ARRAY: Self = Self(32);
    const OBJECT: Self = Self(64);
    const ALL: Self = Self(127);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[derive(Debug, Clone, Default)]
struct Lengths {
    min: usize,
    max: Option<usize>,
}

impl Lengths {
    const fn is_free(&self) -> bool {
        self.min == 0 && self.max.is_none()
    }

    fn allow(&self, length: usize) -> bool {
        self.min <= length && self.max.is_none_or(|max| length <= max)
    }
}

#[derive(Debug, Clone, Default)]
struct Object {
    /// In the order of their names.
    properties: Vec<(Box<str>, Place)>,
    /// A bit for each property that must be there.
    required: u64,
    /// What a property that is none of these may be; nothing where there may be none.
    others: Option<Place>,
}

impl Acceptor {
    /// For a schema that is made of what this knows, as those of most types are.
    pub(super) fn new(schema: &Value) -> Option<Self> {
        // With `arbitrary_precision`, numbers look like objects.
        static NUMBERS_ARE_NUMBERS: LazyLock<bool> = LazyLock::new(|| {
            let number = Acceptor { nodes: vec![Node { types: Types::INTEGER, ..Node::default() }] };
            number.accepts("1")
        });
        compile::compile(schema).filter(|_| *NUMBERS_ARE_NUMBERS).map(|nodes| Self { nodes })
    }

    /// Whether this is JSON that satisfies the schema. Where it says no, nobody knows yet.
    pub(super) fn accepts(&self, text: &str) -> bool {
        let mut json = serde_json::Deserializer::from_str(text);
        self.at(0).deserialize(&mut json).is_ok() && json.end().is_ok()
    }

    fn at(&self, place: Place) -> Held<'_> {
        let (mut node, mut or_null) = (&self.nodes[place], false);
        while let Some(other) = node.or {
            (node, or_null) = (&self.nodes[other], true);
        }
        Held { all: self, node, or_null }
    }
}

/// A value that is held against a part of the schema; an error where it is not accepted.
#[derive(Clone, Copy)]
struct Held<'a> {
    all: &'a Acceptor,
    node: &'a Node,
    or_null: bool,
}

fn accepted<E: de::Error>(is_accepted: bool) -> Result<(), E> {
    if is_accepted { Ok(()) } else { Err(E::custom("")) }
}

impl Held<'_> {
    fn number<E: de::Error>(self, number: i128) -> Result<(), E> {
        let (min, max) = self.node.numbers;
        let within = min.is_none_or(|min| min <= number) && max.is_none_or(|max| number <= max);
        accepted(within && self.node.types.has(Types::INTEGER))
    }
}

impl<'de> DeserializeSeed<'de> for Held<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Held<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what the schema says")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        accepted(self.or_null || self.node.types.has(Types::NULL))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        accepted(self.node.types.has(Types::BOOLEAN))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.number(i128::from(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.number(i128::from(number))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        // What the bounds mean for these, and which of them are integers, the validator knows.
        accepted(self.node.types.has(Types::FRACTION) && self.node.numbers == (None, None))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let Node { types, lengths, texts, .. } = self.node;
        let is_long_enough = lengths.is_free() || lengths.allow(text.chars().count());
        let is_among = texts.as_ref().is_none_or(|texts| texts.iter().any(|one| **one == *text));
        accepted(types.has(Types::STRING) && is_long_enough && is_among)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        accepted(self.node.types.has(Types::ARRAY))?;
        let mut count = 0;
        let item = self.all.at(self.node.items.unwrap_or(compile::ANYTHING));
        while items.next_element_seed(item)?.is_some() {
            count += 1;
        }
        accepted(self.node.items_count.allow(count))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        accepted(self.node.types.has(Types::OBJECT))?;
        let object = &self.node.object;
        let mut seen = 0;
        while let Some(member) = members.next_key_seed(Name(object))? {
            let place = match member {
                Some(index) => {
                    seen |= 1 << index;
                    Some(object.properties[index].1)
                }
                None => object.others,
            };
            match place {
                Some(place) => members.next_value_seed(self.all.at(place))?,
                None => return accepted(false),
            }
        }
        accepted(seen & object.required == object.required)
    }
}

/// The name of a member: which of the properties it is, if any.
struct Name<'a>(&'a Object);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.properties.binary_search_by(|(property, _)| (**property).cmp(name)).ok())
    }
}

#[cfg(test)]
mod tests;

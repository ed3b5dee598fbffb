//! A command's content as bytes to be hashed: a value in serde's data model, every part with what kind it is and every
//! text with its length, so that two contents never look alike. Of a variant its name is part of it and its place is not, so
//! that a release that adds one reads the same content out of the same command. The entries of a map are in the order of
//! their bytes: a hash map has them in another order in every process.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize};

use crate::names::CommandName;

const NOTHING: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const UNSIGNED: u8 = 3;
const NEGATIVE: u8 = 4;
const FLOAT: u8 = 5;
const TEXT: u8 = 6;
const BYTES: u8 = 7;
const VARIANT: u8 = 8;
const LIST: u8 = 9;
const MAP: u8 = 10;
const END: u8 = 11;

/// Writes a value's content; answers what it is called, where it has a name.
///
/// # Errors
/// What the value's `Serialize` said.
pub(crate) fn write<T: Serialize + ?Sized>(
    value: &T,
    bytes: &mut Vec<u8>,
) -> Result<Option<CommandName>, Refusal> {
    let mut content = Content { bytes, name: None };
    value.serialize(&mut content)?;
    Ok(content.name)
}

/// Why a value has no content: its `Serialize` refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(String);

impl ser::Error for Refusal {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Content<'a> {
    bytes: &'a mut Vec<u8>,
    /// What the outermost value is called.
    name: Option<CommandName>,
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content")
    }
}

type Done = Result<(), Refusal>;

impl Content<'_> {
    fn mark(&mut self, kind: u8) {
        self.bytes.push(kind);
    }

    fn sized(&mut self, kind: u8, bytes: &[u8]) {
        self.mark(kind);
        self.bytes.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) -> Done {
        self.sized(TEXT, text.as_bytes());
        Ok(())
    }

    fn unsigned(&mut self, value: u128) -> Done {
        self.mark(UNSIGNED);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn signed(&mut self, value: i128) -> Done {
        let Ok(unsigned) = u128::try_from(value) else {
            self.mark(NEGATIVE);
            self.bytes.extend_from_slice(&value.to_le_bytes());
            return Ok(());
        };
        self.unsigned(unsigned)
    }

    fn variant(&mut self, index: u32, name: &'static str) {
        self.called(index, name);
        self.sized(VARIANT, name.as_bytes());
    }

    /// The outermost value's name is the command's.
    fn called(&mut self, index: u32, name: &'static str) {
        if self.bytes.is_empty() {
            self.name = Some(CommandName { index, name });
        }
    }
}

macro_rules! numbers {
    ($($method:ident: $type:ty as $wide:ident),*) => {
        $(fn $method(self, value: $type) -> Done {
            self.$wide(value.into())
        })*
    };
}

impl<'a, 'b> ser::Serializer for &'b mut Content<'a> {
    type Ok = ();
    type Error = Refusal;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Entries<'a, 'b>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    numbers!(
        serialize_i8: i8 as signed, serialize_i16: i16 as signed, serialize_i32: i32 as signed,
        serialize_i64: i64 as signed, serialize_i128: i128 as signed,
        serialize_u8: u8 as unsigned, serialize_u16: u16 as unsigned, serialize_u32: u32 as unsigned,
        serialize_u64: u64 as unsigned, serialize_u128: u128 as unsigned
    );

    fn serialize_bool(self, value: bool) -> Done {
        self.mark(if value { TRUE } else { FALSE });
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Done {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Done {
        self.mark(FLOAT);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Done {
        self.text(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Done {
        self.text(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Done {
        self.sized(BYTES, value);
        Ok(())
    }

    fn serialize_none(self) -> Done {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        self.mark(NOTHING);
        Ok(())
    }

    fn serialize_unit_struct(self, name: &'static str) -> Done {
        self.called(0, name);
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _name: &'static str, index: u32, variant: &'static str) -> Done {
        self.variant(index, variant);
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        self.variant(index, variant);
        value.serialize(self)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self, Refusal> {
        self.mark(LIST);
        Ok(self)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self, Refusal> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Self, Refusal> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self, Refusal> {
        self.variant(index, variant);
        self.serialize_seq(Some(len))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Entries<'a, 'b>, Refusal> {
        self.mark(MAP);
        Ok(Entries { content: self, begins: Vec::new() })
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Self, Refusal> {
        self.called(0, name);
        self.mark(MAP);
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self, Refusal> {
        self.variant(index, variant);
        self.mark(MAP);
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! lists {
    ($($list:ident: $add:ident),*) => {
        $(impl ser::$list for &mut Content<'_> {
            type Ok = ();
            type Error = Refusal;

            fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                value.serialize(&mut **self)
            }

            fn end(self) -> Done {
                self.mark(END);
                Ok(())
            }
        })*
    };
}

lists!(
    SerializeSeq: serialize_element, SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field, SerializeTupleVariant: serialize_field
);

macro_rules! structs {
    ($($fields:ident),*) => {
        $(impl ser::$fields for &mut Content<'_> {
            type Ok = ();
            type Error = Refusal;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Done {
                self.text(name)?;
                value.serialize(&mut **self)
            }

            fn end(self) -> Done {
                self.mark(END);
                Ok(())
            }
        })*
    };
}

structs!(SerializeStruct, SerializeStructVariant);

/// A map that is being written, and where each of its entries begins.
struct Entries<'a, 'b> {
    content: &'b mut Content<'a>,
    begins: Vec<usize>,
}

impl ser::SerializeMap for Entries<'_, '_> {
    type Ok = ();
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.begins.push(self.content.bytes.len());
        key.serialize(&mut *self.content)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        value.serialize(&mut *self.content)
    }

    fn end(self) -> Done {
        sort(self.content.bytes, &self.begins);
        self.content.mark(END);
        Ok(())
    }
}

/// Puts the parts that begin at these places, the last of which goes on to the end, in the order of their bytes.
fn sort(bytes: &mut Vec<u8>, begins: &[usize]) {
    let Some(&first) = begins.first() else { return };
    let ends = begins.iter().skip(1).copied().chain([bytes.len()]);
    let mut parts: Vec<_> = begins.iter().zip(ends).map(|(begin, end)| &bytes[*begin..end]).collect();
    if parts.is_sorted() {
        return;
    }
    parts.sort_unstable();
    let sorted = parts.concat();
    bytes.truncate(first);
    bytes.extend_from_slice(&sorted);
}

#[cfg(test)]
mod tests;

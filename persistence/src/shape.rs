//! Shapes: what a persisted type looks like, so that a change of it is noticed before bytes are misread.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// A type whose shape can be written down: its fields and variants, by name, order and type, all the way down.
///
/// Derive it (`#[derive(Shape)]`) for every type that is kept in a snapshot or an event. A type that hides its
/// representation implements it by hand, with a name that changes when the representation does:
///
/// ```
/// use annals_persistence::{Shape, ShapeWriter, fingerprint};
///
/// struct Money(i64);
///
/// impl Shape for Money {
///     fn describe(shape: &mut ShapeWriter) {
///         shape.leaf("money(i64, 4 places)");
///     }
/// }
///
/// assert_ne!(fingerprint::<Money>(), fingerprint::<i64>());
/// ```
#[diagnostic::on_unimplemented(
    message = "the shape of `{Self}` is not known, so a change of it would go unnoticed",
    note = "add `#[derive(annals::Shape)]` to it, or implement `Shape` by hand if it is another crate's"
)]
pub trait Shape {
    /// Writes the shape down.
    fn describe(shape: &mut ShapeWriter);
}

/// Takes down a shape. A type that contains itself is written down once and named after that.
#[derive(Debug, Default)]
pub struct ShapeWriter {
    text: String,
    open: Vec<&'static str>,
    self_describing: Option<&'static str>,
}

impl ShapeWriter {
    /// A type without parts that this crate could name.
    pub fn leaf(&mut self, name: &str) {
        self.text.push_str(name);
        self.text.push(';');
    }

    /// A type with parts. `path` tells it from others while it is being written down: the same type with other parameters
    /// is another one.
    pub fn composite(&mut self, path: &'static str, kind: &str, parts: impl FnOnce(&mut Self)) {
        self.text.push_str(kind);
        if let Some(depth) = self.open.iter().rev().position(|open| *open == path) {
            self.text.push_str(&format!("^{depth};"));
            return;
        }
        self.open.push(path);
        self.text.push('{');
        parts(self);
        self.text.push('}');
        self.open.pop();
    }

    /// A named part: a field or a variant.
    pub fn part(&mut self, name: &str, describe: impl FnOnce(&mut Self)) {
        self.text.push_str(name);
        self.text.push(':');
        describe(self);
    }

    /// A type that is written as the one thing in it is. `path` is as for [`ShapeWriter::composite`].
    pub fn transparent(&mut self, path: &'static str, inner: impl FnOnce(&mut Self)) {
        if let Some(depth) = self.open.iter().rev().position(|open| *open == path) {
            self.leaf(&format!("^{depth}"));
            return;
        }
        self.open.push(path);
        inner(self);
        self.open.pop();
    }

    /// Notes that a serde attribute in the shape can be read back by a self-describing codec alone.
    pub fn needs_self_describing(&mut self, attribute: &'static str) {
        self.self_describing.get_or_insert(attribute);
    }

    /// The first attribute that [`ShapeWriter::needs_self_describing`] was told of.
    #[must_use]
    pub fn self_describing(&self) -> Option<&'static str> {
        self.self_describing
    }

    /// The shape as text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

/// The shape of a type as text.
#[must_use]
pub fn shape_text<T: Shape + ?Sized>() -> String {
    let mut writer = ShapeWriter::default();
    T::describe(&mut writer);
    writer.finish()
}

/// A number that changes when the shape of a type does.
#[must_use]
pub fn fingerprint<T: Shape + ?Sized>() -> u64 {
    shape_fingerprint(&shape_text::<T>())
}

/// The fingerprint of a shape that is there as text.
#[must_use]
pub fn shape_fingerprint(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

macro_rules! leaves {
    ($($type:ty => $name:literal),+ $(,)?) => {
        $(impl Shape for $type {
            fn describe(shape: &mut ShapeWriter) {
                shape.leaf($name);
            }
        })+
    };
}

leaves! {
    bool => "bool", char => "char", String => "string", str => "string", () => "unit", Uuid => "uuid",
    u8 => "u8", u16 => "u16", u32 => "u32", u64 => "u64", u128 => "u128",
    i8 => "i8", i16 => "i16", i32 => "i32", i64 => "i64", i128 => "i128",
    f32 => "f32", f64 => "f64",
    crate::Timestamp => "timestamp(i64)", crate::Version => "version(u64)", crate::Position => "position(u64)",
    crate::EventId => "uuid", crate::CommandId => "uuid",
}

fn describe_list<T: Shape>(shape: &mut ShapeWriter) {
    if size_of::<T>() == 0 {
        // Its length costs no bytes, so no limit bounds it.
        shape.needs_self_describing("a list of values without bytes");
    }
    shape.part("list", T::describe);
}

macro_rules! lists {
    ($($type:ident),+) => {
        $(impl<T: Shape> Shape for $type<T> {
            fn describe(shape: &mut ShapeWriter) {
                describe_list::<T>(shape);
            }
        })+
    };
}

lists! { Vec, VecDeque, BTreeSet }

impl<T: Shape, S> Shape for HashSet<T, S> {
    fn describe(shape: &mut ShapeWriter) {
        describe_list::<T>(shape);
    }
}

impl<T: Shape> Shape for Option<T> {
    fn describe(shape: &mut ShapeWriter) {
        shape.part("option", T::describe);
    }
}

impl<T: Shape + ?Sized> Shape for Box<T> {
    fn describe(shape: &mut ShapeWriter) {
        T::describe(shape);
    }
}

impl<T: Shape + ?Sized> Shape for Arc<T> {
    fn describe(shape: &mut ShapeWriter) {
        T::describe(shape);
    }
}

impl<T: Shape> Shape for [T] {
    fn describe(shape: &mut ShapeWriter) {
        describe_list::<T>(shape);
    }
}

impl<T: Shape, const N: usize> Shape for [T; N] {
    fn describe(shape: &mut ShapeWriter) {
        shape.part(&format!("array{N}"), T::describe);
    }
}

macro_rules! any_json {
    ($($type:ty),+) => {
        $(impl Shape for $type {
            fn describe(shape: &mut ShapeWriter) {
                shape.leaf("json");
                shape.needs_self_describing("any JSON");
            }
        })+
    };
}

any_json! { serde_json::Value, serde_json::value::RawValue }

fn describe_map<K: Shape, V: Shape>(shape: &mut ShapeWriter) {
    shape.part("map", |shape| {
        K::describe(shape);
        V::describe(shape);
    });
}

impl<K: Shape, V: Shape> Shape for BTreeMap<K, V> {
    fn describe(shape: &mut ShapeWriter) {
        describe_map::<K, V>(shape);
    }
}

impl<K: Shape, V: Shape, S> Shape for HashMap<K, V, S> {
    fn describe(shape: &mut ShapeWriter) {
        describe_map::<K, V>(shape);
    }
}

macro_rules! tuples {
    ($(($($part:ident),+)),+ $(,)?) => {
        $(impl<$($part: Shape),+> Shape for ($($part,)+) {
            fn describe(shape: &mut ShapeWriter) {
                shape.part("tuple", |shape| { $($part::describe(shape);)+ });
            }
        })+
    };
}

tuples! { (A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E), (A, B, C, D, E, F) }

#[cfg(test)]
mod tests;

//! What a comparison may cost: schemas come from outside.

use serde_json::{Map, Value};

/// How many steps one comparison may take. The schemas of types that people write take some thousands.
pub(in crate::schema) const STEPS_MAX: usize = 1_000_000;
/// How many reasons are told.
pub(super) const REASONS_MAX: usize = 100;
/// How many bytes of text are a step.
const STEP_BYTES: usize = 64;
/// What it takes to compile a part of a schema, in steps, for each of its nodes.
const COMPILING: usize = 10;

/// The steps that are left.
#[derive(Debug)]
pub(super) struct Steps(Option<usize>);

impl Default for Steps {
    fn default() -> Self {
        Self(Some(STEPS_MAX))
    }
}

impl Steps {
    /// Takes this many; whether there were as many. Once there were not, there never are again.
    pub(super) fn take(&mut self, count: usize) -> bool {
        self.0 = self.0.and_then(|left| left.checked_sub(count));
        self.0.is_some()
    }

    pub(super) fn have_run_out(&self) -> bool {
        self.0.is_none()
    }
}

/// The steps that it takes to look at a pair of schemas in this place, without their parts.
pub(super) fn looking(reader: &Value, writer: &Value, path: &str) -> usize {
    1 + path.len() / STEP_BYTES + width(reader) + width(writer)
}

/// The steps that it takes to compile a schema and to hold these values against it.
pub(super) fn compiling(schema: &Value, values: &[&Value]) -> usize {
    COMPILING * nodes(schema) + values.iter().map(|value| nodes(value)).sum::<usize>()
}

/// How much stands in a schema's keywords, without what is in that.
fn width(schema: &Value) -> usize {
    let inner = |value: &Value| match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    schema.as_object().into_iter().flat_map(Map::values).map(|value| 1 + inner(value)).sum()
}

/// How much there is in a value, at any depth.
fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(map) => map.values().map(nodes).sum(),
        Value::String(text) => text.len() / STEP_BYTES,
        _ => 0,
    }
}

/// Whether a part of a schema refers to another.
pub(super) fn refers(part: &Value) -> bool {
    match part {
        Value::Array(items) => items.iter().any(refers),
        Value::Object(map) => map.contains_key("$ref") || map.values().any(refers),
        _ => false,
    }
}

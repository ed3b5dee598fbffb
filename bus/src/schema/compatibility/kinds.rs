//! Types and bounds of values, as schemas name them.

use serde_json::{Map, Value};

/// The types that JSON Schema knows.
const ALL: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// The types that a schema lets through.
pub(super) fn types(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => ALL.to_vec(),
    }
}

/// Whether a reader that lets these types through takes this one.
pub(super) fn takes(reader: &[&str], kind: &str) -> bool {
    reader.contains(&kind) || (kind == "integer" && reader.contains(&"number"))
}

/// A keyword that bounds values, and which way.
pub(super) struct Bound {
    pub(super) keyword: &'static str,
    pub(super) lower: bool,
}

pub(super) const BOUNDS: [Bound; 12] = [
    Bound { keyword: "minimum", lower: true },
    Bound { keyword: "exclusiveMinimum", lower: true },
    Bound { keyword: "minLength", lower: true },
    Bound { keyword: "minItems", lower: true },
    Bound { keyword: "minProperties", lower: true },
    Bound { keyword: "minContains", lower: true },
    Bound { keyword: "maximum", lower: false },
    Bound { keyword: "exclusiveMaximum", lower: false },
    Bound { keyword: "maxLength", lower: false },
    Bound { keyword: "maxItems", lower: false },
    Bound { keyword: "maxProperties", lower: false },
    Bound { keyword: "maxContains", lower: false },
];

/// The bits of a numeric format and whether it has a sign, for the formats that schemars writes.
fn integer_format(format: &str) -> Option<(u32, bool)> {
    let (signed, bits) = match format.strip_prefix("uint") {
        Some(bits) => (false, bits),
        None => (true, format.strip_prefix("int")?),
    };
    if bits.is_empty() { Some((64, signed)) } else { Some((bits.parse().ok()?, signed)) }
}

/// Whether everything of the writer's format has the reader's format too.
pub(super) fn format_takes(reader: &str, writer: &str) -> bool {
    if reader == writer || (reader, writer) == ("double", "float") {
        return true;
    }
    match (integer_format(reader), integer_format(writer)) {
        (Some((more, true)), Some((bits, false))) => more > bits,
        (Some((more, reader_signed)), Some((bits, writer_signed))) => {
            reader_signed == writer_signed && more >= bits
        }
        (None, Some(_)) => matches!(reader, "double" | "float"),
        _ => false,
    }
}

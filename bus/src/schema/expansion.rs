//! How much of a schema is held against one and the same value.
//!
//! A validator follows every way through `allOf`, `anyOf`, `$ref` and the like for every value that it meets: a small
//! schema that branches twice at each of forty steps has a million million ways.

use std::collections::HashMap;
use std::ptr;

use serde_json::Value;

/// How many parts of a schema may be held against one value.
const PARTS_MAX: usize = 10_000;
/// How many parts may be within one another.
const DEPTH_MAX: usize = 256;

/// Keywords whose schemas are for the same value as they themselves are, one or a list of them.
const SAME_VALUE: [&str; 7] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];
/// The same, for keywords with the place of one.
const REFERENCES: [&str; 2] = ["$ref", "$dynamicRef"];
/// The same, for keywords with a schema for each of several names.
const SAME_VALUE_BY_NAME: &str = "dependentSchemas";
/// Keywords whose content is no schema.
const PLAIN: [&str; 4] = ["const", "enum", "default", "examples"];

/// Why a schema cannot be held against content in a reasonable time, if that is so.
pub(super) fn fault(schema: &Value) -> Option<String> {
    Expansion { root: schema, parts: HashMap::new() }.everywhere(schema).err()
}

struct Expansion<'a> {
    root: &'a Value,
    /// How many parts are within a part, itself included; nothing while that is being found out.
    parts: HashMap<*const Value, Option<usize>>,
}

impl<'a> Expansion<'a> {
    /// Looks at whatever may be a schema. What only looks like one costs little.
    fn everywhere(&mut self, value: &'a Value) -> Result<(), String> {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.everywhere(item)),
            Value::Object(map) => {
                self.of(value, 0)?;
                let schemas = map.iter().filter(|(key, _)| !PLAIN.contains(&key.as_str()));
                schemas.map(|(_, part)| part).try_for_each(|part| self.everywhere(part))
            }
            _ => Ok(()),
        }
    }

    /// How many parts are held against the value that this part is held against.
    fn of(&mut self, part: &'a Value, depth: usize) -> Result<usize, String> {
        if depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} of its parts are within one another"));
        }
        match self.parts.insert(ptr::from_ref(part), None) {
            Some(None) => return Err("a part of it leads back to itself, for the same value".to_owned()),
            Some(Some(known)) => {
                self.parts.insert(ptr::from_ref(part), Some(known));
                return Ok(known);
            }
            None => {}
        }
        let mut parts = 1;
        for inner in self.within(part)? {
            parts += self.of(inner, depth + 1)?;
            if parts > PARTS_MAX {
                return Err(format!("more than {PARTS_MAX} of its parts are for one value"));
            }
        }
        self.parts.insert(ptr::from_ref(part), Some(parts));
        Ok(parts)
    }

    fn within(&self, part: &'a Value) -> Result<Vec<&'a Value>, String> {
        let mut found = Vec::new();
        if !ptr::eq(part, self.root) && part.get("$id").is_some_and(Value::is_string) {
            return Err("a part of it has an \"$id\" of its own".to_owned());
        }
        for reference in REFERENCES.iter().filter_map(|keyword| part.get(keyword)?.as_str()) {
            found.push(self.target(reference)?);
        }
        for inner in SAME_VALUE.iter().filter_map(|keyword| part.get(keyword)) {
            match inner {
                Value::Array(several) => found.extend(several),
                one => found.push(one),
            }
        }
        let by_name = part.get(SAME_VALUE_BY_NAME).and_then(Value::as_object);
        found.extend(by_name.into_iter().flat_map(serde_json::Map::values));
        Ok(found)
    }

    fn target(&self, reference: &str) -> Result<&'a Value, String> {
        let pointer = reference.strip_prefix('#');
        let target = pointer.and_then(|pointer| self.root.pointer(pointer));
        target.ok_or_else(|| {
            format!("\"{reference}\" is no JSON pointer to a part of it (as \"#/$defs/Name\")")
        })
    }
}

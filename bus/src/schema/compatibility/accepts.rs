//! Whether a reader accepts all that a writer writes.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::Incompatibility;
use super::kinds::{BOUNDS, Bound, format_takes, takes, types};
use super::limits::{REASONS_MAX, Steps, compiling, looking, refers};
use super::met::{Met, Verdict, pair};
use crate::schema::validator::shortened;
use crate::schema::{SchemaError, SchemaValidator};

/// How deep schemas are looked into.
const DEPTH_MAX: usize = 64;

/// Keywords that say nothing about what is valid.
const ANNOTATIONS: [&str; 12] = [
    "$schema",
    "$id",
    "$defs",
    "$comment",
    "$anchor",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];
/// Keywords that are compared by rules of their own.
const COMPARED: [&str; 13] = [
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "prefixItems",
    "anyOf",
    "oneOf",
    "allOf",
    "format",
    "uniqueItems",
];

/// Why a reader would refuse something that a writer may write; nothing when it accepts all.
pub(super) fn refusals(
    reader: &Value,
    writer: &Value,
    reader_name: &'static str,
    writer_name: &'static str,
) -> Result<Vec<Incompatibility>, SchemaError> {
    let mut comparison = Comparison {
        reader,
        writer,
        reader_name,
        writer_name,
        met: Met::default(),
        probes: 0,
        refusals: 0,
        steps: Steps::default(),
        reasons: Vec::new(),
        untold: 0,
    };
    comparison.compare(reader, writer, "", 0);
    comparison.told()
}

struct Comparison<'a> {
    reader: &'a Value,
    writer: &'a Value,
    reader_name: &'static str,
    writer_name: &'static str,
    met: Met,
    /// How many comparisons are under way that do not tell why not.
    probes: usize,
    /// How much was refused, in the innermost of these or else at all.
    refusals: usize,
    steps: Steps,
    reasons: Vec<Incompatibility>,
    /// How many more there are.
    untold: usize,
}

/// What is behind a reference into the same document.
fn resolved<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..DEPTH_MAX {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
        match target.and_then(|pointer| root.pointer(pointer)) {
            Some(next) => schema = next,
            None => return schema,
        }
    }
    schema
}

impl<'a> Comparison<'a> {
    fn told(mut self) -> Result<Vec<Incompatibility>, SchemaError> {
        if self.steps.have_run_out() {
            return Err(SchemaError::TooComplex);
        }
        if self.untold > 0 {
            let reason = format!("there are {} more reasons", self.untold);
            self.reasons.push(Incompatibility { path: String::new(), reason });
        }
        Ok(self.reasons)
    }

    fn refuse(&mut self, path: &str, reason: String) {
        self.refusals += 1;
        if self.probes > 0 {
            return;
        }
        if self.reasons.len() == REASONS_MAX {
            self.untold += 1;
        } else {
            let (path, reason) = (shortened(path.to_owned()), shortened(reason));
            self.reasons.push(Incompatibility { path, reason });
        }
    }

    /// Whether the reader accepts all of the writer's, without telling why not.
    fn quietly(&mut self, reader: &'a Value, writer: &'a Value, path: &str, depth: usize) -> bool {
        let before = self.refusals;
        self.probes += 1;
        self.compare(reader, writer, path, depth);
        self.probes -= 1;
        let accepted = self.refusals == before;
        self.refusals = before;
        accepted
    }

    fn compare(&mut self, reader: &'a Value, writer: &'a Value, path: &str, depth: usize) {
        self.beside(reader, writer, path);
        let (reader, writer) = (resolved(self.reader, reader), resolved(self.writer, writer));
        let pair = pair(reader, writer);
        if let Some(verdict) = self.met.verdict(pair).cloned()
            && self.known(verdict, path)
        {
            return;
        }
        if !self.steps.take(looking(reader, writer, path)) {
            self.refusals += 1;
            return;
        }
        let (since, before) = (self.met.begin(pair), self.refusals);
        self.anew(reader, writer, path, depth);
        if self.refusals == before {
            self.met.accept(pair);
        } else {
            self.met.refuse(pair, since, (self.probes == 0).then(|| path.to_owned()));
        }
    }

    /// What the reader demands beside a reference: the writer must say the same. What the writer says there only writes less.
    fn beside(&mut self, reader: &Value, writer: &Value, path: &str) {
        let Some(demands) = reader.as_object().filter(|reader| reader.contains_key("$ref")) else { return };
        for (name, value) in demands.iter().filter(|(name, _)| *name != "$ref" && !is_annotation(name)) {
            if writer.get(name) != Some(value) {
                let (reader, writer) = (self.reader_name, self.writer_name);
                self.refuse(
                    path,
                    format!("{reader} demands \"{name}\" beside a reference, and {writer} does not"),
                );
            }
        }
    }

    /// Whether what is known of a pair is enough here. It is not where reasons are asked for that nobody told yet.
    fn known(&mut self, verdict: Verdict, path: &str) -> bool {
        match verdict {
            Verdict::UnderWay | Verdict::Accepted => {}
            Verdict::Refused(None) if self.probes == 0 => return false,
            Verdict::Refused(Some(told)) if told != path => {
                let place = if told.is_empty() { "/" } else { &told };
                self.refuse(path, format!("refused for the same reasons as {place}"));
            }
            // Told for this very place, or not to be told.
            Verdict::Refused(_) => self.refusals += 1,
        }
        true
    }

    fn anew(&mut self, reader: &'a Value, writer: &'a Value, path: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return self.refuse(path, "the schemas are nested too deeply to be compared".to_owned());
        }
        match (reader, writer) {
            (Value::Bool(true), _) | (_, Value::Bool(false)) => {}
            (Value::Bool(false), _) => {
                self.refuse(path, format!("{} accepts nothing here", self.reader_name))
            }
            (Value::Object(reader), Value::Bool(true)) if reader.keys().all(|key| is_annotation(key)) => {}
            (Value::Object(_), Value::Bool(true)) => {
                self.refuse(path, format!("{} says nothing of what it writes here", self.writer_name));
            }
            (Value::Object(reader_map), Value::Object(writer_map)) => {
                self.objects(reader, writer, reader_map, writer_map, path, depth);
            }
            _ => self.refuse(path, "one of them is no schema".to_owned()),
        }
    }

    fn objects(
        &mut self,
        reader: &'a Value,
        writer: &'a Value,
        reader_map: &'a Map<String, Value>,
        writer_map: &'a Map<String, Value>,
        path: &str,
        depth: usize,
    ) {
        if let Some(branches) = alternatives(writer_map) {
            // Whatever else the writer says only writes less.
            return branches.iter().for_each(|branch| self.compare(reader, branch, path, depth + 1));
        }
        if let Some(branches) = alternatives(reader_map) {
            if !branches.iter().any(|branch| self.quietly(branch, writer, path, depth + 1)) {
                self.refuse(
                    path,
                    format!(
                        "no alternative of {} accepts what {} writes",
                        self.reader_name, self.writer_name
                    ),
                );
            }
            return;
        }
        if let Some(Value::Array(all)) = reader_map.get("allOf") {
            all.iter().for_each(|part| self.compare(part, writer, path, depth + 1));
        }
        if let Some(Value::Array(all)) = writer_map.get("allOf")
            && all.iter().any(|part| self.quietly(reader, part, path, depth + 1))
        {
            return;
        }
        if let Some(values) = values(writer_map) {
            return self.values(reader, &values, path);
        }
        if let Some(accepted) = values(reader_map) {
            return self.refuse(
                path,
                format!(
                    "{} accepts only {}, {} writes more",
                    self.reader_name,
                    shown(&accepted),
                    self.writer_name
                ),
            );
        }
        if self.types(reader_map, writer_map, path) {
            self.format(reader_map, writer_map, path);
            BOUNDS.iter().for_each(|bound| self.bound(bound, reader_map, writer_map, path));
            self.properties(reader_map, writer_map, path, depth);
            self.items(reader_map, writer_map, path, depth);
            self.others(reader_map, writer_map, path);
        }
    }

    /// Each value of a writer that writes no others.
    fn values(&mut self, reader: &Value, values: &[&Value], path: &str) {
        let whole = with_definitions(reader, self.reader);
        if !self.steps.take(compiling(&whole, values)) {
            self.refusals += 1;
            return;
        }
        let Ok(validator) = SchemaValidator::for_values(&whole) else {
            return self.refuse(path, format!("{} cannot be compiled here", self.reader_name));
        };
        let refused: Vec<_> = values.iter().filter(|value| !validator.accepts(value)).copied().collect();
        if !refused.is_empty() {
            self.refuse(
                path,
                format!(
                    "{} does not accept {}, which {} writes",
                    self.reader_name,
                    shown(&refused),
                    self.writer_name
                ),
            );
        }
    }

    /// Whether the types fit, so that there is anything else to compare.
    fn types(&mut self, reader: &Map<String, Value>, writer: &Map<String, Value>, path: &str) -> bool {
        let (accepted, written) = (types(reader), types(writer));
        let refused: Vec<_> = written.into_iter().filter(|kind| !takes(&accepted, kind)).collect();
        if refused.is_empty() {
            return true;
        }
        let (accepted, refused) = (accepted.join(" or "), refused.join(" or "));
        self.refuse(
            path,
            format!("{} accepts {accepted}, {} may write {refused}", self.reader_name, self.writer_name),
        );
        false
    }

    fn format(&mut self, reader: &Map<String, Value>, writer: &Map<String, Value>, path: &str) {
        let Some(wanted) = reader.get("format").and_then(Value::as_str) else { return };
        let written = writer.get("format").and_then(Value::as_str);
        if !written.is_some_and(|written| format_takes(wanted, written)) {
            let written = written.unwrap_or("any");
            self.refuse(
                path,
                format!("{} wants format {wanted}, {} writes {written}", self.reader_name, self.writer_name),
            );
        }
    }

    fn bound(&mut self, bound: &Bound, reader: &Map<String, Value>, writer: &Map<String, Value>, path: &str) {
        let Some(limit) = reader.get(bound.keyword).and_then(Value::as_f64) else { return };
        let written = writer.get(bound.keyword).and_then(Value::as_f64);
        let fits =
            written.is_some_and(|written| if bound.lower { written >= limit } else { written <= limit });
        if !fits {
            let written = written.map_or_else(|| "none".to_owned(), |written| written.to_string());
            self.refuse(
                path,
                format!(
                    "{} has {} {limit}, {} has {written}",
                    self.reader_name, bound.keyword, self.writer_name
                ),
            );
        }
    }

    fn properties(
        &mut self,
        reader: &'a Map<String, Value>,
        writer: &'a Map<String, Value>,
        path: &str,
        depth: usize,
    ) {
        let known = reader.get("properties").and_then(Value::as_object);
        for (name, written) in writer.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let place = format!("{path}/{}", escaped(name));
            match (known.and_then(|known| known.get(name)), reader.get("additionalProperties")) {
                (Some(wanted), _) => self.compare(wanted, written, &place, depth + 1),
                (None, Some(Value::Bool(false))) => {
                    self.refuse(
                        &place,
                        format!("{} does not know the property, and accepts no others", self.reader_name),
                    );
                }
                (None, Some(rest)) => self.compare(rest, written, &place, depth + 1),
                (None, None) => {}
            }
        }
        self.required(reader, writer, path);
        if let (Some(wanted), Some(written)) =
            (reader.get("additionalProperties"), writer.get("additionalProperties"))
        {
            self.compare(wanted, written, &format!("{path}/*"), depth + 1);
        }
    }

    fn required(&mut self, reader: &Map<String, Value>, writer: &Map<String, Value>, path: &str) {
        let names = |schema: &Map<String, Value>| -> HashSet<String> {
            let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let written = names(writer);
        let mut missing: Vec<_> = names(reader).difference(&written).cloned().collect();
        missing.sort();
        for name in missing {
            let place = format!("{path}/{}", escaped(&name));
            self.refuse(
                &place,
                format!("{} requires the property, {} may leave it out", self.reader_name, self.writer_name),
            );
        }
    }

    fn items(
        &mut self,
        reader: &'a Map<String, Value>,
        writer: &'a Map<String, Value>,
        path: &str,
        depth: usize,
    ) {
        let place = format!("{path}/*");
        match (reader.get("items"), writer.get("items")) {
            (Some(wanted), Some(written)) => self.compare(wanted, written, &place, depth + 1),
            (Some(_), None) if takes(&types(writer), "array") && types(reader).contains(&"array") => {
                self.refuse(&place, format!("{} says nothing of its items", self.writer_name));
            }
            _ => {}
        }
        let unique = |schema: &Map<String, Value>| schema.get("uniqueItems") == Some(&Value::Bool(true));
        if unique(reader) && !unique(writer) {
            self.refuse(
                path,
                format!("{} wants every item once, {} may repeat some", self.reader_name, self.writer_name),
            );
        }
        if reader.get("prefixItems").is_some() && reader.get("prefixItems") != writer.get("prefixItems") {
            self.refuse(path, "tuples that differ are not compared".to_owned());
        }
    }

    /// What the reader demands by keywords that are not compared must be what the writer says too.
    fn others(&mut self, reader: &Map<String, Value>, writer: &Map<String, Value>, path: &str) {
        let compared = |key: &str| {
            is_annotation(key) || COMPARED.contains(&key) || BOUNDS.iter().any(|b| b.keyword == key)
        };
        for (key, wanted) in reader.iter().filter(|(key, _)| !compared(key)) {
            if key != "$ref" && writer.get(key) != Some(wanted) {
                self.refuse(path, format!("\"{key}\" differs, and is not compared"));
            }
        }
    }
}

fn is_annotation(key: &str) -> bool {
    ANNOTATIONS.contains(&key)
}

fn alternatives(schema: &Map<String, Value>) -> Option<&Vec<Value>> {
    schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array)
}

/// The only values that a schema lets through, where it lists them.
fn values(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(one), _) => Some(vec![one]),
        (None, Some(Value::Array(several))) => Some(several.iter().collect()),
        _ => None,
    }
}

/// A part of a schema as one of its own: what it refers to is in the whole.
fn with_definitions(part: &Value, whole: &Value) -> Value {
    let mut schema = part.clone();
    if let (Value::Object(map), Some(definitions)) =
        (&mut schema, whole.get("$defs").filter(|_| refers(part)))
    {
        map.insert("$defs".to_owned(), definitions.clone());
    }
    schema
}

fn shown(values: &[&Value]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A name as part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

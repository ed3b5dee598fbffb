//! From a schema to what the acceptor goes by.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::{Node, Object, Place, Types};

/// Where the schema that takes everything is.
pub(super) const ANYTHING: Place = 1;
/// The draft that is known here.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// As many properties as there are bits for.
const PROPERTIES_MAX: usize = 64;
/// What says nothing about what is valid. A format is a note in this draft.
const NOTES: [&str; 9] = [
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "$comment",
];

/// All parts of a schema, the whole at the first place; nothing where a part is not known here.
pub(super) fn compile(schema: &Value) -> Option<Vec<Node>> {
    let anything = Node { types: Types::ALL, ..Node::default() };
    let nodes = vec![Node::default(), anything.with_any_members()];
    let mut compiler = Compiler { root: schema, nodes, references: HashMap::new(), depth: 0 };
    compiler.nodes[0] = compiler.node(schema.as_object()?)?;
    Some(compiler.nodes)
}

impl Node {
    fn with_any_members(mut self) -> Self {
        self.object.others = Some(ANYTHING);
        self
    }
}

/// How deep schemas may stand in one another; deeper ones are for the validator.
const DEPTH_MAX: usize = 64;

struct Compiler<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// What was met already, or is being made.
    references: HashMap<&'a str, Place>,
    /// How many schemas the one that is being read stands in, by way of references too.
    depth: usize,
}

impl<'a> Compiler<'a> {
    fn place(&mut self, schema: &'a Value) -> Option<Place> {
        let schema = match schema {
            Value::Bool(true) => return Some(ANYTHING),
            Value::Object(schema) => schema,
            _ => return None,
        };
        if let Some(reference) = schema.get("$ref") {
            return self.referred(schema, reference.as_str()?);
        }
        let place = self.reserve();
        self.nodes[place] = self.node(schema)?;
        Some(place)
    }

    fn reserve(&mut self) -> Place {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// A part that stands under `$defs`, which may contain itself.
    fn referred(&mut self, schema: &Map<String, Value>, reference: &'a str) -> Option<Place> {
        if !has_only(schema, &["$ref"]) {
            return None;
        }
        if reference == "#" {
            return Some(0);
        }
        if let Some(place) = self.references.get(reference) {
            return Some(*place);
        }
        let name = reference.strip_prefix("#/$defs/").filter(|name| !name.contains(['/', '~', '%']))?;
        let Value::Object(target) = self.root.get("$defs")?.get(name)? else { return None };
        let place = self.reserve();
        self.references.insert(reference, place);
        self.nodes[place] = self.node(target)?;
        Some(place)
    }

    fn node(&mut self, schema: &'a Map<String, Value>) -> Option<Node> {
        // A schema of somebody else's must not use up the stack.
        if self.depth == DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        let node = self.node_at(schema);
        self.depth -= 1;
        node
    }

    fn node_at(&mut self, schema: &'a Map<String, Value>) -> Option<Node> {
        if let Some(texts) = one_of_texts(schema) {
            return Some(texts);
        }
        if let Some(either) = schema.get("anyOf") {
            return self.null_or(schema, either.as_array()?);
        }
        let mut node = Node { types: Types::ALL, ..Node::default() }.with_any_members();
        for (keyword, says) in schema {
            self.keyword(&mut node, keyword, says)?;
        }
        if let Some(names) = schema.get("required") {
            require(&mut node.object, names)?;
        }
        Some(node)
    }

    /// As an option is.
    fn null_or(&mut self, schema: &Map<String, Value>, either: &'a [Value]) -> Option<Node> {
        let [some, null] = either else { return None };
        if !has_only(schema, &["anyOf"]) || *null != json!({"type": "null"}) {
            return None;
        }
        let some = self.place(some)?;
        Some(Node { types: Types::NULL, or: Some(some), ..Node::default() })
    }

    fn keyword(&mut self, node: &mut Node, keyword: &str, says: &'a Value) -> Option<()> {
        match keyword {
            "type" => node.types = types(says)?,
            "minimum" => node.numbers.0 = Some(integer(says)?),
            "maximum" => node.numbers.1 = Some(integer(says)?),
            "minLength" => node.lengths.min = length(says)?,
            "maxLength" => node.lengths.max = Some(length(says)?),
            "minItems" => node.items_count.min = length(says)?,
            "maxItems" => node.items_count.max = Some(length(says)?),
            "items" => node.items = Some(self.place(says)?),
            "properties" => node.object.properties = self.properties(says)?,
            "additionalProperties" if *says == Value::Bool(false) => node.object.others = None,
            "additionalProperties" => node.object.others = Some(self.place(says)?),
            // Looked at when the properties are known, and where something refers to them.
            "required" | "$defs" => {}
            "$schema" if says == DRAFT => {}
            _ if NOTES.contains(&keyword) => {}
            _ => return None,
        }
        Some(())
    }

    fn properties(&mut self, says: &'a Value) -> Option<Vec<(Box<str>, Place)>> {
        let all = says.as_object().filter(|all| all.len() <= PROPERTIES_MAX)?;
        let named = all.iter().map(|(name, schema)| Some((name.as_str().into(), self.place(schema)?)));
        let mut properties = named.collect::<Option<Vec<(Box<str>, Place)>>>()?;
        properties.sort();
        Some(properties)
    }
}

/// Strings that are written out, as an enum's are: by `enum` or `const`, or by several of these.
fn one_of_texts(schema: &Map<String, Value>) -> Option<Node> {
    let texts = match schema.get("oneOf") {
        Some(_) if !has_only(schema, &["oneOf", "type"]) => return None,
        Some(variants) => {
            let variants = variants.as_array()?.iter().map(|variant| texts(variant.as_object()?));
            variants.collect::<Option<Vec<_>>>()?.concat()
        }
        None => texts(schema)?,
    };
    // One that stood in two of them would be more than one of them.
    let distinct = texts.iter().collect::<BTreeSet<_>>().len();
    let is_clear = is_of_strings(schema) && distinct == texts.len();
    is_clear.then(|| Node { types: Types::STRING, texts: Some(texts), ..Node::default() })
}

fn texts(schema: &Map<String, Value>) -> Option<Vec<Box<str>>> {
    let texts = match (schema.get("enum"), schema.get("const")) {
        (Some(texts), None) => texts.as_array()?.iter().map(boxed).collect::<Option<Vec<_>>>()?,
        (None, Some(text)) => vec![boxed(text)?],
        _ => return None,
    };
    (is_of_strings(schema) && has_only(schema, &["enum", "const", "type"])).then_some(texts)
}

fn is_of_strings(schema: &Map<String, Value>) -> bool {
    schema.get("type").is_none_or(|name| name == "string")
}

/// Whether nothing but these says what is valid.
fn has_only(schema: &Map<String, Value>, keywords: &[&str]) -> bool {
    schema.keys().all(|key| keywords.contains(&key.as_str()) || NOTES.contains(&key.as_str()))
}

fn boxed(text: &Value) -> Option<Box<str>> {
    text.as_str().map(Into::into)
}

fn require(object: &mut Object, names: &Value) -> Option<()> {
    for name in names.as_array()? {
        let name = name.as_str()?;
        let index = object.properties.iter().position(|(property, _)| **property == *name)?;
        object.required |= 1 << index;
    }
    Some(())
}

fn types(says: &Value) -> Option<Types> {
    match says {
        Value::String(name) => named(name),
        Value::Array(names) => {
            names.iter().try_fold(Types::default(), |all, name| Some(all.or(named(name.as_str()?)?)))
        }
        _ => None,
    }
}

fn named(name: &str) -> Option<Types> {
    Some(match name {
        "null" => Types::NULL,
        "boolean" => Types::BOOLEAN,
        "integer" => Types::INTEGER,
        "number" => Types::INTEGER.or(Types::FRACTION),
        "string" => Types::STRING,
        "array" => Types::ARRAY,
        "object" => Types::OBJECT,
        _ => return None,
    })
}

fn integer(says: &Value) -> Option<i128> {
    says.as_u64().map(i128::from).or_else(|| says.as_i64().map(i128::from))
}

fn length(says: &Value) -> Option<usize> {
    usize::try_from(says.as_u64()?).ok()
}

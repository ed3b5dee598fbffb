use serde_json::json;

use super::*;

use Compatibility::{Backward, Forward, Full, None};

/// An object with these properties, of which some are required.
fn object(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

/// Why not, of schemas that can be compared.
fn incompatibilities(old: &Value, new: &Value, mode: Compatibility) -> Vec<Incompatibility> {
    super::incompatibilities(old, new, mode).unwrap()
}

fn allowed(old: &Value, new: &Value) -> Vec<Compatibility> {
    [None, Backward, Forward, Full]
        .into_iter()
        .filter(|mode| incompatibilities(old, new, *mode).is_empty())
        .collect()
}

#[test]
fn the_matrix_of_changes_and_modes() {
    let base = object(&json!({"a": {"type": "string"}, "b": {"type": "integer"}}), &["a"]);
    let colours = |names: &[&str]| object(&json!({"c": {"type": "string", "enum": names}}), &["c"]);
    let nested = |inner: Value| {
        object(&json!({"in": {"$ref": "#/$defs/In"}}), &["in"])
            .as_object()
            .map(|map| {
                let mut map = map.clone();
                map.insert("$defs".to_owned(), json!({"In": inner}));
                Value::Object(map)
            })
            .unwrap()
    };
    let list = |items: Value| object(&json!({"l": {"type": "array", "items": items}}), &["l"]);
    let number = |schema: Value| object(&json!({"n": schema}), &["n"]);
    let all = vec![None, Backward, Forward, Full];
    let cases: Vec<(&str, Value, Value, Vec<Compatibility>)> = vec![
        ("nothing changes", base.clone(), base.clone(), all.clone()),
        (
            "add optional",
            base.clone(),
            object(
                &json!({"a": {"type": "string"}, "b": {"type": "integer"}, "x": {"type": "string"}}),
                &["a"],
            ),
            all.clone(),
        ),
        (
            "add required",
            base.clone(),
            object(
                &json!({"a": {"type": "string"}, "b": {"type": "integer"}, "x": {"type": "string"}}),
                &["a", "x"],
            ),
            vec![None, Forward],
        ),
        ("remove optional", base.clone(), object(&json!({"a": {"type": "string"}}), &["a"]), all),
        (
            "remove required",
            base.clone(),
            object(&json!({"b": {"type": "integer"}}), &[]),
            vec![None, Backward],
        ),
        (
            "rename required",
            base.clone(),
            object(&json!({"z": {"type": "string"}, "b": {"type": "integer"}}), &["z"]),
            vec![None],
        ),
        (
            "optional becomes required",
            base.clone(),
            object(&json!({"a": {"type": "string"}, "b": {"type": "integer"}}), &["a", "b"]),
            vec![None, Forward],
        ),
        (
            "required becomes optional",
            base.clone(),
            object(&json!({"a": {"type": "string"}, "b": {"type": "integer"}}), &[]),
            vec![None, Backward],
        ),
        (
            "retype",
            base.clone(),
            object(&json!({"a": {"type": "integer"}, "b": {"type": "integer"}}), &["a"]),
            vec![None],
        ),
        (
            "widen a type",
            base.clone(),
            object(&json!({"a": {"type": "string"}, "b": {"type": "number"}}), &["a"]),
            vec![None, Backward],
        ),
        (
            "narrow a type",
            object(&json!({"b": {"type": "number"}}), &[]),
            object(&json!({"b": {"type": "integer"}}), &[]),
            vec![None, Forward],
        ),
        (
            "let null in",
            base.clone(),
            object(&json!({"a": {"type": ["string", "null"]}, "b": {"type": "integer"}}), &["a"]),
            vec![None, Backward],
        ),
        (
            "widen a format",
            number(json!({"type": "integer", "format": "int32"})),
            number(json!({"type": "integer", "format": "int64"})),
            vec![None, Backward],
        ),
        (
            "lose a sign",
            number(json!({"type": "integer", "format": "int32"})),
            number(json!({"type": "integer", "format": "uint32", "minimum": 0})),
            vec![None],
        ),
        (
            "loosen a bound",
            number(json!({"type": "integer", "maximum": 9})),
            number(json!({"type": "integer", "maximum": 99})),
            vec![None, Backward],
        ),
        (
            "drop a bound",
            number(json!({"type": "integer", "minimum": 0})),
            number(json!({"type": "integer"})),
            vec![None, Backward],
        ),
        (
            "tighten a length",
            number(json!({"type": "string"})),
            number(json!({"type": "string", "maxLength": 9})),
            vec![None, Forward],
        ),
        ("an enumeration grows", colours(&["red"]), colours(&["red", "blue"]), vec![None, Backward]),
        ("an enumeration shrinks", colours(&["red", "blue"]), colours(&["red"]), vec![None, Forward]),
        (
            "an enumeration becomes text",
            colours(&["red"]),
            object(&json!({"c": {"type": "string"}}), &["c"]),
            vec![None, Backward],
        ),
        (
            "a nested property is added",
            nested(object(&json!({}), &[])),
            nested(object(&json!({"x": {"type": "string"}}), &["x"])),
            vec![None, Forward],
        ),
        (
            "items change their type",
            list(json!({"type": "string"})),
            list(json!({"type": "integer"})),
            vec![None],
        ),
        (
            "items get wider",
            list(json!({"type": "integer"})),
            list(json!({"type": "number"})),
            vec![None, Backward],
        ),
        (
            "the door is closed",
            base,
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}),
            vec![None, Forward],
        ),
        (
            "an alternative is added",
            json!({"oneOf": [{"const": "a"}]}),
            json!({"oneOf": [{"const": "a"}, {"type": "object"}]}),
            vec![None, Backward],
        ),
        (
            "a pattern is demanded",
            number(json!({"type": "string"})),
            number(json!({"type": "string", "pattern": "^a"})),
            vec![None, Forward],
        ),
    ];
    for (what, old, new, expected) in cases {
        assert_eq!(allowed(&old, &new), expected, "{what}: {:?}", incompatibilities(&old, &new, Full));
    }
}

#[test]
fn every_reason_is_told_with_its_place() {
    let old = object(
        &json!({"a": {"type": "string"}, "in": object(&json!({"x": {"type": "string"}}), &[])}),
        &["a"],
    );
    let new = object(
        &json!({"a": {"type": "integer"}, "in": object(&json!({"x": {"type": "string"}}), &["x"])}),
        &["a", "y/z"],
    );
    let mut paths: Vec<_> =
        incompatibilities(&old, &new, Backward).into_iter().map(|reason| reason.path).collect();
    paths.sort();
    assert_eq!(paths, ["/a", "/in/x", "/y~1z"]);
}

#[test]
fn types_that_refer_to_themselves_are_compared_to_their_end() {
    let tree = |leaf: &str| {
        json!({
            "$ref": "#/$defs/Tree",
            "$defs": {"Tree": {"type": "object", "properties": {
                "leaf": {"type": leaf}, "left": {"$ref": "#/$defs/Tree"}, "right": {"$ref": "#/$defs/Tree"},
            }}},
        })
    };
    assert_eq!(incompatibilities(&tree("string"), &tree("string"), Full), []);
    assert_eq!(incompatibilities(&tree("string"), &tree("integer"), Backward).len(), 1);
    let mut deep = json!({"type": "string"});
    for _ in 0..100 {
        deep = object(&json!({"d": deep}), &[]);
    }
    assert_eq!(incompatibilities(&deep, &deep, Backward).len(), 1, "refused, not followed for ever");
}

/// An object with properties `a` and `b`, over these definitions.
fn with_definitions(a: &Value, b: &Value, definitions: &Value) -> Value {
    let mut whole = object(&json!({"a": a, "b": b}), &[]);
    whole["$defs"] = definitions.clone();
    whole
}

fn refused_at(old: &Value, new: &Value) -> Vec<String> {
    let reasons = incompatibilities(old, new, Backward);
    reasons.into_iter().map(|reason| reason.path).collect()
}

#[test]
fn what_one_alternative_refuses_is_refused_elsewhere_too() {
    let to = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
    let owner = |pet: &str| object(&json!({"pet": to(pet)}), &[]);
    let dog = with_definitions(
        &owner("Dog"),
        &to("Dog"),
        &json!({"Dog": object(&json!({"bark": {"type": "string"}}), &["bark"])}),
    );
    let cat = with_definitions(
        &json!({"anyOf": [owner("Cat"), owner("Animal")]}),
        &to("Cat"),
        &json!({"Cat": object(&json!({"purr": {"type": "string"}}), &["purr"]), "Animal": {"type": "object"}}),
    );
    assert_eq!(refused_at(&dog, &cat), ["/b/purr"]);
}

#[test]
fn what_held_only_within_an_alternative_that_does_not_is_looked_at_again() {
    let to = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
    let definitions = |kind: &str| {
        json!({
            "Outer": object(&json!({"bad": {"type": kind}, "inner": to("Inner")}), &[]),
            "Inner": object(&json!({"outer": to("Outer")}), &[]),
        })
    };
    let old = with_definitions(&to("Outer"), &to("Inner"), &definitions("string"));
    let new = with_definitions(&json!({"anyOf": [to("Outer"), {}]}), &to("Inner"), &definitions("integer"));
    assert_eq!(refused_at(&old, &new), ["/b/outer/bad"]);
}

#[test]
fn a_type_that_is_used_twice_is_refused_in_both_places_and_explained_once() {
    let to = json!({"$ref": "#/$defs/In"});
    let both = |kind: &str| {
        let inner = object(&json!({"x": {"type": kind}, "y": {"type": kind}}), &[]);
        with_definitions(&to, &to, &json!({"In": inner}))
    };
    assert_eq!(refused_at(&both("string"), &both("integer")), ["/a/x", "/a/y", "/b"]);
}

/// Two ways down at every step, over as many definitions as there are steps.
fn doubling(steps: usize) -> Value {
    let to = |step: usize| json!({"$ref": format!("#/$defs/{}", step % steps)});
    let step = |step: usize| (step.to_string(), json!({"allOf": [to(step + 1), to(step + 1)]}));
    json!({"$ref": "#/$defs/0", "$defs": (0..steps).map(step).collect::<serde_json::Map<_, _>>()})
}

#[test]
fn schemas_that_branch_at_every_step_are_compared_in_a_few() {
    let plain = object(&json!({"a": {"type": "string"}}), &["a"]);
    for steps in [1, 2, 40] {
        for mode in [Backward, Forward, Full] {
            assert!(incompatibilities(&plain, &doubling(steps), mode).len() < 3, "{steps} {mode}");
        }
    }
}

#[test]
fn schemas_that_take_too_long_are_refused_with_a_code() {
    let alternative =
        |kind: &str, number: usize| object(&json!({format!("{kind}{number}"): false}), &["never"]);
    let many = |kind: &str| {
        let alternatives: Vec<_> = (0..1000).map(|number| alternative(kind, number)).collect();
        json!({"anyOf": alternatives})
    };
    let mut old = many("old");
    old["anyOf"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(|alternative| alternative["required"] = json!([]));
    let refused = super::incompatibilities(&old, &many("new"), Backward).unwrap_err();
    assert_eq!(refused.code(), "schema_too_complex", "{refused}");
    assert_eq!(incompatibilities(&old, &many("new"), None), []);
}

#[test]
fn of_very_many_reasons_the_first_are_told() {
    let all = |kind: &str| {
        let properties = (0..1000).map(|number| (format!("{number:0>600}"), json!({"type": kind})));
        object(&properties.collect::<serde_json::Map<_, _>>().into(), &[])
    };
    let reasons = incompatibilities(&all("string"), &all("integer"), Backward);
    assert_eq!(reasons.len(), 101);
    assert_eq!(reasons[100].reason, "there are 900 more reasons");
    assert!(reasons.iter().all(|reason| reason.path.len() < 600 && reason.reason.len() < 600));
}

#[test]
fn modes_have_names() {
    for mode in [None, Backward, Forward, Full] {
        assert_eq!(mode.name().parse(), Ok(mode));
    }
    assert!("sideways".parse::<Compatibility>().unwrap_err().contains("backward"));
}

#[test]
fn what_is_demanded_beside_a_reference_counts() {
    let schema = |beside: Value| {
        let mut name = json!({"$ref": "#/$defs/Name", "description": "what it is called"});
        name.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
        json!({"type": "object", "properties": {"name": name}, "$defs": {"Name": {"type": "string"}}})
    };
    let (free, short) = (schema(json!({})), schema(json!({"maxLength": 5})));
    assert_eq!(incompatibilities(&free, &free, Compatibility::Full), []);
    assert_eq!(incompatibilities(&short, &short, Compatibility::Full), []);
    let refused = incompatibilities(&free, &short, Compatibility::Backward);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].reason.contains("maxLength"), "{refused:?}");
    assert_eq!(incompatibilities(&short, &free, Compatibility::Backward), []);
}

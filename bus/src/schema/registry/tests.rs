use annals_actors::SystemClock;
use annals_persistence::MemoryJournal;
use futures_util::future::join_all;
use serde_json::json;

use super::*;

fn registry_on(journal: &Arc<MemoryJournal>) -> SchemaRegistry {
    let journal = Arc::clone(journal) as Arc<dyn Journal>;
    SchemaRegistry::new(journal, Arc::new(SystemClock), Compatibility::Backward)
}

fn topic() -> Topic {
    Topic::named("v1.moved")
}

fn with(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

#[tokio::test(flavor = "multi_thread")]
async fn w23_a_hundred_who_publish_first_register_one_schema() {
    let journal = Arc::new(MemoryJournal::new());
    let schema = Arc::new(with(&json!({"a": {"type": "string"}}), &["a"]));
    // Every one of them has found no schema before any of them registers one.
    journal.hold();
    let racers = (0..100).map(|_| {
        // Each with a registry of its own, as other processes have.
        let (registry, schema) = (registry_on(&journal), Arc::clone(&schema));
        tokio::spawn(async move { registry.register(&topic(), &schema).await.unwrap() })
    });
    let racers: Vec<_> = racers.collect();
    while journal.held() < racers.len() {
        tokio::task::yield_now().await;
    }
    journal.release();
    let registered: Vec<_> = join_all(racers).await.into_iter().map(Result::unwrap).collect();
    assert!(registered.iter().all(|one| one.version == 1));
    assert_eq!(registered.iter().filter(|one| one.created).count(), 1);
    assert_eq!(registry_on(&journal).versions(&topic()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn w23_an_update_is_checked_and_history_stays() {
    let journal = Arc::new(MemoryJournal::new());
    let registry = registry_on(&journal);
    let first = with(&json!({"a": {"type": "string"}}), &["a"]);
    let wider = with(&json!({"a": {"type": ["string", "null"]}}), &[]);
    let other = with(&json!({"a": {"type": "integer"}}), &["a", "b"]);
    assert_eq!(registry.register(&topic(), &first).await.unwrap(), Registered { version: 1, created: true });
    assert_eq!(registry.register(&topic(), &wider).await.unwrap().version, 2);
    let refused = registry.register(&topic(), &other).await.unwrap_err();
    let SchemaError::Incompatible { version: 2, reasons, .. } = &refused else { panic!("{refused}") };
    assert_eq!(reasons.len(), 3, "{refused}");
    assert_eq!(registry.check(&topic(), &other, Some(Compatibility::None)).await.unwrap(), []);

    registry.set_compatibility(&topic(), Compatibility::None).await.unwrap();
    assert_eq!(registry.register(&topic(), &other).await.unwrap().version, 3);
    // As after a restart.
    let registry = registry_on(&Arc::new(journal.reopened()));
    let versions = registry.versions(&topic()).await.unwrap();
    assert_eq!(versions.iter().map(|version| &version.schema).collect::<Vec<_>>(), [&first, &wider, &other]);
    assert_eq!(registry.get(&topic(), Some(1)).await.unwrap().schema, first);
    assert_eq!(registry.list().await.unwrap()[0].compatibility, Compatibility::None);

    registry.remove(&topic()).await.unwrap();
    assert_eq!(registry.get(&topic(), None).await.unwrap_err().code(), "schema_not_found");
    assert_eq!(registry.list().await.unwrap(), []);
    assert_eq!(registry.versions(&topic()).await.unwrap().len(), 3);
    assert_eq!(registry.register(&topic(), &first).await.unwrap(), Registered { version: 4, created: true });
}

#[tokio::test]
async fn a_mode_that_comes_with_a_schema_is_set_with_it_or_not_at_all() {
    let registry = registry_on(&Arc::new(MemoryJournal::new()));
    let first = with(&json!({"a": {"type": "string"}}), &["a"]);
    let other = with(&json!({"a": {"type": "integer"}}), &["a"]);
    let under = async |schema: &Value, mode| registry.register_under(&topic(), schema, Some(mode)).await;
    registry.register(&topic(), &first).await.unwrap();
    let mode = async || registry.compatibility(&topic()).await.unwrap();
    assert_eq!(under(&other, Compatibility::Full).await.unwrap_err().code(), "schema_incompatible");
    assert_eq!(under(&json!("no"), Compatibility::None).await.unwrap_err().code(), "not_a_schema");
    assert_eq!(mode().await, Compatibility::Backward);
    assert_eq!(under(&first, Compatibility::Full).await.unwrap(), Registered { version: 1, created: false });
    assert_eq!(mode().await, Compatibility::Full);
    assert_eq!(under(&other, Compatibility::None).await.unwrap(), Registered { version: 2, created: true });
    assert_eq!(mode().await, Compatibility::None);
}

#[tokio::test]
async fn what_is_no_schema_is_refused_with_the_reason() {
    let registry = registry_on(&Arc::new(MemoryJournal::new()));
    let large = json!({"title": "x".repeat(300_000)});
    for bad in
        [json!("text"), json!({"type": "nonsense"}), json!({"$ref": "https://elsewhere/schema"}), large]
    {
        assert_eq!(registry.register(&topic(), &bad).await.unwrap_err().code(), "not_a_schema");
    }
    let bad = registry.register(&Topic::named("a b"), &json!({})).await.unwrap_err();
    assert_eq!(bad.code(), "invalid_topic");
}

#[tokio::test]
async fn what_takes_too_long_to_compare_is_refused_unless_nothing_is_compared() {
    let registry = registry_on(&Arc::new(MemoryJournal::new()));
    let many = |kind: &str, required: &[&str]| {
        let one = |number| with(&json!({format!("{kind}{number}"): false}), required);
        json!({"anyOf": (0..1000).map(one).collect::<Vec<_>>()})
    };
    registry.register(&topic(), &many("old", &[])).await.unwrap();
    let other = many("new", &["never"]);
    assert_eq!(registry.check(&topic(), &other, None).await.unwrap_err().code(), "schema_too_complex");
    assert_eq!(registry.register(&topic(), &other).await.unwrap_err().code(), "schema_too_complex");
    assert_eq!(registry.check(&topic(), &other, Some(Compatibility::None)).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_read_before_others_wrote_does_not_take_the_place_of_what_they_wrote() {
    let registry = registry_on(&Arc::new(MemoryJournal::new()));
    registry.register(&topic(), &json!({"title": "first"})).await.unwrap();
    let before = registry.read(&topic()).await.unwrap();
    registry.register(&topic(), &json!({"title": "second"})).await.unwrap();
    registry.keep(&topic(), &before);
    assert_eq!(registry.standing(&topic()).and_then(Standing::current).unwrap().version, 2);
}

/// Two ways down at each of so many steps.
fn doubling(steps: usize) -> Value {
    let to = |step: usize| json!({"$ref": format!("#/$defs/{step}")});
    let step = |step: usize| (step.to_string(), json!({"allOf": [to(step + 1), to(step + 1)]}));
    let mut definitions: serde_json::Map<_, _> = (0..steps).map(step).collect();
    definitions.insert(steps.to_string(), json!({"type": "string"}));
    json!({"$ref": "#/$defs/0", "$defs": definitions})
}

#[test]
fn what_content_cannot_be_held_against_in_a_reasonable_time_is_no_schema() {
    let round = json!({"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}});
    let long = (0..300).fold(json!({"type": "string"}), |inner, _| json!({"not": inner}));
    let elsewhere = json!({"$ref": "#name", "$defs": {"A": {"$anchor": "name"}}});
    let bad = [
        (doubling(40), "parts are for one value"),
        (
            json!({"properties": {"a": doubling(40)["$defs"]["0"]}, "$defs": doubling(40)["$defs"]}),
            "for one value",
        ),
        (round, "leads back to itself"),
        (long, "within one another"),
        (elsewhere, "no JSON pointer"),
        (json!({"$defs": {"A": {"$id": "https://elsewhere/a"}}}), "of its own"),
    ];
    for (bad, reason) in bad {
        let error = SchemaValidator::new(&bad).unwrap_err();
        assert_eq!(error.code(), "not_a_schema");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let tree = json!({"$ref": "#/$defs/T", "$defs": {"T": {"properties": {"left": {"$ref": "#/$defs/T"}}}}});
    let names =
        json!({"properties": {"not": {"$ref": "#"}, "allOf": {"enum": [{"$ref": "#name"}]}, "$ref": true}});
    for good in [doubling(8), tree, names] {
        SchemaValidator::new(&good).unwrap();
    }
}

#[test]
fn every_wrong_path_is_named() {
    let schema =
        with(&json!({"a": {"type": "string"}, "n": {"type": "integer", "minimum": 0}}), &["a", "n", "z"]);
    let validator = SchemaValidator::new(&schema).unwrap();
    assert_eq!(validator.validate_text(r#"{"a":"x","n":1,"z":null}"#), Ok(()));
    let faults = validator.validate_text(r#"{"a":5,"n":-1}"#).unwrap_err();
    let mut paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["", "/a", "/n"], "{faults:?}");
    assert_eq!(validator.validate_text("{").unwrap_err().len(), 1);
}

#[tokio::test]
async fn topics_that_somebody_makes_up_take_no_memory() {
    let registry = registry_on(&Arc::new(MemoryJournal::new()));
    let schema = with(&json!({}), &[]);
    for n in 0..10 {
        let topic = Topic::named(format!("v1.made-up-{n}"));
        assert_eq!(registry.get(&topic, None).await.unwrap_err().code(), "schema_not_found");
        assert_eq!(registry.compatibility(&topic).await.unwrap(), Compatibility::Backward);
        assert_eq!(registry.check(&topic, &schema, None).await.unwrap(), []);
    }
    assert_eq!(registry.known.lock().len(), 0);
    // What is published on is looked up once.
    registry.look_up(&topic()).await.unwrap();
    assert!(matches!(registry.standing(&topic()), Some(Standing::Never)));
}

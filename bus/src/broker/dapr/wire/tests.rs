use prost_types::Struct;
use serde_json::json;

use super::*;

fn topic() -> Topic {
    Topic::named("v1.moved")
}

fn ours(data: &str) -> Envelope {
    let text = json!({
        "specversion": "1.0", "id": "e1", "source": "customer", "type": "moved.v1", "topic": "v1.moved",
        "subject": "1", "partitionkey": "customer-1", "sequence": "5", "prevsequence": "2",
        "time": "2026-01-02T03:04:05.000006Z",
        "traceparent": "00-000000000000000000000000000000ab-00000000000000cd-01",
    });
    let mut envelope = Envelope::from_json(text.to_string().as_bytes(), &topic()).unwrap();
    envelope.data = Some(RawValue::from_string(data.to_owned()).unwrap().into());
    envelope
}

/// What a sidecar makes of an envelope for a gRPC app: attributes it knows in fields, the others as doubles and texts.
fn taken_apart(body: &[u8]) -> TopicEventRequest {
    let Value::Object(mut all) = serde_json::from_slice(body).unwrap() else { panic!("an object") };
    let mut text =
        |name: &str| all.remove(name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let (id, source, r#type, topic) = (text("id"), text("source"), text("type"), text("topic"));
    let (spec_version, data_content_type) = (text("specversion"), text("datacontenttype"));
    let data = all.remove("data").map(|data| data.to_string().into_bytes()).unwrap_or_default();
    let fields = all.into_iter().map(|(name, value)| (name, proto(value))).collect();
    let extensions = Some(Struct { fields });
    TopicEventRequest {
        id,
        source,
        r#type,
        spec_version,
        data_content_type,
        data,
        topic,
        extensions,
        ..Default::default()
    }
}

fn proto(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::String(text) => Kind::StringValue(text),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::Bool(truth) => Kind::BoolValue(truth),
        _ => Kind::NullValue(0),
    };
    prost_types::Value { kind: Some(kind) }
}

#[test]
fn an_envelope_arrives_over_grpc_as_it_was_published() {
    let published = ours(r#"{"street":"1 Elm","price":12.3400}"#);
    let arrived = envelope(taken_apart(&body(&published).unwrap()), &topic()).unwrap();
    let (published, arrived) = (published.to_json().unwrap(), arrived.to_json().unwrap());
    let value = |text: &RawValue| serde_json::from_str::<Value>(text.get()).unwrap();
    assert_eq!(value(&arrived), value(&published));
}

#[test]
fn numbers_that_doubles_would_change_travel_as_bytes() {
    for kept in [
        "{}",
        "[1,-2.50,0.0001]",
        r#"{"a":123456789012345}"#,
        r#""12345678901234567890""#,
        "0.000000000000001",
        r#"{"quote\"9007199254740993":1}"#,
    ] {
        assert!(survives_doubles(kept), "{kept}");
        let text = String::from_utf8(body(&ours(kept)).unwrap()).unwrap();
        assert!(text.contains("\"data\":"), "{text}");
    }
    for changed in
        ["9007199254740993", "18446744073709551615", "[0.12345678901234567]", "1e400", r#"{"a":1E5}"#]
    {
        assert!(!survives_doubles(changed), "{changed}");
        let bytes = body(&ours(changed)).unwrap();
        let read = Envelope::from_json(&bytes, &topic()).unwrap();
        assert_eq!(read.data.unwrap().get(), changed);
    }
}

#[test]
fn keys_that_no_header_holds_are_named_by_their_digest() {
    let mut event = ours("{}");
    assert_eq!(metadata(&event)["partitionKey"], "customer-1");
    event.partition_key = Some("customer-Žofie".into());
    let key = metadata(&event)["partitionKey"].clone();
    assert!(key.is_ascii(), "{key}");
    assert_eq!(metadata(&event)["partitionKey"], key, "the same each time");
}

#[test]
fn what_is_no_event_keeps_all_that_arrived() {
    let request = TopicEventRequest {
        id: "x".into(),
        source: "s".into(),
        r#type: "t".into(),
        spec_version: "1.0".into(),
        data_content_type: "text/plain".into(),
        data: b"hello".to_vec(),
        ..Default::default()
    };
    let unreadable = envelope(request, &topic()).unwrap_err();
    assert!(unreadable.reason.contains("text/plain"), "{}", unreadable.reason);
    let kept: Value = serde_json::from_slice(&unreadable.body).unwrap();
    assert_eq!((&kept["id"], &kept["data"]), (&json!("x"), &json!("hello")));
}

#[test]
fn extensions_keep_their_kinds() {
    let fields = BTreeMap::from([
        ("whole".to_owned(), proto(json!(5))),
        ("half".to_owned(), proto(json!(0.5))),
        ("truth".to_owned(), proto(json!(true))),
    ]);
    assert_eq!(Value::Object(object(fields)), json!({"whole": 5, "half": 0.5, "truth": true}));
}

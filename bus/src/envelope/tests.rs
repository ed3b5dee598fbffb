use super::*;
use serde_json::{Value, json};

fn envelope() -> Envelope {
    Envelope {
        id: "0191".into(),
        source: "customer".into(),
        event_type: "CustomerAddressUpdated.v1".into(),
        topic: Topic::named("v1.CustomerAddressUpdated"),
        subject: Some("42".into()),
        partition_key: Some("customer-42".into()),
        sequence: Some(7),
        previous: Some(3),
        position: None,
        time: Some(Timestamp(1_735_689_600_000_001)),
        data_schema: None,
        trace: Some(TraceContext { trace_id: 0xab, span_id: 0xcd, flags: 1 }),
        correlation_id: Some(CorrelationId::from_u128(1)),
        causation_id: Some(CausationId::from_u128(2)),
        data: Some(RawValue::from_string(r#"{"price":12.3400}"#.into()).unwrap().into()),
        extensions: BTreeMap::new(),
    }
}

fn read(json: &Value) -> Result<Envelope, EnvelopeError> {
    Envelope::from_json(json.to_string().as_bytes(), &Topic::named("t"))
}

#[test]
fn an_envelope_is_cloudevents_json() {
    let json: Value = serde_json::from_str(envelope().to_json().unwrap().get()).unwrap();
    assert_eq!(json["specversion"], "1.0");
    assert_eq!((&json["sequence"], &json["prevsequence"]), (&json!("7"), &json!("3")));
    assert_eq!(json["time"], "2025-01-01T00:00:00.000001Z");
    assert_eq!(json["traceparent"], "00-000000000000000000000000000000ab-00000000000000cd-01");
    assert_eq!(json["traceid"], json["traceparent"]);
    assert_eq!(json["datacontenttype"], "application/json");
}

#[test]
fn what_is_written_is_read_back_exactly() {
    let written = envelope().to_json().unwrap();
    let read = Envelope::from_json(written.get().as_bytes(), &Topic::named("other")).unwrap();
    assert_eq!(read.to_json().unwrap().get(), written.get());
    assert_eq!(read.data.unwrap().get(), r#"{"price":12.3400}"#);
}

#[test]
fn foreign_envelopes_keep_what_they_have() {
    let foreign = read(&json!({
        "specversion": "1.0", "id": "a", "source": "/x", "type": "t", "sequence": 5, "partner": {"deep": [1]},
        "traceparent": "", "correlationid": "not a uuid", "data": null
    }));
    let foreign = foreign.unwrap();
    assert_eq!((foreign.sequence, foreign.trace, foreign.topic.as_str()), (None, None, "t"));
    assert!(!foreign.is_ours());
    let json: Value = serde_json::from_str(foreign.to_json().unwrap().get()).unwrap();
    assert_eq!((&json["sequence"], &json["partner"]["deep"][0]), (&json!(5), &json!(1)));
    assert_eq!(json["correlationid"], "not a uuid");
}

#[test]
fn what_is_no_envelope_says_why() {
    for (bad, why) in [
        (json!([1]), "sequence"),
        (json!({"id": "a", "source": "s", "type": "t"}), "specversion"),
        (json!({"specversion": "0.3", "id": "a", "source": "s", "type": "t"}), "0.3"),
        (json!({"specversion": "1.0", "source": "s", "type": "t"}), "\"id\""),
        (json!({"specversion": "1.0", "id": "a", "source": "s", "type": "t", "time": "noon"}), "time"),
    ] {
        let error = read(&bad).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.code(), "malformed_envelope");
    }
}

#[test]
fn content_types_may_have_parameters() {
    let body = envelope().to_json().unwrap();
    let topic = Topic::named("t");
    for good in ["application/json", "application/json; charset=utf-8", "Application/CloudEvents+JSON"] {
        Envelope::from_body(good, body.get().as_bytes(), &topic).unwrap();
    }
    let error = Envelope::from_body("text/plain", body.get().as_bytes(), &topic).unwrap_err();
    assert_eq!(error.code(), "unsupported_content_type");
}

#[test]
fn ids_that_are_no_uuids_are_causes_too() {
    let one = envelope();
    let other = Envelope { id: "0192".into(), ..envelope() };
    assert_ne!(one.as_cause(), other.as_cause());
    assert_eq!(one.as_cause(), envelope().as_cause());
    assert_eq!(
        Envelope { correlation_id: None, ..envelope() }.correlation().as_uuid(),
        one.as_cause().as_uuid()
    );
}

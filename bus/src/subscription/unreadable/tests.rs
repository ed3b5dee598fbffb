use super::*;

fn topic() -> Topic {
    Topic::named("v1.Happened")
}

fn kept(content_type: &str, body: &[u8]) -> Envelope {
    let json = envelope(&topic(), content_type, body).to_json().unwrap();
    Envelope::from_json(json.get().as_bytes(), &topic()).unwrap()
}

#[test]
fn what_can_be_read_by_now_is_the_event_that_it_was() {
    let body = br#"{"specversion":"1.0","id":"7","source":"s","type":"t","sequence":"2","prevsequence":"1","data":{}}"#;
    let read = read_again(kept("application/cloudevents+json", body)).unwrap();
    assert_eq!((&*read.id, &*read.source, read.sequence), ("7", "s", Some(2)));
    assert_eq!(*read_again(read).unwrap().id, *"7", "an event that could be read at once is what it is");
}

#[test]
fn what_can_still_not_be_read_says_why() {
    let error = read_again(kept("text/plain", b"hello")).unwrap_err();
    assert!(error.to_string().contains("text/plain"), "{error}");
    assert!(read_again(kept("application/json", b"{")).is_err());
}

#[test]
fn bytes_that_are_no_text_are_kept_and_told_apart() {
    let (one, other) = (kept("application/json", &[0xff, 1]), kept("application/json", &[0xfe, 1]));
    assert_ne!(one.id, other.id);
    assert_eq!(one.decode::<String>().unwrap(), BASE64.encode([0xff, 1]));
    assert_eq!(kept("application/json", &[0xff, 1]).id, one.id, "a redelivery is a duplicate");
}

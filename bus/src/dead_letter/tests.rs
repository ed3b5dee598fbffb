use annals_actors::SystemClock;
use annals_persistence::{MemoryJournal, NewEvent};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::*;

fn envelope(id: &str) -> Envelope {
    let json =
        json!({"specversion": "1.0", "id": id, "source": "s", "type": "t", "data": {"exact": 12.3400}});
    Envelope::from_json(json.to_string().as_bytes(), &Topic::named("topic")).unwrap()
}

fn letter_box(journal: &Arc<dyn Journal>, name: &str) -> LetterBox {
    LetterBox::new(&name.into(), Arc::clone(journal), Arc::new(SystemClock)).unwrap()
}

async fn write(letters: &LetterBox, id: &str) {
    let fate =
        Fate { reason: "bad".into(), attempts: 8, first_time: Timestamp(0), last_time: Timestamp(1_500_000) };
    let append = letters.append_of(&envelope(id), fate).unwrap();
    let batch = Batch::of_all([append]);
    letters.journal.append(batch).await.unwrap();
}

#[tokio::test]
async fn a_list_needs_nothing_but_the_journal() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    assert!(dead_letters(&journal).await.unwrap().is_empty());
    write(&letter_box(&journal, "b"), "1").await;
    write(&letter_box(&journal, "a"), "2").await;
    write(&letter_box(&journal, "a"), "3").await;
    let letters = dead_letters(&journal).await.unwrap();
    let listed: Vec<_> = letters.iter().map(|l| (l.subscription.as_str(), l.event_id.as_str())).collect();
    assert_eq!(listed, [("a", "2"), ("a", "3"), ("b", "1")]);
    let json: Value = serde_json::to_value(&letters[0]).unwrap();
    assert_eq!(
        (&json["firstTime"], &json["lastTime"]),
        (&json!("1970-01-01T00:00:00Z"), &json!("1970-01-01T00:00:01.5Z"))
    );
    assert_eq!(
        (&json["attempts"], &json["reason"], &json["topic"]),
        (&json!(8), &json!("bad"), &json!("topic"))
    );
    assert_eq!(json["event"]["id"], "2");
    assert_eq!(letters[0].id.to_string().parse::<DeadLetterId>().unwrap(), letters[0].id);
}

#[tokio::test]
async fn replays_are_recorded() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let letters = letter_box(&journal, "a");
    write(&letters, "1").await;
    let id = dead_letters(&journal).await.unwrap()[0].id;
    letters.replayed(id, Some("still bad".into())).await.unwrap();
    let listed = dead_letters(&journal).await.unwrap();
    assert_eq!((listed[0].reason.as_str(), listed[0].attempts), ("still bad", 9));
    letters.replayed(id, None).await.unwrap();
    assert!(dead_letters(&journal).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_event_has_one_letter_however_often_it_fails() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let letters = letter_box(&journal, "a");
    write(&letters, "1").await;
    write(&letters, "1").await;
    assert_eq!(dead_letters(&journal).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_said_of_letters_that_are_done_with_goes() {
    let memory = MemoryJournal::new();
    let journal: Arc<dyn Journal> = Arc::new(memory);
    let letters = letter_box(&journal, "a");
    let records = async || {
        let stream = StreamId::internal("dlq-a").unwrap();
        journal.read_stream(&stream, Version(1), annals_persistence::Direction::Forward).count().await
    };
    for number in 0..100 {
        write(&letters, &number.to_string()).await;
    }
    let all = dead_letters(&journal).await.unwrap();
    for letter in all.iter().filter(|letter| letter.event_id != "80") {
        letters.replayed(letter.id, None).await.unwrap();
    }
    assert_eq!(records().await, 199);
    let ledger = ledger::Ledger::new(Arc::clone(&journal));
    assert_eq!(ledger.tidy().await.records, 80);
    assert_eq!(ledger.tidy().await.records, 0, "too little to be worth an append");
    assert_eq!(records().await, 119, "from the one that nobody has replayed");
    // After a start too, it is known what is there.
    let ledger = ledger::Ledger::new(Arc::clone(&journal));
    assert_eq!(ledger.tidy().await.records, 0);
    let open = dead_letters(&journal).await.unwrap();
    assert_eq!(open.iter().map(|letter| letter.event_id.as_str()).collect::<Vec<_>>(), ["80"]);
    letters.replayed(open[0].id, None).await.unwrap();
    assert_eq!(ledger.tidy().await.records, 119);
    assert_eq!(records().await, 1, "the last one says how far the stream goes");
    assert!(dead_letters(&journal).await.unwrap().is_empty());
    write(&letters, "again").await;
    assert_eq!(dead_letters(&journal).await.unwrap().len(), 1);
}

/// Appends a record that says it is a dead letter's, and is none.
async fn write_nonsense(letters: &LetterBox) {
    let mut append =
        letters.append(&LetterEvent::Replayed { id: DeadLetterId(Uuid::nil()), error: None }).unwrap();
    append.events =
        append.events.iter().map(|event| NewEvent { payload: "nonsense".into(), ..event.clone() }).collect();
    letters.journal.append(Batch::of_all([append])).await.unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_read_hides_no_other() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (first, second) = (letter_box(&journal, "a"), letter_box(&journal, "b"));
    for (letters, id) in [(&first, "1"), (&second, "2")] {
        write(letters, id).await;
        write_nonsense(letters).await;
        write(letters, &format!("{id} later")).await;
    }
    let walked: Vec<_> = stream_dead_letters(&journal).collect().await;
    let told: Vec<_> = walked
        .iter()
        .map(|told| match told {
            Ok(letter) => letter.event_id.clone(),
            Err(DeadLetterError::Record { stream, version, position, .. }) => {
                format!("{stream} {version} {position}")
            }
            Err(other) => other.to_string(),
        })
        .collect();
    assert_eq!(told, ["1", "1 later", "2", "2 later", "$dlq-a 2 2", "$dlq-b 2 5"]);
    assert_eq!(walked[4].as_ref().unwrap_err().code(), "undecodable_event");
    assert_eq!(dead_letters(&journal).await.unwrap_err().code(), "undecodable_event");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_no_other_stream_from_being_tidied_and_stays() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (broken, whole) = (letter_box(&journal, "a"), letter_box(&journal, "b"));
    write_nonsense(&broken).await;
    for letters in [&broken, &whole] {
        for number in 0..100 {
            write(letters, &number.to_string()).await;
        }
    }
    let letters: Vec<_> = stream_dead_letters(&journal).filter_map(async |told| told.ok()).collect().await;
    for letter in letters {
        let of = if letter.subscription == "a" { &broken } else { &whole };
        of.replayed(letter.id, None).await.unwrap();
    }
    let ledger = ledger::Ledger::new(Arc::clone(&journal));
    let tidied = ledger.tidy().await;
    assert_eq!(tidied.records, 199);
    let [fault] = &*tidied.faults else { panic!("{:?}", tidied.faults) };
    assert!(fault.to_string().contains("event 1 of \"$dlq-a\""), "{fault}");
    let again = ledger.tidy().await;
    assert_eq!(
        (again.records, again.faults.len()),
        (0, 1),
        "nobody knows what it says, so it is not given up"
    );
}

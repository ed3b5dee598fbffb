//! Dead letters on the command line.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod program;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use annals_persistence::{
    Batch, CodecId, CommandMetadata, EmbeddedJournal, EmbeddedOptions, EventId, Expected, Journal,
    JournalExt, NewEvent, StreamId, Timestamp,
};
use program::{Program, command, exit_code, items, run, stderr, stdout};
use serde_json::{Value, json};

const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

async fn write(notes: &Program, id: &str, text: &str) {
    let body = json!({ "id": id, "text": text }).to_string();
    assert_eq!(notes.post("/api/note", &[], &body).await.status, 201);
}

#[tokio::test]
async fn no_dead_letters_are_told_to_people_alone() {
    let notes = Program::start(&["dev"]);
    let listed = run(&["dlq", "ls", "--url", &notes.address]);
    assert_eq!(
        (exit_code(&listed), stdout(&listed), stderr(&listed)),
        (0, String::new(), "no dead letters\n".into())
    );
    let replayed = run(&["dlq", "replay", "--all", "--url", &notes.address]);
    assert_eq!((exit_code(&replayed), stderr(&replayed)), (0, "no dead letters\n".into()));
    for command in [vec!["ls"], vec!["replay", "--all"]] {
        let told = run(&[&["dlq"], &*command, &["--json", "--url", &notes.address]].concat());
        assert_eq!((exit_code(&told), stdout(&told), stderr(&told)), (0, String::new(), String::new()));
    }
}

#[test]
fn a_replay_says_that_it_takes_one_or_all() {
    let output = run(&["dlq", "replay"]);
    assert_eq!(exit_code(&output), 2);
    let said = stderr(&output);
    assert!(said.contains("replay [OPTIONS] <ID>") && said.contains("replay [OPTIONS] --all"), "{said}");
}

#[tokio::test]
async fn a_dead_letter_is_listed_and_replayed() {
    let notes = Program::start(&["dev"]);
    write(&notes, ID, "some poison").await;
    let counted = "annals_bus_dead_letters_total{subscription=\"count-words\"} 1";
    notes.until("/metrics", |answer| answer.text.contains(counted)).await;
    let letters = items(&["dlq", "ls", "--json", "--url", &notes.address]);
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0]["service"], &letters[0]["attempts"]), (&json!("counts"), &json!(1)));
    let told = "\"count-words\": 1 of its events could not be handled";
    let told = told.replace('"', "\\\"");
    notes.until("/readyz", |answer| answer.status == 200 && answer.text.contains(&told)).await;
    notes
        .until("/metrics", |answer| answer.text.contains("dead_letters{subscription=\"count-words\"} 1"))
        .await;
    let flow = stdout(&run(&["bus", "--url", &notes.address]));
    assert!(flow.contains("1 of its events could not be handled"), "{flow}");
    assert_eq!(flow.matches("could not be handled").count(), 1, "{flow}");
    let id = letters[0]["id"].as_str().unwrap();
    let log = notes.log();
    let line = log.lines().find(|line| line.contains("the event becomes a dead letter")).unwrap();
    assert!(line.contains(id), "{line}");
    let listed = stdout(&run(&["dlq", "ls", "--url", &notes.address]));
    let (heading, line) = listed.split_once('\n').unwrap();
    for (title, value) in [("DEAD LETTER", id), ("EVENT", letters[0]["eventId"].as_str().unwrap())] {
        assert_eq!((heading.find(title), line.find(value).is_some()), (line.find(value), true), "{listed}");
    }
    assert_eq!(items(&["dlq", "show", id, "--json", "--url", &notes.address]), letters);
    let shown = stdout(&run(&["dlq", "show", id, "--url", &notes.address]));
    assert!(shown.contains("some poison") && shown.contains("reason: "), "{shown}");
    let replayed = items(&["dlq", "replay", id, "--json", "--url", &notes.address]);
    assert_eq!(replayed, [json!({ "service": "counts", "id": id, "outcome": "handled" })]);
    assert_eq!(items(&["dlq", "ls", "--json", "--url", &notes.address]), Vec::<Value>::new());
    notes.until("/readyz", |answer| !answer.text.contains("could not be handled")).await;
    for command in ["replay", "show"] {
        let again = run(&["dlq", command, id, "--url", &notes.address]);
        assert_eq!(exit_code(&again), 1);
        assert!(stderr(&again).contains("dead_letter_not_found"), "{}", stderr(&again));
    }
}

#[tokio::test]
async fn a_dead_letter_is_put_away() {
    let notes = Program::start(&["dev"]);
    write(&notes, ID, "some poison").await;
    let counted = "annals_bus_dead_letters_total{subscription=\"count-words\"} 1";
    notes.until("/metrics", |answer| answer.text.contains(counted)).await;
    let letters = items(&["dlq", "ls", "--json", "--url", &notes.address]);
    let id = letters[0]["id"].as_str().unwrap();
    let none = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let line = ["dlq", "discard", id, "--reason", "it is spam & no more", "--json", "--url", &notes.address];
    assert_eq!(items(&line), [json!({ "service": "counts", "id": id, "outcome": "discarded" })]);
    assert_eq!(items(&["dlq", "ls", "--json", "--url", &notes.address]), Vec::<Value>::new());
    let told = items(&["streams", "show", "$dlq-count-words", "--json", "--url", &notes.address]);
    assert_eq!(told[1]["data"], json!({ "id": id, "reason": "it is spam & no more" }));
    assert_eq!(
        items(&line),
        [json!({ "service": "counts", "id": id, "outcome": "discarded", "already": true })]
    );
    let told = stdout(&run(&["dlq", "discard", id, "--url", &notes.address]));
    assert!(told.contains("already discarded"), "{told}");
    write(&notes, "67e55044-10b1-426f-9247-bb680e5fe0c9", "more poison").await;
    notes
        .until("/metrics", |answer| {
            answer.text.contains("dead_letters_total{subscription=\"count-words\"} 2")
        })
        .await;
    let second = items(&["dlq", "ls", "--json", "--url", &notes.address]);
    let second = second[0]["id"].as_str().unwrap();
    let some = run(&["dlq", "discard", none, second, "--url", &notes.address]);
    assert!(exit_code(&some) == 1 && stdout(&some).contains(second) && stderr(&some).contains(none));
    assert_eq!(items(&["dlq", "ls", "--json", "--url", &notes.address]), Vec::<Value>::new());
    let stopped = run(&["dlq", "discard", id, "--data", "."]);
    assert!(exit_code(&stopped) == 2 && stderr(&stopped).contains("use --url"), "{}", stderr(&stopped));
}

/// Appends to a stopped service's journal a record that nobody can read.
async fn write_nonsense(journal: &Path, stream: &str) {
    let journal: Arc<dyn Journal> =
        Arc::new(EmbeddedJournal::open(journal, EmbeddedOptions::default()).unwrap());
    let event = NewEvent {
        id: EventId::generate(),
        type_name: "dead-letter".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: "nonsense".into(),
        command: CommandMetadata::internal(Timestamp::now()),
        tags: Vec::new(),
    };
    let stream = StreamId::internal(stream).unwrap();
    journal.append(Batch::of(stream, Expected::Any, [event])).await.unwrap();
    journal.close().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_told_behind_all_other_dead_letters() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let dev = ["dev", "--data", dir];
    let counted = async |notes: &Program, count: usize| {
        let counted = format!("annals_bus_dead_letters_total{{subscription=\"count-words\"}} {count}");
        notes.until("/metrics", |answer| answer.text.contains(&counted)).await;
    };
    let notes = Program::start(&dev);
    notes.post("/api/note", &[], &json!({ "text": "poison" }).to_string()).await;
    counted(&notes, 1).await;
    assert!(notes.stop().success());
    write_nonsense(&data.path().join("counts/journal"), "dlq-count-words").await;
    let notes = Program::start(&dev);
    notes.post("/api/note", &[], &json!({ "text": "more poison" }).to_string()).await;
    counted(&notes, 1).await;

    let check = |line: &[&str], handled: usize| {
        let told = run(line);
        let said = stderr(&told);
        assert_eq!(exit_code(&told), 1, "{line:?}: {said}");
        for part in [
            "\"$dlq-count-words\"",
            "event 2",
            "at position ",
            "undecodable_event",
            "(dead_letters_unreadable",
        ] {
            assert!(said.contains(part), "{line:?}: {said}");
        }
        let json = run(&[line, &["--json"]].concat());
        let told: Vec<Value> =
            stdout(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((exit_code(&json), told.len()), (1, handled + 1), "{told:?}");
        let unreadable = &told[handled]["unreadable"];
        assert_eq!((&unreadable["stream"], &unreadable["version"]), (&json!("$dlq-count-words"), &json!(2)));
        assert!(unreadable["position"].is_u64() && unreadable["code"] == "undecodable_event", "{unreadable}");
    };
    let url = notes.address.clone();
    check(&["dlq", "ls", "--url", &url], 2);
    let nobody = run(&["dlq", "show", ID, "--url", &url]);
    assert!(
        exit_code(&nobody) == 1 && stderr(&nobody).contains("dead_letters_unreadable"),
        "{}",
        stderr(&nobody)
    );
    let listed = stdout(&run(&["dlq", "ls", "--url", &url]));
    assert_eq!(listed.matches("(may be done with)").count(), 1, "{listed}");
    let listed = stdout(&run(&["dlq", "ls", "--json", "--url", &url]));
    let in_doubt: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!(in_doubt["inDoubt"], 2);
    let replayed = run(&["dlq", "replay", "--all", "--url", &url]);
    let (told, said) = (stdout(&replayed), stderr(&replayed));
    assert_eq!(
        (told.matches("counts  handled").count(), told.matches("counts  in-doubt").count()),
        (1, 1),
        "{told}"
    );
    assert!(said.contains("(dead_letter_in_doubt") && said.contains("(dead_letters_unreadable"), "{said}");
    let by_id = items(&["dlq", "replay", in_doubt["id"].as_str().unwrap(), "--json", "--url", &url]);
    assert_eq!(by_id[0]["outcome"], "handled");
    check(&["dlq", "replay", "--all", "--url", &url], 0);
    assert!(notes.stop().success());
    check(&["dlq", "ls", "--data", dir], 0);
}

#[tokio::test]
async fn what_cannot_be_read_of_one_service_keeps_nobody_from_the_dead_letters_of_another() {
    let data = tempfile::tempdir().unwrap();
    let dev = ["dev", "--data", data.path().to_str().unwrap()];
    assert!(Program::start(&dev).stop().success());
    // Notes comes before counts, which has the letters.
    write_nonsense(&data.path().join("notes/journal"), "dlq-of-old").await;
    let notes = Program::start(&dev);
    for count in 1..=3 {
        notes.post("/api/note", &[], &json!({ "text": "poison" }).to_string()).await;
        let counted = format!("annals_bus_dead_letters_total{{subscription=\"count-words\"}} {count}");
        notes.until("/metrics", |answer| answer.text.contains(&counted)).await;
    }
    let url = ["--url", &notes.address];
    let listed = stdout(&run(&[&["dlq", "ls", "--json"][..], &url].concat()));
    let letters: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let service_and_id =
        |letter: &Value| (letter["service"] == "counts", letter["id"].as_str().map(str::to_owned));
    let ids: Vec<_> = letters.iter().map(service_and_id).filter_map(|(is, id)| id.filter(|_| is)).collect();
    let [first, second, third] = &*ids else { panic!("{letters:?}") };

    let replayed = items(&[&["dlq", "replay", first, "--json"][..], &url].concat());
    assert_eq!(replayed[0]["outcome"], "handled");
    let discarded = run(&[&["dlq", "discard", "nonsense", ID, second, third][..], &url].concat());
    let (told, said) = (stdout(&discarded), stderr(&discarded));
    assert!(told.contains(second) && told.contains(third), "those behind it are put away: {told}");
    assert_eq!(exit_code(&discarded), 1);
    for part in ["\"nonsense\"", ID, "$dlq-of-old", "undecodable_event", "(dead_letters_unreadable"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// Three dead letters, in this order; the replay of the second does not end.
async fn three_dead_letters(notes: &Program) -> Vec<Value> {
    for (n, text) in ["poison", "endless poison", "poison"].iter().enumerate() {
        notes.post("/api/note", &[], &json!({ "text": text }).to_string()).await;
        let counted = format!("annals_bus_dead_letters_total{{subscription=\"count-words\"}} {}", n + 1);
        notes.until("/metrics", |answer| answer.text.contains(&counted)).await;
    }
    items(&["dlq", "ls", "--json", "--url", &notes.address])
}

#[tokio::test]
async fn each_of_all_replays_is_told_as_it_comes_and_the_reader_may_go() {
    let notes = Program::start(&["dev"]);
    let letters = three_dead_letters(&notes).await;
    let mut replay = command()
        .args(["dlq", "replay", "--all", "--json", "--url", &notes.address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(replay.stdout.take().unwrap()).lines();
    // The first is told while the second goes on.
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let subscription = "count-words";
    assert_eq!(
        first,
        json!({ "service": "counts", "id": letters[0]["id"], "subscription": subscription, "outcome": "handled" })
    );
    replay.kill().unwrap();
    replay.wait().unwrap();
    // What was told is done with; the others are there as before.
    assert_eq!(items(&["dlq", "ls", "--json", "--url", &notes.address]), letters[1..]);
    let last = letters[2]["id"].as_str().unwrap();
    assert_eq!(items(&["dlq", "replay", last, "--json", "--url", &notes.address])[0]["outcome"], "handled");
}

#[tokio::test]
async fn the_end_of_the_service_breaks_a_replay_of_all_off() {
    let notes = Program::start(&["dev"]);
    three_dead_letters(&notes).await;
    let mut replay = command()
        .args(["dlq", "replay", "--all", "--url", &notes.address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(replay.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    assert!(first.trim_end().ends_with("counts  handled  -"), "{first}");
    notes.signal("TERM");
    let output = replay.wait_with_output().unwrap();
    assert_eq!(exit_code(&output), 1);
    assert!(stderr(&output).contains("answer_incomplete"), "{}", stderr(&output));
}

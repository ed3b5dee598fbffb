//! How services start: ready before it is said, or ended with a reason.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod program;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use annals_persistence::{
    Batch, CodecId, CommandMetadata, EmbeddedJournal, EmbeddedOptions, EventId, Expected, Journal,
    JournalExt, NewEvent, StreamId, Timestamp,
};
use serde_json::json;

use program::{Program, command, ended, exit_code, run, signal, stderr, stdout};

/// Data whose read model cannot be built.
async fn with_an_unlisted_note(data: &str) {
    let notes = Program::start(&["dev", "--data", data]);
    assert_eq!(notes.post("/api/note", &[], r#"{"text":"unlisted"}"#).await.status, 201);
    assert!(notes.stop().success());
}

#[tokio::test]
async fn a_read_model_that_cannot_be_built_ends_the_start_with_one() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    with_an_unlisted_note(dir).await;
    for args in [
        vec!["dev", "--data", dir],
        vec!["dev", "--json", "--data", dir],
        vec!["serve", "--json", "--service", "notes", "--data", dir],
    ] {
        let output = run(&[&args, &["--listen", "127.0.0.1:0"][..]].concat());
        let said = stderr(&output);
        assert_eq!(exit_code(&output), 1, "{args:?}: {said}");
        assert_eq!(stdout(&output), "", "{args:?} announced what is not ready");
        let last = said.lines().last().unwrap();
        for part in ["service \"notes\" cannot get ready", "read model \"notes\"", "read_model_failed"] {
            assert!(last.contains(part), "{last}");
        }
    }
}

/// Lets a journal say that notes were once written otherwise than this release writes them.
async fn record_another_schema(data: &Path) {
    let directory = data.join("notes/journal");
    let journal: Arc<dyn Journal> =
        Arc::new(EmbeddedJournal::open(&directory, EmbeddedOptions::default()).unwrap());
    let schema = json!({
        "aggregate": "note",
        "event": "note-written",
        "version": 1,
        "fingerprint": "0123456789abcdef",
        "shape": "struct{title:string;text:string;}",
    });
    let record = NewEvent {
        id: EventId::generate(),
        type_name: "schemas-recorded".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: json!({ "schemas": [schema] }).to_string().into_bytes().into(),
        command: CommandMetadata::internal(Timestamp(1)),
        tags: Vec::new(),
    };
    let stream = StreamId::internal("schemas").unwrap();
    journal.append(Batch::of(stream, Expected::NoStream, [record])).await.unwrap();
    journal.close().await;
}

#[tokio::test]
async fn a_journal_that_would_be_misread_ends_the_start_with_one() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    record_another_schema(data.path()).await;
    let output = run(&["dev", "--data", dir, "--listen", "127.0.0.1:0"]);
    let said = stderr(&output);
    assert_eq!(exit_code(&output), 1, "{said}");
    let last = said.lines().last().unwrap();
    let parts = [
        "event \"note-written\" version 1 of aggregate \"note\" has changed",
        "struct{title:string;text:string;}",
        "struct{text:string;}",
        "(event_schema_changed; `explain event_schema_changed` says more)",
    ];
    for part in parts {
        assert!(last.contains(part), "{part}: {last}");
    }
}

/// Makes opening the snapshots wait for ever: sled's configuration becomes a pipe that nobody writes to.
fn make_opening_wait(snapshots: &Path) {
    let configuration = snapshots.join("conf");
    std::fs::remove_file(&configuration).unwrap();
    assert!(Command::new("mkfifo").arg(configuration).status().unwrap().success());
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    for format in ["pretty", "json"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut child = command()
            .args(["dev", "--json", "--listen", "127.0.0.1:0", "--log", format])
            .stdout(Stdio::piped())
            .stderr(full)
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert!(ready.contains("\"services\""), "{format}: {ready}");
        signal(&child, "TERM");
        assert!(ended(&mut child).success(), "{format}");
    }
}

#[test]
fn the_end_may_be_asked_for_while_starting() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    assert!(Program::start(&["dev", "--data", dir]).stop().success());
    make_opening_wait(&data.path().join("notes/snapshots/1"));
    let mut child = command()
        .args(["dev", "--json", "--listen", "127.0.0.1:0", "--data", dir])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("starting")));
    signal(&child, "TERM");
    assert!(ended(&mut child).success());
    assert_eq!(std::io::read_to_string(child.stdout.take().unwrap()).unwrap(), "");
}

//! The command line, against running and stopped services.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod program;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use annals_persistence::{
    Batch, CodecId, CommandMetadata, EmbeddedJournal, EmbeddedOptions, EventId, Expected, Journal,
    JournalExt, NewEvent, StreamId, Timestamp,
};
use http::Method;
use program::{Program, command, exit_code, items, run, stderr, stdout};
use serde_json::{Value, json};

const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

async fn write(notes: &Program, id: &str, text: &str) {
    let body = json!({ "id": id, "text": text }).to_string();
    assert_eq!(notes.post("/api/note", &[], &body).await.status, 201);
}

#[tokio::test]
async fn a_running_and_a_stopped_service_answer_alike() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let notes = Program::start(&["dev", "--data", dir]);
    write(&notes, ID, "two words").await;
    let count = format!("count-{ID}");
    notes.until(&format!("/admin/v1/streams/{count}"), |answer| answer.status == 200).await;
    let url = notes.address.clone();
    let note = format!("note-{ID}");
    let questions: Vec<Vec<&str>> = vec![
        vec!["streams", "ls"],
        vec!["streams", "ls", "--prefix", "note-"],
        vec!["streams", "show", &note],
        vec!["streams", "show", &note, "--reverse", "--from", "1"],
        vec!["aggregate", "show", "count", ID],
        vec!["aggregate", "show", "note", ID, "--at", "1", "--service", "notes"],
        vec!["aggregate", "show", "note", ID, "--at", "2099-01-01T00:00:00Z"],
        vec!["dlq", "ls"],
    ];
    let ask = |place: &[&str]| -> Vec<Vec<Value>> {
        questions.iter().map(|question| items(&[question, place, &["--json"]].concat())).collect()
    };
    let running = ask(&["--url", &url]);
    assert_eq!(running[0].len(), 2);
    assert_eq!(running[0][0]["service"], "notes");
    assert_eq!(running[2][0]["stream"], note);
    assert_eq!(running[4][0]["state"]["words"], 2);
    assert!(notes.stop().success());
    assert_eq!(ask(&["--data", dir]), running);
}

#[tokio::test]
async fn a_state_that_is_not_there_says_why() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let notes = Program::start(&["dev", "--data", dir]);
    write(&notes, ID, "one").await;
    let nobody = "00000000-0000-4000-8000-000000000000";
    let check = |place: &[&str]| {
        for (question, reason) in [
            (vec![ID, "--at", "99"], format!("the note \"{ID}\" is at version 1 and has no version 99 (")),
            (
                vec![ID, "--at", "2001-01-01T00:00:00Z"],
                format!("the note \"{ID}\" had no events yet at 2001-01-01"),
            ),
            (vec![nobody, "--at", "1"], format!("the note \"{nobody}\" has no events (")),
            (vec![nobody], format!("the note \"{nobody}\" has no events (")),
        ] {
            let output = run(&[&["aggregate", "show", "note"], &*question, place].concat());
            assert_eq!(exit_code(&output), 1, "{question:?}");
            assert!(stderr(&output).contains(&reason), "{question:?}: {}", stderr(&output));
        }
    };
    check(&["--url", &notes.address]);
    assert!(notes.stop().success());
    check(&["--data", dir]);
}

#[tokio::test]
async fn a_running_service_makes_checkpoints_and_says_who_holds_events() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let notes = Program::start(&["dev", "--data", dir]);
    write(&notes, ID, "two words").await;
    let (note, count) = (format!("note-{ID}"), format!("count-{ID}"));
    notes.until(&format!("/admin/v1/streams/{count}"), |answer| answer.status == 200).await;
    let checkpoint = |more: &[&str]| {
        run(&[&["aggregate", "checkpoint"], more, &["--url", &notes.address, "--json"]].concat())
    };
    let made = |more: &[&str]| -> Value { serde_json::from_str(&stdout(&checkpoint(more))).unwrap() };

    // The list of notes is read from all that ever happened to them.
    let refused = checkpoint(&["note", ID, "--truncate"]);
    assert_eq!(exit_code(&refused), 1);
    let told = stderr(&refused);
    assert!(told.contains("read model notes") && told.contains("truncation_held"), "{told}");
    let kept = made(&["note", ID]);
    assert_eq!((&kept["version"], &kept["keptFrom"]), (&json!(2), &json!(1)), "{kept}");
    let shown = items(&["streams", "show", &note, "--url", &notes.address, "--json"]);
    assert_eq!((&shown[1]["type"], &shown[1]["actor"]), (&json!("$checkpoint"), &json!("operator")));
    assert_eq!(shown[1]["data"]["state"], json!({ "text": "two words" }));

    let gone = made(&["count", ID, "--truncate"]);
    assert_eq!((&gone["version"], &gone["keptFrom"]), (&json!(2), &json!(2)), "{gone}");
    for (more, code) in
        [(["count", "nobody"], "instance_not_found"), (["stranger", ID], "aggregate_not_registered")]
    {
        let refused = checkpoint(&more);
        assert_eq!(exit_code(&refused), 1);
        assert!(stderr(&refused).contains(code), "{}", stderr(&refused));
    }
    let refused = stderr(&run(&["aggregate", "show", "stranger", ID, "--url", &notes.address]));
    for part in ["\"stranger\"; there are: ", "note", "count"] {
        assert!(refused.contains(part), "{refused}");
    }
    let wrong = run(&["aggregate", "checkpoint", "note", ID, "--data", dir]);
    assert_eq!(exit_code(&wrong), 2, "{}", stderr(&wrong));

    // What happens after it: the list, the order of what is published, the state.
    write(&notes, "67e55044-10b1-426f-9247-bb680e5fe0c9", "three more words").await;
    let etag = notes.get(&format!("/api/note/{ID}")).await.header("etag").unwrap().to_owned();
    assert_eq!(etag, "\"2\"");
    let change = json!({ "text": "these are four words", "eTag": "1" }).to_string();
    let changed = notes
        .send(Method::PUT, &format!("/api/note/{ID}"), &[("content-type", "application/json")], &change)
        .await;
    assert_eq!(changed.status, 200, "nothing but a checkpoint has come behind version 1: {}", changed.text);
    notes
        .until(&format!("/admin/v1/aggregates/count/{ID}"), |answer| answer.json()["state"]["words"] == 4)
        .await;
    let at_one = notes.get(&format!("/admin/v1/aggregates/count/{ID}?at=1")).await;
    assert_eq!(
        (at_one.status, &at_one.json()["state"]["words"]),
        (200, &json!(2)),
        "it is in the checkpoint"
    );
    assert!(notes.stop().success());
    let lists = items(&["log", "verify", "--data", dir, "--json"]);
    assert!(lists.iter().all(|report| report["ok"] == true), "{lists:?}");
}

#[test]
fn a_code_is_explained_whatever_its_case() {
    let explained = run(&["explain", "VERSION_CONFLICT"]);
    assert_eq!((exit_code(&explained), explained.stdout), (0, run(&["explain", "version_conflict"]).stdout));
    let unknown = run(&["explain", "No_Such_Code"]);
    assert!(exit_code(&unknown) == 1 && stderr(&unknown).contains("No_Such_Code"), "{unknown:?}");
}

#[tokio::test]
async fn a_tail_shows_what_happens_and_ends_with_the_service() {
    let notes = Program::start(&["dev"]);
    let mut tail = command()
        .args(["streams", "tail", "--json", "--service", "notes", "--url", &notes.address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // The tail begins at some moment after its start: write until it has seen something.
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next()
            && sender.send(line).is_ok()
        {}
    });
    let first = loop {
        let body = json!({ "text": "tail" }).to_string();
        notes.post("/api/note", &[], &body).await;
        if let Ok(line) = seen.try_recv() {
            break line;
        }
    };
    let event: Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&event["service"], &event["type"]), (&json!("notes"), &json!("note-written")));
    assert!(notes.stop().success());
    assert!(tail.wait().unwrap().success());
}

#[tokio::test]
async fn a_tail_of_a_stream_that_is_not_there_says_that_it_waits() {
    let notes = Program::start(&["dev"]);
    let stream = format!("note-{ID}");
    let mut tail = command()
        .args(["streams", "tail", &stream, "--url", &notes.address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(tail.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains(&format!("no stream \"{stream}\" yet")), "{said}");
    write(&notes, ID, "first").await;
    let mut line = String::new();
    BufReader::new(tail.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("note-written"), "{line}");
    assert!(notes.stop().success());
    assert!(tail.wait().unwrap().success());
}

#[test]
fn data_is_offered_only_where_a_stopped_service_is_looked_at() {
    let offers = |command: &[&str]| stdout(&run(&[command, &["--help"]].concat())).contains("--data");
    for command in ["streams ls", "dlq ls", "dlq show", "aggregate show", "schema ls", "schema check"] {
        assert!(offers(&command.split(' ').collect::<Vec<_>>()), "{command}");
    }
    for command in [
        "streams tail",
        "dlq replay --all",
        "dlq discard x",
        "aggregate checkpoint t i",
        "schema register t f",
        "bus",
    ] {
        let command: Vec<_> = command.split(' ').collect();
        assert!(!offers(&command), "{command:?}");
        let refused = run(&[&*command, &["--data", "."]].concat());
        let said = stderr(&refused);
        assert!(
            exit_code(&refused) == 2 && said.contains("the running service: use --url"),
            "{command:?}: {said}"
        );
        assert!(said.contains("(wrong_usage; `explain wrong_usage` says more)"), "{said}");
        let nobody = stderr(&run(&[&*command, &["--url", "127.0.0.1:1"]].concat()));
        assert!(!nobody.contains("--data"), "{command:?}: {nobody}");
    }
    let nobody = run(&["streams", "ls", "--url", "127.0.0.1:1"]);
    assert!(stderr(&nobody).contains("--data"), "{}", stderr(&nobody));
    let schemas = run(&["schema", "ls", "--url", "127.0.0.1:1"]);
    assert_eq!((exit_code(&schemas), stdout(&schemas)), (1, String::new()));
}

#[tokio::test]
async fn data_in_use_is_three_and_names_the_directory() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let notes = Program::start(&["dev", "--data", dir]);
    for args in [
        vec!["dev", "--listen", "127.0.0.1:0", "--data", dir],
        vec!["serve", "--service", "notes", "--listen", "127.0.0.1:0", "--data", dir],
        vec!["streams", "ls", "--data", dir],
        vec!["log", "verify", "--data", dir],
        vec!["log", "scavenge", "--data", dir],
    ] {
        let output = run(&args);
        assert_eq!(exit_code(&output), 3, "{args:?}: {}", stderr(&output));
        let journal = data.path().join("notes").join("journal");
        assert!(stderr(&output).contains(&format!("\"{}\"", journal.display())), "{}", stderr(&output));
        assert!(stderr(&output).contains("journal_in_use"), "{}", stderr(&output));
    }
    assert!(notes.stop().success());
}

/// The journal's file that has most in it.
fn segment(journal: &Path) -> PathBuf {
    std::fs::read_dir(journal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap()
}

#[tokio::test]
async fn a_log_is_verified_and_damage_is_three() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let notes = Program::start(&["dev", "--data", dir]);
    for n in 0..20 {
        notes.post("/api/note", &[], &json!({ "text": n.to_string() }).to_string()).await;
    }
    assert!(notes.stop().success());
    let reports = items(&["log", "verify", "--data", dir, "--service", "notes", "--json"]);
    assert_eq!((&reports[0]["service"], &reports[0]["ok"]), (&json!("notes"), &json!(true)));
    assert_eq!(reports[0]["streams"].as_u64().map(|streams| streams >= 20), Some(true), "{reports:?}");
    assert_eq!(items(&["log", "verify", "--data", dir, "--json"]).len(), 2);

    let journal = data.path().join("notes/journal");
    let segment = segment(&journal);
    // In the payload of an early event, with good frames after it.
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(12).position(|w| w == b"note-written").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for args in [
        vec!["log", "verify", "--data", dir],
        vec!["streams", "ls", "--data", dir],
        vec!["dev", "--listen", "127.0.0.1:0", "--data", dir],
    ] {
        let output = run(&args);
        assert_eq!(exit_code(&output), 3, "{args:?}: {}", stderr(&output));
        let name = segment.file_name().unwrap().to_str().unwrap();
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }

    let planned = items(&["log", "repair", "--data", dir, "--service", "notes", "--json"]);
    assert_eq!((&planned[0]["damaged"], &planned[0]["repaired"]), (&json!(true), &json!(false)));
    let piece = &planned[0]["cut"][0];
    assert!(piece["bytes"].as_u64().unwrap() > 1000, "{planned:?}");
    assert!((1000..100_000).contains(&piece["usedBytes"].as_u64().unwrap()), "{planned:?}");
    assert!(piece["wholeEvents"].as_u64().unwrap() > 1, "the bus has written too: {planned:?}");
    assert_eq!(exit_code(&run(&["log", "verify", "--data", dir])), 3, "nothing was changed");
    let text = stdout(&run(&["log", "repair", "--data", dir, "--yes"]));
    assert!(text.contains("counts: nothing to repair") && text.contains("is kept in"), "{text}");
    let kept_in = text.split("is kept in \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert_eq!(std::fs::read_dir(kept_in).unwrap().count(), 1);
    assert_eq!(exit_code(&run(&["log", "verify", "--data", dir])), 0);
    let notes = Program::start(&["dev", "--data", dir]);
    notes.post("/api/note", &[], &json!({ "text": "after" }).to_string()).await;
    assert!(notes.stop().success());
}

/// A journal of several segments with requests that were remembered two days ago.
async fn with_old_keys(dir: &Path) {
    let options = EmbeddedOptions { segment_bytes: 8192, ..EmbeddedOptions::default() };
    let journal: Arc<dyn Journal> = Arc::new(EmbeddedJournal::open(dir, options).unwrap());
    let two_days_ago = Timestamp(Timestamp::now().0 - 2 * 24 * 60 * 60 * 1_000_000);
    for number in 0..100 {
        let event = NewEvent {
            id: EventId::generate(),
            type_name: "request-remembered".into(),
            schema_version: 1,
            codec: CodecId::Json,
            payload: vec![b' '; 300].into(),
            command: CommandMetadata::internal(two_days_ago),
            tags: Vec::new(),
        };
        let key = StreamId::internal(&format!("idempotency-{number}")).unwrap();
        journal.append(Batch::of(key, Expected::NoStream, [event])).await.unwrap();
    }
    journal.close().await;
}

#[tokio::test]
async fn a_stopped_log_is_scavenged_and_it_is_said_what_that_gave_back() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    with_old_keys(&data.path().join("notes/journal")).await;
    let scavenged = |args: &[&str]| {
        let all = ["log", "scavenge", "--data", dir, "--json"];
        let report = items(&[&all[..], args].concat()).remove(0);
        ["events", "rewritten", "reclaimedBytes"].map(|field| report[field].as_u64().unwrap())
    };
    assert_eq!(scavenged(&["--keys-kept", "3d"]), [0, 0, 0], "they are kept for longer");
    let [events, rewritten, bytes] = scavenged(&[]);
    assert!(events > 50 && rewritten > 2 && bytes > 10_000, "{events} {rewritten} {bytes}");
    let text = stdout(&run(&["log", "scavenge", "--data", dir]));
    assert!(text.starts_with("notes: gave back 0 bytes of 0 events"), "{text}");
    assert_eq!(exit_code(&run(&["log", "scavenge", "--data", dir, "--keys-kept", "soon"])), 2);
    assert_eq!(exit_code(&run(&["log", "verify", "--data", dir])), 0);
    let notes = Program::start(&["serve", "--service", "notes", "--data", dir]);
    assert!(notes.stop().success());
}

#[tokio::test]
async fn every_log_is_verified_also_after_one_that_cannot_be() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let notes = Program::start(&["dev", "--data", dir]);
    write(&notes, ID, "one").await;
    assert!(notes.stop().success());
    // The first of the services is in use, the second is not.
    let notes = Program::start(&["serve", "--service", "notes", "--data", dir]);
    let output = run(&["log", "verify", "--data", dir, "--json"]);
    assert_eq!(exit_code(&output), 3, "{}", stderr(&output));
    let reports: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&reports[0]["service"], &reports[0]["ok"]), (&json!("notes"), &json!(false)));
    assert_eq!(reports[0]["error"]["code"], "journal_in_use");
    assert_eq!((&reports[1]["service"], &reports[1]["ok"]), (&json!("counts"), &json!(true)));
    assert!(notes.stop().success());

    // Both cannot be: each is told of, the worse one decides.
    let unreadable = segment(&data.path().join("notes/journal"));
    std::fs::remove_file(&unreadable).unwrap();
    std::fs::create_dir(&unreadable).unwrap();
    let notes = Program::start(&["serve", "--service", "counts", "--data", dir]);
    let output = run(&["log", "verify", "--data", dir]);
    assert_eq!(exit_code(&output), 3, "{}", stderr(&output));
    assert_eq!(stdout(&output), "notes: not verified\ncounts: not verified\n");
    for code in ["journal_unreadable", "journal_in_use"] {
        assert!(stderr(&output).contains(code), "{code}: {}", stderr(&output));
    }
    assert!(notes.stop().success());
}

/// Every file and directory below, with what is in it.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(snapshot(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn allow_writing(dir: &Path, allowed: bool) {
    let mode = if allowed { "u+w" } else { "a-w" };
    assert!(Command::new("chmod").args(["-R", mode]).arg(dir).status().unwrap().success());
}

#[tokio::test]
async fn who_only_looks_changes_nothing_and_needs_no_right_to() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let notes = Program::start(&["dev", "--data", dir]);
    write(&notes, ID, "one").await;
    assert!(notes.stop().success());
    // A copy, as a backup keeps it.
    for service in ["notes", "counts"] {
        std::fs::remove_file(data.path().join(service).join("journal/LOCK")).unwrap();
    }
    let before = snapshot(data.path());
    allow_writing(data.path(), false);
    let answers: Vec<_> = [
        vec!["log", "verify", "--data", dir, "--json"],
        vec!["streams", "ls", "--data", dir, "--json"],
        vec!["aggregate", "show", "note", ID, "--data", dir, "--json"],
    ]
    .iter()
    .map(|args| run(args))
    .collect();
    allow_writing(data.path(), true);
    for output in answers {
        assert_eq!(exit_code(&output), 0, "{}", stderr(&output));
    }
    let after = snapshot(data.path());
    assert!(
        before == after,
        "{:?}",
        after.keys().filter(|path| !before.contains_key(*path)).collect::<Vec<_>>()
    );
}

#[test]
fn wrong_usage_is_two_and_failure_is_one() {
    let nowhere = tempfile::tempdir().unwrap();
    let dir = nowhere.path().to_str().unwrap();
    for (args, code) in [
        (vec!["serve", "--service", "notes"], 2),
        (vec!["serve", "--service", "nobody", "--data", dir], 2),
        (vec!["streams", "ls", "--service", "nobody"], 2),
        (vec!["dlq", "replay", "--all", "--data", dir], 2),
        (vec!["frobnicate"], 2),
        (vec!["streams", "ls", "--data", dir], 1),
        (vec!["streams", "ls", "--url", "127.0.0.1:1"], 1),
        (vec!["explain", "no_such_code"], 1),
        (vec!["--help"], 0),
        (vec!["explain", "version_conflict"], 0),
        (vec!["completions", "bash"], 0),
    ] {
        let output = run(&args);
        assert_eq!(exit_code(&output), code, "{args:?}: {}", stderr(&output));
        let (silent, other) =
            if code == 0 { (&output.stderr, &output.stdout) } else { (&output.stdout, &output.stderr) };
        assert!(silent.is_empty() && !other.is_empty(), "{args:?}");
    }
}

#[test]
fn a_program_describes_itself() {
    let described = items(&["describe", "--json"]);
    let notes = &described[0]["services"][0];
    assert_eq!((&notes["name"], &notes["aggregates"][0]["type"]), (&json!("notes"), &json!("note")));
    assert_eq!(notes["aggregates"][0]["events"][0], json!({ "name": "note-written", "version": 1 }));
    assert!(stdout(&run(&["describe"])).contains("event note-written v1"));
}

#[tokio::test]
async fn serve_runs_one_service_without_a_broker() {
    let data = tempfile::tempdir().unwrap();
    let notes = Program::start(&["serve", "--service", "notes", "--data", data.path().to_str().unwrap()]);
    let names: Vec<_> = notes.ready["services"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["notes"]);
    let ready = notes.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["broker"]), (200, &json!("none")));
    assert!(notes.stop().success());
    assert!(data.path().join("notes/journal").is_dir());
}

#[tokio::test]
async fn the_admin_api_wants_a_token_beyond_this_machine() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let open = Program::start(&["dev"]);
    assert_eq!(open.get("/admin/v1/streams").await.status, 200);
    let proxied = open.send(Method::GET, "/admin/v1/streams", &[("x-forwarded-for", "9.9.9.9")], "").await;
    assert_eq!(proxied.problem(), (403, "admin_forbidden".into()));
    let as_host = |host: &str| {
        let request = format!("GET /admin/v1/streams HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        program::send_raw(&open.address, &request)
    };
    let rebound = as_host("evil.example:8080");
    assert!(rebound.starts_with("HTTP/1.1 403 ") && rebound.contains("admin_host_not_local"), "{rebound}");
    assert!(as_host("localhost").starts_with("HTTP/1.1 200 "));

    let everywhere = |env| {
        let args = ["serve", "--service", "notes", "--data", dir];
        Program::start_listening("0.0.0.0:0", &args, env)
    };
    let closed = everywhere(&[]);
    assert_eq!(closed.get("/admin/v1/streams").await.problem(), (403, "admin_forbidden".into()));
    assert_eq!(closed.get("/readyz").await.status, 200);
    assert!(closed.stop().success());
    let guarded = everywhere(&[("ANNALS_ADMIN_TOKEN", "secret")]);
    assert_eq!(guarded.get("/admin/v1/streams").await.problem(), (401, "admin_unauthorized".into()));
    let args = ["streams", "ls", "--json", "--url", &guarded.address];
    assert_eq!(exit_code(&run(&args)), 1);
    let output = command().args(args).env("ANNALS_ADMIN_TOKEN", "secret").output().unwrap();
    assert_eq!(exit_code(&output), 0, "{}", stderr(&output));
}

//! Events that change between releases, over one journal on the disk: the second release reads what the first has written,
//! in either codec.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod releases;

use std::path::Path;
use std::sync::Arc;

use annals_actors::{Aggregate, Node, NodeOptions, StartError, StateError};
use annals_persistence::{
    CodecId, Direction, EmbeddedJournal, EmbeddedOptions, Journal, JournalExt, RecordedEvent, SledSnapshots,
    SnapshotOptions, SnapshotStore, StreamId, Version,
};
use futures_util::TryStreamExt;

use releases::{First, FirstInBincode, Happened, Second, Silent, Third, Unreadable};

/// A release that runs over a directory.
struct Running {
    node: Node,
    journal: Arc<EmbeddedJournal>,
    snapshots: Arc<dyn SnapshotStore>,
}

impl Running {
    async fn start<A: Aggregate>(directory: &Path) -> Result<Self, StartError> {
        let journal =
            Arc::new(EmbeddedJournal::open(directory.join("log"), EmbeddedOptions::default()).unwrap());
        let snapshots: Arc<dyn SnapshotStore> =
            Arc::new(SledSnapshots::open(directory.join("snapshots"), SnapshotOptions::default()).unwrap());
        // Each life leaves a snapshot behind when it ends. One that falls due before is written when its events are durable,
        // which may be when nobody waits for it any more.
        let options = NodeOptions {
            snapshot_every_events: 1_000,
            snapshot_on_passivation_events: 1,
            ..NodeOptions::default()
        };
        let builder = Node::builder().journal(journal.clone()).snapshots(Arc::clone(&snapshots));
        let started = builder.options(options).aggregate::<A>().start().await;
        match started {
            Ok(node) => Ok(Self { node, journal, snapshots }),
            Err(error) => {
                journal.close().await;
                Err(error)
            }
        }
    }

    async fn events(&self) -> Vec<RecordedEvent> {
        let journal: Arc<dyn Journal> = self.journal.clone();
        journal.read_stream(&stream(), Version(1), Direction::Forward).try_collect().await.unwrap()
    }

    async fn stop(self) {
        self.node.shutdown().await;
        self.journal.close().await;
    }
}

fn stream() -> StreamId {
    StreamId::aggregate("account", "ann").unwrap()
}

/// What the first release writes: one of everything that changes later.
async fn first_release<A: Aggregate<Command = Vec<Happened>>>(directory: &Path) {
    let running = Running::start::<A>(directory).await.unwrap();
    let happened = vec![
        Happened::Opened("Ann".into()),
        Happened::Deposited("12".into()),
        Happened::Moved("Elm Street".into(), "Ely".into()),
        Happened::Greeted,
    ];
    running.node.aggregate::<A>("ann").send(happened).await.unwrap();
    running.stop().await;
}

async fn the_second_release_goes_on<A: Aggregate<Command = Vec<Happened>>>(codec: CodecId) {
    let directory = tempfile::tempdir().unwrap();
    first_release::<A>(directory.path()).await;

    let running = Running::start::<Second>(directory.path()).await.unwrap();
    let before = running.events().await;
    assert!(before.iter().all(|event| event.codec == codec && event.schema_version == 1));
    assert!(!running.snapshots.load(&stream()).is_empty(), "there is a snapshot that could be misused");
    let account = running.node.aggregate::<Second>("ann");
    let read = account.state().await.unwrap();
    assert_eq!(read.version, Version(4), "what is recorded counts, not what it is today");
    assert_eq!(read.state.told(), "Ann EUR 1200 Elm Street Ely");
    for (version, told) in [
        (1, "Ann EUR 0  "),
        (2, "Ann EUR 1200  "),
        (3, "Ann EUR 1200 Elm Street Ely"),
        (4, "Ann EUR 1200 Elm Street Ely"),
    ] {
        let then = account.state_at(Version(version)).await.unwrap().unwrap();
        assert_eq!(then.state.told(), told, "version {version}");
    }

    let receipt = account.send(34).expecting(Version(4)).await.unwrap();
    assert_eq!((receipt.version, receipt.events), (Version(5), 1));
    running.stop().await;

    let again = Running::start::<Second>(directory.path()).await.unwrap();
    let read = again.node.aggregate::<Second>("ann").state().await.unwrap();
    assert_eq!((read.version, read.state.told().as_str()), (Version(5), "Ann EUR 1234 Elm Street Ely"));
    let after = again.events().await;
    assert_eq!(after[..4], before[..], "nothing recorded is ever written anew");
    let last = &after[4];
    assert_eq!((&*last.type_name, last.schema_version, last.codec), ("deposited", 2, CodecId::Bincode));
    again.stop().await;
}

#[tokio::test]
async fn what_was_written_in_json_is_read_by_the_next_release() {
    the_second_release_goes_on::<First>(CodecId::Json).await;
}

#[tokio::test]
async fn what_was_written_in_bincode_is_read_by_the_next_release() {
    the_second_release_goes_on::<FirstInBincode>(CodecId::Bincode).await;
}

#[tokio::test]
async fn a_release_with_a_silent_change_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    first_release::<First>(directory.path()).await;

    let error = Running::start::<Silent>(directory.path()).await.err().unwrap();
    assert_eq!(error.code(), "event_schema_changed");
    let StartError::SchemaChanged { aggregate, event, version, recorded, now } = error else {
        panic!("{error}")
    };
    assert_eq!((&*aggregate, &*event, version), ("account", "account-opened", 1));
    assert_eq!((&*recorded, &*now), ("struct{owner:string;}", "struct{owner:string;limit:u32;}"));

    // It has written nothing, so the releases that know better go on.
    let running = Running::start::<First>(directory.path()).await.unwrap();
    assert_eq!(running.events().await.len(), 4);
    running.stop().await;
}

#[tokio::test]
async fn an_old_version_that_is_read_with_another_struct_is_refused_too() {
    let directory = tempfile::tempdir().unwrap();
    first_release::<First>(directory.path()).await;
    let error = Running::start::<Third>(directory.path()).await.err().unwrap();
    assert!(error.to_string().contains("\"deposited\" version 1"), "{error}");
    assert_eq!(error.code(), "event_schema_changed");
}

#[tokio::test]
async fn what_bincode_cannot_read_back_is_not_written_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let error = Running::start::<Unreadable>(directory.path()).await.err().unwrap();
    assert_eq!(error.code(), "event_not_for_bincode");
    assert!(
        error.to_string().contains("\"noted\" version 1")
            && error.to_string().contains("skip_serializing_if")
    );
}

#[tokio::test]
async fn an_earlier_release_starts_and_stops_at_what_it_cannot_read() {
    let directory = tempfile::tempdir().unwrap();
    first_release::<First>(directory.path()).await;
    let second = Running::start::<Second>(directory.path()).await.unwrap();
    second.node.aggregate::<Second>("ann").send(34).await.unwrap();
    second.stop().await;

    let first = Running::start::<First>(directory.path()).await.unwrap();
    let account = first.node.aggregate::<First>("ann");
    let error = account.state().await.unwrap_err();
    assert_eq!(error.code(), "instance_parked", "{error}");
    let StateError::Parked { code, .. } = error else { panic!("{error}") };
    assert_eq!(code, "newer_event_version");
    // Others are none the worse.
    let other =
        first.node.aggregate::<First>("ben").send(vec![Happened::Opened("Ben".into())]).await.unwrap();
    assert_eq!(other.version, Version(1));
    first.stop().await;
}

use std::collections::HashSet;
use std::sync::Arc;

use annals_persistence::{CommandMetadata, EventId, NewEvent, StreamId, Timestamp};

use super::*;
use crate::doc::{Account, AccountCommand, AccountEvent, Overdrawn};
use crate::testing::TestNode;
use crate::{Context, Shape};

fn id(number: u128) -> CommandId {
    CommandId::from_u128(number)
}

fn remembered(number: u128) -> Remembered {
    let version = Version(number as u64 * 2);
    let position = Position(version.0 + 10);
    Remembered { command_id: id(number), hash: u64::MAX - number as u64, version, events: 2, position }
}

fn recorded(payload: &[u8], schema_version: u16) -> RecordedEvent {
    RecordedEvent {
        position: Position(9),
        stream: StreamId::aggregate("account", "a").unwrap(),
        version: Version(7),
        event: NewEvent {
            id: EventId::from_u128(1),
            type_name: CHECKPOINT_EVENT_TYPE.into(),
            schema_version,
            codec: CodecId::Json,
            payload: payload.to_vec().into(),
            command: CommandMetadata::internal(Timestamp(1)),
            tags: Vec::new(),
        },
    }
}

/// What is on disks out there. It may get more fields, and is read for good as it is.
const GOLDEN: &str = concat!(
    r#"{"stateVersion":1,"version":6,"time":5,"state":{"balance":70},"keptFrom":5,"marks":{"v1.moved":4},"commands":{"#,
    r#""first":{"commandId":"00000000-0000-0000-0000-000000000001","hash":"fffffffffffffffe","version":2,"events":2,"#,
    r#""position":12},"latest":[{"commandId":"00000000-0000-0000-0000-000000000003","hash":"fffffffffffffffc","#,
    r#""version":6,"events":2,"position":16}]}}"#
);

fn at(version: u64) -> (Version, Timestamp) {
    (Version(version), Timestamp(5))
}

fn memory(capacity: usize) -> CommandMemory {
    let mut memory = CommandMemory::default();
    [1, 2, 3].into_iter().for_each(|number| memory.push(remembered(number), capacity));
    memory
}

#[test]
fn a_checkpoint_is_written_like_this_and_read_back() {
    let marks = Marks::from([("v1.moved".to_owned(), Version(4))]);
    let written =
        Checkpoint::write(&Account { balance: 70 }, at(6), &memory(1), (Version(5), marks)).unwrap();
    assert_eq!(std::str::from_utf8(&written).unwrap(), GOLDEN);

    let recorded = recorded(GOLDEN.as_bytes(), 1);
    let restored = Checkpoint::restore::<Account>(&(&recorded).into(), 1).unwrap();
    assert_eq!(restored.state, Account { balance: 70 });
    assert_eq!((restored.version, restored.time, restored.memory), (Version(6), Timestamp(5), memory(1)));
    let seen = Checkpoint::of(&recorded).unwrap().unwrap();
    assert_eq!((seen.kept_from, seen.marks["v1.moved"]), (Version(5), Version(4)));
    assert_eq!(recorded.decode::<AccountEvent>().unwrap().len(), 0, "nothing has happened with it");
}

#[test]
fn fields_that_a_later_release_adds_are_no_harm() {
    let more = GOLDEN.replace(r#""keptFrom""#, r#""more":{"of":"it"},"keptFrom""#);
    assert!(Checkpoint::restore::<Account>(&(&recorded(more.as_bytes(), 1)).into(), 1).is_ok());
}

#[test]
fn a_memory_that_was_longer_is_cut_as_replay_would() {
    let payload = Checkpoint::write(&Account::default(), at(6), &memory(9), Default::default()).unwrap();
    let restored = Checkpoint::restore::<Account>(&(&recorded(&payload, 1)).into(), 2).unwrap();
    assert_eq!(restored.memory, memory(2));
}

#[test]
fn what_cannot_be_understood_says_so() {
    let restore = |payload: &[u8], version| {
        let fault = Checkpoint::restore::<Account>(&(&recorded(payload, version)).into(), 1).unwrap_err();
        fault.code()
    };
    assert_eq!(restore(b"{", 1), "undecodable_checkpoint");
    assert_eq!(restore(b"{}", 1), "undecodable_checkpoint");
    assert_eq!(restore(GOLDEN.replace("70", "\"much\"").as_bytes(), 1), "undecodable_checkpoint");
    assert_eq!(restore(GOLDEN.as_bytes(), 2), "newer_event_version");
    let other = GOLDEN.replace(r#""stateVersion":1"#, r#""stateVersion":2"#);
    assert_eq!(restore(other.as_bytes(), 1), "checkpoint_of_other_version");
}

macro_rules! state {
    ($(#[$meta:meta])* $name:ident: $what:ty, $($version:literal)?) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Shape)]
        #[annals(crate = "crate")]
        struct $name {
            what: $what,
        }

        impl Aggregate for $name {
            const TYPE: &'static str = "account";
            type Command = AccountCommand;
            type Event = AccountEvent;
            type Rejection = Overdrawn;
            $(const STATE_VERSION: u16 = $version;)?

            fn handle(&self, _: AccountCommand, _: &Context) -> Result<Vec<AccountEvent>, Overdrawn> {
                Ok(vec![])
            }

            fn apply(&mut self, _: AccountEvent) {}

            fn upcast_state(version: u16, state: Value) -> Option<Value> {
                (version == 1).then(|| serde_json::json!({ "what": [format!("{}", state["balance"])] }))
            }
        }
    };
}

state!(Listed: HashSet<String>, 2);
state!(Measured: f64,);
state!(Large: u128,);

#[test]
fn a_state_of_an_earlier_version_is_what_upcast_state_makes_of_it() {
    let of = |payload: &str| Checkpoint::of(&recorded(payload.as_bytes(), 1)).unwrap().unwrap();
    let listed = of(GOLDEN).state::<Listed>().unwrap();
    assert_eq!(listed.what, HashSet::from(["70".to_owned()]));
    let unknown = of(&GOLDEN.replace(r#""stateVersion":1"#, r#""stateVersion":7"#)).state::<Listed>();
    let said = unknown.unwrap_err();
    assert_eq!(said.code(), "checkpoint_of_other_version");
    assert!(said.to_string().contains("upcast_state"), "{said}");
}

fn write<A: Aggregate>(state: &A) -> Result<Vec<u8>, CheckpointError> {
    Checkpoint::write(state, at(1), &CommandMemory::default(), Default::default())
}

#[test]
fn a_state_that_json_does_not_keep_is_refused() {
    let lost = write(&Measured { what: f64::NAN }).unwrap_err();
    assert_eq!(lost.code(), "state_not_read_back", "{lost}");
    assert!(write(&Measured { what: 0.1 }).is_ok());
    assert!(write(&Large { what: u128::MAX }).is_ok());
    let names = (0..100).map(|number| number.to_string()).collect();
    assert!(write(&Listed { what: names }).is_ok(), "in whatever order they are");
}

#[tokio::test]
async fn what_is_asked_for_without_a_node_or_an_instance_is_refused() {
    let node = TestNode::builder().aggregate::<Account>().start().await.unwrap();
    let account = |id: &str| node.node.aggregate::<Account>(id);
    assert_eq!(account("a").checkpoint().await.unwrap_err().code(), "instance_not_found");
    assert_eq!(account("a").checkpoint().and_truncate().await.unwrap_err().code(), "instance_not_found");
    assert_eq!(account("a b").checkpoint().await.unwrap_err().code(), "invalid_stream_name");
    let stranger = node.node.aggregate::<Large>("a");
    assert_eq!(stranger.checkpoint().await.unwrap_err().code(), "aggregate_not_registered");
    let journal: Arc<dyn annals_persistence::Journal> = node.journal.clone();
    assert_eq!(journal.durable().borrow().external, Position::START, "nothing was appended");
    node.node.shutdown().await;
    assert_eq!(account("a").checkpoint().await.unwrap_err().code(), "stopping");
}

use annals_persistence::{CodecId, CommandMetadata, EventId, NewEvent, RecordedEvent, StreamId, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn id(number: u128) -> CommandId {
    CommandId::from_u128(number)
}

fn event(version: u64, position: u64, command_id: CommandId, hash: u64) -> RecordedEvent {
    let command =
        CommandMetadata { command_id, command_hash: hash, ..CommandMetadata::internal(Timestamp(0)) };
    RecordedEvent {
        position: Position(position),
        stream: StreamId::aggregate("test", "a").unwrap(),
        version: Version(version),
        event: NewEvent {
            id: EventId::generate(),
            type_name: "happened".into(),
            schema_version: 1,
            codec: CodecId::Json,
            payload: "{}".into(),
            command,
            tags: vec![],
        },
    }
}

/// The events of some commands, each with one or more, at positions with gaps, and the commands themselves.
fn any_history(random: &mut StdRng) -> (Vec<RecordedEvent>, Vec<Remembered>) {
    let (mut events, mut commands, mut version, mut position) = (Vec::new(), Vec::new(), 0, 0);
    for number in 0..random.random_range(0..30) {
        position += random.random_range(0..5);
        let count = random.random_range(1..5);
        for _ in 0..count {
            version += 1;
            position += 1;
            events.push(event(version, position, id(number), number as u64 * 7));
        }
        commands.push(Remembered {
            command_id: id(number),
            hash: number as u64 * 7,
            version: Version(version),
            events: count,
            position: Position(position),
        });
    }
    (events, commands)
}

fn replayed(mut memory: CommandMemory, events: &[RecordedEvent], capacity: usize) -> CommandMemory {
    events.iter().for_each(|event| memory.replay(&event.into(), capacity));
    memory
}

fn cases(run: impl Fn(StdRng)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("ANNALS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("ANNALS_CASES").unwrap_or(500)).map(|_| rand::rng().random()).collect(),
    };
    for seed in seeds {
        println!("ANNALS_SEED={seed}");
        run(StdRng::seed_from_u64(seed));
    }
}

/// Live, replayed, and from a snapshot at any event (between the events of a command, too) plus the tail.
#[test]
fn the_memory_is_a_function_of_the_events_alone() {
    cases(|mut random| {
        let (events, commands) = any_history(&mut random);
        let capacity = random.random_range(1..40);
        let mut live = CommandMemory::default();
        commands.iter().for_each(|command| live.push(*command, capacity));
        let from_events = replayed(CommandMemory::default(), &events, capacity);
        assert_eq!(from_events, live);

        let (before, tail) = events.split_at(random.random_range(0..=events.len()));
        let snapshot = replayed(CommandMemory::default(), before, capacity);
        let bytes = CodecId::Bincode.encode(&snapshot).unwrap();
        let from_snapshot = replayed(CodecId::Bincode.decode(&bytes).unwrap(), tail, capacity);
        assert_eq!(from_snapshot, live);
    });
}

#[test]
fn it_has_the_last_commands_and_the_creating_one() {
    cases(|mut random| {
        let (events, commands) = any_history(&mut random);
        let capacity = random.random_range(1..40);
        let memory = replayed(CommandMemory::default(), &events, capacity);
        for (at, command) in commands.iter().enumerate() {
            let known = at == 0 || at + capacity >= commands.len();
            assert_eq!(memory.find(command.command_id, capacity), known.then_some(command));
        }
        assert!(memory.latest.len() <= capacity);
        assert_eq!(memory.is_empty(), commands.is_empty());
    });
}

#[test]
fn a_capacity_of_zero_remembers_the_last_all_the_same() {
    let memory = replayed(CommandMemory::default(), &[event(1, 1, id(1), 0), event(2, 2, id(2), 0)], 0);
    assert!(memory.find(id(2), 1).is_some() && memory.find(id(1), 1).is_some());
    let again = replayed(memory, &[event(3, 3, id(2), 0)], 0);
    assert_eq!(again.find(id(2), 1).unwrap().events, 2, "the events of one command stay one command");
}

#[test]
fn a_receipt_says_that_it_is_a_repetition() {
    let memory = replayed(CommandMemory::default(), &[event(1, 5, id(1), 0), event(2, 6, id(1), 0)], 1);
    let receipt = memory.find(id(1), 1).unwrap().receipt();
    let expected = Receipt { version: Version(2), position: Some(Position(6)), events: 2, duplicate: true };
    assert_eq!(receipt, expected);
}

//! The power goes at every single call that a checkpoint, its truncation and scavenging make.

use std::path::Path;
use std::sync::Arc;

use annals_actors::{AggregateOptions, NodeOptions, Receipt, VirtualClock};
use annals_persistence::{CommandId, EmbeddedJournal, Position, SimVfs, Version};

use crate::act::SURVIVALS;
use crate::history::{Answer, Op};
use crate::life::{DIR, Life, Setup};
use crate::snapshots::Snapshots;
use crate::tally::Command;

const TURNS: usize = 400;

fn setup() -> Setup {
    Setup {
        options: NodeOptions { command_ids_max: 2, ..NodeOptions::default() },
        aggregate: AggregateOptions::default(),
        segment_bytes: 8192,
        polls: 1,
        clock: VirtualClock::default(),
        snapshots: Snapshots::default(),
    }
}

fn op(number: u32, times: u32) -> Op {
    let commands = vec![Command::Add { op: number, times }];
    Op { number, instance: 0, commands, id: CommandId::from_u128(u128::from(number) + 1), asked_before: 0 }
}

/// Lets everything come to its end; what was answered. With the power gone hardly anything is.
fn settle(life: &Life) -> Option<Answer> {
    for _ in 0..TURNS {
        life.run(1);
        life.drive();
    }
    life.hear().pop().map(|(_, answer)| answer)
}

fn sent(life: &Life, op: &Op) -> Option<Answer> {
    life.send(0, op, None);
    settle(life)
}

/// What somebody was told before the power went.
#[derive(Debug, Default)]
struct Told {
    created: Option<Receipt>,
    checkpoint: Option<Version>,
    last: Option<Receipt>,
}

const EVENTS: u32 = 40;

/// Makes an instance, a checkpoint that gives up its past, some more events, and scavenges. Answers what was told, and the call
/// that the checkpoint began with.
fn live(disk: &SimVfs) -> (Told, u64) {
    let life = Life::begin(&setup(), disk).unwrap();
    let mut told = Told::default();
    for number in 0..3 {
        match sent(&life, &op(number, EVENTS)) {
            Some(Answer::Done(receipt)) if number == 0 => told.created = Some(receipt),
            Some(Answer::Done(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    let begun = disk.calls();
    life.checkpoint(0, 0, Some(0));
    if let Some(Answer::Made(version)) = settle(&life) {
        told.checkpoint = Some(version);
    }
    if let Some(Answer::Done(receipt)) = sent(&life, &op(3, EVENTS)) {
        told.last = Some(receipt);
    }
    if !disk.crashed() {
        let scavenged = life.scavenge(Position(u64::MAX));
        assert!(disk.crashed() || scavenged.unwrap().events > 50, "there is a past to scavenge");
    }
    life.end();
    (told, begun)
}

fn check(disk: &SimVfs, told: &Told) {
    let life = Life::begin(&setup(), disk).unwrap();
    let version = life.version(0);
    let (truncated, last) = (version > Version(120), version > Version(121));
    assert!(told.checkpoint.is_none() || truncated, "{told:?}, and it is at {version}");
    assert!(told.last.is_none() || last, "{told:?}, and it is at {version}");
    let expected = setup_state(if last { 4 } else { 3 });
    life.read(0, 0);
    let Some(Answer::Saw(at, state)) = settle(&life) else { panic!("it cannot be read") };
    assert_eq!((at, &state), (version, &expected));
    // Its past is there whole or not at all, and the creating command is known either way.
    assert_eq!(life.state_at(0, Version(7)).is_ok(), !truncated);
    let repeated = sent(&life, &op(0, EVENTS));
    let created = told.created.map(|created| Receipt { duplicate: true, ..created });
    assert_eq!(repeated, created.map(Answer::Done));
    life.stop();
    life.close();
    let report = EmbeddedJournal::verify(Path::new(DIR), Arc::new(disk.clone()), |_| {}).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
}

fn setup_state(ops: u32) -> crate::tally::Tally {
    let all: Vec<_> = (0..ops).flat_map(|number| op(number, EVENTS).commands).collect();
    crate::tally::Tally::default().after(&all).unwrap()
}

#[test]
fn invariant_5_power_lost_at_any_call_of_a_checkpoint_or_of_scavenging_loses_nothing() {
    let whole = SimVfs::new();
    let (told, begun) = live(&whole);
    let calls = whole.calls();
    assert!(told.checkpoint.is_some() && told.last.is_some());
    check(&whole, &told);
    for call in begun..calls {
        let disk = SimVfs::new();
        disk.crash_at(call);
        let (told, _) = live(&disk);
        for survival in SURVIVALS {
            check(&disk.image(survival, call), &told);
        }
    }
    println!("the power went at each of {} calls", calls - begun);
}

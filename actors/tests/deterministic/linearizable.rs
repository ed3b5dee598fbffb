//! Histories of one instance: the search for an order takes them as they are, and refuses them with a lie in them.

use annals_persistence::Version;
use annals_persistence::conformance::{Operation, Seed, linearize, seeds};

use crate::history::{Answer, Call, Instance};
use crate::tally::Tally;
use crate::world::{Plan, Story, World};

const PLAN: Plan = Plan { attempts: 270, instances_max: 1 };

type Op = Operation<Call, Answer>;

/// With a read that tells of an older state than somebody had been told of before it was asked for.
fn stale_read(history: &[Op]) -> Option<Vec<Op>> {
    let saw = |op: &Op| match &op.answered {
        Some((at, Answer::Saw(version, state))) => Some((*at, *version, state.clone())),
        _ => None,
    };
    for (place, read) in history.iter().enumerate().filter(|(_, op)| saw(op).is_some()) {
        let earlier = history.iter().filter_map(saw).filter(|(at, ..)| *at < read.called);
        let (newest, oldest) = (earlier.clone().max_by_key(|e| e.1), earlier.min_by_key(|e| e.1));
        let (Some(newest), Some(oldest), Some((at, ..))) = (newest, oldest, saw(read)) else { continue };
        if oldest.1 < newest.1 {
            let mut spoiled = history.to_vec();
            spoiled[place].answered = Some((at, Answer::Saw(oldest.1, oldest.2)));
            return Some(spoiled);
        }
    }
    None
}

/// With an update that was told of the version that another one had got.
fn lost_update(history: &[Op]) -> Option<Vec<Op>> {
    let (lost, done) = history.iter().enumerate().find_map(|(place, op)| match &op.answered {
        Some((_, Answer::Done(receipt))) if receipt.events > 0 && !receipt.duplicate => {
            Some((place, receipt))
        }
        _ => None,
    })?;
    let mut spoiled = history.to_vec();
    let end = spoiled.iter().filter_map(|op| Some(op.answered.as_ref()?.0)).max()? + 1;
    let again = Answer::Done(*done);
    let Call::Do { commands, .. } = spoiled[lost].call.clone() else { return None };
    let call = Call::Do { op: u32::MAX, commands, expecting: None };
    spoiled.push(Operation { call, called: end, answered: Some((end + 1, again)) });
    Some(spoiled)
}

/// `ANNALS_HISTORIES` histories, each with crashes and eight clients.
#[test]
fn an_instance_does_one_thing_after_the_other_and_lies_are_noticed() {
    let seeds = seeds("ANNALS_HISTORIES", 20);
    let (mut operations, mut lives, mut stale, mut lost) = (0, 0, 0, 0);
    for seed in &seeds {
        let _told = Seed(*seed);
        // Telling it has looked for the order already.
        let Story { history, lives: lived, .. } = World::tell(*seed, PLAN);
        lives += lived;
        operations += history.len();
        if let Some(spoiled) = stale_read(&history) {
            assert!(linearize(&Instance, &spoiled).is_err(), "a stale read is not noticed");
            stale += 1;
        }
        if let Some(spoiled) = lost_update(&history) {
            assert!(linearize(&Instance, &spoiled).is_err(), "a lost update is not noticed");
            lost += 1;
        }
    }
    println!(
        "{} histories, {operations} operations, {lives} lives: linearizable; {stale} planted stale reads and {lost} \
         planted lost updates refused",
        seeds.len()
    );
    assert!(stale * 2 > seeds.len() && lost * 2 > seeds.len(), "too few lies could be planted");
}

#[test]
fn an_instance_that_was_never_there_is_told_from_one_that_was() {
    let read = |version, at| Operation {
        call: Call::Read,
        called: at,
        answered: Some((at, Answer::Saw(Version(version), Tally::default()))),
    };
    assert!(linearize(&Instance, &[read(0, 1)]).is_ok());
    assert!(linearize(&Instance, &[read(1, 1)]).is_err());
}

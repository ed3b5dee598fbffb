//! Many stories, none of which may break a promise.

use std::hash::{DefaultHasher, Hash, Hasher};

use annals_persistence::conformance::{Seed, seeds};

use crate::world::{Plan, World};

const PLAN: Plan = Plan { attempts: 120, instances_max: 4 };

/// `ANNALS_SEEDS` stories.
#[test]
fn whatever_happens_nothing_acknowledged_is_lost_and_nothing_is_invented() {
    let seeds = seeds("ANNALS_SEEDS", 150);
    let (mut attempts, mut answered, mut events, mut lives, mut calls) = (0, 0, 0, 0, 0);
    let (mut checkpoints, mut scavenged) = (0, 0);
    let mut traces = DefaultHasher::new();
    for seed in &seeds {
        let _told = Seed(*seed);
        let story = World::tell(*seed, PLAN);
        attempts += story.attempts.len();
        answered += story.attempts.iter().filter(|attempt| attempt.answer.is_some()).count();
        events += story.events;
        checkpoints += story.checkpoints;
        scavenged += story.scavenged;
        lives += story.lives;
        calls += story.calls;
        story.trace.hash(&mut traces);
    }
    println!(
        "{} seeds: {attempts} requests, {answered} answered, {events} events, {checkpoints} checkpoints, {scavenged} events \
         scavenged, {lives} lives, {calls} system calls; traces {:016x}",
        seeds.len(),
        traces.finish()
    );
    assert!(seeds.len() < 20 || checkpoints > 0 && scavenged > 0, "nothing was ever given up");
    assert!(answered > attempts / 2, "a story in which hardly anything is answered shows nothing");
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    for seed in seeds("ANNALS_TWICE", 10) {
        let _told = Seed(seed);
        let (first, second) = (World::tell(seed, PLAN).trace, World::tell(seed, PLAN).trace);
        let other = first.lines().zip(second.lines()).find(|(first, second)| first != second);
        assert_eq!(other, None);
        assert_eq!(first, second);
    }
}

#[test]
fn other_seeds_tell_other_stories() {
    assert_ne!(World::tell(1, PLAN).trace, World::tell(2, PLAN).trace);
}

//! Calls fail.

use std::ops::ControlFlow;
use std::path::Path;

use annals_persistence::{
    Batch, EventId, Expected, Journal, JournalHealth, Retention, ScavengeError, ScavengeOptions, SimVfs,
    SimulatedFault, StreamId, Survival,
};
use rand::rngs::StdRng;

use crate::check::holds;
use crate::support::{DIR, SURVIVALS, append, block_on, disk, event, number, open, seeds, with_seed};
use crate::workload::{Known, Submitted, work};

/// A workload in which one call fails.
fn failed(seed: u64, call: u64, fault: SimulatedFault) -> (SimVfs, Vec<Submitted>) {
    let disk = disk(seed + call);
    disk.fail_at(call, fault);
    let mut submitted = Vec::new();
    // A step makes more than one call.
    let steps = usize::try_from(call).unwrap() + 8;
    with_seed(seed, |mut random: StdRng| submitted = block_on(work(&disk, &mut random, steps)));
    assert!(disk.calls() >= call, "ANNALS_SEED={seed}: there was no call {call}");
    disk.heal();
    (disk, submitted)
}

/// `ANNALS_FAILURES` calls, the first, the second and so on, each failing once with an input or output error.
#[test]
fn a_call_that_fails_ends_the_acknowledgements_and_loses_none() {
    let wanted = number("ANNALS_FAILURES", 120);
    let seed = seeds().next().unwrap();
    for call in 1..=wanted {
        let (disk, submitted) = failed(seed, call, SimulatedFault::Io);
        let case = format!("ANNALS_SEED={seed}, call {call} fails");
        no_acknowledgement_after_the_first_failure(&submitted, &case);
        no_file_is_synced_again_after_it_failed(&disk, call, &case);
        for (survival, nth) in SURVIVALS.into_iter().zip(0..) {
            let case = format!("{case}, {survival:?} ({nth})");
            block_on(holds(&disk.image(survival, nth), &submitted, &case));
        }
        block_on(holds(&disk, &submitted, &format!("{case}, and the process ends")));
    }
}

fn no_acknowledgement_after_the_first_failure(submitted: &[Submitted], case: &str) {
    let mut outcomes =
        submitted.iter().map(|batch| &batch.outcome).skip_while(|known| **known != Known::Unknown);
    assert!(
        outcomes.all(|known| !matches!(known, Known::Appended(_))),
        "{case}: an acknowledgement after an outcome that is unknown"
    );
}

fn no_file_is_synced_again_after_it_failed(disk: &SimVfs, call: u64, case: &str) {
    let history = disk.history();
    let Some(failed) = history.get(call as usize - 1).filter(|call| call.starts_with("sync in")) else {
        return;
    };
    // Whoever opens the journal anew begins with files of its own, and so does a snapshot that is saved anew.
    let end = disk.openings().into_iter().find(|opened| *opened >= call).unwrap_or(history.len() as u64);
    let anew = failed.replace("sync in", "create");
    let mut later = history[call as usize..end as usize].iter().take_while(|later| **later != anew);
    let again = later.any(|later| later == failed);
    assert!(!again, "{case}: \"{failed}\" was tried again: {history:#?}");
}

/// `ANNALS_FAILURES` calls, each finding no space once.
#[test]
fn a_call_that_finds_no_space_loses_nothing() {
    let wanted = number("ANNALS_FAILURES", 120);
    let seed = seeds().next().unwrap();
    for call in 1..=wanted {
        let (disk, submitted) = failed(seed, call, SimulatedFault::NoSpace);
        for (survival, nth) in SURVIVALS.into_iter().zip(0..) {
            let case = format!("ANNALS_SEED={seed}, call {call} finds no space, {survival:?} ({nth})");
            block_on(holds(&disk.image(survival, nth), &submitted, &case));
        }
    }
}

fn event_of(bytes: usize) -> Batch {
    let event = event(EventId::generate(), "noted", vec![b'x'; bytes]);
    Batch::of(StreamId::aggregate("order", "1").unwrap(), Expected::Any, [event])
}

/// What is written to the segment before it, after another could not be made, is no damage when the power goes.
#[test]
fn a_segment_that_could_not_be_made_does_not_come_back() {
    // How many appends there were decides what a sync in vain leaves.
    (1..20).for_each(|before| block_on(no_space_after(before)));
}

async fn no_space_after(before: u64) {
    let disk = SimVfs::new();
    let journal = open(&disk).unwrap();
    let append = |bytes| append(&journal, event_of(bytes));
    for _ in 0..before {
        // Written and synced; then no segment can be made ahead.
        disk.fail_at(disk.calls() + 4, SimulatedFault::NoSpace);
        append(10).await.unwrap();
        assert!(disk.bytes(&Path::new(DIR).join("0000000002.log")).is_none(), "{:?}", disk.history());
    }
    // It is made, made long, and given its header: then there is no space for what was promised.
    disk.fail_at(disk.calls() + 4, SimulatedFault::NoSpace);
    assert_eq!(append(6000).await.unwrap_err().code(), "disk_full");
    // Room may have been made for it again, but nothing is in there.
    let second = disk.bytes(&Path::new(DIR).join("0000000002.log"));
    assert!(second.is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0)), "{:#?}", disk.history());
    append(10).await.unwrap();
    for seed in 0..20 {
        let opened = open(&disk.image(Survival::Prefix, seed)).expect("it opens");
        let info = opened.stream_info(&StreamId::aggregate("order", "1").unwrap()).await.unwrap();
        assert_eq!(info.unwrap().version.0, before + 1, "{before} appends, seed {seed}");
    }
}

/// A segment that was made ahead, and cannot be made as long as a group needs it, is there for the next group.
#[test]
fn a_segment_made_ahead_that_cannot_be_made_longer_stays() {
    let disk = SimVfs::new();
    let journal = open(&disk).unwrap();
    let append = |bytes| block_on(append(&journal, event_of(bytes)));
    append(10).unwrap();
    disk.fail_at(disk.calls() + 1, SimulatedFault::NoSpace);
    assert_eq!(append(6000).unwrap_err().code(), "disk_full");
    for _ in 0..40 {
        append(100).unwrap();
    }
    append(6000).unwrap();
    block_on(journal.close());
    for survival in SURVIVALS {
        let opened = open(&disk.image(survival, 1)).expect("it opens");
        assert_eq!(opened.durable().borrow().position.0, 42, "{survival:?}");
    }
}

/// Where scavenging finds no space, either nothing of it is left and all goes on, or the log takes no more appends.
#[test]
fn scavenging_without_space_leaves_nothing_or_ends_the_writing() {
    let mut said = Vec::new();
    for call in 1..=40 {
        let disk = SimVfs::new();
        let journal = open(&disk).unwrap();
        let noise = StreamId::internal("noise").unwrap();
        let append = |batch| block_on(append(&journal, batch));
        for _ in 0..30 {
            let Batch { streams, .. } = event_of(600);
            append(Batch::of(noise.clone(), Expected::Any, streams[0].events.clone())).unwrap();
        }
        let newest = Retention { max_count: Some(1), ..Retention::default() };
        append(Batch::default().retaining(noise.clone(), newest)).unwrap();
        disk.fail_at(disk.calls() + call, SimulatedFault::NoSpace);
        let below = journal.durable().borrow().position.next();
        let scavenged = journal.scavenge(&ScavengeOptions::below(below), |_| ControlFlow::Continue(()));
        let case = format!("call {call}: {scavenged:?}");
        said.push(scavenged.as_ref().err().map_or("done", ScavengeError::code));
        match scavenged {
            Ok(_) | Err(ScavengeError::NoSpace { .. }) => {
                let remains = |number: u32| Path::new(DIR).join(format!("{number:010}.log.new"));
                assert!((1..9).all(|number| disk.bytes(&remains(number)).is_none()), "{case}");
                disk.heal();
                append(event_of(10)).unwrap_or_else(|error| panic!("{case}: {error}"));
            }
            Err(_) => assert!(matches!(journal.health(), JournalHealth::Poisoned { .. }), "{case}"),
        }
    }
    for outcome in ["done", "disk_full", "journal_unwritable"] {
        assert!(said.contains(&outcome), "none of the calls came to \"{outcome}\": {said:?}");
    }
}

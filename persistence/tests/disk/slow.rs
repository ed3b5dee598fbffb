//! Syncs that take their time: what comes meanwhile waits for a sync of its own, and nothing else waits.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use annals_persistence::{
    Batch, EmbeddedJournal, EmbeddedOptions, EventId, Expected, Journal, JournalExt, SimVfs, SnapshotStore,
    StreamId, Survival, Ticket, Version,
};
use futures_util::FutureExt;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::check::everything;
use crate::states::{Folded, snapshots};
use crate::support::{DIR, block_on, dynamic, event, open, seeds};

const BATCHES: u128 = 300;
const PATIENCE: Duration = Duration::from_secs(60);

fn order() -> StreamId {
    StreamId::aggregate("order", "1").unwrap()
}

fn batch(id: u128, bytes: usize) -> Batch {
    Batch::of(order(), Expected::Any, [event(EventId::from_u128(id), "noted", vec![b'x'; bytes])])
}

/// Who appends while syncs last. The batches are numbered from 1.
struct Appending {
    disk: SimVfs,
    random: StdRng,
    submitted: u128,
    waiting: Vec<Ticket>,
    answered: usize,
    /// The most that were answered from one look to the next.
    most: usize,
}

impl Appending {
    fn append(&mut self, journal: &Arc<EmbeddedJournal>) {
        for _ in 0..self.random.random_range(0..4) {
            self.submitted += 1;
            let batch = batch(self.submitted, self.random.random_range(0..1500));
            self.waiting.push(dynamic(journal).append(batch));
        }
    }

    /// Whatever was answered is durable, also where the power goes now.
    fn look(&mut self, case: &str) {
        let before = self.waiting.len();
        self.waiting.retain_mut(|ticket| ticket.now_or_never().map(Result::unwrap).is_none());
        let answered = before - self.waiting.len();
        (self.answered, self.most) = (self.answered + answered, self.most.max(answered));
        let after = open(&self.disk.image(Survival::Nothing, 1)).unwrap();
        let durable = block_on(everything(&after));
        let ids = durable.iter().map(|event| event.id);
        assert!(ids.eq((1..).map(EventId::from_u128).take(durable.len())), "{case}: {durable:?}");
        assert!(self.answered <= durable.len(), "{case}: {} answered, {durable:?}", self.answered);
    }
}

#[test]
fn what_comes_while_a_group_is_synced_is_answered_when_it_is_durable_itself() {
    let seed = seeds().next().unwrap();
    let case = format!("ANNALS_SEED={seed}");
    let disk = SimVfs::new();
    let journal = open(&disk).unwrap();
    let appending = Arc::new(Mutex::new(Appending {
        disk: disk.clone(),
        random: StdRng::seed_from_u64(seed),
        submitted: 0,
        waiting: Vec::new(),
        answered: 0,
        most: 0,
    }));
    disk.sync_slowly({
        let (appending, journal, case) = (Arc::clone(&appending), Arc::clone(&journal), case.clone());
        move |_| {
            let mut appending = appending.lock();
            appending.look(&case);
            appending.append(&journal);
        }
    });
    while appending.lock().submitted < BATCHES {
        appending.lock().append(&journal);
        journal.drive();
    }
    disk.heal();
    block_on(journal.close());
    let mut appending = appending.lock();
    appending.look(&case);
    assert_eq!(appending.answered as u128, appending.submitted, "{case}: all of them are answered");
    assert!(appending.most > 3, "{case}: what comes during a sync is one group with the rest");
}

/// A disk whose syncs of the log last until they are told to end, and say when they begin.
fn held() -> (SimVfs, Receiver<()>, Sender<()>) {
    let ((began, begun), (go, going)) = (channel(), channel());
    let (disk, going) = (SimVfs::new(), Mutex::new(going));
    disk.sync_slowly(move |path| {
        if path.extension().is_some_and(|extension| extension == "log") && began.send(()).is_ok() {
            // Whoever holds it up no more is gone.
            let _: Result<(), _> = going.lock().recv();
        }
    });
    (disk, begun, go)
}

#[test]
fn a_slow_sync_holds_up_the_answers_behind_it_and_nobody_else() {
    let (disk, begun, go) = held();
    let options = EmbeddedOptions { vfs: Arc::new(disk.clone()), ..EmbeddedOptions::default() };
    let opening = std::thread::spawn(move || EmbeddedJournal::open(Path::new(DIR), options).unwrap());
    while !opening.is_finished() {
        if begun.recv_timeout(Duration::from_millis(1)).is_ok() {
            go.send(()).unwrap();
        }
    }
    let journal = Arc::new(opening.join().unwrap());
    let mut first = dynamic(&journal).append(batch(1, 100));
    begun.recv_timeout(PATIENCE).expect("a sync of the first");
    let mut others: Vec<_> = (2..=100).map(|id| dynamic(&journal).append(batch(id, 100))).collect();
    // Others use the disk, and the log can be read as far as it is durable.
    let (stream, state) = (StreamId::aggregate("other", "1").unwrap(), Folded::of(&[EventId::from_u128(1)]));
    let store = snapshots(&disk);
    store.save(&stream, &state.snapshot(journal.id()).unwrap());
    assert_eq!(store.load(&stream)[0].version, Version(1));
    assert_eq!(block_on(everything(&journal)), []);
    assert!((&mut first).now_or_never().is_none(), "it is not durable");
    go.send(()).unwrap();
    block_on(first).unwrap();
    begun.recv_timeout(PATIENCE).expect("a sync of the others");
    assert_eq!(block_on(everything(&journal)).len(), 1);
    assert!(others.iter_mut().all(|ticket| ticket.now_or_never().is_none()), "they are not durable");
    go.send(()).unwrap();
    for ticket in others {
        block_on(ticket).unwrap();
    }
    assert!(begun.try_recv().is_err(), "what had to wait is one group");
    drop((begun, go));
    block_on(journal.close());
    let after = open(&disk.image(Survival::Nothing, 1)).unwrap();
    assert_eq!(block_on(everything(&after)).len(), 100);
}

//! The power goes while the writer, the keeper and the scavenger work side by side, each on the thread that it has in
//! production: what the other suites cannot see, which drive all of it by hand, is what one of them does between two calls of
//! another.
//!
//! A seed leads to the same choices again: what is appended, who is held up, and at which call the power goes. It does not lead
//! to the same schedule, which is the system's, and so not always to the same end. What there is to be looked at of a case that
//! failed is therefore kept: the disk as it was found, and who had called what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use annals_persistence::{
    Batch, EventId, Expected, Journal, JournalExt, NewEvent, Position, Scavenger, ScavengerOptions, SimVfs,
    StreamId, Survival, Vfs,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;

use crate::check::{Gaps, holds_with};
use crate::states::{Found, SNAPSHOTS};
use crate::support::{DIR, SURVIVALS, block_on, disk, dynamic, event, number, open, open_threaded, seeds};
use crate::workload::{Node, Submitted};

const STEPS: usize = 24;
/// About how many calls that takes.
const CALLS: u64 = 500;

const WRITER: &str = "annals-journal";
const KEEPER: &str = "annals-keeper";
const SCAVENGER: &str = "scavenger";
const THREADS: [&str; 3] = [WRITER, KEEPER, SCAVENGER];

/// What calls begin and end with at which, or soon after, the power goes in most cases: they are few of all calls, and with each
/// one thing takes another's place. A segment that is created has not been made ahead.
const TURNS: [(&str, &str); 6] = [
    ("create /journal/", ".log"),
    ("rename /journal/spare ", ".log"),
    ("rename /journal/0", ".log"),
    ("rename /journal/0", ".idx"),
    ("rename /journal/0", ".tbl"),
    ("set length ", ""),
];

/// One in so many seeds lasts until the keeper notes how far the log goes, which it does once a second.
const MARKED_EVERY: u64 = 32;
const MARK: (&str, &str) = ("write ", " in /journal/watermark");
/// How long whoever waits for that waits between two bursts; so many of them are far longer than a second.
const PACE: Duration = Duration::from_millis(20);
const PACED_STEPS: usize = 1000;

/// How long it is waited for what must come; and, where nobody knows that it does not, for what must not.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(10);

/// `ANNALS_THREADS` losses of power, each with eight images.
#[test]
fn power_lost_under_threads_loses_nothing_that_was_acknowledged_or_shown_and_invents_nothing() {
    let wanted = number("ANNALS_THREADS", 64);
    let (mut crashes, mut found, mut callers) = (0, Found::default(), BTreeMap::<&str, u64>::new());
    for (seed, nth) in seeds().zip(1..) {
        assert!(nth < 16 * wanted, "{crashes} losses of power, at calls of {callers:?}");
        let run = Run::of(seed);
        // Some workloads end before.
        let Some(caller) = run.crashed_by() else { continue };
        for (survival, nth) in SURVIVALS.into_iter().zip(0..) {
            found += run.holds(survival, nth);
        }
        crashes += 1;
        *callers.entry(caller).or_default() += 1;
        let all = THREADS.into_iter().all(|caller| callers.contains_key(caller));
        if crashes >= wanted && (all || wanted < 64) {
            println!(
                "{crashes} losses of power, {} recoveries, {found:?}, at calls of {callers:?}",
                8 * crashes
            );
            return;
        }
    }
}

/// What came of a case.
struct Run {
    seed: u64,
    disk: SimVfs,
    submitted: Vec<Submitted>,
    /// How far readers were told that the log goes.
    shown: Position,
}

impl Run {
    fn of(seed: u64) -> Self {
        let (disk, marked) = (disk(seed), seed.is_multiple_of(MARKED_EVERY));
        let mut random = StdRng::seed_from_u64(seed);
        let until = marked.then(|| Arc::new(Notify::new()));
        match &until {
            Some(marked) => power_goes_with_a_mark(&disk, &mut random, marked),
            None if random.random_ratio(2, 3) => power_goes_at_a_turn(&disk, &mut random),
            None => power_goes(&disk, &mut random),
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .thread_name(SCAVENGER)
            .build()
            .unwrap();
        let (submitted, shown) = runtime.block_on(work(&disk, &mut random, until.as_deref()));
        // Whoever works yet is waited for.
        drop(runtime);
        // What is done before calls has the disk, which would have it for ever.
        disk.heal();
        assert!(!marked || disk.crashed(), "ANNALS_SEED={seed}: it was never noted how far the log goes");
        Self { seed, disk, submitted, shown }
    }

    /// Whose call it was; `None` where it all ended before that.
    fn crashed_by(&self) -> Option<&'static str> {
        let caller = self.disk.callers().pop().filter(|_| self.disk.crashed())?;
        Some(THREADS.into_iter().find(|known| caller == *known).unwrap_or("the others"))
    }

    fn holds(&self, survival: Survival, nth: u64) -> Found {
        let case = format!(
            "ANNALS_SEED={}, power lost at call {}, {survival:?} ({nth})",
            self.seed,
            self.disk.calls()
        );
        let image = self.disk.image(survival, nth);
        let _kept = KeptIfItFails { run: self, survival, nth };
        let found = block_on(holds_with(&image, &self.submitted, Gaps::BetweenSegments, &case));
        let end = open(&image).unwrap().durable().borrow().position;
        assert!(end >= self.shown, "{case}: position {} was shown, and the log ends with {end}", self.shown);
        found
    }
}

/// Takes the power away at some call, and holds threads up on their way there.
fn power_goes(disk: &SimVfs, random: &mut StdRng) {
    disk.crash_at(random.random_range(1..=CALLS));
    let hold_up = holding_up(random);
    disk.before_calls(move |_| hold_up.now());
}

/// The same at a call of some kind, or soon after it.
fn power_goes_at_a_turn(disk: &SimVfs, random: &mut StdRng) {
    let turn = TURNS[random.random_range(0..TURNS.len())];
    let (skipped, after) = (random.random_range(0..5), random.random_range(0..10));
    power_goes_behind(disk, random, (turn, skipped, after), || {});
}

/// The same some calls after the keeper has begun to note how far the log goes, of which it is told.
fn power_goes_with_a_mark(disk: &SimVfs, random: &mut StdRng, told: &Arc<Notify>) {
    let (told, after) = (Arc::clone(told), random.random_range(0..40));
    power_goes_behind(disk, random, (MARK, 0, after), move || told.notify_one());
}

/// The same so many calls after one of this kind, in front of which there were so many others of it, and does this at that.
fn power_goes_behind(
    disk: &SimVfs,
    random: &mut StdRng,
    ((first, last), skipped, after): ((&'static str, &'static str), u64, u64),
    then: impl Fn() + Send + Sync + 'static,
) {
    let (hold_up, seen, own) = (holding_up(random), AtomicU64::new(0), disk.clone());
    disk.before_calls(move |call| {
        let is_it = call.starts_with(first) && call.ends_with(last);
        if is_it && seen.fetch_add(1, Ordering::Relaxed) == skipped {
            own.crash_at(own.calls() + 1 + after);
            // Twice: slower than the slow ones.
            hold_up.slow.lock().extend([caller(), caller()]);
            then();
        }
        hold_up.now();
    });
}

/// Holds threads up now and then, and some of them, or none, most of the time.
struct HoldUp {
    slow: Mutex<Vec<String>>,
    random: Mutex<StdRng>,
}

fn holding_up(random: &mut StdRng) -> HoldUp {
    let slow = THREADS.into_iter().filter(|_| random.random()).map(str::to_owned).collect();
    HoldUp { slow: Mutex::new(slow), random: Mutex::new(StdRng::seed_from_u64(random.random())) }
}

impl HoldUp {
    fn now(&self) {
        let slow = self.slow.lock().iter().filter(|name| **name == caller()).count();
        // From a turn on the one that has taken it is the slowest, so that the others pass it.
        let (often, most) = [(0.1, 60), (0.5, 600), (1.0, 1500)][slow.min(2)];
        let pause = {
            let mut random = self.random.lock();
            random.random_bool(often).then(|| random.random_range(0..most))
        };
        if let Some(pause) = pause {
            thread::sleep(Duration::from_micros(pause));
        }
    }
}

fn caller() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

/// Works on a journal as long as its disk works, or there is something to do: until it is told, where it is `paced`. Answers
/// all that was submitted, and how far the log was shown.
async fn work(disk: &SimVfs, random: &mut StdRng, paced: Option<&Notify>) -> (Vec<Submitted>, Position) {
    let mut shown = Position::START;
    let Some(mut node) = Node::start(disk, open_threaded) else { return (Vec::new(), shown) };
    let mut scavenger = scavenger_of(&node);
    let (steps, mut paced) = (if paced.is_some() { PACED_STEPS } else { STEPS }, paced);
    for _ in 0..steps {
        // Closing is when it is noted how far the log goes, too.
        if paced.is_none() && random.random_ratio(1, 12) {
            scavenger.stop().await;
            drop(scavenger);
            match node.restart(disk).await {
                Ok(again) => node = again,
                Err(all) => return (all, shown),
            }
            scavenger = scavenger_of(&node);
        }
        let goes_on = node.burst(random).await && (random.random_ratio(2, 3) || node.save(random).await);
        shown = node.journal.durable().borrow().position;
        if !goes_on {
            break;
        }
        if let Some(told) = paced
            && tokio::time::timeout(PACE, told.notified()).await.is_ok()
        {
            paced = None;
        }
    }
    scavenger.stop().await;
    (node.stop().await, shown)
}

/// One that hardly ever rests.
fn scavenger_of(node: &Node) -> Scavenger {
    let options = ScavengerOptions {
        first_after: Duration::ZERO,
        every: Duration::from_millis(1),
        percent_min: 0,
        duty_percent: 100,
        ..ScavengerOptions::default()
    };
    Scavenger::start(Arc::clone(&node.journal), options)
}

/// Where its test fails: writes down the disk as it was found, and who had called what.
struct KeptIfItFails<'a> {
    run: &'a Run,
    survival: Survival,
    nth: u64,
}

impl Drop for KeptIfItFails<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let home =
            std::env::temp_dir().join(format!("annals-threads-{}-{}", std::process::id(), self.run.seed));
        match self.keep(&home) {
            Ok(()) => eprintln!("what there is to be looked at is in {}", home.display()),
            Err(error) => eprintln!("nothing could be kept in {}: {error}", home.display()),
        }
    }
}

impl KeptIfItFails<'_> {
    fn keep(&self, home: &Path) -> io::Result<()> {
        let image = self.run.disk.image(self.survival, self.nth);
        for dir in [DIR, SNAPSHOTS] {
            let kept = home.join(dir.trim_start_matches('/'));
            fs::create_dir_all(&kept)?;
            for name in image.list(Path::new(dir)).unwrap_or_default() {
                let bytes = image.bytes(&Path::new(dir).join(&name)).unwrap_or_default();
                fs::write(kept.join(name), bytes)?;
            }
        }
        fs::write(home.join("calls"), self.calls())?;
        fs::write(home.join("submitted"), format!("{:#?}\n", self.run.submitted))
    }

    fn calls(&self) -> String {
        let (calls, callers) = (self.run.disk.history(), self.run.disk.callers());
        calls
            .iter()
            .zip(callers)
            .zip(1..)
            .map(|((call, caller), nth)| format!("{nth} {caller}: {call}\n"))
            .collect()
    }
}

/// The keeper makes a file ahead while the writer, who cannot wait for it, makes the next segment. Were the keeper's named before
/// the writer's is used, and the power went, there would be two behind a segment that is not sealed.
#[test]
fn no_file_is_named_behind_a_segment_that_is_not_used_yet() {
    let disk = SimVfs::new();
    let (own, made) = (disk.clone(), |disk: &SimVfs, number| disk.bytes(&segment(number)).is_some());
    let (at_work, named_early) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
    let (keeper, named) = (Arc::clone(&at_work), Arc::clone(&named_early));
    disk.before_calls(move |call| {
        let is_seal = caller() == WRITER && call.starts_with("write 64 bytes");
        if caller() == KEEPER && call == "sync in /journal/spare" {
            keeper.lock().get_or_insert_with(Task::own);
            wait_until(PATIENCE, || made(&own, 2));
        } else if is_seal && named.lock().is_none() {
            // In vain: the keeper waits for the seal.
            let task = keeper.lock().take().expect("the keeper has begun");
            wait_until(PAUSE, || made(&own, 3) || task.waits());
            *named.lock() = Some(made(&own, 3));
        }
    });
    let journal = open_threaded(&disk).unwrap();
    let batch = |bytes| Batch::of(StreamId::internal("note").unwrap(), Expected::Any, [note(bytes)]);
    block_on(dynamic(&journal).append(batch(1000))).unwrap();
    assert!(wait_until(PATIENCE, || at_work.lock().is_some()), "it is made ahead: {:#?}", disk.history());
    block_on(dynamic(&journal).append(batch(6000))).unwrap();
    assert!(wait_until(PATIENCE, || made(&disk, 3)), "it is named in the end: {:#?}", disk.history());
    assert_eq!(*named_early.lock(), Some(false), "{:#?}", disk.history());
    block_on(journal.close());
    disk.heal();
}

/// A thread, as Linux tells of it; elsewhere nobody knows what it does.
struct Task(PathBuf);

impl Task {
    fn own() -> Self {
        Self(Path::new("/proc").join(fs::read_link("/proc/thread-self").unwrap_or_default()))
    }

    /// Whether it waits for somebody, and not just for a moment: one that could go on, and is not let, does not.
    fn waits(&self) -> bool {
        (0..100).all(|_| {
            thread::sleep(Duration::from_micros(500));
            self.sleeps()
        })
    }

    /// The state stands behind the name, which stands in brackets.
    fn sleeps(&self) -> bool {
        let stat = fs::read_to_string(self.0.join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|behind| behind.trim_start().starts_with('S'))
    }
}

fn segment(number: u32) -> PathBuf {
    Path::new(DIR).join(format!("{number:010}.log"))
}

fn note(bytes: usize) -> NewEvent {
    event(EventId::generate(), "noted", vec![b'x'; bytes])
}

/// Whether it came to be so in this time.
fn wait_until(most: Duration, is_so: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() && begun.elapsed() < most {
        thread::yield_now();
    }
    is_so()
}

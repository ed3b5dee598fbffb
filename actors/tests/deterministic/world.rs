//! All that a seed decides over, step after step, and the trace of it.

use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::time::Duration;

use annals_actors::{AggregateOptions, CheckpointPolicy, NodeOptions, VirtualClock};
use annals_persistence::conformance::Operation;
use annals_persistence::{CommandId, SimVfs, Version};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::check::Seen;
use crate::history::{Answer, Attempt, Call, Op};
use crate::life::{Life, Setup};
use crate::snapshots::Snapshots;

/// How many requests are open at most.
const CLIENTS: usize = 8;

/// What kind of story a seed is to tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How many times something is asked for.
    pub(crate) attempts: usize,
    pub(crate) instances_max: usize,
}

/// What came of it.
pub(crate) struct Story {
    pub(crate) trace: String,
    pub(crate) attempts: Vec<Attempt>,
    /// Of the first instance.
    pub(crate) history: Vec<Operation<Call, Answer>>,
    pub(crate) events: usize,
    pub(crate) checkpoints: usize,
    /// How many events were given up, and their space with them.
    pub(crate) scavenged: u64,
    pub(crate) lives: u32,
    pub(crate) calls: usize,
}

pub(crate) struct World {
    pub(crate) random: StdRng,
    pub(crate) setup: Setup,
    pub(crate) disk: SimVfs,
    life: Option<Life>,
    pub(crate) lives: u32,
    pub(crate) now: u64,
    pub(crate) instances: usize,
    pub(crate) ops: Vec<Op>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) open: usize,
    /// What was read from the log so far.
    pub(crate) seen: Seen,
    pub(crate) scavenged: u64,
    pub(crate) trace: String,
    /// How many system calls of this disk the trace has, and how many there were in all.
    traced: usize,
    calls: usize,
}

impl World {
    /// Tells the story of a seed, to its end; panics when anything in it must not be.
    pub(crate) fn tell(seed: u64, plan: Plan) -> Story {
        let mut random = StdRng::seed_from_u64(seed);
        let (setup, disk) = (setup(&mut random), SimVfs::new());
        let mut world = Self {
            life: Some(Life::begin(&setup, &disk).unwrap()),
            instances: random.random_range(1..=plan.instances_max),
            random,
            setup,
            disk,
            lives: 1,
            now: 0,
            ops: Vec::new(),
            attempts: Vec::new(),
            open: 0,
            seen: Seen::default(),
            scavenged: 0,
            trace: String::new(),
            traced: 0,
            calls: 0,
        };
        while world.attempts.len() < plan.attempts {
            world.step();
        }
        world.finish();
        world.check_answers();
        Story {
            calls: world.calls,
            lives: world.lives,
            history: world.history(0),
            events: world.seen.len(),
            checkpoints: world.seen.checkpoints(),
            scavenged: world.scavenged,
            trace: std::mem::take(&mut world.trace),
            attempts: std::mem::take(&mut world.attempts),
        }
    }

    fn step(&mut self) {
        self.now += 1;
        self.act();
        let turns = self.random.random_range(0..4);
        self.life().run(turns);
        self.hear();
        self.repair();
    }

    /// Takes in what was answered, and what was done to the disk.
    pub(crate) fn hear(&mut self) {
        for (attempt, answer) in self.life().hear() {
            self.say(format_args!("attempt {attempt}: {answer:?}"));
            self.check_answer(attempt, &answer);
            self.attempts[attempt].answer = Some((self.now, answer));
            self.open -= 1;
        }
        let history = self.disk.history();
        for call in &history[self.traced..] {
            self.say(format_args!("disk: {call}"));
        }
        self.calls += history.len() - self.traced;
        self.traced = history.len();
    }

    pub(crate) fn say(&mut self, what: std::fmt::Arguments<'_>) {
        writeln!(self.trace, "{}: {what}", self.now).unwrap();
    }

    pub(crate) fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.open < CLIENTS
    }

    /// Another life begins, on this disk; what was open is never answered.
    pub(crate) fn begin_again(&mut self, disk: SimVfs) {
        let snapshots = &self.setup.snapshots;
        match self.random.random_range(0..6) {
            0 => snapshots.lose_all(),
            1 => snapshots.turn_back(),
            _ => {}
        }
        if let Some(life) = self.life.take() {
            // The snapshots that its end still hands over are ahead of a disk that lost power, and must be doubted.
            life.end();
        }
        self.disk = disk;
        self.life = Some(self.recovered());
        self.lives += 1;
        self.open = 0;
        let lives = self.lives;
        self.say(format_args!("life {lives} begins"));
        self.traced = 0;
        self.hear();
        self.check_log();
    }

    /// Opens the journal and starts the node, a second time where the disk fails over it or the power goes.
    fn recovered(&mut self) -> Life {
        let begun = Life::begin(&self.setup, &self.disk);
        if let Err(error) = &begun {
            self.say(format_args!("the life does not begin: {error}"));
            if self.disk.crashed() {
                self.disk = self.power_lost();
            }
            self.disk.heal();
            return Life::begin(&self.setup, &self.disk).unwrap();
        }
        begun.unwrap()
    }

    /// The version that an instance was last told to have.
    pub(crate) fn last_version(&self, instance: usize) -> Version {
        let told = self.attempts.iter().rev().filter(|attempt| attempt.instance == instance);
        let version = told.filter_map(|attempt| match attempt.answer.as_ref()?.1 {
            Answer::Done(receipt) => Some(receipt.version),
            Answer::Made(version) => Some(version),
            Answer::Saw(version, _) | Answer::Conflict { actual: version, .. } => Some(version),
            _ => None,
        });
        version.take(3).max().unwrap_or(Version::NONE)
    }
}

fn setup(random: &mut StdRng) -> Setup {
    let options = NodeOptions {
        mailbox_capacity: [2, 5, 100][random.random_range(0..3)],
        command_ids_max: [3, 8, 256][random.random_range(0..3)],
        snapshot_every_events: random.random_range(1..12),
        snapshot_on_passivation_events: random.random_range(1..6),
        passivate_after: Duration::from_secs(random.random_range(1..10)),
        live_instances_max: random.random_range(1..5),
        recoveries_max: random.random_range(1..3),
        ..NodeOptions::default()
    };
    let policy = CheckpointPolicy {
        every_events: NonZeroU64::new(random.random_range(3..20)).unwrap(),
        keep_events: [None, Some(0), Some(4)][random.random_range(0..3)],
    };
    Setup {
        options,
        aggregate: AggregateOptions { checkpoints: random.random_ratio(1, 3).then_some(policy) },
        segment_bytes: [8192, 8192, 65_536][random.random_range(0..3)],
        polls: random.random_range(1..12),
        clock: VirtualClock::default(),
        snapshots: Snapshots::default(),
    }
}

/// An id that the seed gives.
pub(crate) fn command_id(random: &mut StdRng) -> CommandId {
    CommandId::from_u128(random.random())
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines: Vec<_> = self.trace.lines().collect();
            println!("the end of the trace:\n{}", lines[lines.len().saturating_sub(120)..].join("\n"));
        }
    }
}

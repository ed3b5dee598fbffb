//! What can happen in a step.

use std::time::Duration;

use annals_persistence::{SimVfs, SimulatedFault, Survival, Version};
use rand::Rng;

use crate::history::{Answer, Attempt, Call, Op};
use crate::tally::Command;
use crate::world::{World, command_id};

pub(crate) const SURVIVALS: [Survival; 5] = [
    Survival::Nothing,
    Survival::Everything,
    Survival::Prefix,
    Survival::Sectors(512),
    Survival::Sectors(4096),
];

/// More turns than anything needs.
const TURNS_MAX: usize = 20_000;

impl World {
    pub(crate) fn act(&mut self) {
        match self.random.random_range(0..1000) {
            0..300 => self.ask(),
            300..320 => self.checkpoint(),
            320..440 => self.ask_again(),
            440..570 => self.read(),
            570..840 => {
                let wrote = self.life().drive();
                self.say(format_args!("the journal is driven: {wrote}"));
            }
            840..890 => self.pass_time(),
            890..940 => {
                let count = self.setup.snapshots.settle();
                self.say(format_args!("{count} snapshots are written"));
            }
            940..955 => self.setup.snapshots.remember(),
            955..963 => self.fail_soon(),
            963..968 => {
                let call = self.disk.calls() + self.random.random_range(1..12);
                self.say(format_args!("the power will go at call {call}"));
                self.disk.crash_at(call);
            }
            968..973 => self.lose_power(),
            973..978 => self.stop(),
            978..982 => self.drop_all(),
            982..990 => self.scavenge(),
            _ => self.check_log(),
        }
    }

    /// A client asks for something new.
    fn ask(&mut self) {
        if !self.has_room() {
            return;
        }
        let (number, instance) = (self.ops.len() as u32, self.random.random_range(0..self.instances));
        let asked_before = self.asked(instance);
        let (commands, id) = (self.commands(number), command_id(&mut self.random));
        self.ops.push(Op { number, instance, commands, id, asked_before });
        self.attempt(number as usize);
    }

    fn asked(&self, instance: usize) -> usize {
        self.attempts.iter().filter(|attempt| attempt.instance == instance).count()
    }

    fn commands(&mut self, op: u32) -> Vec<Command> {
        let random = &mut self.random;
        match random.random_range(0..20) {
            0 => vec![Command::Panic { op }],
            1 => vec![Command::Add { op, times: 0 }],
            2..6 => vec![Command::Careful { op }],
            6..9 => vec![Command::Add { op, times: 1 }, Command::Careful { op }],
            9 => vec![Command::Add { op, times: 40 }],
            _ => vec![Command::Add { op, times: random.random_range(1..4) }],
        }
    }

    /// A client repeats itself, whatever it was answered: also while the first is under way. Only as long as the instance
    /// must remember.
    fn ask_again(&mut self) {
        if !self.has_room() || self.ops.is_empty() {
            return;
        }
        let recent = self.ops.len().saturating_sub(6);
        let op = self.random.random_range(recent..self.ops.len());
        let Op { instance, asked_before, .. } = self.ops[op];
        if self.asked(instance) - asked_before < self.setup.options.command_ids_max {
            self.attempt(op);
        }
    }

    fn attempt(&mut self, op: usize) {
        let Op { instance, number, ref commands, .. } = self.ops[op];
        let commands = commands.clone();
        let expecting = self.expecting(instance);
        let (attempt, call) = (self.attempts.len(), Call::Do { op: number, commands, expecting });
        self.say(format_args!("attempt {attempt} at {instance}: {call:?}"));
        self.life().send(attempt, &self.ops[op], expecting);
        self.asked_for(instance, call);
    }

    /// What a client expects: nothing, or what was last heard, which may be old by now.
    fn expecting(&mut self, instance: usize) -> Option<Version> {
        let last = self.last_version(instance);
        match self.random.random_range(0..6) {
            0 => Some(last),
            1 => Some(last.next()),
            _ => None,
        }
    }

    fn asked_for(&mut self, instance: usize, call: Call) {
        self.attempts.push(Attempt { instance, call, at: self.now, answer: None });
        self.open += 1;
    }

    fn read(&mut self) {
        if !self.has_room() {
            return;
        }
        let (attempt, instance) = (self.attempts.len(), self.random.random_range(0..self.instances));
        self.say(format_args!("attempt {attempt}: reads {instance}"));
        self.life().read(attempt, instance);
        self.asked_for(instance, Call::Read);
    }

    /// Somebody wants an instance's past to be given up, or some of it, or none.
    fn checkpoint(&mut self) {
        if !self.has_room() {
            return;
        }
        let (attempt, instance) = (self.attempts.len(), self.random.random_range(0..self.instances));
        let keep = [None, Some(0), Some(0), Some(3)][self.random.random_range(0..4)];
        self.say(format_args!("attempt {attempt}: a checkpoint of {instance} that keeps {keep:?}"));
        self.life().checkpoint(attempt, instance, keep);
        self.asked_for(instance, Call::Checkpoint);
    }

    /// The space of what was given up is given back, as far as the log was looked at.
    fn scavenge(&mut self) {
        if self.disk.crashed() {
            return;
        }
        self.check_log();
        let scavenged = self.life().scavenge(self.seen.end());
        match scavenged {
            Ok(progress) => {
                self.scavenged += progress.events;
                self.say(format_args!("{} events are scavenged", progress.events));
            }
            Err(error) => self.say(format_args!("scavenging ends early: {error}")),
        }
        self.check_log();
    }

    fn pass_time(&mut self) {
        let passed = Duration::from_millis([1, 300, 3000, 20_000][self.random.random_range(0..4)]);
        self.say(format_args!("{passed:?} pass"));
        self.setup.clock.advance(passed);
    }

    fn fail_soon(&mut self) {
        let call = self.disk.calls() + self.random.random_range(1..5);
        let fault = [SimulatedFault::Io, SimulatedFault::NoSpace][self.random.random_range(0..2)];
        self.say(format_args!("call {call} will fail: {fault:?}"));
        self.disk.fail_at(call, fault);
    }

    /// What an operator, or a power supply, does sooner or later.
    pub(crate) fn repair(&mut self) {
        if self.disk.crashed() {
            if self.random.random_ratio(1, 2) {
                self.lose_power();
            }
        } else if self.life().is_poisoned() && self.random.random_ratio(1, 8) {
            if self.random.random() { self.drop_all() } else { self.lose_power() }
        }
    }

    /// The power goes, now if it had not; also over recovery.
    pub(crate) fn lose_power(&mut self) {
        let disk = self.power_lost();
        if self.random.random_ratio(1, 4) {
            let call = self.random.random_range(1..10);
            self.say(format_args!("the power will go at call {call} again"));
            disk.crash_at(call);
        }
        self.begin_again(disk);
    }

    /// What the disk holds when the power is back.
    pub(crate) fn power_lost(&mut self) -> SimVfs {
        let (survival, seed) = (self.survival(), self.random.random());
        self.say(format_args!("the power goes; {survival:?} survives"));
        self.setup.snapshots.lose_waiting();
        self.disk.image(survival, seed)
    }

    fn survival(&mut self) -> Survival {
        SURVIVALS[self.random.random_range(0..SURVIVALS.len())]
    }

    /// Stopped in order, and started again.
    fn stop(&mut self) {
        if self.disk.crashed() {
            return self.lose_power();
        }
        self.say(format_args!("the node stops"));
        self.life().stop();
        self.hear();
        assert_eq!(self.open, 0, "a node that stops answers everybody");
        self.life().close();
        self.setup.snapshots.settle();
        let disk = self.disk.clone();
        self.begin_again(disk);
    }

    /// Everything is dropped where it stands; the disk goes on, with what it has not synced.
    fn drop_all(&mut self) {
        if self.disk.crashed() {
            return self.lose_power();
        }
        self.say(format_args!("everything is dropped"));
        let disk = self.disk.clone();
        self.begin_again(disk);
    }

    /// Everything that is open comes to its end, and the log is looked at once more after a last restart.
    pub(crate) fn finish(&mut self) {
        self.now += 1;
        self.disk.heal();
        if self.disk.crashed() || self.life().is_poisoned() {
            self.lose_power();
        }
        for _ in 0..TURNS_MAX {
            if self.open == 0 {
                break;
            }
            self.life().run(1);
            self.life().drive();
            self.hear();
        }
        assert_eq!(self.open, 0, "somebody is never answered");
        self.read_all_instances();
        self.disk.heal();
        self.stop();
        self.check_replays();
    }

    /// Has everything done that nobody waits for.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.life().run(1);
            self.life().drive();
        }
    }

    fn read_all_instances(&mut self) {
        for instance in 0..self.instances {
            self.now += 1;
            let attempt = self.attempts.len();
            self.setup.clock.advance(Duration::from_secs(61));
            // A checkpoint that is made by itself may take up all the room there is.
            self.settle();
            self.life().read(attempt, instance);
            self.asked_for(instance, Call::Read);
            self.settle();
            self.hear();
            let answer = self.attempts[attempt].answer.as_ref();
            assert!(matches!(answer, Some((_, Answer::Saw(..)))), "the last read: {answer:?}");
        }
    }
}

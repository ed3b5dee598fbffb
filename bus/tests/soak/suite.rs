//! The run: everything works, faults come, and at the end every key has heard everything once and in order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use annals_parts::Broker;
use tempfile::TempDir;

use crate::count;
use crate::domain::Tally;
use crate::faults::{Fault, schedule};
use crate::member::{Member, Role};
use crate::roles::written;

/// How long nothing may happen before it counts as stuck.
pub(crate) const STUCK: Duration = Duration::from_secs(120);

struct Run<B> {
    broker: B,
    publisher: Member,
    subscriber: Member,
    done: BTreeMap<Fault, u64>,
}

pub(crate) fn run(broker: impl Broker) {
    let keys = count("ANNALS_SOAK_KEYS", 200);
    let rounds = count("ANNALS_SOAK_EVENTS", 4_000).div_ceil(keys);
    let faults = count("ANNALS_SOAK_FAULTS", 5);
    let seed = count("ANNALS_SEED", rand::random());
    println!("ANNALS_SEED={seed}");
    let dir = TempDir::new().unwrap();
    // The subscriber first: some brokers keep nothing for a subscriber that was never there.
    let subscriber = Member::start(Role::Subscriber, &broker, dir.path(), (keys, rounds));
    wait_for_subscription(&subscriber);
    let publisher = Member::start(Role::Publisher, &broker, dir.path(), (keys, rounds));
    let name = broker.name();
    let mut run = Run { broker, publisher, subscriber, done: BTreeMap::new() };
    let began = Instant::now();
    run.through(keys * rounds, schedule(seed, faults));
    let took = began.elapsed();
    duplicates_come(&run.subscriber, &run.broker);
    run.subscriber.stop();
    check(&run.subscriber, keys, rounds);
    println!(
        "{name}: {} events over {keys} keys in {took:.0?}, {faults} faults {:?}: every effect once and in order",
        keys * rounds,
        run.done
    );
}

/// Waits until the subscriber's sidecar takes events for it.
fn wait_for_subscription(subscriber: &Member) {
    let deadline = Instant::now() + STUCK;
    while !subscriber.sidecar.said().contains("app is subscribed to the following topics") {
        assert!(Instant::now() < deadline, "no subscription: {}", subscriber.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until what the last fault left without an answer has come again: an effect that it had twice must show.
pub(crate) fn duplicates_come(subscriber: &Member, broker: &dyn Broker) {
    let (heard, since) = (subscriber.progress(), Instant::now());
    while since.elapsed() < broker.redelivers_within() {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(subscriber.progress(), heard, "something was heard again");
}

impl<B: Broker> Run<B> {
    /// Lets faults happen as the subscriber comes to their moments, until it has heard all.
    #[expect(clippy::cast_precision_loss, reason = "a part of the way")]
    fn through(&mut self, all: u64, faults: Vec<(f64, Fault)>) {
        let mut faults = faults.into_iter().peekable();
        let (mut last, mut moved) = (0, Instant::now());
        while last < all || faults.peek().is_some() {
            let now = self.subscriber.progress();
            if now != last {
                (last, moved) = (now, Instant::now());
            }
            assert!(
                moved.elapsed() < STUCK,
                "stuck at {last} of {all} after {:?}\n{}\n{}",
                self.done,
                self.subscriber.said(),
                self.publisher.said()
            );
            if let Some((_, fault)) = faults.next_if(|(moment, _)| last as f64 / all as f64 >= *moment) {
                self.happen(fault);
                moved = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn happen(&mut self, fault: Fault) {
        *self.done.entry(fault).or_default() += 1;
        println!("after {} events: {fault:?}", self.subscriber.progress());
        match fault {
            Fault::KillPublisher => self.publisher.kill(),
            Fault::KillSubscriber => self.subscriber.kill(),
            Fault::EndPublisher => self.publisher.terminate(),
            Fault::EndSubscriber => self.subscriber.terminate(),
            Fault::KillPublishersSidecar => self.publisher.sidecar.restart(),
            Fault::KillSubscribersSidecar => self.subscriber.sidecar.restart(),
            Fault::EndPublishersSidecar => end(&mut self.publisher),
            Fault::EndSubscribersSidecar => end(&mut self.subscriber),
            Fault::RestartBroker => self.broker.restart(),
        }
    }
}

fn end(member: &mut Member) {
    member.sidecar.terminate();
    member.sidecar.restart();
}

fn check(subscriber: &Member, keys: u64, rounds: u64) {
    let heard = written::<Tally>(&subscriber.journal());
    let expected: Vec<_> = (1..=rounds).collect();
    for key in 0..keys {
        let of_key = heard.get(&key.to_string()).map(Vec::as_slice).unwrap_or_default();
        assert!(of_key == expected, "key {key} heard {of_key:?}");
    }
    assert_eq!(heard.len() as u64, keys, "nothing else was heard");
}

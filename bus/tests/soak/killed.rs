//! The publisher is killed between a commit and its publication, again and again.

use std::time::{Duration, Instant};

use annals_parts::Broker;
use tempfile::TempDir;

use crate::count;
use crate::member::{Member, Role};
use crate::roles::heard;

/// How many keys are counted under at once.
const KEYS: u64 = 64;

pub(crate) fn run(broker: &impl Broker) {
    let kills = count("ANNALS_PUBLISH_KILLS", 5);
    let dir = TempDir::new().unwrap();
    // Each life commits a round under every key and is killed right then: its relay has published some, or nothing.
    let subscriber = Member::start(Role::Subscriber, broker, dir.path(), (KEYS, 0));
    let mut publisher = Member::start(Role::Publisher, broker, dir.path(), (KEYS, 1));
    for round in 1..=kills {
        wait(&subscriber, &publisher, "a round is committed", || publisher.progress() >= KEYS * round);
        publisher.kill_for_round(round + 1);
    }
    let all = KEYS * (kills + 1);
    wait(&subscriber, &publisher, "all is heard", || subscriber.progress() >= all);
    let mut subscriber = subscriber;
    subscriber.stop();
    let heard = heard(&subscriber.journal());
    let expected: Vec<_> = (1..=kills + 1).collect();
    assert_eq!(heard.len() as u64, KEYS);
    for (key, of_key) in heard {
        assert!(of_key == expected, "key {key} heard {of_key:?}");
    }
    println!(
        "{kills} kills between commit and publication: the subscriber heard the {all} events that were committed"
    );
}

fn wait(subscriber: &Member, publisher: &Member, what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(
            Instant::now() < deadline,
            "not so: {what} ({} heard)\n{}\n{}",
            subscriber.progress(),
            subscriber.said(),
            publisher.said()
        );
        std::thread::sleep(Duration::from_micros(200));
    }
}

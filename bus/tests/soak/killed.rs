//! The publisher is killed between a commit and its publication, again and again.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use annals_parts::Broker;
use tempfile::TempDir;

use crate::count;
use crate::domain::{Counter, Tally};
use crate::member::{Member, Role};
use crate::roles::written;
use crate::suite::{STUCK, duplicates_come};

/// How many keys are counted under at once.
const KEYS: u64 = 64;
/// For so long nothing more is heard when all that was published has come.
const STILL: Duration = Duration::from_millis(200);

struct Run {
    subscriber: Member,
    publisher: Member,
    /// How many kills left something that was committed and not published, of those after which it was looked.
    found: u64,
    looked: u64,
}

pub(crate) fn run(broker: &impl Broker) {
    let kills = count("ANNALS_PUBLISH_KILLS", 5);
    let dir = TempDir::new().unwrap();
    // Each life commits a round under every key and is killed right then: its relay has published some, or nothing.
    let subscriber = Member::start(Role::Subscriber, broker, dir.path(), (KEYS, 0));
    let publisher = Member::start(Role::Publisher, broker, dir.path(), (KEYS, 1));
    let mut run = Run { subscriber, publisher, found: 0, looked: 0 };
    for round in 1..=kills {
        run.wait("a round is committed", |run| run.publisher.progress() >= KEYS * round);
        run.publisher.end_at_once();
        // Every other time the next life begins while deliveries of this one are still under way.
        if round % 2 == 1 {
            run.look(KEYS * round);
        }
        run.publisher.start_for_round(round + 1);
    }
    let all = KEYS * (kills + 1);
    run.wait("the last round is committed", |run| run.publisher.progress() >= all);
    run.wait("all is heard", |run| run.subscriber.progress() >= all);
    duplicates_come(&run.subscriber, broker);
    let Run { mut subscriber, mut publisher, found, looked } = run;
    publisher.stop();
    subscriber.stop();
    check(&publisher.journal(), &subscriber.journal(), kills + 1);
    println!(
        "{kills} kills between commit and publication ({found} of {looked} looked at left something unpublished): the \
         subscriber heard the {all} events that were committed"
    );
    // A machine that is busy elsewhere may let a few of them come too late.
    assert!(kills < 20 || 2 * found > looked, "{found} of {looked} kills came before the publication");
}

/// What the one committed the other heard: all of it, in order, once.
fn check(publisher: &Path, subscriber: &Path, rounds: u64) {
    let (committed, heard) = (written::<Counter>(publisher), written::<Tally>(subscriber));
    assert_eq!(committed.len() as u64, KEYS);
    let differs = |heard: &HashMap<String, Vec<u64>>| {
        committed.iter().find(|(key, numbers)| heard.get(*key) != Some(numbers)).map(|(key, _)| key.clone())
    };
    if let Some(key) = differs(&heard) {
        panic!("key {key} heard {:?} of {:?}", heard.get(&key), committed[&key]);
    }
    assert_eq!(heard.len() as u64, KEYS, "nothing else was heard");
    let expected: Vec<_> = (1..=rounds).collect();
    assert!(committed.values().all(|numbers| *numbers == expected), "{committed:?}");
}

impl Run {
    /// Whether the publisher that was killed has left something unpublished, when nothing more is heard.
    fn look(&mut self, committed: u64) {
        let (mut heard, mut since) = (self.subscriber.progress(), Instant::now());
        while since.elapsed() < STILL && heard < committed {
            std::thread::sleep(Duration::from_millis(5));
            let now = self.subscriber.progress();
            if now != heard {
                (heard, since) = (now, Instant::now());
            }
        }
        self.looked += 1;
        self.found += u64::from(heard < committed);
    }

    fn wait(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let (mut heard, mut moved) = (self.subscriber.progress(), Instant::now());
        while !so(self) {
            let now = self.subscriber.progress();
            if now != heard {
                (heard, moved) = (now, Instant::now());
            }
            assert!(
                moved.elapsed() < STUCK,
                "not so: {what} ({} heard)\n{}\n{}",
                self.subscriber.progress(),
                self.subscriber.said(),
                self.publisher.said()
            );
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

use serde::{Deserialize, Serialize};

use super::*;
use crate::testing::EventsLock;
use crate::{Context, Shape, Upcast};

macro_rules! release {
    ($name:ident, $events:ty) => {
        #[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
        #[annals(crate = "crate")]
        struct $name;

        impl Aggregate for $name {
            const TYPE: &'static str = "account";
            type Command = ();
            type Event = $events;
            type Rejection = std::convert::Infallible;

            fn handle(&self, (): (), _: &Context) -> Result<Vec<$events>, Self::Rejection> {
                Ok(vec![])
            }

            fn apply(&mut self, _: $events) {}
        }
    };
}

#[derive(Clone, crate::Event)]
#[annals(crate = "crate")]
enum FirstEvent {
    #[event("deposited")]
    Deposited { euros: u32 },
    #[event("closed", codec = bincode)]
    Closed { reason: u16 },
}
release!(First, FirstEvent);

/// The same shapes, but written otherwise.
#[derive(Clone, crate::Event)]
#[annals(crate = "crate")]
enum OtherwiseEvent {
    #[event("deposited")]
    Deposited { euros: Doubled },
    #[event("closed", codec = bincode)]
    Closed { reason: u16 },
}
release!(Otherwise, OtherwiseEvent);

/// A number that is written as its double, which its shape does not tell.
#[derive(Clone)]
struct Doubled(u32);

impl Serialize for Doubled {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0 * 2)
    }
}

impl<'de> Deserialize<'de> for Doubled {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(|number| Self(number / 2))
    }
}

impl Shape for Doubled {
    fn describe(shape: &mut annals_persistence::ShapeWriter) {
        u32::describe(shape);
    }
}

#[derive(Clone, crate::Event)]
#[annals(crate = "crate")]
enum SecondEvent {
    #[event("deposited", version = 2, upcast(1 = DepositedV1))]
    Deposited { cents: u64 },
    #[event("closed", codec = bincode)]
    Closed { reason: u16 },
}
release!(Second, SecondEvent);

#[derive(Serialize, Deserialize, Shape)]
#[annals(crate = "crate")]
struct DepositedV1 {
    euros: u32,
}

impl Upcast for DepositedV1 {
    type Next = SecondEvent;

    fn upcast(self) -> SecondEvent {
        SecondEvent::Deposited { cents: u64::from(self.euros) * 100 }
    }
}

fn first(directory: &Path, update: bool) -> Result<(), String> {
    let samples = [FirstEvent::Deposited { euros: 7 }, FirstEvent::Closed { reason: 513 }];
    GoldenEvents::beside(directory).aggregate::<First>(samples).compare(update)
}

fn second(directory: &Path, update: bool) -> Result<(), String> {
    let samples = [SecondEvent::Deposited { cents: 1 }, SecondEvent::Closed { reason: 513 }];
    GoldenEvents::beside(directory).aggregate::<Second>(samples).compare(update)
}

/// A directory with files and lock of the first release.
fn released() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    EventsLock::beside(directory.path()).aggregate::<First>().compare(true).unwrap();
    first(directory.path(), true).unwrap();
    first(directory.path(), false).unwrap();
    directory
}

fn file(directory: &Path, name: &str) -> PathBuf {
    directory.join("tests/golden/account").join(name)
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_type_without_a_file_fails_and_says_how_to_make_one() {
    let directory = tempfile::tempdir().unwrap();
    let report = first(directory.path(), false).unwrap_err();
    assert!(report.contains("deposited.v1.json") && report.contains("ANNALS_UPDATE_LOCK=1"), "{report}");
    first(directory.path(), true).unwrap();
    let text = fs::read_to_string(file(directory.path(), "closed.v1.json")).unwrap();
    assert!(text.contains("\"payload\": \"0102\""), "{text}");
    let text = fs::read_to_string(file(directory.path(), "deposited.v1.json")).unwrap();
    assert!(text.contains(r#""payload": "{\"euros\":7}""#), "{text}");
}

#[test]
fn a_type_without_a_sample_fails() {
    let directory = released();
    let only = [FirstEvent::Closed { reason: 513 }];
    let report = GoldenEvents::beside(directory.path()).aggregate::<First>(only).compare(true).unwrap_err();
    assert!(report.contains("\"deposited\" version 1 has no sample"), "{report}");
}

#[test]
fn other_bytes_or_another_meaning_are_noticed_where_the_shape_is_the_same() {
    let directory = released();
    let samples = [OtherwiseEvent::Deposited { euros: Doubled(7) }, OtherwiseEvent::Closed { reason: 513 }];
    let golden = GoldenEvents::beside(directory.path()).aggregate::<Otherwise>(samples);
    let report = golden.compare(false).unwrap_err();
    assert!(report.contains("the sample is written as: {\"euros\":14}"), "{report}");

    let path = file(directory.path(), "closed.v1.json");
    edit(&path, "\"0102\"", "\"0202\"");
    let before = fs::read_to_string(&path).unwrap();
    let report = first(directory.path(), true).unwrap_err();
    assert!(report.contains("would be misread"), "{report}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before, "nothing is written where something is wrong");
}

#[test]
fn an_old_version_is_read_for_good_and_what_it_means_today_is_on_record() {
    let directory = released();
    EventsLock::beside(directory.path()).aggregate::<Second>().compare(true).unwrap();
    let report = second(directory.path(), false).unwrap_err();
    assert!(report.contains("\"deposited\" version 2") && report.contains("\"cents\": 700"), "{report}");
    second(directory.path(), true).unwrap();
    second(directory.path(), false).unwrap();
    let old = file(directory.path(), "deposited.v1.json");
    let text = fs::read_to_string(&old).unwrap();
    assert!(text.contains(r#""{\"euros\":7}""#) && text.contains("\"cents\": 700"), "{text}");

    // An upcaster that comes to something else.
    edit(&old, "700", "70");
    let report = second(directory.path(), false).unwrap_err();
    assert!(report.contains("is read as something else"), "{report}");
    edit(&old, "70", "700");

    fs::remove_file(&old).unwrap();
    for update in [false, true] {
        let report = second(directory.path(), update).unwrap_err();
        assert!(report.contains("\"deposited\" version 1 was written in json"), "{report}");
    }
}

#[test]
fn a_file_that_nothing_reads_fails() {
    let directory = released();
    let path = file(directory.path(), "closed.v1.json");
    edit(&path, "\"closed\"", "\"shut\"");
    let report = first(directory.path(), false).unwrap_err();
    assert!(report.contains("no event type is called \"shut\""), "{report}");
}

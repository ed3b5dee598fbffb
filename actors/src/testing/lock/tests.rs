use serde::{Deserialize, Serialize};

use super::*;
use crate::{Context, Shape, Upcast};

/// An aggregate whose events are the given ones.
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

#[derive(crate::Event)]
#[annals(crate = "crate")]
enum FirstEvent {
    #[event("opened")]
    Opened { owner: String },
    #[event("closed")]
    Closed,
}
release!(First, FirstEvent);

/// `opened` has changed, and nobody said so.
#[derive(crate::Event)]
#[annals(crate = "crate")]
enum SilentEvent {
    #[event("opened")]
    Opened { owner: String, limit: u32 },
    #[event("closed")]
    Closed,
}
release!(Silent, SilentEvent);

/// `opened` has changed as it should, `closed` was renamed and is written in bincode.
#[derive(crate::Event)]
#[annals(crate = "crate")]
enum SecondEvent {
    #[event("opened", version = 2, upcast(1 = OpenedV1))]
    Opened { owner: String, limit: u32 },
    #[event("account-closed", was = "closed", codec = bincode)]
    Closed,
}
release!(Second, SecondEvent);

#[derive(Serialize, Deserialize, Shape)]
#[annals(crate = "crate")]
struct OpenedV1 {
    owner: String,
}

impl Upcast for OpenedV1 {
    type Next = SecondEvent;

    fn upcast(self) -> SecondEvent {
        SecondEvent::Opened { owner: self.owner, limit: 0 }
    }
}

/// `opened` is there no more, `closed` is as it was.
#[derive(crate::Event)]
#[annals(crate = "crate")]
enum ForgetfulEvent {
    #[event("closed")]
    Closed,
}
release!(Forgetful, ForgetfulEvent);

#[derive(crate::Event)]
#[annals(crate = "crate")]
enum TaggedEvent {
    #[event("tagged", codec = bincode)]
    Tagged(Tag),
}
release!(Tagged, TaggedEvent);

#[derive(Serialize, Deserialize, Shape)]
#[annals(crate = "crate")]
#[serde(tag = "kind")]
enum Tag {
    Red { shade: u8 },
}

fn compare<A: Aggregate>(directory: &Path, update: bool) -> Result<(), String> {
    EventsLock::beside(directory).aggregate::<A>().compare(update)
}

fn locked(directory: &Path) -> String {
    fs::read_to_string(directory.join("events.lock")).unwrap()
}

/// A directory with the lock of the first release.
fn released() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    compare::<First>(directory.path(), true).unwrap();
    directory
}

#[test]
fn what_is_new_is_refused_until_it_is_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let report = compare::<First>(directory.path(), false).unwrap_err();
    assert!(report.contains("\"opened\" version 1 of \"account\" in json is new"), "{report}");
    assert!(report.contains("ANNALS_UPDATE_LOCK=1"), "{report}");
    compare::<First>(directory.path(), true).unwrap();
    compare::<First>(directory.path(), false).unwrap();
    let text = locked(directory.path());
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let closed = format!("account closed 1 json {:016x} unit;", annals_persistence::fingerprint::<()>());
    assert_eq!(lines[0], closed);
    assert!(
        lines[1].starts_with("account opened 1 json ") && lines[1].ends_with(" struct{owner:string;}"),
        "{text}"
    );
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_silent_change_is_told_with_what_to_do_and_never_written_down() {
    let directory = released();
    let before = locked(directory.path());
    for update in [false, true] {
        let report = compare::<Silent>(directory.path(), update).unwrap_err();
        for part in
            ["\"opened\" version 1", "+ limit:u32;", "version = 2", "upcast(1 = ...)", "delete its line"]
        {
            assert!(report.contains(part), "{part}: {report}");
        }
        assert_eq!(locked(directory.path()), before);
    }
}

#[test]
fn a_new_version_is_added_and_what_was_released_stays() {
    let directory = released();
    let report = compare::<Second>(directory.path(), false).unwrap_err();
    assert!(
        report.contains("\"opened\" version 2") && report.contains("\"account-closed\" version 1"),
        "{report}"
    );
    let before = locked(directory.path());
    compare::<Second>(directory.path(), true).unwrap();
    compare::<Second>(directory.path(), false).unwrap();
    let after = locked(directory.path());
    assert!(before.lines().all(|line| after.contains(line)), "{after}");
    assert_eq!(after.lines().count(), before.lines().count() + 2);
}

#[test]
fn another_codec_is_added_to_the_line() {
    let directory = released();
    compare::<Second>(directory.path(), true).unwrap();
    let text = locked(directory.path());
    assert!(text.contains("account-closed 1 bincode "), "{text}");
    fs::write(
        directory.path().join("events.lock"),
        text.replace("account-closed 1 bincode", "account-closed 1 json"),
    )
    .unwrap();
    let report = compare::<Second>(directory.path(), false).unwrap_err();
    assert!(report.contains("in bincode is new"), "{report}");
    compare::<Second>(directory.path(), true).unwrap();
    assert!(locked(directory.path()).contains("account-closed 1 bincode+json "));
}

#[test]
fn what_was_written_must_stay_readable() {
    let directory = released();
    for update in [false, true] {
        let report = compare::<Forgetful>(directory.path(), update).unwrap_err();
        assert!(report.contains("\"opened\" version 1") && report.contains("retired"), "{report}");
    }
}

#[test]
fn what_bincode_cannot_have_is_found_inside_other_types_too() {
    let directory = tempfile::tempdir().unwrap();
    let report = compare::<Tagged>(directory.path(), true).unwrap_err();
    assert!(report.contains("has tag in it"), "{report}");
}

#[test]
fn a_file_that_a_merge_has_spoilt_is_refused() {
    let directory = released();
    let path = directory.path().join("events.lock");
    let good = locked(directory.path());
    let opened = good.lines().find(|line| line.contains("opened")).unwrap();
    for (bad, reason) in [
        (good.replace("owner", "holder"), "line 5: the fingerprint is not that of the shape"),
        (format!("{good}{opened}\n"), "line 6: the same event and version twice"),
        (format!("{good}<<<<<<< HEAD\n"), "line 6: there is no version"),
        (good.replace(" json ", " xml "), "line 4: there is no codec \"xml\""),
    ] {
        fs::write(&path, bad).unwrap();
        let report = compare::<First>(directory.path(), true).unwrap_err();
        assert!(report.contains(reason), "{report}");
    }
}

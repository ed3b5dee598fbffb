//! Faults planted by hand, to find out whether the tests would notice them. They exist only where this is compiled with
//! `--cfg annals_faults`, which no feature sets; then the environment variable `ANNALS_FAULT` names the one that is
//! planted. Everywhere else all of this is nothing. `docs/faults.md` lists them with the tests that catch them, and
//! `.ci/faults` tries whether they still do.

use std::io;

use crate::Batch;

macro_rules! faults {
    ($($(#[$meaning:meta])+ $fault:ident = $name:literal,)+) => {
        /// A fault that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$meaning])+ $fault,)+
        }

        impl Fault {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$fault,)+];

            /// What `ANNALS_FAULT` calls it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => $name,)+
                }
            }
        }
    };
}

faults! {
    /// Appends are answered before their group is written.
    AcknowledgedBeforeSync = "acknowledged-before-sync",
    /// A group is written and not synced.
    GroupNotSynced = "group-not-synced",
    /// A group whose sync failed is synced again, and taken for durable where that goes well.
    FailedSyncTriedAgain = "failed-sync-tried-again",
    /// A group that could not be written or synced fails, and writing goes on behind it.
    FailureForgiven = "failure-forgiven",
    /// A group is shown to readers before it is synced.
    ShownBeforeSync = "shown-before-sync",
    /// The answers of a group leave in the wrong order.
    AnswersReversed = "answers-reversed",
    /// A batch over several streams is written as two groups, each with a commit marker.
    BatchInTwoGroups = "batch-in-two-groups",
    /// An append is taken whatever version it expects.
    ExpectationUnchecked = "expectation-unchecked",
    /// A new segment's name is not made durable.
    SegmentNameNotSynced = "segment-name-not-synced",
    /// A new segment's header is not made durable.
    SegmentHeaderNotSynced = "segment-header-not-synced",
    /// The keeper may name the file that it has made ahead while the segment in front of it is not used yet.
    SpareNamedBeforeSeal = "spare-named-before-seal",
    /// The next segment is used before this one's seal is durable.
    SealNotSynced = "seal-not-synced",
    /// Opening builds on what it reads without syncing it.
    OpenedUnsynced = "opened-unsynced",
    /// Opening does not write the last group again, whose sync may have failed.
    LastGroupNotRewritten = "last-group-not-rewritten",
    /// The remains of a group that was never acknowledged stay behind the log's end.
    TornTailNotCut = "torn-tail-not-cut",
    /// The last commit marker is cut off with the remains of the group behind it.
    TornTailCutTooFar = "torn-tail-cut-too-far",
    /// Damage with durable groups behind it is taken for a torn tail, and all of it is cut off.
    DamageTakenForTornTail = "damage-taken-for-torn-tail",
    /// Opening looks at no frame's checksum.
    FramesUncheckedInRecovery = "frames-unchecked-in-recovery",
    /// Reads look at no frame's checksum.
    FramesUncheckedInReads = "frames-unchecked-in-reads",
    /// A sealed segment's footer is believed whatever its checksum says.
    FooterUnchecked = "footer-unchecked",
    /// A last file without a whole header is taken for one that was made ahead, whatever is in it.
    SpareNotLookedAt = "spare-not-looked-at",
    /// It is noted that one event more is durable than is.
    MarkAhead = "mark-ahead",
    /// Nobody reads how far the log was noted to go.
    MarkNotRead = "mark-not-read",
    /// The pages of index files and tables are believed whatever their checksums say.
    PagesUnchecked = "pages-unchecked",
    /// An index file leads to the record behind the right one.
    IndexEntryOff = "index-entry-off",
    /// A table is not held against the log when this is verified.
    TableUnchecked = "table-unchecked",
    /// A table of streams from before a segment was written anew is believed.
    StaleTable = "stale-table",
    /// Truncation takes the first event that is to be kept.
    TruncationOffByOne = "truncation-off-by-one",
    /// One event fewer is kept than was said.
    CountOffByOne = "count-off-by-one",
    /// What is set later takes a tombstone back.
    TombstoneRevived = "tombstone-revived",
    /// Scavenging takes the first event that is to be kept.
    ScavengedTooMuch = "scavenged-too-much",
    /// A segment written anew takes the old one's place before it is synced.
    ScavengedNotSynced = "scavenged-not-synced",
    /// Space is given back whatever a reader has still to come to.
    ReadersPassed = "readers-passed",
    /// Nothing stands in the place of scavenged records.
    GapsNotWritten = "gaps-not-written",
    /// A snapshot is believed whatever its checksum says.
    SnapshotUnchecked = "snapshot-unchecked",
    /// A snapshot's file takes its name before it is synced.
    SnapshotNotSynced = "snapshot-not-synced",
    /// A snapshot is kept before its state is durable.
    SnapshotAhead = "snapshot-ahead",
    /// A snapshot is taken whatever shape its state had.
    SnapshotOfAnotherShape = "snapshot-of-another-shape",
    /// A snapshot is taken although its stream does not hold the event that it names.
    SnapshotOfAnotherEvent = "snapshot-of-another-event",
    /// An instance that becomes live remembers no command.
    IdsLostAtActivation = "ids-lost-at-activation",
    /// The commands that a snapshot remembers are not taken from it.
    IdsNotFromSnapshot = "ids-not-from-snapshot",
    /// A checkpoint is written without the commands that its instance remembers.
    CheckpointWithoutIds = "checkpoint-without-ids",
    /// A stream is truncated whoever has still to read of it.
    TruncatedPastCursor = "truncated-past-cursor",
    /// After a failed append an instance goes on with the state that has its events.
    StateKeptAfterFailure = "state-kept-after-failure",
    /// An answer without events does not wait for what it was decided on.
    AnswerOvertakes = "answer-overtakes",
    /// Appends decided on a refused one are taken where the versions fit.
    LineageNeverEnds = "lineage-never-ends",
    /// An event whose handling failed counts as handled (W1).
    FailedTakenForHandled = "failed-taken-for-handled",
    /// What was handled is written down, and never read back (W2).
    HandledNotReadBack = "handled-not-read-back",
    /// Nothing is looked up before an event runs (W3).
    DuplicatesRun = "duplicates-run",
    /// No id of a handled event is ever forgotten (W4).
    IdsKeptForEver = "ids-kept-for-ever",
    /// With an id the place of its key is forgotten too (W4).
    SequencesForgotten = "sequences-forgotten",
    /// With the records of an inbox that are given up the places of their keys are too.
    KeysNotCarried = "keys-not-carried",
    /// With the records of an inbox that are given up the plans that are not carried out are too.
    PlansNotCarried = "plans-not-carried",
    /// An early event is acknowledged before it is kept.
    KeptBeforeDurable = "kept-before-durable",
    /// With the old records of early events those go that still wait.
    KeptNotCarried = "kept-not-carried",
    /// Events are told apart by their ids alone, whoever published them (W5).
    SourcesConfused = "sources-confused",
    /// An event's commands have other ids each time that it is handled (W6).
    CommandIdsMadeAnew = "command-ids-made-anew",
    /// An event is acknowledged as it arrives (W7).
    AcknowledgedBeforeEffect = "acknowledged-before-effect",
    /// What can never be handled is acknowledged and dropped (W8).
    PoisonDropped = "poison-dropped",
    /// A relay publishes what is committed while it runs, and nothing from before (W9).
    PublishedBesideTheCommit = "published-beside-the-commit",
    /// A relay notes what it has read for published.
    CursorAhead = "cursor-ahead",
    /// A relay notes as published what is parked.
    ParkedPassed = "parked-passed",
    /// An event runs whether the one before it of its key was handled or not.
    OrderUnchecked = "order-unchecked",
    /// A schema is registered whatever was registered meanwhile (W23).
    SchemasRace = "schemas-race",
}

/// Whether this fault is planted. Where `ANNALS_FAULT` names none that there is, the process ends.
#[cfg(annals_faults)]
#[must_use]
pub fn planted(fault: Fault) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Fault>> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(chosen) == Some(fault)
}

#[cfg(annals_faults)]
fn chosen() -> Option<Fault> {
    let name = std::env::var("ANNALS_FAULT").ok().filter(|name| !name.is_empty())?;
    let found = Fault::ALL.iter().copied().find(|fault| fault.name() == name);
    Some(found.unwrap_or_else(|| refuse(&name)))
}

/// No panic: where an actor asks, it would be caught, and asked again.
#[cfg(annals_faults)]
fn refuse(name: &str) -> ! {
    use std::io::Write;
    drop(writeln!(io::stderr(), "ANNALS_FAULT={name}: there is no such fault"));
    std::process::exit(2)
}

/// Whether this fault is planted: not in this build.
#[cfg(not(annals_faults))]
#[inline(always)]
#[must_use]
pub const fn planted(_fault: Fault) -> bool {
    false
}

/// Takes a step, which the fault leaves out.
#[inline]
pub(crate) fn unless(fault: Fault, step: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if planted(fault) { Ok(()) } else { step() }
}

/// Looks whether it is so; with the fault it always is.
#[inline]
pub(crate) fn any_is(fault: Fault, look: impl FnOnce() -> io::Result<bool>) -> io::Result<bool> {
    if planted(fault) { Ok(true) } else { look() }
}

/// Takes a step that only the fault takes.
#[inline]
pub(crate) fn only(fault: Fault, step: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if planted(fault) { step() } else { Ok(()) }
}

/// Takes a step; with the fault again, where it failed.
#[inline]
pub(crate) fn once(fault: Fault, step: impl Fn() -> io::Result<()>) -> io::Result<()> {
    step().or_else(|error| if planted(fault) { step() } else { Err(error) })
}

/// By how much the fault is off.
#[inline]
pub(crate) fn off_by(fault: Fault) -> u64 {
    u64::from(planted(fault))
}

/// With the fault the first of a batch's streams, which is no longer in the batch then; otherwise nothing.
#[inline]
pub(crate) fn apart(fault: Fault, batch: &mut Batch) -> Option<Batch> {
    if !planted(fault) || batch.streams.len() < 2 {
        return None;
    }
    let rest = batch.streams.drain(1..).collect();
    Some(Batch { streams: std::mem::replace(&mut batch.streams, rest), ..Batch::default() })
}

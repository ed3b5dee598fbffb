//! The suites that every journal and every snapshot store must pass, as tests that any engine can run.
//!
//! An engine of your own passes when this compiles and runs green (the crate's feature `conformance` brings it):
//!
//! ```
//! use std::sync::Arc;
//!
//! use annals_persistence::conformance::JournalFactory;
//! use annals_persistence::{Journal, MemoryJournal};
//!
//! struct Mine;
//!
//! impl JournalFactory for Mine {
//!     async fn open(&self) -> Arc<dyn Journal> {
//!         Arc::new(MemoryJournal::new())
//!     }
//! }
//!
//! annals_persistence::journal_conformance!(Mine);
//! # fn main() {}
//! ```
//!
//! Each case is a public function too. The random ones print their seed when they fail: `ANNALS_SEED` replays one,
//! `ANNALS_CASES` says how many to run.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "this is test code that is compiled into a library: its way to fail is to panic"
)]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::{Journal, ScavengeOptions, SnapshotStore};

mod append;
mod kit;
mod lifecycle;
mod linearizability;
mod model;
mod order;
mod random;
mod read;
mod retention;
mod snapshots;
mod subscribe;

pub use append::{
    batches_are_whole_or_nothing, batches_of_one_caller_are_decided_in_order, big_payloads_survive,
    completions_may_append_again, concurrent_writers_share_one_history, conflicts_say_what_is_there,
    dropped_tickets_append_all_the_same, every_field_survives, expectations_decide,
    invalid_batches_are_refused, limits_are_inclusive, lineages_end_with_their_first_refusal,
    versions_and_positions_are_dense,
};
pub use lifecycle::{
    closed_journals_refuse, closing_answers_what_was_submitted, closing_ends_subscriptions,
    reopening_keeps_everything,
};
pub use linearizability::{NotLinearizable, Operation, Sequential, linearize};
pub use model::random_histories_match_a_model;
pub use order::order_without_gaps;
#[cfg(test)]
pub(crate) use random::number;
pub use random::{Random, Seed, replayable, seeds};
pub use read::{
    filters_select, large_events_are_read_to_the_end, read_all_ends_where_the_journal_did,
    stream_info_tells_the_end, streams_are_listed_by_name, streams_read_backward, streams_read_forward,
    the_journal_reads_in_pages, unusual_names_survive, views_show_what_events_are,
};
pub use retention::{
    a_tombstone_is_for_good, aggregates_are_truncated_at_a_checkpoint_only, retention_goes_with_its_batch,
    the_last_event_is_always_kept, what_is_not_kept_is_not_read, what_is_too_old_goes_when_it_is_scavenged,
};
pub use snapshots::{
    a_saved_snapshot_is_loaded, other_streams_snapshots_stay, removed_snapshots_are_gone,
    snapshots_survive_a_restart, snapshots_work_from_many_threads, the_newest_and_the_one_before_are_kept,
};
pub use subscribe::{
    internal_streams_wake_no_relay, subscriptions_begin_anywhere, subscriptions_have_no_gap_and_no_duplicate,
    subscriptions_wait_for_what_they_want,
};

/// Makes the journal that a case runs on. A case gets a factory of its own.
pub trait JournalFactory: Send + Sync + 'static {
    /// A journal without events, another one every time.
    fn open(&self) -> impl Future<Output = Arc<dyn Journal>> + Send;

    /// The journal made last, opened anew after it was closed. Whoever implements this must have let go of it too:
    /// the case may still hold it. `None` (the default) when the engine cannot; the case then ends.
    fn reopen(&self) -> impl Future<Output = Option<Arc<dyn Journal>>> + Send {
        std::future::ready(None)
    }

    /// Gives back what the journal made last no longer keeps, as far as these options let it; answers how many events
    /// have left the order of all events by it. `None` (the default) when the engine cannot: the cases then go on
    /// without. An engine heeds of the options `below`, `own_below` and `now`, and the others where it knows them. It may
    /// need more than one call for what has only just been appended, but what has a megabyte behind it must go in the end.
    fn scavenge(&self, options: &ScavengeOptions) -> impl Future<Output = Option<u64>> + Send {
        let _ = options;
        std::future::ready(None)
    }
}

/// Makes the snapshot store that a case runs on. A case gets a factory of its own.
pub trait SnapshotFactory: Send + Sync + 'static {
    /// A store without snapshots. Called once.
    fn open(&self) -> Arc<dyn SnapshotStore>;

    /// The same store opened anew, after the first was closed and dropped. `None` (the default) when snapshots do not
    /// outlive the store.
    fn reopen(&self) -> Option<Arc<dyn SnapshotStore>> {
        None
    }
}

/// The longest that one case may take, and as much more for every thousand random ones that it is asked for.
const CASE_DURATION_MAX: Duration = Duration::from_secs(300);

/// Runs one case on a runtime of its own.
///
/// # Panics
/// When the case fails, or takes longer than five minutes (for every thousand that `ANNALS_CASES` asks for).
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be started");
    let thousands = random::number("ANNALS_CASES").unwrap_or(0) / 1000;
    let patience =
        CASE_DURATION_MAX.saturating_mul(u32::try_from(thousands).unwrap_or(u32::MAX).saturating_add(1));
    runtime.block_on(async { tokio::time::timeout(patience, case).await }).expect("the case ends in time");
}

/// One `#[test]` for each thing that a [`Journal`](crate::Journal) must hold, on the journals of a
/// [`JournalFactory`](crate::conformance::JournalFactory).
#[macro_export]
macro_rules! journal_conformance {
    (@cases $factory:expr, $($case:ident)+) => {
        $(#[test]
        fn $case() {
            $crate::conformance::run($crate::conformance::$case(&$factory));
        })+
    };
    ($factory:expr) => {
        $crate::journal_conformance! { @cases $factory,
            expectations_decide
            conflicts_say_what_is_there
            batches_are_whole_or_nothing
            batches_of_one_caller_are_decided_in_order
            lineages_end_with_their_first_refusal
            concurrent_writers_share_one_history
            versions_and_positions_are_dense
            every_field_survives
            big_payloads_survive
            limits_are_inclusive
            invalid_batches_are_refused
            completions_may_append_again
            dropped_tickets_append_all_the_same
            streams_read_forward
            streams_read_backward
            views_show_what_events_are
            large_events_are_read_to_the_end
            the_journal_reads_in_pages
            filters_select
            read_all_ends_where_the_journal_did
            stream_info_tells_the_end
            streams_are_listed_by_name
            unusual_names_survive
            order_without_gaps
            subscriptions_have_no_gap_and_no_duplicate
            subscriptions_begin_anywhere
            subscriptions_wait_for_what_they_want
            internal_streams_wake_no_relay
            closed_journals_refuse
            closing_answers_what_was_submitted
            closing_ends_subscriptions
            reopening_keeps_everything
            what_is_not_kept_is_not_read
            the_last_event_is_always_kept
            what_is_too_old_goes_when_it_is_scavenged
            a_tombstone_is_for_good
            retention_goes_with_its_batch
            aggregates_are_truncated_at_a_checkpoint_only
            random_histories_match_a_model
        }
    };
}

/// One `#[test]` for each thing that a [`SnapshotStore`](crate::SnapshotStore) must hold, on the stores of a
/// [`SnapshotFactory`](crate::conformance::SnapshotFactory).
#[macro_export]
macro_rules! snapshot_conformance {
    (@cases $factory:expr, $($case:ident)+) => {
        $(#[test]
        fn $case() {
            $crate::conformance::$case(&$factory);
        })+
    };
    ($factory:expr) => {
        $crate::snapshot_conformance! { @cases $factory,
            a_saved_snapshot_is_loaded
            the_newest_and_the_one_before_are_kept
            other_streams_snapshots_stay
            removed_snapshots_are_gone
            snapshots_work_from_many_threads
            snapshots_survive_a_restart
        }
    };
}

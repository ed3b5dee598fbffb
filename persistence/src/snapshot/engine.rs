//! What a store of snapshots needs of a database. None of it can take the process down: databases answer to damaged
//! files with errors and panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::SnapshotOptions;

/// What a database says of its failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(pub(super) String);

/// Why a database did not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenFailure {
    #[error("it is in use")]
    InUse,
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// A database in a directory of its own. Every call may fail and may panic.
pub(super) trait Engine: Send + Sync + Sized + 'static {
    /// What was put, as the database has it in memory.
    type Value: AsRef<[u8]>;

    /// Opens it in a directory, which exists; empty, where that is.
    fn open(dir: &Path, options: &SnapshotOptions) -> Result<Self, OpenFailure>;

    fn get(&self, key: &[u8]) -> Result<Option<Self::Value>, Broken>;

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Broken>;

    fn remove(&self, key: &[u8]) -> Result<(), Broken>;

    /// Makes what was put durable, as far as this database can.
    fn flush(&self) -> Result<(), Broken>;
}

/// Runs something that calls a database; a panic is a failure like any other.
pub(super) fn guarded<T, F: From<Broken>>(run: impl FnOnce() -> Result<T, F>) -> Result<T, F> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(Broken(panic_text(&*panic)).into()))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the database panicked: {}", text.unwrap_or("without a text"))
}

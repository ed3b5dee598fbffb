//! Calls into sled, none of which can take the process down: 0.34 answers to damaged files with errors and panics.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sled::Db;

use super::SledOptions;

/// How long to wait between two attempts to lock a directory.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Why sled did not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenFailure {
    #[error("it is in use")]
    InUse,
    #[error("{0}")]
    Broken(String),
}

/// Opens a database, waiting for its lock as long as the options say.
pub(super) fn open(dir: &Path, options: &SledOptions) -> Result<Db, OpenFailure> {
    let deadline = Instant::now() + options.lock_wait;
    loop {
        match open_once(dir, options) {
            Err(OpenFailure::InUse) if Instant::now() < deadline => thread::sleep(LOCK_RETRY_INTERVAL),
            opened => return opened,
        }
    }
}

fn open_once(dir: &Path, options: &SledOptions) -> Result<Db, OpenFailure> {
    // sled's own flusher thread is off: it wakes while there is nothing to do, and a database whose flusher died
    // waits for it for ever when it is dropped.
    let config = sled::Config::new().path(dir).cache_capacity(options.cache_bytes).flush_every_ms(None);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(error)) if is_lock_error(&error) => Err(OpenFailure::InUse),
        Ok(Err(error)) => Err(OpenFailure::Broken(error.to_string())),
        Err(panic) => Err(OpenFailure::Broken(panic_text(&*panic))),
    }
}

/// sled has no error of its own for a lock that another holds, only these words.
fn is_lock_error(error: &sled::Error) -> bool {
    let sled::Error::Io(error) = error else { return false };
    error.kind() == io::ErrorKind::Other && error.to_string().starts_with("could not acquire lock")
}

/// Runs something that calls sled, and makes any failure a text.
pub(super) fn guarded<T>(run: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(panic_text(&*panic)),
    }
}

/// Flushes a database and drops it.
pub(super) fn close(db: Db) -> Result<(), String> {
    guarded(|| db.flush())?;
    guarded(move || {
        drop(db);
        Ok(())
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("sled panicked: {}", text.unwrap_or("without a text"))
}

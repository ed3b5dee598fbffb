//! How urgent a thread is to the operating system.

/// By how much a thread that steps back is less urgent than others.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Has this thread leave the processor to those whom somebody waits for.
#[cfg(target_os = "linux")]
pub(crate) fn step_back() {
    // Only of this thread: on Linux each has its own.
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "the thread is as urgent as others");
    }
}

/// Elsewhere it would be the whole process that steps back.
#[cfg(not(target_os = "linux"))]
pub(crate) fn step_back() {}

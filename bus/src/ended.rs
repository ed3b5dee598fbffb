//! Tasks that are to go on until they are told to stop.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// Runs such a task; whether it has ended by itself, which the log says too.
pub(crate) async fn by_itself(
    what: impl AsRef<str>,
    task: impl Future<Output = ()>,
    is_stopping: impl FnOnce() -> bool,
) -> bool {
    let panicked = AssertUnwindSafe(task).catch_unwind().await.is_err();
    let by_itself = panicked || !is_stopping();
    if by_itself {
        tracing::error!(panicked, "{}", reason(what.as_ref()));
    }
    by_itself
}

/// Why events do not flow when it has.
pub(crate) fn reason(what: &str) -> String {
    format!("{what} has ended by itself, the log says more; restart the service")
}

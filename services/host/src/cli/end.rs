//! The wish that the process ends: SIGTERM or SIGINT.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::error::CliError;

/// How long a process may take to end by itself when it was told to end at once, or was to have ended already.
const LEEWAY: Duration = Duration::from_millis(500);

/// Within how long signals are one wish: what ends groups of processes may send it twice.
const ONE_WISH: Duration = Duration::from_millis(200);

/// How often the end was asked for. Signals are listened to on a thread of its own, since handlers that never end may hold
/// all that tasks run on: a second signal, or the end of the time to stop in, then ends the process from there.
pub(super) struct End(watch::Receiver<u8>);

impl End {
    /// Listens from now on; stopping may take this long.
    pub(super) fn listen(stop_within: Duration) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| CliError::failed("internal_error", &error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let signals = {
            let _context = runtime.enter();
            Signals::listen().map_err(failed)?
        };
        let (times, asked) = watch::channel(0);
        let listening = move || runtime.block_on(attend(signals, times, stop_within));
        std::thread::Builder::new().name("signals".to_owned()).spawn(listening).map_err(failed)?;
        Ok(Self(asked))
    }

    /// Waits for the first signal; once it came, returns at once.
    pub(super) async fn asked(&mut self) {
        self.times(1).await;
    }

    /// Waits for the second.
    pub(super) async fn asked_again(&mut self) {
        self.times(2).await;
    }

    async fn times(&mut self, least: u8) {
        // Without the thread no signal would be noticed any more: better to end.
        let _gone = self.0.wait_for(|times| *times >= least).await;
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells of signals, until nobody listens any more.
async fn attend(mut signals: Signals, times: watch::Sender<u8>, stop_within: Duration) {
    tokio::select! {
        () = times.closed() => return,
        () = signals.next() => times.send_replace(1),
    };
    let one_wish = tokio::time::sleep(ONE_WISH.min(stop_within));
    tokio::pin!(one_wish);
    loop {
        tokio::select! {
            () = times.closed() => return,
            () = &mut one_wish => break,
            () = signals.next() => {}
        }
    }
    tokio::select! {
        () = times.closed() => return,
        () = signals.next() => times.send_replace(2),
        () = tokio::time::sleep(stop_within.saturating_sub(ONE_WISH)) => 1,
    };
    tokio::select! {
        () = times.closed() => {}
        () = tokio::time::sleep(LEEWAY) => give_up(),
    }
}

/// What holds the process up holds up what would end it in order.
fn give_up() {
    tracing::error!(code = "stopped_early", "something holds the process up; it ends without waiting for it");
    std::process::exit(1);
}

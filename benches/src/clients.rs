//! Closed-loop clients: each sends the next request when it has the answer to the last.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::Failure;

/// What clients send their requests to.
pub trait Target: Send + Sync + 'static {
    /// Sends one request to an instance and waits for its answer.
    fn call(&self, instance: usize) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Requests a second, by as many clients that are tasks of a runtime, over as many instances.
///
/// # Errors
/// The first failure of any request.
pub fn tasks<T: Target>(
    runtime: &Handle,
    target: &Arc<T>,
    clients: usize,
    instances: usize,
    window: Duration,
) -> Result<f64, Failure> {
    runtime.block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let begin = Instant::now();
        let mut running = JoinSet::new();
        for client in 0..clients {
            running.spawn(closed_loop(Arc::clone(target), Picker::of(client, instances), Arc::clone(&stop)));
        }
        tokio::time::sleep(window).await;
        stop.store(true, Ordering::Relaxed);
        let mut answered = 0;
        while let Some(client) = running.join_next().await {
            answered += client??;
        }
        Ok(rate(answered, begin))
    })
}

async fn closed_loop<T: Target>(
    target: Arc<T>,
    mut picker: Picker,
    stop: Arc<AtomicBool>,
) -> Result<u64, Failure> {
    let mut answered = 0;
    loop {
        target.call(picker.next()).await?;
        answered += 1;
        // Asked last: however late a client gets its turn, it sends one request, so that no rate is nothing.
        if stop.load(Ordering::Relaxed) {
            return Ok(answered);
        }
    }
}

/// Sends requests at a steady rate, whatever became of those before, and answers how long each took, in microseconds.
///
/// # Errors
/// The first failure of any request.
pub fn paced<T: Target>(
    runtime: &Handle,
    target: &Arc<T>,
    per_second: f64,
    instances: usize,
    window: Duration,
) -> Result<Vec<f64>, Failure> {
    /// As often as a thread can well be woken.
    const PAUSE: Duration = Duration::from_micros(100);
    let (begin, mut picker, mut running) = (Instant::now(), Picker::of(0, instances), Vec::new());
    while begin.elapsed() < window {
        let due = (begin.elapsed().as_secs_f64() * per_second) as usize;
        for _ in running.len()..due.max(1) {
            let (target, instance) = (Arc::clone(target), picker.next());
            running.push(runtime.spawn(async move {
                let sent = Instant::now();
                target.call(instance).await.map(|()| sent.elapsed().as_secs_f64() * 1e6)
            }));
        }
        std::thread::sleep(PAUSE);
    }
    runtime.block_on(async {
        let mut times = Vec::with_capacity(running.len());
        for request in running {
            times.push(request.await??);
        }
        Ok(times)
    })
}

/// The same as [`tasks`] with clients that are threads, for what blocks.
///
/// # Errors
/// The first failure of any request, or that there are not enough threads.
pub fn threads(
    clients: usize,
    instances: usize,
    window: Duration,
    call: impl Fn(usize) -> Result<(), Failure> + Sync,
) -> Result<f64, Failure> {
    const STACK_BYTES: usize = 256 << 10;
    let stop = AtomicBool::new(false);
    let begin = Instant::now();
    let answered = std::thread::scope(|scope| {
        // Ends the clients also when this scope is left by an error.
        let _stopper = Stopper(&stop);
        let running = (0..clients)
            .map(|client| {
                let (picker, call, stop) = (Picker::of(client, instances), &call, &stop);
                let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
                thread.spawn_scoped(scope, move || blocking_loop(picker, call, stop))
            })
            .collect::<Result<Vec<_>, _>>()?;
        std::thread::sleep(window);
        stop.store(true, Ordering::Relaxed);
        let answers = running
            .into_iter()
            .map(|client| client.join().map_err(|_| Failure::from("a client panicked"))?);
        answers.sum::<Result<u64, Failure>>()
    });
    answered.map(|answered| rate(answered, begin))
}

struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn blocking_loop(
    mut picker: Picker,
    call: impl Fn(usize) -> Result<(), Failure>,
    stop: &AtomicBool,
) -> Result<u64, Failure> {
    let mut answered = 0;
    loop {
        call(picker.next())?;
        answered += 1;
        if stop.load(Ordering::Relaxed) {
            return Ok(answered);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^52 in seconds")]
fn rate(count: u64, begin: Instant) -> f64 {
    count as f64 / begin.elapsed().as_secs_f64()
}

/// Picks instances at random: cheap (xorshift), and the same sequence in every run.
#[derive(Debug, Clone)]
struct Picker {
    state: u64,
    instances: u64,
}

impl Picker {
    fn of(client: usize, instances: usize) -> Self {
        let state = (client as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self { state, instances: instances.max(1) as u64 }
    }

    fn next(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % self.instances).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;

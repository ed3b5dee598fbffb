use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Picker, Target, tasks, threads};
use crate::Failure;

struct Counting {
    calls: AtomicU64,
    fails_at: u64,
}

impl Target for Counting {
    async fn call(&self, _instance: usize) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        match self.calls.fetch_add(1, Ordering::Relaxed) {
            count if count == self.fails_at => Err("no more".into()),
            _ => Ok(()),
        }
    }
}

fn run(fails_at: u64) -> (Result<f64, Failure>, u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    let target = Arc::new(Counting { calls: AtomicU64::new(0), fails_at });
    let rate = tasks(runtime.handle(), &target, 4, 10, Duration::from_millis(20));
    (rate, target.calls.load(Ordering::Relaxed))
}

#[test]
fn every_answer_counts() {
    let (rate, calls) = run(u64::MAX);
    // Twenty milliseconds and a little: no more than every call, and in no less than the window.
    assert!(rate.unwrap() <= calls as f64 / 0.02);
}

#[test]
fn a_failed_request_fails_the_measurement() {
    assert_eq!(run(3).0.unwrap_err().to_string(), "no more");
    let failed = threads(2, 1, Duration::from_millis(5), |_| Err("no more".into()));
    assert_eq!(failed.unwrap_err().to_string(), "no more");
}

#[test]
fn threads_reach_the_instances_asked_for() {
    let seen = Mutex::new(std::collections::BTreeSet::new());
    // Each client sends at least one request, and where the first goes depends on nothing but its number.
    let rate = threads(16, 3, Duration::ZERO, |instance| {
        seen.lock().unwrap().insert(instance);
        Ok(())
    });
    assert!(rate.unwrap() > 0.0);
    assert!(seen.into_inner().unwrap().into_iter().eq([0, 1, 2]));
}

#[test]
fn a_picker_is_even_enough() {
    let mut counts = [0_u32; 10];
    let mut picker = Picker::of(7, 10);
    for _ in 0..10_000 {
        counts[picker.next()] += 1;
    }
    assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
}

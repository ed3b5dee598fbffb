use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{settle, ticks};

#[test]
fn processor_time_is_counted_over_all_threads() {
    let before = ticks().unwrap();
    let begin = Instant::now();
    std::thread::spawn(
        move || while ticks().unwrap() == before && begin.elapsed() < Duration::from_secs(60) {},
    );
    while ticks().unwrap() == before {
        assert!(begin.elapsed() < Duration::from_secs(60), "no time was counted");
        std::thread::yield_now();
    }
}

#[test]
fn what_never_rests_is_waited_for_no_longer_than_told() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let (stop, begin) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        settle(PATIENCE);
        assert!(begin.elapsed() >= PATIENCE);
        stop.store(true, Ordering::Relaxed);
    });
}

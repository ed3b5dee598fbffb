use super::*;

fn life(waited: Duration) -> Life {
    let nobody: Weak<dyn Restart> = Weak::<crate::instance::Instance<crate::doc::Account>>::new();
    Life { of: nobody, began: Timestamp(0), waited }
}

#[test]
fn who_fails_again_and_again_waits_longer_each_time_up_to_a_limit() {
    let soon = Timestamp(0).plus(Duration::from_secs(1));
    let mut waited = Duration::ZERO;
    let mut waits = Vec::new();
    for _ in 0..12 {
        waited = life(waited).wait(soon);
        waits.push(waited.as_millis());
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]);
}

#[test]
fn who_lived_for_long_begins_anew() {
    let late = Timestamp(0).plus(STEADY_AFTER);
    assert_eq!(life(RESTART_MAX).wait(late), RESTART_MIN);
}

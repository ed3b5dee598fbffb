use super::*;

#[test]
fn pauses_double_up_to_the_longest() {
    let policy = RetryPolicy::default();
    for (failures, whole) in [(1, 50), (2, 100), (3, 200), (10, 25_600), (11, 30_000), (u32::MAX, 30_000)] {
        let (pause, whole) = (policy.pause(failures), Duration::from_millis(whole));
        assert!(pause >= whole / 2 && pause <= whole, "{failures} failures: {pause:?}");
    }
}

#[test]
fn pauses_differ() {
    let policy = RetryPolicy::default();
    let first = policy.pause(5);
    assert!((0..100).any(|_| policy.pause(5) != first));
}

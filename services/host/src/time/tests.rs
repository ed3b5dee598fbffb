use annals_persistence::Timestamp;

use super::{parse_time, time_text};

#[test]
fn times_go_both_ways() {
    for micros in [0, 1, 1_500_000, -1, 1_767_225_600_123_456] {
        let text = time_text(Timestamp(micros));
        assert_eq!(parse_time(&text), Some(Timestamp(micros)), "{text}");
    }
}

#[test]
fn offsets_are_read_and_nanoseconds_rounded_down() {
    assert_eq!(parse_time("1970-01-01T02:00:00+02:00"), Some(Timestamp(0)));
    assert_eq!(parse_time("1970-01-01T00:00:00.000001999Z"), Some(Timestamp(1)));
    assert_eq!(parse_time("1969-12-31T23:59:59.999999999Z"), Some(Timestamp(-1)));
}

#[test]
fn what_is_no_time_is_none() {
    for text in
        ["", "now", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "1767225600000000000000"]
    {
        assert_eq!(parse_time(text), None, "{text}");
    }
}

#[test]
fn extremes_are_written_not_refused() {
    assert!(time_text(Timestamp(i64::MAX)).starts_with("9999"));
    assert!(time_text(Timestamp(i64::MIN)).starts_with("-009999"));
}

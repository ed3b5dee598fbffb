use super::*;

#[test]
fn durations_are_numbers_with_a_unit() {
    let seconds = |text| duration(text).map(|read| read.as_secs()).ok();
    assert_eq!(["90s", "15m", "24h", "7d"].map(seconds), [Some(90), Some(900), Some(86_400), Some(604_800)]);
    for wrong in
        ["", "7", "d", "0h", "-1h", "1.5h", "1w", "7\u{e4}", "99999999999999999999d", "999999999999999999d"]
    {
        assert!(duration(wrong).is_err(), "{wrong}");
    }
    assert_eq!(pause("off"), Ok(Pause(None)));
    assert_eq!(pause("1m"), Ok(Pause(Some(Duration::from_secs(60)))));
}

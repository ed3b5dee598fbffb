use annals_persistence::CodecId;

use super::{Money, MoneyError};

fn units(text: &str) -> Result<i64, MoneyError> {
    text.parse::<Money>().map(Money::units)
}

#[test]
fn numbers_are_read_exactly() {
    let cases = [
        ("0", 0),
        ("-0.0", 0),
        ("1", 10_000),
        ("12.5", 125_000),
        ("12.50000000", 125_000),
        ("0.0001", 1),
        ("-0.0001", -1),
        ("1e2", 1_000_000),
        ("1.5E+1", 150_000),
        ("12345e-4", 12_345),
        ("1000e-3", 10_000),
        ("0e999999999999", 0),
        ("922337203685477.5807", i64::MAX),
        ("-922337203685477.5808", i64::MIN),
        ("123456789012345.6789", 1_234_567_890_123_456_789),
    ];
    for (text, expected) in cases {
        assert_eq!(units(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_kept_is_refused() {
    for text in ["0.00001", "1.23456", "1e-5", "12.500000000000000000001", "1e-99999999999"] {
        assert_eq!(units(text), Err(MoneyError::TooPrecise), "{text}");
    }
    for text in
        ["922337203685477.5808", "1e15", "1e99999999999", "99999999999999999999999999999999999999999999"]
    {
        assert_eq!(units(text), Err(MoneyError::OutOfRange), "{text}");
    }
    for text in ["", "-", "abc", "1.", ".5", "1e", "1e+", "+1", "0x1", "NaN", "1_000", "\"1\""] {
        assert_eq!(units(text), Err(MoneyError::NoNumber), "{text}");
    }
}

#[test]
fn json_keeps_every_digit_and_bincode_the_units() {
    for text in ["0", "12.5", "-3.0001", "922337203685477.5807", "123456789012345.6789"] {
        let money: Money = text.parse().unwrap();
        assert_eq!(serde_json::to_string(&money).unwrap(), text);
        assert_eq!(serde_json::from_str::<Money>(text).unwrap(), money);
        let bytes = CodecId::Bincode.encode(&money).unwrap();
        assert_eq!(bytes, money.units().to_le_bytes());
        assert_eq!(CodecId::Bincode.decode::<Money>(&bytes).unwrap(), money);
    }
    let value = serde_json::to_value("12.5".parse::<Money>().unwrap()).unwrap();
    assert_eq!(serde_json::from_value::<Money>(value).unwrap().units(), 125_000);
    assert!(serde_json::from_str::<Money>("\"12\"").is_err());
}

#[test]
fn sums_notice_overflow() {
    let most = Money::from_units(i64::MAX);
    assert_eq!(most.checked_add(Money::from_units(1)), None);
    assert_eq!(Money::checked_sum([most, Money::from_units(1)]), None);
    assert_eq!(Money::checked_sum([Money::from_units(1), Money::from_units(2)]), Some(Money::from_units(3)));
}

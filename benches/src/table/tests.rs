use super::{figure, table};
use crate::{Measurement, Row};

#[test]
fn figures_are_grouped() {
    for (value, text) in
        [(0.25, "0.2"), (99.94, "99.9"), (100.0, "100"), (1234.6, "1,235"), (1e6, "1,000,000")]
    {
        assert_eq!(figure(value), text);
    }
}

#[test]
fn a_missed_goal_shows() {
    let rates = vec![("annals", vec![100.0]), ("ceiling", vec![1000.0])];
    let measured = Measurement {
        name: "m".into(),
        unit: "x/s",
        rates,
        goal: Some(("ceiling", crate::Goal::AtLeast(0.5))),
    };
    let text = table(&Row::of("b", &measured));
    assert!(text.contains("0.100") && text.contains("0.5 MISSED") && text.contains("1,000"), "{text}");
}

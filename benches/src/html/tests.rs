use std::path::Path;

use super::page;
use crate::{Machine, Measurement, Row};

#[test]
fn the_page_has_machine_table_and_plots_and_needs_nothing_else() {
    let rates = vec![("annals", vec![100.0]), ("a <b>", vec![1000.0])];
    let measured = Measurement {
        name: "m & n".into(),
        unit: "x/s",
        rates,
        goal: Some(("a <b>", crate::Goal::AtLeast(0.5))),
    };
    let machine = Machine::here(Path::new("."));
    let page = page(&machine, &Row::of("b", &measured)).unwrap();
    assert!(page.contains("a &lt;b&gt;") && page.contains("m &amp; n") && !page.contains("a <b>"), "{page}");
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(page.contains("class=\"missed\""));
    assert!(!page.contains("src=") && !page.contains("href="));
}

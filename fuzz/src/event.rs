//! Events with everything in them that events have.

use std::collections::BTreeMap;

use annals_actors::{Event, Shape};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Shape)]
#[annals(crate = "annals_actors")]
pub struct Line {
    pub product: String,
    pub count: u32,
    pub price_cents: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Shape)]
#[annals(crate = "annals_actors")]
pub enum Way {
    Post,
    Courier { name: String, stops: Vec<(i64, i32)> },
    Other(Box<Line>),
}

#[derive(Debug, Clone, PartialEq, Event)]
#[annals(crate = "annals_actors")]
pub enum Happened {
    #[event("placed")]
    Placed { customer: String, lines: Vec<Line>, notes: BTreeMap<String, Vec<u8>>, at: u64 },
    #[event("shipped", version = 2)]
    Shipped { way: Way, weights: Vec<Option<u16>>, fragile: bool, mark: char },
    #[event("closed")]
    Closed,
}

/// Each type with its version, by the number in an input's first byte.
pub const TYPES: [(&str, u16); 4] = [("placed", 1), ("shipped", 2), ("closed", 1), ("shipped", 1)];

pub fn examples() -> Vec<Happened> {
    let line = Line { product: "a pen".into(), count: 2, price_cents: Some(-150) };
    let courier = Way::Courier { name: "Anna".into(), stops: vec![(47, 8), (0, -1)] };
    vec![
        Happened::Placed {
            customer: "c-1".into(),
            lines: vec![line.clone(), Line { price_cents: None, ..line.clone() }],
            notes: [("gift".to_owned(), vec![1, 2, 3])].into(),
            at: 1 << 60,
        },
        Happened::Shipped { way: courier, weights: vec![None, Some(3)], fragile: true, mark: 'é' },
        Happened::Shipped { way: Way::Other(Box::new(line)), weights: vec![], fragile: false, mark: ' ' },
        Happened::Closed,
    ]
}

//! What `#[derive(Shape)]` writes down.

use std::collections::BTreeMap;

use annals_macros::Shape;
use annals_persistence::{Shape, fingerprint, shape_text};

#[derive(Shape)]
struct Node {
    children: Vec<Node>,
    names: BTreeMap<String, u32>,
    #[serde(skip)]
    #[expect(dead_code, reason = "only there to be left out")]
    cache: std::sync::Mutex<()>,
}

mod first {
    #[derive(annals_macros::Shape)]
    pub(super) struct Thing {
        pub(super) value: u32,
    }
}

mod renamed {
    #[derive(annals_macros::Shape)]
    pub(super) struct Thing {
        #[serde(rename = "theValue")]
        pub(super) value: u32,
    }
}

mod defaulted {
    #[derive(annals_macros::Shape)]
    pub(super) struct Other {
        #[serde(default)]
        pub(super) value: u32,
    }
}

#[derive(Shape)]
enum Kind<T> {
    Unit,
    One(T),
    Named { left: T, right: u8 },
}

#[derive(Shape)]
struct Foreign {
    #[shape(leaf = "duration(u64, u32)")]
    lasts: std::time::Duration,
}

#[derive(Shape)]
struct Marker;

#[test]
fn a_type_that_contains_itself_is_written_once() {
    assert_eq!(shape_text::<Node>(), "struct{children:list:struct^0;names:map:string;u32;}");
    let _ = |node: Node| (node.children, node.names);
}

#[test]
fn variants_and_their_fields_are_told_apart() {
    assert_eq!(shape_text::<Kind<u16>>(), "enum{Unit;One:0:u16;end;Named:left:u16;right:u8;end;}");
    let kinds = [Kind::Unit, Kind::One(1_u8), Kind::Named { left: 1_u8, right: 2 }];
    for kind in kinds {
        let (Kind::Unit | Kind::One(1) | Kind::Named { left: 1, right: 2 }) = kind else { panic!() };
    }
}

#[test]
fn a_renamed_field_is_another_shape_a_default_is_not() {
    assert_ne!(fingerprint::<first::Thing>(), fingerprint::<renamed::Thing>());
    assert_eq!(fingerprint::<first::Thing>(), fingerprint::<defaulted::Other>());
    let _ = |a: first::Thing, b: renamed::Thing, c: defaulted::Other| (a.value, b.value, c.value);
}

#[test]
fn foreign_and_empty_types_have_shapes() {
    assert_eq!(shape_text::<Foreign>(), "struct{lasts:duration(u64, u32);}");
    assert_eq!(shape_text::<Marker>(), "struct{}");
    let _ = |foreign: Foreign| foreign.lasts;
}

#[test]
fn the_trait_is_the_one_of_the_event_log() {
    fn has_shape<T: Shape>() {}
    has_shape::<Kind<Vec<Node>>>();
}

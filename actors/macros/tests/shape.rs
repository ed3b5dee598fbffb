//! What `#[derive(Shape)]` writes down.

use std::collections::BTreeMap;

use annals_macros::Shape;
use annals_persistence::{Shape, ShapeWriter, fingerprint, shape_text};

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

/// Written as another type.
#[derive(Clone, Shape, serde::Serialize)]
#[serde(into = "Written<u8>")]
struct Converted {
    #[expect(dead_code, reason = "not what is written")]
    inner: u64,
}

#[derive(Shape, serde::Serialize)]
struct Written<T> {
    hundreds: T,
}

impl From<Converted> for Written<u8> {
    fn from(_: Converted) -> Self {
        Self { hundreds: 0 }
    }
}

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

mod spelled {
    use annals_macros::Shape;

    #[derive(Shape)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct ByRule {
        pub(super) first_name: u8,
        pub(super) r#type: Kind,
    }

    #[derive(Shape)]
    pub(super) struct ByHand {
        #[serde(rename = "firstName")]
        pub(super) name: u8,
        #[serde(rename = "type")]
        pub(super) kind: Kind,
    }

    #[derive(Shape)]
    #[serde(rename_all = "kebab-case", rename_all_fields = "SCREAMING_SNAKE_CASE")]
    pub(super) enum Kind {
        FirstClass {
            seat_number: u8,
        },
        #[serde(rename_all = "PascalCase")]
        StandBy {
            list_place: u8,
        },
    }
}

#[test]
fn a_shape_has_the_names_that_serde_writes() {
    let kind = "enum{first-class:SEAT_NUMBER:u8;end;stand-by:ListPlace:u8;end;}";
    assert_eq!(shape_text::<spelled::ByRule>(), format!("struct{{firstName:u8;type:{kind}}}"));
    assert_eq!(fingerprint::<spelled::ByRule>(), fingerprint::<spelled::ByHand>());
    let by_rule = spelled::ByRule { first_name: 1, r#type: spelled::Kind::FirstClass { seat_number: 2 } };
    let by_hand = spelled::ByHand { name: 1, kind: spelled::Kind::StandBy { list_place: 2 } };
    let seat = |kind| match kind {
        spelled::Kind::FirstClass { seat_number } => seat_number,
        spelled::Kind::StandBy { list_place } => list_place,
    };
    assert_eq!((by_rule.first_name, seat(by_rule.r#type)), (by_hand.name, seat(by_hand.kind)));
}

#[derive(Shape)]
struct Cents(i64);

#[derive(Shape)]
struct Tree(Vec<Tree>);

#[derive(Shape)]
struct Hex(#[serde(with = "hex")] i64);

#[test]
fn a_struct_around_one_value_is_that_value() {
    assert_eq!(shape_text::<Cents>(), "i64;");
    assert_eq!(shape_text::<Tree>(), "list:^0;");
    assert_eq!(shape_text::<Hex>(), "struct{0[with=\"hex\"]:i64;}");
    let _ = |cents: Cents, tree: Tree, hex: Hex| (cents.0, tree.0, hex.0);
}

#[derive(Shape)]
struct Outer {
    inner: Option<Tagged>,
}

#[derive(Shape)]
#[serde(tag = "kind")]
enum Tagged {
    Some { value: u8 },
}

#[test]
fn what_only_a_self_describing_codec_can_read_is_noted_however_deep_it_is() {
    let mut shape = ShapeWriter::default();
    Outer::describe(&mut shape);
    assert_eq!(shape.self_describing(), Some("tag"));
    let mut shape = ShapeWriter::default();
    Node::describe(&mut shape);
    assert_eq!(shape.self_describing(), None);
    let outer = Outer { inner: Some(Tagged::Some { value: 1 }) };
    assert_eq!(outer.inner.map(|Tagged::Some { value }| value), Some(1));
}

#[test]
fn foreign_and_empty_types_have_shapes() {
    assert_eq!(shape_text::<Foreign>(), "struct{lasts:duration(u64, u32);}");
    assert_eq!(shape_text::<Marker>(), "unit;");
    let _ = |foreign: Foreign| foreign.lasts;
}

#[test]
fn the_trait_is_the_one_of_the_event_log() {
    fn has_shape<T: Shape>() {}
    has_shape::<Kind<Vec<Node>>>();
}

#[derive(Shape)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Versioned<T> {
    current: T,
    edits: u32,
}

#[derive(Shape)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Place<T> {
    city: Versioned<T>,
}

#[test]
fn a_type_within_itself_with_another_parameter_is_described_to_its_end() {
    let text = shape_text::<Versioned<Place<String>>>();
    let number = shape_text::<Versioned<Place<u64>>>();
    assert_ne!(text, number);
    assert!(!text.contains('^'), "{text}");
}

#[test]
fn what_is_written_as_another_type_has_that_types_shape() {
    assert_eq!(shape_text::<Converted>(), "struct{hundreds:u8;}");
    assert_eq!(serde_json::to_string(&Converted { inner: 1 }).unwrap(), r#"{"hundreds":0}"#);
}
